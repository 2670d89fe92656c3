//! Clients that hold a connection and send little or nothing, over a socket.

use std::sync::Arc;
use std::time::Duration;

use imagine_contract::{Load, ModelInfo, Order, Studio, SubmitError};
use imagine_store::{Archive, Policy};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::support::{self, Artist};

/// A server that waits a second for a head, a second for each piece of a body, and three for all of it.
struct Server {
    address: String,
    stop: Arc<Notify>,
    /// The worker beside it has nothing more to do.
    drained: Arc<Notify>,
    archive: Archive,
    _folder: TempDir,
}

/// Draws nothing, in this process.
struct Idle(ModelInfo);

impl Studio for Idle {
    fn info(&self) -> &ModelInfo {
        &self.0
    }

    fn submit(&self, _: Order) -> Result<(), SubmitError> {
        Err(SubmitError::Closed("it never draws".into()))
    }

    fn load(&self) -> Load {
        Load { healthy: true, ..Load::default() }
    }
}

impl Server {
    async fn start() -> Self {
        Self::with(|_| ()).await
    }

    async fn with(change: impl FnOnce(&mut imagine_api::Parts)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = support::archive(folder.path(), Policy::default()).await;
        let settings = [("head_seconds", "1"), ("body_pause_seconds", "1"), ("body_seconds", "3")];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (stop, drained) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (stopped, worker) = (Arc::clone(&stop), Arc::clone(&drained));
        let until = async move { stopped.notified().await };
        let idle = async move { worker.notified().await };
        let (config, mut parts) = (support::config(&settings), support::parts(archive.clone()));
        change(&mut parts);
        tokio::spawn(imagine_api::serve(listener, config, parts, until, idle));
        Self { address, stop, drained, archive, _folder: folder }
    }

    async fn send(&self, text: &str) -> TcpStream {
        let mut socket = TcpStream::connect(&self.address).await.unwrap();
        socket.write_all(text.as_bytes()).await.unwrap();
        socket
    }
}

/// What comes until the other side ends, which it has to do by itself.
async fn rest(socket: &mut TcpStream) -> String {
    let mut text = Vec::new();
    // An end by force is one, too.
    let _ = timeout(Duration::from_secs(60), socket.read_to_end(&mut text)).await.expect("it was closed");
    String::from_utf8(text).unwrap()
}

const LIST: &str = "GET /v1/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
const HEAD: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n";

#[tokio::test]
async fn a_head_that_does_not_come_ends_the_connection() {
    let server = Server::start().await;
    for begun in ["", "GET /health/li", HEAD] {
        let mut socket = server.send(begun).await;
        let heard = rest(&mut socket).await;
        assert!(!heard.contains("200 OK"), "{begun:?}: {heard}");
    }
    // One that is asked on now and then stays, and is closed when nothing more comes.
    let mut socket = server.send(&format!("{HEAD}\r\n")).await;
    let mut first = [0; 12];
    socket.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    socket.write_all(format!("{HEAD}\r\n").as_bytes()).await.unwrap();
    assert!(rest(&mut socket).await.contains("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_head_that_comes_drop_by_drop_ends_the_connection() {
    let server = Server::start().await;
    let (mut reads, mut writes) = server.send(HEAD).await.into_split();
    let drops = tokio::spawn(async move {
        for number in 0.. {
            if writes.write_all(format!("X-{number}: a\r\n").as_bytes()).await.is_err() {
                return;
            }
            sleep(Duration::from_millis(100)).await;
        }
    });
    let mut heard = Vec::new();
    let ended = timeout(Duration::from_secs(60), reads.read_to_end(&mut heard)).await;
    drops.abort();
    let _ = ended.expect("it was closed, though something came all the time");
    assert!(!String::from_utf8_lossy(&heard).contains("200 OK"));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_told_so() {
    let server = Server::start().await;
    let head = |path: &str, kind: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: 1000\r\n\r\n"
        )
    };
    for (path, kind) in [
        ("/v1/jobs", "application/json"),
        ("/v1/people", "multipart/form-data; boundary=edge"),
        ("/v1/batches", "text/csv"),
    ] {
        let begun = format!("{}--edge\r\n", head(path, kind));
        let heard = rest(&mut server.send(&begun).await).await;
        assert!(heard.starts_with("HTTP/1.1 408"), "{path}: {heard}");
        assert!(heard.contains("\"code\":\"request_timeout\""), "{path}: {heard}");
    }
    // A little all the time is no way to stay for ever.
    let (mut reads, mut writes) = server.send(&head("/v1/batches", "text/csv")).await.into_split();
    let drops = tokio::spawn(async move {
        while writes.write_all(b"a").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    });
    let mut heard = Vec::new();
    let ended = timeout(Duration::from_secs(60), reads.read_to_end(&mut heard)).await;
    drops.abort();
    let _ = ended.expect("it was closed");
    assert!(String::from_utf8_lossy(&heard).starts_with("HTTP/1.1 408"));
}

#[tokio::test]
async fn an_answer_under_way_is_given_before_the_end() {
    let with_studio =
        |parts: &mut imagine_api::Parts| parts.studio = Some(Arc::new(Idle(parts.models[0].info.clone())));
    let server = Server::with(with_studio).await;
    let job = "{\"prompt\": \"a\"}";
    let length = job.len();
    let head =
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nPrefer: wait=60";
    let mut waits = server.send(&format!("{head}\r\nContent-Length: {length}\r\n\r\n{job}")).await;
    while !rest(&mut server.send(LIST).await).await.contains("\"job_") {
        sleep(Duration::from_millis(20)).await;
    }
    server.stop.notify_one();
    // As long as something is drawn, new work is refused in words, and the rest is to be had.
    let ready = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    while !rest(&mut server.send(ready).await).await.starts_with("HTTP/1.1 503") {
        sleep(Duration::from_millis(20)).await;
    }
    let more = format!(
        "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{job}"
    );
    let refused = rest(&mut server.send(&more).await).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: "), "{refused}");
    assert!(rest(&mut server.send(LIST).await).await.contains("\"job_"));
    server.drained.notify_one();
    let answer = rest(&mut waits).await;
    assert!(answer.starts_with("HTTP/1.1 202") && answer.contains("\"queued\""), "{answer}");
    assert!(TcpStream::connect(&server.address).await.is_err(), "nobody else is let in");
}

#[tokio::test]
async fn where_workers_draw_elsewhere_a_server_ends_when_nobody_waits_for_their_jobs() {
    let server = Server::start().await;
    let artist = Artist::start(server.archive.clone());
    let post = |job: &str, more: &str| {
        let length = job.len();
        format!(
            "POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{more}Content-Length: {length}\r\n\r\n{job}"
        )
    };
    let job = "{\"prompt\": \"wait\", \"expand\": false}";
    let mut waits = server.send(&post(job, "Prefer: wait=60\r\n")).await;
    while !rest(&mut server.send(LIST).await).await.contains("\"running\"") {
        sleep(Duration::from_millis(20)).await;
    }
    server.stop.notify_one();
    // Nothing is drawn here, so that there is nothing to wait for in this process.
    server.drained.notify_one();
    let ready = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    while !rest(&mut server.send(ready).await).await.starts_with("HTTP/1.1 503") {
        sleep(Duration::from_millis(20)).await;
    }
    let refused = rest(&mut server.send(&post("{\"prompt\": \"a\"}", "Connection: close\r\n")).await).await;
    assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: "), "{refused}");
    assert!(rest(&mut server.send(LIST).await).await.contains("\"running\""));
    artist.go();
    let answer = rest(&mut waits).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"succeeded\""), "{answer}");
    while TcpStream::connect(&server.address).await.is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
}
