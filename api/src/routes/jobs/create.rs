//! `POST /v1/jobs`.

use axum::Json;
use axum::extract::multipart::Multipart;
use axum::extract::{FromRequest, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use imagine_store::{Idempotency, Job, NewJob, PersonId, Put};
use utoipa::ToSchema;

use super::handed_in::{Brought, JobFiles, PEOPLE};
use super::{Planned, plan, tell, upload_slot, wait_for};
use crate::app::App;
use crate::consent::GivenConsent;
use crate::error::{Code, Outcome, Problem, ProblemBody};
use crate::http::accept;
use crate::http::auth::Caller;
use crate::http::body::{JsonBody, content_type, parse};
use crate::http::form::{File, Form, FormLimits};
use crate::http::idempotency::{give_back, idempotency, reserve};
use crate::photos;
use crate::wire::card::CardPatch;
use crate::wire::job::{JobBody, JobRequest};

/// A job with files: photos of somebody who is not remembered, a picture to be changed, masks. Nothing of them is kept
/// beyond the job.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form is read by hand; this is its description")]
pub(crate) struct JobForm {
    /// JSON: the job, without `people`.
    job: JobRequest,
    /// Of somebody who is not remembered, in the place of `people`.
    #[schema(value_type = Vec<String>, format = Binary, required = false)]
    photo: Vec<String>,
    #[schema(required = false)]
    face: Vec<u32>,
    /// The picture that `edit` of the job changes.
    #[schema(rename = "edit.image", format = Binary, required = false)]
    edit_image: Option<String>,
    /// A PNG, white where it is drawn anew.
    #[schema(rename = "edit.mask", format = Binary, required = false)]
    edit_mask: Option<String>,
    /// A PNG, white where this one of `people` is; so for each, counted from 0.
    #[schema(rename = "people.0.mask", format = Binary, required = false)]
    person_mask: Option<String>,
    /// JSON: the consent of whoever is on `photo` or `edit.image`. Wanted where anybody is.
    #[schema(required = false)]
    consent: GivenConsent,
    /// JSON: what the person says of their identity card, where the server's model draws by cards.
    #[schema(required = false)]
    card: CardPatch,
}

/// Puts a job into the queue. With an `Idempotency-Key` header the same request, sent twice, makes one job. With
/// `Prefer: wait=N` the answer comes when the job has ended, or after N seconds (at most 60).
#[utoipa::path(post, path = "/v1/jobs", tag = "jobs",
    params(("Idempotency-Key" = Option<String>, Header, description = "At most 255 characters", min_length = 1, max_length = 255),
           ("Prefer" = Option<String>, Header, description = "`wait=N`")),
    request_body(content((JobRequest = "application/json"), (JobForm = "multipart/form-data"))), responses(
    (status = ACCEPTED, body = JobBody, headers(("Location" = String))),
    (status = OK, body = JobBody, description = "The job has ended within `Prefer: wait`"),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn create(State(app): State<App>, caller: Caller, request: Request) -> Outcome<Response> {
    app.accepting()?;
    let headers = request.headers().clone();
    if content_type(&headers) == "multipart/form-data" {
        return once(&app, &caller, &headers, request).await;
    }
    let JsonBody { value, digest } = JsonBody::<JobRequest>::from_request(request, &app).await?;
    let key = idempotency(&headers, digest)?;
    // A request that was made before has its job, however full the queue is.
    if key.is_none() {
        app.store().room(&caller.owner).await?;
    }
    let planned = plan(&app, &caller, value, Brought::default()).await?;
    let put = submit(&app, &caller, planned, key, digest).await?;
    answer(&app, &caller, &headers, put.into_inner()).await
}

/// A job with files.
async fn once(app: &App, caller: &Caller, headers: &HeaderMap, request: Request) -> Outcome<Response> {
    let slot = upload_slot(app)?;
    let wrong = |_| Problem::new(Code::InvalidJson, "the multipart form is malformed");
    let multipart = Multipart::from_request(request, app).await.map_err(wrong)?;
    let base = photos::limits(app);
    // A picture, its mask and one for each of the people; their bytes together are bounded by the request's.
    let form = Form::read(multipart, FormLimits { files: base.files + 2 + PEOPLE, ..base }).await?;
    let digest = form.digest();
    let key = idempotency(headers, digest)?;
    // A request that was made before needs no look at its photos.
    let job = match reserve(app, caller, key.as_ref()).await? {
        Some(id) => super::find(app, caller, &id).await?,
        None => match of_form(app, caller, form, key.clone(), digest).await {
            Ok(job) => job,
            Err(problem) => {
                give_back(app, caller, key.as_ref()).await;
                return Err(problem);
            }
        },
    };
    drop(slot);
    answer(app, caller, headers, job).await
}

async fn of_form(
    app: &App,
    caller: &Caller,
    mut form: Form,
    key: Option<Idempotency>,
    digest: [u8; 32],
) -> Outcome<Job> {
    // Before the photos are looked at, which takes a while.
    app.store().room(&caller.owner).await?;
    let text = form.text("job").ok_or_else(|| Problem::field("job", "send the job as JSON in \"job\""))?;
    let asked: JobRequest = parse(text.as_bytes())?;
    let files = JobFiles::of_form(&mut form)?;
    let photos = form.take_files("photo");
    if !photos.is_empty() && !asked.people.is_empty() {
        return Err(Problem::field("people", "either photos or \"people\", not both"));
    }
    let person = match photos.is_empty() && !files.is_empty() {
        true => None,
        false => Some(one_shot(app, caller, &form, photos).await?),
    };
    let made = match plan(app, caller, asked, Brought { person, files }).await {
        Ok(planned) => submit(app, caller, planned, key, digest).await,
        Err(problem) => Err(problem),
    };
    if !made.as_ref().is_ok_and(Put::is_new) {
        forget(app, caller, person).await;
    }
    made.map(Put::into_inner)
}

/// Somebody on photos, for this job alone.
async fn one_shot(app: &App, caller: &Caller, form: &Form, photos: Vec<File>) -> Outcome<PersonId> {
    let given = GivenConsent::read_once(form.text("consent"))?;
    let card = crate::routes::cards::of_form(app, form.text("card"))?;
    let faces = photos::face_choices(form, photos.len())?;
    crate::routes::people::enrol_once(app, caller, photos, &faces, given, card).await
}

/// Nobody's job needs this person after all.
pub(crate) async fn forget(app: &App, caller: &Caller, one_shot: Option<PersonId>) {
    let Some(person) = one_shot else { return };
    if let Err(error) = app.parts.archive.delete_person(&caller.tenant, person, false).await {
        tracing::warn!(%error, "a one-shot person could not be forgotten; the sweep will");
    }
}

/// Puts a planned job into the queue.
pub(crate) async fn submit(
    app: &App,
    caller: &Caller,
    planned: Planned,
    idempotency: Option<Idempotency>,
    digest: [u8; 32],
) -> Outcome<Put<Job>> {
    let Planned { input, given, expansion, priority, webhook, uploads } = planned;
    let made = app.store().create_job(NewJob {
        tenant: caller.tenant.clone(),
        owner: caller.owner.clone(),
        priority,
        input,
        given,
        expansion,
        body_sha256: Some(digest),
        webhook,
        idempotency,
    });
    let made = made.await;
    if !matches!(&made, Ok(Put::New(_))) && !uploads.is_empty() {
        app.parts.archive.delete_uploads(&uploads).await?;
    }
    Ok(made?)
}

async fn answer(app: &App, caller: &Caller, headers: &HeaderMap, job: Job) -> Outcome<Response> {
    let (wait, mut status, mut job) = (accept::wait(headers), StatusCode::ACCEPTED, job);
    if let Some(wait) = wait {
        job = wait_for(app, caller, job.id, wait).await?;
        if job.status.is_final() {
            status = StatusCode::OK;
        }
    }
    let body = tell(app, caller, &job).await?;
    let place = HeaderValue::from_str(&body.urls.get).ok();
    let mut response = (status, Json(body)).into_response();
    if let Some(place) = place {
        response.headers_mut().insert(header::LOCATION, place);
    }
    if wait.is_some() {
        response.headers_mut().insert("preference-applied", HeaderValue::from_static("wait"));
    }
    Ok(response)
}
