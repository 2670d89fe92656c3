//! People and their photos.

use imagine_contract::{FaceBox, PhotoProblem, PhotoReading};
use imagine_store::{Basis, Consent, Person, PhotoInfo};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::consent::ConsentBasis;

/// A face in a photo, in pixels of the upright photo.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = Face)]
pub struct FaceBody {
    /// For `face`; the largest is 0.
    pub index: usize,
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

/// Something that stands in the way of a good likeness.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PhotoProblem)]
pub struct ProblemOfPhoto {
    #[schema(example = "too_dark")]
    pub code: String,
    /// What to do about it.
    pub advice: String,
    /// The photo cannot be used.
    pub blocks: bool,
}

impl From<&PhotoProblem> for ProblemOfPhoto {
    fn from(problem: &PhotoProblem) -> Self {
        Self { code: problem.code.clone(), advice: problem.advice.clone(), blocks: problem.blocks }
    }
}

/// What was seen in a photo. Nothing of it was kept.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct PhotoCheck {
    /// Of the upright photo, in pixels.
    pub width: u32,
    pub height: u32,
    /// The largest first.
    pub faces: Vec<FaceBody>,
    /// Index of the face that would be used.
    pub chosen: Option<usize>,
    pub usable: bool,
    /// In the order in which they should be mended.
    pub problems: Vec<ProblemOfPhoto>,
}

impl From<&PhotoReading> for PhotoCheck {
    fn from(reading: &PhotoReading) -> Self {
        let face = |(index, face): (usize, &FaceBox)| {
            let FaceBox { x, y, width, height } = *face;
            FaceBody { index, x, y, width, height }
        };
        Self {
            width: reading.pixels.width,
            height: reading.pixels.height,
            faces: reading.faces.iter().enumerate().map(face).collect(),
            chosen: reading.face.as_ref().map(|face| face.index),
            usable: reading.face.is_some(),
            problems: reading.problems.iter().map(Into::into).collect(),
        }
    }
}

/// A photo of a person, looked at.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = PersonPhoto)]
pub struct PhotoBody {
    pub index: u32,
    /// The person is known by it.
    pub usable: bool,
    pub problems: Vec<ProblemOfPhoto>,
    /// The photo itself is kept, encrypted.
    pub kept: bool,
}

impl From<&PhotoInfo> for PhotoBody {
    fn from(photo: &PhotoInfo) -> Self {
        let problems = photo.problems.iter().map(Into::into).collect();
        Self { index: photo.index, usable: photo.usable, problems, kept: photo.kept }
    }
}

/// Consent, as it was recorded.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Consent)]
pub struct ConsentBody {
    pub basis: ConsentBasis,
    pub authorised_by: Option<String>,
    pub text_version: String,
    pub text_sha256: String,
    pub time: i64,
}

impl From<&Consent> for ConsentBody {
    fn from(consent: &Consent) -> Self {
        let basis = match consent.basis {
            Basis::Myself => ConsentBasis::Myself,
            Basis::Authorised => ConsentBasis::Authorised,
        };
        Self {
            basis,
            authorised_by: consent.authorised_by.clone(),
            text_version: consent.text_version.clone(),
            text_sha256: consent.text_sha256.clone(),
            time: consent.time.seconds(),
        }
    }
}

/// Somebody who can be drawn.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Person)]
pub struct PersonBody {
    pub id: String,
    #[schema(value_type = String, example = "person")]
    pub object: &'static str,
    pub name: String,
    pub created: i64,
    pub photos: Vec<PhotoBody>,
    pub consent: ConsentBody,
    /// The face encoder by which the person is known.
    pub encoder: String,
    /// How many photos the person is known by.
    pub embeddings: usize,
    pub keep_photos: bool,
    /// How many pictures show this person.
    pub pictures: u64,
    /// The person has an identity card, to be seen and corrected.
    pub card: bool,
}

impl PersonBody {
    pub(crate) fn of(person: &Person, card: bool) -> Self {
        Self {
            id: person.id.to_string(),
            object: "person",
            name: person.name.clone(),
            created: person.created.seconds(),
            photos: person.photos.iter().map(Into::into).collect(),
            consent: (&person.consent).into(),
            encoder: person.encoder.clone(),
            embeddings: person.photos.iter().filter(|photo| photo.usable).count(),
            keep_photos: person.keep_photos,
            pictures: person.pictures,
            card,
        }
    }
}

/// What of a person can be changed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PersonPatch {
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
}

/// A person is gone.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DeletedPerson)]
pub struct DeletedPersonBody {
    pub id: String,
    /// Always true.
    pub deleted: bool,
    pub removed: RemovedBody,
}

/// How much was deleted.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Removed)]
pub struct RemovedBody {
    pub photos: u64,
    pub embeddings: u64,
    pub pictures: u64,
    pub jobs: u64,
}
