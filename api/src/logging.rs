//! Structured logs to stderr, and spans to a collector where one is named. What is logged where: requests by route
//! and id, jobs by id; never prompts, pictures, embeddings, names or keys.

use std::io::IsTerminal;

use tracing::Level;
use tracing::metadata::Metadata;
use tracing_subscriber::filter::{FilterExt, ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt, registry};

use crate::config::LogSettings;
use crate::telemetry::{self, Telemetry, TelemetryError};

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    #[error("log: {0}")]
    Directives(#[from] ParseError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
}

/// Held for as long as the process works; the last spans are sent when it is dropped.
#[derive(Debug)]
pub struct Logging {
    _telemetry: Option<Telemetry>,
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
    let spans = telemetry.as_ref().map(|telemetry| {
        let layer = tracing_opentelemetry::layer().with_tracer(telemetry.tracer());
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_filter(filter_fn(is_for_a_collector))
    });
    // An error only says that somebody was first.
    let _ = registry().with(format).with(spans).try_init();
    Ok(Logging { _telemetry: telemetry })
}

fn is_for_the_log(what: &Metadata<'_>) -> bool {
    what.target() != telemetry::TARGET
}

/// Spans made for it, and what this program has to say meanwhile: no library's own words.
fn is_for_a_collector(what: &Metadata<'_>) -> bool {
    match what.is_span() {
        true => what.target() == telemetry::TARGET,
        false => *what.level() <= Level::INFO && what.target().starts_with("imagine"),
    }
}
