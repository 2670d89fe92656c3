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

/// JSON from bytes.
pub(crate) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Outcome<T> {
    serde_json::from_slice(bytes).map_err(|error| Problem::new(Code::InvalidJson, error.to_string()))
}
