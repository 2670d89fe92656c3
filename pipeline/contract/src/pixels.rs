//! Pictures and masks as plain bytes.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A picture: sRGB, 8 bits, row by row, `3 · width · height` bytes.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RgbPixels {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
}

/// One byte a pixel, row by row, `width · height` bytes: a mask, 255 where something holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrayPixels {
    pub width: u32,
    pub height: u32,
    pub values: Vec<u8>,
}

impl RgbPixels {
    /// Whether there are pixels, and as many as the sides say.
    pub fn is_whole(&self) -> bool {
        fits(self.width, self.height, 3, self.rgb.len())
    }
}

impl GrayPixels {
    /// Whether there are pixels, and as many as the sides say.
    pub fn is_whole(&self) -> bool {
        fits(self.width, self.height, 1, self.values.len())
    }

    /// A mask of one value.
    pub fn filled(width: u32, height: u32, value: u8) -> Self {
        Self { width, height, values: vec![value; width as usize * height as usize] }
    }
}

fn fits(width: u32, height: u32, channels: u64, bytes: usize) -> bool {
    let pixels = u64::from(width) * u64::from(height);
    pixels > 0 && pixels.checked_mul(channels) == Some(bytes as u64)
}

impl fmt::Debug for RgbPixels {
    /// Never the pixels: a log is no place for a face.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RgbPixels({}x{})", self.width, self.height)
    }
}

impl fmt::Debug for GrayPixels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GrayPixels({}x{})", self.width, self.height)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_and_bytes_must_agree() {
        let picture = |width, height, bytes| RgbPixels { width, height, rgb: vec![7; bytes] };
        assert!(picture(2, 3, 18).is_whole());
        for wrong in [picture(2, 3, 17), picture(0, 3, 0), picture(u32::MAX, u32::MAX, 3)] {
            assert!(!wrong.is_whole(), "{wrong:?}");
        }
        assert!(GrayPixels::filled(4, 5, 255).is_whole());
        assert_eq!(format!("{:?}", picture(2, 3, 18)), "RgbPixels(2x3)");
    }
}
