//! One job from its claim to its end.

use std::sync::Arc;

use imagine_contract::{CancelFlag, EngineError, Event, Order, OrderEvent, SubmitError};
use imagine_store::{Claimed, JobError, Lease, Outcome, Progress, StoreError};
use tokio::sync::{mpsc, watch};
use tokio::time::{Duration, Instant, sleep};
use tracing::Instrument;
use tracing::field::Empty;

use crate::Worker;
use crate::keeper::Keeper;
use crate::order::{Prepared, Unready, prepare};
use crate::pictures::{self, Unstored};
use crate::retry::retry;

/// Of previews, which are small and seen for a moment.
const PREVIEW_QUALITY: u8 = 70;
/// So many events behind the studio, previews are left out.
const BEHIND: usize = 32;
/// How long a full studio is left alone.
const FULL: Duration = Duration::from_millis(100);

/// How it ended for this worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Written down.
    Finished,
    /// Another may do it.
    Released,
    /// What it needs could not be read or stored, so it was put back: nothing can be drawn until that is over.
    Stalled,
    /// It is another's already, or cannot be written down: its lease decides.
    Lost,
}

enum Stopped {
    With(Outcome),
    GiveBack,
    Store(StoreError),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Works on one job. `give_back` turns true when the worker cannot wait any longer.
pub async fn run(worker: Worker, claimed: Claimed, give_back: watch::Receiver<bool>) -> End {
    // For OpenTelemetry alone, as in `imagine-api`: the log names the job in each line.
    let span = tracing::info_span!(
        target: "imagine::trace",
        "job",
        otel.kind = "consumer",
        job.id = %claimed.job.id,
        job.attempt = claimed.job.attempts,
        job.pictures = claimed.job.input.n,
        job.end = Empty,
    );
    let end = run_inside(worker, claimed, give_back).instrument(span.clone()).await;
    span.record("job.end", tracing::field::debug(end));
    end
}

async fn run_inside(worker: Worker, claimed: Claimed, give_back: watch::Receiver<bool>) -> End {
    let (lease, attempts) = (claimed.lease.clone(), claimed.job.attempts);
    let cancel = CancelFlag::default();
    let store = worker.archive.store.clone();
    let keeper = Keeper::new(store.clone(), lease.clone(), worker.options.renew_every, cancel.clone());
    let work = work(&worker, claimed, &cancel, give_back).await;
    let outcome = match work {
        Ok(()) => Outcome::Succeeded,
        Err(Stopped::With(outcome)) => outcome,
        Err(Stopped::GiveBack) => {
            return match store.release(&lease).await {
                Ok(()) => End::Released,
                Err(error) => lost(&lease, &error),
            };
        }
        Err(Stopped::Store(error)) if keeper.is_lost() || matches!(error, StoreError::LeaseLost(_)) => {
            return lost(&lease, &error);
        }
        // Another attempt, once database and pictures can be used again: a job that they never take fails with the last.
        Err(Stopped::Store(error)) if error.is_passing() && attempts < store.policy().attempts => {
            tracing::warn!(job = %lease.job, %error, "a job is put back");
            let put_back = || store.put_back(&lease);
            return match retry("putting back", worker.options.storage_patience, put_back).await {
                Ok(()) => End::Stalled,
                Err(error) => lost(&lease, &error),
            };
        }
        Err(Stopped::Store(error)) => {
            tracing::error!(job = %lease.job, %error, "a job failed");
            let message = "the pictures or what they need could not be stored or read";
            Outcome::Failed(JobError::new("storage_failed", message))
        }
    };
    if keeper.is_lost() {
        return End::Lost;
    }
    match retry("end", worker.options.storage_patience, || store.finish(&lease, &outcome)).await {
        Ok(()) => {
            // What was handed in for the job goes at once; what fails is tried again by the sweep.
            if let Err(error) = worker.archive.take_away().await {
                tracing::warn!(%error, "bytes that nobody needs could not be taken away");
            }
            End::Finished
        }
        Err(error) => lost(&lease, &error),
    }
}

fn lost(lease: &Lease, error: &StoreError) -> End {
    tracing::warn!(job = %lease.job, %error, "a job is left to others");
    End::Lost
}

async fn work(
    worker: &Worker,
    claimed: Claimed,
    cancel: &CancelFlag,
    mut give_back: watch::Receiver<bool>,
) -> Result<(), Stopped> {
    let Claimed { job, lease } = claimed;
    let span = tracing::info_span!(target: "imagine::trace", "prepare");
    let prepared = match prepare(worker, &job, &lease, cancel).instrument(span).await {
        Ok(prepared) => prepared,
        Err(_) if cancel.is_canceled() => return Err(Stopped::With(Outcome::Canceled)),
        Err(Unready::Job(error)) => return Err(Stopped::With(Outcome::Failed(error))),
        Err(Unready::Store(error)) => return Err(Stopped::Store(error)),
    };
    let Prepared { request, first, people, sources } = prepared;
    if request.count == 0 {
        return Ok(());
    }
    let mut shown = Shown {
        studio: Arc::new(pictures::Studio {
            input: job.input.clone(),
            request: request.clone(),
            info: worker.studio.info().clone(),
            people,
            sources,
            faces: worker.faces.clone(),
        }),
        first,
        share: f64::from(request.count) / f64::from(job.input.n.max(1)),
        steps: 0,
        begun: Instant::now(),
        told: None,
    };
    let mut events = loop {
        // Both are seen by this loop alone, so a full studio cannot hold a stopping worker.
        if cancel.is_canceled() {
            return Err(Stopped::With(Outcome::Canceled));
        }
        if *give_back.borrow() {
            return Err(Stopped::GiveBack);
        }
        let (send, receive) = mpsc::unbounded_channel();
        let order = Order {
            request: request.clone(),
            owner: job.owner.clone(),
            previews_every: Some(job.input.previews).filter(|every| *every > 0),
            cancel: cancel.clone(),
            // Nobody listens where the job was lost; the studio stops by the flag.
            events: Box::new(move |event| drop(send.send(event))),
        };
        match worker.studio.submit(order) {
            Ok(()) => break receive,
            Err(SubmitError::Full { .. }) => sleep(FULL).await,
            Err(SubmitError::Closed(why)) => {
                tracing::warn!(job = %lease.job, why, "the model draws no more");
                return Err(Stopped::GiveBack);
            }
            Err(SubmitError::Request(error)) => return Err(failed("invalid_request", error)),
            Err(SubmitError::Unsupported(error)) => return Err(failed("unsupported", error)),
        }
    };
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            _ = give_back.wait_for(|stop| *stop) => {
                cancel.cancel();
                return Err(Stopped::GiveBack);
            }
        };
        match event {
            Some(OrderEvent::Happened(event)) => shown.happened(worker, &lease, cancel, event).await?,
            Some(OrderEvent::Preview { index, step, pixels }) => {
                // One that is late is not worth the time.
                if events.len() < BEHIND {
                    shown.preview(worker, &lease, index, step, pixels).await;
                }
            }
            Some(OrderEvent::Done) => return Ok(()),
            Some(OrderEvent::Failed(EngineError::Canceled)) => return Err(Stopped::With(Outcome::Canceled)),
            Some(OrderEvent::Failed(EngineError::Request(error))) => {
                return Err(failed("invalid_request", error));
            }
            Some(OrderEvent::Failed(EngineError::Unsupported(error))) => {
                return Err(failed("unsupported", error));
            }
            Some(OrderEvent::Failed(EngineError::Failed(error))) => {
                tracing::error!(job = %lease.job, error, "the model failed");
                return Err(failed("engine_failed", "the model failed; the log says more"));
            }
            Some(OrderEvent::Failed(EngineError::OutOfMemory(error))) => {
                tracing::error!(job = %lease.job, error, "memory ran out");
                return Err(failed("out_of_memory", TOO_LARGE));
            }
            None => return Err(failed("engine_failed", "the model broke off")),
        }
    }
}

/// What a person can do about memory that ran out.
const TOO_LARGE: &str = "there was not enough memory for this picture, even alone; a smaller size needs less";

fn failed(code: &str, message: impl ToString) -> Stopped {
    Stopped::With(Outcome::Failed(JobError::new(code, message.to_string())))
}

/// What is told of a job that is drawn.
struct Shown {
    studio: Arc<pictures::Studio>,
    first: u32,
    /// Of the job that is drawn in this attempt; the rest was done before.
    share: f64,
    steps: u32,
    begun: Instant,
    told: Option<Instant>,
}

impl Shown {
    async fn happened(
        &mut self,
        worker: &Worker,
        lease: &Lease,
        cancel: &CancelFlag,
        event: Event,
    ) -> Result<(), Stopped> {
        match event {
            Event::Started { steps, .. } => {
                self.steps = steps;
                self.begun = Instant::now();
            }
            Event::Progress { done, evaluations } => {
                if self.told.is_some_and(|told| told.elapsed() < worker.options.progress_every) {
                    return Ok(());
                }
                self.told = Some(Instant::now());
                let progress = self.progress(done, evaluations);
                match worker.archive.store.record_progress(lease, progress).await {
                    Ok(renewal) if renewal.cancel_requested => cancel.cancel(),
                    Ok(_) => {}
                    Err(error @ StoreError::LeaseLost(_)) => {
                        cancel.cancel();
                        return Err(error.into());
                    }
                    // The next one will tell.
                    Err(error) => tracing::warn!(job = %lease.job, %error, "progress was not written"),
                }
            }
            Event::Finished { index, picture, .. } => {
                let span =
                    tracing::info_span!(target: "imagine::trace", "store", picture = self.first + index);
                let stored = pictures::store(worker, lease, &self.studio, self.first + index, picture);
                let stored = stored.instrument(span).await;
                if let Err(problem) = stored {
                    // What is still being drawn would not be kept either.
                    cancel.cancel();
                    return Err(match problem {
                        Unstored::Job(error) => Stopped::With(Outcome::Failed(error)),
                        Unstored::Store(error) => Stopped::Store(error),
                    });
                }
            }
        }
        Ok(())
    }

    fn progress(&self, done: u32, evaluations: u32) -> Progress {
        let part = f64::from(done) / f64::from(evaluations.max(1));
        let left = self.begun.elapsed().as_secs_f64() * (1.0 - part) / part.max(1e-9);
        Progress {
            progress: (1.0 - self.share) + self.share * part.min(1.0),
            step: (part * f64::from(self.steps)).floor() as u32,
            steps: self.steps,
            eta_seconds: (done > 0).then_some(left),
        }
    }

    /// Nothing depends on previews: what fails is only said.
    async fn preview(
        &self,
        worker: &Worker,
        lease: &Lease,
        index: u32,
        step: u32,
        pixels: imagine_contract::RgbPixels,
    ) {
        let encode = move || imagine_pictures::jpeg(&pixels, PREVIEW_QUALITY);
        match tokio::task::spawn_blocking(encode).await {
            Ok(Ok(jpeg)) => {
                let shown = worker.archive.store.show_preview(lease, self.first + index, step, jpeg).await;
                if let Err(error) = shown {
                    tracing::debug!(job = %lease.job, %error, "a preview was not shown");
                }
            }
            Ok(Err(error)) => tracing::warn!(job = %lease.job, %error, "a preview was not encoded"),
            Err(_) => {}
        }
    }
}
