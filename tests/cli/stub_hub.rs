//! The Hugging Face Hub on a port of this machine, for tests: a few repositories, served well or badly. It speaks
//! what hf-hub asks for: the description of a repository, `resolve` with its headers, the redirect of large files
//! to another address, byte ranges.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// How the Hub behaves; may be changed between requests.
#[derive(Debug, Clone, Default)]
pub struct Behaviour {
    /// Every repository wants this token.
    pub token: Option<String>,
    /// Every repository is gated, for everybody.
    pub gated: bool,
    /// Answers everything with this status.
    pub status: Option<u16>,
    /// Drops connections once this many bytes of large files have been sent.
    pub dies_after: Option<u64>,
    /// Cuts so many answers with a large file half-way.
    pub cuts: usize,
    /// Sends nothing more, and keeps the connection, once this many bytes of large files have been sent.
    pub hangs_after: Option<u64>,
    /// Flips the first byte of so many answers with a large file.
    pub damaged: usize,
    /// Gives whole files where ranges are asked for, of large files.
    pub no_ranges: bool,
}

#[derive(Default)]
struct State {
    behaviour: Behaviour,
    repositories: BTreeMap<String, Repository>,
    /// Bytes of large files sent.
    sent: u64,
    /// Where the answers with large files began.
    starts: Vec<u64>,
    requests: usize,
}

struct Repository {
    commit: String,
    files: BTreeMap<String, Arc<Vec<u8>>>,
}

/// The running Hub.
pub struct StubHub {
    pub url: String,
    state: Arc<Mutex<State>>,
}

/// What was asked since this was last looked at.
#[derive(Debug)]
pub struct Log {
    pub bytes: u64,
    pub starts: Vec<u64>,
    pub requests: usize,
}

/// Files with these endings are large: kept apart from git and named by their SHA-256.
fn is_large(path: &str) -> bool {
    [".safetensors", ".bin", ".onnx"].iter().any(|ending| path.ends_with(ending))
}

pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The name that git gives the content.
pub fn git_object(bytes: &[u8]) -> String {
    let mut hash = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hash.update(bytes);
    hex(&hash.finalize())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl StubHub {
    /// Serves until the process ends.
    pub fn serve() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State::default()));
        let (shared, own) = (Arc::clone(&state), url.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (state, url) = (Arc::clone(&shared), own.clone());
                // a client that goes away in the middle is no concern of the server's
                thread::spawn(move || answer(&stream, &url, &state).ok());
            }
        });
        Self { url, state }
    }

    /// Adds or replaces a repository; its commit depends on the content.
    pub fn publish(&self, name: &str, files: &[(&str, Vec<u8>)]) -> String {
        let mut hash = Sha1::new();
        for (path, bytes) in files {
            hash.update(path);
            hash.update(bytes);
        }
        let commit = hex(&hash.finalize());
        let files = files.iter().map(|(path, bytes)| (path.to_string(), Arc::new(bytes.clone()))).collect();
        let repository = Repository { commit: commit.clone(), files };
        self.lock().repositories.insert(name.into(), repository);
        commit
    }

    pub fn behave(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    pub fn take_log(&self) -> Log {
        let mut state = self.lock();
        Log {
            bytes: std::mem::take(&mut state.sent),
            starts: std::mem::take(&mut state.starts),
            requests: std::mem::take(&mut state.requests),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(mut stream: &TcpStream, url: &str, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    let (mut range, mut token) = (None, None);
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match name.to_ascii_lowercase().as_str() {
            "range" => range = value.strip_prefix("bytes=").and_then(|r| r.split_once('-')).map(own),
            "authorization" => token = value.strip_prefix("Bearer ").map(str::to_string),
            _ => {}
        }
    }
    let address = request.split(' ').nth(1).unwrap_or_default();
    let path = address.split('?').next().unwrap_or_default().to_string();
    let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
    state.requests += 1;
    let behaviour = state.behaviour.clone();
    let mut refuse = |status: u16, code: &str| {
        write!(stream, "HTTP/1.1 {status} No\r\nX-Error-Code: {code}\r\nContent-Length: 0\r\n")?;
        write!(stream, "Connection: close\r\n\r\n")
    };
    if let Some(status) = behaviour.status {
        return refuse(status, "");
    }
    if let Some(sha) = path.strip_prefix("/large/") {
        let files = state.repositories.values().flat_map(|r| r.files.values());
        let Some(bytes) = files.into_iter().find(|bytes| sha256(bytes) == sha).cloned() else {
            return refuse(404, "");
        };
        return large(stream, &bytes, range, state, &behaviour);
    }
    if behaviour.gated {
        return refuse(403, "GatedRepo");
    }
    if behaviour.token.is_some() && token != behaviour.token {
        return refuse(401, "RepoNotFound");
    }
    if let Some((name, revision)) = path.strip_prefix("/api/models/").and_then(|p| p.split_once("/revision/"))
    {
        let Some(repository) = state.repositories.get(name) else { return refuse(404, "RepoNotFound") };
        if revision != "main" && revision != repository.commit {
            return refuse(404, "RevisionNotFound");
        }
        let siblings: Vec<_> = repository.files.iter().map(|(path, bytes)| sibling(path, bytes)).collect();
        let body = json!({ "sha": repository.commit, "siblings": siblings, "private": false }).to_string();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n",
            body.len()
        )?;
        return write!(stream, "Connection: close\r\n\r\n{body}");
    }
    let Some((name, rest)) = path.strip_prefix('/').and_then(|p| p.split_once("/resolve/")) else {
        return refuse(404, "");
    };
    let (_, file) = rest.split_once('/').unwrap_or_default();
    let Some(repository) = state.repositories.get(name) else { return refuse(404, "RepoNotFound") };
    let Some(bytes) = repository.files.get(file) else { return refuse(404, "EntryNotFound") };
    let commit = &repository.commit;
    if is_large(file) {
        let sha = sha256(bytes);
        write!(stream, "HTTP/1.1 302 Found\r\nLocation: {url}/large/{sha}\r\nX-Repo-Commit: {commit}\r\n")?;
        write!(stream, "X-Linked-Etag: \"{sha}\"\r\nX-Linked-Size: {}\r\nETag: \"x\"\r\n", bytes.len())?;
        return write!(stream, "Content-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let (first, last) = span(&range, bytes.len() as u64);
    let part = &bytes[first as usize..last as usize + 1];
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{}\r\n",
        bytes.len()
    )?;
    write!(stream, "ETag: \"{}\"\r\nX-Repo-Commit: {commit}\r\n", git_object(bytes))?;
    write!(stream, "Content-Length: {}\r\nConnection: close\r\n\r\n", part.len())?;
    stream.write_all(part)
}

fn own((first, last): (&str, &str)) -> (u64, Option<u64>) {
    (first.parse().unwrap_or(0), last.parse().ok())
}

/// First and last byte of a range in a file of that size.
fn span(range: &Option<(u64, Option<u64>)>, size: u64) -> (u64, u64) {
    let (first, last) = range.unwrap_or((0, None));
    (first.min(size), last.unwrap_or(size - 1).min(size - 1))
}

fn sibling(path: &str, bytes: &[u8]) -> serde_json::Value {
    let mut sibling = json!({ "rfilename": path, "size": bytes.len(), "blobId": git_object(bytes) });
    if is_large(path) {
        sibling["lfs"] = json!({ "sha256": sha256(bytes), "size": bytes.len(), "pointerSize": 130 });
    }
    sibling
}

fn large(
    mut stream: &TcpStream,
    bytes: &[u8],
    range: Option<(u64, Option<u64>)>,
    mut state: std::sync::MutexGuard<'_, State>,
    behaviour: &Behaviour,
) -> std::io::Result<()> {
    let size = bytes.len() as u64;
    let probe = range == Some((0, Some(0)));
    if range.is_some_and(|(first, _)| first >= size) {
        return write!(stream, "HTTP/1.1 416 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    }
    let whole = range.is_none() || (behaviour.no_ranges && !probe);
    let (first, last) = if whole { (0, size - 1) } else { span(&range, size) };
    let mut part = bytes[first as usize..last as usize + 1].to_vec();
    if whole {
        write!(stream, "HTTP/1.1 200 OK\r\n")?;
    } else {
        write!(stream, "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}\r\n")?;
    }
    write!(stream, "Content-Length: {}\r\nConnection: close\r\n\r\n", part.len())?;
    if probe {
        // hf-hub asks for one byte to learn the size
        return stream.write_all(&part);
    }
    if behaviour.damaged > 0 {
        state.behaviour.damaged -= 1;
        part[0] = !part[0];
    }
    let limit = behaviour.dies_after.or(behaviour.hangs_after);
    let left = limit.map_or(u64::MAX, |limit| limit.saturating_sub(state.sent));
    let mut left = usize::try_from(left).unwrap_or(usize::MAX);
    if behaviour.cuts > 0 {
        state.behaviour.cuts -= 1;
        left = left.min(part.len() / 2);
    }
    let cut = left < part.len();
    part.truncate(left);
    state.sent += part.len() as u64;
    state.starts.push(first);
    drop(state);
    stream.write_all(&part)?;
    if cut && behaviour.hangs_after.is_some() {
        stream.flush()?;
        thread::sleep(Duration::from_secs(60));
    }
    Ok(())
}
