//! Workers that are killed and stopped, as processes: this program starts itself as the worker.
//!
//! Own `main`: `cargo test -p imagine-worker --test crash`.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "../../store/tests/support/postgres.rs"]
mod postgres;
#[path = "support/studio.rs"]
mod studio;

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use imagine_store::{
    Archive, Job, JobEvent, JobFilter, JobId, JobInput, JobStatus, LocalBlobs, NewJob, PageRequest, Policy,
    Store, Vault,
};
use imagine_worker::{Worker, WorkerOptions};
use sqlx::{AnyConnection, Connection};
use studio::{Eyes, Painter, colour};
use tokio::runtime::Runtime;

const PLACE: &str = "IMAGINE_TEST_CRASH_PLACE";
const DATABASE: &str = "IMAGINE_TEST_CRASH_DATABASE";
const STEP: &str = "IMAGINE_TEST_CRASH_STEP";
const LEASE: &str = "IMAGINE_TEST_CRASH_LEASE";
/// Milliseconds; a few cycles, so that jobs of the killed come back.
const BRIEF: u64 = 500;
/// Outlasts what a busy machine may do to a worker that is not meant to lose its lease.
const LONG: u64 = 3000;
/// Of each database.
const CYCLES: usize = 200;
const JOBS: usize = 60;
const PICTURES: u32 = 2;
/// Of everything here; a quiet machine needs a small part. What takes longer hangs, and is said to.
const DEADLINE: Duration = Duration::from_secs(900);

fn main() {
    let runtime = Runtime::new().unwrap();
    if let Some(folder) = std::env::var_os(PLACE) {
        runtime.block_on(work(PathBuf::from(folder)));
        return;
    }
    // `cargo test -- --list` and filters of other tests are no reason to run for a minute.
    if std::env::args().any(|arg| arg == "--list") {
        return;
    }
    let stage = Stage::default();
    stage.watch();
    let databases = [Some(None), postgres::database().map(Some)];
    for database in databases.into_iter().flatten() {
        let name = if database.is_some() { "Postgres" } else { "SQLite" };
        let begun = Instant::now();
        stage.set(format!("{name}, workers killed at random"));
        runtime.block_on(killed_at_random(database.as_deref(), &stage));
        println!(
            "{name}: {CYCLES} workers killed at random, nothing lost ({:.1} s) ... ok",
            begun.elapsed().as_secs_f64()
        );
    }
    for database in [Some(None), postgres::database().map(Some)].into_iter().flatten() {
        let name = if database.is_some() { "Postgres" } else { "SQLite" };
        stage.set(format!("{name}, a worker stopped past its lease"));
        runtime.block_on(stopped_past_the_lease(database.as_deref()));
        println!("{name}: a worker that stood still past its lease writes nothing ... ok");
    }
}

/// Where it is, for whoever wonders why it does not end.
#[derive(Clone, Default)]
struct Stage(Arc<Mutex<String>>);

impl Stage {
    fn set(&self, text: String) {
        *self.0.lock().unwrap() = text;
    }

    /// Ends the process with an error when the time is up. Workers and Postgres go with it: they watch for that.
    fn watch(&self) {
        let stage = self.clone();
        thread::spawn(move || {
            thread::sleep(DEADLINE);
            eprintln!(
                "*** the crash test hangs: {DEADLINE:?} were not enough; {} ***",
                stage.0.lock().unwrap()
            );
            std::process::exit(1);
        });
    }
}

async fn archive(folder: &Path, database: Option<&str>, lease: u64) -> Archive {
    let policy =
        Policy { lease: Duration::from_millis(lease), poll: Duration::from_millis(20), ..Policy::default() };
    let store = match database {
        Some(url) => Store::connect(url, policy).await.unwrap(),
        None => Store::open_file(&folder.join("imagine.db"), policy).await.unwrap(),
    };
    let blobs = Arc::new(LocalBlobs::open(folder.join("blobs")).unwrap());
    Archive::open(store, blobs, Vault::new([4; 32])).await.unwrap()
}

fn worker(archive: Archive, folder: &Path, step: Duration, jobs: u32) -> Worker {
    let painter = Painter { diary: Some(folder.join("diary")), ..Painter::new(step) };
    let options = WorkerOptions {
        jobs,
        renew_every: Duration::from_millis(100),
        progress_every: Duration::ZERO,
        ..WorkerOptions::default()
    };
    Worker { archive, studio: Arc::new(painter), faces: Some(Arc::new(Eyes)), expander: None, options }
}

/// The child: works until it is killed.
async fn work(folder: PathBuf) {
    let database = std::env::var(DATABASE).ok();
    let step = std::env::var(STEP).unwrap().parse().unwrap();
    let lease = std::env::var(LEASE).unwrap().parse().unwrap();
    let archive = archive(&folder, database.as_deref(), lease).await;
    // Should the test end before it kills this: nobody is to work on alone.
    thread::spawn(|| {
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    println!("ready");
    worker(archive, &folder, Duration::from_millis(step), 1).run(std::future::pending()).await;
}

fn spawn(folder: &Path, database: Option<&str>, step: u64, lease: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env(PLACE, folder)
        .env(STEP, step.to_string())
        .env(LEASE, lease.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    if let Some(url) = database {
        command.env(DATABASE, url);
    }
    command.spawn().unwrap()
}

fn wait_until_ready(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
}

/// A few jobs of a worker that is left alone, and how long one takes from its first stroke to its end: what a random
/// moment means depends on the machine.
async fn undisturbed(archive: &Archive, folder: &Path, database: Option<&str>) -> (Vec<JobId>, Duration) {
    let (mut ids, mut times) = (Vec::new(), Vec::new());
    let mut child = spawn(folder, database, 1, BRIEF);
    wait_until_ready(&mut child);
    for index in 0..3 {
        let id = create(archive, index, PICTURES).await;
        wait_until_drawing(folder).await;
        let begun = Instant::now();
        let mut follow = archive.store.follow("local", id, 0).await.unwrap().unwrap();
        while follow.next().await.unwrap().is_some() {}
        times.push(begun.elapsed());
        ids.push(id);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    times.sort();
    (ids, times[1])
}

/// Until the diary grows; not for ever, since all jobs may be done or still belong to killed workers.
async fn wait_until_drawing(folder: &Path) {
    let length = || fs::metadata(folder.join("diary")).map_or(0, |found| found.len());
    let (before, begun) = (length(), Instant::now());
    while length() == before && begun.elapsed() < Duration::from_millis(BRIEF) {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Numbers without a pattern; the seed is printed, the moments depend on the machine anyhow.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

async fn create(archive: &Archive, index: usize, pictures: u32) -> JobId {
    let mut new = NewJob::local(JobInput::new(format!("job {index}"), index as u64));
    new.input.n = pictures;
    new.webhook = Some("https://example.org/done".into());
    archive.store.create_job(new).await.unwrap().into_inner().id
}

async fn killed_at_random(database: Option<&str>, stage: &Stage) {
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), database, BRIEF).await;
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos() as u64;
    println!("seed {seed}");
    let mut dice = Dice(seed);
    let (mut ids, usual) = undisturbed(&archive, folder.path(), database).await;
    for cycle in 0..CYCLES {
        stage.set(format!("{database:?}, worker {cycle} of {CYCLES}"));
        // There is always something to do.
        while ids.len() * CYCLES <= cycle * JOBS {
            ids.push(create(&archive, ids.len(), PICTURES).await);
        }
        let mut child = spawn(folder.path(), database, 1, BRIEF);
        match dice.roll(10) {
            // Sometimes while it opens the database, sometimes while it claims a job, mostly while it draws.
            0 => tokio::time::sleep(Duration::from_millis(dice.roll(30))).await,
            1 | 2 => wait_until_ready(&mut child),
            _ => {
                wait_until_ready(&mut child);
                wait_until_drawing(folder.path()).await;
            }
        }
        // Up to one and a half times as long as a job takes here: about two of three are in the middle of one.
        tokio::time::sleep(usual.mul_f64(dice.roll(1500) as f64 / 1000.0)).await;
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let before = counts(&archive).await;
    // What is left is done by one that lives.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let last = worker(archive.clone(), folder.path(), Duration::from_millis(1), 3);
    let last = tokio::spawn(last.run(async move { stopped.await.unwrap() }));
    for id in &ids {
        stage.set(format!("{database:?}, waiting for the end of {id}: {}", counts(&archive).await));
        let mut follow = archive.store.follow("local", *id, 0).await.unwrap().expect("no job is lost");
        while follow.next().await.unwrap().is_some() {}
    }
    stop.send(()).unwrap();
    last.await.unwrap();
    check(&archive, folder.path(), &ids).await;
    println!("a job takes {usual:?}; after {CYCLES} kills: {before}; at the end: {}", counts(&archive).await);
    archive.store.close().await;
}

async fn counts(archive: &Archive) -> String {
    let filter = JobFilter::default();
    let page = PageRequest { limit: 200, after: None };
    let jobs = archive.store.jobs("local", &filter, &page).await.unwrap().data;
    let count = |status| jobs.iter().filter(|job| job.status == status).count();
    JobStatus::ALL.map(|status| format!("{} {}", count(status), status.name())).join(", ")
}

/// Every job has ended, was begun three times at most, and has exactly what its end promises.
async fn check(archive: &Archive, folder: &Path, ids: &[JobId]) {
    let diary = fs::read_to_string(folder.join("diary")).unwrap();
    let mut drawn: HashMap<&str, usize> = HashMap::new();
    for line in diary.lines() {
        *drawn.entry(line).or_default() += 1;
    }
    let mut webhooks: HashMap<JobId, usize> = HashMap::new();
    for webhook in archive.store.due_webhooks(1000, Duration::from_secs(60)).await.unwrap() {
        *webhooks.entry(webhook.job).or_default() += 1;
    }
    let (mut succeeded, mut interrupted) = (0, 0);
    for (index, id) in ids.iter().enumerate() {
        let job: Job = archive.store.job("local", *id).await.unwrap().expect("no job is lost");
        let events = archive.store.events(*id, 0).await.unwrap();
        let started = events.iter().filter(|event| event.event == JobEvent::Started).count();
        assert!((1..=3).contains(&job.attempts), "{id}: {} attempts", job.attempts);
        assert_eq!(started, job.attempts as usize, "{id}");
        interrupted += usize::from(job.attempts > 1);
        let times = drawn.get(job.input.prompt.as_str()).copied().unwrap_or_default();
        assert!(times <= 3, "{id} was drawn {times} times");
        assert_eq!(events.iter().filter(|event| event.event.is_final()).count(), 1, "{id}");
        assert_eq!(webhooks.get(id), Some(&1), "{id}: its end is told once");
        let numbers: Vec<_> = events.iter().filter_map(|event| event.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{id}: {numbers:?}");
        match job.status {
            JobStatus::Succeeded => {
                succeeded += 1;
                assert_eq!(job.outputs.len(), PICTURES as usize, "{id}");
                for (offset, image) in job.outputs.iter().enumerate() {
                    let bytes = archive.blobs.get(&image.blob).await.expect("its bytes are there");
                    assert_eq!(bytes.len() as u64, image.bytes);
                    let seed = (index + offset) as u64;
                    assert_eq!(imagine_pictures::decode(&bytes).unwrap().rgb[..3], colour(seed));
                    assert!(archive.blobs.head(&image.thumb).await.unwrap().is_some());
                }
            }
            JobStatus::Failed => {
                assert_eq!((job.attempts, job.error.unwrap().code.as_str()), (3, "worker_lost"), "{id}");
            }
            other => panic!("{id} is {other:?}"),
        }
    }
    assert!(interrupted > ids.len() / 6, "only {interrupted} of {} were ever interrupted", ids.len());
    assert!(succeeded > ids.len() / 10, "only {succeeded} of {} were ever finished", ids.len());
}

/// Whether somebody who stands still has a write begun: 300 ms are longer than those who go on need for one.
async fn writes(folder: &Path, database: Option<&str>) -> bool {
    sqlx::any::install_default_drivers();
    let file = folder.join("imagine.db");
    let url = database.map_or_else(|| format!("sqlite://{}", file.display()), str::to_owned);
    let mut connection = AnyConnection::connect(&url).await.unwrap();
    if database.is_none() {
        sqlx::query("PRAGMA busy_timeout = 300").execute(&mut connection).await.unwrap();
        let begun = sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await;
        if begun.is_ok() {
            sqlx::query("ROLLBACK").execute(&mut connection).await.unwrap();
        }
        return begun.is_err();
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let begun = "SELECT count(*) FROM pg_stat_activity \
                 WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    sqlx::query_scalar::<_, i64>(begun).fetch_one(&mut connection).await.unwrap() > 0
}

async fn stopped_past_the_lease(database: Option<&str>) {
    use rustix::process::{Pid, Signal, kill_process};
    let folder = tempfile::tempdir().unwrap();
    let archive = archive(folder.path(), database, LONG).await;
    let id = create(&archive, 5, 50).await;
    let mut child = spawn(folder.path(), database, 20, LONG);
    wait_until_ready(&mut child);
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    let mut follow = archive.store.follow("local", id, 0).await.unwrap().unwrap();
    while !matches!(follow.next().await.unwrap().unwrap().event, JobEvent::Output(_)) {}
    // Not in the middle of a write: who stands still there keeps its lock, and nobody takes over before it goes on.
    kill_process(pid, Signal::STOP).unwrap();
    while writes(folder.path(), database).await {
        kill_process(pid, Signal::CONT).unwrap();
        tokio::time::sleep(Duration::from_millis(7)).await;
        kill_process(pid, Signal::STOP).unwrap();
    }
    // Another takes over when the lease has run out, and ends it.
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let other = worker(archive.clone(), folder.path(), Duration::ZERO, 3);
    let other = tokio::spawn(other.run(async move { stopped.await.unwrap() }));
    while !follow.next().await.unwrap().unwrap().event.is_final() {}
    stop.send(()).unwrap();
    other.await.unwrap();
    let ended = archive.store.job("local", id).await.unwrap().unwrap();
    assert_eq!((ended.status, ended.attempts, ended.outputs.len()), (JobStatus::Succeeded, 2, 50));
    let events = archive.store.events(id, 0).await.unwrap();
    // The stopped one wakes in the middle of a picture and goes on; it may do everything but write.
    kill_process(pid, Signal::CONT).unwrap();
    let next = create(&archive, 6, 1).await;
    let mut follow = archive.store.follow("local", next, 0).await.unwrap().unwrap();
    while follow.next().await.unwrap().is_some() {}
    let done = archive.store.job("local", next).await.unwrap().unwrap();
    assert_eq!(done.status, JobStatus::Succeeded, "it lives on and does the next job");
    assert_eq!(archive.store.job("local", id).await.unwrap().unwrap(), ended, "nothing was changed");
    assert_eq!(archive.store.events(id, 0).await.unwrap(), events);
    child.kill().unwrap();
    child.wait().unwrap();
    archive.store.close().await;
}
