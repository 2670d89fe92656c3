//! Pictures, as jobs and the gallery list them.

use imagine_store::Image;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A picture of a job.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Output)]
pub struct OutputBody {
    pub id: String,
    pub index: u32,
    pub seed: u64,
    /// Of the bytes; signed for a quarter of an hour where the server wants keys.
    pub url: String,
    pub width: u32,
    pub height: u32,
    /// Cosine to each of the job's people; null where no face was found.
    pub likeness: Vec<Option<f32>>,
    #[schema(example = "png")]
    pub format: String,
    /// How many.
    pub bytes: u64,
}

impl OutputBody {
    pub(crate) fn of(image: &Image, link: &dyn Fn(&str) -> String) -> Self {
        let id = image.id.to_string();
        Self {
            url: link(&format!("/v1/images/{id}")),
            index: image.index,
            seed: image.seed,
            width: image.width,
            height: image.height,
            likeness: image.likeness.clone(),
            format: image.format.name().to_owned(),
            bytes: image.bytes,
            id,
        }
    }
}

/// A picture of the gallery.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Image)]
pub struct ImageBody {
    pub id: String,
    #[schema(value_type = String, example = "image")]
    pub object: &'static str,
    /// The job that made it.
    pub job: String,
    pub index: u32,
    pub seed: u64,
    pub width: u32,
    pub height: u32,
    pub prompt: String,
    /// Ids of the people it shows.
    pub people: Vec<String>,
    pub likeness: Vec<Option<f32>>,
    pub favourite: bool,
    pub created: i64,
    pub format: String,
    pub bytes: u64,
    pub url: String,
    /// Of a JPEG of at most 256 pixels a side.
    pub thumb_url: String,
}

impl ImageBody {
    pub(crate) fn of(image: &Image, link: &dyn Fn(&str) -> String) -> Self {
        let id = image.id.to_string();
        Self {
            object: "image",
            job: image.job.to_string(),
            index: image.index,
            seed: image.seed,
            width: image.width,
            height: image.height,
            prompt: image.prompt.clone(),
            people: image.people.iter().map(ToString::to_string).collect(),
            likeness: image.likeness.clone(),
            favourite: image.favourite,
            created: image.created.seconds(),
            format: image.format.name().to_owned(),
            bytes: image.bytes,
            url: link(&format!("/v1/images/{id}")),
            thumb_url: link(&format!("/v1/images/{id}/thumb")),
            id,
        }
    }
}

/// What of a picture can be changed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ImagePatch {
    pub favourite: bool,
}

/// Something was deleted.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Deleted)]
pub struct DeletedBody {
    pub id: String,
    /// Always true.
    pub deleted: bool,
}
