//! Bytes that have addresses, as those in S3 have, wherever they lie.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use imagine_store::{BlobError, BlobInfo, BlobKey, Blobs};

/// Another place's bytes, with addresses that tell key and time.
#[derive(Debug)]
pub struct Addressed(pub Arc<dyn Blobs>);

#[async_trait]
impl Blobs for Addressed {
    async fn put(&self, key: &BlobKey, bytes: Bytes, content_type: &str) -> Result<(), BlobError> {
        self.0.put(key, bytes, content_type).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Bytes, BlobError> {
        self.0.get(key).await
    }

    async fn range(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, BlobError> {
        self.0.range(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobInfo>, BlobError> {
        self.0.head(key).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.0.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<BlobKey>, BlobError> {
        self.0.list(prefix, after, limit).await
    }

    async fn presigned(&self, key: &BlobKey, time: Duration) -> Result<Option<String>, BlobError> {
        Ok(Some(format!("https://bucket.example/{key}?seconds={}", time.as_secs())))
    }

    async fn check(&self) -> Result<(), BlobError> {
        self.0.check().await
    }
}
