//! The outermost layer: gives each request an id, writes problems' bodies, adds the security headers, counts and
//! logs. Paths are logged as routes, without ids, and queries not at all: they may hold words of a prompt.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::app::App;
use crate::error::{Code, Problem};
use crate::telemetry;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// An API answer is data: nothing in it may run, wherever a browser shows it.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'; sandbox";

pub(crate) async fn finish(State(app): State<App>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let id = request_id(&request);
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", |path| path.as_str()).to_owned();
    let span = tracing::info_span!("request", request_id = %id, %method, %route);
    let trace = trace(&id, &method, &route, request.headers());
    let work = next.run(request).instrument(span.clone()).instrument(trace.clone());
    let response = work.await;
    let mut response = whole(response, &id, &method).await;
    if let Some(code) = response.extensions_mut().remove::<Code>() {
        app.metrics.rejected(code);
    }
    add_headers(&mut response, &id);
    let (status, seconds) = (response.status().as_u16(), begun.elapsed().as_secs_f64());
    trace.record("http.response.status_code", status);
    if response.status().is_server_error() {
        trace.record("otel.status_code", "ERROR");
    }
    trace.in_scope(|| span.in_scope(|| tracing::info!(status, seconds, "answered")));
    response
}

/// The span for OpenTelemetry, under its names; a child of the caller's own, if it names one.
fn trace(id: &str, method: &Method, route: &str, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: telemetry::TARGET,
        "request",
        otel.name = %format_args!("{method} {route}"),
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = %method,
        http.route = route,
        http.response.status_code = Empty,
        request_id = id,
    );
    if !span.is_disabled() {
        // An error only says that the span goes nowhere.
        let _ = span.set_parent(telemetry::parent(headers));
    }
    span
}

/// The client's own id where it is short and plain, so that it can be found again; else a new one.
fn request_id(request: &Request) -> String {
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok());
    let plain = |id: &&str| {
        let fits = (8..=64).contains(&id.len());
        fits && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    given.filter(plain).map_or_else(|| format!("req_{}", uuid::Uuid::now_v7().simple()), str::to_owned)
}

/// Problems become their body; what a library refused with a line of text becomes a problem.
async fn whole(mut response: Response, id: &str, method: &Method) -> Response {
    let status = response.status();
    if let Some(problem) = response.extensions_mut().remove::<Box<Problem>>() {
        let mut rendered = problem.render(id);
        rendered.extensions_mut().insert(problem.code);
        return rendered;
    }
    let refused = status.is_client_error() || status.is_server_error();
    // A failed condition and HEAD have no body by rule.
    if !refused || status == StatusCode::PRECONDITION_FAILED || method == Method::HEAD {
        return response;
    }
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    if kind.contains("json") {
        return response;
    }
    let allow = response.headers().get(header::ALLOW).cloned();
    let code = Code::of_status(status);
    let text = axum::body::to_bytes(response.into_body(), 1_000).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    let detail = if text.is_empty() { code.title().to_owned() } else { text };
    let mut rendered = Problem::new(code, detail).render(id);
    if let Some(allow) = allow {
        rendered.headers_mut().insert(header::ALLOW, allow);
    }
    rendered.extensions_mut().insert(code);
    rendered
}

fn add_headers(response: &mut Response, id: &str) {
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(self), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if !headers.contains_key(header::CONTENT_SECURITY_POLICY) {
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DATA_POLICY));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
