//! Antialiased resizing with a triangle filter: the numbers of Pillow's `Image.resize(…, BILINEAR)`, which
//! widens the filter when shrinking, so that fine detail turns into its average and not into noise.

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// A rectangle of whole pixels: left, top, width, height.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub left: u32,
    pub top: u32,
    pub width: u32,
    pub height: u32,
}

impl Region {
    pub(crate) fn whole(image: &RgbImage) -> Self {
        Self { left: 0, top: 0, width: image.width(), height: image.height() }
    }

    /// The part of a square (centre, side; pixels) that lies on the image, at least one pixel of it.
    pub(crate) fn around(centre: [f32; 2], side: f32, image: &RgbImage) -> Self {
        let span = |middle: f32, length: u32| -> (u32, u32) {
            // `as` saturates: a window that lies outside, or is not finite, ends at the border
            let low = ((middle - side / 2.0).floor() as u32).min(length.saturating_sub(1));
            let high = ((middle + side / 2.0).ceil() as u32).clamp(low + 1, length.max(low + 1));
            (low, high - low)
        };
        let (left, width) = span(centre[0], image.width());
        let (top, height) = span(centre[1], image.height());
        Self { left, top, width, height }
    }
}

/// The region of `image` at `width`×`height` pixels (at least 1×1). The filter reaches over the region's edge
/// where the image goes on, as with Pillow's `box`.
pub(crate) fn resize(image: &RgbImage, region: Region, width: u32, height: u32) -> Result<RgbImage, String> {
    let (width, height) = (width.max(1), height.max(1));
    let from = ImageRef::new(image.width(), image.height(), image.as_raw(), PixelType::U8x3)
        .map_err(|e| e.to_string())?;
    let mut to = Image::new(width, height, PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear)).crop(
        f64::from(region.left),
        f64::from(region.top),
        f64::from(region.width),
        f64::from(region.height),
    );
    Resizer::new().resize(&from, &mut to, &options).map_err(|e| e.to_string())?;
    RgbImage::from_raw(width, height, to.into_vec()).ok_or_else(|| "a buffer of the wrong length".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    const SHRUNK: [u8; 18] =
        [99, 54, 95, 129, 107, 140, 129, 153, 124, 106, 88, 137, 118, 89, 131, 128, 74, 116];
    const ENLARGED: [u8; 162] = [
        0, 0, 0, 25, 19, 75, 53, 68, 163, 82, 91, 194, 111, 5, 83, 140, 163, 171, 169, 211, 117, 197, 149,
        91, 222, 20, 166, 68, 13, 43, 93, 32, 69, 121, 81, 144, 150, 104, 194, 179, 18, 100, 208, 176, 208,
        130, 224, 119, 73, 162, 69, 98, 33, 161, 144, 27, 90, 169, 46, 51, 131, 95, 96, 77, 118, 150, 106,
        32, 63, 135, 190, 179, 104, 238, 120, 85, 176, 94, 110, 47, 190, 113, 41, 138, 138, 60, 108, 100,
        109, 103, 46, 132, 116, 75, 46, 123, 104, 121, 146, 133, 145, 127, 161, 119, 115, 186, 61, 129, 40,
        55, 185, 65, 74, 195, 93, 123, 137, 122, 146, 95, 151, 60, 232, 130, 19, 122, 145, 10, 135, 173, 33,
        123, 198, 75, 26, 108, 68, 228, 133, 87, 175, 161, 136, 85, 190, 159, 45, 219, 73, 183, 49, 32, 66,
        21, 23, 130, 49, 46, 161, 74, 88, 66,
    ];
    const PART: [u8; 27] = [
        125, 98, 155, 168, 127, 157, 97, 214, 98, 64, 121, 118, 102, 86, 144, 150, 120, 123, 162, 141, 87,
        121, 42, 130, 79, 24, 143,
    ];

    /// Expected samples from Pillow 13.0.0: `image.resize(size, Image.Resampling.BILINEAR, box)`.
    #[test]
    fn samples_equal_pillows() {
        let image = RgbImage::from_fn(7, 5, |x, y| {
            Rgb([x * 37 + y * 91, x * x * 29 + y * 17, (x * 113) ^ (y * 57)].map(|v| (v % 256) as u8))
        });
        let whole = Region::whole(&image);
        let part = Region { left: 2, top: 1, width: 4, height: 4 };
        for (region, width, height, expected) in
            [(whole, 3, 2, &SHRUNK[..]), (whole, 9, 6, &ENLARGED[..]), (part, 3, 3, &PART[..])]
        {
            let resized = resize(&image, region, width, height).expect("a picture");
            let off = resized.as_raw().iter().zip(expected).map(|(a, e)| a.abs_diff(*e)).max();
            assert_eq!(resized.as_raw().len(), expected.len());
            assert!(off <= Some(1), "{region:?}: {off:?} off");
        }
    }

    #[test]
    fn a_region_never_leaves_the_picture() {
        let image = RgbImage::new(20, 10);
        for (centre, side) in [([5.0, 5.0], 4.0), ([-90.0, 300.0], 7.0), ([f32::NAN, 1e30], f32::INFINITY)] {
            let region = Region::around(centre, side, &image);
            assert!(region.width > 0 && region.height > 0, "{region:?}");
            assert!(region.left + region.width <= 20 && region.top + region.height <= 10, "{region:?}");
        }
        assert_eq!(Region::around([5.0, 5.0], 4.0, &image), Region { left: 3, top: 3, width: 4, height: 4 });
    }
}
