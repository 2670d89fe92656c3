//! Structured logs to stderr. What is logged where: requests by route and id, jobs by id; never prompts,
//! pictures, embeddings, names or keys.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use crate::config::LogSettings;

/// Starts logging for this process; a subscriber that is there already stays.
///
/// # Errors
/// The directives cannot be read.
pub fn logging(settings: &LogSettings) -> Result<(), ParseError> {
    let filter = EnvFilter::builder().parse(&settings.log)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error only says that somebody was first.
    let _ = match settings.log_format.as_str() {
        "json" => builder.json().flatten_event(true).try_init(),
        _ => builder.with_target(false).try_init(),
    };
    Ok(())
}
