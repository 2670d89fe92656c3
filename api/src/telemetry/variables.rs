//! Which of the standard's variables ask for what.

/// A kind of things that a collector takes, and the variables that are about it alone.
#[derive(Debug)]
pub(super) struct Signal {
    /// In the words of the log.
    pub name: &'static str,
    exporter: &'static str,
    endpoint: &'static str,
    protocol: &'static str,
    /// What may be asked for beside `otlp`, without anything being sent.
    others: &'static [&'static str],
}

pub(super) const SPANS: Signal = Signal {
    name: "spans",
    exporter: "OTEL_TRACES_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    others: &["none"],
};

pub(super) const METRICS: Signal = Signal {
    name: "metrics",
    exporter: "OTEL_METRICS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL",
    // Prometheus comes for them by itself.
    others: &["none", "prometheus"],
};

pub(super) const LOGS: Signal = Signal {
    name: "logs",
    exporter: "OTEL_LOGS_EXPORTER",
    endpoint: "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
    protocol: "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
    others: &["none"],
};

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
const PROTOCOL: &str = "OTEL_EXPORTER_OTLP_PROTOCOL";
const SPOKEN: &str = "http/protobuf";

/// A variable asks for what cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{variable} is \"{value}\": {known} is known here")]
pub struct UnknownVariable {
    pub variable: &'static str,
    pub value: String,
    pub known: String,
}

/// Whether the variables ask for these. Without an address nothing is sent, though the standard has a default for
/// it: most machines run no collector.
pub(super) fn is_wanted(
    signal: &Signal,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<bool, UnknownVariable> {
    let set = |name: &str| variable(name).filter(|text| !text.trim().is_empty());
    if set("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true")) {
        return Ok(false);
    }
    match set(signal.exporter) {
        Some(other) if signal.others.contains(&other.as_str()) => return Ok(false),
        Some(value) if value != "otlp" => {
            let known = format!("otlp or {}", signal.others.join(" or "));
            return Err(UnknownVariable { variable: signal.exporter, value, known });
        }
        Some(_) => {}
        None if [ENDPOINT, signal.endpoint].into_iter().all(|name| set(name).is_none()) => return Ok(false),
        None => {}
    }
    match [signal.protocol, PROTOCOL].into_iter().find_map(|name| Some((name, set(name)?))) {
        Some((variable, value)) if value != SPOKEN => {
            Err(UnknownVariable { variable, value, known: SPOKEN.to_owned() })
        }
        _ => Ok(true),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THERE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");

    fn wanted(signal: &Signal, pairs: &[(&str, &str)]) -> Result<bool, UnknownVariable> {
        is_wanted(signal, |name| pairs.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn nothing_is_sent_unless_the_variables_say_where() {
        for signal in [&SPANS, &METRICS, &LOGS] {
            assert_eq!(wanted(signal, &[]), Ok(false));
            assert_eq!(wanted(signal, &[(THERE.0, "")]), Ok(false));
            assert_eq!(wanted(signal, &[THERE]), Ok(true));
            assert_eq!(wanted(signal, &[(signal.endpoint, "http://a/v1/them")]), Ok(true));
            assert_eq!(wanted(signal, &[(signal.exporter, "otlp")]), Ok(true));
            assert_eq!(wanted(signal, &[THERE, (signal.exporter, "none")]), Ok(false));
            assert_eq!(wanted(signal, &[THERE, ("OTEL_SDK_DISABLED", "true")]), Ok(false));
        }
    }

    #[test]
    fn each_kind_has_variables_of_its_own() {
        let only = [("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://a/v1/metrics")];
        assert_eq!(
            [&SPANS, &METRICS, &LOGS].map(|signal| wanted(signal, &only)),
            [Ok(false), Ok(true), Ok(false)]
        );
        let but = [THERE, ("OTEL_LOGS_EXPORTER", "none"), ("OTEL_METRICS_EXPORTER", "prometheus")];
        assert_eq!(
            [&SPANS, &METRICS, &LOGS].map(|signal| wanted(signal, &but)),
            [Ok(true), Ok(false), Ok(false)]
        );
    }

    #[test]
    fn what_cannot_be_done_is_said() {
        assert_eq!(wanted(&SPANS, &[THERE, (PROTOCOL, "http/protobuf")]), Ok(true));
        for signal in [&SPANS, &METRICS, &LOGS] {
            let grpc = wanted(signal, &[THERE, (PROTOCOL, "grpc")]).map_err(|e| e.to_string());
            assert!(grpc.is_err_and(|text| text.contains("http/protobuf is known")));
            // The kind's own variable weighs more.
            assert_eq!(
                wanted(signal, &[THERE, (PROTOCOL, "grpc"), (signal.protocol, "http/protobuf")]),
                Ok(true)
            );
            let other = wanted(signal, &[(signal.exporter, "zipkin")]).map_err(|e| e.to_string());
            assert!(other.is_err_and(|text| text.contains(signal.exporter) && text.contains("none")));
        }
    }
}
