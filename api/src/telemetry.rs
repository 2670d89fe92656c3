//! OpenTelemetry: spans of requests and jobs, sent by OTLP where the standard variables name a collector.
//!
//! A span says route, method, status, ids, times and versions: what the log says. Spans for it have the target
//! [`TARGET`]; the log does not show them, and only this program's own events go with them.

use std::env;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HeaderExtractor, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use ureq::Agent;

/// Of spans that are made for OpenTelemetry alone. `imagine-worker` writes the same word.
pub(crate) const TARGET: &str = "imagine::trace";

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];
const PROTOCOL: &str = "http/protobuf";
/// How long a collector may take at the end of the process.
const LAST: Duration = Duration::from_secs(3);
/// How long it may take for one call, unless `OTEL_EXPORTER_OTLP_TIMEOUT` ends it before.
const CALL: Duration = Duration::from_secs(30);

/// Why spans cannot be sent as the variables ask.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TelemetryError {
    #[error("{variable} is \"{value}\": {known} is known here")]
    Unsupported { variable: &'static str, value: String, known: &'static str },
    #[error("spans cannot be sent: {0}")]
    Exporter(String),
}

/// Whoever holds it has spans sent; dropping it sends the last ones.
#[derive(Debug)]
pub(crate) struct Telemetry(SdkTracerProvider);

impl Telemetry {
    /// None where no variable asks for it.
    pub(crate) fn of_environment() -> Result<Option<Self>, TelemetryError> {
        if !is_wanted(|name| env::var(name).ok())? {
            return Ok(None);
        }
        let exporter = SpanExporter::builder().with_http().with_http_client(Client::new()).build();
        let exporter = exporter.map_err(|e| TelemetryError::Exporter(e.to_string()))?;
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        Ok(Some(Self(provider)))
    }

    pub(crate) fn tracer(&self) -> SdkTracer {
        self.0.tracer("imagine")
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(LAST) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Whether the variables ask for spans. Without an address nothing is sent, though the standard has a default for
/// it: most machines run no collector.
fn is_wanted(variable: impl Fn(&str) -> Option<String>) -> Result<bool, TelemetryError> {
    let set = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
    if set("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    let exporter = set("OTEL_TRACES_EXPORTER");
    match exporter.as_deref() {
        Some("none") => return Ok(false),
        None if ENDPOINTS.iter().all(|name| set(name).is_none()) => return Ok(false),
        None | Some("otlp") => {}
        Some(other) => {
            let (variable, known) = ("OTEL_TRACES_EXPORTER", "\"otlp\" or \"none\"");
            return Err(TelemetryError::Unsupported { variable, value: other.into(), known });
        }
    }
    match PROTOCOLS.into_iter().find_map(|name| Some((name, set(name)?))) {
        Some((variable, value)) if value != PROTOCOL => {
            Err(TelemetryError::Unsupported { variable, value, known: PROTOCOL })
        }
        _ => Ok(true),
    }
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` weigh more than what is said here.
fn resource() -> Resource {
    let own = [
        KeyValue::new("service.name", "imagine"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    let said = Resource::builder().build();
    let unnamed = |value: &opentelemetry::Value| value.as_str().starts_with("unknown_service");
    let known = |key: &opentelemetry::Key| said.get(key).is_some_and(|value| !unnamed(&value));
    let missing: Vec<KeyValue> = own.into_iter().filter(|pair| !known(&pair.key)).collect();
    Resource::builder().with_attributes(missing).build()
}

/// The caller's span, by W3C's `traceparent`.
pub(crate) fn parent(headers: &HeaderMap) -> Context {
    TraceContextPropagator::new().extract(&HeaderExtractor(headers))
}

/// Sends from the exporter's own thread, which may wait. Says once that it fails, and once that it works again.
#[derive(Debug)]
struct Client {
    agent: Agent,
    failing: AtomicBool,
}

impl Client {
    fn new() -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(CALL))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("imagine/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.into(), failing: AtomicBool::new(false) }
    }

    fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, mut body) = self.agent.run(request.map(|body| body.to_vec()))?.into_parts();
        Ok(Response::from_parts(head, body.read_to_vec()?.into()))
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.call(request);
        let problem = match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let failed_before = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed_before => tracing::warn!(problem, "the collector takes no spans"),
            None if failed_before => tracing::info!("the collector takes spans again"),
            _ => {}
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(&str, &str)]) -> Result<bool, TelemetryError> {
        is_wanted(|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn nothing_is_sent_unless_the_variables_say_where() {
        let there = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert_eq!(wanted(&[]), Ok(false));
        assert_eq!(wanted(&[(there.0, "")]), Ok(false));
        assert_eq!(wanted(&[there]), Ok(true));
        assert_eq!(wanted(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://a/v1/traces")]), Ok(true));
        assert_eq!(wanted(&[("OTEL_TRACES_EXPORTER", "otlp")]), Ok(true));
        assert_eq!(wanted(&[there, ("OTEL_TRACES_EXPORTER", "none")]), Ok(false));
        assert_eq!(wanted(&[there, ("OTEL_SDK_DISABLED", "true")]), Ok(false));
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        let there = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        assert_eq!(wanted(&[there, ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]), Ok(true));
        let grpc = wanted(&[there, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]).map_err(|e| e.to_string());
        assert!(grpc.is_err_and(|text| text.contains("http/protobuf is known")));
        assert!(wanted(&[("OTEL_TRACES_EXPORTER", "zipkin")]).is_err());
    }
}
