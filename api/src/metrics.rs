//! What is counted and measured: base units, no labels of users or prompts. Names are OpenTelemetry's; Prometheus
//! reads `imagine.job.queue.wait` in seconds as `imagine_job_queue_wait_seconds`.

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Gauge, Histogram};

use crate::error::Code;
use crate::meter::Meter;

/// What is counted and measured in a process that serves.
pub(crate) struct Metrics {
    meter: Meter,
    queue_depth: Gauge<u64>,
    queue_wait: Histogram<f64>,
    duration: Histogram<f64>,
    jobs: Counter<u64>,
    leases_expired: Counter<u64>,
    drawing: Drawing,
    images: Counter<u64>,
    rejections: Counter<u64>,
    webhooks: Counter<u64>,
}

/// Upper bounds in seconds: 50 ms to about 27 minutes.
fn seconds() -> Vec<f64> {
    (0..16).map(|doubled| 0.05 * f64::from(1 << doubled)).collect()
}

impl Metrics {
    pub(crate) fn new(meter: &Meter) -> Self {
        let new = meter.instruments();
        let metrics = Self {
            meter: meter.clone(),
            queue_depth: new.u64_gauge("imagine.job.queue.depth").with_description("Jobs that wait").build(),
            queue_wait: new
                .f64_histogram("imagine.job.queue.wait")
                .with_unit("s")
                .with_description("From a job's arrival to its first start")
                .with_boundaries(seconds())
                .build(),
            duration: new
                .f64_histogram("imagine.job.duration")
                .with_unit("s")
                .with_description("How long a finished job took, by stage")
                .with_boundaries(seconds())
                .build(),
            jobs: new.u64_counter("imagine.jobs").with_description("Jobs that ended, by status").build(),
            leases_expired: new
                .u64_counter("imagine.job.leases_expired")
                .with_description("Jobs taken from workers that fell silent")
                .build(),
            drawing: Drawing::new(meter),
            images: new.u64_counter("imagine.images").with_description("Pictures that were made").build(),
            rejections: new
                .u64_counter("imagine.rejections")
                .with_description("Requests that were refused, by problem")
                .build(),
            webhooks: new
                .u64_counter("imagine.webhooks")
                .with_description("Webhook deliveries, by outcome")
                .build(),
        };
        // What has not happened yet is a number too.
        metrics.images.add(0, &[]);
        metrics.leases_expired.add(0, &[]);
        metrics
    }

    pub(crate) fn rejected(&self, code: Code) {
        self.rejections.add(1, &[KeyValue::new("reason", code.name())]);
    }

    /// A job has come to its end; what is not known of it is left out.
    pub(crate) fn job_ended(
        &self,
        status: &'static str,
        queued: Option<f64>,
        drawn: Option<f64>,
        images: u64,
    ) {
        self.jobs.add(1, &[KeyValue::new("status", status)]);
        self.images.add(images, &[]);
        if let Some(queued) = queued {
            self.queue_wait.record(queued, &[]);
            self.duration.record(queued, &[KeyValue::new("stage", "queue")]);
        }
        if let Some(drawn) = drawn {
            self.duration.record(drawn, &[KeyValue::new("stage", "run")]);
        }
    }

    pub(crate) fn leases_expired(&self, count: u64) {
        self.leases_expired.add(count, &[]);
    }

    pub(crate) fn webhook(&self, delivered: bool) {
        let status = if delivered { "delivered" } else { "failed" };
        self.webhooks.add(1, &[KeyValue::new("status", status)]);
    }

    pub(crate) fn queue(&self, class: &'static str, depth: u64) {
        self.queue_depth.record(depth, &[KeyValue::new("class", class)]);
    }

    pub(crate) fn drawing(&self) -> &Drawing {
        &self.drawing
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.meter
    }
}

/// What a process that draws measures; a number that nobody measured is not told.
pub(crate) struct Drawing {
    batch_size: Gauge<u64>,
    gpu_memory: Gauge<u64>,
}

impl Drawing {
    pub(crate) fn new(meter: &Meter) -> Self {
        let new = meter.instruments();
        Self {
            batch_size: new
                .u64_gauge("imagine.batch.size")
                .with_description("Pictures that are being drawn together now")
                .build(),
            gpu_memory: new
                .u64_gauge("imagine.gpu.memory")
                .with_unit("By")
                .with_description("Memory in use on the GPU, by all processes")
                .build(),
        }
    }

    pub(crate) fn rows(&self, rows: usize) {
        self.batch_size.record(rows as u64, &[]);
    }

    pub(crate) fn gpu_memory(&self, bytes: u64) {
        self.gpu_memory.record(bytes, &[]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        let metrics = Metrics::new(&Meter::default());
        let text = metrics.meter.text();
        for line in ["imagine_images_total 0", "imagine_job_leases_expired_total 0"] {
            assert!(text.contains(line), "{line}\n{text}");
        }
        assert!(!text.contains("gpu"), "a number that nobody measured");
        metrics.rejected(Code::QueueFull);
        metrics.job_ended("succeeded", Some(0.5), Some(2.0), 3);
        metrics.leases_expired(2);
        metrics.queue("normal", 7);
        metrics.drawing.rows(4);
        metrics.drawing.gpu_memory(5);
        metrics.webhook(true);
        let text = metrics.meter.text();
        for line in [
            "imagine_job_queue_depth{class=\"normal\"} 7",
            "imagine_job_queue_wait_seconds_count 1",
            "imagine_job_queue_wait_seconds_bucket{le=\"0.4\"} 0",
            "imagine_job_queue_wait_seconds_bucket{le=\"0.8\"} 1",
            "imagine_job_queue_wait_seconds_bucket{le=\"1638.4\"} 1",
            "imagine_job_duration_seconds_sum{stage=\"run\"} 2",
            "imagine_jobs_total{status=\"succeeded\"} 1",
            "imagine_job_leases_expired_total 2",
            "imagine_batch_size 4",
            "imagine_images_total 3",
            "imagine_rejections_total{reason=\"queue_full\"} 1",
            "imagine_gpu_memory_bytes 5",
            "imagine_webhooks_total{status=\"delivered\"} 1",
            "# TYPE imagine_job_duration_seconds histogram",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
