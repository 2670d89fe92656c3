//! Why an adapter could not be used.

use std::path::PathBuf;

use imagine_unet::WeightsError;
use imagine_unet::config::ConfigError;
use tch::TchError;

use super::kind::AdapterKind;

/// Why an adapter could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: not an identity adapter: {reason}")]
    Unrecognised { file: PathBuf, reason: String },
    #[error("{file}: its tensors are those of {found}, it cannot be used as {wanted}")]
    OtherKind { file: PathBuf, found: AdapterKind, wanted: AdapterKind },
    #[error("{file}: {reason}")]
    Damaged { file: PathBuf, reason: String },
    #[error(
        "{file}: made for a text condition {adapter} wide{}, but this model's is {model} wide{}: \
         the adapter belongs to another base model",
        base_name(*.adapter), base_name(*.model)
    )]
    WrongBase { file: PathBuf, adapter: i64, model: i64 },
    #[error(
        "{file}: made for a U-Net of {adapter} cross-attention layers, but this model's has {model}: \
         the adapter belongs to another base model"
    )]
    WrongLayers { file: PathBuf, adapter: usize, model: usize },
    #[error("{file}: wants face embeddings of {adapter} numbers, got {found}: another face encoder made it")]
    EmbeddingWidth { file: PathBuf, adapter: i64, found: i64 },
    #[error(
        "{file}: wants CLIP vision states {adapter} wide, got {found}: another image encoder made them \
         (1024 projected or 1280 hidden is ViT-H/14, 1280 projected or 1664 hidden is bigG/14)"
    )]
    ClipWidth { file: PathBuf, adapter: i64, found: i64 },
    #[error("{file}: {kind} needs {what}, which was not given")]
    Needs { file: PathBuf, kind: AdapterKind, what: &'static str },
    #[error("{file}: {what} has shape {found:?}, expected {expected}")]
    Input { file: PathBuf, what: &'static str, found: Vec<i64>, expected: &'static str },
    #[error("{file}: {source}")]
    Tensor { file: PathBuf, source: TchError },
}

/// The base models of published adapters by the width of their text condition, for messages.
fn base_name(width: i64) -> &'static str {
    match width {
        768 => " (Stable Diffusion 1)",
        1024 => " (Stable Diffusion 2)",
        2048 => " (Stable Diffusion XL)",
        _ => "",
    }
}
