//! Photos of real people: what of them is kept.

use std::path::Path;

use imagine_identity::Photo;
use imagine_identity::card::{Lab, Sex};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde::Serialize;

use super::Studio;
use super::people::summary;
use super::tally::Tally;
use crate::error::TrainingError;
use crate::files::photos_in;
use crate::judge::QUESTIONS;

/// Prompts without a hat, so that the hair is seen.
const PROMPTS: [&str; 5] = [
    "me, smiling, beach",
    "a portrait of me wearing a blue t-shirt, neutral, library",
    "me as a scientist, laboratory",
    "me as an astronaut, smiling, starry space",
    "me wearing a green hoodie, garden",
];
/// Ages at which one is middle-aged and elderly, as the renderer has it.
const GROUPS: [(f32, &str); 2] = [(58.0, "elderly"), (36.0, "middle-aged")];

/// What was measured on photos.
#[derive(Debug, Serialize)]
pub struct PhotosReport {
    pub photos: usize,
    pub unusable: usize,
    pub faces_found: Tally,
    /// Median ΔE between the card of the photo and that of the picture, and how often it is kept.
    pub skin: (f32, Tally),
    pub hair: (f32, Tally),
    /// How far the drawn colours lie from the photos' on average: L, a, b.
    pub skin_off: [f32; 3],
    pub hair_off: [f32; 3],
    /// What the card says of the photo is what the judge sees in the picture.
    pub sex: Tally,
    pub age_group: Tally,
    pub hair_length: Tally,
    pub glasses: Tally,
}

/// A colour of a photo and that of its picture.
type Colours = (Lab, Lab);

fn mean_difference(pairs: &[Colours]) -> [f32; 3] {
    let mut sum = [0.0; 3];
    for (photo, drawn) in pairs {
        let channels = drawn.channels().into_iter().zip(photo.channels());
        sum.iter_mut().zip(channels).for_each(|(sum, (drawn, photo))| *sum += drawn - photo);
    }
    sum.map(|sum| sum / pairs.len().max(1) as f32)
}

fn age_group(years: f32) -> &'static str {
    GROUPS.iter().find(|(from, _)| years >= *from).map_or("young", |(_, name)| name)
}

/// One picture of every photo of a folder.
pub fn measure(studio: &mut Studio, folder: &Path, rng: &mut StdRng) -> Result<PhotosReport, TrainingError> {
    let files = photos_in(folder)?;
    let mut report = PhotosReport {
        photos: files.len(),
        unusable: 0,
        faces_found: Tally::default(),
        skin: (0.0, Tally::default()),
        hair: (0.0, Tally::default()),
        skin_off: [0.0; 3],
        hair_off: [0.0; 3],
        sex: Tally::default(),
        age_group: Tally::default(),
        hair_length: Tally::default(),
        glasses: Tally::default(),
    };
    let (mut skin, mut hair): (Vec<Colours>, Vec<Colours>) = (Vec::new(), Vec::new());
    for file in &files {
        let photo = Photo::open(file).map_err(imagine_identity::IdentityError::from)?;
        let (Some(identity), Some(card)) = (studio.know(&photo)?, studio.card(photo.pixels())?) else {
            report.unusable += 1;
            continue;
        };
        let prompt = PROMPTS.choose(rng).copied().unwrap_or_default();
        let seen = studio.draw(prompt, &identity, rng.random::<u32>().into())?;
        report.faces_found.count(seen.face.is_some());
        let answer = |question: &str| {
            let at = QUESTIONS.iter().position(|q| *q == question);
            at.and_then(|at| seen.answers.get(at)).map(String::as_str).unwrap_or_default()
        };
        if let Some(sex) = &card.sex {
            report.sex.count(answer("sex") == if sex.value == Sex::Woman { "woman" } else { "man" });
        }
        if let Some(age) = &card.age {
            report.age_group.count(answer("age") == age_group(age.value));
        }
        if let Some(length) = &card.hair_length {
            report.hair_length.count(answer("hair length") == length.value.to_string());
        }
        if let Some(glasses) = &card.glasses {
            report.glasses.count((answer("glasses") != "none") == glasses.value);
        }
        let Some(found) = &seen.card else { continue };
        if let (Some(a), Some(b)) = (&card.skin, &found.skin) {
            skin.push((a.value, b.value));
        }
        if let (Some(a), Some(b)) = (&card.hair_colour, &found.hair_colour) {
            hair.push((a.value, b.value));
        }
    }
    let apart = |pairs: &[Colours]| summary(&pairs.iter().map(|(a, b)| a.distance(*b)).collect::<Vec<_>>());
    (report.skin, report.hair) = (apart(&skin), apart(&hair));
    (report.skin_off, report.hair_off) = (mean_difference(&skin), mean_difference(&hair));
    Ok(report)
}
