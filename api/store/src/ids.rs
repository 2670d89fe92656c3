//! Names of things: a word for the kind and a UUIDv7, so that they sort by age.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is no id of the kind asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is no id that begins with \"{prefix}\"")]
pub struct IdError {
    pub text: String,
    pub prefix: &'static str,
}

fn parse(text: &str, prefix: &'static str) -> Result<Uuid, IdError> {
    let wrong = || IdError { text: text.chars().take(80).collect(), prefix };
    let hex = text.strip_prefix(prefix).filter(|hex| hex.len() == 32).ok_or_else(wrong)?;
    // One spelling only: what is compared as text must be equal as text.
    if hex.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(wrong());
    }
    Uuid::try_parse(hex).map_err(|_| wrong())
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(into = "String", try_from = "String")]
        pub struct $name(Uuid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new one, later than every one before it in this process.
            #[expect(clippy::new_without_default, reason = "every call gives another")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse(text, $prefix).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.to_string()
            }
        }
    };
}

id!(JobId, "job_");
id!(PersonId, "person_");
id!(ImageId, "img_");
id!(BatchId, "batch_");
id!(
    /// Of an API key; not the key itself.
    KeyId,
    "key_"
);
id!(
    /// Of a picture that was handed in to be changed.
    UploadId,
    "up_"
);
id!(
    /// Of one call that is to be made when a job is finished.
    WebhookId,
    "msg_"
);

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn ids_are_read_back_in_one_spelling_and_sort_by_age() {
        let (first, second) = (JobId::new(), JobId::new());
        assert!(first < second && first.to_string() < second.to_string());
        assert_eq!(first.to_string().parse::<JobId>().unwrap(), first);
        let text = first.to_string();
        let upper = format!("job_{}", text[4..].to_uppercase());
        let dashed = format!("job_{}", first.0.hyphenated());
        for wrong in ["", "job_", &text[4..], &upper, &dashed, &text.replace("job_", "img_")] {
            assert!(wrong.parse::<JobId>().is_err(), "{wrong}");
        }
    }
}
