//! What a client says it would like.

use std::time::Duration;

use axum::http::{HeaderMap, header};

/// `Accept` names the type.
pub(crate) fn wants(headers: &HeaderMap, kind: &str) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    accept.split(',').any(|part| part.split(';').next().is_some_and(|t| t.trim().eq_ignore_ascii_case(kind)))
}

/// RFC 7240's `Prefer: wait=N`, at most a minute.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let prefer = headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok());
    let seconds = prefer.flat_map(|text| text.split(',')).find_map(|part| {
        let (name, value) = part.trim().split_once('=')?;
        name.trim().eq_ignore_ascii_case("wait").then(|| value.trim().parse::<u64>().ok())?
    })?;
    Some(Duration::from_secs(seconds.min(60)))
}

/// The number after which an event stream goes on.
pub(crate) fn last_event_id(headers: &HeaderMap) -> u64 {
    let value = headers.get("last-event-id").and_then(|value| value.to_str().ok());
    value.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
    }

    #[test]
    fn preferences_are_read() {
        assert_eq!(wait(&headers("prefer", "respond-async, Wait=10")), Some(Duration::from_secs(10)));
        assert_eq!(wait(&headers("prefer", "wait=900")), Some(Duration::from_secs(60)));
        assert_eq!(wait(&headers("prefer", "wait=soon")), None);
        assert!(wants(&headers("accept", "text/html, text/event-stream;q=0.9"), "text/event-stream"));
        assert!(!wants(&headers("accept", "*/*"), "text/event-stream"));
        assert_eq!(last_event_id(&headers("last-event-id", "17")), 17);
        assert_eq!(last_event_id(&headers("last-event-id", "x")), 0);
    }
}
