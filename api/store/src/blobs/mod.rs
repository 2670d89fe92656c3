//! Bytes by key: a folder or S3.

mod key;
#[cfg(feature = "s3")]
mod lifecycle;
mod local;
#[cfg(feature = "s3")]
mod s3;

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

pub use key::BlobKey;
#[cfg(feature = "s3")]
pub use lifecycle::{BucketRule, Lifecycle};
pub use local::LocalBlobs;
#[cfg(feature = "s3")]
pub use s3::{S3Access, S3Blobs, S3Options};

/// Why bytes could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("{0}: there are no such bytes")]
    NotFound(String),
    #[error("\"{0}\" is no key: parts of letters, digits, '-', '_' and '.', joined by '/'")]
    Key(String),
    #[error("{key}: {problem}")]
    Failed { key: String, problem: String },
}

/// What is known of bytes without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    pub bytes: u64,
}

/// A place for bytes. Whole or not at all: nobody ever reads half of what was put.
#[async_trait]
pub trait Blobs: Send + Sync + Debug {
    /// Puts bytes in the place of whatever was there.
    async fn put(&self, key: &BlobKey, bytes: Bytes, content_type: &str) -> Result<(), BlobError>;

    /// # Errors
    /// [`BlobError::NotFound`].
    async fn get(&self, key: &BlobKey) -> Result<Bytes, BlobError>;

    /// A part; what lies behind the end is left out, so it may be shorter than asked for.
    ///
    /// # Errors
    /// [`BlobError::NotFound`].
    async fn range(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, BlobError>;

    /// None where there are no such bytes.
    async fn head(&self, key: &BlobKey) -> Result<Option<BlobInfo>, BlobError>;

    /// Takes bytes away; there may be none.
    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError>;

    /// At most `limit` keys that begin with `prefix` and come after `after`, in the order of their bytes.
    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<BlobKey>, BlobError>;

    /// An address from which anyone may read the bytes for `time`, at most 15 minutes; none where the place
    /// has no addresses.
    async fn presigned(&self, key: &BlobKey, time: Duration) -> Result<Option<String>, BlobError>;

    /// Whether bytes can be put and taken away now.
    async fn check(&self) -> Result<(), BlobError>;
}
