//! Why a model could not be loaded or a run failed.

use std::path::PathBuf;

use imagine_contract::{EngineError, RequestError};
use imagine_encoders::{ClipTextError, ClipVisionError, ImageProcessorError, TokenizerError};
use imagine_identity::adapters::{AdapterError, IdentityNetError, PhotoMakerError};
use imagine_unet::{ConfigError, WeightsError};

use crate::lora::LoraError;
use crate::plan::Refusal;
use crate::presets::PresetError;
use crate::schedulers::SchedulerError;
use crate::single_file::SingleFileError;

#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    #[error("{dir}: not a checkpoint in diffusers format: {reason}")]
    NotACheckpoint { dir: PathBuf, reason: String },
    #[error("{file}: {source}")]
    Config { file: PathBuf, source: ConfigError },
    /// The file could not be read; the source names it.
    #[error(transparent)]
    ConfigFile(ConfigError),
    #[error(
        "{model}: it holds no autoencoder ({looked_for}), without which nothing can be drawn: name one with --vae"
    )]
    NoAutoencoder { model: PathBuf, looked_for: &'static str },
    #[error(
        "{file}: it holds {tensors} tensors and no part of a model that is known here; the first is \"{first}\""
    )]
    UnknownFile { file: PathBuf, tensors: usize, first: String },
    #[error("{file}: cannot take the place of the model's U-Net: {reason}")]
    LoneUnet { file: PathBuf, reason: String },
    #[error("{part}: {first_key} = {first} does not fit {second_key} = {second}")]
    Mismatch { part: String, first_key: String, first: i64, second_key: String, second: i64 },
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Text(#[from] ClipTextError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    IdentityNet(#[from] IdentityNetError),
    #[error(transparent)]
    PhotoMaker(#[from] PhotoMakerError),
    #[error(
        "{file}: is the LoRA that the adapter {adapter} brings in its own file, and would count twice: leave it out"
    )]
    LoraOfAdapter { file: PathBuf, adapter: PathBuf },
    #[error(transparent)]
    Lora(#[from] LoraError),
    #[error(transparent)]
    Preset(#[from] PresetError),
    #[error(transparent)]
    SingleFile(#[from] SingleFileError),
    #[error(transparent)]
    ImageEncoder(#[from] ClipVisionError),
    #[error(transparent)]
    ImageProcessor(#[from] ImageProcessorError),
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("{0}")]
    Unsupported(String),
    /// Something that was asked for and would have no effect.
    #[error("{option} has no effect here: {reason}")]
    Unused { option: &'static str, reason: String },
    #[error("device {asked}: {reason}")]
    Device { asked: String, reason: String },
    #[error("\"{value}\" is not a {what}; known are {known}")]
    Choice { what: &'static str, value: String, known: &'static str },
    #[error("clip_skip is {skip}, but the text encoder has {layers} layers: at most {most} can be left out")]
    ClipSkip { skip: u32, layers: usize, most: usize },
    #[error("canceled")]
    Canceled,
    #[error("the picture holds values that are not finite; try --dtype f32")]
    NotFinite,
    /// A defect of this program.
    #[error("internal error: {0}")]
    Internal(String),
    /// Mostly a tensor operation that failed where its error cannot be returned.
    #[error("{0}")]
    Panicked(String),
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] tch::TchError),
}

impl PipelineError {
    /// Whether the person's input or files are at fault, rather than the machine or this program.
    pub fn is_input(&self) -> bool {
        !matches!(
            self,
            Self::Canceled | Self::NotFinite | Self::Internal(_) | Self::Panicked(_) | Self::Tensor(_)
        )
    }

    /// Whether memory ran out: with fewer pictures at once there may be enough.
    pub fn is_out_of_memory(&self) -> bool {
        /// As libtorch's allocators and CUDA's libraries say it.
        const TEXTS: [&str; 5] = [
            "out of memory",
            "can't allocate memory",
            "not enough memory",
            "cannot allocate memory",
            "alloc_failed",
        ];
        let text = self.to_string().to_lowercase();
        matches!(self, Self::Tensor(_) | Self::Panicked(_)) && TEXTS.iter().any(|part| text.contains(part))
    }

    /// Whether the device is lost to this process, as CUDA is after a fault on it.
    pub fn is_lost_device(&self) -> bool {
        let text = self.to_string();
        let of_device = matches!(self, Self::Tensor(_) | Self::Panicked(_)) && text.contains("CUDA error");
        of_device && !self.is_out_of_memory()
    }
}

impl From<Refusal> for PipelineError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Request(error) => Self::Request(error),
            Refusal::Unsupported(reason) => Self::Unsupported(reason),
        }
    }
}

impl From<PipelineError> for EngineError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Request(e) => Self::Request(e),
            PipelineError::Canceled => Self::Canceled,
            e if e.is_input() => Self::Unsupported(e.to_string()),
            e if e.is_out_of_memory() => Self::OutOfMemory(e.to_string()),
            e => Self::Failed(e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_ran_out_is_told_from_a_lost_device() {
        let of = |text: &str| {
            let error = PipelineError::Panicked(text.into());
            (error.is_out_of_memory(), error.is_lost_device())
        };
        assert_eq!(of("CUDA out of memory. Tried to allocate 2.00 GiB"), (true, false));
        assert_eq!(of("CUDA error: out of memory"), (true, false));
        assert_eq!(of("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), (true, false));
        assert_eq!(of("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), (true, false));
        assert_eq!(of("DefaultCPUAllocator: not enough memory: you tried"), (true, false));
        assert_eq!(of("CUDA error: device-side assert triggered"), (false, true));
        assert_eq!(of("The size of tensor a (3) must match"), (false, false));
        assert!(!PipelineError::Unsupported("out of memory".into()).is_out_of_memory());
    }
}
