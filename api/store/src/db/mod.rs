//! The database.

mod batches;
mod dialect;
mod events;
mod follow;
mod idempotency;
mod images;
mod jobs;
mod keys;
mod people;
mod queue;
mod retention;
mod rows;
mod signals;
mod tx;
mod uploads;
mod webhooks;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection};

use crate::error::StoreError;
use dialect::Dialect;
use signals::Signals;

pub use follow::Follow;
pub use idempotency::Reservation;
pub use images::ImageFilter;
pub use jobs::{Depth, JobFilter};
pub use queue::{Claim, Claimed, Lease, Outcome, Reaped, Renewal};
pub use retention::{Keep, Swept};
pub use signals::Notice;

pub use people::Removed;
pub(crate) use people::{FaceRow, NewPersonRow, NewPhotoRow, PersonRow};

/// Numbers that the queue goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// A worker that is not heard of for so long has lost its jobs.
    pub lease: Duration,
    /// How often a job may be begun.
    pub attempts: u32,
    /// Jobs of one owner that run at the same time.
    pub running_per_owner: u32,
    /// Jobs of one owner that wait; batches are not counted against it.
    pub queued_per_owner: u64,
    /// Jobs that wait in all; batches are not counted against it.
    pub queued: u64,
    /// How often those who wait look by themselves, should no message reach them.
    pub poll: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            attempts: 3,
            running_per_owner: 64,
            queued_per_owner: 1_000,
            queued: 10_000,
            poll: Duration::from_secs(1),
        }
    }
}

impl Policy {
    /// # Errors
    /// [`StoreError::QueueFull`] where so many jobs wait, or so many of one owner, that no more may.
    fn room(&self, queued: i64, of_owner: i64) -> Result<(), StoreError> {
        for (queued, most) in [(queued, self.queued), (of_owner, self.queued_per_owner)] {
            let queued = u64::try_from(queued).unwrap_or_default();
            if queued >= most {
                return Err(StoreError::QueueFull { queued, most });
            }
        }
        Ok(())
    }
}

/// Jobs, people, pictures, batches and keys in SQLite or Postgres. Cloning gives another handle to the same.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    dialect: Dialect,
    /// SQLite: one connection, so that writers wait in line here instead of at the file.
    writer: AnyPool,
    reader: AnyPool,
    signals: Signals,
    policy: Policy,
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("dialect", &self.0.dialect).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens SQLite in a file, which is made where there is none, readable by its owner alone.
    ///
    /// # Errors
    /// The file cannot be opened or is no database of this program.
    pub async fn open_file(file: &Path, policy: Policy) -> Result<Self, StoreError> {
        let problem = |e: std::io::Error| StoreError::Config(format!("{}: {e}", file.display()));
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(false);
        // SQLite gives its log the same rights.
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(file).map_err(problem)?;
        let text = file.to_str().ok_or_else(|| {
            StoreError::Config(format!("{}: the path of the database must be UTF-8", file.display()))
        })?;
        let escaped = text.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
        Self::connect(&format!("sqlite://{escaped}"), policy).await
    }

    /// Opens the database at an address: `sqlite://PATH` or `postgres://USER:PASSWORD@HOST/NAME`.
    ///
    /// # Errors
    /// It cannot be reached or brought up to date. The text never holds the password.
    pub async fn connect(url: &str, policy: Policy) -> Result<Self, StoreError> {
        install_default_drivers();
        let dialect = Dialect::of_url(url)?;
        let wrong = |_| StoreError::Config("the database's address cannot be read".into());
        let options: AnyConnectOptions = url.parse().map_err(wrong)?;
        let options = options.disable_statement_logging();
        let pool = |connections: u32| {
            AnyPoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(Duration::from_secs(30))
                // A caller that was given up while a transaction began leaves it open, and with it SQLite's
                // write lock: such a connection is closed, which rolls it back.
                .before_acquire(|connection, _| {
                    let idle = !Connection::is_in_transaction(connection);
                    Box::pin(async move { Ok(idle) })
                })
                .after_connect(move |connection, _| {
                    Box::pin(async move { dialect.prepare(connection).await })
                })
                .connect_with(options.clone())
        };
        let (writer, reader) = match dialect {
            Dialect::Sqlite => {
                // A pool tries again and again, for half a minute; a file that is no database stays none.
                let mut one = AnyConnection::connect_with(&options).await?;
                dialect.prepare(&mut one).await?;
                one.close().await?;
                (pool(1).await?, pool(4).await?)
            }
            Dialect::Postgres => {
                let pool = match pool(10).await {
                    // It was tried again and again; one try more tells why.
                    Err(sqlx::Error::PoolTimedOut) => {
                        AnyConnection::connect_with(&options).await?.close().await?;
                        return Err(sqlx::Error::PoolTimedOut.into());
                    }
                    made => made?,
                };
                (pool.clone(), pool)
            }
        };
        dialect.migrator().run(&writer).await?;
        let signals = match dialect {
            Dialect::Sqlite => Signals::local(),
            Dialect::Postgres => Signals::listening(url.to_owned()).await?,
        };
        Ok(Self(Arc::new(Inner { dialect, writer, reader, signals, policy })))
    }

    pub fn policy(&self) -> &Policy {
        &self.0.policy
    }

    /// Closes every connection after what they are doing.
    pub async fn close(&self) {
        self.0.signals.stop();
        self.0.writer.close().await;
        self.0.reader.close().await;
    }

    /// Whether the database can be written now.
    ///
    /// # Errors
    /// It cannot.
    pub async fn check(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let now = tx.now().0;
        tx.run(
            "INSERT INTO settings (name, value) VALUES ('check', $1)
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            |q| q.bind(now.to_le_bytes().to_vec()),
        )
        .await?;
        tx.rollback().await
    }

    /// The value kept under a name; `first` where there was none yet.
    pub(crate) async fn setting(&self, name: &str, first: &[u8]) -> Result<Vec<u8>, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";
        tx.run(sql, |q| q.bind(name.to_owned()).bind(first.to_vec())).await?;
        let row = tx.one("SELECT value FROM settings WHERE name = $1", |q| q.bind(name.to_owned())).await?;
        let row = row.ok_or_else(|| StoreError::damaged("settings", name, "it is not there"))?;
        let value = sqlx::Row::try_get(&row, 0)?;
        tx.commit().await?;
        Ok(value)
    }

    /// Told of every change. What is told may be lost when a listener is slow or a connection breaks, so
    /// listeners look by themselves from time to time ([`Policy::poll`]).
    pub fn notices(&self) -> tokio::sync::broadcast::Receiver<Notice> {
        self.0.signals.subscribe()
    }
}
