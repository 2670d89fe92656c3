//! Pictures handed in to be changed.

use super::Store;
use super::rows::Reader;
use crate::blobs::BlobKey;
use crate::error::StoreError;
use crate::ids::UploadId;

impl Store {
    pub(crate) async fn add_upload(
        &self,
        id: UploadId,
        tenant: &str,
        wrapped_key: Vec<u8>,
        blob: &BlobKey,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now().0;
        let sql =
            "INSERT INTO uploads (id, tenant, created, wrapped_key, blob_key) VALUES ($1, $2, $3, $4, $5)";
        tx.run(sql, |q| {
            let q = q.bind(id.to_string()).bind(tenant.to_owned()).bind(now);
            q.bind(wrapped_key).bind(blob.to_string())
        })
        .await?;
        tx.commit().await
    }

    /// The wrapped key and where the bytes lie.
    pub(crate) async fn upload(
        &self,
        tenant: &str,
        id: UploadId,
    ) -> Result<Option<(Vec<u8>, BlobKey)>, StoreError> {
        let sql = "SELECT id, wrapped_key, blob_key FROM uploads WHERE id = $1 AND tenant = $2";
        let row = self.read_one(sql, |q| q.bind(id.to_string()).bind(tenant)).await?;
        row.map(|row| {
            let row = Reader { row: &row, table: "uploads" };
            Ok((row.bytes("wrapped_key")?, row.parsed("blob_key")?))
        })
        .transpose()
    }

    /// Forgets uploads; their bytes go with the next sweep.
    pub(crate) async fn remove_uploads(&self, ids: &[UploadId]) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        for id in ids {
            tx.remove_upload(&id.to_string()).await?;
        }
        tx.commit().await
    }
}

impl super::tx::Tx<'_> {
    pub(super) async fn remove_upload(&mut self, id: &str) -> Result<(), StoreError> {
        let sql = "SELECT blob_key FROM uploads WHERE id = $1";
        if let Some(row) = self.one(sql, |q| q.bind(id.to_owned())).await? {
            let key = Reader { row: &row, table: "uploads" }.text("blob_key")?;
            self.doom(&key).await?;
        }
        self.run("DELETE FROM uploads WHERE id = $1", |q| q.bind(id.to_owned())).await.map(drop)
    }
}
