//! The colours of skin and hair in every picture, measured as the identity card measures them on a photo: what a
//! picture's own condition says, so that the model learns to draw the colours that it is told. Those of another shot,
//! in another light, tell it little of them, and it draws them nearer to the middle of all.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use image::RgbImage;
use imagine_identity::card::{Lab, Measure};
use imagine_identity::runtime::{YUNET_FILE, face_models};
use imagine_identity::{FaceDetector, IdentityError};
use serde::{Deserialize, Serialize};

use crate::dataset::{Frame, read_frames};
use crate::error::TrainingError;
use crate::files::write_json;
use crate::in_parallel;
use crate::renders::pictures;

/// Colours in one picture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Colours {
    pub skin: Option<Lab>,
    /// None where no hair is visible.
    pub hair: Option<Lab>,
}

fn file_of(data: &Path) -> PathBuf {
    data.join("colours.json")
}

/// Reads what [`measure`] has left in a folder of rendered people, in the order of the frames.
pub fn read(data: &Path, frames: &[Frame]) -> Result<Vec<Colours>, TrainingError> {
    let path = file_of(data);
    if !path.is_file() {
        return Err(TrainingError::NoCards { path, data: data.into() });
    }
    let text = std::fs::read_to_string(&path).map_err(TrainingError::io(&path))?;
    let found: BTreeMap<String, Colours> =
        serde_json::from_str(&text).map_err(|source| TrainingError::Json { path, source })?;
    Ok(frames.iter().map(|frame| found.get(&frame.file).copied().unwrap_or_default()).collect())
}

/// Measures all pictures of a folder, unless that is done.
pub fn measure(data: &Path) -> Result<(), TrainingError> {
    if file_of(data).is_file() {
        return Ok(());
    }
    let models = face_models().map_err(IdentityError::from)?;
    let tools = || {
        let measure = Measure::built_in().map_err(IdentityError::from)?;
        Ok((FaceDetector::open_with_threads(&models.join(YUNET_FILE), 1)?, measure))
    };
    let frames = read_frames(data)?;
    println!("colours: {} pictures to look at", frames.len());
    let people: Vec<&[Frame]> = frames.chunk_by(|a, b| a.person == b.person).collect();
    let look = |(detector, measure): &(FaceDetector, Measure), shots: &&[Frame]| {
        let pictures = pictures(data, shots)?;
        let colours = |(frame, picture): (&Frame, &RgbImage)| {
            let [skin, hair] = match detector.detect(picture)?.first() {
                Some(face) => measure.colours(picture, &detector.refine(picture, face)?)?,
                None => [None; 2],
            };
            let hair = hair.filter(|_| frame.identity.hair_visible);
            Ok(Colours { skin: skin.map(|s| s.colour), hair: hair.map(|s| s.colour) })
        };
        shots.iter().zip(&pictures).map(colours).collect::<Result<Vec<_>, TrainingError>>()
    };
    let found = in_parallel::map(&people, tools, look)?;
    let found: Vec<Colours> = found.into_iter().flatten().collect();
    let seen = found.iter().filter(|colours| colours.skin.is_some()).count();
    let found: BTreeMap<&str, Colours> = frames.iter().map(|frame| frame.file.as_str()).zip(found).collect();
    write_json(&file_of(data), &found)?;
    println!("colours: of {seen} of {} pictures", frames.len());
    Ok(())
}
