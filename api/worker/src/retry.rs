use std::time::Duration;

use imagine_store::{BlobError, StoreError};
use tokio::time::Instant;

/// A database or bucket that cannot be reached for a moment is no reason to lose a drawn picture: tries for as long as
/// `patience` says.
pub async fn retry<T, F>(what: &str, patience: Duration, mut work: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let (mut wait, end) = (Duration::from_millis(100), Instant::now() + patience);
    loop {
        match work().await {
            Err(error @ (StoreError::Database(_) | StoreError::Blob(BlobError::Failed { .. })))
                if Instant::now() + wait < end =>
            {
                tracing::warn!(%error, what, "tried again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(8));
            }
            other => return other,
        }
    }
}
