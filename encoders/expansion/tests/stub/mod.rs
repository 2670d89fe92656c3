//! A server on this machine that answers as a test wants.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What was asked.
#[derive(Clone, Debug)]
pub struct Asked {
    pub path: String,
    pub headers: String,
    pub body: String,
}

/// What is answered: status, more headers, body; the connection is cut after the body, or left hanging.
pub struct Answer {
    pub status: u16,
    pub headers: &'static str,
    pub body: String,
    /// Says that more is coming and ends.
    pub broken: bool,
    pub silent: bool,
}

impl Answer {
    pub fn of(status: u16, body: impl Into<String>) -> Self {
        Self { status, headers: "", body: body.into(), broken: false, silent: false }
    }

    /// A streamed chat completion of these pieces.
    pub fn stream(pieces: &[&str]) -> Self {
        let line = |piece: &&str| {
            let delta = serde_json::json!({"choices": [{"delta": {"content": piece}}]});
            format!("data: {delta}\n\n")
        };
        Self::of(200, pieces.iter().map(line).collect::<String>() + "data: [DONE]\n\n")
    }
}

pub struct Stub {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    /// Answers by the number of the request, from 0, and what it asks.
    pub fn serve(answer: impl Fn(usize, &Asked) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        thread::spawn(move || {
            let mut hanging = Vec::new();
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let Some(request) = read(&stream) else { continue };
                log.lock().unwrap().push(request.clone());
                let answer = answer(number, &request);
                if answer.silent {
                    hanging.push(stream);
                } else {
                    write(stream, &answer);
                }
            }
        });
        Self { url, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

fn read(stream: &TcpStream) -> Option<Asked> {
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
        headers.push_str(&line.to_lowercase());
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Asked { path, headers, body: String::from_utf8_lossy(&body).into_owned() })
}

fn write(mut stream: TcpStream, answer: &Answer) {
    let more = if answer.broken { 1000 } else { 0 };
    let length = answer.body.len() + more;
    let head = format!(
        "HTTP/1.1 {} X\r\nContent-Length: {length}\r\nConnection: close\r\n{}\r\n",
        answer.status, answer.headers
    );
    // A client that has left is the test's business.
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(answer.body.as_bytes()));
}
