//! Whether the server lives, and whether it can work.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use imagine_contract::Studio;
use imagine_store::Archive;
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use crate::app::App;
use crate::{meter, observe};

/// What was checked.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok` or `unavailable`.
    pub status: String,
    pub version: String,
    /// Of each part, `ok` or what is wrong, without particulars.
    pub checks: BTreeMap<String, String>,
}

/// The process answers.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = OK, body = Health)))]
pub(crate) async fn live() -> Json<Health> {
    Json(health(Checks::new()).1)
}

/// The model is loaded, the database and the pictures' place can be written.
#[utoipa::path(get, path = "/health/ready", tag = "health", responses(
    (status = OK, body = Health), (status = SERVICE_UNAVAILABLE, body = Health)))]
pub(crate) async fn ready(State(app): State<App>) -> Response {
    let mut checks = checks(&app.parts.archive, app.parts.studio.as_ref()).await;
    let draining = if app.is_draining() { Err("shutting down".to_owned()) } else { Ok(()) };
    checks.extend([checked(draining, "accepting")]);
    told(checks)
}

/// Whoever watches a fleet does not wait as long as a request does for a database that is gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Of each part that work needs, `ok` or what is wrong.
pub(crate) type Checks = BTreeMap<String, String>;

/// Database, place for pictures, model.
pub(crate) async fn checks(archive: &Archive, studio: Option<&Arc<dyn Studio>>) -> Checks {
    let database = async { archive.store.check().await.map_err(|e| e.to_string()) };
    let blobs = async { archive.blobs.check().await.map_err(|e| e.to_string()) };
    let late = |_| Err(format!("no answer within {} s", PATIENCE.as_secs()));
    let (database, blobs) = tokio::join!(timeout(PATIENCE, database), timeout(PATIENCE, blobs));
    let (database, blobs) = (database.unwrap_or_else(late), blobs.unwrap_or_else(late));
    let studio = match studio {
        Some(studio) if !studio.load().healthy => Err("the model has failed".to_owned()),
        _ => Ok(()),
    };
    [checked(database, "database"), checked(blobs, "blobs"), checked(studio, "model")].into()
}

fn checked(result: Result<(), String>, part: &str) -> (String, String) {
    let text = result.err().map_or("ok", |reason| {
        tracing::warn!(part, %reason, "not ready");
        "unavailable"
    });
    (part.to_owned(), text.to_owned())
}

/// The answer to these.
pub(crate) fn told(checks: Checks) -> Response {
    let (status, body) = health(checks);
    (status, Json(body)).into_response()
}

fn health(checks: Checks) -> (StatusCode, Health) {
    let ok = checks.values().all(|check| check == "ok");
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let text = if ok { "ok" } else { "unavailable" };
    (status, Health { status: text.into(), version: env!("CARGO_PKG_VERSION").into(), checks })
}

/// Prometheus metrics, without anything about users or prompts.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = OK, body = String, content_type = "text/plain")))]
pub(crate) async fn metrics(State(app): State<App>) -> Response {
    observe::present(&app).await;
    ([(header::CONTENT_TYPE, meter::TEXT)], app.metrics.meter().text()).into_response()
}
