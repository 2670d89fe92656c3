//! What the identity card measures on each picture of a folder, as JSON lines: the numbers from which
//! `training/card/gates.py` learns the card's probes and writes its report.

use std::fs;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use image::RgbImage;
use imagine_identity::card::{Measure, Sample};
use imagine_identity::runtime::{YUNET_FILE, face_models};
use imagine_identity::{FaceDetector, IdentityError};
use serde::Serialize;

use crate::error::TrainingError;

/// Shares of the light's colour that are tried.
const LIGHT_SHARES: [f32; 4] = [0.0, 0.3, 0.5, 1.0];

/// One run.
pub struct CardRun {
    /// Folder of pictures.
    pub pictures: PathBuf,
    /// File of JSON lines.
    pub out: PathBuf,
    /// Every how many pictures one is measured.
    pub every: usize,
    /// What light of a colour does to the pictures: factors of linear red, green and blue.
    pub cast: Option<[f32; 3]>,
}

/// A line of the file. Colours are L, a, b, the spread of the pixels and the share of places, by light share.
#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    score: f32,
    /// Height of the face's box, pixels of the picture.
    height: f32,
    /// The 68 points and the detector's five, pixels of the picture.
    points: Vec<[f32; 2]>,
    five: &'a [[f32; 2]],
    descriptor: &'a [f32],
    skin: Vec<Option<[f32; 5]>>,
    hair: Vec<Option<[f32; 5]>>,
    eyes: &'a [f32],
    mouth: &'a [f32],
    head: &'a [f32],
}

fn colour(sample: Option<Sample>) -> Option<[f32; 5]> {
    sample.map(|Sample { colour, spread, share }| [colour.l, colour.a, colour.b, spread, share])
}

/// Pictures of a folder and the folders in it, sorted.
fn pictures(dir: &Path) -> Result<Vec<PathBuf>, TrainingError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(TrainingError::io(dir))? {
        let path = entry.map_err(TrainingError::io(dir))?.path();
        if path.is_dir() {
            found.extend(pictures(&path)?);
        } else if path.extension().is_some_and(|end| ["jpg", "jpeg", "png"].iter().any(|e| end == *e)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// A picture as it is under light of a colour.
fn under(picture: &RgbImage, cast: [f32; 3]) -> RgbImage {
    // sRGB is close enough to a power of 2.2 for a light that is made up
    let tables: [Vec<u8>; 3] = cast.map(|factor| {
        let factor = factor.powf(1.0 / 2.2);
        (0..=255u8).map(|v| (f32::from(v) * factor).round().min(255.0) as u8).collect()
    });
    let mut changed = picture.clone();
    for pixel in changed.pixels_mut() {
        for (value, table) in pixel.0.iter_mut().zip(&tables) {
            *value = table[usize::from(*value)];
        }
    }
    changed
}

/// Measures the largest face of every picture; pictures without one are left out.
pub fn run(run: &CardRun) -> Result<(), TrainingError> {
    let models = face_models().map_err(IdentityError::from)?;
    let detector = FaceDetector::open(&models.join(YUNET_FILE))?;
    let measure = Measure::built_in().map_err(IdentityError::from)?;
    let files: Vec<PathBuf> = pictures(&run.pictures)?.into_iter().step_by(run.every.max(1)).collect();
    let file = fs::File::create(&run.out).map_err(TrainingError::io(&run.out))?;
    let mut out = BufWriter::new(file);
    let mut measured = 0;
    for (n, path) in files.iter().enumerate() {
        let picture =
            image::open(path).map_err(|source| TrainingError::Image { path: path.clone(), source })?;
        let mut picture = picture.to_rgb8();
        if let Some(cast) = run.cast {
            picture = under(&picture, cast);
        }
        let Some(found) = detector.detect(&picture)?.into_iter().next() else { continue };
        let face = detector.refine(&picture, &found)?;
        let Some(m) = measure.look(&picture, &face)? else { continue };
        let name = path.strip_prefix(&run.pictures).unwrap_or(path);
        let colours = LIGHT_SHARES.map(|share| m.colours(share));
        let line = Line {
            file: &name.to_string_lossy(),
            score: face.score,
            height: face.bbox[3],
            points: m.points_in_photo().to_vec(),
            five: &face.landmarks,
            descriptor: m.descriptor.values(),
            skin: colours.iter().map(|[skin, _]| colour(*skin)).collect(),
            hair: colours.iter().map(|[_, hair]| colour(*hair)).collect(),
            eyes: &m.eyes,
            mouth: &m.mouth,
            head: &m.head,
        };
        let text = serde_json::to_string(&line)
            .map_err(|source| TrainingError::Json { path: run.out.clone(), source })?;
        writeln!(out, "{text}").map_err(TrainingError::io(&run.out))?;
        measured += 1;
        if (n + 1) % 200 == 0 {
            println!("{} of {}", n + 1, files.len());
        }
    }
    out.flush().map_err(TrainingError::io(&run.out))?;
    println!("a face in {measured} of {} pictures", files.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    #[test]
    fn a_cast_changes_each_channel_by_its_factor() {
        let grey = RgbImage::from_pixel(1, 1, Rgb([100; 3]));
        let [r, g, b] = under(&grey, [1.25, 1.0, 0.8]).get_pixel(0, 0).0;
        assert_eq!((r, g, b), (111, 100, 90));
        assert_eq!(under(&RgbImage::from_pixel(1, 1, Rgb([250; 3])), [2.0; 3]).get_pixel(0, 0).0, [255; 3]);
    }
}
