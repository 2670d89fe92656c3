//! Everything in which SQLite and Postgres differ, apart from how they tell of changes.
//!
//! All other statements are written once, with `$1` for parameters, which both understand.

use std::borrow::Cow;

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AnyConnection, Executor};

use crate::error::StoreError;

/// Which database it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Sqlite,
    Postgres,
}

const MIGRATIONS: [(i64, &str, &str); 5] = [
    (1, "initial", include_str!("../../migrations/0001_initial.sql")),
    (2, "card changes", include_str!("../../migrations/0002_card_changes.sql")),
    (3, "batch line given", include_str!("../../migrations/0003_batch_line_given.sql")),
    (4, "key priority", include_str!("../../migrations/0004_key_priority.sql")),
    (5, "error rule", include_str!("../../migrations/0005_error_rule.sql")),
];

impl Dialect {
    pub fn of_url(url: &str) -> Result<Self, StoreError> {
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => Ok(Self::Sqlite),
            Some("postgres" | "postgresql") => Ok(Self::Postgres),
            // Not the whole address: it may hold a password.
            other => Err(StoreError::Config(format!(
                "a database address begins with \"sqlite:\" or \"postgres:\", not with \"{}\"",
                other.unwrap_or_default()
            ))),
        }
    }

    /// How a transaction that writes begins. SQLite's must take the write lock at once: one that reads first
    /// fails without waiting when it comes to write.
    pub fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }

    /// Milliseconds since 1970 by the clock that all workers share. SQLite's is this machine's.
    pub fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "SELECT CAST((julianday('now') - 2440587.5) * 86400000.0 AS INTEGER)",
            Self::Postgres => "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)",
        }
    }

    /// Behind a SELECT of rows that are then changed: rows that another transaction is changing are left out.
    /// SQLite has one writer, so there are none.
    pub fn skip_locked(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " FOR UPDATE SKIP LOCKED",
        }
    }

    /// Makes claims of jobs one after another, so that no cap is overrun by two at once.
    pub fn claim_lock(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => None,
            Self::Postgres => Some("SELECT pg_advisory_xact_lock(7162034881)"),
        }
    }

    /// Case-insensitive LIKE.
    pub fn like(self) -> &'static str {
        match self {
            Self::Sqlite => "LIKE",
            Self::Postgres => "ILIKE",
        }
    }

    /// What every new connection is told.
    pub async fn prepare(self, connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
        let told = match self {
            // Deleted rows are overwritten with zeros. FULL: what was committed survives a power cut.
            Self::Sqlite => {
                "PRAGMA busy_timeout = 15000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
                 PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY"
            }
            Self::Postgres => "SET lock_timeout = '15s'; SET idle_in_transaction_session_timeout = '60s'",
        };
        connection.execute(told).await.map(drop)
    }

    /// Takes what was deleted out of the write-ahead log too. Postgres recycles its own.
    pub fn forget(self) -> Option<&'static str> {
        match self {
            Self::Sqlite => Some("PRAGMA wal_checkpoint(TRUNCATE)"),
            Self::Postgres => None,
        }
    }

    pub fn migrator(self) -> Migrator {
        let (id, blob, unlogged) = match self {
            Self::Sqlite => ("TEXT", "BLOB", ""),
            Self::Postgres => ("TEXT COLLATE \"C\"", "BYTEA", "UNLOGGED"),
        };
        let sql = |sql: &str| sql.replace("{ID}", id).replace("{BLOB}", blob).replace("{UNLOGGED}", unlogged);
        let all = MIGRATIONS.map(|(version, name, text)| {
            Migration::new(version, name.into(), MigrationType::Simple, sql(text).into(), false)
        });
        Migrator { migrations: Cow::Owned(all.into()), ..Migrator::DEFAULT }
    }
}
