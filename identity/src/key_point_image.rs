//! InstantID's drawing of a face's five key points, which its ControlNet (IdentityNet) sees: where the face
//! is, how large, and whither it looks.
//!
//! Source: `draw_kps` of InstantID (arXiv 2401.07519): four limbs from the nose, as ellipses, then dimmed; a
//! disc on every point.

use tch::{Device, Kind, Tensor};

use crate::raster::{Canvas, Pixel, ellipse};

/// Eye on the left of the picture, the other eye, nose, mouth corner on the left, the other corner.
pub type KeyPoints = [[f32; 2]; 5];

const COLORS: [[u8; 3]; 5] = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [255, 0, 255]];
/// The points that are joined to the nose.
const LIMBS: [usize; 4] = [0, 1, 3, 4];
const NOSE: usize = 2;
/// Half the width of a limb, pixels.
const LIMB: i64 = 4;
/// Brightness of the limbs beside that of the discs.
const DIMMED: f64 = 0.6;
/// Pixels.
const RADIUS: i64 = 10;

/// How far from the picture's corner a key point may lie, pixels: a face that is cut off may reach over the
/// border, but not without bound.
const REACH: f32 = 65536.0;

/// Why key points cannot be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum KeyPointError {
    #[error("key point {index} ({x}, {y}) is far outside the picture of {width} × {height}")]
    Outside { index: usize, x: f32, y: f32, width: u32, height: u32 },
    #[error("a picture of {width} × {height} pixels cannot be drawn")]
    Size { width: u32, height: u32 },
}

/// A drawing of key points: sRGB, 8 bits, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPointImage {
    pub width: u32,
    pub height: u32,
    pub rgb: Vec<u8>,
}

impl KeyPointImage {
    /// Draws the key points of every face, in pixels of the picture. All limbs lie below all discs; one
    /// face is drawn exactly as the reference draws it.
    ///
    /// # Errors
    /// [`KeyPointError::Outside`] for points that are not finite or far from the picture;
    /// [`KeyPointError::Size`] for a picture without pixels or with more than 2²⁸.
    pub fn draw(faces: &[KeyPoints], width: u32, height: u32) -> Result<Self, KeyPointError> {
        if !(1..=1 << 28).contains(&(u64::from(width) * u64::from(height))) {
            return Err(KeyPointError::Size { width, height });
        }
        for (index, &[x, y]) in faces.iter().flatten().enumerate() {
            if !(x.abs() <= REACH && y.abs() <= REACH) {
                return Err(KeyPointError::Outside { index: index % 5, x, y, width, height });
            }
        }
        let mut canvas = Canvas::new(width, height);
        for points in faces {
            for limb in LIMBS {
                canvas.fill_convex(&outline(points[limb], points[NOSE]), COLORS[limb]);
            }
        }
        canvas.map(|byte| (f64::from(byte) * DIMMED) as u8);
        for points in faces {
            for (point, color) in points.iter().zip(COLORS) {
                canvas.disc(point.map(|v| v as i64), RADIUS, color);
            }
        }
        Ok(Self { width, height, rgb: canvas.into_rgb() })
    }

    /// The condition picture of a ControlNet: [1, 3, H, W] in 0 to 1
    pub fn to_tensor(&self, device: Device) -> Tensor {
        let (height, width) = (i64::from(self.height), i64::from(self.width));
        let bytes = Tensor::from_slice(&self.rgb).view([1, height, width, 3]);
        bytes.to_device(device).to_kind(Kind::Float).permute([0, 3, 1, 2]).contiguous() / 255.0 // [1, 3, H, W]
    }
}

/// The ellipse that spans from one point to the other. All is cut to whole pixels and degrees, as the
/// reference does.
fn outline(from: [f32; 2], to: [f32; 2]) -> Vec<Pixel> {
    let [dx, dy] = [from[0] - to[0], from[1] - to[1]];
    let length = (dx * dx + dy * dy).sqrt();
    let angle = f64::from(dy).atan2(f64::from(dx)).to_degrees();
    let center = [(from[0] + to[0]) / 2.0, (from[1] + to[1]) / 2.0];
    ellipse(center.map(|v| v as i64), [(length / 2.0) as i64, LIMB], angle as i32)
}

/// Key points of a photo of `from` (width, height) in a picture of `to`: the photo is scaled until all of it
/// fits, and centred.
pub fn fit(points: &KeyPoints, from: (u32, u32), to: (u32, u32)) -> KeyPoints {
    let [from, to] = [from, to].map(|(w, h)| [w.max(1) as f32, h.max(1) as f32]);
    let scale = (to[0] / from[0]).min(to[1] / from[1]);
    points.map(|point| [0, 1].map(|axis| point[axis] * scale + (to[axis] - from[axis] * scale) / 2.0))
}
