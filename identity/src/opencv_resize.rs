//! Plain bilinear resizing to the very numbers of OpenCV's `resize` with `INTER_LINEAR`, without a filter
//! when shrinking. InsightFace shows its detector photos resized so; other numbers would move its boxes.
//!
//! OpenCV works in fixed point: weights of 11 bits, the low bits of each row's sum dropped before and after
//! the second pass.

use image::RgbImage;

/// One of the weights' 2,048 parts.
const ONE: f32 = 2048.0;

/// A sample of the result: the two samples it lies between and their weights.
#[derive(Clone, Copy)]
struct Tap {
    near: usize,
    far: usize,
    weights: [i32; 2],
}

/// The taps along one axis. Where a sample lies outside, the nearest one counts alone; along a column OpenCV
/// keeps the two weights there, which rounds differently.
fn taps(from: u32, to: u32, keep_weights: bool) -> Vec<Tap> {
    let scale = f64::from(from) / f64::from(to);
    let last = i64::from(from) - 1;
    (0..to)
        .map(|at| {
            let place = ((f64::from(at) + 0.5) * scale - 0.5) as f32;
            let floor = place.floor();
            let (near, mut share) = (floor as i64, place - floor);
            if !keep_weights && (near < 0 || near >= last) {
                share = 0.0;
            }
            Tap {
                near: near.clamp(0, last) as usize,
                far: (near + 1).clamp(0, last) as usize,
                weights: [1.0 - share, share].map(|w| (w * ONE).round_ties_even() as i32),
            }
        })
        .collect()
}

/// The picture at `width`×`height` pixels, at least 1×1; a picture without pixels comes back black.
pub(crate) fn resize_bilinear(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (width, height) = (width.max(1), height.max(1));
    let mut result = RgbImage::new(width, height);
    if image.width() == 0 || image.height() == 0 {
        return result;
    }
    let columns = taps(image.width(), width, false);
    let rows = taps(image.height(), height, true);
    let stride = image.width() as usize * 3;
    let source = image.as_raw();
    // One source row brought to the new width; sums of up to 255 × 2048.
    let across = |row: usize| -> Vec<i32> {
        let samples = source.get(row * stride..(row + 1) * stride).unwrap_or_default().as_chunks::<3>().0;
        let mut sums = Vec::with_capacity(columns.len() * 3);
        for tap in &columns {
            let (Some(near), Some(far)) = (samples.get(tap.near), samples.get(tap.far)) else { continue };
            let [a, b] = tap.weights;
            sums.extend(near.iter().zip(far).map(|(&n, &f)| i32::from(n) * a + i32::from(f) * b));
        }
        sums
    };
    // The rows needed last, so that enlarging does not compute them again.
    let mut held: [(usize, Vec<i32>); 2] = [(usize::MAX, Vec::new()), (usize::MAX, Vec::new())];
    for (tap, line) in rows.iter().zip(result.chunks_exact_mut(width as usize * 3)) {
        if held[1].0 == tap.near {
            held.swap(0, 1);
        }
        for (place, row) in held.iter_mut().zip([tap.near, tap.far]) {
            if place.0 != row {
                *place = (row, across(row));
            }
        }
        let [a, b] = tap.weights;
        for ((sample, upper), lower) in line.iter_mut().zip(&held[0].1).zip(&held[1].1) {
            let sum = ((a * (upper >> 4)) >> 16) + ((b * (lower >> 4)) >> 16);
            *sample = ((sum + 2) >> 2).clamp(0, 255) as u8;
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn picture() -> RgbImage {
        RgbImage::from_fn(7, 5, |x, y| {
            Rgb([x * 37 + y * 91, x * x * 29 + y * 17, (x * 113) ^ (y * 57)].map(|v| (v % 256) as u8))
        })
    }

    /// Expected samples from OpenCV 5.0.0: `cv2.resize(picture, size)`.
    #[test]
    fn samples_equal_opencvs() {
        for (width, height, expected) in [(3, 2, &SHRUNK[..]), (9, 6, &ENLARGED[..])] {
            assert_eq!(resize_bilinear(&picture(), width, height).as_raw(), expected, "{width}×{height}");
        }
    }

    #[test]
    fn sizes_at_the_limits() {
        assert_eq!(resize_bilinear(&picture(), 7, 5), picture());
        assert_eq!(resize_bilinear(&picture(), 0, 0).dimensions(), (1, 1));
        assert_eq!(resize_bilinear(&RgbImage::new(0, 4), 2, 2), RgbImage::new(2, 2));
        let flat = RgbImage::from_pixel(1, 1, Rgb([9, 200, 255]));
        assert!(resize_bilinear(&flat, 40, 3).pixels().all(|p| p.0 == [9, 200, 255]));
    }

    const SHRUNK: [u8; 18] = [93, 32, 69, 179, 18, 100, 74, 161, 68, 64, 74, 195, 151, 60, 232, 173, 33, 122];
    const ENLARGED: [u8; 162] = [
        0, 0, 0, 25, 19, 75, 53, 68, 163, 82, 91, 194, 111, 5, 83, 140, 163, 171, 168, 211, 116, 197, 148,
        91, 222, 20, 166, 68, 13, 43, 93, 32, 69, 122, 80, 144, 150, 104, 194, 179, 18, 100, 208, 175, 208,
        130, 223, 118, 74, 161, 68, 98, 33, 161, 144, 27, 90, 169, 46, 51, 131, 95, 95, 77, 118, 150, 106,
        32, 63, 134, 190, 179, 104, 238, 120, 85, 175, 94, 110, 47, 190, 113, 41, 138, 138, 60, 108, 100,
        109, 102, 46, 132, 116, 75, 46, 123, 104, 121, 146, 132, 145, 127, 161, 119, 114, 186, 61, 129, 40,
        55, 185, 64, 74, 195, 93, 123, 136, 122, 147, 95, 151, 60, 232, 130, 19, 122, 144, 10, 135, 173, 33,
        122, 198, 75, 26, 108, 68, 228, 133, 87, 175, 161, 136, 85, 190, 159, 45, 219, 73, 183, 49, 32, 65,
        20, 23, 130, 49, 46, 161, 74, 88, 66,
    ];
}
