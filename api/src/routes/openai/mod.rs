//! OpenAI's way of asking for pictures, so that its clients work unchanged.

mod answer;
mod edits;
mod generations;
mod request;
mod stream;

pub(crate) use edits::*;
pub(crate) use generations::*;

use axum::Json;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use imagine_store::{Job, JobStatus, PersonId};
use std::time::Duration;

use self::request::ImagesRequest;
use crate::app::App;
use crate::error::{Code, Outcome, Problem};
use crate::http::auth::Caller;
use crate::http::idempotency::idempotency;
use crate::routes::jobs::{Brought, forget, plan, submit, wait_for};

/// Seconds for which a retry is taken for the request that it repeats.
const RETRY_WINDOW: u32 = 15 * 60;

/// OpenAI's client counts its retries and sends no idempotency key: without this a retry would be drawn anew.
async fn repeated(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    digest: &[u8; 32],
) -> Outcome<Option<Job>> {
    let count = headers.get("x-stainless-retry-count").and_then(|value| value.to_str().ok());
    if count.and_then(|text| text.parse::<u32>().ok()).is_none_or(|count| count == 0) {
        return Ok(None);
    }
    Ok(app.store().recent_job(&caller.owner, digest, RETRY_WINDOW).await?)
}

/// What is drawn beside what the request says.
#[derive(Default)]
struct Beside {
    one_shot: Option<PersonId>,
    edit: Option<imagine_store::EditInput>,
}

/// Puts the request's job into the queue.
async fn queue(
    app: &App,
    caller: &Caller,
    headers: &HeaderMap,
    request: &ImagesRequest,
    beside: Beside,
    digest: [u8; 32],
) -> Outcome<Job> {
    let Beside { one_shot, edit } = beside;
    let made = async {
        let mut planned =
            plan(app, caller, request.job(app)?, Brought { person: one_shot, ..Brought::default() }).await?;
        planned.input.quality = request.quality_of_format()?;
        planned.uploads.extend(edit.iter().filter_map(|edit| match edit.source {
            imagine_store::EditSource::Upload(upload) => Some(upload),
            imagine_store::EditSource::Image(_) => None,
        }));
        planned.uploads.extend(edit.iter().filter_map(|edit| edit.mask));
        planned.input.edit = edit;
        submit(app, caller, planned, idempotency(headers, digest)?, digest).await
    };
    match made.await {
        Ok(put) => {
            if !put.is_new() {
                forget(app, caller, one_shot).await;
            }
            Ok(put.into_inner())
        }
        Err(problem) => {
            forget(app, caller, one_shot).await;
            Err(problem)
        }
    }
}

/// Waits for the pictures, or streams them.
async fn answer(
    app: App,
    caller: Caller,
    headers: &HeaderMap,
    request: &ImagesRequest,
    job: Job,
    names: stream::Names,
) -> Outcome<Response> {
    let base = answer::base(&app, headers);
    if request.stream {
        return stream::events(app, caller, job, names, request.partial_images).await;
    }
    let time = Duration::from_secs(app.config.limits.wait_seconds);
    let job = wait_for(&app, &caller, job.id, time).await?;
    finished(&job)?;
    Ok(Json(answer::images(&app, &caller, &job, request.wants_url, &base).await?).into_response())
}

/// # Errors
/// The job has failed, was canceled, or is not through yet.
fn finished(job: &Job) -> Outcome<()> {
    match job.status {
        JobStatus::Succeeded => Ok(()),
        JobStatus::Failed => {
            let (code, message) =
                job.error.as_ref().map_or(("failed", "the pictures could not be made"), |error| {
                    (error.code.as_str(), error.message.as_str())
                });
            let kind = if code == Code::Refused.name() { Code::Refused } else { Code::JobFailed };
            let problem = Problem::new(kind, message).specific(code);
            let rule = job.error.as_ref().and_then(|error| error.rule.as_deref());
            Err(match rule {
                Some(rule) => problem.with("rule", rule.into()),
                None => problem,
            })
        }
        JobStatus::Canceled => {
            Err(Problem::new(Code::JobFailed, "the job was canceled").specific("canceled"))
        }
        JobStatus::Queued | JobStatus::Running => {
            let detail = format!("{} is not through yet; ask GET /v1/jobs/{} for it", job.id, job.id);
            Err(Problem::new(Code::Unavailable, detail).retry_after(30))
        }
    }
}
