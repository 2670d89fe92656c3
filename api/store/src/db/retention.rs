//! What is kept no longer.

use std::time::Duration;

use sqlx::Row;

use super::rows::Reader;
use super::tx::Tx;
use super::{Outcome, Store};
use crate::error::StoreError;
use crate::ids::{JobId, PersonId, UploadId};
use crate::time::Millis;
use crate::types::{EditInput, EditSource, JobError, JobInput};

/// Idempotency keys are known for so long.
const KEYS: Duration = Duration::from_secs(24 * 3600);
/// One-shot people and uploads that no job was ever made for.
const ORPHANS: Duration = Duration::from_secs(3600);
/// Rows of one transaction.
const AT_ONCE: usize = 100;

/// How long things are kept at most; none: for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Finished jobs with their pictures, favourites aside.
    pub jobs: Option<Duration>,
    /// What was handed in for one job that has not been begun: the job fails with `expired` then.
    pub handed_in: Option<Duration>,
}

/// How much was taken away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub jobs: u64,
    /// Jobs that waited so long that what was handed in for them had to go.
    pub expired: u64,
    pub people: u64,
    pub uploads: u64,
    pub blobs: u64,
}

impl Store {
    /// Takes away finished jobs and their pictures once they are old enough, except where one of the pictures
    /// is a favourite; old idempotency keys; and what was handed in for jobs that were never made, or not begun
    /// in time.
    pub(crate) async fn expire(&self, keep: Keep) -> Result<Swept, StoreError> {
        let mut swept = Swept::default();
        while let Some(keep) = keep.jobs {
            let mut tx = self.begin().await?;
            let before = tx.now().minus(keep).0;
            let sql = "SELECT id FROM jobs WHERE finished < $1 AND NOT EXISTS
                       (SELECT 1 FROM images i WHERE i.job = jobs.id AND i.favourite = 1) ORDER BY finished LIMIT 100";
            let old = tx.ids(sql, before).await?;
            for job in &old {
                let id: JobId = job.parse().map_err(|e| StoreError::damaged("jobs", job, e))?;
                tx.remove_job(id).await?;
            }
            let sql = "SELECT id FROM batches WHERE created < $1 AND NOT EXISTS
                       (SELECT 1 FROM jobs j WHERE j.batch = batches.id) LIMIT 100";
            for batch in tx.ids(sql, before).await? {
                tx.remove_batch(&batch).await?;
            }
            tx.commit().await?;
            swept.jobs += old.len() as u64;
            if old.len() < AT_ONCE {
                break;
            }
        }
        let mut tx = self.begin().await?;
        if let Some(handed_in) = keep.handed_in {
            swept.expired = tx.give_up(tx.now().minus(handed_in)).await?;
        }
        let keys = tx.now().minus(KEYS).0;
        tx.run("DELETE FROM idempotency WHERE created < $1", |q| q.bind(keys)).await?;
        let orphans = tx.now().minus(ORPHANS).0;
        let sql =
            "SELECT id FROM people WHERE one_shot = 1 AND deleted IS NULL AND created < $1 AND NOT EXISTS
                   (SELECT 1 FROM job_people j WHERE j.person = people.id)";
        for person in tx.ids(sql, orphans).await? {
            let id: PersonId = person.parse().map_err(|e| StoreError::damaged("people", &person, e))?;
            tx.remove_person(id).await?;
            swept.people += 1;
        }
        let sql = "SELECT id FROM uploads WHERE created < $1 AND NOT EXISTS
                   (SELECT 1 FROM jobs j WHERE j.status IN ('queued', 'running')
                    AND j.input LIKE '%' || uploads.id || '%')";
        for upload in tx.ids(sql, orphans).await? {
            tx.remove_upload(&upload).await?;
            swept.uploads += 1;
        }
        tx.commit().await?;
        Ok(swept)
    }

    /// Keys of bytes that are to be taken away.
    pub(crate) async fn doomed(&self) -> Result<Vec<String>, StoreError> {
        let rows = self.read_all("SELECT blob_key FROM doomed_blobs ORDER BY since LIMIT 200", |q| q).await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    /// The bytes of this key are gone.
    pub(crate) async fn gone(&self, keys: &[String]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for key in keys {
            tx.run("DELETE FROM doomed_blobs WHERE blob_key = $1", |q| q.bind(key.clone())).await?;
        }
        tx.commit().await
    }
}

impl Tx<'_> {
    /// Has bytes taken away once this is committed.
    pub(super) async fn doom(&mut self, key: &str) -> Result<(), StoreError> {
        let now = self.now().0;
        let sql =
            "INSERT INTO doomed_blobs (blob_key, since) VALUES ($1, $2) ON CONFLICT (blob_key) DO NOTHING";
        self.run(sql, |q| q.bind(key.to_owned()).bind(now)).await.map(drop)
    }

    /// Ends jobs that wait with something that was handed in before this time.
    async fn give_up(&mut self, before: Millis) -> Result<u64, StoreError> {
        let sql = "SELECT id FROM jobs WHERE status = 'queued' AND (EXISTS
                   (SELECT 1 FROM job_people j, people p WHERE j.job = jobs.id AND p.id = j.person
                    AND p.one_shot = 1 AND p.deleted IS NULL AND p.created < $1) OR EXISTS
                   (SELECT 1 FROM uploads u WHERE u.created < $1 AND jobs.input LIKE '%' || u.id || '%'))";
        let mut count = 0;
        for job in self.ids(sql, before.0).await? {
            let id: JobId = job.parse().map_err(|e| StoreError::damaged("jobs", &job, e))?;
            // A worker may have taken it meanwhile; then it is used, and goes with the job's end.
            let lock = "UPDATE jobs SET lease_token = lease_token WHERE id = $1 AND status = 'queued'";
            if self.run(lock, |q| q.bind(job.clone())).await? == 0 {
                continue;
            }
            let message = "it waited for longer than photos that were handed in for it are kept";
            self.end(id, &Outcome::Failed(JobError::new("expired", message))).await?;
            count += 1;
        }
        Ok(count)
    }

    /// What was handed in for a job goes when it is over.
    pub(super) async fn remove_handed_in(&mut self, job: JobId) -> Result<(), StoreError> {
        self.remove_one_shot(job).await?;
        let row = self.one("SELECT id, input FROM jobs WHERE id = $1", |q| q.bind(job.to_string())).await?;
        let Some(row) = row else { return Ok(()) };
        let input: JobInput = Reader { row: &row, table: "jobs" }.json("input")?;
        for upload in uploads(&input) {
            self.remove_upload(&upload.to_string()).await?;
        }
        Ok(())
    }
}

/// What was handed in for a job.
fn uploads(input: &JobInput) -> impl Iterator<Item = UploadId> {
    let source = match input.edit {
        Some(EditInput { source: EditSource::Upload(upload), .. }) => Some(upload),
        _ => None,
    };
    let mask = input.edit.as_ref().and_then(|edit| edit.mask);
    source.into_iter().chain(mask).chain(input.people.iter().filter_map(|person| person.mask))
}
