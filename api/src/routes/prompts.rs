//! Ideas become prompts.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use imagine_contract::{CancelFlag, ExpandError, Expander, Expansion, Idea, assemble};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;

use crate::app::App;
use crate::error::{Code, Outcome, Problem, ProblemBody};
use crate::http::accept::wants;
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::sse::{keep_alive, named};
use crate::wire::expansion::{AssembleRequest, AssembledBody, ExpandRequest, ExpansionSchema};

impl From<ExpandError> for Problem {
    fn from(error: ExpandError) -> Self {
        match &error {
            ExpandError::Refused { rule, .. } => {
                tracing::info!(%rule, "refused");
                Self::new(Code::Refused, error.to_string()).param("prompt").with("rule", rule.clone().into())
            }
            ExpandError::Empty | ExpandError::TooLong { .. } => Self::field("idea", error.to_string()),
            ExpandError::UnknownStyle { .. } => Self::field("style", error.to_string()),
            ExpandError::Unavailable(_) => {
                Self::new(Code::Unavailable, "prompts cannot be expanded now").retry_after(10)
            }
            ExpandError::Canceled | ExpandError::Failed(_) => Self::internal(error),
        }
    }
}

/// Expands an idea: as JSON, or piece by piece as it is written with `Accept: text/event-stream`
/// (`expansion.delta {text}`, then `expansion.completed {expansion}` or `error {problem}`).
#[utoipa::path(post, path = "/v1/prompts/expand", tag = "prompts", request_body = ExpandRequest, responses(
    (status = OK, content((ExpansionSchema = "application/json"), (String = "text/event-stream"))),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn expand(
    State(app): State<App>,
    _: Caller,
    headers: HeaderMap,
    JsonBody { value, .. }: JsonBody<ExpandRequest>,
) -> Outcome<Response> {
    app.accepting()?;
    let expander = expander(&app)?;
    if value.idea.chars().count() > app.config.limits.prompt_chars {
        return Err(Problem::field("idea", "the idea is too long"));
    }
    if value.ground && !expander.can_ground() {
        return Err(Problem::field("ground", "this server looks nothing up on the web"));
    }
    // Refusals are answers of their own kind, so they come before the stream begins.
    expander.check(&value.idea)?;
    let idea = idea(&app, value);
    let cancel = CancelFlag::default();
    if !wants(&headers, "text/event-stream") {
        // Canceled with the request: the flag is set when this future is dropped.
        let guard = CancelOnDrop(cancel.clone());
        let work = tokio::task::spawn_blocking(move || expander.expand(&idea, &mut |_| (), &cancel));
        let expansion: Expansion = work.await.map_err(Problem::internal)??;
        drop(guard);
        return Ok(Json(expansion).into_response());
    }
    let (sender, receiver) = mpsc::unbounded_channel::<Event>();
    let guard = CancelOnDrop(cancel.clone());
    tokio::task::spawn_blocking(move || {
        let mut on_text = |text: &str| {
            // A send fails once nobody listens.
            if sender.send(named("expansion.delta", &json!({"text": text}))).is_err() {
                cancel.cancel();
            }
        };
        let last = match expander.expand(&idea, &mut on_text, &cancel) {
            Ok(expansion) => named("expansion.completed", &json!({"expansion": expansion})),
            Err(error) => named("error", &json!(Problem::from(error).body(""))),
        };
        let _ = sender.send(last);
    });
    let stream = UnboundedReceiverStream::new(receiver).map(move |event| {
        let _ = &guard;
        Ok::<_, std::convert::Infallible>(event)
    });
    Ok(Sse::new(stream).keep_alive(keep_alive()).into_response())
}

struct CancelOnDrop(CancelFlag);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

fn expander(app: &App) -> Outcome<Arc<dyn Expander>> {
    let missing = || Problem::new(Code::Unavailable, "this server expands no prompts");
    app.parts.expander.clone().ok_or_else(missing)
}

fn idea(app: &App, request: ExpandRequest) -> Idea {
    let model = app.model(None);
    Idea {
        style: request.style.filter(|style| !style.is_empty()),
        dialect: model.map(|card| card.dialect.clone()).unwrap_or_default(),
        ground: request.ground,
        trigger_word: model.and_then(|card| card.info.identity.as_ref()?.trigger_word.clone()),
        ..Idea::new(request.idea, request.seed.unwrap_or(0))
    }
}

/// Puts the parts of an expansion together again after some were changed.
#[utoipa::path(post, path = "/v1/prompts/assemble", tag = "prompts", request_body = AssembleRequest, responses(
    (status = OK, body = AssembledBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn assemble_parts(
    State(app): State<App>,
    _: Caller,
    JsonBody { value, .. }: JsonBody<AssembleRequest>,
) -> Outcome<Json<AssembledBody>> {
    let model = app.model(None);
    let trigger = model.and_then(|card| card.info.identity.as_ref()?.trigger_word.as_deref());
    let dialect = model.map(|card| card.dialect.clone()).unwrap_or_default().with_trigger(trigger);
    let assembled = assemble(&value.expansion.parts, &dialect);
    Ok(Json(AssembledBody { prompt: assembled.prompt, dropped: assembled.dropped }))
}
