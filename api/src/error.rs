//! What a client is told when something is wrong: RFC 9457's problem+json and the OpenAI clients' `error`
//! member in one body, so that both kinds of client read it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use imagine_contract::{CardRefused, PhotoRefused};
use imagine_store::{BlobError, StoreError};
use serde::Serialize;
use utoipa::ToSchema;

/// Every kind of problem there is. The names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    InvalidRequest,
    InvalidJson,
    InvalidPhoto,
    MissingKey,
    InvalidKey,
    ForeignOrigin,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    InFlight,
    NotFinished,
    NoCard,
    TooLarge,
    UnsupportedMediaType,
    RangeNotSatisfiable,
    NotTheSamePerson,
    NoUsablePhoto,
    ConsentRequired,
    Refused,
    IdempotencyMismatch,
    RateLimited,
    QueueFull,
    Internal,
    JobFailed,
    Unavailable,
    Draining,
}

impl Code {
    pub const ALL: [Self; 26] = [
        Self::InvalidRequest,
        Self::InvalidJson,
        Self::InvalidPhoto,
        Self::MissingKey,
        Self::InvalidKey,
        Self::ForeignOrigin,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::InFlight,
        Self::NotFinished,
        Self::NoCard,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::RangeNotSatisfiable,
        Self::NotTheSamePerson,
        Self::NoUsablePhoto,
        Self::ConsentRequired,
        Self::Refused,
        Self::IdempotencyMismatch,
        Self::RateLimited,
        Self::QueueFull,
        Self::Internal,
        Self::JobFailed,
        Self::Unavailable,
        Self::Draining,
    ];

    fn row(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (400, "invalid_request", "A value in the request cannot be used"),
            Self::InvalidJson => (400, "invalid_json", "The body is not what this route reads"),
            Self::InvalidPhoto => (400, "invalid_photo", "A file is not a photo that can be read"),
            Self::MissingKey => (401, "missing_api_key", "This server wants an API key"),
            Self::InvalidKey => (401, "invalid_api_key", "The API key is not known or was revoked"),
            Self::ForeignOrigin => (403, "foreign_origin", "Another site's page may not use this server"),
            Self::NotFound => (404, "not_found", "There is no such thing"),
            Self::MethodNotAllowed => (405, "method_not_allowed", "This path does not take that method"),
            Self::RequestTimeout => (408, "request_timeout", "The request took too long to arrive"),
            Self::InFlight => (409, "request_in_flight", "The first request with this key still runs"),
            Self::NotFinished => (409, "not_finished", "This has to finish first"),
            Self::NoCard => (409, "no_card", "This person has no identity card here"),
            Self::TooLarge => (413, "too_large", "The request or a file in it is too large"),
            Self::UnsupportedMediaType => (415, "unsupported_media_type", "This kind of content is not read"),
            Self::RangeNotSatisfiable => (416, "range_not_satisfiable", "The range is outside the file"),
            Self::NotTheSamePerson => (422, "not_the_same_person", "The photos show different people"),
            Self::NoUsablePhoto => (422, "no_usable_photo", "No photo shows a face that can be used"),
            Self::ConsentRequired => (422, "consent_required", "The person's consent is missing"),
            Self::Refused => (422, "refused", "A safety rule forbids this"),
            Self::IdempotencyMismatch => {
                (422, "idempotency_mismatch", "The Idempotency-Key was used with another request")
            }
            Self::RateLimited => (429, "rate_limited", "Too many requests"),
            Self::QueueFull => (429, "queue_full", "Too many jobs wait already"),
            Self::Internal => (500, "internal", "Something failed on the server"),
            Self::JobFailed => (500, "job_failed", "The pictures could not be made"),
            Self::Unavailable => (503, "unavailable", "The server cannot do this now"),
            Self::Draining => (503, "draining", "The server is shutting down"),
        }
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// For programs.
    pub fn name(self) -> &'static str {
        self.row().1
    }

    /// One line for people, the same for every problem of this kind.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// OpenAI's coarser name.
    fn openai_type(self) -> &'static str {
        match self.row().0 {
            401 => "authentication_error",
            403 => "permission_error",
            404 => "not_found_error",
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => "invalid_request_error",
        }
    }

    /// The nearest one for a status that a library chose.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            401 => Self::InvalidKey,
            403 => Self::ForeignOrigin,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::RequestTimeout,
            409 => Self::InFlight,
            413 => Self::TooLarge,
            415 => Self::UnsupportedMediaType,
            416 => Self::RangeNotSatisfiable,
            422 | 400 => Self::InvalidJson,
            429 => Self::RateLimited,
            503 => Self::Unavailable,
            400..500 => Self::InvalidRequest,
            _ => Self::Internal,
        }
    }
}

/// What went wrong with one request.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    pub code: Code,
    pub detail: String,
    /// The field that is at fault.
    pub param: Option<String>,
    /// A header that belongs to it.
    pub hint: Option<Hint>,
    /// Takes the place of the code's name where something else has given one, e.g. a job's own.
    pub specific: Option<String>,
    /// Further members for programs.
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// What a header tells of a problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Seconds after which it may be tried again.
    RetryAfter(u64),
    /// Bytes that there are, where a range was asked for that is beyond them.
    ThereAre(u64),
}

/// The short way in handlers.
pub type Outcome<T> = Result<T, Problem>;

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        let (detail, extra) = (detail.into(), serde_json::Map::new());
        Self { code, detail, param: None, hint: None, specific: None, extra }
    }

    /// A field's value cannot be used.
    pub fn field(param: &str, detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail).param(param)
    }

    /// Nothing by this id, or it belongs to somebody else, which is not told.
    pub fn not_found(what: &str, id: &str) -> Self {
        // Ids come from the client: they are shown only if they look like ids.
        let known = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let id = if known { id } else { "that" };
        Self::new(Code::NotFound, format!("there is no {what} \"{id}\""))
    }

    /// The reason goes to the log, not to the client.
    pub fn internal(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "request failed");
        Self::new(Code::Internal, "the server's log says more, under this request's id")
    }

    /// The database or the place for pictures cannot be used now. The reason goes to the log.
    fn unavailable(reason: impl std::fmt::Display) -> Self {
        tracing::error!(%reason, "storage cannot be used");
        let detail = "what is stored cannot be read or written now; try again in a moment";
        Self::new(Code::Unavailable, detail).retry_after(5)
    }

    #[must_use]
    pub fn param(mut self, param: &str) -> Self {
        self.param = Some(param.to_owned());
        self
    }

    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.hint = Some(Hint::RetryAfter(seconds.clamp(1, 120)));
        self
    }

    /// A range of so many bytes that lies outside them.
    pub fn no_such_range(size: u64) -> Self {
        let detail = format!("there are {size} bytes");
        Self { hint: Some(Hint::ThereAre(size)), ..Self::new(Code::RangeNotSatisfiable, detail) }
    }

    #[must_use]
    pub fn specific(mut self, code: impl Into<String>) -> Self {
        self.specific = Some(code.into());
        self
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: serde_json::Value) -> Self {
        self.extra.insert(name.to_owned(), value);
        self
    }

    /// The body, once the request's id is known.
    pub fn body(&self, request_id: &str) -> ProblemBody {
        let code = self.specific.clone().unwrap_or_else(|| self.code.name().to_owned());
        ProblemBody {
            r#type: format!("/docs#{}", self.code.name()),
            title: self.code.title().to_owned(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            request_id: request_id.to_owned(),
            error: ErrorBody {
                message: self.detail.clone(),
                r#type: self.code.openai_type().to_owned(),
                code,
                param: self.param.clone(),
            },
            extra: self.extra.clone(),
        }
    }

    /// The whole answer.
    pub(crate) fn render(&self, request_id: &str) -> Response {
        let mut response = (self.code.status(), Json(self.body(request_id))).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match self.hint {
            Some(Hint::RetryAfter(seconds)) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            Some(Hint::ThereAre(bytes)) => {
                if let Ok(value) = HeaderValue::from_str(&format!("bytes */{bytes}")) {
                    headers.insert(header::CONTENT_RANGE, value);
                }
            }
            // OpenAI's clients try 409 and 5xx again by themselves; here that would not help.
            None if matches!(self.code, Code::NotFinished | Code::NoCard | Code::JobFailed) => {
                headers.insert("x-should-retry", HeaderValue::from_static("false"));
            }
            None => {}
        }
        if self.code == Code::MissingKey || self.code == Code::InvalidKey {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::QueueFull { .. } => Self::new(Code::QueueFull, error.to_string()).retry_after(15),
            StoreError::IdempotencyMismatch => Self::new(Code::IdempotencyMismatch, error.to_string()),
            StoreError::IdempotencyInFlight => Self::new(Code::InFlight, error.to_string()).retry_after(2),
            StoreError::Cursor(_) => Self::field("after", "\"after\" is no cursor of this list"),
            StoreError::NoPerson => Self::new(Code::NotFound, error.to_string()).param("people"),
            other if other.is_passing() => Self::unavailable(other),
            other => Self::internal(other),
        }
    }
}

impl From<CardRefused> for Problem {
    fn from(refused: CardRefused) -> Self {
        match refused {
            CardRefused::NoCards(_) | CardRefused::Unreadable(_) => {
                Self::new(Code::NoCard, refused.to_string())
            }
            CardRefused::Change(detail) => Self::field("set", detail),
        }
    }
}

impl From<BlobError> for Problem {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::NotFound(_) => Self::new(Code::NotFound, "the bytes are gone"),
            failed @ BlobError::Failed { .. } => Self::unavailable(failed),
            other => Self::internal(other),
        }
    }
}

impl From<PhotoRefused> for Problem {
    fn from(refused: PhotoRefused) -> Self {
        let code = match refused.code.as_str() {
            "unsupported_format" => Code::UnsupportedMediaType,
            "too_large" => Code::TooLarge,
            _ => Code::InvalidPhoto,
        };
        Self::new(code, refused.message).specific(refused.code).param("photo")
    }
}

impl IntoResponse for Problem {
    /// Only a note: the outermost layer knows the request's id and writes the body.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(Box::new(self));
        response
    }
}

/// `application/problem+json` with OpenAI's `error` beside it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Where this kind of problem is explained.
    pub r#type: String,
    pub title: String,
    pub status: u16,
    /// What is wrong with this request, and what to do.
    pub detail: String,
    pub request_id: String,
    pub error: ErrorBody,
    #[serde(flatten)]
    #[schema(ignore)]
    pub extra: serde_json::Map<String, serde_json::Value>,
}

/// As OpenAI's clients read it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = OpenAiError)]
pub struct ErrorBody {
    pub message: String,
    pub r#type: String,
    /// The problem's name.
    pub code: String,
    /// The field that is at fault.
    pub param: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_complete() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error(), "{code:?}");
        }
    }

    #[test]
    fn an_id_from_outside_is_shown_only_if_it_looks_like_one() {
        assert!(Problem::not_found("job", "job_1").detail.contains("job_1"));
        assert!(!Problem::not_found("job", "<script>").detail.contains('<'));
    }
}
