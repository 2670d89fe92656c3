//! Counts what becomes of jobs from the store's own messages, so workers elsewhere count as well; and looks how much
//! there is to do now.

use std::collections::VecDeque;
use std::time::Duration;

use imagine_store::{JobEvent, JobId, Notice, NumberedEvent, Priority};
use tokio::sync::broadcast::error::RecvError;

use crate::app::App;

/// Jobs whose end was counted lately: an end may be announced more than once.
const REMEMBERED: usize = 1_024;

/// How often is looked where the numbers are sent unasked.
pub(crate) const LOOK: Duration = Duration::from_secs(5);

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

/// Writes down how much there is to do now.
pub(crate) async fn present(app: &App) {
    match app.store().depth().await {
        Ok(depth) => {
            for (class, queued) in Priority::ALL.into_iter().zip(depth.queued) {
                app.metrics.queue(class.name(), queued);
            }
        }
        Err(error) => tracing::warn!(%error, "the queue's depth is not known"),
    }
    if let Some(studio) = &app.parts.studio {
        app.metrics.drawing().rows(studio.load().rows);
    }
    if let Some(bytes) = app.parts.gpu_memory.as_ref().and_then(|read| read()) {
        app.metrics.drawing().gpu_memory(bytes);
    }
}

/// Does so from time to time, for a collector that does not ask.
pub(crate) async fn look(app: App) {
    while app.metrics.meter().is_sent() {
        present(&app).await;
        tokio::time::sleep(LOOK).await;
    }
}
