//! From a request to pictures: checkpoints, schedulers, guidance and the denoising loop, tied into an
//! engine that owns its device.
//!
//! What may enter: whatever joins the networks of `unet`, `encoders` and `identity` into a run. What
//! may not: HTTP, storage, photos on disk, command lines.

pub mod capability;
pub mod checkpoint;
pub mod checkpoint_folder;
pub mod composite;
mod condition;
mod decode;
mod denoise;
pub mod device;
pub mod device_memory;
mod edit;
pub mod error;
pub mod fit;
pub mod footprint;
mod generate;
pub mod identity;
mod identity_net;
mod image_encoder;
pub mod inspect;
mod load;
mod lone_unet;
pub mod lora;
pub mod model;
pub mod noise;
mod photo_maker;
mod plan;
pub mod presets;
mod published;
pub mod random_checkpoint;
mod region;
mod row;
pub mod schedulers;
pub mod single_file;
pub mod studio;
pub mod text_conditioning;
pub mod threads;

pub use device::{DeviceChoice, DtypeChoice};
pub use error::PipelineError;
pub use model::{LoadOptions, LoraChoice, StableDiffusion};
pub use studio::{BatchStudio, StudioOptions};
