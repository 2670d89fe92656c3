//! OpenTelemetry: what a collector is sent, and what not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Process, Server, signal};
use crate::support::{Workplace, portrait};

const TRACES: &str = "/v1/traces";
const METRICS: &str = "/v1/metrics";
const LOGS: &str = "/v1/logs";

/// Head and body.
type Request = (String, Vec<u8>);

/// Takes whatever is sent to it. Names and texts stand in protocol buffers as they are.
#[derive(Clone)]
struct Collector {
    address: String,
    heard: Arc<Mutex<Vec<Request>>>,
}

impl Collector {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { address, heard: Arc::default() };
        let heard = Arc::clone(&collector.heard);
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let heard = Arc::clone(&heard);
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(socket);
                    while let Some(request) = request(&mut reader) {
                        heard.lock().unwrap().push(request);
                        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
                        reader.get_mut().write_all(answer).unwrap();
                    }
                });
            }
        });
        collector
    }

    fn has(&self, needle: &[u8]) -> bool {
        self.heard.lock().unwrap().iter().any(|(_, body)| has(body, needle))
    }

    /// Among what was sent to this path.
    fn has_at(&self, path: &str, needle: &[u8]) -> bool {
        let path = format!("POST {path} HTTP/1.1");
        let heard = self.heard.lock().unwrap();
        heard.iter().any(|(head, body)| head.starts_with(&path) && has(body, needle))
    }

    fn until(&self, path: &str, needle: &str) {
        let begun = Instant::now();
        while !self.has_at(path, needle.as_bytes()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "\"{needle}\" was never sent to {path}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn has(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|w| w == needle)
}

/// None at the end.
fn request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let before = head.len();
        reader.read_line(&mut head).ok().filter(|read| *read > 0)?;
        let line = head[before..].trim().to_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

#[test]
fn spans_numbers_and_log_are_sent_without_prompts_people_or_keys() {
    let collector = Collector::start();
    let place = Workplace::new();
    let key = place.run(["keys", "add", "laptop", "--data-dir", "data"]).done().stdout.trim().to_owned();
    let mut server = Server::start_with(place, |command| {
        command.arg("--require-key").env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address);
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=studio").env("OTEL_SERVICE_NAME", "studio-7");
        command.env("OTEL_BSP_SCHEDULE_DELAY", "100").env("OTEL_BLRP_SCHEDULE_DELAY", "100");
        command.env("OTEL_METRIC_EXPORT_INTERVAL", "100");
    });
    server.key = Some(key.clone());
    let portrait = portrait();
    let add = ["people", "add", "Eileen", "--consent", "authorised", "--authorised-by", "NASA", "--photo"];
    let person = server.imagine(&[&add[..], &[portrait.to_str().unwrap()]].concat()).done().json();
    let prompt = "a portrait of a person with a red hat";
    let wish = json!({"prompt": prompt, "people": [{"person": person["id"]}], "steps": 1, "expand": true});
    let (status, job) = server.post("/v1/jobs", &wish);
    assert_eq!(status, 202, "{job}");
    server.events(job["urls"]["events"].as_str().unwrap());
    let list = format!("/v1/jobs?q={}", "red%20hat");
    assert_eq!(server.json(&list)["data"].as_array().unwrap().len(), 1);
    let id = job["id"].as_str().unwrap();
    for span in ["POST /v1/people", "POST /v1/jobs", "GET /v1/jobs/{id}/events", "prepare", "store", id] {
        collector.until(TRACES, span);
    }
    // All the names that `/metrics` has as well.
    let number =
        ["imagine.job.queue.depth", "imagine.job.queue.wait", "imagine.batch.size", "imagine.images"];
    for number in number.into_iter().chain(["imagine.jobs", "imagine.job.duration", "succeeded", "normal"]) {
        collector.until(METRICS, number);
    }
    let (_, text) = server.get("/metrics");
    let text = String::from_utf8(text).unwrap();
    for line in ["imagine_images_total 1", "imagine_jobs_total{status=\"succeeded\"} 1"] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // A request's line says which it was.
    for line in ["request_id", "POST", "/v1/jobs"] {
        collector.until(LOGS, line);
    }
    // The last ones go out when the server ends, whatever the delay.
    assert_eq!(server.get("/v1/styles").0, 200);
    assert_eq!(server.stop(), Some(0));
    for sent in ["http.response.status_code", "GET /v1/styles"] {
        assert!(collector.has_at(TRACES, sent.as_bytes()), "{sent}");
    }
    assert!(collector.has_at(LOGS, b"ending: what is being drawn is finished first"));
    for path in [TRACES, METRICS, LOGS] {
        assert!(collector.has_at(path, b"studio-7") && collector.has_at(path, b"imagine"), "{path}");
    }
    let photo = fs::read(portrait).unwrap();
    for secret in
        [prompt.as_bytes(), b"red hat", b"red%20hat", b"Eileen", b"NASA", key.as_bytes(), &photo[..64]]
    {
        assert!(!collector.has(secret), "{}", String::from_utf8_lossy(secret));
    }
    let heard = collector.heard.lock().unwrap();
    for (head, _) in heard.iter() {
        assert!(
            [TRACES, METRICS, LOGS].iter().any(|path| head.starts_with(&format!("POST {path} "))),
            "{head}"
        );
        let lower = head.to_lowercase();
        assert!(lower.contains("content-type: application/x-protobuf") && lower.contains("x-scope: studio"));
    }
}

/// The last numbers go out at the end, and of kinds that are not asked for nothing does.
#[test]
fn kinds_are_asked_for_one_by_one_and_a_worker_sends_too() {
    let collector = Collector::start();
    let mut server = Server::start_with(Workplace::new(), |command| {
        command.env("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", format!("{}/own/place", collector.address));
        command.arg("--work").arg("false");
    });
    assert_eq!(server.get("/v1/jobs/none").0, 404);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0));
    assert!(collector.has_at("/own/place", b"imagine.rejections"));
    assert!(collector.has_at("/own/place", b"not_found"));

    let mut command = server.place.command();
    command.args(["worker", "--device", "cpu", "--data-dir", "data"]).stdout(Stdio::piped());
    command.env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address);
    command.env("OTEL_METRIC_EXPORT_INTERVAL", "100").env("OTEL_TRACES_EXPORTER", "none");
    command.env("OTEL_LOGS_EXPORTER", "none").stderr(Stdio::null());
    let mut worker = Process(command.spawn().unwrap());
    collector.until(METRICS, "imagine.batch.size_most");
    signal(&worker.0, "TERM");
    assert_eq!(worker.0.wait().unwrap().code(), Some(0));
    let heard = collector.heard.lock().unwrap();
    let paths = ["POST /own/place ", "POST /v1/metrics "];
    for (head, _) in heard.iter() {
        assert!(paths.iter().any(|path| head.starts_with(path)), "{head}");
    }
}

#[test]
fn a_collector_that_is_away_is_said_once_and_an_unknown_protocol_at_the_start() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start_with(Workplace::new(), |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{free}"));
        command.env("OTEL_BSP_SCHEDULE_DELAY", "50").arg("--work").arg("false");
    });
    let begun = Instant::now();
    while !server.log().contains("the collector takes no spans") {
        assert_eq!(server.get("/v1/styles").0, 200);
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", server.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..20 {
        server.get("/v1/styles");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(server.log().matches("the collector takes no spans").count(), 1, "{}", server.log());

    let place = Workplace::new();
    let mut grpc = place.command();
    grpc.args(["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    grpc.env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")
        .env("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
    crate::support::finish(grpc.output().unwrap()).refused(&["OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"]);
}
