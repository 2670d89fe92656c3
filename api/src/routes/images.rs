//! Pictures.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use imagine_store::{BlobKey, Image, ImageFilter};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::app::App;
use crate::consent::hex;
use crate::error::{Outcome, Problem, ProblemBody};
use crate::http::auth::Caller;
use crate::http::body::JsonBody;
use crate::http::list::{List, page_of};
use crate::http::query::Query;
use crate::http::range::{Wanted, wanted};
use crate::wire::image::{DeletedBody, ImageBody, ImagePatch};

/// Which pictures.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImageQuery {
    /// Id of a person that they show.
    pub person: Option<String>,
    /// Words of the prompt, all of which are found in it.
    pub q: Option<String>,
    pub favourite: Option<bool>,
    /// How many, 1 to 200; 20 if left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// Pictures, newest first.
#[utoipa::path(get, path = "/v1/images", tag = "images", params(ImageQuery), responses(
    (status = OK, body = List<ImageBody>), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    Query(query): Query<ImageQuery>,
) -> Outcome<Json<List<ImageBody>>> {
    let person = super::optional_id(query.person.as_deref(), "person")?;
    let filter = ImageFilter { person, favourite: query.favourite, text: query.q };
    let page = page_of(query.limit, query.after)?;
    let found = app.store().images(&caller.tenant, &filter, &page).await?;
    let link = app.link(&caller);
    Ok(Json(List::new(found.data.iter().map(|image| ImageBody::of(image, &link)).collect(), found.next)))
}

/// How a picture is to be had.
#[derive(Clone, Copy, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct BytesQuery {
    /// Rather than the bytes, an address in the object storage from which anyone may read them for five minutes. Pictures
    /// that lie in a folder of the server have none, and are sent.
    #[serde(default)]
    #[param(default = false)]
    pub link: bool,
}

/// How long such an address is good for.
const LINK_TIME: Duration = Duration::from_secs(300);

/// A picture's bytes, whole or in part.
#[utoipa::path(get, path = "/v1/images/{id}", tag = "images", params(("id" = String, Path), BytesQuery), responses(
    (status = OK, content((Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp"))),
    (status = PARTIAL_CONTENT, content((Vec<u8> = "image/png"), (Vec<u8> = "image/jpeg"), (Vec<u8> = "image/webp"))),
    (status = TEMPORARY_REDIRECT, description = "To the address, where `link` asks for it", headers(("Location" = String))),
    (status = NOT_MODIFIED, description = "The client has it already"),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn bytes(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    Query(query): Query<BytesQuery>,
    headers: HeaderMap,
) -> Outcome<Response> {
    let image = find(&app, &caller, &id).await?;
    if query.link
        && let Some(address) = app.parts.archive.blobs.presigned(&image.blob, LINK_TIME).await?
    {
        // Not to be kept: the address runs out, and who has it needs no key.
        let headers = [(header::LOCATION, address.as_str()), (header::CACHE_CONTROL, "no-store")];
        return Ok((StatusCode::TEMPORARY_REDIRECT, headers).into_response());
    }
    let name = format!("{id}.{}", image.format.name());
    let tag = format!("\"{}\"", hex(&image.sha256));
    send(&app, &image.blob, image.bytes, image.format.content_type(), &tag, &name, &headers).await
}

/// A JPEG of at most 256 pixels a side.
#[utoipa::path(get, path = "/v1/images/{id}/thumb", tag = "images", params(("id" = String, Path)), responses(
    (status = OK, body = Vec<u8>, content_type = "image/jpeg"),
    (status = PARTIAL_CONTENT, body = Vec<u8>, content_type = "image/jpeg"),
    (status = NOT_MODIFIED, description = "The client has it already"),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn thumb(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Outcome<Response> {
    let image = find(&app, &caller, &id).await?;
    let info = app.parts.archive.blobs.head(&image.thumb).await?;
    let info = info.ok_or_else(|| Problem::not_found("image", &id))?;
    let tag = format!("\"{}-thumb\"", hex(&image.sha256));
    send(&app, &image.thumb, info.bytes, "image/jpeg", &tag, &format!("{id}-thumb.jpeg"), &headers).await
}

/// What is known of a picture.
#[utoipa::path(get, path = "/v1/images/{id}/info", tag = "images", params(("id" = String, Path)), responses(
    (status = OK, body = ImageBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn info(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Json<ImageBody>> {
    let image = find(&app, &caller, &id).await?;
    Ok(Json(ImageBody::of(&image, &app.link(&caller))))
}

/// Marks a picture as a favourite, or not.
#[utoipa::path(patch, path = "/v1/images/{id}", tag = "images", params(("id" = String, Path)), request_body = ImagePatch, responses(
    (status = OK, body = ImageBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn patch(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    JsonBody { value, .. }: JsonBody<ImagePatch>,
) -> Outcome<Json<ImageBody>> {
    let image = find(&app, &caller, &id).await?;
    let changed = app.store().set_favourite(&caller.tenant, image.id, value.favourite).await?;
    let image = changed.ok_or_else(|| Problem::not_found("image", &id))?;
    Ok(Json(ImageBody::of(&image, &app.link(&caller))))
}

/// Deletes a picture.
#[utoipa::path(delete, path = "/v1/images/{id}", tag = "images", params(("id" = String, Path)), responses(
    (status = OK, body = DeletedBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn delete(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Outcome<Json<DeletedBody>> {
    let image = find(&app, &caller, &id).await?;
    if !app.parts.archive.delete_image(&caller.tenant, image.id).await? {
        return Err(Problem::not_found("image", &id));
    }
    Ok(Json(DeletedBody { id, deleted: true }))
}

async fn find(app: &App, caller: &Caller, id: &str) -> Outcome<Image> {
    let missing = || Problem::not_found("image", id);
    let image = app.store().image(&caller.tenant, id.parse().map_err(|_| missing())?).await?;
    image.ok_or_else(missing)
}

async fn send(
    app: &App,
    key: &BlobKey,
    size: u64,
    kind: &'static str,
    tag: &str,
    name: &str,
    request: &HeaderMap,
) -> Outcome<Response> {
    let blobs = &app.parts.archive.blobs;
    let (status, range, bytes) = match wanted(request, size, tag)? {
        Wanted::Nothing => (StatusCode::NOT_MODIFIED, None, Bytes::new()),
        Wanted::Whole => (StatusCode::OK, None, blobs.get(key).await?),
        Wanted::Part(part) => {
            let bytes = blobs.range(key, part.clone()).await?;
            (
                StatusCode::PARTIAL_CONTENT,
                Some(format!("bytes {}-{}/{size}", part.start, part.end - 1)),
                bytes,
            )
        }
    };
    let mut response = (status, Body::from(bytes)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let disposition = format!("inline; filename=\"{name}\"");
    let texts = [
        (header::ETAG, Some(tag)),
        (header::CONTENT_RANGE, range.as_deref()),
        (header::CONTENT_DISPOSITION, Some(disposition.as_str())),
    ];
    for (name, text) in texts {
        if let Some(value) = text.and_then(|text| HeaderValue::from_str(text).ok()) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}
