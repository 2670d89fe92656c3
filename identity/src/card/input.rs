//! How a face is cut out and brought to a network's size: as face-api 1.7.15 does it with tensors. The cut is
//! padded with black to a square, the smaller half before, and sampled bilinearly with pixel (0, 0) of the
//! result on pixel (0, 0) of the square (TensorFlow's older convention, neither half pixels nor corners).

use image::RgbImage;
use tch::{Kind, TchError, Tensor};

use super::landmarks::Points68;
use crate::resize::Region;

/// Mean colour that both networks were trained to be without, RGB.
const MEAN: [f32; 3] = [122.782, 117.001, 104.298];

/// What the descriptor's cut is made of: the distance of eyes and mouth in shares of its side, and where their
/// middle lies in it.
const EYES_TO_MOUTH: f32 = 0.45;
const MIDDLE: [f32; 2] = [0.5, 0.43];

/// Pixels without the mean, divided by 255.
pub(super) fn normalised(faces: &Tensor) -> Result<Tensor, TchError> {
    let mean = Tensor::from_slice(&MEAN).view([1, 3, 1, 1]);
    faces.to_kind(Kind::Float).f_sub(&mean)?.f_div_scalar(255.0)
}

/// A rectangle of a picture, whole pixels, inside it.
pub struct Cut<'a> {
    picture: &'a RgbImage,
    region: Region,
}

impl<'a> Cut<'a> {
    /// The part of a rectangle (left, top, width, height; pixels) that lies in the picture, rounded as
    /// face-api rounds; `None` where nothing is left.
    pub fn new(picture: &'a RgbImage, [left, top, width, height]: [f32; 4]) -> Option<Self> {
        let axis = |low: f32, length: f32, size: u32| -> Option<(u32, u32)> {
            let clipped = low.max(0.0);
            let length = (low + length - clipped).min(size as f32 - clipped);
            let (low, length) = (clipped.floor(), length.floor());
            (low.is_finite() && length >= 1.0).then_some((low as u32, length as u32))
        };
        let (left, width) = axis(left, width, picture.width())?;
        let (top, height) = axis(top, height, picture.height())?;
        Some(Self { picture, region: Region { left, top, width, height } })
    }

    /// Width and height, pixels.
    pub fn size(&self) -> [u32; 2] {
        [self.region.width, self.region.height]
    }

    /// Black columns and rows before the cut in its square.
    fn padding(&self) -> [u32; 2] {
        let Region { width, height, .. } = self.region;
        let before = |less: u32, more: u32| more.saturating_sub(less) / 2;
        [before(width, height), before(height, width)]
    }

    /// The square at `size`×`size` pixels: [1, 3, size, size], RGB, 0 to 255
    ///
    /// # Errors
    /// No memory.
    pub fn input(&self, size: u32) -> Result<Tensor, TchError> {
        let Region { left, top, width, height } = self.region;
        let [pad_x, pad_y] = self.padding();
        let side = width.max(height);
        let ratio = side as f32 / size as f32;
        // index of the lower neighbour, of the upper one, share of the upper
        let axis: Vec<(u32, u32, f32)> = (0..size)
            .map(|at| {
                let place = ratio * at as f32;
                let low = place.floor();
                (low as u32, (place.ceil() as u32).min(side - 1), place - low)
            })
            .collect();
        let pixel = |x: u32, y: u32| -> [f32; 3] {
            let (x, y) = (x.wrapping_sub(pad_x), y.wrapping_sub(pad_y));
            if x >= width || y >= height {
                return [0.0; 3];
            }
            self.picture.get_pixel(left + x, top + y).0.map(f32::from)
        };
        let area = (size * size) as usize;
        let mut planes = vec![0f32; 3 * area];
        for (row, &(y0, y1, down)) in axis.iter().enumerate() {
            for (column, &(x0, x1, right)) in axis.iter().enumerate() {
                let corners = [pixel(x0, y0), pixel(x1, y0), pixel(x0, y1), pixel(x1, y1)];
                for c in 0..3 {
                    let [nw, ne, sw, se] = corners.map(|corner| corner[c]);
                    let (upper, lower) = (nw + (ne - nw) * right, sw + (se - sw) * right);
                    planes[c * area + row * size as usize + column] = upper + (lower - upper) * down;
                }
            }
        }
        let size = i64::from(size);
        Tensor::f_from_slice(&planes)?.f_view([1, 3, size, size])
    }

    /// Where a point of the square, in shares of its side, lies in the picture.
    pub(super) fn place(&self, [x, y]: [f32; 2]) -> [f32; 2] {
        let Region { left, top, width, height } = self.region;
        let side = width.max(height) as f32;
        // face-api takes half of the difference here, not the whole pixels that were padded
        let half = |less: u32, more: u32| more.saturating_sub(less) as f32 / 2.0;
        [x * side - half(width, height) + left as f32, y * side - half(height, width) + top as f32]
    }
}

/// The rectangle that the descriptor is computed from (face-api's `align` with `useDlibAlignment`): left, top,
/// width, height in pixels of the picture. `cut` is the size of the cut in which the points were found, which
/// face-api lets the rectangle not exceed by more than its own offset.
pub fn descriptor_rectangle(points: &Points68, cut: [u32; 2]) -> [f32; 4] {
    let [left_eye, right_eye, mouth] = [36..42, 42..48, 48..68].map(|part| centre(&points[part]));
    let to_mouth = |[x, y]: [f32; 2]| (mouth[0] - x).hypot(mouth[1] - y);
    let size = ((to_mouth(left_eye) + to_mouth(right_eye)) / 2.0 / EYES_TO_MOUTH).floor();
    let [x, y] = centre(&[left_eye, right_eye, mouth]);
    let corner = |middle: f32, share: f32| (middle - share * size).max(0.0).floor();
    let (left, top) = (corner(x, MIDDLE[0]), corner(y, MIDDLE[1]));
    [left, top, size.min(cut[0] as f32 + left), size.min(cut[1] as f32 + top)]
}

/// The mean of points.
pub(super) fn centre(points: &[[f32; 2]]) -> [f32; 2] {
    let sum = points.iter().fold([0.0; 2], |[a, b], [x, y]| [a + x, b + y]);
    sum.map(|v| v / points.len().max(1) as f32)
}
