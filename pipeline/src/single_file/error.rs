//! Why a single-file checkpoint could not be used.

use std::path::PathBuf;

use imagine_encoders::{TokenizerError, VocabularyError};
use imagine_unet::{ConfigError, WeightsError};

/// Why a single-file checkpoint could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SingleFileError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error("{file}: {what} is not supported: {reason}")]
    Unsupported { file: PathBuf, what: String, reason: String },
    #[error("{file}: not a Stable Diffusion checkpoint in one file: {reason}")]
    NotACheckpoint { file: PathBuf, reason: String },
    #[error("{file}: tensor \"{key}\": {reason}")]
    Layout { file: PathBuf, key: String, reason: String },
    #[error("{file}: {count} tensors belong to no part of {kind}, first \"{first}\"")]
    Leftover { file: PathBuf, count: usize, first: String, kind: String },
    /// The configuration that the tensors' shapes give.
    #[error("{file}: {source}")]
    Config { file: PathBuf, source: ConfigError },
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    #[error(
        "{file}: its text encoder has {found} tokens, not CLIP's 49408, so CLIP's own vocabulary does not fit; \
         give the folder of its tokenizer (vocab.json and merges.txt, or tokenizer.json)"
    )]
    OtherVocabulary { file: PathBuf, found: i64 },
}
