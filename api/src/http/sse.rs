//! Server-sent events.

use std::time::Duration;

use axum::response::sse::{Event, KeepAlive};
use serde_json::Value;

/// A comment line every 15 seconds, so that nothing on the way takes silence for death.
pub(crate) fn keep_alive() -> KeepAlive {
    KeepAlive::new().interval(Duration::from_secs(15))
}

/// An event with a name and JSON on one line.
pub(crate) fn named(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}
