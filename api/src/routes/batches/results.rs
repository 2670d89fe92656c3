//! What came of a batch, a line of JSON for each line of its file.

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use imagine_store::{BatchId, BatchLineResult, InvalidLine, Job};
use serde_json::{Value, json};

use super::find;
use crate::app::App;
use crate::error::{Outcome, ProblemBody};
use crate::http::auth::Caller;
use crate::wire::image::OutputBody;
use crate::wire::job::JobErrorBody;

/// Lines that are read from the database at a time.
pub(super) const PAGE: u32 = 100;

/// A line for each line of the file, in its order, as far as it is: `{line, custom_id, job, status, input, output, error}`.
#[utoipa::path(get, path = "/v1/batches/{id}/results", tag = "batches", params(("id" = String, Path)), responses(
    (status = OK, body = String, content_type = "application/jsonl"),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn results(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Response> {
    let batch = find(&app, &caller, &id).await?;
    let state = Some((app, caller, batch.id, 0));
    // Fused: what compresses it asks once more after the end.
    let lines = stream::unfold(state, |state| async move {
        let (app, caller, id, first) = state?;
        match page(&app, &caller, id, first).await {
            Ok((_, 0)) => None,
            Ok((text, count)) => Some((Ok(Bytes::from(text)), Some((app, caller, id, first + count)))),
            // The connection is broken off, so that nobody takes half for the whole.
            Err(_) => Some((Err(std::io::Error::other("the results could not be read")), None)),
        }
    });
    Ok(([(header::CONTENT_TYPE, "application/jsonl")], Body::from_stream(lines.fuse())).into_response())
}

async fn page(app: &App, caller: &Caller, id: BatchId, first: u64) -> Outcome<(String, u64)> {
    let results = app.store().batch_results(id, first, PAGE).await?;
    let mut text = String::new();
    for result in &results {
        text.push_str(&line(result, &app.link(caller)).to_string());
        text.push('\n');
    }
    Ok((text, results.len() as u64))
}

/// One line's result, as the client is told of it.
pub(super) fn line(result: &BatchLineResult, link: &dyn Fn(&str) -> String) -> Value {
    match &result.result {
        Ok(job) => of_job(result.line, job, link),
        Err(InvalidLine { error, given }) => {
            let mut input = given.clone();
            json!({
                "line": result.line, "custom_id": custom_id(input.as_mut()), "job": null, "status": "failed",
                "input": input, "output": [], "error": JobErrorBody::from(error),
            })
        }
    }
}

/// Told beside the input, not in it.
fn custom_id(input: Option<&mut Value>) -> Option<Value> {
    input?.as_object_mut()?.remove("custom_id")
}

fn of_job(line: u64, job: &Job, link: &dyn Fn(&str) -> String) -> Value {
    let mut input = job.given.clone();
    let custom_id = custom_id(Some(&mut input));
    let output: Vec<_> = job.outputs.iter().map(|image| OutputBody::of(image, link)).collect();
    let error = job.error.as_ref().map(JobErrorBody::from);
    json!({
        "line": line, "custom_id": custom_id, "job": job.id.to_string(), "status": job.status.name(), "input": input,
        "output": output, "error": error,
    })
}
