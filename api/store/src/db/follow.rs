use std::collections::VecDeque;

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::timeout;

use super::Store;
use super::signals::Notice;
use crate::error::StoreError;
use crate::ids::JobId;
use crate::time::Millis;
use crate::types::{JobEvent, NumberedEvent};

/// Watches one job from some event on to its end.
pub struct Follow {
    store: Store,
    job: JobId,
    after: i64,
    ready: VecDeque<NumberedEvent>,
    notices: Receiver<Notice>,
    /// The database may hold something that was not read yet.
    look: bool,
    over: bool,
}

impl Store {
    /// Watches a job of this tenant from behind event number `after` (0 for the beginning); none where there
    /// is no such job.
    pub async fn follow(&self, tenant: &str, job: JobId, after: i64) -> Result<Option<Follow>, StoreError> {
        // Before anything is read, so that nothing falls in between.
        let notices = self.notices();
        if self.job(tenant, job).await?.is_none() {
            return Ok(None);
        }
        let (ready, store) = (VecDeque::new(), self.clone());
        Ok(Some(Follow { store, job, after, ready, notices, look: true, over: false }))
    }
}

impl Follow {
    /// Waits for the next event; none after the last. Can be dropped while it waits without losing any.
    pub async fn next(&mut self) -> Result<Option<NumberedEvent>, StoreError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.after = event.number.unwrap_or(self.after);
                self.over |= event.event.is_final();
                return Ok(Some(event));
            }
            if self.over {
                return Ok(None);
            }
            if self.look {
                self.ready = self.store.events(self.job, self.after).await?.into();
                self.look = false;
                if self.ready.is_empty() && self.ended().await? {
                    self.over = true;
                }
                continue;
            }
            match timeout(self.store.policy().poll, self.notices.recv()).await {
                Ok(Ok(Notice::Job { job, .. })) => self.look = job == self.job,
                Ok(Ok(Notice::Preview { job, index, step, jpeg })) if job == self.job => {
                    let fetched = match jpeg {
                        Some(jpeg) => Some((step, jpeg.to_vec())),
                        None => self.store.preview(job, index).await?,
                    };
                    let preview = fetched.map(|(step, jpeg)| JobEvent::Preview { index, step, jpeg });
                    let numbered = |event| NumberedEvent { number: None, at: Millis::now(), event };
                    self.ready.extend(preview.map(numbered));
                }
                Ok(Ok(Notice::Queued | Notice::Cancel { .. } | Notice::Preview { .. })) => {}
                Ok(Ok(Notice::Resync) | Err(RecvError::Lagged(_))) | Err(_) => self.look = true,
                Ok(Err(RecvError::Closed)) => return Ok(None),
            }
        }
    }

    /// The job is gone, or is over and everything was told before `after`.
    async fn ended(&self) -> Result<bool, StoreError> {
        let sql =
            "SELECT id FROM jobs WHERE id = $1 AND (status IN ('queued', 'running') OR event_number > $2)";
        let open = self.store.read_one(sql, |q| q.bind(self.job.to_string()).bind(self.after)).await?;
        Ok(open.is_none())
    }
}
