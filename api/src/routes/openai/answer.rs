//! Pictures as OpenAI's clients read them.

use axum::http::{HeaderMap, header};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imagine_store::{Image, Job};
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::{App, now};
use crate::error::Outcome;
use crate::http::auth::Caller;

/// The pictures.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ImagesResponse {
    pub created: i64,
    pub data: Vec<ImageData>,
    #[schema(example = "512x512")]
    pub size: Option<String>,
    pub output_format: String,
    /// An extension: the job that made them.
    pub job: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct ImageData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub b64_json: Option<String>,
    /// Holds for a quarter of an hour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// What the prompt was expanded to.
    pub revised_prompt: Option<String>,
    /// An extension.
    pub seed: u64,
    /// An extension: cosine to each person, null where no face was found.
    pub likeness: Vec<Option<f32>>,
}

/// How the client reaches this server.
pub(super) fn base(app: &App, headers: &HeaderMap) -> String {
    if let Some(url) = &app.config.server.public_url {
        return url.trim_end_matches('/').to_owned();
    }
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    format!("http://{}", host.map_or_else(|| app.config.server.listen.to_string(), str::to_owned))
}

pub(super) async fn images(
    app: &App,
    caller: &Caller,
    job: &Job,
    urls: bool,
    base: &str,
) -> Outcome<ImagesResponse> {
    let mut data = Vec::with_capacity(job.outputs.len());
    for image in &job.outputs {
        let (mut b64_json, mut url) = (None, None);
        if urls {
            // Whoever is handed the link has no key, even where this server wants none from this machine.
            let path = app.signer.sign(&format!("/v1/images/{}", image.id), &caller.tenant, now());
            url = Some(format!("{base}{path}"));
        } else {
            b64_json = Some(encoded(app, image).await?);
        }
        let revised_prompt = revised(job);
        data.push(ImageData {
            b64_json,
            url,
            revised_prompt,
            seed: image.seed,
            likeness: image.likeness.clone(),
        });
    }
    let first = job.outputs.first();
    Ok(ImagesResponse {
        created: job.created.seconds(),
        data,
        size: first.map(size),
        output_format: job.input.output_format.name().to_owned(),
        job: job.id.to_string(),
    })
}

pub(super) async fn encoded(app: &App, image: &Image) -> Outcome<String> {
    Ok(STANDARD.encode(app.parts.archive.blobs.get(&image.blob).await?))
}

pub(super) fn size(image: &Image) -> String {
    format!("{}x{}", image.width, image.height)
}

pub(super) fn revised(job: &Job) -> Option<String> {
    job.expansion.as_ref()?.get("prompt")?.as_str().map(str::to_owned)
}
