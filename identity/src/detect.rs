//! Finding faces: YuNet (Wu, Peng, Yu 2023), decoded as OpenCV's `FaceDetectorYN` does. The published
//! network takes 640×640 pixels and nothing else, so a photo is scaled until its longer side fits and the
//! rest stays black.

use std::path::Path;

use image::RgbImage;
use serde::Serialize;

use crate::IdentityError;
use crate::resize::{Region, resize};
use crate::runtime::{Network, default_threads};

/// Side of the detector's input, pixels.
pub const DETECTOR_SIZE: u32 = 640;
/// Least score of a face. Lower than OpenCV's 0.9: generated pictures and tight selfies score 0.6 to 0.8.
pub const SCORE_THRESHOLD: f32 = 0.6;
/// Two boxes that overlap by more than this (intersection over union) are one face; OpenCV's default.
pub const NMS_THRESHOLD: f32 = 0.3;
/// Most candidates that non-maximum suppression looks at; OpenCV's default.
pub const TOP_K: usize = 5000;

/// A face higher than this in the detector's input is more than YuNet was trained for (10 to 300 pixels):
/// it scores low or is missed, so the photo is looked at once more at half the size. Of close-ups that the
/// face fills, 25 of 80 are missed at full size and none at half.
const TOO_CLOSE: f32 = 320.0;
/// Height that [`FaceDetector::refine`] gives a face in the detector's input. Landmarks are most exact
/// there: at 64 pixels, 91 % of renders are nearest to one of the same person, at 256 to 400 it is 94 %.
const REFINED_HEIGHT: f32 = 300.0;
/// Faces seen this high are not worth a second look.
const EXACT_ENOUGH: std::ops::RangeInclusive<f32> = 240.0..=400.0;

const STRIDES: [u32; 3] = [8, 16, 32];
const OUTPUTS: [&str; 12] = [
    "cls_8", "cls_16", "cls_32", "obj_8", "obj_16", "obj_32", "bbox_8", "bbox_16", "bbox_32", "kps_8",
    "kps_16", "kps_32",
];
const INPUT: [i64; 4] = [1, 3, DETECTOR_SIZE as i64, DETECTOR_SIZE as i64];

/// One face, in pixels of the photo.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Face {
    /// Left, top, width, height; may reach over the border.
    pub bbox: [f32; 4],
    /// x and y of the person's right eye (on the left of the picture), left eye, nose tip, right mouth
    /// corner, left mouth corner: OpenCV's order, and that of the alignment template.
    pub landmarks: [[f32; 2]; 5],
    /// Confidence, 0 to 1.
    pub score: f32,
}

impl Face {
    /// The box's area, square pixels.
    pub fn area(&self) -> f32 {
        self.bbox[2] * self.bbox[3]
    }

    /// The shorter side of the box, pixels: how large the face is, even one that lies on its side.
    pub fn size(&self) -> f32 {
        self.bbox[2].min(self.bbox[3])
    }

    fn centre(&self) -> [f32; 2] {
        [self.bbox[0] + self.bbox[2] / 2.0, self.bbox[1] + self.bbox[3] / 2.0]
    }

    fn is_finite(&self) -> bool {
        self.bbox.iter().chain(self.landmarks.as_flattened()).all(|v| v.is_finite()) && self.score.is_finite()
    }

    /// Intersection over union of two boxes.
    fn overlap(&self, other: &Self) -> f32 {
        let shared = |axis: usize| {
            let low = self.bbox[axis].max(other.bbox[axis]);
            let high = (self.bbox[axis] + self.bbox[axis + 2]).min(other.bbox[axis] + other.bbox[axis + 2]);
            (high - low).max(0.0)
        };
        let both = shared(0) * shared(1);
        let either = self.area() + other.area() - both;
        if either > 0.0 { both / either } else { 0.0 }
    }
}

/// What the network says about one resolution, before any threshold. `rows`, one per cell of a grid of
/// (640 / stride)² cells, row by row.
#[derive(Debug, Clone)]
pub struct Level {
    /// Pixels between cells: 8, 16 or 32.
    pub stride: u32,
    /// `[rows]`: face or not.
    pub class: Vec<f32>,
    /// `[rows]`: how well the box fits.
    pub objectness: Vec<f32>,
    /// `[rows × 4]`: centre offset in cells, logarithm of the size in cells.
    pub boxes: Vec<f32>,
    /// `[rows × 10]`: landmark offsets in cells.
    pub landmarks: Vec<f32>,
}

/// The YuNet network, `face_detection_yunet_2023mar.onnx` of the OpenCV zoo. Can be shared by threads.
pub struct FaceDetector {
    network: Network,
}

impl FaceDetector {
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
    /// As [`FaceDetector::open`].
    pub fn open_with_threads(model: &Path, threads: usize) -> Result<Self, IdentityError> {
        Ok(Self { network: Network::open("the face detector", model, threads, INPUT, &OUTPUTS)? })
    }

    /// All faces of a picture of any size, the largest first.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn detect(&self, image: &RgbImage) -> Result<Vec<Face>, IdentityError> {
        if image.width() == 0 || image.height() == 0 {
            return Ok(Vec::new());
        }
        let whole = Region::whole(image);
        let scale = fitting_scale(image);
        let mut faces = self.look(image, whole, scale)?;
        let highest = faces.iter().map(|face| face.bbox[3] * scale).fold(0.0, f32::max);
        if faces.is_empty() || highest > TOO_CLOSE {
            faces.extend(self.look(image, whole, scale / 2.0)?);
            faces = suppress(faces);
        }
        faces.sort_by(|a, b| b.area().total_cmp(&a.area()));
        Ok(faces)
    }

    /// The same face with more exact landmarks: a second look at its surroundings, scaled so that the face
    /// has the size the detector knows best. Where the second look does not find it, or the first already
    /// had that size, the face comes back as it was.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn refine(&self, image: &RgbImage, face: &Face) -> Result<Face, IdentityError> {
        let seen = face.bbox[3] * fitting_scale(image);
        if !face.is_finite() || face.bbox[3] <= 0.0 || EXACT_ENOUGH.contains(&seen) {
            return Ok(*face);
        }
        let scale = REFINED_HEIGHT / face.bbox[3];
        let region = Region::around(face.centre(), DETECTOR_SIZE as f32 / scale, image);
        let again = self.look(image, region, scale)?;
        let best = again.into_iter().max_by(|a, b| a.overlap(face).total_cmp(&b.overlap(face)));
        Ok(best.filter(|found| found.overlap(face) > NMS_THRESHOLD).unwrap_or(*face))
    }

    /// Faces of one region, seen at `scale` detector pixels per photo pixel, in pixels of the photo.
    fn look(&self, image: &RgbImage, region: Region, scale: f32) -> Result<Vec<Face>, IdentityError> {
        let side = |length: u32| ((length as f32 * scale).round() as u32).clamp(1, DETECTOR_SIZE);
        let (width, height) = (side(region.width), side(region.height));
        let failed = |reason| IdentityError::Inference { network: "the face detector", reason };
        let mut canvas = RgbImage::new(DETECTOR_SIZE, DETECTOR_SIZE);
        image::imageops::replace(&mut canvas, &resize(image, region, width, height).map_err(failed)?, 0, 0);
        let mut faces = self.detect_canvas(&canvas)?;
        let (zoom_x, zoom_y) = (region.width as f32 / width as f32, region.height as f32 / height as f32);
        for face in &mut faces {
            let x = |x: f32| (x + 0.5) * zoom_x - 0.5 + region.left as f32;
            let y = |y: f32| (y + 0.5) * zoom_y - 0.5 + region.top as f32;
            let [left, top, wide, high] = face.bbox;
            face.bbox = [x(left), y(top), wide * zoom_x, high * zoom_y];
            face.landmarks = face.landmarks.map(|[u, v]| [x(u), y(v)]);
        }
        Ok(faces)
    }

    /// Faces of a picture that already has the detector's size, best score first: OpenCV's
    /// `FaceDetectorYN.detect` with input size 640×640.
    ///
    /// # Errors
    /// Another size; [`IdentityError::Inference`].
    pub fn detect_canvas(&self, canvas: &RgbImage) -> Result<Vec<Face>, IdentityError> {
        let levels = self.network_outputs(canvas)?;
        Ok(suppress(levels.iter().flat_map(decode).collect()))
    }

    /// The network's raw outputs for a 640×640 picture, finest level first.
    ///
    /// # Errors
    /// Another size; [`IdentityError::Inference`].
    pub fn network_outputs(&self, canvas: &RgbImage) -> Result<Vec<Level>, IdentityError> {
        let (width, height) = canvas.dimensions();
        if (width, height) != (DETECTOR_SIZE, DETECTOR_SIZE) {
            let what = "the detector's input";
            return Err(IdentityError::PictureSize { what, wanted: DETECTOR_SIZE, width, height });
        }
        let outputs = self.network.run(INPUT, planes_bgr(canvas), &OUTPUTS)?;
        let mut parts = outputs.into_iter();
        let mut take = |width: usize| -> Result<Vec<Vec<f32>>, IdentityError> {
            STRIDES
                .iter()
                .map(|stride| {
                    let values = parts.next().unwrap_or_default();
                    let wanted = (DETECTOR_SIZE / stride).pow(2) as usize * width;
                    if values.len() == wanted {
                        Ok(values)
                    } else {
                        let reason = format!("an output of {} values, expected {wanted}", values.len());
                        Err(IdentityError::Inference { network: "the face detector", reason })
                    }
                })
                .collect()
        };
        let (class, objectness, boxes, landmarks) = (take(1)?, take(1)?, take(4)?, take(10)?);
        let levels = STRIDES.into_iter().zip(class).zip(objectness).zip(boxes).zip(landmarks);
        Ok(levels
            .map(|((((stride, class), objectness), boxes), landmarks)| Level {
                stride,
                class,
                objectness,
                boxes,
                landmarks,
            })
            .collect())
    }
}

/// Detector pixels per photo pixel when the longer side fills the input.
fn fitting_scale(image: &RgbImage) -> f32 {
    DETECTOR_SIZE as f32 / image.width().max(image.height()).max(1) as f32
}

/// [3, height, width] in the order blue, green, red, values 0 to 255: YuNet was trained on OpenCV's order.
fn planes_bgr(image: &RgbImage) -> Vec<f32> {
    let samples = image.as_raw();
    (0..3).rev().flat_map(|c| samples.iter().skip(c).step_by(3).map(|&v| f32::from(v))).collect()
}

/// Boxes of one level whose score is high enough.
fn decode(level: &Level) -> Vec<Face> {
    let columns = (DETECTOR_SIZE / level.stride) as usize;
    let stride = level.stride as f32;
    let boxes = level.boxes.as_chunks::<4>().0;
    let points = level.landmarks.as_chunks::<10>().0;
    let cells = level.class.iter().zip(&level.objectness).zip(boxes).zip(points).enumerate();
    cells
        .filter_map(|(cell, (((class, objectness), shape), points))| {
            let score = (class.clamp(0.0, 1.0) * objectness.clamp(0.0, 1.0)).sqrt();
            if score.is_nan() || score <= SCORE_THRESHOLD {
                return None;
            }
            let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
            let (width, height) = (shape[2].exp() * stride, shape[3].exp() * stride);
            let (x, y) = ((column + shape[0]) * stride, (row + shape[1]) * stride);
            let landmarks = std::array::from_fn(|n| {
                [(points[2 * n] + column) * stride, (points[2 * n + 1] + row) * stride]
            });
            let face = Face { bbox: [x - width / 2.0, y - height / 2.0, width, height], landmarks, score };
            face.is_finite().then_some(face)
        })
        .collect()
}

/// Non-maximum suppression: best score first, every further face must stand apart from those kept.
fn suppress(mut faces: Vec<Face>) -> Vec<Face> {
    faces.sort_by(|a, b| b.score.total_cmp(&a.score));
    faces.truncate(TOP_K);
    let mut kept: Vec<Face> = Vec::new();
    for face in faces {
        if kept.iter().all(|other| other.overlap(&face) <= NMS_THRESHOLD) {
            kept.push(face);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(left: f32, size: f32, score: f32) -> Face {
        Face { bbox: [left, 0.0, size, size], landmarks: [[0.0; 2]; 5], score }
    }

    #[test]
    fn suppression_keeps_the_best_of_each_heap() {
        let kept = suppress(vec![face(0.0, 10.0, 0.7), face(1.0, 10.0, 0.9), face(30.0, 10.0, 0.8)]);
        assert_eq!(kept, vec![face(1.0, 10.0, 0.9), face(30.0, 10.0, 0.8)]);
        assert!((face(0.0, 10.0, 0.5).overlap(&face(5.0, 10.0, 0.5)) - 1.0 / 3.0).abs() < 1e-6);
        assert_eq!(face(0.0, 0.0, 0.5).overlap(&face(0.0, 0.0, 0.5)), 0.0);
    }

    #[test]
    fn cells_that_are_not_finite_are_no_faces() {
        let mut level = Level {
            stride: 32,
            class: vec![0.0; 400],
            objectness: vec![1.0; 400],
            boxes: vec![0.0; 1600],
            landmarks: vec![0.0; 4000],
        };
        level.class[21] = 1.0;
        level.class[22] = 1.0;
        level.class[23] = f32::NAN;
        level.boxes[22 * 4 + 2] = 1e9;
        let faces = decode(&level);
        assert_eq!(faces.len(), 1);
        // cell 21 is column 1 of row 1
        assert_eq!(faces[0].bbox, [16.0, 16.0, 32.0, 32.0]);
        assert_eq!(faces[0].landmarks, [[32.0; 2]; 5]);
    }
}
