//! Who is in the photo: decoding a selfie within limits, finding the face (YuNet), aligning it to the
//! ArcFace template, turning it into an identity embedding (SFace), judging whether the photo is good
//! enough, and averaging several photos into one person.
//!
//! What may enter: pixels, face geometry, embeddings, the ONNX face networks and the adapter networks that
//! turn an embedding into tokens for the U-Net. What may not: prompts, schedulers, storage, HTTP. Nothing
//! here writes a photo or an embedding anywhere unless the caller names the file, and nothing about a face
//! is logged.

pub mod adapters;
pub mod align;
pub mod detect;
pub mod embed;
mod error;
pub mod npy;
pub mod person;
pub mod photo;
pub mod quality;
mod resize;
pub mod runtime;

pub use detect::{Face, FaceDetector};
pub use embed::{Embedding, FaceEmbedder, likeness};
pub use error::IdentityError;
pub use person::{Encoder, Examined, FaceChoice, PersonEmbedding, PhotoReport};
pub use photo::{Limits, Photo, PhotoError};
pub use quality::{Problem, Verdict};
