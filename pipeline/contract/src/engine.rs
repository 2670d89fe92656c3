//! The engine as seen from outside: a request goes in, events come out, pictures are returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::pixels::RgbPixels;
use crate::request::{GenerateRequest, RequestError};

/// Set from any thread; read by the engine before every step.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn is_canceled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What happens on the way.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The model has taken up the request. Some words may not have fitted its text encoder.
    Started {
        steps: u32,
        /// Network evaluations of all pictures added up, for an estimate of the time left.
        evaluations: u32,
        ignored_words: Option<String>,
    },
    /// Evaluations done so far, of those announced.
    Progress { done: u32, evaluations: u32 },
    /// Picture `index` is finished and handed over.
    Finished { index: u32, seconds: f64, picture: Picture },
}

/// One finished picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub pixels: RgbPixels,
    /// The seed that draws this very picture alone.
    pub seed: u64,
}

/// What a loaded model is, and what it does where a request leaves a choice open.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    pub name: String,
    pub width: u32,
    pub height: u32,
    /// Pixels by which a picture is wider for every person beyond the first, of a model that has seen people one by
    /// one only: in a picture of its own size two become one.
    pub width_per_person: u32,
    pub steps: u32,
    pub guidance_scale: f64,
    pub scheduler: String,
    /// Pixels that width and height must be multiples of.
    pub side_multiple: u32,
    /// What the identity adapter wants to know of a person; none without an adapter.
    pub identity: Option<IdentityNeeds>,
    /// The U-Net is made for inpainting: it draws only into a masked part of a given picture.
    pub inpainting: bool,
    pub device: String,
    pub dtype: String,
}

impl ModelInfo {
    /// Width and height of a picture of so many people that is asked for without a size.
    pub fn size_of(&self, people: usize) -> [u32; 2] {
        let further = u32::try_from(people.saturating_sub(1)).unwrap_or(u32::MAX);
        [self.width.saturating_add(self.width_per_person.saturating_mul(further)), self.height]
    }
}

/// What an identity adapter takes of every reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityNeeds {
    /// The adapter's kind, e.g. `faceid-plusv2`.
    pub kind: String,
    /// Width of the face embedding; none where it takes none.
    pub embedding_width: Option<usize>,
    /// It wants the embedding as the recogniser gives it, with its length.
    pub raw_embedding: bool,
    /// It looks at the face itself, cut out upright to a square of so many pixels.
    pub face_side: Option<u32>,
    /// It draws the face where the key points stand.
    pub key_points: bool,
    /// Several people can be told apart by regions.
    pub regions: bool,
    /// Names of the groups in which its tokens are attended to, each with a strength of its own; empty where
    /// there is but one.
    pub groups: Vec<String>,
    /// A word that must stand in the prompt behind the word for the person.
    pub trigger_word: Option<String>,
}

/// Why there are no pictures.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The request asks for something that this model does not have.
    #[error("{0}")]
    Unsupported(String),
    #[error("canceled")]
    Canceled,
    /// The model failed; the text is for the log.
    #[error("{0}")]
    Failed(String),
    /// Memory ran out, even for one picture at a time; the text is for the log.
    #[error("{0}")]
    OutOfMemory(String),
}

/// Makes pictures.
pub trait Engine {
    fn info(&self) -> &ModelInfo;

    /// Makes all pictures of a request and hands each over with [`Event::Finished`] as soon as it is
    /// done; what was handed over before a failure or a cancel is whole and stays. `on_event` is called
    /// on the engine's thread between steps; `cancel` is read before every step.
    fn generate(
        &mut self,
        request: &GenerateRequest,
        on_event: &mut dyn FnMut(Event),
        cancel: &CancelFlag,
    ) -> Result<(), EngineError>;

    /// All pictures of a request at once.
    fn pictures(&mut self, request: &GenerateRequest) -> Result<Vec<Picture>, EngineError> {
        let mut pictures = Vec::new();
        let mut on_event = |event| {
            if let Event::Finished { picture, .. } = event {
                pictures.push(picture);
            }
        };
        self.generate(request, &mut on_event, &CancelFlag::default())?;
        Ok(pictures)
    }
}
