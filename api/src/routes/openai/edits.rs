//! `POST /v1/images/edits`: selfies in, pictures of that person out; with a mask, a picture is changed where it says.

use axum::extract::State;
use axum::extract::multipart::Multipart;
use axum::http::HeaderMap;
use axum::response::Response;
use imagine_store::{EditInput, EditSource, PersonId};
use serde::Deserialize;
use utoipa::ToSchema;

use super::answer::ImagesResponse;
use super::request::{ImagesRequest, RawRequest};
use super::{Beside, queue, repeated, stream};
use crate::app::App;
use crate::consent::{GivenConsent, consents};
use crate::error::{Code, Outcome, Problem, ProblemBody};
use crate::http::auth::Caller;
use crate::http::form::{File, Form, FormLimits};
use crate::routes::jobs::{forget, upload_slot};
use crate::routes::people;
use crate::{mask, photos};

/// The fields of a generation, with photos.
#[derive(ToSchema, Deserialize)]
#[expect(dead_code, reason = "the form is read by hand; this is its description")]
pub(crate) struct EditsForm {
    /// Selfies of one person; with a mask, the picture that is changed.
    #[schema(value_type = Vec<String>, format = Binary)]
    image: Vec<String>,
    /// A PNG that is transparent where the picture is drawn anew.
    #[schema(required = false, format = Binary)]
    mask: Option<String>,
    /// An extension: JSON, the person's consent. Wanted unless the server is set up to do without.
    consent: GivenConsent,
    #[serde(flatten)]
    fields: RawRequest,
}

/// How far a masked part is forgotten.
const STRENGTH: f64 = 0.9;

/// Pictures of the person on the selfies, who is not remembered. With `mask` the first image is changed where the mask
/// is transparent, keeping the face that is in it. With `stream` the answer is events: `image_edit.partial_image`,
/// `image_edit.completed`.
#[utoipa::path(post, path = "/v1/images/edits", tag = "openai",
    request_body(content = EditsForm, content_type = "multipart/form-data"), responses(
    (status = OK, content((ImagesResponse = "application/json"), (String = "text/event-stream"))),
    (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn edits(
    State(app): State<App>,
    caller: Caller,
    headers: HeaderMap,
    multipart: Multipart,
) -> Outcome<Response> {
    app.accepting()?;
    let (request, job) = {
        let _slot = upload_slot(&app)?;
        let base = photos::limits(&app);
        let mut form = Form::read(multipart, FormLimits { files: base.files + 1, ..base }).await?;
        let digest = form.digest();
        let request = ImagesRequest::of_form(&form)?;
        let job = match repeated(&app, &caller, &headers, &digest).await? {
            Some(job) => job,
            None => {
                app.store().room(&caller.owner).await?;
                let beside = beside(&app, &caller, &mut form, request.names_people()).await?;
                queue(&app, &caller, &headers, &request, beside, digest).await?
            }
        };
        (request, job)
    };
    super::answer(app, caller, &headers, &request, job, stream::EDIT).await
}

async fn beside(app: &App, caller: &Caller, form: &mut Form, named: bool) -> Outcome<Beside> {
    let images = form.take_files("image");
    if images.is_empty() {
        return Err(Problem::field("image", "send one to five photos in \"image\""));
    }
    let given = given(app, form)?;
    let Some(mask) = form.take_files("mask").pop() else {
        if named {
            return Err(Problem::field("person", "either photos or \"person\", not both"));
        }
        return Ok(Beside { one_shot: Some(enrol(app, caller, images, given).await?), edit: None });
    };
    masked(app, caller, images, mask, given, named).await
}

async fn masked(
    app: &App,
    caller: &Caller,
    images: Vec<File>,
    mask: File,
    given: GivenConsent,
    named: bool,
) -> Outcome<Beside> {
    let mask = mask::of_alpha(app, mask.bytes).await?;
    let Some(first) = images.first() else { return Err(Problem::field("image", "there is no image")) };
    let picture = photos::picture(app, first.bytes.clone()).await?;
    let one_shot =
        if picture.usable && !named { Some(enrol(app, caller, images, given).await?) } else { None };
    let stored = async {
        let source = app.parts.archive.put_upload(&caller.tenant, &picture.png).await?;
        let mask = app.parts.archive.put_upload(&caller.tenant, &mask).await?;
        Ok::<_, Problem>((source, mask))
    };
    match stored.await {
        Ok((source, mask)) => {
            let source = EditSource::Upload(source);
            let edit =
                EditInput { source, strength: STRENGTH, mask: Some(mask), keep_face: false, feather: None };
            Ok(Beside { one_shot, edit: Some(edit) })
        }
        Err(problem) => {
            forget(app, caller, one_shot).await;
            Err(problem)
        }
    }
}

async fn enrol(app: &App, caller: &Caller, images: Vec<File>, given: GivenConsent) -> Outcome<PersonId> {
    people::enrol_once(app, caller, images, &[], given, Default::default())
        .await
        .map_err(|problem| problem.param("image"))
}

/// Consent from the field `consent`, as JSON or in OpenAI's way of sending objects in forms (`consent[basis]`).
fn given(app: &App, form: &Form) -> Outcome<GivenConsent> {
    let mut object = serde_json::Map::new();
    for (name, text) in form.texts() {
        if let Some(key) = name.strip_prefix("consent[").and_then(|rest| rest.strip_suffix(']')) {
            let value = match text.to_ascii_lowercase().as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ => text.clone().into(),
            };
            object.insert(key.to_owned(), value);
        }
    }
    let joined = (!object.is_empty()).then(|| serde_json::Value::Object(object).to_string());
    let text = form.text("consent").or(joined.as_deref());
    if text.is_none() && app.config.openai.openai_consent {
        let text = consents().once;
        let basis = crate::consent::ConsentBasis::Authorised;
        let by = Some("the operator of this server (openai_consent)".to_owned());
        let (text_version, text_sha256) = (text.version, text.sha256);
        return Ok(GivenConsent { basis, authorised_by: by, text_version, text_sha256, agreed: true });
    }
    GivenConsent::read_once(text).map_err(|problem| match problem.code {
        Code::ConsentRequired => problem,
        _ => problem.param("consent"),
    })
}
