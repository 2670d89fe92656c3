//! Commands that ask a running server: people and batches go through the same checks as from the page.

pub mod batch;
pub mod card;
pub mod people;
mod progress_file;

use std::io::Read;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::http::Response;
use ureq::{Agent, Body, RequestBuilder};

use crate::failure::Failure;

/// An answer may be a folder of pictures.
const LARGEST_ANSWER: u64 = 4 << 30;
const PATIENCE: Duration = Duration::from_secs(600);

/// Which server, and the key to it.
#[derive(Clone, Debug, Default, Args)]
pub struct ServerArgs {
    /// Address of the server; IMAGINE_SERVER names one, too
    #[arg(long, value_name = "URL", help_heading = "Server")]
    server: Option<String>,
}

/// Where `imagine serve` listens if nobody says otherwise.
const USUAL: &str = "http://127.0.0.1:8790";

/// A server that can be asked.
pub struct Server {
    agent: Agent,
    address: String,
    /// Its variable is `IMAGINE_API_KEY`; there is no flag, since others see command lines.
    key: Option<String>,
}

impl Server {
    pub fn new(args: &ServerArgs) -> Self {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        let address =
            args.server.clone().or_else(|| variable("IMAGINE_SERVER")).unwrap_or_else(|| USUAL.into());
        let agent = Agent::config_builder()
            // A refusal has a body that says why.
            .http_status_as_error(false)
            // Packed answers that come in pieces are not read to their end (ureq 3.5.2: "Peer disconnected").
            .accept_encoding("identity")
            .timeout_global(Some(PATIENCE))
            .build()
            .into();
        Self { agent, address: address.trim_end_matches('/').to_owned(), key: variable("IMAGINE_API_KEY") }
    }

    pub fn address(&self) -> &str {
        &self.address
    }

    fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.address) }
    }

    fn with_key<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    pub fn get(&self, path: &str) -> Result<Value, Failure> {
        json(self.answer(self.with_key(self.agent.get(self.url(path))).call())?)
    }

    /// Everything that lies there.
    pub fn bytes(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let response = self.answer(self.with_key(self.agent.get(self.url(path))).call())?;
        let mut bytes = Vec::new();
        let mut body = response.into_body();
        let read = body.as_reader().take(LARGEST_ANSWER).read_to_end(&mut bytes);
        read.map_err(|e| Failure::failed(e).passing())?;
        Ok(bytes)
    }

    /// `once` is the same for requests that are one and the same, so that none is done twice.
    pub fn post(
        &self,
        path: &str,
        content_type: &str,
        body: &[u8],
        once: Option<&str>,
    ) -> Result<Value, Failure> {
        let request = self.with_key(self.agent.post(self.url(path))).header("content-type", content_type);
        let request = match once {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        json(self.answer(request.send(body))?)
    }

    pub fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.with_key(self.agent.patch(self.url(path)));
        json(self.answer(request.header("content-type", "application/json").send(body.to_string()))?)
    }

    pub fn delete(&self, path: &str) -> Result<Value, Failure> {
        json(self.answer(self.with_key(self.agent.delete(self.url(path))).call())?)
    }

    fn answer(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Response<Body>, Failure> {
        let response = sent.map_err(|e| {
            let failure = Failure::failed(format!("{}: {e}", self.address))
                .hint("is `imagine serve` running? --server names another address");
            match e {
                ureq::Error::Io(_) | ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => {
                    failure.passing()
                }
                _ => failure,
            }
        })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body: Value = json(response).unwrap_or_default();
        let detail = body.get("detail").and_then(Value::as_str).unwrap_or("no reason was given");
        let message = format!("the server refused ({}): {detail}", status.as_u16());
        match status.as_u16() {
            401 => Err(Failure::input(message).hint("set IMAGINE_API_KEY to a key from `imagine keys add`")),
            // Too much at once, or the server (or the proxy before it) is on its way down or up.
            429 | 502..=504 => Err(Failure::failed(message).passing()),
            400..500 => Err(Failure::input(message)),
            _ => Err(Failure::failed(message)),
        }
    }
}

fn json(response: Response<Body>) -> Result<Value, Failure> {
    let mut text = String::new();
    let mut body = response.into_body();
    body.as_reader().take(LARGEST_ANSWER).read_to_string(&mut text).map_err(Failure::failed)?;
    if text.is_empty() {
        return Ok(Value::Null);
    }
    serde_json::from_str(&text).map_err(|e| Failure::failed(format!("the answer is no JSON: {e}")))
}

/// All objects of a list, page after page.
pub fn all(server: &Server, path: &str) -> Result<Vec<Value>, Failure> {
    let mut objects = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("{path}?limit=100{after}"))?;
        objects.extend(page.get("data").and_then(Value::as_array).cloned().unwrap_or_default());
        let next =
            page.get("next").and_then(Value::as_str).filter(|_| page.get("has_more") == Some(&true.into()));
        match next {
            Some(next) => after = format!("&after={next}"),
            None => return Ok(objects),
        }
    }
}

/// A text of an object; empty where it has none.
pub fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}
