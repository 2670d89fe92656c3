//! A model behind an OpenAI-compatible server: vLLM, Ollama, llama-server and the like. Streaming, with a timeout,
//! retries, and a circuit breaker that spares a server which is down.

mod breaker;
mod sse;

use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::time::{Duration, Instant};

use imagine_contract::{CancelFlag, ExpandError, Expander, Expansion, Idea, NoteCode, Source};
use serde_json::{Value, json};
use ureq::Agent;

use self::breaker::Breaker;
use self::sse::Delta;
use crate::compose::Draft;
use crate::ground::Grounding;
use crate::knowledge::Knowledge;
use crate::write::{self, Readable};

/// How a server is reached.
#[derive(Clone)]
pub struct RemoteOptions {
    /// Up to and with `/v1`.
    pub url: String,
    pub model: String,
    pub key: Option<String>,
    /// For a whole answer.
    pub timeout: Duration,
    /// Tries after the first one, where trying again can help.
    pub retries: u32,
    /// Wait before the first retry; doubled each time.
    pub pause: Duration,
    pub grounding: Option<Arc<Grounding>>,
}

impl RemoteOptions {
    /// A server with the usual patience.
    pub fn new(url: &str, model: &str) -> Self {
        Self {
            url: url.trim_end_matches('/').to_owned(),
            model: model.to_owned(),
            key: None,
            timeout: Duration::from_secs(30),
            retries: 2,
            pause: Duration::from_millis(250),
            grounding: None,
        }
    }
}

/// A model on a server.
pub struct Remote {
    knowledge: Arc<Knowledge>,
    options: RemoteOptions,
    agent: Agent,
    breaker: Breaker,
}

/// Why a try failed.
enum Fault {
    /// Trying again may help; the server may ask for a pause.
    Passing(String, Option<Duration>),
    Lasting(ExpandError),
}

/// Bytes of an answer that are read.
const ANSWER: u64 = 1 << 20;
/// Longest pause that a server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Remote {
    pub fn new(knowledge: Arc<Knowledge>, options: RemoteOptions) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(options.timeout))
            .timeout_connect(Some(options.timeout.min(Duration::from_secs(5))))
            .http_status_as_error(false)
            .build();
        Self { knowledge, options, agent: config.into(), breaker: Breaker::default() }
    }

    fn body(&self, idea: &Idea, messages: &[Value], ask: bool) -> Value {
        let mut body = json!({
            "model": self.options.model,
            "messages": messages,
            "stream": true,
            "temperature": 0.6,
            "max_tokens": 500,
            // Servers take it as a signed number
            "seed": idea.seed & 0x7fff_ffff,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "expansion", "strict": true, "schema": write::schema()},
            },
        });
        if let (true, Some(object)) = (ask, body.as_object_mut()) {
            // A tool call is an answer of another shape.
            object.remove("response_format");
            object.insert("tools".into(), json!([tool()]));
        }
        body
    }

    fn messages(&self, idea: &Idea, sources: &[Source]) -> Vec<Value> {
        let message = |role: &str, content: String| json!({"role": role, "content": content});
        let mut messages = vec![message("system", write::system().trim().to_owned())];
        for (question, answer) in write::examples() {
            messages.push(message("user", question));
            messages.push(message("assistant", answer));
        }
        messages.push(message("user", write::user(&idea.text, &write::notes(sources))));
        messages
    }

    /// One answer, tried as often as the options allow.
    fn ask(
        &self,
        body: &Value,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Answer, ExpandError> {
        self.breaker.check(Instant::now()).map_err(|left| {
            let seconds = left.as_secs() + 1;
            ExpandError::Unavailable(format!(
                "{} has failed repeatedly; next try in {seconds} s",
                self.options.url
            ))
        })?;
        let mut pause = self.options.pause;
        let mut tried = 0;
        loop {
            if cancel.is_canceled() {
                return Err(ExpandError::Canceled);
            }
            match self.attempt(body, on_text, cancel) {
                Ok(answer) => {
                    self.breaker.succeeded();
                    return Ok(answer);
                }
                Err(Fault::Lasting(error)) => {
                    match error {
                        // What broke off half-way counts as much as what never came.
                        ExpandError::Unavailable(_) => self.breaker.failed(Instant::now()),
                        ExpandError::Canceled => {}
                        // It answers, if only to say no.
                        _ => self.breaker.succeeded(),
                    }
                    return Err(error);
                }
                Err(Fault::Passing(reason, wanted)) => {
                    if tried >= self.options.retries {
                        self.breaker.failed(Instant::now());
                        return Err(ExpandError::Unavailable(format!("{}: {reason}", self.options.url)));
                    }
                    tried += 1;
                    std::thread::sleep(wanted.unwrap_or(pause).min(LONGEST_PAUSE));
                    pause *= 2;
                }
            }
        }
    }

    fn attempt(
        &self,
        body: &Value,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Answer, Fault> {
        let mut request = self.agent.post(format!("{}/chat/completions", self.options.url));
        if let Some(key) = &self.options.key {
            request = request.header("Authorization", format!("Bearer {key}"));
        }
        let response = request
            .header("Content-Type", "application/json")
            .send(body.to_string())
            .map_err(|e| Fault::Passing(e.to_string(), None))?;
        let status = response.status().as_u16();
        if status != 200 {
            let wanted = response.headers().get("retry-after").and_then(|value| value.to_str().ok());
            let wanted = wanted.and_then(|text| text.parse().ok()).map(Duration::from_secs);
            let said = format!("HTTP status {status}");
            return Err(match status {
                408 | 429 | 500..=599 => Fault::Passing(said, wanted),
                _ => Fault::Lasting(ExpandError::Failed(format!("{} answers {said}", self.options.url))),
            });
        }
        let reader = BufReader::new(response.into_body().into_with_config().limit(ANSWER).reader());
        read(reader, on_text, cancel)
    }
}

/// What a server said.
#[derive(Debug, Default)]
struct Answer {
    text: String,
    /// The query of a search that the model asks for.
    search: Option<String>,
}

/// Reads a streamed answer to its end. A stream that breaks off can only be tried again if nobody saw any of it.
fn read(reader: impl BufRead, on_text: &mut dyn FnMut(&str), cancel: &CancelFlag) -> Result<Answer, Fault> {
    let mut answer = Answer::default();
    let mut arguments = String::new();
    let mut readable = Readable::default();
    let mut shown = false;
    for line in reader.lines() {
        if cancel.is_canceled() {
            return Err(Fault::Lasting(ExpandError::Canceled));
        }
        let broken = |reason: String| match shown {
            true => Fault::Lasting(ExpandError::Unavailable(reason)),
            false => Fault::Passing(reason, None),
        };
        let line = line.map_err(|e| broken(format!("the answer broke off: {e}")))?;
        match sse::parse(&line).map_err(broken)? {
            Delta::Text(piece) => {
                let text = readable.push(&piece);
                answer.text.push_str(&piece);
                if !text.is_empty() {
                    shown = true;
                    on_text(&text);
                }
            }
            Delta::Arguments(piece) => arguments.push_str(&piece),
            Delta::Nothing => {}
            Delta::End => break,
        }
    }
    if !arguments.is_empty() {
        let value: Option<Value> = serde_json::from_str(&arguments).ok();
        answer.search = value.and_then(|v| v.get("query").and_then(Value::as_str).map(str::to_owned));
    }
    if answer.text.is_empty() && answer.search.is_none() {
        return Err(Fault::Passing("the answer is empty".into(), None));
    }
    Ok(answer)
}

/// The one tool that a model may use.
fn tool() -> Value {
    json!({"type": "function", "function": {
        "name": "web_search",
        "description": "Searches the web once for how a place, event or thing of the idea looks.",
        "parameters": {
            "type": "object",
            "properties": {"query": {"type": "string"}},
            "required": ["query"],
        },
    }})
}

impl Remote {
    /// Lets the model ask for one search, and searches.
    fn ground(&self, idea: &Idea, cancel: &CancelFlag) -> Result<(Vec<Source>, Option<String>), ExpandError> {
        let Some(grounding) = self.options.grounding.as_ref().filter(|_| idea.ground) else {
            return Ok((Vec::new(), None));
        };
        let body = self.body(idea, &self.messages(idea, &[]), true);
        let answer = self.ask(&body, &mut |_| {}, cancel)?;
        Ok(match answer.search {
            Some(query) => grounding.look_up(&query, &self.knowledge),
            None => (Vec::new(), None),
        })
    }
}

impl Expander for Remote {
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Expansion, ExpandError> {
        let understood = self.knowledge.understand(idea)?;
        let (sources, note) = self.ground(idea, cancel)?;
        let body = self.body(idea, &self.messages(idea, &sources), false);
        let answer = self.ask(&body, on_text, cancel)?;
        let parts = write::parse(&answer.text).map_err(ExpandError::Failed)?;
        let mut draft = Draft::new(&self.knowledge, idea, understood, "");
        let made = write::repair(&mut draft, &self.knowledge, idea, parts, &self.options.model, sources);
        Ok(made.with_note(NoteCode::SearchFailed, note))
    }

    fn check(&self, text: &str) -> Result<(), ExpandError> {
        self.knowledge.safety.check(text)
    }

    fn can_ground(&self) -> bool {
        self.options.grounding.is_some()
    }

    fn name(&self) -> &str {
        &self.options.model
    }
}
