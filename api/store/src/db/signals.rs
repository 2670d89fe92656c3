//! How those who wait hear of changes: within the process, or through Postgres between processes.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::postgres::PgListener;
use tokio::sync::broadcast;
use tokio::task::AbortHandle;

use crate::error::StoreError;
use crate::ids::{BatchId, JobId};

pub(super) const CHANNEL: &str = "imagine_jobs";

/// Something changed; what, is to be read from the database.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Notice {
    /// There is something to do.
    Queued,
    Job {
        job: JobId,
        batch: Option<BatchId>,
    },
    /// The job is to stop.
    Cancel {
        job: JobId,
    },
    Preview {
        job: JobId,
        index: u32,
        step: u32,
        /// None where it has to be read from the database.
        #[serde(skip)]
        jpeg: Option<Arc<Vec<u8>>>,
    },
    /// Notices were missed.
    Resync,
}

impl Notice {
    pub(super) fn to_json(&self) -> String {
        // Ids and numbers alone: cannot fail.
        serde_json::to_string(self).unwrap_or_default()
    }
}

pub(super) struct Signals {
    sender: broadcast::Sender<Notice>,
    listener: Option<AbortHandle>,
}

impl Signals {
    pub fn local() -> Self {
        Self { sender: broadcast::channel(1024).0, listener: None }
    }

    /// Listens to Postgres until dropped; a lost connection is made again.
    pub async fn listening(url: String) -> Result<Self, StoreError> {
        let sender = broadcast::channel(1024).0;
        let mut listener = PgListener::connect(&url).await?;
        listener.listen(CHANNEL).await?;
        let send = sender.clone();
        let task = tokio::spawn(async move {
            loop {
                match listener.try_recv().await {
                    Ok(Some(message)) => match serde_json::from_str(message.payload()) {
                        // Nobody may be waiting.
                        Ok(notice) => drop(send.send(notice)),
                        Err(error) => {
                            tracing::warn!(%error, "a message from the database was not understood")
                        }
                    },
                    // Connected again; what was said meanwhile is lost.
                    Ok(None) => drop(send.send(Notice::Resync)),
                    Err(error) => {
                        tracing::warn!(%error, "the database sends no messages");
                        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
                    }
                }
            }
        });
        Ok(Self { sender, listener: Some(task.abort_handle()) })
    }

    pub fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.sender.subscribe()
    }

    pub fn send(&self, notice: Notice) {
        // Nobody may be waiting.
        drop(self.sender.send(notice));
    }

    pub fn stop(&self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.stop();
    }
}
