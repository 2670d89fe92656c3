//! LoRA files of every common layout, merged into a model's weights before it is built.
//!
//! A file names each layer in one of two ways: with dots, as diffusers and PEFT do
//! ([`diffusers_keys`]), or with underscores, as kohya's trainer and LyCORIS do ([`kohya_keys`]); kohya's may
//! use the block names of diffusers or those of the original Stable Diffusion. Every tensor must find its
//! layer: a LoRA that fits only in part was made for another base model and is refused.
//!
//! ```text
//! let lora = LoraFile::open("style.safetensors".as_ref())?;
//! lora.check_text_encoders(2)?;
//! lora.merge_into_unet(&unet_weights, &unet_config, 0.8)?;
//! lora.merge_into_text_encoder(&text_weights, TextEncoderSlot::First, 0.8)?;
//! ```

mod diffusers_keys;
mod entry;
mod file;
mod header;
mod kohya_keys;
mod parts;

use std::fmt;
use std::path::PathBuf;

use imagine_unet::{ConfigError, WeightsError};

pub use file::{LoraDescription, LoraFile};

/// Which text encoder of a checkpoint: SD 1.x and 2.x have the first, SDXL has both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextEncoderSlot {
    /// `text_encoder`
    First,
    /// `text_encoder_2`
    Second,
}

/// A network that a LoRA changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Network {
    UNet,
    TextEncoder(TextEncoderSlot),
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UNet => "U-Net",
            Self::TextEncoder(TextEncoderSlot::First) => "text encoder",
            Self::TextEncoder(TextEncoderSlot::Second) => "second text encoder",
        })
    }
}

/// How a file names the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Dots: `unet.down_blocks.0…to_q.lora_A.weight` and its older forms.
    Diffusers,
    /// Underscores: `lora_unet_down_blocks_0_…_to_q.lora_down.weight`.
    Kohya,
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Diffusers => "diffusers",
            Self::Kohya => "kohya",
        })
    }
}

/// Why a LoRA could not be used.
#[derive(Debug, thiserror::Error)]
pub enum LoraError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: cannot be read: {source}")]
    Read { file: PathBuf, source: std::io::Error },
    #[error("{file}: {what}: {reason}")]
    Metadata { file: PathBuf, what: String, reason: String },
    #[error("{file}: not a LoRA: {}", found(.key.as_deref()))]
    NotALora { file: PathBuf, key: Option<String> },
    #[error("{file}: names layers with dots (\"{dotted}\") and with underscores (\"{underscored}\")")]
    MixedLayouts { file: PathBuf, dotted: String, underscored: String },
    #[error("{file}: \"{key}\" is not supported: {reason}")]
    Unsupported { file: PathBuf, key: String, reason: String },
    #[error("{file}: \"{key}\" has no \"{missing}\" beside it")]
    Incomplete { file: PathBuf, key: String, missing: String },
    #[error("{file}: \"{first}\" and \"{second}\" change the same layer")]
    Twice { file: PathBuf, first: String, second: String },
    #[error(
        "{file}: {count} changes belong to layers that this model's {network} does not have, first \"{key}\": \
         the LoRA was made for another base model"
    )]
    UnknownLayer { file: PathBuf, network: Network, count: usize, key: String },
    #[error(
        "{file}: \"{key}\" changes a weight of shape {lora:?}, but this model's {network} has {model:?} there: \
         the LoRA was made for another base model"
    )]
    Shape { file: PathBuf, network: Network, key: String, lora: Vec<i64>, model: Vec<i64> },
    #[error(
        "{file}: {count} changes belong to the {network}, which this model does not have, first \"{key}\": \
         the LoRA was made for another base model"
    )]
    NoTextEncoder { file: PathBuf, network: Network, count: usize, key: String },
    #[error("{file}: its weight is {weight}, it must be a finite number")]
    Weight { file: PathBuf, weight: f64 },
    #[error("{file}: \"{key}\": {source}")]
    Tensor { file: PathBuf, key: String, source: tch::TchError },
}

fn found(key: Option<&str>) -> String {
    match key {
        Some(key) => format!("\"{key}\" is no part of one"),
        None => "it holds no tensors".into(),
    }
}
