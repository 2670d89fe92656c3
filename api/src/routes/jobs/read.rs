//! Jobs that there are.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use imagine_store::{JobFilter, JobStatus};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{find, tell, wait_for};
use crate::app::App;
use crate::error::{Outcome, Problem, ProblemBody};
use crate::http::accept;
use crate::http::auth::Caller;
use crate::http::list::{List, page_of};
use crate::http::query::Query;
use crate::routes::optional_id;
use crate::wire::image::DeletedBody;
use crate::wire::job::{JobBody, StatusSchema};

/// Which jobs.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobQuery {
    #[param(value_type = Option<StatusSchema>)]
    pub status: Option<JobStatus>,
    /// Id of a person.
    pub person: Option<String>,
    /// Words of the prompt.
    pub q: Option<String>,
    /// Id of a batch.
    pub batch: Option<String>,
    /// How many, 1 to 200; 20 if left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// Jobs, newest first.
#[utoipa::path(get, path = "/v1/jobs", tag = "jobs", params(JobQuery), responses(
    (status = OK, body = List<JobBody>), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<JobQuery>,
) -> Outcome<Json<List<JobBody>>> {
    let filter = JobFilter {
        status: query.status,
        person: optional_id(query.person.as_deref(), "person")?,
        batch: optional_id(query.batch.as_deref(), "batch")?,
        text: query.q,
    };
    let page = page_of(query.limit, query.after)?;
    let found = app.store().jobs(&caller.tenant, &filter, &page).await?;
    let mut data = Vec::with_capacity(found.data.len());
    for job in &found.data {
        data.push(tell(&app, &caller, job).await?);
    }
    Ok(Json(List::new(data, found.next)))
}

/// One job. With `Prefer: wait=N` the answer comes when it has ended, or after N seconds (at most 60).
#[utoipa::path(get, path = "/v1/jobs/{id}", tag = "jobs",
    params(("id" = String, Path), ("Prefer" = Option<String>, Header, description = "`wait=N`")), responses(
    (status = OK, body = JobBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Outcome<Response> {
    let mut job = find(&app, &caller, &id).await?;
    let wait = accept::wait(&headers).filter(|_| !job.status.is_final());
    if let Some(wait) = wait {
        job = wait_for(&app, &caller, job.id, wait).await?;
    }
    let mut response = Json(tell(&app, &caller, &job).await?).into_response();
    if wait.is_some() {
        response.headers_mut().insert("preference-applied", HeaderValue::from_static("wait"));
    }
    Ok(response)
}

/// Cancels a job: at once where it waits, after its next step where it runs. One that has ended stays as it is.
#[utoipa::path(post, path = "/v1/jobs/{id}/cancel", tag = "jobs", params(("id" = String, Path)), responses(
    (status = OK, body = JobBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn cancel(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Json<JobBody>> {
    let missing = || Problem::not_found("job", &id);
    let job = app.store().cancel_job(&caller.tenant, id.parse().map_err(|_| missing())?).await?;
    Ok(Json(tell(&app, &caller, &job.ok_or_else(missing)?).await?))
}

/// Deletes a job and its pictures; one that runs is stopped.
#[utoipa::path(delete, path = "/v1/jobs/{id}", tag = "jobs", params(("id" = String, Path)), responses(
    (status = OK, body = DeletedBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Json<DeletedBody>> {
    let missing = || Problem::not_found("job", &id);
    let job = id.parse().map_err(|_| missing())?;
    if !app.parts.archive.delete_job(&caller.tenant, job).await? {
        return Err(missing());
    }
    Ok(Json(DeletedBody { id, deleted: true }))
}
