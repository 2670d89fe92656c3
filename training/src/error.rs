//! What can go wrong while training, in words for the person at the terminal.

use std::path::PathBuf;

use imagine_contract::EngineError;
use imagine_encoders::{ClipTextError, TokenizerError, VocabularyError};
use imagine_identity::IdentityError;
use imagine_identity::adapters::AdapterError;
use imagine_pipeline::PipelineError;
use imagine_unet::blocks::ModelError;
use imagine_unet::{ConfigError, WeightsError};

#[derive(Debug, thiserror::Error)]
pub enum TrainingError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}, line {line}: {source}")]
    Meta { path: PathBuf, line: usize, source: serde_json::Error },
    #[error("{path}, line {line}: not four numbers: {text}")]
    Line { path: PathBuf, line: usize, text: String },
    #[error("{path}: {source}")]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("{path}: {source}")]
    Image { path: PathBuf, source: image::ImageError },
    #[error("{path}: picture is {found:?}, expected a square of at least {expected:?}")]
    Size { path: PathBuf, found: (u32, u32), expected: (u32, u32) },
    #[error("{path}: the strip is {found:?}, too small to hold shot {shot} of its person")]
    Strip { path: PathBuf, found: (u32, u32), shot: u32 },
    #[error("{path}: holds {found} usable pictures, at least {needed} are needed")]
    TooFew { path: PathBuf, found: usize, needed: usize },
    #[error("{path}: {reason}")]
    Safetensors { path: PathBuf, reason: String },
    #[error(
        "{path}: {key} is missing or has another shape than the recipe's, so training cannot begin there"
    )]
    Begin { path: PathBuf, key: String },
    #[error("{path}: not a network that gradients can be taken through here: {reason}")]
    Network { path: PathBuf, reason: String },
    #[error("{path}: no landmarks of the pictures; run `imagine-training landmarks --data {data}` first")]
    NoLandmarks { path: PathBuf, data: PathBuf },
    #[error(
        "{path}: no identity cards of the reference shots, or no colours of the pictures; run `imagine-training cards --data {data}` first"
    )]
    NoCards { path: PathBuf, data: PathBuf },
    #[error("{path}: cannot be drawn: {reason}")]
    Plot { path: PathBuf, reason: String },
    #[error("{0}")]
    Tools(String),
    #[error("{command}: {status}")]
    Stage { command: String, status: std::process::ExitStatus },
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    #[error(transparent)]
    Text(#[from] ClipTextError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error(transparent)]
    Tensor(#[from] tch::TchError),
}

impl TrainingError {
    /// For `map_err` on file operations.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
