//! The texts that a person agrees to, and the check that it is one of them.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::error::{Code, Outcome, Problem};

/// A text in both languages.
struct Wording {
    version: &'static str,
    english: &'static str,
    italian: &'static str,
}

/// For somebody who is remembered.
const ENROL: Wording = Wording {
    version: "1",
    english: include_str!("../consent/1.en.txt"),
    italian: include_str!("../consent/1.it.txt"),
};
/// For photos that are used for one order and forgotten.
const ONCE: Wording = Wording {
    version: "once-1",
    english: include_str!("../consent/once-1.en.txt"),
    italian: include_str!("../consent/once-1.it.txt"),
};

/// The text that a person agrees to before somebody is remembered, which holds for photos of one order, too; and the
/// one for these alone.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsentTexts {
    #[schema(example = "1")]
    pub version: String,
    /// Hexadecimal SHA-256 of the English text, a line feed, and the Italian text.
    pub sha256: String,
    pub text: ConsentLanguages,
    /// Before a photo is handed in with one order and forgotten: `photo` and `edit.image` of a job's form, OpenAI's edits.
    pub once: ConsentText,
}

/// What is agreed to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsentText {
    #[schema(example = "1")]
    pub version: String,
    /// Hexadecimal SHA-256 of the English text, a line feed, and the Italian text.
    pub sha256: String,
    pub text: ConsentLanguages,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ConsentLanguages {
    pub en: String,
    pub it: String,
}

/// The texts that are agreed to now.
pub fn consents() -> ConsentTexts {
    let ConsentText { version, sha256, text } = consent();
    ConsentTexts { version, sha256, text, once: ONCE.text() }
}

/// The text that is agreed to before somebody is remembered.
pub fn consent() -> ConsentText {
    ENROL.text()
}

impl Wording {
    fn text(&self) -> ConsentText {
        let Self { version, english, italian } = *self;
        let digest = Sha256::digest(format!("{english}\n{italian}"));
        let text = ConsentLanguages { en: english.to_owned(), it: italian.to_owned() };
        ConsentText { version: version.to_owned(), sha256: hex(&digest), text }
    }
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// On what ground a face may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConsentBasis {
    /// "This is me."
    #[serde(rename = "self")]
    Myself,
    /// The person has allowed it.
    Authorised,
}

/// Consent as a client sends it.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GivenConsent {
    pub basis: ConsentBasis,
    /// Who allowed it; wanted where the basis is `authorised`.
    #[serde(default)]
    #[schema(max_length = 200)]
    pub authorised_by: Option<String>,
    pub text_version: String,
    /// `sha256` of the text that was shown.
    pub text_sha256: String,
    /// Must be true.
    pub agreed: bool,
}

impl GivenConsent {
    /// Reads the form field of a request that remembers somebody.
    ///
    /// # Errors
    /// [`Code::ConsentRequired`] where it is missing, incomplete or of another text.
    pub(crate) fn read(text: Option<&str>) -> Outcome<Self> {
        Self::of_one(text, &[consent()])
    }

    /// Reads the form field of a request whose photos are used once: the text for that, or the one that allows more.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(crate) fn read_once(text: Option<&str>) -> Outcome<Self> {
        Self::of_one(text, &[ONCE.text(), consent()])
    }

    fn of_one(text: Option<&str>, wanted: &[ConsentText]) -> Outcome<Self> {
        let required = |detail: &str| Problem::new(Code::ConsentRequired, detail).param("consent");
        let text = text.ok_or_else(|| required("send the person's consent; GET /v1/consent has the text"))?;
        let given: Self = serde_json::from_str(text)
            .map_err(|error| required(&format!("the consent is not the JSON that is wanted: {error}")))?;
        if !given.agreed {
            return Err(required("without the person's agreement no photo is taken"));
        }
        let is = |wanted: &ConsentText| {
            given.text_version == wanted.version && given.text_sha256.eq_ignore_ascii_case(&wanted.sha256)
        };
        if !wanted.iter().any(is) {
            return Err(required("the consent is for another text than the one of GET /v1/consent"));
        }
        let by = given.authorised_by.as_deref().map(str::trim).unwrap_or_default();
        if given.basis == ConsentBasis::Authorised && by.is_empty() {
            return Err(required("\"authorised_by\" says who allowed it"));
        }
        if by.chars().count() > 200 {
            return Err(Problem::field("consent", "\"authorised_by\" has 200 characters at most"));
        }
        Ok(given)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn refused(change: impl Fn(&mut serde_json::Value)) -> Option<Code> {
        refused_of(&consent(), GivenConsent::read, change)
    }

    fn refused_of(
        text: &ConsentText,
        read: impl Fn(Option<&str>) -> Outcome<GivenConsent>,
        change: impl Fn(&mut serde_json::Value),
    ) -> Option<Code> {
        let mut json = serde_json::json!({"basis": "self", "text_version": text.version,
            "text_sha256": text.sha256, "agreed": true});
        change(&mut json);
        read(Some(&json.to_string())).err().map(|problem| problem.code)
    }

    #[test]
    fn who_agreed_to_one_order_is_not_remembered() {
        let (enrol, once) = (consent(), consents().once);
        assert_ne!(enrol.sha256, once.sha256);
        assert_eq!(refused_of(&once, GivenConsent::read_once, |_| ()), None);
        assert_eq!(refused_of(&enrol, GivenConsent::read_once, |_| ()), None, "it allows more");
        assert_eq!(refused_of(&once, GivenConsent::read, |_| ()), Some(Code::ConsentRequired));
        let mixed = |c: &mut serde_json::Value| c["text_version"] = enrol.version.clone().into();
        assert_eq!(refused_of(&once, GivenConsent::read_once, mixed), Some(Code::ConsentRequired));
        assert_eq!(GivenConsent::read_once(None).err().map(|p| p.code), Some(Code::ConsentRequired));
    }

    #[test]
    fn only_agreement_to_this_very_text_counts() {
        assert_eq!(refused(|_| ()), None);
        assert_eq!(refused(|c| c["basis"] = "authorised".into()), Some(Code::ConsentRequired));
        let both = |c: &mut serde_json::Value| {
            c["basis"] = "authorised".into();
            c["authorised_by"] = "Ann".into();
        };
        assert_eq!(refused(both), None);
        assert_eq!(refused(|c| c["agreed"] = false.into()), Some(Code::ConsentRequired));
        assert_eq!(refused(|c| c["text_version"] = "0".into()), Some(Code::ConsentRequired));
        assert_eq!(refused(|c| c["text_sha256"] = "00".into()), Some(Code::ConsentRequired));
        assert_eq!(
            refused(|c| drop(c.as_object_mut().unwrap().remove("agreed"))),
            Some(Code::ConsentRequired)
        );
        assert_eq!(GivenConsent::read(None).err().map(|p| p.code), Some(Code::ConsentRequired));
    }
}
