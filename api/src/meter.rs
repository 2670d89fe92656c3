//! Where instruments write: read by whoever asks for `/metrics`, and sent to a collector where one is named.

use opentelemetry::metrics::MeterProvider;
use opentelemetry_otlp::MetricExporter;
use opentelemetry_prometheus_text_exporter::PrometheusExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};

/// The type of what [`Meter::text`] gives.
pub(crate) const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Keeps the numbers of a process. Cloning it gives another handle to the same.
#[derive(Clone, Debug)]
pub struct Meter {
    provider: SdkMeterProvider,
    reader: PrometheusExporter,
    sent: bool,
}

impl Default for Meter {
    /// Nothing is sent anywhere.
    fn default() -> Self {
        let reader = reader();
        Self {
            provider: SdkMeterProvider::builder().with_reader(reader.clone()).build(),
            reader,
            sent: false,
        }
    }
}

impl Meter {
    /// Sends them every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds, a minute without that.
    pub(crate) fn sent_by(exporter: MetricExporter, resource: Resource) -> Self {
        let reader = reader();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader.clone())
            .with_reader(PeriodicReader::builder(exporter).build())
            .with_resource(resource)
            .build();
        Self { provider, reader, sent: true }
    }

    /// Whether somebody is sent the numbers unasked.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent
    }

    pub(crate) fn instruments(&self) -> opentelemetry::metrics::Meter {
        self.provider.meter("imagine")
    }

    /// In the text format of Prometheus; empty after the end.
    pub(crate) fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = self.reader.export(&mut text) {
            tracing::warn!(%error, "the numbers cannot be read");
        }
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Sends the last ones.
    pub(crate) fn end(&self) -> OTelSdkResult {
        match self.sent {
            true => self.provider.shutdown(),
            false => Ok(()),
        }
    }
}

fn reader() -> PrometheusExporter {
    PrometheusExporter::builder().without_scope_info().without_target_info().build()
}
