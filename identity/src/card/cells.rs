//! What a part of a face looks like, in few numbers: a window is divided into cells of 8×8 pixels, and each cell
//! gives its mean colour relative to the skin's and how much of its edges run in each of four directions.

use image::RgbImage;

use super::colour::{Lab, Light};
use super::frame::FaceFrame;
use crate::IdentityError;
use crate::align::warp;
use crate::resize::{Region, resize};

/// Side of a cell, pixels.
const CELL: u32 = 8;
/// Numbers of a cell: three of colour, four of edges.
const NUMBERS: usize = 7;
/// What makes colours about as large as the other numbers, Lab units.
const COLOUR_UNIT: f32 = 25.0;
/// Pictures are shrunk with a filter first where a window's pixel is more than this many of theirs.
const SHRINK_FIRST: f32 = 1.5;

/// A window on a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// Its middle, in eye distances above the eyes'.
    pub above: f32,
    /// Pixels an eye distance.
    pub unit: f32,
    /// Width and height in cells.
    pub cells: [u32; 2],
}

/// Eyes and what frames them.
pub const EYES: Window = Window { above: -0.05, unit: 40.0, cells: [11, 6] };
/// From below the nose to below the chin, between the jaws.
pub const MOUTH: Window = Window { above: -1.15, unit: 24.0, cells: [7, 5] };
/// The head with its hair, and the shoulders that hair may fall on.
pub const HEAD: Window = Window { above: -0.15, unit: 12.0, cells: [8, 8] };

impl Window {
    /// How many numbers [`Window::describe`] gives.
    pub const fn width(&self) -> usize {
        self.cells[0] as usize * self.cells[1] as usize * NUMBERS
    }

    /// The window's pixels, eyes level.
    ///
    /// # Errors
    /// A picture that cannot be shrunk.
    pub fn pixels(&self, picture: &RgbImage, frame: &FaceFrame) -> Result<RgbImage, IdentityError> {
        let size = self.cells.map(|n| n * CELL);
        let ratio = frame.eye_distance / self.unit;
        let side = size[0].max(size[1]);
        let cut = |window: RgbImage| {
            let (left, top) = ((side - size[0]) / 2, (side - size[1]) / 2);
            image::imageops::crop_imm(&window, left, top, size[0], size[1]).to_image()
        };
        if ratio < SHRINK_FIRST {
            return Ok(cut(warp(picture, &frame.window(self.above, self.unit, [side; 2]), side)));
        }
        let shrunk = |length: u32| ((length as f32 / ratio).round() as u32).max(1);
        let (width, height) = (shrunk(picture.width()), shrunk(picture.height()));
        let small = resize(picture, Region::whole(picture), width, height)
            .map_err(|reason| IdentityError::Inference { network: "the identity card", reason })?;
        let scale = [width as f32 / picture.width() as f32, height as f32 / picture.height() as f32];
        let frame = frame.scaled(scale);
        Ok(cut(warp(&small, &frame.window(self.above, self.unit, [side; 2]), side)))
    }

    /// Numbers of the cells, row by row.
    ///
    /// # Errors
    /// As [`Window::pixels`].
    pub fn describe(
        &self,
        picture: &RgbImage,
        frame: &FaceFrame,
        light: &Light,
        skin: Lab,
    ) -> Result<Vec<f32>, IdentityError> {
        let window = self.pixels(picture, frame)?;
        let (width, height) = window.dimensions();
        let labs: Vec<Lab> = window.pixels().map(|p| light.without(p.0)).collect();
        let at = |x: i64, y: i64| {
            let (x, y) = (x.clamp(0, i64::from(width) - 1), y.clamp(0, i64::from(height) - 1));
            labs[(y * i64::from(width) + x) as usize]
        };
        let mut numbers = vec![0f32; self.width()];
        let mut strength = 0.0;
        for y in 0..i64::from(height) {
            for x in 0..i64::from(width) {
                let cell = (y as u32 / CELL * self.cells[0] + x as u32 / CELL) as usize * NUMBERS;
                let off = at(x, y);
                let colour = [off.l - skin.l, off.a - skin.a, off.b - skin.b];
                for (n, value) in numbers[cell..cell + 3].iter_mut().zip(colour) {
                    *n += value / COLOUR_UNIT / (CELL * CELL) as f32;
                }
                let (dx, dy) = (at(x + 1, y).l - at(x - 1, y).l, at(x, y + 1).l - at(x, y - 1).l);
                let size = dx.hypot(dy);
                strength += size;
                // edges that run the same way whichever side is bright
                let turn = (dy.atan2(dx) / std::f32::consts::PI).rem_euclid(1.0) * 4.0;
                numbers[cell + 3 + (turn.round() as usize) % 4] += size / (CELL * CELL) as f32;
            }
        }
        let mean = strength / (width * height) as f32 + 1.0;
        for cell in numbers.chunks_exact_mut(NUMBERS) {
            for edge in &mut cell[3..] {
                *edge = (*edge / mean).sqrt();
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use image::Rgb;

    fn frame() -> FaceFrame {
        let mut points = [[0.0; 2]; 68];
        for (range, x) in [(36..42, 180.0), (42..48, 220.0)] {
            for n in range {
                points[n] = [x, 200.0];
            }
        }
        FaceFrame::of(&points).unwrap()
    }

    #[test]
    fn a_plain_picture_has_the_distance_to_the_skin_and_no_edges() {
        let picture = RgbImage::from_pixel(400, 400, Rgb([120, 120, 120]));
        let grey = Lab::of_srgb([120; 3]);
        let skin = Lab { l: grey.l - 25.0, ..grey };
        let numbers = HEAD.describe(&picture, &frame(), &Light::WHITE, skin).unwrap();
        assert_eq!(numbers.len(), HEAD.width());
        // the cells in the middle are all picture
        let cell = &numbers[(3 * 8 + 3) * NUMBERS..(3 * 8 + 4) * NUMBERS];
        assert!((cell[0] - 1.0).abs() < 1e-3 && cell[1].abs() < 1e-3, "{cell:?}");
        assert!(cell[3..].iter().all(|edge| *edge < 1e-3), "{cell:?}");
    }

    #[test]
    fn stripes_are_edges_of_one_direction() {
        let upright = RgbImage::from_fn(400, 400, |x, _| Rgb([if x / 4 % 2 == 0 { 200 } else { 60 }; 3]));
        let skin = Lab::of_srgb([120; 3]);
        let numbers = EYES.describe(&upright, &frame(), &Light::WHITE, skin).unwrap();
        let cell = &numbers[(2 * 11 + 5) * NUMBERS..][..NUMBERS];
        assert!(cell[3] > 4.0 * cell[5].max(0.1), "{cell:?}");
        let lying = image::imageops::rotate90(&upright);
        let numbers = EYES.describe(&lying, &frame(), &Light::WHITE, skin).unwrap();
        let cell = &numbers[(2 * 11 + 5) * NUMBERS..][..NUMBERS];
        assert!(cell[5] > 4.0 * cell[3].max(0.1), "{cell:?}");
    }

    #[test]
    fn windows_beyond_the_picture_are_no_panic() {
        let picture = RgbImage::new(3, 2);
        for window in [EYES, MOUTH, HEAD] {
            let numbers = window.describe(&picture, &frame(), &Light::WHITE, Lab::of_srgb([9; 3])).unwrap();
            assert!(numbers.iter().all(|v| v.is_finite()));
        }
    }
}
