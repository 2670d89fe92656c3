//! Many jobs at once.

use sqlx::Row;

use super::Store;
use super::jobs::{COLUMNS, job_of};
use super::rows::{Reader, json};
use super::tx::Tx;
use crate::error::StoreError;
use crate::ids::{BatchId, JobId};
use crate::types::{
    Batch, BatchLine, BatchLineResult, Counts, InvalidLine, JobError, JobStatus, NewBatch, Page, PageRequest,
    Put,
};

impl Store {
    /// Puts all lines into the queue, or none of them.
    ///
    /// # Errors
    /// [`StoreError::IdempotencyMismatch`], [`StoreError::NoPerson`].
    pub async fn create_batch(&self, new: NewBatch) -> Result<Put<Batch>, StoreError> {
        let mut tx = self.begin().await?;
        let id = BatchId::new();
        if let Some(idempotency) = &new.idempotency
            && let Some(object) = tx.claim_key(&new.tenant, idempotency, &id.to_string()).await?
        {
            tx.rollback().await?;
            let earlier = object.parse().map_err(|e| StoreError::damaged("idempotency", &object, e))?;
            let found = self.batch(&new.tenant, earlier).await?;
            return found.map(Put::Existing).ok_or(StoreError::IdempotencyMismatch);
        }
        let created = tx.now().0;
        let sql =
            "INSERT INTO batches (id, tenant, name, created, cancel_requested) VALUES ($1, $2, $3, $4, 0)";
        tx.run(sql, |q| q.bind(id.to_string()).bind(new.tenant.clone()).bind(new.name.clone()).bind(created))
            .await?;
        for (line, content) in (0..).zip(&new.lines) {
            tx.insert_line(id, line, content).await?;
        }
        tx.commit().await?;
        let batch = self.batch(&new.tenant, id).await?;
        batch.map(Put::New).ok_or_else(|| StoreError::damaged("batches", id, "it was deleted at once"))
    }

    pub async fn batch(&self, tenant: &str, id: BatchId) -> Result<Option<Batch>, StoreError> {
        let sql =
            "SELECT id, tenant, name, created, cancel_requested FROM batches WHERE id = $1 AND tenant = $2";
        let Some(row) = self.read_one(sql, |q| q.bind(id.to_string()).bind(tenant)).await? else {
            return Ok(None);
        };
        self.batch_of(&row).await.map(Some)
    }

    /// A tenant's batches, newest first.
    ///
    /// # Errors
    /// [`StoreError::Cursor`].
    pub async fn batches(&self, tenant: &str, page: &PageRequest) -> Result<Page<Batch>, StoreError> {
        let sql = "SELECT id, tenant, name, created, cancel_requested FROM batches
                   WHERE tenant = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3";
        let (after, limit) = (page.cursor::<BatchId>()?, page.limit());
        let rows = self.read_all(sql, |q| q.bind(tenant).bind(after).bind(limit + 1)).await?;
        let mut batches = Vec::with_capacity(rows.len());
        for row in &rows {
            batches.push(self.batch_of(row).await?);
        }
        Ok(Page::of(batches, limit, |batch| batch.id.to_string()))
    }

    /// What came of the lines from `first` on, at most `limit` of them, in order. Jobs come without pictures
    /// where they are not finished.
    pub async fn batch_results(
        &self,
        id: BatchId,
        first: u64,
        limit: u32,
    ) -> Result<Vec<BatchLineResult>, StoreError> {
        let columns = COLUMNS.split(", ").map(|c| format!("j.{c} AS {c}")).collect::<Vec<_>>();
        // The line's own error has names of its own: a job has one as well.
        let sql = format!(
            "SELECT l.line AS line, l.job AS line_job, l.error_code AS line_code, l.error_message AS line_message,
             l.error_rule AS line_rule, l.given AS line_given, {}
             FROM batch_lines l LEFT JOIN jobs j ON j.id = l.job
             WHERE l.batch = $1 AND l.line >= $2 ORDER BY l.line LIMIT $3",
            columns.join(", ")
        );
        let rows =
            self.read_all(&sql, |q| q.bind(id.to_string()).bind(first.cast_signed()).bind(i64::from(limit)));
        let mut results = Vec::new();
        let mut jobs = Vec::new();
        for row in &rows.await? {
            let reader = Reader { row, table: "batch_lines" };
            let line: u64 = reader.number("line")?;
            if reader.optional_text("line_job")?.is_some() {
                jobs.push((line, job_of(row)?));
            } else {
                let code = reader.optional_text("line_code")?.unwrap_or_else(|| "invalid".into());
                let message = reader.optional_text("line_message")?.unwrap_or_default();
                let given = reader.optional_json("line_given")?;
                let invalid = InvalidLine {
                    error: JobError { code, message, rule: reader.optional_text("line_rule")? },
                    given,
                };
                results.push(BatchLineResult { line, result: Err(invalid) });
            }
        }
        let (lines, mut jobs): (Vec<_>, Vec<_>) = jobs.into_iter().unzip();
        self.add_outputs(&mut jobs).await?;
        let done = lines.into_iter().zip(jobs);
        results.extend(done.map(|(line, job)| BatchLineResult { line, result: Ok(Box::new(job)) }));
        results.sort_by_key(|result| result.line);
        Ok(results)
    }

    /// Cancels every job that is not finished. None where there is no such batch.
    pub async fn cancel_batch(&self, tenant: &str, id: BatchId) -> Result<Option<Batch>, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE batches SET cancel_requested = 1 WHERE id = $1 AND tenant = $2";
        if tx.run(sql, |q| q.bind(id.to_string()).bind(tenant.to_owned())).await? == 0 {
            tx.rollback().await?;
            return Ok(None);
        }
        let sql = "SELECT id FROM jobs WHERE batch = $1 AND status IN ('queued', 'running') ORDER BY id";
        for row in tx.all(sql, |q| q.bind(id.to_string())).await? {
            let job: JobId = Reader { row: &row, table: "jobs" }.parsed("id")?;
            tx.cancel(tenant, job).await?;
        }
        tx.commit().await?;
        self.batch(tenant, id).await
    }

    async fn batch_of(&self, row: &sqlx::any::AnyRow) -> Result<Batch, StoreError> {
        let row = Reader { row, table: "batches" };
        let id: BatchId = row.parsed("id")?;
        Ok(Batch {
            id,
            tenant: row.text("tenant")?,
            name: row.optional_text("name")?,
            created: row.time("created")?,
            cancel_requested: row.flag("cancel_requested")?,
            counts: self.counts(id).await?,
        })
    }

    async fn counts(&self, id: BatchId) -> Result<Counts, StoreError> {
        let sql = "SELECT COALESCE(j.status, 'failed') AS status, COUNT(*) AS jobs FROM batch_lines l
                   LEFT JOIN jobs j ON j.id = l.job WHERE l.batch = $1 GROUP BY COALESCE(j.status, 'failed')";
        let mut counts = Counts::default();
        for row in self.read_all(sql, |q| q.bind(id.to_string())).await? {
            let row = Reader { row: &row, table: "batch_lines" };
            let jobs: u64 = row.number("jobs")?;
            counts.total += jobs;
            match row.named("status", JobStatus::of_name)? {
                JobStatus::Queued => counts.queued = jobs,
                JobStatus::Running => counts.running = jobs,
                JobStatus::Succeeded => counts.succeeded = jobs,
                JobStatus::Failed => counts.failed = jobs,
                JobStatus::Canceled => counts.canceled = jobs,
            }
        }
        Ok(counts)
    }
}

impl Tx<'_> {
    async fn insert_line(
        &mut self,
        batch: BatchId,
        line: i64,
        content: &BatchLine,
    ) -> Result<(), StoreError> {
        let (job, invalid) = match content {
            BatchLine::Job(new) => {
                let job = JobId::new();
                self.insert_job(job, new, Some((batch, line))).await?;
                (Some(job.to_string()), None)
            }
            BatchLine::Invalid(invalid) => (None, Some(invalid)),
        };
        let error = invalid.map(|line| &line.error);
        let given = invalid.and_then(|line| line.given.as_ref()).map(json).transpose()?;
        let sql = "INSERT INTO batch_lines (batch, line, job, error_code, error_message, error_rule, given)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        self.run(sql, |q| {
            let q = q.bind(batch.to_string()).bind(line).bind(job);
            let q = q.bind(error.map(|e| e.code.clone())).bind(error.map(|e| e.message.clone()));
            q.bind(error.and_then(|e| e.rule.clone())).bind(given)
        })
        .await
        .map(drop)
    }

    /// Batches that have neither lines with jobs nor anything else to show any more.
    pub(super) async fn remove_batch(&mut self, id: &str) -> Result<(), StoreError> {
        self.run("DELETE FROM batch_lines WHERE batch = $1", |q| q.bind(id.to_owned())).await?;
        self.run("DELETE FROM batches WHERE id = $1", |q| q.bind(id.to_owned())).await?;
        Ok(())
    }

    /// Every id in the first column.
    pub(super) async fn ids(&mut self, sql: &str, before: i64) -> Result<Vec<String>, StoreError> {
        self.all(sql, |q| q.bind(before)).await?.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }
}
