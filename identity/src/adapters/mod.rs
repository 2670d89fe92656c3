//! Identity adapters: networks that turn a face embedding into tokens for the U-Net's parallel
//! attention, in their published file layouts.

mod faceid;

pub use faceid::{AdapterError, FaceIdAdapter, FaceIdProjection, FaceIdSizes};
