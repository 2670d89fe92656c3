//! The networks that draw: the denoising U-Net with parallel attention and the autoencoder between
//! pixels and latents, with the one strict loader through which every weight of the project comes.
//!
//! What may enter: layers, models and weight files. What may not: prompts, tokenizers, schedulers,
//! photos, sampling loops; those rooms depend on this one.

pub mod attention;
pub mod autoencoder_kl;
pub mod blocks;
pub mod condition;
pub mod config;
pub mod controlnet;
pub mod controlnet_config;
pub mod down_path;
pub mod embeddings;
pub mod fused_linear;
pub mod layers;
pub mod lora;
pub mod resnet;
pub mod tiling;
pub mod transformer;
pub mod unet_2d_condition;
pub mod vae_blocks;
pub mod weights;
pub mod winograd;

pub use autoencoder_kl::{AutoencoderKl, AutoencoderKlConfig};
pub use condition::{AddedCondition, Condition, CrossKv, IdentityTokens};
pub use config::{ConfigError, UNetConfig, read_json};
pub use controlnet::{ConditionPictureError, ControlNetModel, ControlResiduals};
pub use controlnet_config::{ControlNetConfig, NoControlNet};
pub use unet_2d_condition::UNet2DConditionModel;
pub use weights::{Init, Vs, Weights, WeightsError};
