//! A model that many draw with at once, and the eyes that look at photos, as the service sees them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::card::{CardChanges, CardPart, CardRefused, SealedCard};
use crate::engine::{CancelFlag, EngineError, Event, IdentityNeeds, ModelInfo};
use crate::people::{KeyPoints, Reference};
use crate::pixels::RgbPixels;
use crate::request::{GenerateRequest, RequestError};

/// A loaded model behind a bounded queue. Rows of different orders share network calls; each picture is
/// the one that its order alone would have given.
pub trait Studio: Send + Sync {
    fn info(&self) -> &ModelInfo;

    /// Queues an order and returns at once. Everything that becomes of it is told to `order.events`, the
    /// last time with [`OrderEvent::Done`] or [`OrderEvent::Failed`].
    ///
    /// # Errors
    /// The order is given back where the queue is full, the studio is closing or the request is invalid.
    fn submit(&self, order: Order) -> Result<(), SubmitError>;

    fn load(&self) -> Load;
}

/// A request with what belongs to it while it is worked on.
pub struct Order {
    pub request: GenerateRequest,
    /// Orders of one owner do not keep those of another waiting.
    pub owner: String,
    /// A preview of every picture after each so many steps; none if left out.
    pub previews_every: Option<u32>,
    pub cancel: CancelFlag,
    /// Called on the studio's thread between steps: it must not block.
    pub events: Box<dyn FnMut(OrderEvent) + Send>,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Order").field("count", &self.request.count).finish_non_exhaustive()
    }
}

/// What becomes of an order.
#[derive(Debug)]
pub enum OrderEvent {
    Happened(Event),
    /// How picture `index` looks after `step` of its steps, at any size.
    Preview {
        index: u32,
        step: u32,
        pixels: RgbPixels,
    },
    /// Every picture was handed over.
    Done,
    /// There will be no further pictures; those handed over are whole.
    Failed(EngineError),
}

/// Why an order was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    #[error("{queued} orders are waiting, more are not taken")]
    Full { queued: usize },
    #[error("the model is not drawing any more: {0}")]
    Closed(String),
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The request asks for something that this model does not have.
    #[error("{0}")]
    Unsupported(String),
}

/// How busy a studio is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Load {
    /// Orders that wait.
    pub queued: usize,
    /// Pictures that are being drawn.
    pub rows: usize,
    /// Pictures that can be drawn at the same time.
    pub most_rows: usize,
    /// False after a failure that only a restart mends.
    pub healthy: bool,
}

/// Finds, judges and recognises faces in photos.
pub trait FaceReader: Send + Sync {
    /// Name of the face encoder, e.g. `sface`; embeddings of different encoders cannot be compared.
    fn encoder(&self) -> &str;

    /// Cosine from which on two photos are taken to show the same person.
    fn same_person(&self) -> f32;

    /// Decodes a photo within limits and looks at it; `face` chooses among several, counted from 0, the
    /// largest first.
    ///
    /// # Errors
    /// The bytes are no photo that is accepted. A photo without a usable face is no error: its
    /// [`PhotoReading::face`] is none and a problem says why.
    fn read(&self, photo: &[u8], face: Option<usize>) -> Result<PhotoReading, PhotoRefused>;

    /// Cosine between a person's mean embedding and the largest face in a picture; none without a face, or where
    /// the person has left out what tells it.
    fn likeness(&self, person: &[Reference], picture: &RgbPixels) -> Option<f32>;

    /// How much two faces are alike, to be compared with [`FaceReader::same_person`]; none where that cannot be
    /// told.
    fn alike(&self, one: &FaceData, other: &FaceData) -> Option<f32> {
        let same = one.embedding.len() == other.embedding.len();
        same.then(|| one.embedding.iter().zip(&other.embedding).map(|(a, b)| a * b).sum())
    }

    /// Whether it makes identity cards.
    fn makes_cards(&self) -> bool {
        false
    }

    /// The card of a person who is known by these faces, with what they say of it: every part, in the order in
    /// which they are shown.
    ///
    /// # Errors
    /// It makes no cards; one cannot be read; a change that no card takes.
    fn card(&self, faces: &[FaceData], changes: &CardChanges) -> Result<Vec<CardPart>, CardRefused> {
        let _ = (faces, changes);
        Err(CardRefused::NoCards(self.encoder().to_owned()))
    }

    /// The faces of one person as a model is to hear them: where they have cards, with the embedding of the
    /// person's one card and what they say of it; as they are otherwise.
    ///
    /// # Errors
    /// As [`FaceReader::card`].
    fn as_drawn(&self, faces: Vec<FaceData>, changes: &CardChanges) -> Result<Vec<FaceData>, CardRefused> {
        if changes.is_empty() {
            return Ok(faces);
        }
        Err(CardRefused::NoCards(self.encoder().to_owned()))
    }
}

/// What was seen in a photo.
#[derive(Clone, Debug, PartialEq)]
pub struct PhotoReading {
    /// Upright, without anything else that the file held.
    pub pixels: RgbPixels,
    /// Every face, the largest first.
    pub faces: Vec<FaceBox>,
    /// In the order in which they should be mended.
    pub problems: Vec<PhotoProblem>,
    /// None where a problem blocks.
    pub face: Option<FaceData>,
}

/// Where a face is, in pixels of the upright photo.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FaceBox {
    pub x: f32,
    pub y: f32,
    pub width: f32,
    pub height: f32,
}

/// Something about a photo that stands in the way of a good likeness.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhotoProblem {
    /// For programs, e.g. `too_dark`.
    pub code: String,
    /// For people: what to do about it.
    pub advice: String,
    /// The photo cannot be used.
    pub blocks: bool,
}

/// All that any adapter may want to know of a face.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct FaceData {
    /// Which of the faces it is.
    pub index: usize,
    /// L2-normalised.
    pub embedding: Vec<f32>,
    /// Length before it was normalised.
    pub norm: f32,
    /// Cut out upright, 224 and 256 pixels wide, for adapters that look at the face.
    pub crops: Vec<RgbPixels>,
    pub key_points: KeyPoints,
    /// What the embedding was made of, by encoders that make cards.
    #[serde(default)]
    pub card: Option<SealedCard>,
}

impl FaceData {
    /// As a model wants to know this face: nothing that its adapter does not ask for.
    pub fn reference(&self, needs: Option<&IdentityNeeds>) -> Reference {
        let takes_embedding = needs.is_none_or(|needs| needs.embedding_width.is_some());
        let side = needs.and_then(|needs| needs.face_side);
        Reference {
            embedding: if takes_embedding { self.embedding.clone() } else { Vec::new() },
            norm: self.norm,
            face: side.and_then(|side| self.crops.iter().find(|crop| crop.width == side).cloned()),
            key_points: needs.is_some_and(|needs| needs.key_points).then_some(self.key_points),
        }
    }
}

impl fmt::Debug for FaceData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaceData").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Why bytes are not taken as a photo; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct PhotoRefused {
    /// For programs: `unsupported_format`, `too_large`, `damaged`.
    pub code: String,
    pub message: String,
}
