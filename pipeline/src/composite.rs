//! Putting the untouched rest of a picture back: pixels outside the mask are the original's to the last
//! bit, and inside it the new picture is faded in.

use imagine_contract::{GrayPixels, RgbPixels};

/// The original and how much of a new picture goes over each of its pixels.
pub struct Composite {
    original: RgbPixels,
    /// 0 keeps the original, 1 takes the new picture; one value a pixel.
    share: Vec<f32>,
}

impl Composite {
    /// `marks` is as large as `original`; the share grows from the edge of the marked part over `feather`
    /// pixels inwards, and is nowhere more than the mark itself.
    pub fn new(original: RgbPixels, marks: &GrayPixels, feather: u32) -> Self {
        let depth = depth_inside(marks);
        let ramp = feather as f32 + 1.0;
        let share = marks.values.iter().zip(depth);
        let share = share.map(|(&mark, depth)| f32::from(mark) / 255.0 * (depth / ramp).min(1.0)).collect();
        Self { original, share }
    }

    /// Lays `picture`, as large as the original, over it.
    pub fn apply(&self, picture: &mut RgbPixels) {
        let pixels = picture.rgb.chunks_exact_mut(3).zip(self.original.rgb.chunks_exact(3));
        for ((new, old), &share) in pixels.zip(&self.share) {
            for (new, &old) in new.iter_mut().zip(old) {
                let (a, b) = (f32::from(old), f32::from(*new));
                *new = (a + (b - a) * share).round() as u8;
            }
        }
    }
}

/// Distance of every marked pixel to the nearest unmarked one, in pixels; 0 for those. The border of the
/// picture is no edge. By two passes with steps of 3 and 4 thirds (Borgefors 1986), which is within 8 % of
/// the true distance.
fn depth_inside(marks: &GrayPixels) -> Vec<f32> {
    const FAR: u32 = u32::MAX / 2;
    let (width, height) = (marks.width as usize, marks.height as usize);
    let mut thirds: Vec<u32> = marks.values.iter().map(|&v| if v == 0 { 0 } else { FAR }).collect();
    // Neighbours that were visited before, on the way down and, mirrored, on the way up.
    let before: [(isize, isize, u32); 4] = [(-1, 0, 3), (-1, -1, 4), (0, -1, 3), (1, -1, 4)];
    for sign in [1isize, -1] {
        for n in 0..width * height {
            let at = if sign == 1 { n } else { width * height - 1 - n };
            let (x, y) = (at % width, at / width);
            let mut best = thirds[at];
            for (dx, dy, step) in before {
                let (nx, ny) = (x.checked_add_signed(dx * sign), y.checked_add_signed(dy * sign));
                if let (Some(nx), Some(ny)) = (nx.filter(|&v| v < width), ny.filter(|&v| v < height)) {
                    best = best.min(thirds[ny * width + nx] + step);
                }
            }
            thirds[at] = best;
        }
    }
    thirds.into_iter().map(|d| d as f32 / 3.0).collect()
}

/// A face in a picture: left, top, width and height in pixels.
pub type FaceBox = [f32; 4];

/// A mask for changing everything but the faces: each box is grown by `GROWTH` of its sides, and over `EDGE`
/// of its larger side the mask rises from 0 to 255.
pub fn all_but_faces(width: u32, height: u32, faces: &[FaceBox]) -> GrayPixels {
    /// Of the box on every side: hair line, chin and ears lie outside what a detector returns.
    const GROWTH: f32 = 0.2;
    const EDGE: f32 = 0.15;
    let mut mask = GrayPixels::filled(width, height, 255);
    for (at, value) in mask.values.iter_mut().enumerate() {
        let (x, y) = ((at as u32 % width) as f32 + 0.5, (at as u32 / width) as f32 + 0.5);
        for &[left, top, w, h] in faces {
            let (centre, half) = ([left + w / 2.0, top + h / 2.0], [w * (0.5 + GROWTH), h * (0.5 + GROWTH)]);
            let outside = |p: f32, c: f32, half: f32| ((p - c).abs() - half).max(0.0);
            let away = outside(x, centre[0], half[0]).hypot(outside(y, centre[1], half[1]));
            let share = (away / (EDGE * w.max(h)).max(1.0)).clamp(0.0, 1.0);
            *value = (*value).min((share * 255.0).round() as u8);
        }
    }
    mask
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(width: u32, height: u32, value: u8) -> RgbPixels {
        RgbPixels { width, height, rgb: vec![value; (width * height * 3) as usize] }
    }

    #[test]
    fn the_rest_stays_to_the_last_bit_and_the_edge_is_faded() {
        let mut marks = GrayPixels::filled(9, 1, 255);
        marks.values[..3].fill(0);
        let composite = Composite::new(flat(9, 1, 10), &marks, 3);
        let mut picture = flat(9, 1, 210);
        composite.apply(&mut picture);
        let red: Vec<u8> = picture.rgb.chunks_exact(3).map(|p| p[0]).collect();
        assert_eq!(red, [10, 10, 10, 60, 110, 160, 210, 210, 210]);
        let hard = Composite::new(flat(9, 1, 10), &marks, 0);
        let mut picture = flat(9, 1, 210);
        hard.apply(&mut picture);
        assert_eq!(picture.rgb[6..12], [10, 10, 10, 210, 210, 210]);
    }

    #[test]
    fn distances_are_measured_in_all_directions() {
        let mut marks = GrayPixels::filled(7, 7, 255);
        marks.values[3 * 7 + 3] = 0;
        let depth = depth_inside(&marks);
        for (x, y, expected) in
            [(3, 3, 0.0), (4, 3, 1.0), (3, 0, 3.0), (0, 3, 3.0), (6, 6, 4.0), (2, 4, 4.0 / 3.0)]
        {
            assert!((depth[y * 7 + x] - expected).abs() < 1e-5, "{x},{y}: {}", depth[y * 7 + x]);
        }
        // Nothing but marks: far from every edge.
        assert!(depth_inside(&GrayPixels::filled(3, 3, 9)).iter().all(|&d| d > 1e6));
    }

    #[test]
    fn a_face_is_left_out_with_a_soft_edge() {
        let mask = all_but_faces(100, 80, &[[40.0, 30.0, 20.0, 20.0]]);
        let at = |x: usize, y: usize| mask.values[y * 100 + x];
        assert_eq!((at(50, 40), at(37, 27), at(62, 52)), (0, 0, 0), "the face and its surroundings");
        assert_eq!((at(5, 5), at(95, 40), at(50, 75)), (255, 255, 255));
        let edge: Vec<u8> = (62..70).map(|x| at(x, 40)).collect();
        assert!(edge.is_sorted() && edge.iter().any(|v| (1..255).contains(v)), "{edge:?}");
    }
}
