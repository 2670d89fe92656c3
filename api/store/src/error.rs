use sqlx::migrate::MigrateError;

use crate::blobs::BlobError;
use crate::ids::JobId;
use crate::vault::VaultError;

/// Why something could not be stored or read.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database failed: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database could not be brought up to date: {0}")]
    Migration(MigrateError),
    /// Its tables are of a version that this program does not know.
    #[error(
        "the database was last used by a newer version of this program (its tables are of version {0}): start that one"
    )]
    Newer(i64),
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

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::VersionMissing(version) => Self::Newer(version),
            other => Self::Migration(other),
        }
    }
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

/// No connection, or one that the server broke off: it shuts down, starts, or has too many. Or no room, or a lock that
/// another process held for too long.
fn is_unreachable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_passing_code(&code)),
        _ => false,
    }
}

fn is_passing_code(code: &str) -> bool {
    // Postgres has five signs: "connection exception", "transaction rollback", "insufficient resources" (of room, memory
    // and connections), "lock not available" and "operator intervention".
    if code.len() == 5 {
        return ["08", "40", "53", "55P03", "57P"].iter().any(|class| code.starts_with(class));
    }
    // SQLite has a number, whose lowest byte is the kind: busy, locked, input or output failed, full.
    code.parse::<u32>().is_ok_and(|number| matches!(number & 0xff, 5 | 6 | 10 | 13))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself() {
        for code in ["08006", "40001", "53100", "53300", "55P03", "57P01", "5", "261", "13", "778"] {
            assert!(is_passing_code(code), "{code}");
        }
        // A constraint, a mistake in a statement, a file that is no database.
        for code in ["23505", "42601", "57014", "1555", "1", "26", "8", ""] {
            assert!(!is_passing_code(code), "{code}");
        }
    }
}
