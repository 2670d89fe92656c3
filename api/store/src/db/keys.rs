//! API keys: 256 random bits, of which only the SHA-256 is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use sqlx::any::AnyRow;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Store;
use super::rows::Reader;
use crate::error::StoreError;
use crate::ids::KeyId;
use crate::time::Millis;
use crate::types::{ApiKey, NewKey, Priority};
use crate::vault::VaultError;

const PREFIX: &str = "imk_";
/// Characters by which a key is found, the four of `imk_` included: 48 bits of the key.
const FOUND_BY: usize = 12;
const LENGTH: usize = PREFIX.len() + 43;
const COLUMNS: &str = "id, tenant, name, prefix, sha256, highest, created, used, revoked";

impl Store {
    /// Makes a key for a tenant, whose jobs have the normal class at most. The secret is shown this once.
    pub async fn add_key(&self, tenant: &str, name: &str) -> Result<NewKey, StoreError> {
        let mut random = Zeroizing::new([0; 32]);
        getrandom::fill(random.as_mut_slice()).map_err(|e| VaultError::Random(e.to_string()))?;
        let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random.as_slice()));
        let mut tx = self.begin().await?;
        let key = ApiKey {
            id: KeyId::new(),
            tenant: tenant.into(),
            name: name.into(),
            prefix: secret[..FOUND_BY].into(),
            highest: Priority::default(),
            created: tx.now(),
            used: None,
            revoked: None,
        };
        let sha256 = Sha256::digest(secret.as_bytes()).to_vec();
        let sql = "INSERT INTO api_keys (id, tenant, name, prefix, sha256, created) VALUES ($1, $2, $3, $4, $5, $6)";
        tx.run(sql, |q| {
            let q = q.bind(key.id.to_string()).bind(key.tenant.clone()).bind(key.name.clone());
            q.bind(key.prefix.clone()).bind(sha256).bind(key.created.0)
        })
        .await?;
        tx.commit().await?;
        Ok(NewKey { key, secret })
    }

    /// The key that this secret is, unless it was revoked. Compared in constant time.
    pub async fn find_key(&self, secret: &str) -> Result<Option<ApiKey>, StoreError> {
        if secret.len() != LENGTH || !secret.is_ascii() || !secret.starts_with(PREFIX) {
            return Ok(None);
        }
        let sha256 = Sha256::digest(secret.as_bytes());
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE prefix = $1 AND revoked IS NULL");
        let rows = self.read_all(&sql, |q| q.bind(&secret[..FOUND_BY])).await?;
        let mut found = None;
        for row in &rows {
            let kept = Reader { row, table: "api_keys" }.sha256("sha256")?;
            if bool::from(kept.as_slice().ct_eq(&sha256)) {
                found = Some(key_of(row)?);
            }
        }
        let Some(key) = found else { return Ok(None) };
        self.note_use(&key).await?;
        Ok(Some(key))
    }

    /// Whether there is such a key, and it was not revoked.
    pub async fn key_counts(&self, id: KeyId) -> Result<bool, StoreError> {
        let sql = "SELECT id FROM api_keys WHERE id = $1 AND revoked IS NULL";
        Ok(self.read_one(sql, |q| q.bind(id.to_string())).await?.is_some())
    }

    /// Once a minute at most: not every request is to be a write.
    async fn note_use(&self, key: &ApiKey) -> Result<(), StoreError> {
        let now = Millis::now();
        if key.used.is_some_and(|used| now.seconds_since(used) < 60.0) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let now = tx.now().0;
        tx.run("UPDATE api_keys SET used = $2 WHERE id = $1", |q| q.bind(key.id.to_string()).bind(now))
            .await?;
        tx.commit().await
    }

    /// Every key, of one tenant or of all, the oldest first.
    pub async fn keys(&self, tenant: Option<&str>) -> Result<Vec<ApiKey>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM api_keys WHERE $1 = '' OR tenant = $1 ORDER BY id");
        let rows = self.read_all(&sql, |q| q.bind(tenant.unwrap_or_default())).await?;
        rows.iter().map(key_of).collect()
    }

    /// From now on its jobs may have this class at most. False where there is no such key.
    pub async fn set_key_priority(&self, id: KeyId, highest: Priority) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE api_keys SET highest = $2 WHERE id = $1";
        let known = tx.run(sql, |q| q.bind(id.to_string()).bind(highest.number())).await? > 0;
        tx.commit().await?;
        Ok(known)
    }

    /// False where there is no such key, or it was revoked before.
    pub async fn revoke_key(&self, id: KeyId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now().0;
        let sql = "UPDATE api_keys SET revoked = $2 WHERE id = $1 AND revoked IS NULL";
        let revoked = tx.run(sql, |q| q.bind(id.to_string()).bind(now)).await? > 0;
        tx.commit().await?;
        Ok(revoked)
    }
}

fn key_of(row: &AnyRow) -> Result<ApiKey, StoreError> {
    let row = Reader { row, table: "api_keys" };
    let highest = row.integer("highest")?;
    let highest = Priority::of_number(highest).ok_or_else(|| {
        let id = row.text("id").unwrap_or_default();
        StoreError::damaged("api_keys", id, format!("class {highest} is unknown"))
    })?;
    Ok(ApiKey {
        id: row.parsed("id")?,
        tenant: row.text("tenant")?,
        name: row.text("name")?,
        prefix: row.text("prefix")?,
        highest,
        created: row.time("created")?,
        used: row.optional_time("used")?,
        revoked: row.optional_time("revoked")?,
    })
}
