//! The worker: takes jobs from the store, has them drawn by a [`imagine_contract::Studio`], and puts the
//! pictures back. Everything it writes is fenced by the job's lease. No HTTP and no tensors may enter.

mod job;
mod keeper;
mod order;
mod pictures;
mod retry;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use imagine_contract::{Expander, FaceReader, GrayPixels, Studio};
use imagine_store::{Archive, Claim, Keep, Notice, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, timeout_at};

/// Makes a mask that is 255 everywhere but on the faces of a picture of this width and height: for edits that
/// keep them. Boxes are left, top, width and height in pixels.
pub type FaceMask = fn(u32, u32, &[[f32; 4]]) -> GrayPixels;

/// How a worker works.
#[derive(Clone)]
pub struct WorkerOptions {
    /// For people: who had a job.
    pub name: String,
    /// Jobs that are worked on at the same time; the studio groups them.
    pub jobs: u32,
    /// A third of the lease lets two renewals fail.
    pub renew_every: Duration,
    /// Progress is written no more often.
    pub progress_every: Duration,
    /// When stopped, running jobs have so long to end; then they are given back.
    pub drain: Duration,
    /// How often old things are taken away, and how long they are kept. Not at all if left out.
    pub sweep: Option<(Duration, Keep)>,
    /// How long a picture is tried to be stored, and what a job needs to be read, while the database or the place for
    /// pictures cannot be reached.
    pub storage_patience: Duration,
    /// None where edits cannot keep faces.
    pub face_mask: Option<FaceMask>,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            name: format!("worker-{}", std::process::id()),
            jobs: 8,
            renew_every: Duration::from_secs(10),
            progress_every: Duration::from_millis(250),
            // With what giving back takes, the whole stays below half a minute.
            drain: Duration::from_secs(25),
            sweep: None,
            // Shorter than a lease.
            storage_patience: Duration::from_secs(20),
            face_mask: None,
        }
    }
}

impl fmt::Debug for WorkerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerOptions")
            .field("name", &self.name)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// What came of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// Jobs that were given back because they did not end in time.
    pub released: usize,
}

/// One worker with one model.
#[derive(Clone)]
pub struct Worker {
    pub archive: Archive,
    pub studio: Arc<dyn Studio>,
    /// Measures likeness and finds faces; without it pictures have none measured.
    pub faces: Option<Arc<dyn FaceReader>>,
    /// Expands ideas; without it they are drawn as they are.
    pub expander: Option<Arc<dyn Expander>>,
    pub options: WorkerOptions,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Worker {
    /// Works until `stop` is done: then takes no more jobs, lets those that run end, and gives back what did
    /// not end within [`WorkerOptions::drain`].
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Drained {
        let mut stop = std::pin::pin!(stop);
        let (give_back, given_back) = watch::channel(false);
        let mut jobs = JoinSet::new();
        let mut notices = self.archive.store.notices();
        let poll = self.archive.store.policy().poll;
        let mut next_sweep = Instant::now();
        let mut stall = Stall::default();
        loop {
            if let Err(error) = self.take(&mut jobs, &given_back, &mut stall).await {
                tracing::warn!(%error, "no jobs can be taken now");
            }
            if let Some((every, keep)) = self.options.sweep
                && Instant::now() >= next_sweep
            {
                next_sweep = Instant::now() + every;
                let archive = self.archive.clone();
                tokio::spawn(async move {
                    if let Err(error) = archive.sweep(keep).await {
                        tracing::warn!(%error, "old things could not be taken away");
                    }
                });
            }
            let look_again = tokio::time::sleep(poll);
            tokio::select! {
                () = &mut stop => break,
                Some(ended) = jobs.join_next() => stall.note(&ended),
                () = queued(&mut notices) => {}
                () = look_again => {}
            }
        }
        self.drain(jobs, give_back).await
    }

    /// Takes as many jobs as there is room for.
    async fn take(
        &self,
        jobs: &mut JoinSet<job::End>,
        give_back: &watch::Receiver<bool>,
        stall: &mut Stall,
    ) -> Result<(), StoreError> {
        // Those that have ended make room.
        while let Some(ended) = jobs.try_join_next() {
            stall.note(&ended);
        }
        if !self.studio.load().healthy || stall.lasts(&self.archive).await {
            return self.archive.store.reap().await.map(drop);
        }
        loop {
            let room = (self.options.jobs as usize).saturating_sub(jobs.len());
            let Ok(most @ 1..) = u32::try_from(room) else {
                // Others' jobs are freed even while this worker is busy.
                return self.archive.store.reap().await.map(drop);
            };
            let (worker, model) = (self.options.name.clone(), self.studio.info().name.clone());
            let claimed = self.archive.store.claim(&Claim { worker, model, most }).await?;
            if claimed.is_empty() {
                return Ok(());
            }
            for one in claimed {
                jobs.spawn(job::run(self.clone(), one, give_back.clone()));
            }
        }
    }

    async fn drain(&self, mut jobs: JoinSet<job::End>, give_back: watch::Sender<bool>) -> Drained {
        let mut drained = Drained::default();
        let mut count = |end: Option<Result<job::End, _>>| {
            drained.released += usize::from(matches!(end, Some(Ok(job::End::Released))));
        };
        let end = Instant::now() + self.options.drain;
        while !jobs.is_empty() {
            let Ok(ended) = timeout_at(end, jobs.join_next()).await else { break };
            count(ended);
        }
        // Nobody may listen any more.
        let _ = give_back.send(true);
        let end = Instant::now() + Duration::from_secs(4);
        while !jobs.is_empty() {
            match timeout_at(end, jobs.join_next()).await {
                Ok(ended) => count(ended),
                Err(_) => {
                    tracing::warn!(jobs = jobs.len(), "left to others when their leases run out");
                    jobs.abort_all();
                    break;
                }
            }
        }
        drained
    }
}

/// A place for pictures that takes none. Jobs that were begun meanwhile would use up their attempts, so none are.
#[derive(Default)]
struct Stall {
    /// When it is looked at again; none where all is well.
    next: Option<Instant>,
}

/// How long it is left alone.
const STALLED: Duration = Duration::from_secs(2);
/// How long its answer is waited for.
const ANSWER: Duration = Duration::from_secs(5);

impl Stall {
    fn note(&mut self, ended: &Result<job::End, JoinError>) {
        if matches!(ended, Ok(job::End::Stalled)) && self.next.is_none() {
            tracing::warn!("no more jobs are taken until the place for pictures can be used");
            self.next = Some(Instant::now() + STALLED);
        }
    }

    async fn lasts(&mut self, archive: &Archive) -> bool {
        let Some(next) = self.next else { return false };
        if Instant::now() < next {
            return true;
        }
        match timeout_at(Instant::now() + ANSWER, archive.blobs.check()).await {
            Ok(Ok(())) => {
                tracing::info!("the place for pictures can be used again");
                self.next = None;
            }
            _ => self.next = Some(Instant::now() + STALLED),
        }
        self.next.is_some()
    }
}

/// Until there may be something to do.
async fn queued(notices: &mut tokio::sync::broadcast::Receiver<Notice>) {
    loop {
        match notices.recv().await {
            Ok(Notice::Queued | Notice::Resync) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            // The store is closed; the caller looks by itself from time to time.
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
