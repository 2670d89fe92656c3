//! Links to pictures that need no key: for a quarter of an hour, for reading only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde::Deserialize;
use sha2::Sha256;
use subtle::ConstantTimeEq;

/// Seconds. A link holds for at least two thirds of this, and stays the same for a third, so that caches help.
const LIFE: u64 = 900;

/// Signs and checks.
#[derive(Clone)]
pub(crate) struct UrlSigner([u8; 32]);

/// What a signed link brings.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Signature {
    pub exp: Option<u64>,
    pub sig: Option<String>,
}

impl UrlSigner {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self(secret)
    }

    /// The path with a query that lets it be read without a key.
    pub(crate) fn sign(&self, path: &str, tenant: &str, now: u64) -> String {
        let expires = (now / (LIFE / 3) + 3) * (LIFE / 3);
        let sig = URL_SAFE_NO_PAD.encode(self.mac(path, tenant, expires));
        let tenant = URL_SAFE_NO_PAD.encode(tenant);
        format!("{path}?exp={expires}&sig={tenant}.{sig}")
    }

    /// Whose link it is, if it holds.
    pub(crate) fn check(&self, path: &str, signature: &Signature, now: u64) -> Option<String> {
        let expires = signature.exp?;
        let (tenant, sig) = signature.sig.as_deref()?.split_once('.')?;
        let tenant = String::from_utf8(URL_SAFE_NO_PAD.decode(tenant).ok()?).ok()?;
        let sig = URL_SAFE_NO_PAD.decode(sig).ok()?;
        let right = self.mac(path, &tenant, expires);
        let holds = !right.is_empty() && bool::from(right.as_slice().ct_eq(&sig));
        (holds && (now..=now + LIFE).contains(&expires)).then_some(tenant)
    }

    fn mac(&self, path: &str, tenant: &str, expires: u64) -> Vec<u8> {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return Vec::new() };
        for part in ["GET", path, tenant, &expires.to_string()] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().to_vec()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn parts(url: &str) -> (String, Signature) {
        let (path, query) = url.split_once('?').unwrap();
        let get = |name: &str| query.split('&').find_map(|p| p.strip_prefix(name)).map(str::to_owned);
        (path.to_owned(), Signature { exp: get("exp=").map(|e| e.parse().unwrap()), sig: get("sig=") })
    }

    #[test]
    fn a_link_holds_for_its_path_and_time_only() {
        let signer = UrlSigner::new([7; 32]);
        let (path, signature) = parts(&signer.sign("/v1/images/img_1", "t", 1_000_000));
        assert_eq!(signer.check(&path, &signature, 1_000_599).as_deref(), Some("t"));
        assert_eq!(signer.check(&path, &signature, 1_000_901), None);
        assert_eq!(signer.check("/v1/images/img_2", &signature, 1_000_000), None);
        let later = Signature { exp: signature.exp.map(|e| e + 100), ..signature.clone() };
        assert_eq!(signer.check(&path, &later, 1_000_000), None);
        assert_eq!(UrlSigner::new([8; 32]).check(&path, &signature, 1_000_000), None);
        assert_eq!(signer.check(&path, &Signature::default(), 1_000_000), None);
        let forged = Signature { sig: signature.sig.map(|s| format!("dQ{}", &s[2..])), ..signature };
        assert_eq!(signer.check(&path, &forged, 1_000_000), None);
    }
}
