//! A store of its own for every test, on each database.

pub mod postgres;
pub mod s3;

use std::sync::Arc;
use std::time::Duration;

use imagine_store::{Archive, Basis, Consent, JobInput, LocalBlobs, Millis, NewJob, Policy, Store, Vault};
use tempfile::TempDir;

/// Runs a test over both databases: `both!(name, policy)` for `async fn name(place: Place)`.
macro_rules! both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name($crate::support::Place::sqlite()).await;
            })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                if let Some(place) = $crate::support::Place::postgres() {
                    super::$name(place).await;
                }
            })+
        }
    };
}
pub(crate) use both;

/// Where a test's things lie. Several stores may be opened on it, as by several processes.
pub struct Place {
    pub folder: TempDir,
    pub url: Option<String>,
}

impl Place {
    pub fn sqlite() -> Self {
        Self { folder: TempDir::new().unwrap(), url: None }
    }

    pub fn postgres() -> Option<Self> {
        let url = Some(postgres::database()?);
        Some(Self { folder: TempDir::new().unwrap(), url })
    }

    pub async fn store(&self, policy: Policy) -> Store {
        match &self.url {
            Some(url) => Store::connect(url, policy).await.unwrap(),
            None => Store::open_file(&self.folder.path().join("imagine.db"), policy).await.unwrap(),
        }
    }

    /// With leases that outlast the test, however busy the machine is.
    pub async fn open(&self) -> Store {
        self.store(quick()).await
    }

    pub async fn archive(&self) -> Archive {
        let blobs = Arc::new(LocalBlobs::open(self.folder.path().join("blobs")).unwrap());
        Archive::open(self.open().await, blobs, Vault::new([9; 32])).await.unwrap()
    }
}

/// Quick to look again; leases are the usual ones or longer.
pub fn quick() -> Policy {
    Policy { lease: Duration::from_secs(120), poll: Duration::from_millis(50), ..Policy::default() }
}

pub fn job(prompt: &str) -> NewJob {
    NewJob::local(JobInput::new(prompt, 7))
}

pub fn of(owner: &str, prompt: &str) -> NewJob {
    NewJob { tenant: owner.into(), owner: owner.into(), ..job(prompt) }
}

pub fn consent() -> Consent {
    Consent {
        basis: Basis::Authorised,
        authorised_by: Some("Bertrand Consentgiver".into()),
        text_version: "1".into(),
        text_sha256: "ab".repeat(32),
        time: Millis(1_700_000_000_000),
    }
}
