//! Why weights could not be used.

use std::path::PathBuf;

use tch::TchError;

/// Why weights could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("{file}: cannot be read: {source}")]
    Open { file: PathBuf, source: std::io::Error },
    #[error("{file}: not a valid safetensors file: {reason}")]
    Format { file: PathBuf, reason: String },
    #[error("{file}: not a PyTorch file of weights: {reason}")]
    Torch { file: PathBuf, reason: String },
    #[error(
        "{file}: the pickle asks for \"{global}\"; of weights only tensors, dictionaries, lists, numbers and text \
         are read from a pickle, and nothing in it is run. If you trust the file, load it in Python and save its \
         tensors as safetensors"
    )]
    Global { file: PathBuf, global: String },
    #[error("{file}: not a valid index of shards: {reason}")]
    Index { file: PathBuf, reason: String },
    #[error("{index}: the shard \"{shard}\" is missing beside it")]
    ShardMissing { index: PathBuf, shard: String },
    #[error("{file}: tensor \"{key}\" is missing, though {index} says that it is here")]
    ShardKey { index: PathBuf, file: PathBuf, key: String },
    #[error("{dir}: no weights found (looked for {looked_for})")]
    NoFile { dir: PathBuf, looked_for: String },
    #[error("{file}: tensor \"{key}\" is missing")]
    Missing { file: PathBuf, key: String },
    #[error("{file}: tensor \"{key}\" has shape {found:?}, expected {expected:?}")]
    Shape { file: PathBuf, key: String, expected: Vec<i64>, found: Vec<i64> },
    #[error("{file}: tensor \"{key}\" has shape {found:?}, which is not {expected}")]
    Layout { file: PathBuf, key: String, found: Vec<i64>, expected: &'static str },
    #[error(
        "{file}: the scale \"{key}\" has shape {found:?} beside a weight of shape {weight:?}; one number is read, or one \
         for each row ([out] or [out, 1])"
    )]
    Scale { file: PathBuf, key: String, found: Vec<i64>, weight: Vec<i64> },
    #[error("{file}: tensor \"{key}\" has type {found}, which is not a weight type")]
    Type { file: PathBuf, key: String, found: String },
    #[error("{file}: \"{key}\" says that its weight is packed as \"{found}\"; only {known} are read")]
    Packing { file: PathBuf, key: String, found: String, known: String },
    #[error("{file}: tensor \"{key}\" holds NaN or infinite values")]
    NotFinite { file: PathBuf, key: String },
    #[error("{file}: {count} tensors do not belong to this model, first \"{first}\"")]
    Unexpected { file: PathBuf, count: usize, first: String },
    #[error("{file}: tensor \"{key}\" does not belong to this model")]
    Spare { file: PathBuf, key: String },
    #[error("{file}: \"{key}\" stands in two files")]
    Twice { file: PathBuf, key: String },
    #[error("a LoRA changes \"{key}\", which this model does not have")]
    UnusedDelta { key: String },
    #[error("\"{key}\": {source}")]
    Tensor { key: String, source: TchError },
}

impl WeightsError {
    pub(super) fn tensor(key: &str, source: TchError) -> Self {
        Self::Tensor { key: key.to_string(), source }
    }
}
