//! A running `imagine serve`, and what a client asks of it.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use serde_json::Value;

use crate::support::{Workplace, finish};

/// Sends a process a signal by its name.
pub fn signal(child: &Child, name: &str) {
    let told = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status().unwrap();
    assert!(told.success());
}

/// A process that is killed when dropped.
pub struct Process(pub Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running server in a data folder of its own; ended when dropped.
pub struct Server {
    pub place: Arc<Workplace>,
    child: Child,
    pub address: String,
    agent: ureq::Agent,
    /// Sent with every request.
    pub key: Option<String>,
}

impl Server {
    pub fn start(place: impl Into<Arc<Workplace>>, flags: &[&str]) -> Self {
        Self::start_with(place, |command| {
            command.args(flags);
        })
    }

    /// With flags and variables of the test's own.
    pub fn start_with(place: impl Into<Arc<Workplace>>, change: impl FnOnce(&mut Command)) -> Self {
        Self::start_at(place, "127.0.0.1:0", change)
    }

    /// At an address that clients know before.
    pub fn start_at(
        place: impl Into<Arc<Workplace>>,
        listen: &str,
        change: impl FnOnce(&mut Command),
    ) -> Self {
        let place = place.into();
        let mut command = place.command();
        command.args(["serve", "--listen", listen, "--device", "cpu", "--data-dir", "data"]);
        change(&mut command);
        let log = fs::File::create(place.path("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let address = address.unwrap_or_else(|| {
            panic!("\"{line}\" {}", fs::read_to_string(place.path("log")).unwrap_or_default())
        });
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { place, child, address, agent, key: None }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.key.as_deref().unwrap_or("none"))
    }

    pub fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let url = format!("{}{path}", self.address);
        let mut response = self.agent.get(url).header("authorization", self.bearer()).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }

    pub fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    pub fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.address);
        let request = self.agent.post(url).header("content-type", "application/json");
        let mut response = request.header("authorization", self.bearer()).send(body.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    /// A multipart form whose parts are divided by `boundary`.
    pub fn send_form(&self, path: &str, boundary: &str, body: &[u8]) -> (u16, Value) {
        let url = format!("{}{path}", self.address);
        let kind = format!("multipart/form-data; boundary={boundary}");
        let request = self.agent.post(url).header("content-type", kind);
        let mut response = request.header("authorization", self.bearer()).send(body).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    /// Name and data of every event, up to the stream's end.
    pub fn events(&self, path: &str) -> Vec<(String, Value)> {
        let url = format!("{}{path}", self.address);
        let mut response = self.agent.get(url).header("authorization", self.bearer()).call().unwrap();
        let mut text = String::new();
        response.body_mut().as_reader().read_to_string(&mut text).unwrap();
        let of = |event: &str| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            Some((field("event:")?.to_owned(), serde_json::from_str(field("data:")?).unwrap()))
        };
        text.split("\n\n").filter_map(of).collect()
    }

    /// The program as a client of this server.
    pub fn imagine(&self, args: &[&str]) -> crate::support::Run {
        let mut command = self.place.command();
        command.args(args).env("IMAGINE_SERVER", &self.address);
        if let Some(key) = &self.key {
            command.env("IMAGINE_API_KEY", key);
        }
        finish(command.output().unwrap())
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.place.path("log")).unwrap()
    }

    pub fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Its exit code, when it has ended.
    pub fn wait(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Asks it to end, and waits.
    pub fn stop(mut self) -> Option<i32> {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
