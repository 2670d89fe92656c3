//! Models, styles and limits: what the server has and takes.

use imagine_contract::{Dialect, ModelInfo};
use serde::Serialize;
use utoipa::ToSchema;

/// A model that jobs can be drawn with, as whoever starts the service describes it.
#[derive(Clone, Debug)]
pub struct ModelCard {
    pub info: ModelInfo,
    /// How its prompts are put together.
    pub dialect: Dialect,
    /// Names of the schedulers that it can be sampled with.
    pub schedulers: Vec<String>,
    /// Widths and heights that it draws well, the best first.
    pub sizes: Vec<[u32; 2]>,
    /// Of the checkpoint; Unix seconds.
    pub created: i64,
    /// Drawn with where a request names none.
    pub default: bool,
}

/// A model, as OpenAI's clients list them, with more.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Model)]
pub struct ModelBody {
    pub id: String,
    #[schema(value_type = String, example = "model")]
    pub object: &'static str,
    pub created: i64,
    pub owned_by: String,
    pub width: u32,
    pub height: u32,
    /// By so much a picture that is asked for without a size is wider for every person beyond the first.
    pub width_per_person: u32,
    /// Widths and heights that it draws well, e.g. `512x768`.
    pub sizes: Vec<String>,
    /// Sides must be multiples of so many pixels.
    pub side_multiple: u32,
    pub steps: u32,
    pub guidance_scale: f64,
    pub scheduler: String,
    pub schedulers: Vec<String>,
    /// How it knows people; null where it knows none.
    pub identity: Option<IdentityBody>,
    /// It draws only into a masked part of a given picture.
    pub inpainting: bool,
    pub default: bool,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ModelIdentity)]
pub struct IdentityBody {
    #[schema(example = "faceid")]
    pub kind: String,
    /// Several people can be told apart by boxes or masks.
    pub regions: bool,
    /// Groups of the identity card's tokens whose strengths a job can set (`card_scale`).
    #[schema(example = json!(["descriptor", "colours", "traits"]))]
    pub groups: Vec<String>,
    /// It looks at the face itself, not only at numbers about it.
    pub face: bool,
}

impl From<&ModelCard> for ModelBody {
    fn from(card: &ModelCard) -> Self {
        let info = &card.info;
        let identity = info.identity.as_ref().map(|needs| IdentityBody {
            kind: needs.kind.clone(),
            regions: needs.regions,
            groups: needs.groups.clone(),
            face: needs.face_side.is_some(),
        });
        Self {
            id: info.name.clone(),
            object: "model",
            created: card.created,
            owned_by: "imagine".into(),
            width: info.width,
            height: info.height,
            width_per_person: info.width_per_person,
            sizes: card.sizes.iter().map(|[width, height]| format!("{width}x{height}")).collect(),
            side_multiple: info.side_multiple,
            steps: info.steps,
            guidance_scale: info.guidance_scale,
            scheduler: info.scheduler.clone(),
            schedulers: card.schedulers.clone(),
            identity,
            inpainting: info.inpainting,
            default: card.default,
        }
    }
}

/// A way to draw, to choose from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Style {
    /// For `style` of jobs and expansions.
    pub id: String,
    pub name: String,
    /// What it adds to a prompt.
    pub text: String,
}

/// What the server takes, and how long it keeps things.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
pub struct LimitsBody {
    /// Bytes of one photo.
    pub photo_bytes: usize,
    /// Photos of a person.
    pub photos: usize,
    /// Pictures of a job.
    pub n: u32,
    /// Sizes that the default model draws well.
    pub sizes: Vec<String>,
    /// Pixels along one side.
    pub side: u32,
    pub steps: u32,
    pub prompt_chars: usize,
    pub batch_bytes: usize,
    pub batch_lines: usize,
    pub requests_per_minute: u32,
    /// Prompts can be expanded here.
    pub expansion: bool,
    /// Ideas can be looked up on the web where `ground` asks for it.
    pub search: bool,
    /// Prompts are expanded where a job does not say.
    pub expand_by_default: bool,
    pub keep: KeepBody,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Keep)]
pub struct KeepBody {
    /// Photos are deleted as soon as they have been looked at, unless `keep_photos` asks for them.
    pub photos: bool,
    /// Days after which finished jobs and their pictures are deleted; 0 keeps them.
    pub jobs_days: u32,
    /// Hours after which what was read off a one-shot photo is gone at the latest.
    pub one_shot_hours: u32,
}
