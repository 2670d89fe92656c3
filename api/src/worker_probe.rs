//! What a worker tells of itself over HTTP, for whoever watches a fleet: whether it lives, whether it can work, how
//! much it draws at once. Nothing of jobs or people, so no key is asked for. What becomes of jobs is counted by the
//! server, from the store, wherever they are drawn.

use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use imagine_contract::Studio;
use imagine_store::Archive;
use opentelemetry::metrics::Gauge;
use tokio::net::TcpListener;

use crate::app::GpuMemory;
use crate::meter::{self, Meter};
use crate::metrics::Drawing;
use crate::observe::LOOK;
use crate::routes::health;

/// What is looked at.
#[derive(Clone)]
pub struct WorkerProbe {
    archive: Archive,
    studio: Arc<dyn Studio>,
    gpu_memory: Option<GpuMemory>,
    meter: Meter,
    numbers: Arc<Numbers>,
}

struct Numbers {
    drawing: Drawing,
    most_rows: Gauge<u64>,
    waiting: Gauge<u64>,
}

impl WorkerProbe {
    /// `gpu_memory` only where a GPU tells.
    #[must_use]
    pub fn new(
        archive: Archive,
        studio: Arc<dyn Studio>,
        gpu_memory: Option<GpuMemory>,
        meter: Meter,
    ) -> Self {
        let new = meter.instruments();
        let numbers = Numbers {
            drawing: Drawing::new(&meter),
            most_rows: new
                .u64_gauge("imagine.batch.size_most")
                .with_description("Pictures that can be drawn together")
                .build(),
            waiting: new
                .u64_gauge("imagine.worker.orders_waiting")
                .with_description("Orders of taken jobs that wait for a place")
                .build(),
        };
        Self { archive, studio, gpu_memory, meter, numbers: Arc::new(numbers) }
    }

    /// Writes down how much there is to do now.
    fn present(&self) {
        let load = self.studio.load();
        self.numbers.drawing.rows(load.rows);
        self.numbers.most_rows.record(load.most_rows as u64, &[]);
        self.numbers.waiting.record(load.queued as u64, &[]);
        if let Some(bytes) = self.gpu_memory.as_ref().and_then(|read| read()) {
            self.numbers.drawing.gpu_memory(bytes);
        }
    }

    /// Does so from time to time, for a collector that does not ask; ends at once where there is none.
    pub async fn look(self) {
        while self.meter.is_sent() {
            self.present();
            tokio::time::sleep(LOOK).await;
        }
    }

    /// `/health/live`, `/health/ready` and `/metrics`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/health/live", get(health::live))
            .route("/health/ready", get(ready))
            .route("/metrics", get(metrics))
            .with_state(self)
    }

    /// Answers until `end`.
    ///
    /// # Errors
    /// The listener's own.
    pub async fn serve(
        self,
        listener: TcpListener,
        end: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        axum::serve(listener, self.router()).with_graceful_shutdown(end).await
    }
}

async fn ready(State(probe): State<WorkerProbe>) -> Response {
    health::told(health::checks(&probe.archive, Some(&probe.studio)).await)
}

async fn metrics(State(probe): State<WorkerProbe>) -> Response {
    probe.present();
    ([(header::CONTENT_TYPE, meter::TEXT)], probe.meter.text()).into_response()
}
