//! How a batch gets on.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use imagine_store::{Batch, BatchId, Notice};
use serde_json::json;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{sleep, timeout};

use super::find;
use crate::app::{App, Watching};
use crate::error::{Outcome, ProblemBody};
use crate::http::auth::Caller;
use crate::http::sse::{keep_alive, named};
use crate::wire::batch::BatchBody;

/// `batch.progress` (the whole batch) at once and after each change, a few times a second at most; then
/// `batch.completed` (the whole batch), and the stream closes.
#[utoipa::path(get, path = "/v1/batches/{id}/events", tag = "batches", params(("id" = String, Path)), responses(
    (status = OK, body = String, content_type = "text/event-stream"),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn events(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Response> {
    // Before the batch is read, so that nothing falls in between.
    let notices = app.store().notices();
    let batch = find(&app, &caller, &id).await?;
    let watch = Watch { _watching: app.watching(), app, caller, id: batch.id, notices, told: None };
    let stream = stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        let batch = watch.next().await?;
        let over = batch.counts.is_final();
        let name = if over { "batch.completed" } else { "batch.progress" };
        let event: Event = named(name, &json!(BatchBody::from(&batch)));
        Some((Ok::<_, Infallible>(event), (!over).then_some(watch)))
    });
    Ok(Sse::new(stream).keep_alive(keep_alive()).into_response())
}

struct Watch {
    _watching: Watching,
    app: App,
    caller: Caller,
    id: BatchId,
    notices: Receiver<Notice>,
    /// What the client was told last.
    told: Option<Batch>,
}

/// Between two events of one batch at least.
const PACE: Duration = Duration::from_millis(250);
/// How long a message may be missed.
const LOOK: Duration = Duration::from_secs(5);

impl Watch {
    /// The batch after its next change; none where the server shuts down or the batch is gone.
    async fn next(&mut self) -> Option<Batch> {
        loop {
            let read = self.app.store().batch(&self.caller.tenant, self.id).await;
            let batch =
                read.inspect_err(|error| tracing::warn!(%error, "a batch's events broke off")).ok()??;
            if self.told.as_ref() != Some(&batch) {
                self.told = Some(batch.clone());
                return Some(batch);
            }
            let app = self.app.clone();
            tokio::select! {
                () = self.changed() => (),
                () = app.closed() => return None,
            }
            sleep(PACE).await;
        }
    }

    async fn changed(&mut self) {
        let id = self.id;
        let heard = async {
            loop {
                match self.notices.recv().await {
                    Ok(Notice::Job { batch: Some(batch), .. }) if batch == id => return,
                    Ok(Notice::Resync) | Err(RecvError::Lagged(_) | RecvError::Closed) => return,
                    Ok(_) => {}
                }
            }
        };
        // After so long it is looked at in any case.
        let _ = timeout(LOOK, heard).await;
    }
}
