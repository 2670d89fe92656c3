//! What carries the exporters' messages.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use ureq::Agent;

/// How long a collector may take for one call, unless `OTEL_EXPORTER_OTLP_TIMEOUT` ends it before.
const CALL: Duration = Duration::from_secs(30);

/// Sends from the exporter's own thread, which may wait. Says once that it fails, and once that it works again.
#[derive(Debug)]
pub(super) struct Client {
    /// What is sent.
    what: &'static str,
    agent: Agent,
    failing: AtomicBool,
}

impl Client {
    pub(super) fn new(what: &'static str) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(CALL))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("imagine/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { what, agent: config.into(), failing: AtomicBool::new(false) }
    }

    fn call(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, mut body) = self.agent.run(request.map(|body| body.to_vec()))?.into_parts();
        Ok(Response::from_parts(head, body.read_to_vec()?.into()))
    }
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.call(request);
        let problem = match &answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        let failed_before = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !failed_before => {
                tracing::warn!(problem, "the collector takes no {}", self.what)
            }
            None if failed_before => tracing::info!("the collector takes {} again", self.what),
            _ => {}
        }
        answer
    }
}
