//! The page, embedded in the program.

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::error::{Code, Problem};

#[derive(RustEmbed)]
#[folder = "../web/page"]
#[exclude = "*.md"]
#[exclude = ".*"]
#[exclude = "*/.*"]
struct Page;

/// Nothing from elsewhere, nothing written into the markup.
pub(crate) const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; \
    media-src 'self' blob:; connect-src 'self'; font-src 'none'; object-src 'none'; base-uri 'none'; \
    form-action 'self'; frame-ancestors 'none'";

/// `GET /`.
pub(crate) async fn index(headers: HeaderMap) -> Response {
    serve("index.html", &headers)
}

/// Every other file of the page.
pub(crate) async fn file(Path(path): Path<String>, headers: HeaderMap) -> Response {
    serve(&path, &headers)
}

/// Any other method: nothing of the page takes one, and the API's routes answer for themselves.
pub(crate) async fn nothing() -> Problem {
    Problem::new(Code::NotFound, "nothing at this path takes this method")
}

fn serve(path: &str, request: &HeaderMap) -> Response {
    match Page::get(path) {
        Some(file) => answer(&file, path, request),
        None => Problem::new(Code::NotFound, "there is nothing at this path").into_response(),
    }
}

fn answer(file: &EmbeddedFile, path: &str, request: &HeaderMap) -> Response {
    // Weak: a compressed answer has other bytes.
    let tag = format!("W/\"{}\"", crate::consent::hex(&file.metadata.sha256_hash()[..16]));
    let known = request.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let mut response = if known.is_some_and(|known| known.split(',').any(|t| t.trim() == tag)) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        file.data.clone().into_owned().into_response()
    };
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(&content_type(file.metadata.mimetype(), path)) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn content_type(guess: &str, path: &str) -> String {
    let kind = if path.ends_with(".webmanifest") { "application/manifest+json" } else { guess };
    let text = kind.starts_with("text/") || matches!(kind, "application/json" | "application/manifest+json");
    if text { format!("{kind}; charset=utf-8") } else { kind.to_owned() }
}
