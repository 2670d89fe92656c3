//! Waiting for a job's end.

use std::time::Duration;

use imagine_store::{Job, JobId};
use tokio::time::{Instant, timeout_at};

use crate::app::App;
use crate::error::{Outcome, Problem};
use crate::http::auth::Caller;

/// The job when it has ended, or after `time`, or when the server shuts down.
pub(crate) async fn wait_for(app: &App, caller: &Caller, id: JobId, time: Duration) -> Outcome<Job> {
    let _watching = app.watching();
    tokio::select! {
        ended = timeout_at(Instant::now() + time, until_finished(app, caller, id)) => ended.unwrap_or(Ok(()))?,
        () = app.closed() => (),
    }
    let gone = || Problem::not_found("job", &id.to_string());
    app.store().job(&caller.tenant, id).await?.ok_or_else(gone)
}

/// Waits until a job has ended or is gone.
async fn until_finished(app: &App, caller: &Caller, id: JobId) -> Outcome<()> {
    if let Some(mut follow) = app.store().follow(&caller.tenant, id, 0).await? {
        while follow.next().await?.is_some() {}
    }
    Ok(())
}
