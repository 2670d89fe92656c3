//! Jobs: asked for, watched, canceled, deleted.

mod create;
mod events;
mod handed_in;
mod plan;
mod read;
mod wait;

pub(crate) use create::*;
pub(crate) use events::*;
pub(crate) use handed_in::Brought;
pub(crate) use plan::{Planned, plan};
pub(crate) use read::*;
pub(crate) use wait::wait_for;

use imagine_store::Job;
use tokio::sync::SemaphorePermit;

use crate::app::App;
use crate::error::{Code, Outcome, Problem};
use crate::http::auth::Caller;
use crate::wire::job::{JobBody, Telling};

/// Leave to hold a request's files in memory; refused at once where too many do.
pub(crate) fn upload_slot(app: &App) -> Outcome<SemaphorePermit<'_>> {
    app.upload_slots.try_acquire().map_err(|_| {
        Problem::new(Code::QueueFull, "too many photos are being uploaded at this moment").retry_after(5)
    })
}

/// A job as its owner is told of it.
pub(crate) async fn tell(app: &App, caller: &Caller, job: &Job) -> Outcome<JobBody> {
    let waits = job.status == imagine_store::JobStatus::Queued;
    let queue_position = if waits { app.store().queue_position(job.id).await? } else { None };
    let mut eta_seconds = None;
    if let Some(position) = queue_position {
        let each = app.store().recent_run_seconds().await?;
        eta_seconds = each.map(|seconds| seconds * (position + 1) as f64);
    }
    Ok(JobBody::of(job, &Telling { link: &app.link(caller), queue_position, eta_seconds }))
}

/// A job of this caller.
pub(crate) async fn find(app: &App, caller: &Caller, id: &str) -> Outcome<Job> {
    let missing = || Problem::not_found("job", id);
    app.store().job(&caller.tenant, id.parse().map_err(|_| missing())?).await?.ok_or_else(missing)
}
