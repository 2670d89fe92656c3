//! The queue as workers see it: claims, leases and what is written under them.
//!
//! Every claim has a token of its own, and every write of a worker asks for it: whoever lost a lease, because
//! their process stood still or the network was gone, can write nothing more.

use std::time::Duration;

use sqlx::Row;
use uuid::Uuid;

use super::jobs::{COLUMNS, job_of};
use super::signals::Notice;
use super::tx::Tx;
use super::{Store, rows};
use crate::error::StoreError;
use crate::ids::JobId;
use crate::types::{Image, Job, JobError, JobEvent, NewImage, Progress};

/// Jobs that wait, with the turn that each has: its place among the waiting jobs of its owner and class,
/// behind those of the owner that run.
pub(super) const TURNS: &str = "SELECT q.id, q.priority, q.batch_key, q.model, q.owner,
        ROW_NUMBER() OVER (PARTITION BY q.owner, q.priority ORDER BY q.id) + COALESCE(r.running, 0) AS turn,
        ROW_NUMBER() OVER (PARTITION BY q.owner ORDER BY q.priority, q.id) + COALESCE(r.running, 0) AS share
    FROM jobs q LEFT JOIN
        (SELECT owner, COUNT(*) AS running FROM jobs WHERE status = 'running' GROUP BY owner) r
        ON r.owner = q.owner
    WHERE q.status = 'queued'";

/// What a worker asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Name of the worker, for people.
    pub worker: String,
    /// The model that it has; jobs that ask for none are taken too.
    pub model: String,
    /// How many jobs at most.
    pub most: u32,
}

/// The right to write about a job, until it runs out.
#[derive(Clone, PartialEq, Eq)]
pub struct Lease {
    pub job: JobId,
    token: String,
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({})", self.job)
    }
}

/// A job that a worker has taken.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// With the pictures of earlier attempts, which need not be drawn again.
    pub job: Job,
    pub lease: Lease,
}

/// What came of a renewal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renewal {
    pub cancel_requested: bool,
}

/// How a job ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded,
    Failed(JobError),
    Canceled,
}

/// What became of the jobs of workers that are not heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    pub requeued: u64,
    pub failed: u64,
    pub canceled: u64,
}

impl Store {
    /// Takes the job whose turn it is, and as many more as are wanted of those that can share its network
    /// calls. Turns: the class, then fairly between owners, then age; an owner who has
    /// [`super::Policy::running_per_owner`] jobs running waits. Leases that ran out are dealt with first.
    pub async fn claim(&self, claim: &Claim) -> Result<Vec<Claimed>, StoreError> {
        let mut tx = self.begin().await?;
        if let Some(lock) = self.dialect().claim_lock() {
            tx.run(lock, |q| q).await?;
        }
        tx.reap().await?;
        let ids = tx.next_in_turn(claim).await?;
        let until = tx.now().plus(self.policy().lease).0;
        let started = tx.now().0;
        let mut claimed = Vec::new();
        for id in ids {
            // Time and 74 random bits: no two claims have the same.
            let token = Uuid::now_v7().simple().to_string();
            let sql = format!(
                "UPDATE jobs SET status = 'running', attempts = attempts + 1, lease_token = $2, lease_until = $3,
                 worker = $4, started = $5, progress = 0.0, step = 0, eta_seconds = NULL
                 WHERE id = $1 AND status = 'queued' RETURNING {COLUMNS}"
            );
            let row = tx.one(&sql, |q| {
                q.bind(id.to_string())
                    .bind(token.clone())
                    .bind(until)
                    .bind(claim.worker.clone())
                    .bind(started)
            });
            let Some(row) = row.await? else { continue };
            let mut job = job_of(&row)?;
            job.outputs = tx.outputs(id).await?;
            tx.add_event(id, &JobEvent::Started).await?;
            claimed.push(Claimed { job, lease: Lease { job: id, token } });
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Holds a lease for [`super::Policy::lease`] more.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn renew(&self, lease: &Lease) -> Result<Renewal, StoreError> {
        let mut tx = self.begin().await?;
        let until = tx.now().plus(self.policy().lease).0;
        let sql = "UPDATE jobs SET lease_until = $3 WHERE id = $1 AND lease_token = $2 AND status = 'running'
                   RETURNING cancel_requested";
        let row =
            tx.one(sql, |q| q.bind(lease.job.to_string()).bind(lease.token.clone()).bind(until)).await?;
        let Some(row) = row else { return Err(StoreError::LeaseLost(lease.job)) };
        let cancel_requested = row.try_get::<i64, _>(0)? != 0;
        tx.commit().await?;
        Ok(Renewal { cancel_requested })
    }

    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn record_progress(&self, lease: &Lease, progress: Progress) -> Result<Renewal, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE jobs SET progress = $3, step = $4, steps = $5, eta_seconds = $6
                   WHERE id = $1 AND lease_token = $2 AND status = 'running' RETURNING cancel_requested";
        let row = tx.one(sql, |q| {
            let q = q.bind(lease.job.to_string()).bind(lease.token.clone()).bind(progress.progress);
            q.bind(i64::from(progress.step)).bind(i64::from(progress.steps)).bind(progress.eta_seconds)
        });
        let Some(row) = row.await? else { return Err(StoreError::LeaseLost(lease.job)) };
        let cancel_requested = row.try_get::<i64, _>(0)? != 0;
        tx.add_event(lease.job, &JobEvent::Progress(progress)).await?;
        tx.commit().await?;
        Ok(Renewal { cancel_requested })
    }

    /// The expansion that the worker had made of the job's idea.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn record_expansion(
        &self,
        lease: &Lease,
        expansion: &serde_json::Value,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold(lease).await?;
        let text = rows::json(expansion)?;
        let sql = "UPDATE jobs SET expansion = $2 WHERE id = $1";
        tx.run(sql, |q| q.bind(lease.job.to_string()).bind(text)).await?;
        tx.commit().await
    }

    /// A picture whose bytes are stored. One that an earlier attempt recorded stays, and is given back.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn record_output(&self, lease: &Lease, new: &NewImage) -> Result<Image, StoreError> {
        let mut tx = self.begin().await?;
        tx.hold(lease).await?;
        let image = tx.insert_image(lease.job, new).await?;
        tx.commit().await?;
        Ok(image)
    }

    /// Ends a job, with the call of its webhook in the same transaction.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn finish(&self, lease: &Lease, outcome: &Outcome) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold(lease).await?;
        tx.end(lease.job, outcome).await?;
        tx.commit().await
    }

    /// Gives a job back that was taken and is not going to be finished here, as when a worker is stopped. The
    /// attempt does not count.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold(lease).await?;
        let sql = "UPDATE jobs SET attempts = attempts - 1 WHERE id = $1";
        tx.run(sql, |q| q.bind(lease.job.to_string())).await?;
        tx.requeue(lease.job).await?;
        tx.commit().await
    }

    /// As [`Store::release`], but the attempt counts: the job may be what cannot be done.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`].
    pub async fn put_back(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.hold(lease).await?;
        tx.requeue(lease.job).await?;
        tx.commit().await
    }

    /// Deals with leases that ran out: the job is done again, or has failed where it was begun often enough.
    pub async fn reap(&self) -> Result<Reaped, StoreError> {
        let mut tx = self.begin().await?;
        let reaped = tx.reap().await?;
        tx.commit().await?;
        Ok(reaped)
    }

    /// How long until the first lease runs out; none where nothing runs.
    pub async fn next_expiry(&self) -> Result<Option<Duration>, StoreError> {
        let sql = "SELECT MIN(lease_until) AS until FROM jobs WHERE status = 'running'";
        let Some(row) = self.read_one(sql, |q| q).await? else { return Ok(None) };
        let until: Option<i64> = row.try_get("until")?;
        let left =
            |until: i64| Duration::from_millis(u64::try_from(until - crate::Millis::now().0).unwrap_or(0));
        Ok(until.map(left))
    }
}

impl Tx<'_> {
    /// The head of the queue and those with the same batch key, in turn.
    async fn next_in_turn(&mut self, claim: &Claim) -> Result<Vec<JobId>, StoreError> {
        let most = i64::from(claim.most);
        let cap = i64::from(self.store().policy().running_per_owner);
        let sql = format!(
            "WITH turns AS (
                 SELECT id, batch_key, priority, turn FROM ({TURNS}) AS t
                 WHERE share <= $1 AND (model IS NULL OR model = $2)),
             head AS (SELECT batch_key FROM turns ORDER BY priority, turn, id LIMIT 1)
             SELECT id FROM turns WHERE batch_key = (SELECT batch_key FROM head)
             ORDER BY priority, turn, id LIMIT $3"
        );
        let rows = self.all(&sql, |q| q.bind(cap).bind(claim.model.clone()).bind(most)).await?;
        let mut free = Vec::new();
        let lock = format!(
            "SELECT id FROM jobs WHERE id = $1 AND status = 'queued'{}",
            self.store().dialect().skip_locked()
        );
        for row in rows {
            let id: String = row.try_get("id")?;
            if self.one(&lock, |q| q.bind(id.clone())).await?.is_some() {
                free.push(id.parse().map_err(|e| StoreError::damaged("jobs", &id, e))?);
            }
        }
        Ok(free)
    }

    /// Locks the row of a job that is held under this lease.
    pub(super) async fn hold(&mut self, lease: &Lease) -> Result<(), StoreError> {
        let sql = "UPDATE jobs SET lease_token = lease_token
                   WHERE id = $1 AND lease_token = $2 AND status = 'running'";
        let held = self.run(sql, |q| q.bind(lease.job.to_string()).bind(lease.token.clone())).await?;
        if held == 0 { Err(StoreError::LeaseLost(lease.job)) } else { Ok(()) }
    }

    pub(super) async fn end(&mut self, id: JobId, outcome: &Outcome) -> Result<(), StoreError> {
        let (status, event, error) = match outcome {
            Outcome::Succeeded => ("succeeded", JobEvent::Succeeded, None),
            Outcome::Failed(error) => ("failed", JobEvent::Failed, Some(error)),
            Outcome::Canceled => ("canceled", JobEvent::Canceled, None),
        };
        let now = self.now().0;
        let sql = "UPDATE jobs SET status = $2, finished = $3, error_code = $4, error_message = $5, error_rule = $6,
                   progress = CASE WHEN $2 = 'succeeded' THEN 1.0 ELSE progress END,
                   step = CASE WHEN $2 = 'succeeded' THEN steps ELSE step END,
                   eta_seconds = NULL, lease_token = NULL, lease_until = NULL WHERE id = $1";
        self.run(sql, |q| {
            let q = q.bind(id.to_string()).bind(status).bind(now);
            q.bind(error.map(|e| e.code.clone()))
                .bind(error.map(|e| e.message.clone()))
                .bind(error.and_then(|e| e.rule.clone()))
        })
        .await?;
        self.closed(id, &event).await
    }

    async fn requeue(&mut self, id: JobId) -> Result<(), StoreError> {
        let sql = "UPDATE jobs SET status = 'queued', lease_token = NULL, lease_until = NULL, worker = NULL,
                   progress = 0.0, step = 0, eta_seconds = NULL WHERE id = $1";
        self.run(sql, |q| q.bind(id.to_string())).await?;
        self.add_event(id, &JobEvent::Queued).await?;
        self.notify(Notice::Queued);
        Ok(())
    }

    async fn reap(&mut self) -> Result<Reaped, StoreError> {
        let now = self.now().0;
        let sql = format!(
            "SELECT id, attempts, cancel_requested FROM jobs WHERE status = 'running' AND lease_until < $1{}",
            self.store().dialect().skip_locked()
        );
        let mut reaped = Reaped::default();
        let most = i64::from(self.store().policy().attempts);
        for row in self.all(&sql, |q| q.bind(now)).await? {
            let id: String = row.try_get("id")?;
            let id: JobId = id.parse().map_err(|e| StoreError::damaged("jobs", &id, e))?;
            let attempts: i64 = row.try_get("attempts")?;
            tracing::warn!(job = %id, attempts, "a lease ran out");
            if row.try_get::<i64, _>("cancel_requested")? != 0 {
                self.end(id, &Outcome::Canceled).await?;
                reaped.canceled += 1;
            } else if attempts >= most {
                let message = format!("{attempts} workers stopped while they worked on it");
                self.end(id, &Outcome::Failed(JobError::new("worker_lost", message))).await?;
                reaped.failed += 1;
            } else {
                self.requeue(id).await?;
                reaped.requeued += 1;
            }
        }
        Ok(reaped)
    }
}
