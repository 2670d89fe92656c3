//! Is this photo good enough? Measured from the face's geometry and its aligned crop; every verdict is a
//! sentence that says what to do.
//!
//! The thresholds come from 160 renders of 40 people at 1024 pixels and one portrait photo, spoiled step by
//! step; "cosine" below is that between the spoiled and the unspoiled face's SFace embedding.

use std::fmt;

use image::RgbImage;
use serde::Serialize;

use crate::detect::Face;

/// Face width, in pixels, below which a person is asked for a larger photo. The aligned face is about 72
/// pixels wide, so below this nothing is left in reserve: median cosine .98 here, .96 at 48.
pub const GOOD_FACE_PIXELS: f32 = 80.0;
/// Face width below which a photo is refused: median cosine .90 (worst .67) at 32, .81 (worst .32) at 24.
pub const SMALLEST_FACE_PIXELS: f32 = 32.0;
/// Least sharpness. A blur of 1 aligned pixel (median cosine .97) passes in 91 of 100 cases, one of 2
/// pixels (.84) fails in 60, one of 3 (.68) in 89.
pub const LEAST_SHARPNESS: f32 = 0.012;
/// Most degrees to either side. Cosine to the same person's frontal picture: .78 up to 20°, .73 at 20 to
/// 30°, .65 at 30 to 50°, .44 beyond.
pub const MOST_YAW: f32 = 35.0;
/// Least brightness. The darkest skin of the renders in ordinary light measures 75, under neon 58; a
/// quarter of the light leaves 42 (median cosine .94, before the noise that a real dark photo has).
pub const LEAST_BRIGHTNESS: f32 = 45.0;
/// A second face at least this share of the largest one's size makes it doubtful who is meant; smaller ones
/// are passers-by.
pub const RIVAL_SHARE: f32 = 0.5;

/// Distance of the nose tip in front of the eyes, in eye distances: what turns the nose's offset into an
/// angle. Fitted to renders of known pose (standard error 8°).
const NOSE_DEPTH: f32 = 0.6;

/// Something about a photo that stands in the way of a good likeness. Displays as advice.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Problem {
    /// No face was found. Blocks.
    NoFace,
    /// Several faces could be meant and none was chosen by number.
    SeveralFaces { count: usize },
    /// The face is `pixels` wide. Blocks below [`SMALLEST_FACE_PIXELS`].
    TooSmall { pixels: u32, needed: u32 },
    /// The face has little fine detail; see [`sharpness`].
    Blurred { sharpness: f32, needed: f32 },
    /// The head is turned by about this much; positive: towards the right of the picture.
    TurnedAway { yaw_degrees: f32 },
    /// Even the bright parts of the face are dark; see [`brightness`].
    TooDark { brightness: f32, needed: f32 },
    /// The face is unlike those of the other photos: best cosine to any of them.
    Unlike { likeness: f32 },
}

impl Problem {
    /// For programs: the name in the reports' `problem`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoFace => "no_face",
            Self::SeveralFaces { .. } => "several_faces",
            Self::TooSmall { .. } => "too_small",
            Self::Blurred { .. } => "blurred",
            Self::TurnedAway { .. } => "turned_away",
            Self::TooDark { .. } => "too_dark",
            Self::Unlike { .. } => "unlike",
        }
    }

    /// True where no embedding should be made of this photo; otherwise it is a warning.
    pub fn blocks(&self) -> bool {
        match self {
            Self::NoFace => true,
            Self::TooSmall { pixels, .. } => (*pixels as f32) < SMALLEST_FACE_PIXELS,
            _ => false,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoFace => f.write_str(
                "no face was found: use a photo that shows the face upright, from the front and uncovered",
            ),
            Self::SeveralFaces { count } => write!(
                f,
                "{count} faces were found and the largest, number 0, was taken: crop the photo to one person, or \
                 choose a face by number"
            ),
            Self::TooSmall { pixels, needed } => write!(
                f,
                "the face is only {pixels} pixels wide and should be {needed} or more: come closer or send the \
                 photo in full size"
            ),
            Self::Blurred { sharpness, needed } => write!(
                f,
                "the face is blurred (sharpness {sharpness:.3}, should be {needed:.3} or more): hold the camera \
                 still, focus on the face, clean the lens"
            ),
            Self::TurnedAway { yaw_degrees } => write!(
                f,
                "the head is turned about {:.0}° to the {} of the picture: look into the camera",
                yaw_degrees.abs(),
                if *yaw_degrees < 0.0 { "left" } else { "right" }
            ),
            Self::TooDark { brightness, needed } => write!(
                f,
                "the face is too dark (brightness {brightness:.0} of 255, should be {needed:.0} or more): turn \
                 towards a window or a lamp"
            ),
            Self::Unlike { likeness } => write!(
                f,
                "the face is unlike those of the other photos (likeness {likeness:.2} at best): make sure that \
                 all photos show the same person"
            ),
        }
    }
}

/// What was found wrong with a photo; nothing, at best.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Verdict {
    /// In the order in which they should be mended.
    pub problems: Vec<Problem>,
}

impl Verdict {
    /// True where nothing is wrong.
    pub fn is_good(&self) -> bool {
        self.problems.is_empty()
    }

    /// The problem that keeps the photo from being used, if there is one.
    pub fn blocking(&self) -> Option<Problem> {
        self.problems.iter().copied().find(Problem::blocks)
    }

    /// Problems that lower the likeness without ruling the photo out.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| !problem.blocks())
    }
}

/// Judges one face by its geometry and its aligned 112×112 crop.
pub fn judge(face: &Face, aligned: &RgbImage) -> Vec<Problem> {
    let mut problems = Vec::new();
    if face.size() < GOOD_FACE_PIXELS {
        // rounded down, so that the number shown is below the one needed
        problems
            .push(Problem::TooSmall { pixels: face.size().max(0.0) as u32, needed: GOOD_FACE_PIXELS as u32 });
    }
    let yaw = yaw_degrees(&face.landmarks);
    if yaw.abs() > MOST_YAW {
        problems.push(Problem::TurnedAway { yaw_degrees: yaw });
    }
    let brightness = brightness(aligned);
    if brightness < LEAST_BRIGHTNESS {
        problems.push(Problem::TooDark { brightness, needed: LEAST_BRIGHTNESS });
    }
    let sharpness = sharpness(aligned);
    // A small face is enlarged and therefore soft; saying both would send people after the wrong cause.
    if sharpness < LEAST_SHARPNESS && face.size() >= GOOD_FACE_PIXELS {
        problems.push(Problem::Blurred { sharpness, needed: LEAST_SHARPNESS });
    }
    problems
}

/// How many of the faces could be the one meant: those near the size of the largest (largest first).
pub fn rivals(faces: &[Face]) -> usize {
    let largest = faces.first().map_or(0.0, Face::size);
    faces.iter().filter(|face| face.size() >= largest * RIVAL_SHARE).count()
}

/// How far the head is turned, in degrees, from where the nose tip lies between the eyes; positive towards
/// the right of the picture. Good to about 8°; tilting the head sideways does not matter.
pub fn yaw_degrees(landmarks: &[[f32; 2]; 5]) -> f32 {
    let [one, other, nose, ..] = *landmarks;
    let axis = [other[0] - one[0], other[1] - one[1]];
    let square = axis[0] * axis[0] + axis[1] * axis[1];
    if square <= 0.0 {
        return 90.0;
    }
    let from_middle = [nose[0] - (one[0] + other[0]) / 2.0, nose[1] - (one[1] + other[1]) / 2.0];
    let offset = (from_middle[0] * axis[0] + from_middle[1] * axis[1]) / square;
    (offset / NOSE_DEPTH).atan().to_degrees()
}

/// Fine detail of an aligned 112×112 face: variance of the Laplacian over variance of the luma, so that
/// neither the light nor the skin's tone counts. About 0.1 for a sharp portrait.
pub fn sharpness(aligned: &RgbImage) -> f32 {
    // brow to chin, cheek to cheek: the background may be as blurred as it likes
    let (columns, rows) = (16..96, 8..104);
    let (Some(_), true) = (aligned.get_pixel_checked(columns.end, rows.end), columns.start > 0) else {
        return 0.0;
    };
    let mut detail = Vec::with_capacity(columns.len() * rows.len());
    let mut lumas = Vec::with_capacity(columns.len() * rows.len());
    for y in rows {
        for x in columns.clone() {
            let at = |x, y| luma(aligned.get_pixel(x, y).0);
            lumas.push(at(x, y));
            detail.push(at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y));
        }
    }
    let contrast = variance(&lumas);
    if contrast > 0.0 { variance(&detail) / contrast } else { 0.0 }
}

/// Luma, 0 to 255, that a tenth of the aligned 112×112 face reaches. The bright tenth and not the mean, so
/// that dark skin in good light, whose highlights are bright, is not called dark.
pub fn brightness(aligned: &RgbImage) -> f32 {
    let mut lumas: Vec<f32> = aligned
        .enumerate_pixels()
        .filter(|(x, y, _)| (20..92).contains(x) && (20..100).contains(y))
        .map(|(_, _, pixel)| luma(pixel.0))
        .collect();
    lumas.sort_by(f32::total_cmp);
    lumas.get(lumas.len() * 9 / 10).copied().unwrap_or(0.0)
}

/// Rec. 601 luma of gamma-coded samples, as in OpenCV's grey conversion.
fn luma([r, g, b]: [u8; 3]) -> f32 {
    0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b)
}

fn variance(values: &[f32]) -> f32 {
    let count = values.len().max(1) as f32;
    let mean = values.iter().sum::<f32>() / count;
    values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / count
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    const FRONTAL: [[f32; 2]; 5] = crate::align::ARCFACE_TEMPLATE;

    fn face(size: f32) -> Face {
        Face { bbox: [0.0, 0.0, size, size * 1.4], landmarks: FRONTAL, score: 0.9 }
    }

    /// Stripes of one pixel: as sharp as a picture can be.
    fn sharp(bright: u8) -> RgbImage {
        RgbImage::from_fn(112, 112, |x, y| Rgb([if (x + y) % 4 < 2 { bright } else { bright / 2 }; 3]))
    }

    #[test]
    fn a_large_bright_sharp_frontal_face_has_no_problem() {
        assert_eq!(judge(&face(90.0), &sharp(180)), vec![]);
    }

    #[test]
    fn each_fault_is_named_with_its_numbers() {
        let small = judge(&face(60.7), &sharp(180));
        assert_eq!(small, vec![Problem::TooSmall { pixels: 60, needed: 80 }]);
        assert!(!small[0].blocks() && judge(&face(31.0), &sharp(180))[0].blocks());
        let dark = judge(&face(90.0), &sharp(30));
        assert!(
            matches!(dark[..], [Problem::TooDark { brightness, .. }] if (brightness - 30.0).abs() < 0.1),
            "{dark:?}"
        );
        let flat = judge(&face(90.0), &RgbImage::from_pixel(112, 112, Rgb([120; 3])));
        assert!(matches!(flat[..], [Problem::Blurred { .. }]), "{flat:?}");
        let mut turned = face(90.0);
        turned.landmarks[2][0] += 20.0;
        let turned = judge(&turned, &sharp(180));
        assert!(
            matches!(turned[..], [Problem::TurnedAway { yaw_degrees }] if yaw_degrees > 40.0),
            "{turned:?}"
        );
        assert!(turned[0].to_string().contains("right"), "{}", turned[0]);
    }

    #[test]
    fn yaw_is_blind_to_roll_and_scale_and_changes_sign_with_the_side() {
        assert!(yaw_degrees(&FRONTAL).abs() < 2.0);
        let turn = |points: &[[f32; 2]; 5], angle: f32| {
            points.map(|[x, y]| {
                [x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()].map(|v| 3.0 * v)
            })
        };
        let mut side = FRONTAL;
        side[2][0] += 14.0;
        let yaw = yaw_degrees(&side);
        assert!((yaw_degrees(&turn(&side, 0.7)) - yaw).abs() < 0.1);
        let mirrored = [1, 0, 2, 4, 3].map(|n: usize| [112.0 - side[n][0], side[n][1]]);
        assert!((yaw_degrees(&mirrored) + yaw).abs() < 1e-3);
        assert_eq!(yaw_degrees(&[[1.0; 2]; 5]), 90.0);
    }

    #[test]
    fn blur_lowers_sharpness_and_dim_light_does_not() {
        let sharp = sharp(200);
        let blurred = image::imageops::blur(&sharp, 2.0);
        let dim = RgbImage::from_fn(112, 112, |x, y| Rgb(sharp.get_pixel(x, y).0.map(|v| v / 2)));
        assert!(sharpness(&blurred) < sharpness(&sharp) / 10.0);
        assert!((sharpness(&dim) / sharpness(&sharp) - 1.0).abs() < 0.05);
        // a crop of the wrong size has no measurable detail and must not panic
        assert_eq!((sharpness(&RgbImage::new(5, 5)), brightness(&RgbImage::new(5, 5))), (0.0, 0.0));
    }

    #[test]
    fn passers_by_are_no_rivals() {
        assert_eq!(rivals(&[face(100.0), face(60.0), face(20.0)]), 2);
        assert_eq!(rivals(&[]), 0);
    }
}
