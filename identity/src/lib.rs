//! Who is in the photo: decoding a selfie within limits, finding the face (YuNet or SCRFD), aligning it to the
//! ArcFace template, turning it into an identity embedding (SFace or ArcFace), judging whether the photo is good
//! enough, and averaging several photos into one person.
//!
//! What may enter: pixels, face geometry, embeddings, the ONNX face networks and the adapter networks that
//! turn an embedding into tokens for the U-Net. What may not: prompts, schedulers, storage, HTTP. Nothing
//! here writes a photo or an embedding anywhere unless the caller names the file, and nothing about a face
//! is logged; what is kept by itself is the list of accepted licences.

pub mod adapters;
pub mod align;
pub mod arcface;
pub mod card;
pub mod choice;
pub mod detect;
pub mod embed;
mod error;
pub mod key_point_image;
pub mod licences;
mod networks;
pub mod npy;
mod onnx_graph;
mod opencv_resize;
pub mod packs;
pub mod person;
pub mod photo;
pub mod quality;
mod raster;
mod resize;
pub mod runtime;
pub mod scrfd;

pub use arcface::ArcFace;
pub use card::{CardError, CardReader, IdentityCard};
pub use choice::{ChosenEncoder, EncoderChoice};
pub use detect::{Face, FaceDetector};
pub use embed::{Embedding, FaceEmbedder, likeness};
pub use error::IdentityError;
pub use key_point_image::{KeyPointError, KeyPointImage, KeyPoints};
pub use licences::{Licence, LicenceStore};
pub use packs::Pack;
pub use person::{Encoder, Examined, FaceChoice, FaceReference, PersonEmbedding, PhotoReport};
pub use photo::{Limits, Photo, PhotoError};
pub use quality::{Problem, Verdict};
pub use scrfd::Scrfd;
