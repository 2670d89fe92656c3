//! What the server has and takes.

use axum::Json;
use axum::extract::{Path, State};

use crate::app::App;
use crate::consent::ConsentTexts;
use crate::error::{Outcome, Problem, ProblemBody};
use crate::http::list::List;
use crate::wire::model::{KeepBody, LimitsBody, ModelBody, Style};

/// The models that jobs can be drawn with.
#[utoipa::path(get, path = "/v1/models", tag = "models", responses(
    (status = OK, body = List<ModelBody>), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn models(State(app): State<App>) -> Json<List<ModelBody>> {
    Json(List::new(app.parts.models.iter().map(Into::into).collect(), None))
}

/// One model. Names that OpenAI's clients have built in are answered with what is drawn in their place.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "models", params(("id" = String, Path)), responses(
    (status = OK, body = ModelBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn model(State(app): State<App>, Path(id): Path<String>) -> Outcome<Json<ModelBody>> {
    named(&app, id)
}

/// One model that is called by its repository. Clients put the name into the path as it is.
#[utoipa::path(get, path = "/v1/models/{owner}/{name}", tag = "models",
    params(("owner" = String, Path), ("name" = String, Path)), responses(
    (status = OK, body = ModelBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn model_of_repository(
    State(app): State<App>,
    Path((owner, name)): Path<(String, String)>,
) -> Outcome<Json<ModelBody>> {
    named(&app, format!("{owner}/{name}"))
}

fn named(app: &App, id: String) -> Outcome<Json<ModelBody>> {
    let name = (!app.config.openai.openai_aliases.contains(&id)).then_some(id.as_str());
    let missing = || Problem::not_found("model", &id).specific("model_not_found");
    let card = app.model(name).ok_or_else(missing)?;
    Ok(Json(ModelBody { id: id.clone(), ..card.into() }))
}

/// Styles to choose from.
#[utoipa::path(get, path = "/v1/styles", tag = "models", responses(
    (status = OK, body = List<Style>), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn styles(State(app): State<App>) -> Json<List<Style>> {
    Json(List::new(app.parts.styles.clone(), None))
}

/// What the server takes, and how long it keeps things.
#[utoipa::path(get, path = "/v1/limits", tag = "models", responses(
    (status = OK, body = LimitsBody), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn limits(State(app): State<App>) -> Json<LimitsBody> {
    let (limits, keep) = (&app.config.limits, &app.config.keep);
    let sizes = app.model(None).map_or(&[][..], |card| &card.sizes);
    Json(LimitsBody {
        photo_bytes: limits.photo_bytes,
        photos: limits.photos,
        n: limits.pictures,
        sizes: sizes.iter().map(|[width, height]| format!("{width}x{height}")).collect(),
        side: limits.side,
        steps: limits.steps,
        prompt_chars: limits.prompt_chars,
        batch_bytes: limits.batch_bytes,
        batch_lines: limits.batch_lines,
        requests_per_minute: limits.requests_per_minute,
        expansion: app.parts.expander.is_some(),
        search: app.parts.expander.as_ref().is_some_and(|expander| expander.can_ground()),
        expand_by_default: app.parts.expander.is_some() && app.config.expand.expand_by_default,
        keep: KeepBody {
            photos: false,
            jobs_days: keep.keep_jobs_days,
            one_shot_hours: keep.keep_one_shot_hours,
        },
    })
}

/// The texts that a person agrees to before photos are taken.
#[utoipa::path(get, path = "/v1/consent", tag = "people", responses(
    (status = OK, body = ConsentTexts), (status = "default", body = ProblemBody, content_type = "application/problem+json")))]
pub(crate) async fn consent() -> Json<ConsentTexts> {
    Json(crate::consent::consents())
}
