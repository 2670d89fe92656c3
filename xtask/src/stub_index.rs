//! A package index on a port of this machine, for tests: serves one wheel, well or badly.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// How the index behaves; may be changed between requests.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Ignores `Range:` and gives the whole wheel.
    pub no_ranges: bool,
    /// Lists files as HTML instead of JSON.
    pub html: bool,
    /// Does not list the wheel.
    pub unlisted: bool,
    /// Cuts this many answers with (part of) the wheel half-way.
    pub cut: usize,
    /// Drops the connection without an answer once this many bytes of the wheel have been sent.
    pub dies_after: Option<u64>,
    /// Flips the bits of this byte of the wheel.
    pub damaged: Option<usize>,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    /// The bytes of the wheel sent so far, by answer.
    sent: Vec<Range<u64>>,
    requests: usize,
}

/// The running index.
pub struct StubIndex {
    /// Root of its simple repository API.
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl StubIndex {
    /// Serves `wheel` as `<project>/<file>` until the process ends.
    pub fn serve(project: &str, file: &str, wheel: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}/simple", listener.local_addr().expect("its address"));
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, wheel) = (Arc::clone(&state), Arc::new(wheel));
        let (page, address) = (format!("/simple/{project}/"), format!("/files/{file}"));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, wheel) = (Arc::clone(&shared), Arc::clone(&wheel));
                let (page, address) = (page.clone(), address.clone());
                // a client that goes away in the middle is no concern of the server's
                thread::spawn(move || answer(&stream, &page, &address, &wheel, &state).ok());
            }
        });
        Self { url, state }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).behaviour = behaviour;
    }

    /// Bytes of the wheel sent, and the number of requests, since this was last asked.
    pub fn take_log(&self) -> (u64, usize) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = state.sent.drain(..).map(|r| r.end - r.start).sum();
        (bytes, std::mem::take(&mut state.requests))
    }
}

fn answer(
    mut stream: &TcpStream,
    page: &str,
    address: &str,
    wheel: &[u8],
    state: &Mutex<State>,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let mut range: Option<(u64, u64)> = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some((first, last)) = line.strip_prefix("range: bytes=").and_then(|r| r.split_once('-')) {
            range = first.parse().ok().zip(last.parse().ok());
        }
    }
    let path = request.split(' ').nth(1).unwrap_or_default();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.requests += 1;
    let behaviour = state.behaviour.clone();
    if path == page {
        let name = address.rsplit('/').next().unwrap_or_default();
        let name = if behaviour.unlisted { "another.whl" } else { name };
        let (kind, body) = if behaviour.html {
            ("text/html", format!("<a href=\"../../files/{name}#sha256=0\">{name}</a>"))
        } else {
            let files = format!(r#"[{{"filename": "{name}", "url": "{address}", "hashes": {{}}}}]"#);
            ("application/vnd.pypi.simple.v1+json", format!(r#"{{"files": {files}}}"#))
        };
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{body}")?;
        return Ok(());
    }
    if path != address {
        return write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    }
    let total = wheel.len() as u64;
    let so_far: u64 = state.sent.iter().map(|r| r.end - r.start).sum();
    if behaviour.dies_after.is_some_and(|limit| so_far >= limit) {
        return Ok(());
    }
    let span: Range<u64> = match range {
        Some((first, last)) if !behaviour.no_ranges => {
            let length = last - first + 1;
            write!(
                stream,
                "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{total}\r\n"
            )?;
            write!(stream, "Content-Length: {length}\r\n\r\n")?;
            first..last + 1
        }
        _ => {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {total}\r\n\r\n")?;
            0..total
        }
    };
    let mut end = span.end;
    if behaviour.cut > 0 {
        state.behaviour.cut -= 1;
        end = span.start + (span.end - span.start) / 2;
    }
    if let Some(limit) = behaviour.dies_after {
        end = end.min(span.start + limit - so_far);
    }
    let mut body = wheel.get(span.start as usize..end as usize).unwrap_or_default().to_vec();
    if let Some(at) = behaviour.damaged.and_then(|at| at.checked_sub(span.start as usize))
        && let Some(byte) = body.get_mut(at)
    {
        *byte = !*byte;
    }
    state.sent.push(span.start..end);
    stream.write_all(&body)
}
