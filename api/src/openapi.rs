//! The routes put together, and what they say of themselves.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use axum::{Extension, Router};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{DefaultPredicate, NotForContentType, Predicate};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::error::{Code, Problem};
use crate::http::body::JSON_BYTES;
use crate::http::{auth, patience, request};
use crate::routes::docs::Described;
use crate::routes::{batches, cards, docs, health, images, jobs, models, openai, people, prompts};
use crate::{page, photos};

/// Every documented route. Those below `/v1` ask who calls.
fn documented(app: &App) -> OpenApiRouter<App> {
    let limits = &app.config.limits;
    let photos = DefaultBodyLimit::max(photos::body_limit(app, limits.photos));
    let with_photos = OpenApiRouter::new()
        .routes(routes!(people::list, people::create))
        .routes(routes!(people::add_photos))
        .layer(photos);
    let edits = OpenApiRouter::new()
        .routes(routes!(jobs::list, jobs::create))
        .routes(routes!(openai::edits))
        .layer(DefaultBodyLimit::max(photos::body_limit(app, limits.photos + 1)));
    let one_photo = OpenApiRouter::new()
        .routes(routes!(people::check))
        .layer(DefaultBodyLimit::max(photos::body_limit(app, 1)));
    let files = OpenApiRouter::new()
        .routes(routes!(batches::list, batches::create))
        .layer(DefaultBodyLimit::max(limits.batch_bytes + (1 << 20)));
    let plain = OpenApiRouter::new()
        .routes(routes!(people::get, people::patch, people::delete))
        .routes(routes!(cards::get, cards::patch))
        .routes(routes!(jobs::get, jobs::delete))
        .routes(routes!(jobs::cancel))
        .routes(routes!(jobs::events))
        .routes(routes!(images::list))
        .routes(routes!(images::bytes, images::patch, images::delete))
        .routes(routes!(images::thumb))
        .routes(routes!(images::info))
        .routes(routes!(prompts::expand))
        .routes(routes!(prompts::assemble_parts))
        .routes(routes!(batches::get))
        .routes(routes!(batches::cancel))
        .routes(routes!(batches::results))
        .routes(routes!(batches::pictures))
        .routes(routes!(batches::events))
        .routes(routes!(openai::generations))
        .routes(routes!(models::models))
        .routes(routes!(models::model))
        .routes(routes!(models::model_of_repository))
        .routes(routes!(models::styles))
        .routes(routes!(models::limits))
        .routes(routes!(models::consent))
        .layer(DefaultBodyLimit::max(JSON_BYTES));
    let asked = with_photos.merge(edits).merge(one_photo).merge(files).merge(plain);
    let asked = asked.layer(from_fn_with_state(app.clone(), auth::authenticate));
    OpenApiRouter::with_openapi(head())
        .merge(asked)
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

fn head() -> OpenApi {
    let description = "Pictures of people, from a few photos and a sentence.\n\n\
        Objects belong to the key that made them; to other keys they do not exist. Times are Unix seconds, sizes pixels. Lists \
        come newest first, a page at a time: `next` is the following page's `after`. Every answer has an `x-request-id`. \
        Problems are described below.";
    let info = InfoBuilder::new()
        .title("Imagine")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(description))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
        .build();
    let tags = docs::TAGS.into_iter().map(|(name, words)| {
        utoipa::openapi::tag::TagBuilder::new().name(name).description(Some(words)).build()
    });
    // On a loopback address the key may be left out.
    let security = [SecurityRequirement::default(), SecurityRequirement::new("key", Vec::<String>::new())];
    OpenApiBuilder::new().info(info).tags(Some(tags.collect::<Vec<_>>())).security(Some(security)).build()
}

/// The description, and the routes themselves.
fn split(app: &App) -> (Router<App>, OpenApi) {
    let (router, mut api) = documented(app).split_for_parts();
    let bearer =
        HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("An API key: `imk_…`")).build();
    for (path, item) in &mut api.paths.paths {
        let operations = [
            ("get", &mut item.get),
            ("post", &mut item.post),
            ("patch", &mut item.patch),
            ("delete", &mut item.delete),
        ];
        for (method, operation) in operations {
            // Functions in several modules share a name; ids must not.
            let words = path.split(['/', '.', '{', '}']).filter(|word| !word.is_empty() && *word != "v1");
            let id = [method].into_iter().chain(words).collect::<Vec<_>>().join("_");
            operation.iter_mut().for_each(|operation| operation.operation_id = Some(id.clone()));
        }
    }
    api.components.get_or_insert_default().add_security_scheme("key", SecurityScheme::Http(bearer));
    (router, api)
}

/// The whole service.
pub(crate) fn router(app: App) -> Router {
    let (router, api) = split(&app);
    let json = serde_json::to_value(&api).unwrap_or_default();
    let described = Described { json: json.to_string(), html: docs::html(&json) };
    let worth_it = DefaultPredicate::new()
        .and(NotForContentType::const_new("application/zip"))
        .and(NotForContentType::const_new("application/octet-stream"));
    router
        .route("/v1/openapi.json", get(docs::json))
        .route("/docs", get(docs::page))
        .route("/docs.css", get(docs::style))
        .route("/", get(page::index))
        .route("/{*path}", get(page::file).fallback(page::nothing))
        .layer(Extension(Arc::new(described)))
        .layer(CompressionLayer::new().compress_when(worth_it))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            axum::response::IntoResponse::into_response(Problem::new(
                Code::Internal,
                "the request could not be answered",
            ))
        }))
        .layer(from_fn_with_state(app.clone(), patience::wait_for_bodies))
        .layer(from_fn_with_state(app.clone(), request::finish))
        .with_state(app)
}
