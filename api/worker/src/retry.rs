use std::time::Duration;

use imagine_store::{BlobError, StoreError};

/// A database or bucket that cannot be reached for a moment is no reason to lose a drawn picture: tries for
/// about half a minute, which is a lease.
pub async fn retry<T, F>(what: &str, mut work: impl FnMut() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let mut wait = Duration::from_millis(100);
    for _ in 0..8 {
        match work().await {
            Err(error @ (StoreError::Database(_) | StoreError::Blob(BlobError::Failed { .. }))) => {
                tracing::warn!(%error, what, "tried again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(Duration::from_secs(8));
            }
            other => return other,
        }
    }
    work().await
}
