use crate::blobs::BlobError;
use crate::ids::JobId;
use crate::vault::VaultError;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database could not be brought up to date: {0}")]
    Migration(#[from] sqlx::migrate::MigrateError),
    /// A row holds what no version of this program wrote.
    #[error("{table} {id}: {problem}")]
    Damaged { table: &'static str, id: String, problem: String },
    #[error("{0}")]
    Config(String),
    /// The lease ran out and the job is another's now, or was deleted: nothing was written.
    #[error("{0} is not held under this lease any more")]
    LeaseLost(JobId),
    /// Try again later.
    #[error("{queued} jobs are waiting, at most {most} are taken")]
    QueueFull { queued: u64, most: u64 },
    /// The idempotency key was used with another body.
    #[error("this idempotency key was used for a different request")]
    IdempotencyMismatch,
    /// The first request with this idempotency key is still being worked on.
    #[error("a request with this idempotency key is still being worked on")]
    IdempotencyInFlight,
    #[error("\"{0}\" is no cursor of this list")]
    Cursor(String),
    /// The person was deleted or never was.
    #[error("there is no such person")]
    NoPerson,
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl StoreError {
    /// The database or the place for bytes cannot be used now; later it may be.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Blob(BlobError::Failed { .. }) => true,
            Self::Database(error) => is_unreachable(error),
            _ => false,
        }
    }

    pub(crate) fn damaged(table: &'static str, id: impl ToString, problem: impl ToString) -> Self {
        Self::Damaged { table, id: id.to_string(), problem: problem.to_string() }
    }
}

/// No connection, or one that the server broke off: it shuts down, starts, or has too many.
fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        // Postgres: classes "connection exception" and "operator intervention", "too many connections".
        sqlx::Error::Database(error) => error
            .code()
            .is_some_and(|code| code.starts_with("08") || code.starts_with("57P") || code == "53300"),
        _ => false,
    }
}
