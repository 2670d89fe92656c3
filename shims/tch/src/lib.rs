//! tch 0.24 under the version number that diffusers-rs 0.3.1 asks for. Nothing else may live here.
pub use real::*;
