//! The identity cards of the reference shots: measured once on the pictures as a camera kept them, by the same code
//! that reads a person's photo, and joined in training with what is known of the person.
//!
//! Sex, age, hair length, beard and glasses are the renderer's truth: the probes that read them from photos were
//! learnt on photos. Descriptor and colours are measured, because only so do they mean the same on both.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imagine_identity::card::{
    CARD_WIDTH, Columns, DESCRIPTOR_LENGTH, DESCRIPTOR_WIDTH, Lab, descriptor_mean,
};
use imagine_identity::runtime::{YUNET_FILE, face_models};
use imagine_identity::{CardReader, FaceDetector, IdentityError};
use rand::Rng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::dataset::{Dataset, Frame, read_frames};
use crate::error::TrainingError;
use crate::files::write_json;
use crate::in_parallel;
use crate::recipe::{AGE_NOISE, COLOUR_NOISE, DESCRIPTOR_NOISE, DROP_BEARD, DROP_GROUP, DROP_PART};

/// Photos between two savings.
const SAVE_EVERY: usize = 500;

/// What was measured on one reference shot.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct MeasuredCard {
    pub descriptor: Vec<f32>,
    pub skin: Option<Lab>,
    pub hair: Option<Lab>,
}

/// By the file name of the frame's picture; none where the card finds no face.
pub type Measured = BTreeMap<String, Option<MeasuredCard>>;

fn file_of(data: &Path) -> PathBuf {
    data.join("cards.json")
}

/// Reads what [`measure`] has left in a folder of rendered people.
pub fn read(data: &Path) -> Result<Measured, TrainingError> {
    let path = file_of(data);
    if !path.is_file() {
        return Err(TrainingError::NoCards { path, data: data.into() });
    }
    let text = fs::read_to_string(&path).map_err(TrainingError::io(&path))?;
    serde_json::from_str(&text).map_err(|source| TrainingError::Json { path, source })
}

/// Measures the reference shots that have no card yet.
pub fn measure(data: &Path) -> Result<(), TrainingError> {
    let mut known = if file_of(data).is_file() { read(data)? } else { Measured::new() };
    let models = face_models().map_err(IdentityError::from)?;
    let tools = || Ok((FaceDetector::open(&models.join(YUNET_FILE))?, CardReader::built_in()?));
    let frames = read_frames(data)?;
    let new: Vec<(&Frame, &str)> = frames
        .iter()
        .filter(|frame| !known.contains_key(&frame.file))
        .filter_map(|frame| Some((frame, frame.photo.as_deref()?)))
        .collect();
    println!("cards: {} known, {} photos to look at", known.len(), new.len());
    let look = |(detector, reader): &(FaceDetector, CardReader), (_, photo): &(&Frame, &str)| {
        let path = data.join(photo);
        let picture = image::open(&path).map_err(|source| TrainingError::Image { path, source })?.to_rgb8();
        let card = match detector.detect(&picture)?.first() {
            Some(face) => reader.read(&picture, &detector.refine(&picture, face)?)?,
            None => None,
        };
        Ok(card.and_then(|card| {
            Some(MeasuredCard {
                descriptor: card.descriptor?.value.values().to_vec(),
                skin: card.skin.map(|part| part.value),
                hair: card.hair_colour.map(|part| part.value),
            })
        }))
    };
    for (done, chunk) in new.chunks(SAVE_EVERY).enumerate() {
        let measured = in_parallel::map(chunk, tools, look)?;
        known.extend(chunk.iter().map(|(frame, _)| frame.file.clone()).zip(measured));
        write_json(&file_of(data), &known)?;
        println!("cards: {} of {}", done * SAVE_EVERY + chunk.len(), new.len());
    }
    let found = known.values().flatten().count();
    println!("cards: a card for {found} of {} reference shots", known.len());
    Ok(())
}

/// The cards of a data set, and the two middles from which descriptors may be counted.
pub struct Cards {
    /// By frame; none where the frame is no reference or has no face.
    measured: Vec<Option<MeasuredCard>>,
    /// Mean descriptor of the renders, and of photos of real people.
    render_mean: Vec<f32>,
    photo_mean: Vec<f32>,
}

impl Cards {
    /// Reads the cards in `folder`.
    pub fn read(data: &Dataset, folder: &Path) -> Result<Self, TrainingError> {
        let mut found = read(folder)?;
        let measured: Vec<Option<MeasuredCard>> =
            data.frames.iter().map(|frame| found.remove(&frame.file).flatten()).collect();
        let count = measured.iter().flatten().count();
        if count == 0 {
            return Err(TrainingError::NoCards { path: file_of(folder), data: folder.into() });
        }
        let mut render_mean = vec![0.0; DESCRIPTOR_WIDTH];
        for card in measured.iter().flatten() {
            render_mean.iter_mut().zip(&card.descriptor).for_each(|(m, v)| *m += v / count as f32);
        }
        Ok(Self { measured, render_mean, photo_mean: descriptor_mean().map_err(IdentityError::from)? })
    }

    /// Whether a frame can condition a picture.
    pub fn knows(&self, frame: usize) -> bool {
        self.measured.get(frame).is_some_and(Option::is_some)
    }

    /// The vector of a reference with noise, and without parts that are left out by chance, as a person may leave
    /// them out: [`CARD_WIDTH`] numbers. None where there is no card.
    pub fn vector(&self, data: &Dataset, frame: usize, rng: &mut StdRng) -> Option<Vec<f32>> {
        let card = self.measured.get(frame)?.as_ref()?;
        let person = data.frames.get(frame)?;
        let mut vector = vec![0.0; CARD_WIDTH];
        let noise = |rng: &mut StdRng, spread: f32| {
            let drawn: f32 = StandardNormal.sample(rng);
            drawn * spread
        };
        if !rng.random_bool(DROP_GROUP) {
            // Renders share a direction that photos do not have: counted from the renders' own middle half of
            // the time, a descriptor lies about zero as photos' do, counted from theirs.
            let own = rng.random_range(0.0..2.0f32).min(1.0);
            let middle =
                self.render_mean.iter().zip(&self.photo_mean).map(|(r, p)| r * own + p * (1.0 - own));
            let moved: Vec<f32> = card.descriptor.iter().zip(middle).map(|(d, m)| d - m).collect();
            let length = moved.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
            for (place, value) in vector.iter_mut().zip(moved) {
                *place = value / length * DESCRIPTOR_LENGTH + noise(rng, DESCRIPTOR_NOISE);
            }
            vector[DESCRIPTOR_WIDTH] = 1.0;
        }
        let colours = !rng.random_bool(DROP_GROUP);
        for (at, colour) in [(0, &card.skin), (4, &card.hair)] {
            let Some(lab) = colour.as_ref().filter(|_| colours && !rng.random_bool(DROP_PART)) else {
                continue;
            };
            let mut seen = lab.channels();
            seen.iter_mut().for_each(|v| *v += noise(rng, COLOUR_NOISE));
            let [l, a, b] = seen;
            let at = Columns::COLOURS.start + at;
            vector[at..at + 4].copy_from_slice(&[(l - 50.0) / 25.0, a / 15.0, b / 15.0, 1.0]);
        }
        if !rng.random_bool(DROP_GROUP) {
            let (id, seen) = (&person.identity, &person.attributes);
            let yes_no = |yes: bool| usize::from(!yes);
            let length = [0, 1, 2, 2][usize::from(seen.hair_length.min(3))];
            let parts = [
                (length, DROP_PART),
                (3 + yes_no(id.beard.is_some()), DROP_BEARD),
                (5 + yes_no(id.glasses.is_some()), DROP_PART),
                (7 + yes_no(id.sex == "woman"), DROP_PART),
            ];
            for (at, dropped) in parts {
                if !rng.random_bool(dropped) {
                    vector[Columns::TRAITS.start + at] = 1.0;
                }
            }
            if !rng.random_bool(DROP_PART) {
                vector[Columns::TRAITS.start + 9] = (seen.years + noise(rng, AGE_NOISE) - 45.0) / 15.0;
                vector[Columns::TRAITS.start + 10] = 1.0;
            }
        }
        vector[Columns::ONE] = 1.0;
        Some(vector)
    }
}
