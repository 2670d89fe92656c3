//! OpenTelemetry: what a collector is sent, and what not.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::Server;
use crate::support::{Workplace, portrait};

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
        self.heard.lock().unwrap().iter().any(|(_, body)| body.windows(needle.len()).any(|w| w == needle))
    }

    fn until(&self, needle: &str) {
        let begun = Instant::now();
        while !self.has(needle.as_bytes()) {
            assert!(begun.elapsed() < Duration::from_secs(60), "\"{needle}\" was never sent");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
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
fn spans_of_requests_and_jobs_are_sent_without_prompts_people_or_keys() {
    let collector = Collector::start();
    let place = Workplace::new();
    let key = place.run(["keys", "add", "laptop", "--data-dir", "data"]).done().stdout.trim().to_owned();
    let mut server = Server::start_with(place, |command| {
        command.arg("--require-key").env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.address);
        command.env("OTEL_EXPORTER_OTLP_HEADERS", "x-scope=studio").env("OTEL_SERVICE_NAME", "studio-7");
        command.env("OTEL_BSP_SCHEDULE_DELAY", "100");
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
        collector.until(span);
    }
    // The last ones go out when the server ends, whatever the delay.
    assert_eq!(server.get("/v1/styles").0, 200);
    assert_eq!(server.stop(), Some(0));
    for sent in ["studio-7", "imagine", "http.response.status_code", "GET /v1/styles"] {
        assert!(collector.has(sent.as_bytes()), "{sent}");
    }
    let photo = fs::read(portrait).unwrap();
    for secret in
        [prompt.as_bytes(), b"red hat", b"red%20hat", b"Eileen", b"NASA", key.as_bytes(), &photo[..64]]
    {
        assert!(!collector.has(secret), "{}", String::from_utf8_lossy(secret));
    }
    let heard = collector.heard.lock().unwrap();
    for (head, _) in heard.iter() {
        assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
        let lower = head.to_lowercase();
        assert!(lower.contains("content-type: application/x-protobuf") && lower.contains("x-scope: studio"));
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
