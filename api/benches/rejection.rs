//! How soon a request is refused while ten times as much comes as can be done: `cargo bench -p imagine-api`.
//!
//! The server listens on a socket, its store is SQLite in a folder, its queue holds 200 jobs. A stand-in finishes
//! 20 jobs a second, pictures and all. Requests come at 200 a second, each at its time whatever became of those
//! before, and are counted from that time on; so an answer that is held up counts for those behind it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed bench")]

#[path = "../tests/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests use the rest")]
mod support;

use std::time::Duration;

use imagine_store::{Archive, Claim, Outcome, Policy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep_until};

const QUEUE: u64 = 200;
const DONE_A_SECOND: u32 = 20;
const TIMES: u32 = 10;
const SECONDS: u32 = 20;
const CONNECTIONS: usize = 64;

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    tokio::runtime::Runtime::new().unwrap().block_on(run());
}

async fn run() {
    let folder = tempfile::tempdir().unwrap();
    let policy = Policy { queued: QUEUE, queued_per_owner: QUEUE, ..Policy::default() };
    let archive = support::archive(folder.path(), policy).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let config = support::config(&[("requests_per_minute", "0"), ("expand_by_default", "false")]);
    tokio::spawn(imagine_api::serve(
        listener,
        config,
        support::parts(archive.clone()),
        std::future::pending(),
        std::future::ready(()),
    ));
    while request(&mut TcpStream::connect(address).await.unwrap()).await == 202 {}
    println!("the queue is full; {} requests a second for {SECONDS} s", DONE_A_SECOND * TIMES);
    tokio::spawn(work(archive));

    let (told, mut answers) = mpsc::unbounded_channel();
    let begun = tokio::time::Instant::now();
    let gap = Duration::from_secs(1) / (DONE_A_SECOND * TIMES);
    for connection in 0..CONNECTIONS {
        let told = told.clone();
        tokio::spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let all = (DONE_A_SECOND * TIMES * SECONDS) as usize;
            for number in (connection..all).step_by(CONNECTIONS) {
                let due = begun + gap * number as u32;
                sleep_until(due).await;
                let status = request(&mut socket).await;
                told.send((status, due.elapsed())).unwrap();
            }
        });
    }
    drop(told);
    let (mut refused, mut taken) = (Vec::new(), Vec::new());
    while let Some((status, time)) = answers.recv().await {
        match status {
            429 => refused.push(time),
            202 => taken.push(time),
            other => panic!("status {other}"),
        }
    }
    tell("refused (429)", &mut refused);
    tell("taken (202)", &mut taken);
}

/// Finishes jobs one by one.
async fn work(archive: Archive) {
    let claim = Claim { worker: "stand-in".into(), model: "stand-in".into(), most: 1 };
    let mut ticks = interval(Duration::from_secs(1) / DONE_A_SECOND);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for claimed in archive.store.claim(&claim).await.unwrap() {
            let image = support::artist::picture(&archive, &claimed, 0).await;
            archive.store.record_output(&claimed.lease, &image).await.unwrap();
            archive.store.finish(&claimed.lease, &Outcome::Succeeded).await.unwrap();
        }
    }
}

/// One job is asked for; the status.
async fn request(socket: &mut TcpStream) -> u16 {
    let job = "{\"prompt\": \"a red hat\"}";
    let head =
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length";
    socket.write_all(format!("{head}: {}\r\n\r\n{job}", job.len()).as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    loop {
        let mut part = [0; 8192];
        let read = socket.read(&mut part).await.unwrap();
        assert!(read > 0, "the server hung up");
        heard.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&heard);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            return head.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}

fn length(head: &str) -> usize {
    let lower = head.to_lowercase();
    lower.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0)
}

fn tell(what: &str, times: &mut [Duration]) {
    times.sort();
    let at = |share: f64| {
        let index = ((times.len() as f64 * share) as usize).min(times.len().saturating_sub(1));
        times.get(index).map_or(f64::NAN, |time| 1000.0 * time.as_secs_f64())
    };
    println!(
        "{what}: {}; p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, longest {:.1} ms",
        times.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}
