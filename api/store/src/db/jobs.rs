//! Jobs as clients see them: made, read, canceled, deleted.

use std::collections::HashMap;

use sqlx::Row;
use sqlx::any::AnyRow;

use super::images::{self, image_of};
use super::rows::{Reader, anywhere, json};
use super::signals::Notice;
use super::tx::Tx;
use super::{Store, events, webhooks};
use crate::error::StoreError;
use crate::ids::{BatchId, JobId, PersonId};
use crate::time::Millis;
use crate::types::{Job, JobError, JobEvent, JobStatus, NewJob, Page, PageRequest, Priority, Put};

pub(super) const COLUMNS: &str = "id, tenant, owner, batch, status, priority, input, given, expansion, webhook, \
     created, started, finished, progress, step, steps, eta_seconds, attempts, cancel_requested, error_code, \
     error_message, error_rule";

/// Batches have their own limit where they come in.
const WAITING: &str = "SELECT COUNT(*) FROM jobs WHERE status = 'queued' AND batch IS NULL";

/// Which jobs of a tenant.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JobFilter {
    pub status: Option<JobStatus>,
    pub person: Option<PersonId>,
    pub batch: Option<BatchId>,
    /// Words of the prompt.
    pub text: Option<String>,
}

/// How many jobs wait and run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// By [`Priority::ALL`].
    pub queued: [u64; 3],
    pub running: u64,
}

impl Store {
    /// Puts a job into the queue. The same idempotency key with the same body gives the job that was made
    /// before.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`], [`StoreError::IdempotencyMismatch`], [`StoreError::NoPerson`].
    pub async fn create_job(&self, new: NewJob) -> Result<Put<Job>, StoreError> {
        let mut tx = self.begin().await?;
        let id = JobId::new();
        if let Some(idempotency) = &new.idempotency
            && let Some(object) = tx.claim_key(&new.tenant, idempotency, &id.to_string()).await?
        {
            tx.rollback().await?;
            let earlier = object.parse().map_err(|e| StoreError::damaged("idempotency", &object, e))?;
            let found = self.job(&new.tenant, earlier).await?;
            return found.map(Put::Existing).ok_or(StoreError::IdempotencyMismatch);
        }
        tx.check_room(&new.owner).await?;
        tx.insert_job(id, &new, None).await?;
        tx.commit().await?;
        let job = self.job(&new.tenant, id).await?;
        job.map(Put::New).ok_or_else(|| StoreError::damaged("jobs", id, "it was deleted at once"))
    }

    /// A job of this owner with the same body that was made in the last `seconds` and did not fail: what a
    /// retry without an idempotency key meant.
    pub async fn recent_job(
        &self,
        owner: &str,
        body_sha256: &[u8; 32],
        seconds: u32,
    ) -> Result<Option<Job>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs WHERE owner = $1 AND body_sha256 = $2 AND created >= $3
             AND status <> 'failed' AND status <> 'canceled' ORDER BY id DESC LIMIT 1"
        );
        let since = Millis::now().0 - i64::from(seconds) * 1000;
        match self.read_one(&sql, |q| q.bind(owner).bind(body_sha256.as_slice()).bind(since)).await? {
            Some(row) => Ok(Some(self.with_outputs(job_of(&row)?).await?)),
            None => Ok(None),
        }
    }

    /// A job of a tenant with its pictures.
    pub async fn job(&self, tenant: &str, id: JobId) -> Result<Option<Job>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM jobs WHERE id = $1 AND tenant = $2");
        match self.read_one(&sql, |q| q.bind(id.to_string()).bind(tenant)).await? {
            Some(row) => Ok(Some(self.with_outputs(job_of(&row)?).await?)),
            None => Ok(None),
        }
    }

    async fn with_outputs(&self, mut job: Job) -> Result<Job, StoreError> {
        let sql = format!("SELECT {} FROM images WHERE job = $1 ORDER BY picture", images::COLUMNS);
        let rows = self.read_all(&sql, |q| q.bind(job.id.to_string())).await?;
        job.outputs = rows.iter().map(image_of).collect::<Result<_, _>>()?;
        Ok(job)
    }

    /// A tenant's jobs with their pictures, newest first.
    ///
    /// # Errors
    /// [`StoreError::Cursor`].
    pub async fn jobs(
        &self,
        tenant: &str,
        filter: &JobFilter,
        page: &PageRequest,
    ) -> Result<Page<Job>, StoreError> {
        let like = self.dialect().like();
        let sql = format!(
            "SELECT {COLUMNS} FROM jobs j WHERE tenant = $1 AND ($2 = '' OR id < $2) AND ($3 = '' OR status = $3)
             AND ($4 = '' OR EXISTS (SELECT 1 FROM job_people p WHERE p.job = j.id AND p.person = $4))
             AND ($5 = '' OR batch = $5) AND prompt {like} $6 ESCAPE '!' ORDER BY id DESC LIMIT $7"
        );
        let after = page.cursor::<JobId>()?;
        let status = filter.status.map_or("", JobStatus::name);
        let person = filter.person.map(|id| id.to_string()).unwrap_or_default();
        let batch = filter.batch.map(|id| id.to_string()).unwrap_or_default();
        let text = anywhere(filter.text.as_deref().unwrap_or_default());
        let limit = page.limit();
        let rows = self
            .read_all(&sql, |q| {
                let q = q.bind(tenant).bind(after).bind(status).bind(person).bind(batch);
                q.bind(text).bind(limit + 1)
            })
            .await?;
        let jobs = rows.iter().map(job_of).collect::<Result<Vec<_>, _>>()?;
        let mut page = Page::of(jobs, limit, |job| job.id.to_string());
        self.add_outputs(&mut page.data).await?;
        Ok(page)
    }

    /// The pictures of many jobs by one statement.
    pub(super) async fn add_outputs(&self, jobs: &mut [Job]) -> Result<(), StoreError> {
        let (Some(least), Some(most)) = (jobs.iter().map(|j| j.id).min(), jobs.iter().map(|j| j.id).max())
        else {
            return Ok(());
        };
        let tenant = jobs[0].tenant.clone();
        let sql = format!(
            "SELECT {} FROM images WHERE tenant = $1 AND job >= $2 AND job <= $3 ORDER BY job, picture",
            images::COLUMNS
        );
        let rows = self.read_all(&sql, |q| q.bind(tenant).bind(least.to_string()).bind(most.to_string()));
        let mut outputs: HashMap<JobId, Vec<_>> = HashMap::new();
        for row in &rows.await? {
            let image = image_of(row)?;
            outputs.entry(image.job).or_default().push(image);
        }
        for job in jobs {
            job.outputs = outputs.remove(&job.id).unwrap_or_default();
        }
        Ok(())
    }

    /// How many jobs are begun before this one, 0 for the next; none where it does not wait.
    pub async fn queue_position(&self, id: JobId) -> Result<Option<u64>, StoreError> {
        let sql = format!(
            "SELECT place FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY priority, turn, id) - 1 AS place
             FROM ({}) AS turns) AS places WHERE id = $1",
            super::queue::TURNS
        );
        let row = self.read_one(&sql, |q| q.bind(id.to_string())).await?;
        row.map(|row| Ok(u64::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default())).transpose()
    }

    /// Whether one more job of this owner may wait, for whoever would like to know before much work is done for it:
    /// [`Self::create_job`] has the last word. Waits for no writer.
    ///
    /// # Errors
    /// [`StoreError::QueueFull`].
    pub async fn room(&self, owner: &str) -> Result<(), StoreError> {
        let own = format!("{WAITING} AND owner = $1");
        let count = |row: Option<AnyRow>| row.map_or(Ok(0), |row| row.try_get::<i64, _>(0));
        let queued = count(self.read_one(WAITING, |q| q).await?)?;
        let of_owner = count(self.read_one(&own, |q| q.bind(owner)).await?)?;
        self.policy().room(queued, of_owner)
    }

    /// How many jobs wait and run, of everyone.
    pub async fn depth(&self) -> Result<Depth, StoreError> {
        let sql = "SELECT status, priority, COUNT(*) AS jobs FROM jobs
                   WHERE status IN ('queued', 'running') GROUP BY status, priority";
        let mut depth = Depth::default();
        for row in self.read_all(sql, |q| q).await? {
            let row = Reader { row: &row, table: "jobs" };
            let jobs: u64 = row.number("jobs")?;
            let class: usize = row.number("priority")?;
            if row.text("status")? == "running" {
                depth.running += jobs;
            } else if let Some(queued) = depth.queued.get_mut(class) {
                *queued = jobs;
            }
        }
        Ok(depth)
    }

    /// Mean seconds that the last jobs ran, for estimates; none before the first.
    pub async fn recent_run_seconds(&self) -> Result<Option<f64>, StoreError> {
        let sql = "SELECT AVG(CAST(finished - started AS DOUBLE PRECISION)) / 1000.0 AS seconds FROM
                   (SELECT finished, started FROM jobs WHERE status = 'succeeded' AND started IS NOT NULL
                    ORDER BY finished DESC LIMIT 20) AS recent";
        let row = self.read_one(sql, |q| q).await?;
        row.map_or(Ok(None), |row| Reader { row: &row, table: "jobs" }.optional_real("seconds"))
    }

    /// Cancels a job: at once where it waits, at the next step where it runs. A finished one stays as it is.
    /// None where there is no such job.
    pub async fn cancel_job(&self, tenant: &str, id: JobId) -> Result<Option<Job>, StoreError> {
        let mut tx = self.begin().await?;
        tx.cancel(tenant, id).await?;
        tx.commit().await?;
        self.job(tenant, id).await
    }

    /// Takes a job away with its pictures; one that runs is stopped. False where there is none. The pictures'
    /// bytes are taken away by the next [`crate::Archive::sweep`] or at once by [`crate::Archive::delete_job`].
    pub async fn delete_job(&self, tenant: &str, id: JobId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let found = tx.one("SELECT id FROM jobs WHERE id = $1 AND tenant = $2", |q| {
            q.bind(id.to_string()).bind(tenant)
        });
        if found.await?.is_none() {
            tx.rollback().await?;
            return Ok(false);
        }
        tx.remove_job(id).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Whether the job is known still; a worker asks before it takes away what it has put for it.
    pub async fn job_exists(&self, id: JobId) -> Result<bool, StoreError> {
        let row = self.read_one("SELECT id FROM jobs WHERE id = $1", |q| q.bind(id.to_string())).await?;
        Ok(row.is_some())
    }
}

impl Tx<'_> {
    async fn check_room(&mut self, owner: &str) -> Result<(), StoreError> {
        let own = format!("{WAITING} AND owner = $1");
        let queued = self.count(WAITING, |q| q).await?;
        let of_owner = self.count(&own, |q| q.bind(owner.to_owned())).await?;
        self.store().policy().room(queued, of_owner)
    }

    pub(super) async fn insert_job(
        &mut self,
        id: JobId,
        new: &NewJob,
        batch: Option<(BatchId, i64)>,
    ) -> Result<(), StoreError> {
        let input = &new.input;
        let mut people: Vec<PersonId> = input.people.iter().map(|person| person.person).collect();
        people.sort_unstable();
        people.dedup();
        for person in people {
            // Locks out a deletion that happens meanwhile: it changes the same row.
            let held = self.run(
                "UPDATE people SET tenant = tenant WHERE id = $1 AND tenant = $2 AND deleted IS NULL",
                |q| q.bind(person.to_string()).bind(new.tenant.clone()),
            );
            if held.await? == 0 {
                return Err(StoreError::NoPerson);
            }
            let sql = "INSERT INTO job_people (job, person) VALUES ($1, $2)";
            self.run(sql, |q| q.bind(id.to_string()).bind(person.to_string())).await?;
        }
        let created = self.now().0;
        let (input_json, given) = (json(input)?, json(&new.given)?);
        let expansion = new.expansion.as_ref().map(json).transpose()?;
        let (batch, line) = batch.map(|(batch, line)| (batch.to_string(), line)).unzip();
        let sql = "INSERT INTO jobs (id, tenant, owner, batch, batch_line, status, priority, model, batch_key,
                   prompt, input, given, expansion, body_sha256, webhook, created, progress, step, steps, attempts,
                   cancel_requested, event_number)
                   VALUES ($1, $2, $3, $4, $5, 'queued', $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0.0, 0, 0, 0, 0, 0)";
        self.run(sql, |q| {
            let q = q
                .bind(id.to_string())
                .bind(new.tenant.clone())
                .bind(new.owner.clone())
                .bind(batch)
                .bind(line);
            let q = q.bind(new.priority.number()).bind(input.model.clone()).bind(input.batch_key());
            let q = q.bind(input.prompt.clone()).bind(input_json).bind(given).bind(expansion);
            q.bind(new.body_sha256.map(|sha| sha.to_vec())).bind(new.webhook.clone()).bind(created)
        })
        .await?;
        self.add_event(id, &JobEvent::Queued).await?;
        self.notify(Notice::Queued);
        Ok(())
    }

    /// True where something was changed.
    pub(super) async fn cancel(&mut self, tenant: &str, id: JobId) -> Result<bool, StoreError> {
        let now = self.now().0;
        let waiting = self.run(
            "UPDATE jobs SET status = 'canceled', finished = $3, cancel_requested = 1
             WHERE id = $1 AND tenant = $2 AND status = 'queued'",
            |q| q.bind(id.to_string()).bind(tenant.to_owned()).bind(now),
        );
        if waiting.await? > 0 {
            self.closed(id, &JobEvent::Canceled).await?;
            return Ok(true);
        }
        let running = self.run(
            "UPDATE jobs SET cancel_requested = 1
             WHERE id = $1 AND tenant = $2 AND status = 'running' AND cancel_requested = 0",
            |q| q.bind(id.to_string()).bind(tenant.to_owned()),
        );
        let requested = running.await? > 0;
        if requested {
            self.notify(Notice::Cancel { job: id });
        }
        Ok(requested)
    }

    /// What belongs to the end of every job, in the transaction that ends it.
    pub(super) async fn closed(&mut self, id: JobId, event: &JobEvent) -> Result<(), StoreError> {
        self.add_event(id, event).await?;
        let name = id.to_string();
        let sql = "DELETE FROM events WHERE job = $1 AND kind = $2";
        self.run(sql, |q| q.bind(name.clone()).bind(events::PROGRESS)).await?;
        self.run("DELETE FROM previews WHERE job = $1", |q| q.bind(name)).await?;
        self.remove_handed_in(id).await?;
        webhooks::post(self, id).await
    }

    pub(super) async fn remove_job(&mut self, id: JobId) -> Result<(), StoreError> {
        let name = id.to_string();
        // The row is locked before its pictures are listed, as `hold` does: a worker that is recording one ends
        // first, and its picture is on the list; the next finds no job.
        let lock = "UPDATE jobs SET lease_token = lease_token WHERE id = $1";
        self.run(lock, |q| q.bind(name.clone())).await?;
        self.remove_handed_in(id).await?;
        let images = self.all("SELECT id FROM images WHERE job = $1", |q| q.bind(name.clone())).await?;
        for image in images {
            let image: String = image.try_get("id")?;
            self.remove_image(&image).await?;
        }
        for sql in [
            "DELETE FROM events WHERE job = $1",
            "DELETE FROM previews WHERE job = $1",
            "DELETE FROM job_people WHERE job = $1",
            "DELETE FROM webhooks WHERE job = $1",
            "DELETE FROM jobs WHERE id = $1",
            "UPDATE batch_lines SET error_code = 'deleted', error_message = 'the job was deleted', error_rule = NULL, job = NULL
             WHERE job = $1",
        ] {
            self.run(sql, |q| q.bind(name.clone())).await?;
        }
        self.notify(Notice::Cancel { job: id });
        self.notify(Notice::Job { job: id, batch: None });
        Ok(())
    }
}

pub(super) fn job_of(row: &sqlx::any::AnyRow) -> Result<Job, StoreError> {
    let row = Reader { row, table: "jobs" };
    let id: JobId = row.parsed("id")?;
    let error = match (row.optional_text("error_code")?, row.optional_text("error_message")?) {
        (Some(code), Some(message)) => {
            Some(JobError { code, message, rule: row.optional_text("error_rule")? })
        }
        _ => None,
    };
    let priority: i64 = row.integer("priority")?;
    let priority = Priority::of_number(priority)
        .ok_or_else(|| StoreError::damaged("jobs", id, format!("priority {priority} is unknown")))?;
    Ok(Job {
        id,
        tenant: row.text("tenant")?,
        owner: row.text("owner")?,
        batch: row.optional_parsed("batch")?,
        status: row.named("status", JobStatus::of_name)?,
        priority,
        input: row.json("input")?,
        given: row.json("given")?,
        expansion: row.optional_json("expansion")?,
        created: row.time("created")?,
        started: row.optional_time("started")?,
        finished: row.optional_time("finished")?,
        progress: row.real("progress")?,
        step: row.number("step")?,
        steps: row.number("steps")?,
        eta_seconds: row.optional_real("eta_seconds")?,
        attempts: row.number("attempts")?,
        cancel_requested: row.flag("cancel_requested")?,
        error,
        outputs: Vec::new(),
        webhook: row.optional_text("webhook")?,
    })
}
