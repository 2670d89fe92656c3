//! Batches: a file in, a line of result for each line, a ZIP of pictures.

mod events;
mod read;
mod results;
mod zip;

pub(crate) use events::*;
pub(crate) use results::*;
pub(crate) use zip::*;

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use imagine_store::{Batch, NewBatch};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Code, Outcome, Problem, ProblemBody};
use crate::http::auth::Caller;
use crate::http::body::content_type;
use crate::http::form::{Form, FormLimits};
use crate::http::idempotency::idempotency;
use crate::http::list::{List, Page, page_of};
use crate::http::query::Query;
use crate::wire::batch::BatchBody;

/// A batch's file.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form is read by hand; this is its description")]
pub(crate) struct BatchForm {
    /// JSONL or CSV.
    #[schema(format = Binary)]
    file: String,
    /// A name for people.
    #[schema(required = false, max_length = 100)]
    name: Option<String>,
}

/// Puts every line of a file into the queue. JSONL: a job a line, with `person` for one person's id or name. CSV:
/// the same names as column heads. Lines that cannot be used fail by themselves.
#[utoipa::path(post, path = "/v1/batches", tag = "batches",
    params(("Idempotency-Key" = Option<String>, Header, description = "At most 255 characters", min_length = 1, max_length = 255)),
    request_body(content((String = "application/jsonl"), (String = "text/csv"), (BatchForm = "multipart/form-data"))), responses(
    (status = ACCEPTED, body = BatchBody, headers(("Location" = String))),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn create(State(app): State<App>, caller: Caller, request: Request) -> Outcome<Response> {
    app.accepting()?;
    let headers = request.headers().clone();
    let (file, format, name) = file(&app, request).await?;
    let digest: [u8; 32] = Sha256::digest(&file).into();
    let idempotency = idempotency(&headers, digest)?;
    let asked = read::lines(&file, format, app.config.limits.batch_lines)?;
    let lines = read::plan_all(&app, &caller, asked).await?;
    let batch = NewBatch { tenant: caller.tenant.clone(), name, lines, idempotency };
    let batch = app.store().create_batch(batch).await?.into_inner();
    let body = BatchBody::from(&batch);
    let place = HeaderValue::from_str(&body.urls.get).ok();
    let mut response = (StatusCode::ACCEPTED, Json(body)).into_response();
    if let Some(place) = place {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

async fn file(app: &App, request: Request) -> Outcome<(Vec<u8>, read::Format, Option<String>)> {
    let kind = content_type(request.headers());
    let format = match kind.as_str() {
        "application/jsonl" | "application/x-ndjson" | "application/ndjson" | "application/x-jsonlines" => {
            read::Format::Jsonl
        }
        "text/csv" | "application/csv" => read::Format::Csv,
        "multipart/form-data" => return of_form(app, request).await,
        _ => {
            let detail = "send application/jsonl, text/csv, or a multipart form with the field \"file\"";
            return Err(Problem::new(Code::UnsupportedMediaType, detail));
        }
    };
    let bytes = Bytes::from_request(request, app).await.map_err(|rejection| {
        Problem::new(Code::of_status(rejection.status()), "the file is too large or was cut off")
    })?;
    Ok((bytes.to_vec(), format, None))
}

async fn of_form(app: &App, request: Request) -> Outcome<(Vec<u8>, read::Format, Option<String>)> {
    let wrong = |_| Problem::new(Code::InvalidJson, "the multipart form is malformed");
    let multipart = Multipart::from_request(request, app).await.map_err(wrong)?;
    let limits = FormLimits { files: 1, file_bytes: app.config.limits.batch_bytes, text_bytes: 1_000 };
    let mut form = Form::read(multipart, limits).await?;
    let file = form.take_files("file").pop();
    let file = file.ok_or_else(|| Problem::field("file", "send the file in the field \"file\""))?;
    // A form says nothing reliable about the file's kind: JSONL lines are objects.
    let first = file.bytes.iter().find(|b| !b.is_ascii_whitespace() && !matches!(b, 0xef | 0xbb | 0xbf));
    let format = if first == Some(&b'{') { read::Format::Jsonl } else { read::Format::Csv };
    let name = form.text("name").map(|name| name.chars().take(100).collect());
    Ok((file.bytes, format, name))
}

/// Batches, newest first.
#[utoipa::path(get, path = "/v1/batches", tag = "batches", params(Page), responses(
    (status = OK, body = List<BatchBody>), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Outcome<Json<List<BatchBody>>> {
    let page = page_of(page.limit, page.after)?;
    let found = app.store().batches(&caller.tenant, &page).await?;
    Ok(Json(List::new(found.data.iter().map(Into::into).collect(), found.next)))
}

/// One batch.
#[utoipa::path(get, path = "/v1/batches/{id}", tag = "batches", params(("id" = String, Path)), responses(
    (status = OK, body = BatchBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Json<BatchBody>> {
    Ok(Json(BatchBody::from(&find(&app, &caller, &id).await?)))
}

/// Cancels every job of a batch that has not ended.
#[utoipa::path(post, path = "/v1/batches/{id}/cancel", tag = "batches", params(("id" = String, Path)), responses(
    (status = OK, body = BatchBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Json<BatchBody>> {
    let missing = || Problem::not_found("batch", &id);
    let batch = app.store().cancel_batch(&caller.tenant, id.parse().map_err(|_| missing())?).await?;
    Ok(Json(BatchBody::from(&batch.ok_or_else(missing)?)))
}

/// A batch of this caller.
pub(crate) async fn find(app: &App, caller: &Caller, id: &str) -> Outcome<Batch> {
    let missing = || Problem::not_found("batch", id);
    app.store().batch(&caller.tenant, id.parse().map_err(|_| missing())?).await?.ok_or_else(missing)
}
