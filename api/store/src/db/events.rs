//! What happened to a job, numbered.

use std::sync::Arc;

use serde_json::json;
use sqlx::Row;
use sqlx::any::AnyRow;

use super::images::{self, image_of};
use super::queue::Lease;
use super::rows::Reader;
use super::signals::Notice;
use super::tx::Tx;
use super::{Dialect, Store};
use crate::error::StoreError;
use crate::ids::{BatchId, JobId};
use crate::types::{Image, JobEvent, NumberedEvent};

/// Kept only while the job runs.
pub(super) const PROGRESS: &str = "job.progress";
const OUTPUT: &str = "job.output";

impl Store {
    /// What happened to a job after the event with number `after`, in order. Progress is kept only until the
    /// job is finished, previews never.
    pub async fn events(&self, job: JobId, after: i64) -> Result<Vec<NumberedEvent>, StoreError> {
        let sql = "SELECT number, at, kind, data FROM events WHERE job = $1 AND number > $2 ORDER BY number";
        let rows = self.read_all(sql, |q| q.bind(job.to_string()).bind(after)).await?;
        let mut events = Vec::with_capacity(rows.len());
        for row in &rows {
            // A picture that was deleted since is not told of.
            events.extend(self.event_of(job, row).await?);
        }
        Ok(events)
    }

    async fn event_of(&self, job: JobId, row: &AnyRow) -> Result<Option<NumberedEvent>, StoreError> {
        let row = Reader { row, table: "events" };
        let kind = row.text("kind")?;
        let event = match kind.as_str() {
            "job.queued" => JobEvent::Queued,
            "job.started" => JobEvent::Started,
            PROGRESS => JobEvent::Progress(row.json("data")?),
            OUTPUT => {
                let index: serde_json::Value = row.json("data")?;
                let sql = format!("SELECT {} FROM images WHERE job = $1 AND picture = $2", images::COLUMNS);
                let picture = index["index"].as_i64();
                let Some(row) = self.read_one(&sql, |q| q.bind(job.to_string()).bind(picture)).await? else {
                    return Ok(None);
                };
                JobEvent::Output(Box::new(image_of(&row)?))
            }
            "job.succeeded" => JobEvent::Succeeded,
            "job.failed" => JobEvent::Failed,
            "job.canceled" => JobEvent::Canceled,
            other => return Err(StoreError::damaged("events", job, format!("kind \"{other}\" is unknown"))),
        };
        Ok(Some(NumberedEvent { number: Some(row.integer("number")?), at: row.time("at")?, event }))
    }

    /// Shows those who watch how picture `index` looks after `step`. It is not kept: through Postgres only
    /// the latest of each picture waits to be fetched.
    ///
    /// # Errors
    /// [`StoreError::LeaseLost`], where the database is asked at all.
    pub async fn show_preview(
        &self,
        lease: &Lease,
        index: u32,
        step: u32,
        jpeg: Vec<u8>,
    ) -> Result<(), StoreError> {
        let job = lease.job;
        match self.dialect() {
            Dialect::Sqlite => {
                self.0.signals.send(Notice::Preview { job, index, step, jpeg: Some(Arc::new(jpeg)) });
                Ok(())
            }
            Dialect::Postgres => {
                let mut tx = self.begin().await?;
                tx.hold(lease).await?;
                let sql = "INSERT INTO previews (job, picture, step, jpeg) VALUES ($1, $2, $3, $4)
                           ON CONFLICT (job, picture) DO UPDATE SET step = excluded.step, jpeg = excluded.jpeg";
                let name = job.to_string();
                tx.run(sql, |q| q.bind(name).bind(i64::from(index)).bind(i64::from(step)).bind(jpeg)).await?;
                tx.notify(Notice::Preview { job, index, step, jpeg: None });
                tx.commit().await
            }
        }
    }

    /// The latest preview of a picture and its step, from another machine.
    pub(super) async fn preview(&self, job: JobId, index: u32) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
        let sql = "SELECT step, jpeg FROM previews WHERE job = $1 AND picture = $2";
        let row = self.read_one(sql, |q| q.bind(job.to_string()).bind(i64::from(index))).await?;
        row.map(|row| {
            let row = Reader { row: &row, table: "previews" };
            Ok((row.number("step")?, row.bytes("jpeg")?))
        })
        .transpose()
    }
}

impl Tx<'_> {
    /// Numbers an event. The job's row is changed first, so that numbers are in the order of the commits.
    pub(super) async fn add_event(&mut self, job: JobId, event: &JobEvent) -> Result<(), StoreError> {
        let sql =
            "UPDATE jobs SET event_number = event_number + 1 WHERE id = $1 RETURNING event_number, batch";
        let row = self.one(sql, |q| q.bind(job.to_string())).await?;
        let row = row.ok_or_else(|| StoreError::damaged("jobs", job, "it is not there"))?;
        let number: i64 = row.try_get("event_number")?;
        let batch: Option<BatchId> = Reader { row: &row, table: "jobs" }.optional_parsed("batch")?;
        let data = match event {
            JobEvent::Progress(progress) => Some(super::rows::json(progress)?),
            JobEvent::Output(image) => Some(json!({"index": image.index}).to_string()),
            _ => None,
        };
        let at = self.now().0;
        let sql = "INSERT INTO events (job, number, at, kind, data) VALUES ($1, $2, $3, $4, $5)";
        self.run(sql, |q| q.bind(job.to_string()).bind(number).bind(at).bind(event.name()).bind(data))
            .await?;
        self.notify(Notice::Job { job, batch });
        Ok(())
    }

    pub(super) async fn outputs(&mut self, job: JobId) -> Result<Vec<Image>, StoreError> {
        let sql = format!("SELECT {} FROM images WHERE job = $1 ORDER BY picture", images::COLUMNS);
        self.all(&sql, |q| q.bind(job.to_string())).await?.iter().map(image_of).collect()
    }
}
