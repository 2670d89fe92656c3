//! The engine as seen from outside: a request goes in, events come out, pictures are returned.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

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
        /// Network evaluations that all pictures take together, for an estimate of the time left.
        evaluations: u32,
        ignored_words: Option<String>,
    },
    /// Evaluations done so far, of those announced.
    Progress { done: u32, evaluations: u32 },
    /// Picture `index` is finished; it stands in the returned list.
    Finished { index: u32, seconds: f64 },
}

/// One finished picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    pub width: u32,
    pub height: u32,
    /// sRGB, 8 bits, row by row: `3 · width · height` bytes.
    pub rgb: Vec<u8>,
    /// The seed that draws this very picture alone.
    pub seed: u64,
}

/// What a loaded model is, and what it does where a request leaves a choice open.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    pub name: String,
    pub width: u32,
    pub height: u32,
    pub steps: u32,
    pub guidance_scale: f64,
    pub scheduler: String,
    /// Pixels that width and height must be multiples of.
    pub side_multiple: u32,
    /// Width of the face embedding that the identity adapter takes; none without an adapter.
    pub embedding_width: Option<usize>,
    pub device: String,
    pub dtype: String,
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
}

/// Makes pictures.
pub trait Engine {
    fn info(&self) -> &ModelInfo;

    /// Makes all pictures of a request. `on_event` is called on the engine's thread between steps;
    /// `cancel` is read before every step.
    fn generate(
        &mut self,
        request: &GenerateRequest,
        on_event: &mut dyn FnMut(Event),
        cancel: &CancelFlag,
    ) -> Result<Vec<Picture>, EngineError>;
}
