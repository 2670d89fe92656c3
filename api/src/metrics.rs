//! Prometheus metrics: base units, no labels of users or prompts.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, text::encode};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::error::Code;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Class {
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Status {
    status: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What is counted and measured in this process.
pub(crate) struct Metrics {
    registry: Registry,
    queue_depth: Family<Class, Gauge>,
    queue_wait: Histogram,
    duration: Family<Stage, Histogram>,
    jobs: Family<Status, Counter>,
    leases_expired: Counter,
    batch_size: Gauge,
    images: Counter,
    rejections: Family<Reason, Counter>,
    /// Only where a GPU tells.
    gpu_memory: Gauge,
    webhooks: Family<Status, Counter<u64, AtomicU64>>,
}

fn seconds() -> Histogram {
    // 50 ms to about 27 minutes
    Histogram::new(exponential_buckets(0.05, 2.0, 16))
}

impl Metrics {
    /// `gpu`: whether the memory of one can be told.
    pub(crate) fn new(gpu: bool) -> Self {
        let mut registry = Registry::with_prefix("imagine");
        let queue_depth = Family::<Class, Gauge>::default();
        let queue_wait = seconds();
        let duration = Family::<Stage, Histogram>::new_with_constructor(seconds);
        let jobs = Family::<Status, Counter>::default();
        let leases_expired = Counter::default();
        let batch_size = Gauge::default();
        let images = Counter::default();
        let rejections = Family::<Reason, Counter>::default();
        let gpu_memory = Gauge::default();
        let webhooks = Family::default();
        registry.register("job_queue_depth", "Jobs that wait", queue_depth.clone());
        let help = "From a job's arrival to its first start";
        registry.register_with_unit("job_queue_wait", help, Unit::Seconds, queue_wait.clone());
        let help = "How long a finished job took, by stage";
        registry.register_with_unit("job_duration", help, Unit::Seconds, duration.clone());
        registry.register("jobs", "Jobs that ended, by status", jobs.clone());
        registry.register(
            "job_leases_expired",
            "Jobs taken from workers that fell silent",
            leases_expired.clone(),
        );
        registry.register("batch_size", "Pictures that are being drawn together now", batch_size.clone());
        registry.register("images", "Pictures that were made", images.clone());
        registry.register("rejections", "Requests that were refused, by problem", rejections.clone());
        if gpu {
            let help = "Memory in use on the GPU, by all processes";
            registry.register_with_unit("gpu_memory", help, Unit::Bytes, gpu_memory.clone());
        }
        registry.register("webhooks", "Webhook deliveries, by outcome", webhooks.clone());
        Self {
            registry,
            queue_depth,
            queue_wait,
            duration,
            jobs,
            leases_expired,
            batch_size,
            images,
            rejections,
            gpu_memory,
            webhooks,
        }
    }

    pub(crate) fn rejected(&self, code: Code) {
        self.rejections.get_or_create(&Reason { reason: code.name() }).inc();
    }

    /// A job has come to its end; what is not known of it is left out.
    pub(crate) fn job_ended(
        &self,
        status: &'static str,
        queued: Option<f64>,
        drawn: Option<f64>,
        images: u64,
    ) {
        self.jobs.get_or_create(&Status { status }).inc();
        self.images.inc_by(images);
        if let Some(queued) = queued {
            self.queue_wait.observe(queued);
            self.duration.get_or_create(&Stage { stage: "queue" }).observe(queued);
        }
        if let Some(drawn) = drawn {
            self.duration.get_or_create(&Stage { stage: "run" }).observe(drawn);
        }
    }

    pub(crate) fn leases_expired(&self, count: u64) {
        self.leases_expired.inc_by(count);
    }

    pub(crate) fn webhook(&self, delivered: bool) {
        let status = if delivered { "delivered" } else { "failed" };
        self.webhooks.get_or_create(&Status { status }).inc();
    }

    pub(crate) fn queue(&self, class: &'static str, depth: u64) {
        self.queue_depth.get_or_create(&Class { class }).set(i64::try_from(depth).unwrap_or(i64::MAX));
    }

    pub(crate) fn rows(&self, rows: usize) {
        self.batch_size.set(i64::try_from(rows).unwrap_or(i64::MAX));
    }

    pub(crate) fn gpu_memory(&self, bytes: u64) {
        self.gpu_memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// In the OpenMetrics text format.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        // Writing into a string cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        let metrics = Metrics::new(true);
        metrics.rejected(Code::QueueFull);
        metrics.job_ended("succeeded", Some(0.5), Some(2.0), 3);
        metrics.leases_expired(2);
        metrics.queue("normal", 7);
        metrics.rows(4);
        metrics.gpu_memory(5);
        let text = metrics.text();
        for line in [
            "imagine_job_queue_depth{class=\"normal\"} 7",
            "imagine_job_queue_wait_seconds_count 1",
            "imagine_job_duration_seconds_sum{stage=\"run\"} 2.0",
            "imagine_jobs_total{status=\"succeeded\"} 1",
            "imagine_job_leases_expired_total 2",
            "imagine_batch_size 4",
            "imagine_images_total 3",
            "imagine_rejections_total{reason=\"queue_full\"} 1",
            "imagine_gpu_memory_bytes 5",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!Metrics::new(false).text().contains("gpu"), "a number that nobody measured");
    }
}
