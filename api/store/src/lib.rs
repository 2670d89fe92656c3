//! What the service remembers: jobs, people, pictures, batches, keys, and where their bytes lie.
//!
//! [`Store`] is the database (SQLite or Postgres by one set of statements), [`Blobs`] the bytes of pictures (a
//! folder or S3), [`Vault`] the encryption of what is known of people. [`Archive`] ties the three: whatever
//! touches more than one of them goes through it. No HTTP, no tensors, no decoding of pictures may enter.

mod archive;
mod blobs;
mod db;
mod error;
mod ids;
mod time;
mod types;
mod vault;

pub use archive::{Archive, Known, NewPerson, NewPhoto};
pub use blobs::{BlobError, BlobInfo, BlobKey, Blobs, LocalBlobs};
#[cfg(feature = "s3")]
pub use blobs::{BucketRule, Lifecycle, S3Access, S3Blobs, S3Options};
pub use db::{
    Claim, Claimed, Depth, Follow, ImageFilter, JobFilter, Keep, Lease, Notice, Outcome, Policy, Reaped,
    Removed, Renewal, Reservation, Store, Swept,
};
pub use error::StoreError;
pub use ids::{BatchId, IdError, ImageId, JobId, KeyId, PersonId, UploadId, WebhookId};
pub use time::Millis;
pub use types::*;
pub use vault::{DataKey, Vault, VaultError};
