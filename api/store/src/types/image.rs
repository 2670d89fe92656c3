use serde::{Deserialize, Serialize};

use crate::blobs::BlobKey;
use crate::ids::{ImageId, JobId, PersonId};
use crate::time::Millis;

/// In which format pictures are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    #[default]
    Png,
    Jpeg,
    Webp,
}

impl ImageFormat {
    pub const ALL: [Self; 3] = [Self::Png, Self::Jpeg, Self::Webp];

    /// In the API and in names of files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }
}

/// A picture whose bytes are stored already.
#[derive(Clone, Debug, PartialEq)]
pub struct NewImage {
    /// Which of the job's pictures.
    pub index: u32,
    pub seed: u64,
    pub width: u32,
    pub height: u32,
    pub format: ImageFormat,
    pub bytes: u64,
    pub sha256: [u8; 32],
    pub blob: BlobKey,
    /// A JPEG of at most 256 pixels a side.
    pub thumb: BlobKey,
    /// Cosine to each of the job's people; none where no face was found.
    pub likeness: Vec<Option<f32>>,
}

/// A picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    pub id: ImageId,
    pub tenant: String,
    pub job: JobId,
    pub index: u32,
    pub seed: u64,
    pub width: u32,
    pub height: u32,
    pub format: ImageFormat,
    pub bytes: u64,
    /// Of the bytes, for a strong `ETag`.
    pub sha256: [u8; 32],
    pub blob: BlobKey,
    pub thumb: BlobKey,
    pub likeness: Vec<Option<f32>>,
    /// As the job's input has it.
    pub prompt: String,
    pub people: Vec<PersonId>,
    pub favourite: bool,
    pub created: Millis,
}
