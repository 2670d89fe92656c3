//! Requests that are sent twice happen once.

use super::Store;
use super::rows::Reader;
use super::tx::Tx;
use crate::error::StoreError;
use crate::types::Idempotency;

/// A reservation that led to nothing is free again after so many milliseconds: its maker is gone.
const ABANDONED: i64 = 5 * 60 * 1000;

/// What is known of an idempotency key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// It is this request's now: go on, and hand the key to `create_…`, or [`Store::unreserve`] it.
    New,
    /// The request was made before; the id of what came of it.
    Done(String),
}

impl Store {
    /// Reserves a key before work that ends in `create_…` begins. A reservation holds until that, or five
    /// minutes.
    ///
    /// # Errors
    /// [`StoreError::IdempotencyInFlight`], [`StoreError::IdempotencyMismatch`].
    pub async fn reserve(&self, tenant: &str, idempotency: &Idempotency) -> Result<Reservation, StoreError> {
        let mut tx = self.begin().await?;
        let reservation = match tx.known_key(tenant, idempotency).await? {
            Some(Some(object)) => Reservation::Done(object),
            Some(None) => return Err(StoreError::IdempotencyInFlight),
            None => Reservation::New,
        };
        tx.commit().await?;
        Ok(reservation)
    }

    /// Gives a reserved key back: the request failed before anything came of it.
    pub async fn unreserve(&self, tenant: &str, key: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "DELETE FROM idempotency WHERE tenant = $1 AND name = $2 AND object IS NULL";
        tx.run(sql, |q| q.bind(tenant.to_owned()).bind(key.to_owned())).await?;
        tx.commit().await
    }
}

impl Tx<'_> {
    /// Makes the key stand for `object`, unless it stands for another already, which is given back.
    pub(super) async fn claim_key(
        &mut self,
        tenant: &str,
        idempotency: &Idempotency,
        object: &str,
    ) -> Result<Option<String>, StoreError> {
        // A key that is only reserved is the caller's own reservation.
        if let Some(Some(object)) = self.known_key(tenant, idempotency).await? {
            return Ok(Some(object));
        }
        let sql = "UPDATE idempotency SET object = $3 WHERE tenant = $1 AND name = $2";
        let key = idempotency.key.clone();
        self.run(sql, |q| q.bind(tenant.to_owned()).bind(key).bind(object.to_owned())).await?;
        Ok(None)
    }

    /// None where the key was unknown and is reserved now; otherwise what it stands for, if anything yet.
    async fn known_key(
        &mut self,
        tenant: &str,
        idempotency: &Idempotency,
    ) -> Result<Option<Option<String>>, StoreError> {
        let now = self.now().0;
        let abandoned =
            "DELETE FROM idempotency WHERE tenant = $1 AND name = $2 AND object IS NULL AND created < $3";
        let key = || idempotency.key.clone();
        self.run(abandoned, |q| q.bind(tenant.to_owned()).bind(key()).bind(now - ABANDONED)).await?;
        // Two at the same time: the second waits here for the first.
        let sql = "INSERT INTO idempotency (tenant, name, body_sha256, object, created)
                   VALUES ($1, $2, $3, NULL, $4) ON CONFLICT (tenant, name) DO NOTHING";
        let body = idempotency.body_sha256.to_vec();
        if self.run(sql, |q| q.bind(tenant.to_owned()).bind(key()).bind(body).bind(now)).await? > 0 {
            return Ok(None);
        }
        let sql = "SELECT name AS id, body_sha256, object FROM idempotency WHERE tenant = $1 AND name = $2";
        let row = self.one(sql, |q| q.bind(tenant.to_owned()).bind(key())).await?;
        let row = row.ok_or(StoreError::IdempotencyInFlight)?;
        let row = Reader { row: &row, table: "idempotency" };
        if row.sha256("body_sha256")? != idempotency.body_sha256 {
            return Err(StoreError::IdempotencyMismatch);
        }
        Ok(Some(row.optional_text("object")?))
    }
}
