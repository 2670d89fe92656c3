//! Counts what becomes of jobs, for `/metrics`, from the store's own messages: so workers elsewhere count as well.

use std::collections::VecDeque;

use imagine_store::{JobEvent, JobId, Notice, NumberedEvent};
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;

/// Jobs whose end was counted lately: an end may be announced more than once.
const REMEMBERED: usize = 1_024;

/// Watches until it is stopped.
pub(crate) async fn run(app: App) {
    let mut notices = app.store().notices();
    let mut counted: VecDeque<JobId> = VecDeque::new();
    loop {
        let job = match notices.recv().await {
            Ok(Notice::Job { job, .. }) => job,
            // What was missed is missing in the counters, as what happened before a restart is.
            Ok(_) | Err(RecvError::Lagged(_)) => continue,
            Err(RecvError::Closed) => return,
        };
        if counted.contains(&job) {
            continue;
        }
        // A failure here costs a number in a graph, no more.
        let Ok(events) = app.store().events(job, 0).await else { continue };
        if count(&app, &events) {
            counted.push_back(job);
            if counted.len() > REMEMBERED {
                counted.pop_front();
            }
        }
    }
}

/// Counts a job that has ended; false where it has not.
fn count(app: &App, events: &[NumberedEvent]) -> bool {
    let Some(end) = events.iter().find(|event| event.event.is_final()) else { return false };
    let queued = events.iter().find(|event| event.event == JobEvent::Queued);
    let started = || events.iter().filter(|event| event.event == JobEvent::Started);
    let waited = started().next().zip(queued).map(|(start, queued)| start.at.seconds_since(queued.at));
    let ran = started().next_back().map(|start| end.at.seconds_since(start.at));
    let images = events.iter().filter(|event| matches!(event.event, JobEvent::Output(_))).count();
    let status = end.event.name().trim_start_matches("job.");
    app.metrics.job_ended(status, waited, ran, images as u64);
    app.metrics.leases_expired((started().count() as u64).saturating_sub(1));
    true
}
