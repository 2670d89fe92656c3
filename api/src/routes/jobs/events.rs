//! `GET /v1/jobs/{id}/events`.

use std::convert::Infallible;

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use imagine_store::{Follow, JobEvent, JobId, NumberedEvent, Progress};
use serde_json::{Value, json};

use super::{find, tell};
use crate::app::{App, Watching};
use crate::error::{Outcome, Problem, ProblemBody};
use crate::http::accept::last_event_id;
use crate::http::auth::Caller;
use crate::http::sse::{keep_alive, named};
use crate::wire::image::OutputBody;

/// What happens to a job, as server-sent events. `id` numbers them; after a lost connection `Last-Event-ID` goes on
/// from there. A job that has ended is told again, and the stream closes.
///
/// `job.queued {queue_position, eta_seconds}`, `job.started {}`, `job.progress {progress, step, steps, eta_seconds}`,
/// `job.preview {index, step, b64_jpeg}` (without an id, never told again), `job.output` (an output),
/// `job.succeeded`, `job.failed`, `job.canceled` (the whole job).
#[utoipa::path(get, path = "/v1/jobs/{id}/events", tag = "jobs",
    params(("id" = String, Path), ("Last-Event-ID" = Option<u64>, Header)), responses(
    (status = OK, body = String, content_type = "text/event-stream"),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn events(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Outcome<Response> {
    let job = find(&app, &caller, &id).await?.id;
    let after = i64::try_from(last_event_id(&headers)).unwrap_or(i64::MAX);
    let follow = app.store().follow(&caller.tenant, job, after).await?;
    let follow = follow.ok_or_else(|| Problem::not_found("job", &id))?;
    let watch = Watch { _watching: app.watching(), app, caller, job, follow };
    let stream = stream::unfold(Some(watch), |watch| async move {
        let mut watch = watch?;
        match watch.next().await {
            Ok(Some(event)) => Some((Ok::<_, Infallible>(event), Some(watch))),
            Ok(None) => None,
            // The client comes again with Last-Event-ID.
            Err(problem) => {
                tracing::warn!(code = problem.code.name(), "an event stream broke off");
                None
            }
        }
    });
    Ok(Sse::new(stream).keep_alive(keep_alive()).into_response())
}

struct Watch {
    _watching: Watching,
    app: App,
    caller: Caller,
    job: JobId,
    follow: Follow,
}

impl Watch {
    async fn next(&mut self) -> Outcome<Option<Event>> {
        let app = self.app.clone();
        let event = tokio::select! {
            event = self.follow.next() => event?,
            // The server shuts down: the client comes again, and finds its job where it was.
            () = app.closed() => None,
        };
        let Some(NumberedEvent { number, event, .. }) = event else { return Ok(None) };
        let Some(data) = self.data(&event).await? else { return Ok(None) };
        let told = named(event.name(), &data);
        Ok(Some(match number {
            Some(number) => told.id(number.to_string()),
            None => told,
        }))
    }

    /// None where the job is gone.
    async fn data(&self, event: &JobEvent) -> Outcome<Option<Value>> {
        let Self { app, caller, job, .. } = self;
        Ok(Some(match event {
            JobEvent::Queued => {
                let Some(job) = app.store().job(&caller.tenant, *job).await? else { return Ok(None) };
                let body = tell(app, caller, &job).await?;
                json!({"queue_position": body.queue_position, "eta_seconds": body.eta_seconds})
            }
            JobEvent::Started => json!({}),
            JobEvent::Progress(Progress { progress, step, steps, eta_seconds }) => {
                json!({"progress": progress, "step": step, "steps": steps, "eta_seconds": eta_seconds})
            }
            JobEvent::Preview { index, step, jpeg } => {
                json!({"index": index, "step": step, "b64_jpeg": STANDARD.encode(jpeg)})
            }
            JobEvent::Output(image) => json!(OutputBody::of(image, &app.link(caller))),
            JobEvent::Succeeded | JobEvent::Failed | JobEvent::Canceled => {
                let Some(job) = app.store().job(&caller.tenant, *job).await? else { return Ok(None) };
                json!(tell(app, caller, &job).await?)
            }
        }))
    }
}
