//! People: photos in, consent recorded, everything encrypted; and all of it gone when asked.

use axum::Json;
use axum::extract::multipart::Multipart;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use imagine_contract::CardChanges;
use imagine_store::{Basis, Consent, Idempotency, Millis, NewPerson, Person, PersonId};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::app::App;
use crate::consent::{ConsentBasis, GivenConsent};
use crate::error::{Outcome, Problem, ProblemBody};
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::form::{File, Form, FormLimits};
use crate::http::idempotency::{give_back, idempotency, reserve};
use crate::http::list::{List, Page, page_of};
use crate::http::query::Query;
use crate::photos;
use crate::routes::cards;
use crate::wire::card::CardPatch;
use crate::wire::person::{DeletedPersonBody, PersonBody, PersonPatch, PhotoCheck, RemovedBody};

/// A photo to be looked at.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form is read by hand; this is its description")]
pub(crate) struct PhotoForm {
    /// PNG, JPEG or WebP.
    #[schema(format = Binary)]
    photo: String,
    /// Which of several faces, the largest being 0.
    #[schema(required = false)]
    face: Option<u32>,
}

/// A person to be remembered.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form is read by hand; this is its description")]
pub(crate) struct PersonForm {
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// One to five photos: PNG, JPEG or WebP. The field is repeated.
    #[schema(value_type = Vec<String>, format = Binary)]
    photo: Vec<String>,
    /// For each photo, which of several faces.
    #[schema(required = false)]
    face: Vec<u32>,
    /// JSON: the person's consent.
    consent: GivenConsent,
    /// Keep the photos themselves, encrypted. They are deleted otherwise.
    #[schema(required = false)]
    keep_photos: bool,
    /// JSON: what the person says of their identity card, where the server's model draws by cards.
    #[schema(required = false)]
    card: CardPatch,
}

/// More photos of a person.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the form is read by hand; this is its description")]
pub(crate) struct MorePhotosForm {
    #[schema(value_type = Vec<String>, format = Binary)]
    photo: Vec<String>,
    #[schema(required = false)]
    face: Vec<u32>,
}

/// Looks at a photo and says whether it can be used. Nothing of it is kept.
#[utoipa::path(post, path = "/v1/photos/check", tag = "people",
    request_body(content = PhotoForm, content_type = "multipart/form-data"), responses(
    (status = OK, body = PhotoCheck), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn check(
    State(app): State<App>,
    _: Caller,
    multipart: Multipart,
) -> Outcome<Json<PhotoCheck>> {
    let _slot = super::jobs::upload_slot(&app)?;
    let limits = FormLimits { files: 1, ..photos::limits(&app) };
    let mut form = Form::read(multipart, limits).await?;
    let file = form.take_files("photo").pop();
    let file = file.ok_or_else(|| Problem::field("photo", "send one photo in the field \"photo\""))?;
    let face = photos::face_choices(&form, 1)?.pop().flatten();
    let reading = photos::read(&app, file.bytes, face).await?;
    Ok(Json(PhotoCheck::from(&reading)))
}

/// Remembers a person. With an `Idempotency-Key` header the same request, sent twice, makes one person.
#[utoipa::path(post, path = "/v1/people", tag = "people",
    params(("Idempotency-Key" = Option<String>, Header, description = "At most 255 characters", min_length = 1, max_length = 255)),
    request_body(content = PersonForm, content_type = "multipart/form-data"), responses(
    (status = CREATED, body = PersonBody, headers(("Location" = String))),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    multipart: Multipart,
) -> Outcome<Response> {
    app.accepting()?;
    let _slot = super::jobs::upload_slot(&app)?;
    let form = Form::read(multipart, photos::limits(&app)).await?;
    let key = idempotency(&headers, form.digest())?;
    // A request that was made before needs no look at its photos.
    let person = match reserve(&app, &caller, key.as_ref()).await? {
        Some(id) => find(&app, &caller, &id).await?,
        None => match enrol(&app, &caller, form, key.clone()).await {
            Ok(person) => person,
            Err(problem) => {
                give_back(&app, &caller, key.as_ref()).await;
                return Err(problem);
            }
        },
    };
    let mut response = (StatusCode::CREATED, Json(body(&app, &person))).into_response();
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/people/{}", person.id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

async fn enrol(app: &App, caller: &Caller, mut form: Form, key: Option<Idempotency>) -> Outcome<Person> {
    let given = GivenConsent::read(form.text("consent"))?;
    let name = name(form.text("name").unwrap_or_default())?;
    let keep = match form.text("keep_photos") {
        None | Some("" | "false" | "0") => false,
        Some("true" | "1" | "on") => true,
        Some(_) => return Err(Problem::field("keep_photos", "\"keep_photos\" is true or false")),
    };
    let card = cards::of_form(app, form.text("card"))?;
    let photos = photos::portraits(app, &mut form, keep).await?;
    let person = app.parts.archive.enrol(NewPerson {
        tenant: caller.tenant.clone(),
        name,
        consent: record(given),
        encoder: app.parts.faces.encoder().to_owned(),
        keep_photos: keep,
        one_shot: false,
        photos,
        card,
        idempotency: key,
    });
    let person = person.await?;
    tracing::info!(person = %person.id, "enrolled");
    Ok(person)
}

/// A person as their owner is told of them.
fn body(app: &App, person: &Person) -> PersonBody {
    PersonBody::of(person, cards::has_card(app, person))
}

/// Consent as it is kept, with the time.
pub(crate) fn record(given: GivenConsent) -> Consent {
    let basis = match given.basis {
        ConsentBasis::Myself => Basis::Myself,
        ConsentBasis::Authorised => Basis::Authorised,
    };
    Consent {
        basis,
        authorised_by: given.authorised_by,
        text_version: given.text_version,
        text_sha256: given.text_sha256.to_ascii_lowercase(),
        time: Millis::now(),
    }
}

fn name(text: &str) -> Outcome<String> {
    let name = text.trim();
    let plain = !name.chars().any(char::is_control);
    match name.chars().count() {
        1..=100 if plain => Ok(name.to_owned()),
        _ => Err(Problem::field("name", "a name has 1 to 100 characters")),
    }
}

/// People, newest first.
#[utoipa::path(get, path = "/v1/people", tag = "people", params(Page), responses(
    (status = OK, body = List<PersonBody>), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(page): Query<Page>,
) -> Outcome<Json<List<PersonBody>>> {
    let page = page_of(page.limit, page.after)?;
    let found = app.parts.archive.people(&caller.tenant, &page).await?;
    Ok(Json(List::new(found.data.iter().map(|person| body(&app, person)).collect(), found.next)))
}

/// One person.
#[utoipa::path(get, path = "/v1/people/{id}", tag = "people", params(("id" = String, Path)), responses(
    (status = OK, body = PersonBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn get(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Json<PersonBody>> {
    Ok(Json(body(&app, &find(&app, &caller, &id).await?)))
}

/// Renames a person.
#[utoipa::path(patch, path = "/v1/people/{id}", tag = "people", params(("id" = String, Path)), request_body = PersonPatch, responses(
    (status = OK, body = PersonBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn patch(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody { value, .. }: JsonBody<PersonPatch>,
) -> Outcome<Json<PersonBody>> {
    let person = find(&app, &caller, &id).await?;
    let renamed = app.parts.archive.rename(&caller.tenant, person.id, &name(&value.name)?).await?;
    Ok(Json(body(&app, &renamed)))
}

/// Adds photos to a person; they must show the same face.
#[utoipa::path(post, path = "/v1/people/{id}/photos", tag = "people", params(("id" = String, Path)),
    request_body(content = MorePhotosForm, content_type = "multipart/form-data"), responses(
    (status = OK, body = PersonBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn add_photos(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    multipart: Multipart,
) -> Outcome<Json<PersonBody>> {
    let person = find(&app, &caller, &id).await?;
    let encoder = app.parts.faces.encoder();
    if person.encoder != encoder {
        let detail =
            format!("this person is known by the face encoder {}, this server has {encoder}", person.encoder);
        return Err(Problem::field("photo", detail));
    }
    let _slot = super::jobs::upload_slot(&app)?;
    let mut form = Form::read(multipart, photos::limits(&app)).await?;
    let files = form.take_files("photo");
    let most = app.config.limits.photos;
    if person.photos.len() + files.len() > most {
        let detail =
            format!("a person has {most} photos at most, this one has {} already", person.photos.len());
        return Err(Problem::field("photo", detail));
    }
    let faces = photos::face_choices(&form, files.len())?;
    let known = app.parts.archive.faces(&caller.tenant, person.id).await?;
    let photos = photos::portraits_of(&app, files, &faces, person.keep_photos, &known).await?;
    let person = app.parts.archive.add_photos(&caller.tenant, person.id, photos).await?;
    Ok(Json(body(&app, &person)))
}

/// What becomes of the pictures of a person who is deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PicturesFate {
    #[default]
    Keep,
    Delete,
}

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct DeleteQuery {
    /// What becomes of the pictures that were made.
    #[param(inline)]
    pub pictures: Option<PicturesFate>,
}

/// Forgets a person: the key to all that is known of them is destroyed, and everything is deleted.
#[utoipa::path(delete, path = "/v1/people/{id}", tag = "people", params(("id" = String, Path), DeleteQuery), responses(
    (status = OK, body = DeletedPersonBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<DeleteQuery>,
) -> Outcome<Json<DeletedPersonBody>> {
    let missing = || Problem::not_found("person", &id);
    let person: PersonId = id.parse().map_err(|_| missing())?;
    let pictures = query.pictures == Some(PicturesFate::Delete);
    let removed =
        app.parts.archive.delete_person(&caller.tenant, person, pictures).await?.ok_or_else(missing)?;
    tracing::info!(%person, pictures, "forgotten");
    let (photos, embeddings) = (removed.photos, removed.embeddings);
    let removed = RemovedBody { photos, embeddings, pictures: removed.pictures, jobs: removed.jobs };
    Ok(Json(DeletedPersonBody { id, deleted: true, removed }))
}

/// A person of this caller.
pub(crate) async fn find(app: &App, caller: &Caller, id: &str) -> Outcome<Person> {
    let missing = || Problem::not_found("person", id);
    let person = app.parts.archive.person(&caller.tenant, id.parse().map_err(|_| missing())?).await?;
    person.filter(|person| !person.one_shot).ok_or_else(missing)
}

/// A person who is known for one job only.
pub(crate) async fn enrol_once(
    app: &App,
    caller: &Caller,
    files: Vec<File>,
    faces: &[Option<usize>],
    given: GivenConsent,
    card: CardChanges,
) -> Outcome<PersonId> {
    let photos = photos::portraits_of(app, files, faces, false, &[]).await?;
    let person = app.parts.archive.enrol(NewPerson {
        tenant: caller.tenant.clone(),
        name: String::new(),
        consent: record(given),
        encoder: app.parts.faces.encoder().to_owned(),
        keep_photos: false,
        one_shot: true,
        photos,
        card,
        idempotency: None,
    });
    Ok(person.await?.id)
}
