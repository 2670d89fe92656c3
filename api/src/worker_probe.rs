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
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;

use crate::app::GpuMemory;
use crate::routes::health;

/// What is looked at.
#[derive(Clone)]
pub struct WorkerProbe {
    pub archive: Archive,
    pub studio: Arc<dyn Studio>,
    /// Only where a GPU tells.
    pub gpu_memory: Option<GpuMemory>,
}

impl WorkerProbe {
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
    let load = probe.studio.load();
    let mut registry = Registry::with_prefix("imagine");
    let gauge = |count: usize| ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
    registry.register("batch_size", "Pictures that are being drawn together now", gauge(load.rows));
    registry.register("batch_size_most", "Pictures that can be drawn together", gauge(load.most_rows));
    registry.register(
        "worker_orders_waiting",
        "Orders of taken jobs that wait for a place",
        gauge(load.queued),
    );
    if let Some(bytes) = probe.gpu_memory.as_ref().and_then(|read| read()) {
        let help = "Memory in use on the GPU, by all processes";
        let bytes = ConstGauge::new(i64::try_from(bytes).unwrap_or(i64::MAX));
        registry.register_with_unit("gpu_memory", help, Unit::Bytes, bytes);
    }
    let mut text = String::new();
    // Writing into a string cannot fail.
    let _ = encode(&mut text, &registry);
    ([(header::CONTENT_TYPE, health::METRICS)], text).into_response()
}
