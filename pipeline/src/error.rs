//! Why a model could not be loaded or a run failed.

use std::path::PathBuf;

use imagine_contract::{EngineError, RequestError};
use imagine_encoders::{ClipTextError, ClipVisionError, ImageProcessorError, TokenizerError};
use imagine_identity::adapters::{AdapterError, IdentityNetError, PhotoMakerError};
use imagine_unet::{ConfigError, WeightsError};

use crate::lora::LoraError;
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
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] tch::TchError),
}

impl PipelineError {
    /// Whether the person's input or files are at fault, rather than the machine or this program.
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Canceled | Self::NotFinite | Self::Internal(_) | Self::Tensor(_))
    }
}

impl From<PipelineError> for EngineError {
    fn from(error: PipelineError) -> Self {
        match error {
            PipelineError::Request(e) => Self::Request(e),
            PipelineError::Canceled => Self::Canceled,
            e if e.is_input() => Self::Unsupported(e.to_string()),
            e => Self::Failed(e.to_string()),
        }
    }
}
