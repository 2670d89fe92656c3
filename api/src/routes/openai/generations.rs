//! `POST /v1/images/generations`.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::answer::ImagesResponse;
use super::request::{ImagesRequest, RawRequest};
use super::{Beside, queue, repeated, stream};
use crate::app::App;
use crate::error::{Outcome, ProblemBody};
use crate::http::auth::Caller;
use crate::http::body::JsonBody;

/// Pictures of a prompt, and of an enrolled person with the extension `person`, as OpenAI's clients ask for them. With
/// `stream` the answer is events: `image_generation.partial_image`, `image_generation.completed`.
#[utoipa::path(post, path = "/v1/images/generations", tag = "openai", request_body = RawRequest, responses(
    (status = OK, content((ImagesResponse = "application/json"), (String = "text/event-stream"))),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn generations(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    JsonBody { value, digest }: JsonBody<RawRequest>,
) -> Outcome<Response> {
    app.accepting()?;
    let request = ImagesRequest::new(value)?;
    let job = match repeated(&app, &caller, &headers, &digest).await? {
        Some(job) => job,
        None => queue(&app, &caller, &headers, &request, Beside::default(), digest).await?,
    };
    super::answer(app, caller, &headers, &request, job, stream::GENERATION).await
}
