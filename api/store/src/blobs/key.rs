use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::BlobError;

/// Where bytes lie, e.g. `images/job_…/0.png`. Cannot name anything outside its place.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct BlobKey(String);

impl BlobKey {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlobKey {
    type Err = BlobError;

    fn from_str(text: &str) -> Result<Self, BlobError> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        // A leading dot is kept for files that are being written.
        let part = |part: &str| {
            !part.is_empty() && part.len() <= 128 && !part.starts_with('.') && part.bytes().all(allowed)
        };
        if text.len() <= 512 && text.split('/').all(part) {
            Ok(Self(text.into()))
        } else {
            Err(BlobError::Key(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for BlobKey {
    type Error = BlobError;

    fn try_from(text: String) -> Result<Self, BlobError> {
        text.parse()
    }
}

impl From<BlobKey> for String {
    fn from(key: BlobKey) -> Self {
        key.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leads_outside() {
        for good in ["a", "images/job_1/0.png", "a-b/c_d.e"] {
            assert!(good.parse::<BlobKey>().is_ok(), "{good}");
        }
        let long = "x/".repeat(300) + "x";
        for bad in [
            "",
            "/",
            "/etc/passwd",
            "a/",
            "a//b",
            "..",
            "a/../b",
            ".",
            "a/./b",
            "a/.b",
            "a\\b",
            "a b",
            "a\0b",
            "é",
            "C:x",
            &long,
        ] {
            assert!(bad.parse::<BlobKey>().is_err(), "{bad}");
        }
    }
}
