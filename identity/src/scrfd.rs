//! Finding faces with SCRFD (Guo et al. 2021, arXiv 2105.04714) as InsightFace runs it: the detector of its
//! model packs, with five key points. Everything down to the rounding of the shrunk photo follows InsightFace,
//! because the adapters that packs are used with were trained on its crops.

use std::path::Path;

use image::RgbImage;

use crate::IdentityError;
use crate::detect::Face;
use crate::onnx_graph::GraphSummary;
use crate::opencv_resize::resize_bilinear;
use crate::runtime::{Network, default_threads};

/// Least score of a face; InsightFace's default.
pub const SCORE_THRESHOLD: f32 = 0.5;
/// Two boxes that overlap by more than this (intersection over union) are one face; InsightFace's default.
pub const NMS_THRESHOLD: f32 = 0.4;
/// Sides of the detector's input in the order they are tried, pixels. InsightFace uses the first; the rest is
/// how IP-Adapter's and InstantID's users find a face that fills the photo, which is too large for 640.
pub const DETECTOR_SIZES: [u32; 8] = [640, 576, 512, 448, 384, 320, 256, 192];

const NAME: &str = "the face detector";
const STRIDES: [u32; 3] = [8, 16, 32];
/// Every cell of a level makes two guesses, which lie side by side in the output.
const ANCHORS: usize = 2;
/// Outputs of a detector with key points: scores, boxes and key points at three strides.
pub(crate) const OUTPUTS: usize = 9;

/// An SCRFD network with key points, such as `det_10g.onnx`. Can be shared by threads.
pub struct Scrfd {
    network: Network,
    /// In the file's order: scores, boxes, key points, each at strides 8, 16 and 32.
    outputs: Vec<String>,
    sizes: Vec<u32>,
}

/// A guess above the threshold, in pixels of the photo.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Candidate {
    /// Left, top, right, bottom.
    corners: [f32; 4],
    landmarks: [[f32; 2]; 5],
    score: f32,
}

impl Scrfd {
    /// Loads the network with the default number of threads.
    ///
    /// # Errors
    /// ONNX Runtime or the file missing, or a file that is another model.
    pub fn open(model: &Path) -> Result<Self, IdentityError> {
        Self::open_with_threads(model, default_threads())
    }

    /// Loads the network; `threads` work on one picture.
    ///
    /// # Errors
    /// As [`Scrfd::open`].
    pub fn open_with_threads(model: &Path, threads: usize) -> Result<Self, IdentityError> {
        let wrong = |reason: String| IdentityError::PackModel { path: model.to_owned(), reason };
        let graph = GraphSummary::read(model).map_err(wrong)?;
        let sizes = match graph.inputs.iter().map(|input| &input.shape[..]).collect::<Vec<_>>()[..] {
            [[_, _, None, None]] => DETECTOR_SIZES.to_vec(),
            [&[_, _, Some(height), Some(width)]] if height == width && height % 32 == 0 => {
                vec![u32::try_from(height).map_err(|e| wrong(e.to_string()))?]
            }
            ref other => return Err(wrong(format!("its inputs have shapes {other:?}: no SCRFD detector"))),
        };
        let outputs: Vec<String> = graph.outputs.into_iter().map(|output| output.name).collect();
        if outputs.len() != OUTPUTS {
            let reason = format!("it has {} outputs; SCRFD with key points has {OUTPUTS}", outputs.len());
            return Err(wrong(reason));
        }
        let side = sizes.first().map_or(0, |&side| i64::from(side));
        let network = Network::open(NAME, model, threads, [1, 3, side, side], &outputs)
            .map_err(IdentityError::in_pack)?;
        Ok(Self { network, outputs, sizes })
    }

    /// All faces of a picture of any size, the largest first. Where none is found the picture is looked at
    /// in ever smaller sizes.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn detect(&self, image: &RgbImage) -> Result<Vec<Face>, IdentityError> {
        for &size in &self.sizes {
            let mut faces = self.detect_at(image, size)?;
            if !faces.is_empty() {
                faces.sort_by(|a, b| b.area().total_cmp(&a.area()));
                return Ok(faces);
            }
        }
        Ok(Vec::new())
    }

    /// Faces of a picture shown to the network at one size, best score first: InsightFace's `SCRFD.detect`
    /// with `input_size=(size, size)`. `size` is a multiple of 32.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn detect_at(&self, image: &RgbImage, size: u32) -> Result<Vec<Face>, IdentityError> {
        if image.width() == 0 || image.height() == 0 {
            return Ok(Vec::new());
        }
        let (canvas, scale) = letterbox(image, size);
        let side = i64::from(size);
        let outputs = self.network.run([1, 3, side, side], planes(&canvas), &self.outputs)?;
        let mut found = Vec::new();
        for (level, stride) in STRIDES.into_iter().enumerate() {
            let output =
                |part: usize| outputs.get(part * STRIDES.len() + level).map_or(&[][..], Vec::as_slice);
            let (scores, boxes, points) = (output(0), output(1), output(2));
            let rows = (size / stride).pow(2) as usize * ANCHORS;
            if (scores.len(), boxes.len(), points.len()) != (rows, rows * 4, rows * 10) {
                let reason = format!(
                    "{}, {} and {} values at stride {stride}, expected {rows} scores, boxes of 4 and key points \
                     of 10",
                    scores.len(),
                    boxes.len(),
                    points.len()
                );
                return Err(IdentityError::Inference { network: NAME, reason });
            }
            found.extend(decode(scores, boxes, points, size / stride, stride, scale));
        }
        Ok(suppress(found).iter().map(Candidate::face).collect())
    }
}

impl Candidate {
    fn face(&self) -> Face {
        let [left, top, right, bottom] = self.corners;
        Face { bbox: [left, top, right - left, bottom - top], landmarks: self.landmarks, score: self.score }
    }

    fn is_finite(&self) -> bool {
        self.corners.iter().chain(self.landmarks.as_flattened()).all(|v| v.is_finite())
            && self.score.is_finite()
    }

    /// Area in whole pixels, both borders counted, as InsightFace does.
    fn area(&self) -> f32 {
        let [left, top, right, bottom] = self.corners;
        (right - left + 1.0) * (bottom - top + 1.0)
    }

    /// Intersection over union with the same convention.
    fn overlap(&self, other: &Self) -> f32 {
        let width = self.corners[2].min(other.corners[2]) - self.corners[0].max(other.corners[0]) + 1.0;
        let height = self.corners[3].min(other.corners[3]) - self.corners[1].max(other.corners[1]) + 1.0;
        let both = width.max(0.0) * height.max(0.0);
        both / (self.area() + other.area() - both)
    }
}

/// The picture scaled to fit a square, in its upper left corner, the rest black; and canvas pixels per pixel
/// of the picture.
fn letterbox(image: &RgbImage, size: u32) -> (RgbImage, f32) {
    let ratio = f64::from(image.height()) / f64::from(image.width());
    let side = f64::from(size);
    // whole pixels, rounded down; a line one pixel thin stays one
    let (width, height) =
        if ratio > 1.0 { ((side / ratio) as u32, size) } else { (size, (side * ratio) as u32) };
    let (width, height) = (width.max(1), height.max(1));
    let mut canvas = RgbImage::new(size, size);
    image::imageops::replace(&mut canvas, &resize_bilinear(image, width, height), 0, 0);
    (canvas, (f64::from(height) / f64::from(image.height())) as f32)
}

/// [3, height, width] in the order red, green, blue, values −1 to 1
fn planes(image: &RgbImage) -> Vec<f32> {
    let samples = image.as_raw();
    (0..3).flat_map(|c| samples.iter().skip(c).step_by(3).map(|&v| (f32::from(v) - 127.5) / 128.0)).collect()
}

/// Guesses of one level above the threshold. `scores` [rows], `boxes` [rows × 4]: distances from the cell to
/// left, top, right, bottom in cells, `points` [rows × 10]: offsets in cells; rows = cells × anchors.
fn decode(
    scores: &[f32],
    boxes: &[f32],
    points: &[f32],
    columns: u32,
    stride: u32,
    scale: f32,
) -> Vec<Candidate> {
    let (boxes, points) = (boxes.as_chunks::<4>().0, points.as_chunks::<10>().0);
    let step = stride as f32;
    let rows = scores.iter().zip(boxes).zip(points).enumerate();
    rows.filter(|(_, ((score, _), _))| **score >= SCORE_THRESHOLD)
        .map(|(row, ((&score, distances), offsets))| {
            let cell = row / ANCHORS;
            let [x, y] = [cell % columns as usize, cell / columns as usize].map(|n| n as f32 * step);
            let [left, top, right, bottom] = distances.map(|d| d * step);
            let corners = [x - left, y - top, x + right, y + bottom].map(|v| v / scale);
            let landmarks = std::array::from_fn(|n| {
                [(x + offsets[2 * n] * step) / scale, (y + offsets[2 * n + 1] * step) / scale]
            });
            Candidate { corners, landmarks, score }
        })
        .filter(Candidate::is_finite)
        .collect()
}

/// Non-maximum suppression: best score first, every further face must stand apart from those kept.
fn suppress(mut found: Vec<Candidate>) -> Vec<Candidate> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut kept: Vec<Candidate> = Vec::new();
    for candidate in found {
        if kept.iter().all(|other| other.overlap(&candidate) <= NMS_THRESHOLD) {
            kept.push(candidate);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_photo_is_shown_whole_in_the_upper_left_corner() {
        let wide = RgbImage::from_pixel(300, 101, Rgb([255, 0, 0]));
        let (canvas, scale) = letterbox(&wide, 64);
        // 64 × 101 / 300 = 21.5…
        assert_eq!(canvas.get_pixel(63, 20).0, [255, 0, 0]);
        assert_eq!(canvas.get_pixel(63, 21).0, [0; 3]);
        assert!((scale - 21.0 / 101.0).abs() < 1e-6);
        let (canvas, scale) = letterbox(&RgbImage::from_pixel(1, 2000, Rgb([9; 3])), 64);
        assert_eq!((canvas.get_pixel(0, 63).0, canvas.get_pixel(1, 0).0, scale), ([9; 3], [0; 3], 0.032));
    }

    #[test]
    fn guesses_are_read_cell_by_cell_and_anchor_by_anchor() {
        // a level of 2×2 cells; the second guess of the cell in column 1, row 1
        let (mut scores, mut boxes, mut points) = ([0.4; 8], [1.0; 32], [0.5; 80]);
        scores[7] = 0.5;
        boxes[28..].copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
        points[70] = -1.0;
        // above the threshold, but nowhere
        scores[0] = 0.9;
        boxes[0] = f32::INFINITY;
        scores[1] = f32::NAN;
        let found = decode(&scores, &boxes, &points, 2, 8, 0.5);
        let [one] = found[..] else { panic!("{found:?}") };
        assert_eq!(one.corners, [0.0, -16.0, 64.0, 80.0]);
        assert_eq!((one.landmarks[0], one.landmarks[1]), ([0.0, 24.0], [24.0, 24.0]));
        assert_eq!(one.face().bbox, [0.0, -16.0, 64.0, 96.0]);
    }

    #[test]
    fn suppression_counts_both_borders() {
        let at = |left: f32, score| Candidate {
            corners: [left, 0.0, left + 9.0, 9.0],
            landmarks: [[0.0; 2]; 5],
            score,
        };
        // ten pixels wide, four shared: 40 of 160
        assert!((at(0.0, 1.0).overlap(&at(6.0, 1.0)) - 0.25).abs() < 1e-6);
        let kept = suppress(vec![at(1.0, 0.6), at(0.0, 0.9), at(5.0, 0.8)]);
        assert_eq!(kept, vec![at(0.0, 0.9), at(5.0, 0.8)]);
    }
}
