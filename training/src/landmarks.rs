//! Where the faces are in the training pictures, found once and kept beside them, for the identity loss.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imagine_identity::runtime::{YUNET_FILE, face_models};
use imagine_identity::{FaceDetector, IdentityError};

use crate::dataset::{Frame, read_frames};
use crate::error::TrainingError;
use crate::files::write_json;
use crate::in_parallel;
use crate::pictures::framed;
use crate::recipe::PICTURE_SIZE;

/// Five points of a face, pixels of a framed picture, in the order of the alignment template.
pub type Points = [[f32; 2]; 5];

/// By the picture's file name; none where no face is found at that size.
pub type Landmarks = BTreeMap<String, Option<Points>>;

/// Pictures between two savings.
const SAVE_EVERY: usize = 500;

fn file_of(data: &Path) -> PathBuf {
    data.join("landmarks.json")
}

/// Reads what [`find`] has left in a folder of rendered people.
pub fn read(data: &Path) -> Result<Landmarks, TrainingError> {
    let path = file_of(data);
    if !path.is_file() {
        return Err(TrainingError::NoLandmarks { path, data: data.into() });
    }
    let text = fs::read_to_string(&path).map_err(TrainingError::io(&path))?;
    serde_json::from_str(&text).map_err(|source| TrainingError::Json { path, source })
}

/// Looks for the landmarks of all pictures that have none yet.
pub fn find(data: &Path) -> Result<(), TrainingError> {
    let mut known = if file_of(data).is_file() { read(data)? } else { Landmarks::new() };
    let frames = read_frames(data)?;
    let models = face_models().map_err(IdentityError::from)?;
    let tools = || Ok(FaceDetector::open_with_threads(&models.join(YUNET_FILE), 1)?);
    let new: Vec<&Frame> = frames.iter().filter(|frame| !known.contains_key(&frame.file)).collect();
    println!("landmarks: {} known, {} pictures to look at", known.len(), new.len());
    let look = |detector: &FaceDetector, frame: &&Frame| {
        let path = data.join(&frame.file);
        let picture = image::open(&path).map_err(|source| TrainingError::Image { path, source })?;
        let faces = detector.detect(&framed(&picture.to_rgb8(), PICTURE_SIZE as u32))?;
        Ok(faces.first().map(|face| face.landmarks))
    };
    for (done, chunk) in new.chunks(SAVE_EVERY).enumerate() {
        let points = in_parallel::map(chunk, tools, look)?;
        known.extend(chunk.iter().map(|frame| frame.file.clone()).zip(points));
        write_json(&file_of(data), &known)?;
        println!("landmarks: {} of {}", done * SAVE_EVERY + chunk.len(), new.len());
    }
    let found = known.values().flatten().count();
    println!("landmarks: a face in {found} of {} pictures", known.len());
    Ok(())
}

/// The face of the mirrored picture: what was on the left is on the right, and so are the names.
pub fn mirrored(points: &Points, side: f32) -> Points {
    let [right_eye, left_eye, nose, right_corner, left_corner] = points.map(|[x, y]| [side - 1.0 - x, y]);
    [left_eye, right_eye, nose, left_corner, right_corner]
}

#[cfg(test)]
mod tests {
    use super::*;
    use imagine_identity::align::ARCFACE_TEMPLATE;

    #[test]
    fn a_mirrored_face_keeps_the_eye_on_the_left_first() {
        let there = mirrored(&ARCFACE_TEMPLATE, 112.0);
        assert!(there[0][0] < there[1][0] && there[3][0] < there[4][0]);
        assert_eq!(there[2][0], 111.0 - ARCFACE_TEMPLATE[2][0]);
        let back = mirrored(&there, 112.0);
        assert!(
            back.iter().flatten().zip(ARCFACE_TEMPLATE.iter().flatten()).all(|(b, t)| (b - t).abs() < 1e-4)
        );
    }
}
