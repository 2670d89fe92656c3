//! Encoded pictures: PNG that says how it was made, JPEG, WebP, thumbnails, and the way back.
//!
//! Shared by the command line and the worker. No model, no network, no store may enter.

mod formats;
mod png_text;

pub use formats::{PictureError, decode, decode_gray, jpeg, shrunk, webp};
pub use png_text::{Parameters, Recipe, Seeds, encode, sampler};
