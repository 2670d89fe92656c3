//! Standard Webhooks: `v1,` and the HMAC of id, time and body.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Signs deliveries.
#[derive(Clone)]
pub(crate) struct Signer(Vec<u8>);

impl Signer {
    /// `whsec_` and base64 of at least 24 bytes; none if it is anything else.
    pub(crate) fn of_text(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim().strip_prefix("whsec_")?).ok()?;
        (bytes.len() >= 24).then_some(Self(bytes))
    }

    /// The value of `webhook-signature`.
    pub(crate) fn signature(&self, id: &str, timestamp: i64, body: &str) -> String {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_reference_library_accepts_a_signature() {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let theirs = standardwebhooks::Webhook::new(secret).unwrap();
        let ours = Signer::of_text(secret).unwrap();
        let body = "{\"type\":\"job.succeeded\"}";
        let signature = ours.signature("msg_1", 1_700_000_000, body);
        assert_eq!(theirs.sign("msg_1", 1_700_000_000, body.as_bytes()).unwrap(), signature);
    }

    #[test]
    fn a_short_or_odd_secret_is_none() {
        for text in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_?"] {
            assert!(Signer::of_text(text).is_none(), "{text}");
        }
    }
}
