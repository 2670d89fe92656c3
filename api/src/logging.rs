//! Structured logs to stderr, and to a collector where one is named, with spans and numbers. What is logged where: requests by route
//! and id, jobs by id; never prompts, pictures, embeddings, names or keys.

use std::io::IsTerminal;

use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use tracing::Level;
use tracing::metadata::Metadata;
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::config::LogSettings;
use crate::meter::Meter;
use crate::telemetry::{self, Telemetry, TelemetryError};

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log: {0}")]
    Directives(#[from] ParseError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// Held for as long as the process works; what a collector has not been sent by then goes out when it is dropped.
#[derive(Debug)]
pub struct Logging {
    telemetry: Telemetry,
}

impl Logging {
    /// For the process's numbers.
    #[must_use]
    pub fn meter(&self) -> Meter {
        self.telemetry.meter().clone()
    }
}

/// Starts logging for this process; a subscriber that is there already stays.
///
/// # Errors
/// The directives cannot be read, or OpenTelemetry's variables ask for what cannot be done.
pub fn logging(settings: &LogSettings) -> Result<Logging, LoggingError> {
    let filter = EnvFilter::builder().parse(&settings.log)?.and(filter_fn(is_for_the_log));
    let colours = std::io::stderr().is_terminal();
    let format = fmt::layer().with_writer(std::io::stderr).with_ansi(colours);
    let format = match settings.log_format.as_str() {
        "json" => format.json().flatten_event(true).with_filter(filter).boxed(),
        _ => format.with_target(false).with_filter(filter).boxed(),
    };
    let telemetry = Telemetry::of_environment()?;
    let spans = telemetry.tracer().map(|tracer| {
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_filter(filter_fn(is_for_a_collector))
    });
    let lines = telemetry.logs().map(|provider| {
        let layer = OpenTelemetryTracingBridge::builder(provider);
        let layer = layer.with_tracing_span_attributes(TracingSpanAttributes::allowlist(OF_REQUESTS)).build();
        layer.with_filter(filter_fn(is_own).and(filter_fn(is_for_the_log)))
    });
    // An error only says that somebody was first.
    let _ = registry().with(format).with(spans).with(lines).try_init();
    Ok(Logging { telemetry })
}

/// What a line that is sent says of the request in which it was written.
const OF_REQUESTS: [&str; 3] = ["request_id", "method", "route"];

fn is_for_the_log(what: &Metadata<'_>) -> bool {
    // Postgres tells at every start that its tables are there already.
    let chatter = what.target() == "sqlx::postgres::notice" && *what.level() >= Level::INFO;
    what.target() != telemetry::TARGET && !chatter
}

/// Spans made for it, and what this program has to say meanwhile: no library's own words.
fn is_for_a_collector(what: &Metadata<'_>) -> bool {
    match what.is_span() {
        true => what.target() == telemetry::TARGET,
        false => is_own(what),
    }
}

fn is_own(what: &Metadata<'_>) -> bool {
    *what.level() <= Level::INFO && what.target().starts_with("imagine")
}
