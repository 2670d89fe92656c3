//! The text that a person agrees to, and the check that it is this text.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::error::{Code, Outcome, Problem};

const VERSION: &str = "1";
const ENGLISH: &str = include_str!("../consent/1.en.txt");
const ITALIAN: &str = include_str!("../consent/1.it.txt");

/// The text that a person agrees to before photos are taken.
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

/// The text that is agreed to now.
pub fn consent() -> ConsentText {
    let digest = Sha256::digest(format!("{ENGLISH}\n{ITALIAN}"));
    ConsentText {
        version: VERSION.to_owned(),
        sha256: hex(&digest),
        text: ConsentLanguages { en: ENGLISH.to_owned(), it: ITALIAN.to_owned() },
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
    /// Reads the form field.
    ///
    /// # Errors
    /// [`Code::ConsentRequired`] where it is missing, incomplete or of another text.
    pub(crate) fn read(text: Option<&str>) -> Outcome<Self> {
        let required = |detail: &str| Problem::new(Code::ConsentRequired, detail).param("consent");
        let text = text.ok_or_else(|| required("send the person's consent; GET /v1/consent has the text"))?;
        let given: Self = serde_json::from_str(text)
            .map_err(|error| required(&format!("the consent is not the JSON that is wanted: {error}")))?;
        let wanted = consent();
        if !given.agreed {
            return Err(required("without the person's agreement no photo is taken"));
        }
        if given.text_version != wanted.version || !given.text_sha256.eq_ignore_ascii_case(&wanted.sha256) {
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
        let text = consent();
        let mut json = serde_json::json!({"basis": "self", "text_version": text.version,
            "text_sha256": text.sha256, "agreed": true});
        change(&mut json);
        GivenConsent::read(Some(&json.to_string())).err().map(|problem| problem.code)
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
