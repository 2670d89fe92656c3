//! Calls that are due: written in the transaction that ends a job, made by whoever delivers them.

use std::time::Duration;

use sqlx::Row;

use super::Store;
use super::rows::Reader;
use super::tx::Tx;
use crate::error::StoreError;
use crate::ids::{JobId, WebhookId};
use crate::types::Webhook;

impl Store {
    /// Takes calls that are due. Each is due again after `hold` unless it is reported on before, so hold them
    /// for longer than a call may take.
    pub async fn due_webhooks(&self, most: u32, hold: Duration) -> Result<Vec<Webhook>, StoreError> {
        let mut tx = self.begin().await?;
        let (now, held) = (tx.now().0, tx.now().plus(hold).0);
        let sql = format!(
            "SELECT id, tenant, job, url, attempts FROM webhooks WHERE due <= $1 ORDER BY due LIMIT $2{}",
            self.dialect().skip_locked()
        );
        let mut due = Vec::new();
        for row in tx.all(&sql, |q| q.bind(now).bind(i64::from(most))).await? {
            let row = Reader { row: &row, table: "webhooks" };
            let attempts: u32 = row.number("attempts")?;
            let webhook = Webhook {
                id: row.parsed("id")?,
                tenant: row.text("tenant")?,
                job: row.parsed("job")?,
                url: row.text("url")?,
                attempt: attempts + 1,
            };
            let sql = "UPDATE webhooks SET attempts = attempts + 1, due = $2 WHERE id = $1";
            tx.run(sql, |q| q.bind(webhook.id.to_string()).bind(held)).await?;
            due.push(webhook);
        }
        tx.commit().await?;
        Ok(due)
    }

    /// The call was made, or is given up.
    pub async fn webhook_done(&self, id: WebhookId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.run("DELETE FROM webhooks WHERE id = $1", |q| q.bind(id.to_string())).await?;
        tx.commit().await
    }

    /// The call failed and is due again after `wait`.
    pub async fn webhook_retry(&self, id: WebhookId, wait: Duration) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let due = tx.now().plus(wait).0;
        tx.run("UPDATE webhooks SET due = $2 WHERE id = $1", |q| q.bind(id.to_string()).bind(due)).await?;
        tx.commit().await
    }
}

/// Makes the call due that the job asks for, if any.
pub(super) async fn post(tx: &mut Tx<'_>, job: JobId) -> Result<(), StoreError> {
    let sql = "SELECT tenant, webhook FROM jobs WHERE id = $1 AND webhook IS NOT NULL";
    let Some(row) = tx.one(sql, |q| q.bind(job.to_string())).await? else { return Ok(()) };
    let (tenant, url): (String, String) = (row.try_get("tenant")?, row.try_get("webhook")?);
    let now = tx.now().0;
    let sql = "INSERT INTO webhooks (id, tenant, job, url, created, attempts, due) VALUES ($1, $2, $3, $4, $5, 0, $5)";
    let id = WebhookId::new().to_string();
    tx.run(sql, |q| q.bind(id).bind(tenant).bind(job.to_string()).bind(url).bind(now)).await.map(drop)
}
