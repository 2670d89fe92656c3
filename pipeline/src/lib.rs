//! From a request to pictures: checkpoints, schedulers, guidance and the denoising loop, tied into an
//! engine that owns its device.
//!
//! What may enter: whatever joins the networks of `unet`, `encoders` and `identity` into a run. What
//! may not: HTTP, storage, photos on disk, command lines.

pub mod checkpoint;
pub mod condition;
pub mod denoise;
pub mod device;
pub mod error;
pub mod generate;
pub mod model;
pub mod noise;
pub mod schedulers;

pub use device::{DeviceChoice, DtypeChoice};
pub use error::PipelineError;
pub use model::{LoadOptions, StableDiffusion};
