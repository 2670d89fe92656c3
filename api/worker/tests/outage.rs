//! A place for pictures that takes none: for a while, or for ever.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use imagine_store::{Archive, BlobError, BlobInfo, BlobKey, Blobs, JobStatus};
use sqlx::{AnyConnection, Connection};

use crate::studio::Painter;
use crate::support::{Place, both, job};
use crate::{Running, create, ended, worker};

both!(
    a_bucket_that_is_gone_is_waited_for,
    a_database_that_takes_nothing_is_waited_for,
    what_can_never_be_stored_fails,
);

/// Another place, but for what it is to refuse.
#[derive(Debug)]
struct Faulty {
    inner: Arc<dyn Blobs>,
    /// Nothing can be put.
    gone: Arc<AtomicBool>,
    /// No pictures can, but everything else.
    no_pictures: bool,
}

#[async_trait]
impl Blobs for Faulty {
    async fn put(&self, key: &BlobKey, bytes: Bytes, content_type: &str) -> Result<(), BlobError> {
        let picture = key.as_str().starts_with("images/");
        if self.gone.load(Ordering::SeqCst) || (self.no_pictures && picture) {
            return Err(BlobError::Failed { key: key.to_string(), problem: "not today".into() });
        }
        self.inner.put(key, bytes, content_type).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Bytes, BlobError> {
        self.inner.get(key).await
    }

    async fn range(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, BlobError> {
        self.inner.range(key, range).await
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobInfo>, BlobError> {
        self.inner.head(key).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        self.inner.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<BlobKey>, BlobError> {
        self.inner.list(prefix, after, limit).await
    }

    async fn presigned(&self, key: &BlobKey, time: Duration) -> Result<Option<String>, BlobError> {
        self.inner.presigned(key, time).await
    }

    async fn check(&self) -> Result<(), BlobError> {
        self.put(&"check/1".parse()?, Bytes::new(), "text/plain").await
    }
}

async fn faulty(place: &Place, gone: &Arc<AtomicBool>, no_pictures: bool) -> Archive {
    let mut archive = place.archive().await;
    let (inner, gone) = (archive.blobs, Arc::clone(gone));
    archive.blobs = Arc::new(Faulty { inner, gone, no_pictures });
    archive
}

/// As long as it lasts no attempts are used up, however many jobs wait.
async fn a_bucket_that_is_gone_is_waited_for(place: Place) {
    let gone = Arc::new(AtomicBool::new(true));
    let archive = faulty(&place, &gone, false).await;
    let mut jobs = Vec::new();
    for prompt in ["one", "two", "three"] {
        jobs.push(create(&archive, job(prompt)).await);
    }
    let mut worker = worker(&archive, Painter::new(Duration::from_millis(1)));
    (worker.options.jobs, worker.options.storage_patience) = (1, Duration::from_millis(200));
    let running = Running::start(worker);
    let all = async || {
        let mut all = Vec::new();
        for id in &jobs {
            all.push(archive.store.job("local", *id).await.unwrap().unwrap());
        }
        all
    };
    let begun = std::time::Instant::now();
    loop {
        let all = all().await;
        assert!(all.iter().all(|job| job.status != JobStatus::Failed), "{all:?}");
        if all.iter().any(|job| job.attempts == 1 && job.status == JobStatus::Queued) {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{all:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Long enough for several looks at it.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let attempts: u32 = all().await.iter().map(|job| job.attempts).sum();
    assert_eq!(attempts, 1, "nothing is begun that could not be stored");
    gone.store(false, Ordering::SeqCst);
    for id in &jobs {
        let job = ended(&archive, "local", *id).await;
        assert_eq!((job.status, job.outputs.len()), (JobStatus::Succeeded, 1));
        assert!(job.attempts <= 2, "{job:?}");
    }
    running.stop().await;
}

/// Somebody else's.
async fn connection(place: &Place) -> AnyConnection {
    let file = place.folder.path().join("imagine.db");
    let url = place.url.clone().unwrap_or_else(|| format!("sqlite://{}", file.display()));
    AnyConnection::connect(&url).await.unwrap()
}

/// Longer than a write waits for a lock (15 s), and the worker for the database: the job is drawn once more.
async fn a_database_that_takes_nothing_is_waited_for(place: Place) {
    let archive = place.archive().await;
    let id = create(&archive, job("one")).await;
    let mut worker = worker(&archive, Painter::new(Duration::from_millis(1500)));
    worker.options.storage_patience = Duration::ZERO;
    worker.options.progress_every = Duration::from_secs(600);
    let running = Running::start(worker);
    while archive.store.job("local", id).await.unwrap().unwrap().progress == 0.0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let mut other = connection(&place).await;
    let (begin, lock) = match place.url {
        Some(_) => ("BEGIN", "LOCK TABLE images IN EXCLUSIVE MODE"),
        None => ("BEGIN IMMEDIATE", "SELECT 1"),
    };
    for told in [begin, lock] {
        sqlx::query(told).execute(&mut other).await.unwrap();
    }
    let drawing = archive.store.job("local", id).await.unwrap().unwrap();
    assert_eq!(
        (drawing.status, drawing.outputs.len()),
        (JobStatus::Running, 0),
        "locked before it is stored"
    );
    tokio::time::sleep(Duration::from_secs(28)).await;
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    let job = ended(&archive, "local", id).await;
    assert_eq!((job.status, job.outputs.len()), (JobStatus::Succeeded, 1), "{job:?}");
    // SQLite counts what it meant to sleep, so on a busy machine its 15 s may outlast the lock.
    assert!(job.attempts == 2 || (place.url.is_none() && job.attempts == 1), "{job:?}");
    running.stop().await;
}

/// The place is there, but does not take this: the job is at fault as far as can be told.
async fn what_can_never_be_stored_fails(place: Place) {
    let archive = faulty(&place, &Arc::default(), true).await;
    let id = create(&archive, job("one")).await;
    let mut worker = worker(&archive, Painter::new(Duration::from_millis(1)));
    worker.options.storage_patience = Duration::ZERO;
    let running = Running::start(worker);
    let job = ended(&archive, "local", id).await;
    assert_eq!((job.status, job.attempts), (JobStatus::Failed, 3));
    assert_eq!(job.error.unwrap().code, "storage_failed");
    running.stop().await;
}
