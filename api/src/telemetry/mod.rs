//! OpenTelemetry: spans of requests and jobs, the numbers of `/metrics` and the log's lines, sent by OTLP where the
//! standard variables name a collector.
//!
//! A span says route, method, status, ids, times and versions: what the log says. Spans for it have the target
//! [`TARGET`]; the log does not show them, and only this program's own events go with them.

mod client;
mod variables;

use std::env;
use std::time::Duration;

use axum::http::HeaderMap;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::HeaderExtractor;
use opentelemetry_otlp::{ExporterBuildError, LogExporter, MetricExporter, SpanExporter, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::SdkLoggerProvider;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};

use client::Client;
pub use variables::UnknownVariable;
use variables::{LOGS, METRICS, SPANS, is_wanted};

use crate::meter::Meter;

/// Of spans that are made for OpenTelemetry alone. `imagine-worker` writes the same word.
pub(crate) const TARGET: &str = "imagine::trace";

/// How long a collector may take at the end of the process for spans, and again for logs; the SDK gives metrics five
/// seconds, beside the spans.
const LAST: Duration = Duration::from_secs(3);

/// Why nothing can be sent as the variables ask.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    #[error(transparent)]
    Variable(#[from] UnknownVariable),
    #[error("nothing can be sent to the collector: {0}")]
    Exporter(#[from] ExporterBuildError),
}

/// Whoever holds it has things sent, those that the variables ask for; dropping it sends the last ones.
#[derive(Debug)]
pub(crate) struct Telemetry {
    spans: Option<SdkTracerProvider>,
    logs: Option<SdkLoggerProvider>,
    meter: Meter,
}

impl Telemetry {
    pub(crate) fn of_environment() -> Result<Self, TelemetryError> {
        let wanted = |signal| is_wanted(signal, |name| env::var(name).ok());
        let spans = match wanted(&SPANS)? {
            true => {
                Some(SpanExporter::builder().with_http().with_http_client(Client::new(SPANS.name)).build()?)
            }
            false => None,
        };
        let logs = match wanted(&LOGS)? {
            true => {
                Some(LogExporter::builder().with_http().with_http_client(Client::new(LOGS.name)).build()?)
            }
            false => None,
        };
        let numbers = match wanted(&METRICS)? {
            true => Some(
                MetricExporter::builder().with_http().with_http_client(Client::new(METRICS.name)).build()?,
            ),
            false => None,
        };
        // The exporters' threads begin here, when nothing can fail any more.
        Ok(Self {
            spans: spans.map(|exporter| {
                SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build()
            }),
            logs: logs.map(|exporter| {
                SdkLoggerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build()
            }),
            meter: numbers.map_or_else(Meter::default, |exporter| Meter::sent_by(exporter, resource())),
        })
    }

    pub(crate) fn tracer(&self) -> Option<SdkTracer> {
        self.spans.as_ref().map(|provider| provider.tracer("imagine"))
    }

    pub(crate) fn logs(&self) -> Option<&SdkLoggerProvider> {
        self.logs.as_ref()
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let say = |what: &str, sent: OTelSdkResult| {
            if let Err(error) = sent {
                tracing::warn!(%error, what, "the last ones were not sent");
            }
        };
        std::thread::scope(|scope| {
            let metrics = scope.spawn(|| self.meter.end());
            if let Some(spans) = &self.spans {
                say(SPANS.name, spans.shutdown_with_timeout(LAST));
            }
            if let Ok(sent) = metrics.join() {
                say(METRICS.name, sent);
            }
        });
        // Last: it has something to say of the others.
        if let Some(logs) = &self.logs {
            say(LOGS.name, logs.shutdown_with_timeout(LAST));
        }
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
