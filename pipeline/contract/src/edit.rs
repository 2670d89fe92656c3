//! A picture that is to be changed instead of drawn from nothing.

use serde::{Deserialize, Serialize};

use crate::pixels::{GrayPixels, RgbPixels};
use crate::request::{RequestError, range};

/// What is changed, and how much of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// Stretched to the size of the request where that is another.
    pub picture: RgbPixels,
    /// How far to go back towards noise: near 0 leaves the picture alone, 1 forgets it.
    pub strength: f64,
    /// Where to change it; everywhere if left out.
    pub mask: Option<EditMask>,
}

/// The part of a picture that is drawn anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EditMask {
    /// 255 where the picture is drawn anew, 0 where it stays; values between mix both. Stretched to the
    /// size of the request.
    pub pixels: GrayPixels,
    pub rest: Rest,
}

/// What becomes of the pixels that the mask leaves alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rest {
    /// The original's, exactly; over so many pixels inside the mask the new picture is faded in.
    Original { feather: u32 },
    /// As the autoencoder gives them back, which is what diffusers' inpainting does.
    Decoded,
}

impl Edit {
    pub(crate) fn check(&self) -> Result<(), RequestError> {
        range("strength", self.strength, 0.0, 1.0)?;
        if !self.picture.is_whole() {
            return Err(RequestError::Pixels("picture to be changed"));
        }
        match &self.mask {
            Some(mask) if !mask.pixels.is_whole() => Err(RequestError::Pixels("mask")),
            // The networks take a pixel as marked from one half on.
            Some(mask) if mask.pixels.values.iter().all(|&v| v < 128) => Err(RequestError::EmptyMask),
            _ => Ok(()),
        }
    }
}
