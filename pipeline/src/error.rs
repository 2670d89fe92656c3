//! Why a model could not be loaded or a run failed.

use std::path::PathBuf;

use imagine_contract::{EngineError, RequestError};
use imagine_encoders::{ClipTextError, TokenizerError};
use imagine_identity::adapters::AdapterError;
use imagine_unet::{ConfigError, WeightsError};

use crate::schedulers::SchedulerError;

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
    Scheduler(#[from] SchedulerError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error("{0}")]
    Unsupported(String),
    #[error("device {asked}: {reason}")]
    Device { asked: String, reason: String },
    #[error("\"{value}\" is not a {what}; known are {known}")]
    Choice { what: &'static str, value: String, known: &'static str },
    #[error("canceled")]
    Canceled,
    #[error("the picture holds values that are not finite; try --dtype f32")]
    NotFinite,
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] tch::TchError),
}

impl PipelineError {
    /// Whether the person's input or files are at fault, rather than the machine or this program.
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Canceled | Self::NotFinite | Self::Tensor(_))
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
