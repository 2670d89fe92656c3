//! JSON bodies, read so that a mistake is named.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::error::{Code, Outcome, Problem};

/// Bytes of a JSON body: masks come in it, as base64.
pub(crate) const JSON_BYTES: usize = 12 << 20;

/// A JSON body of type `T`, with the digest of its bytes.
pub(crate) struct JsonBody<T> {
    pub value: T,
    pub digest: [u8; 32],
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Outcome<Self> {
        let kind = content_type(request.headers());
        if kind != "application/json" && !kind.ends_with("+json") {
            let detail = "send JSON, with Content-Type: application/json";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
        let bytes = to_bytes(request.into_body(), JSON_BYTES).await.map_err(|_| {
            Problem::new(Code::TooLarge, format!("the request is cut off, or larger than {JSON_BYTES} bytes"))
        })?;
        Ok(Self { value: parse(&bytes)?, digest: Sha256::digest(&bytes).into() })
    }
}

/// The media type alone, in lower case.
pub(crate) fn content_type(headers: &axum::http::HeaderMap) -> String {
    let value = headers.get(axum::http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = value.and_then(|text| text.split(';').next()).unwrap_or("");
    kind.trim().to_ascii_lowercase()
}

/// JSON from bytes; a mistake's field is told where it is known.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (at, why) = (error.path().to_string(), plain(&error.inner().to_string()));
        // Names come from the client: one that looks like none is not repeated, and "." is the whole.
        let plain = at.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.[]".contains(&b));
        match plain && at != "." && at.len() <= 64 {
            true => Problem::new(Code::InvalidJson, format!("\"{at}\": {why}")).param(&at),
            false => Problem::new(Code::InvalidJson, why),
        }
    })?;
    reader.end().map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))?;
    Ok(value)
}

/// The names of types are this program's own business.
fn plain(why: &str) -> String {
    match why.split_once(", expected struct ") {
        Some((what, name)) => {
            let rest = name.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
            format!("{what}, expected an object{rest}")
        }
        None => why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::wire::job::JobRequest;

    fn refused(text: &str) -> (Option<String>, String) {
        let problem = parse::<JobRequest>(text.as_bytes()).unwrap_err();
        assert_eq!(problem.code, Code::InvalidJson);
        (problem.param, problem.detail)
    }

    #[test]
    fn a_mistake_is_named() {
        assert_eq!(parse::<JobRequest>(br#"{"prompt": "a", "seed": 7}"#).unwrap().seed, Some(7));
        let (param, detail) = refused(r#"{"prompt": "a", "seed": -1}"#);
        assert_eq!(param.as_deref(), Some("seed"));
        assert!(detail.starts_with("\"seed\": invalid value: integer `-1`"), "{detail}");
        let (param, detail) = refused(r#"{"prompt": "a", "webhook": "http://b"}"#);
        assert_eq!(param.as_deref(), Some("webhook"));
        assert!(detail.contains("string \"http://b\", expected an object at line 1"), "{detail}");
        let (param, _) = refused(r#"{"prompt": "a", "people": [{"person": 3}]}"#);
        assert_eq!(param.as_deref(), Some("people[0].person"));
        for text in ["", "{", "7", r#"{"prompt": "a"} x"#, r#"{"prompt": "a", "<b>": 3}"#] {
            assert_eq!(refused(text).0, None, "{text}");
        }
    }
}
