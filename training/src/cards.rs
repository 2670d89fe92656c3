//! The identity cards of the reference shots: measured once on the pictures as a camera kept them, by the same code
//! that reads a person's photo, and joined in training with what is known of the person.
//!
//! Sex, age, hair length, beard and glasses are the renderer's truth: the probes that read them from photos were
//! learnt on photos. Descriptor and colours are measured, because only so do they mean the same on both.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imagine_identity::card::{
    CardVectors, DESCRIPTOR_WIDTH, Descriptor, HairLength, Lab, Part, Sex, descriptor_mean,
};
use imagine_identity::runtime::{YUNET_FILE, face_models};
use imagine_identity::{CardReader, FaceDetector, IdentityCard, IdentityError};
use rand::Rng;
use rand::rngs::StdRng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::colours::{self, Colours};
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
    let tools =
        || Ok((FaceDetector::open_with_threads(&models.join(YUNET_FILE), 1)?, CardReader::built_in()?));
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
    /// Of the pictures themselves, by frame.
    colours: Vec<Colours>,
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
        if measured.iter().flatten().next().is_none() {
            return Err(TrainingError::NoCards { path: file_of(folder), data: folder.into() });
        }
        let colours = colours::read(folder, &data.frames)?;
        Ok(Self::new(measured, colours, descriptor_mean().map_err(IdentityError::from)?))
    }

    /// What was measured by frame, on references and on all pictures, and the mean descriptor of photos.
    pub fn new(measured: Vec<Option<MeasuredCard>>, colours: Vec<Colours>, photo_mean: Vec<f32>) -> Self {
        let count = measured.iter().flatten().count();
        let mut render_mean = vec![0.0; DESCRIPTOR_WIDTH];
        for card in measured.iter().flatten() {
            render_mean.iter_mut().zip(&card.descriptor).for_each(|(m, v)| *m += v / count as f32);
        }
        Self { measured, colours, render_mean, photo_mean }
    }

    /// Whether a frame can condition a picture.
    pub fn knows(&self, frame: usize) -> bool {
        self.measured.get(frame).is_some_and(Option::is_some)
    }

    /// The vector of a reference for the picture `target` with noise, and without parts that are left out by chance,
    /// as a person may leave them out: [`CARD_WIDTH`](imagine_identity::card::CARD_WIDTH) numbers. The colours are
    /// those of the picture itself where they can be seen in it. None where there is no card.
    pub fn vector(
        &self,
        frames: &[Frame],
        reference: usize,
        target: usize,
        rng: &mut StdRng,
    ) -> Option<Vec<f32>> {
        let measured = self.measured.get(reference)?.as_ref()?;
        let person = frames.get(reference)?;
        let own = self.colours.get(target).copied().unwrap_or_default();
        let mut card = IdentityCard::default();
        if !rng.random_bool(DROP_GROUP) {
            card.descriptor = Descriptor::from_values(measured.descriptor.clone()).map(known);
        }
        if !rng.random_bool(DROP_GROUP) {
            let mut colour = |lab: Option<Lab>| {
                let lab = lab.filter(|_| !rng.random_bool(DROP_PART))?;
                let [l, a, b] = lab.channels().map(|v| v + noise(rng, COLOUR_NOISE));
                Some(known(Lab { l, a, b }))
            };
            (card.skin, card.hair_colour) =
                (colour(own.skin.or(measured.skin)), colour(own.hair.or(measured.hair)));
        }
        if !rng.random_bool(DROP_GROUP) {
            let (id, seen) = (&person.identity, &person.attributes);
            let length = match seen.hair_length {
                0 => HairLength::Bald,
                1 => HairLength::Short,
                _ => HairLength::Long,
            };
            let sex = if id.sex == "woman" { Sex::Woman } else { Sex::Man };
            let mut told = |dropped: f64| !rng.random_bool(dropped);
            card.hair_length = told(DROP_PART).then(|| known(length));
            card.beard = told(DROP_BEARD).then(|| known(id.beard.is_some()));
            card.glasses = told(DROP_PART).then(|| known(id.glasses.is_some()));
            card.sex = told(DROP_PART).then(|| known(sex));
            card.age = told(DROP_PART).then(|| known(seen.years + noise(rng, AGE_NOISE)));
        }
        // Renders share a direction that photos do not have: counted from the renders' own mean half of the
        // time, a descriptor lies about zero as photos' do, counted from theirs.
        let own = rng.random_range(0.0..2.0f32).min(1.0);
        let mean = self.render_mean.iter().zip(&self.photo_mean).map(|(r, p)| r * own + p * (1.0 - own));
        let mut vector = CardVectors::counted_from(mean.collect()).vector(&card);
        if card.descriptor.is_some() {
            vector[..DESCRIPTOR_WIDTH].iter_mut().for_each(|v| *v += noise(rng, DESCRIPTOR_NOISE));
        }
        Some(vector)
    }
}

/// A part that nothing is doubted of.
fn known<T>(value: T) -> Part<T> {
    Part::measured(value, 1.0)
}

/// A number of this standard deviation.
fn noise(rng: &mut StdRng, spread: f32) -> f32 {
    let drawn: f32 = StandardNormal.sample(rng);
    drawn * spread
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use rand::SeedableRng;

    use super::*;
    use crate::dataset::rendered;

    #[test]
    fn parts_are_the_truth_with_noise_and_left_out_at_times() {
        let cards = Cards {
            measured: vec![Some(MeasuredCard {
                descriptor: (0..DESCRIPTOR_WIDTH).map(|n| (n as f32).sin()).collect(),
                skin: Some(Lab { l: 75.0, a: 15.0, b: 30.0 }),
                hair: None,
            })],
            colours: vec![
                Colours::default(),
                Colours {
                    skin: Some(Lab { l: 50.0, a: 0.0, b: 15.0 }),
                    hair: Some(Lab { l: 25.0, a: 0.0, b: 0.0 }),
                },
            ],
            render_mean: vec![0.1; DESCRIPTOR_WIDTH],
            photo_mean: vec![0.0; DESCRIPTOR_WIDTH],
        };
        let (frames, mut rng) = ([rendered(1, 0)], StdRng::seed_from_u64(1));
        let drawn: Vec<Vec<f32>> = (0..400).map(|_| cards.vector(&frames, 0, 0, &mut rng).unwrap()).collect();
        let mean = |at: usize| drawn.iter().map(|vector| vector[at]).sum::<f32>() / drawn.len() as f32;
        // A woman with glasses and hair to the chin; nobody's beard, known half of the time; no colour of hair.
        for (at, low, high) in [
            (144, 0.6, 0.95),
            (145, 0.0, 0.0),
            (142, 0.6, 0.95),
            (139, 0.6, 0.95),
            (141, 0.3, 0.6),
            (136, 0.0, 0.0),
        ] {
            assert!((low..=high).contains(&mean(at)), "{at}: {}", mean(at));
        }
        assert!(mean(128) > 0.8 && mean(128) < 1.0 && mean(148) == 1.0);
        let years = mean(146) / mean(147) * 15.0 + 45.0;
        assert!((years - 30.0).abs() < 1.5, "{years}");
        assert_ne!(drawn[0][0], drawn[1][0]);
        assert!(cards.vector(&frames, 1, 0, &mut rng).is_none());
        // The colours of the picture itself, where it shows them: a hair colour that the reference does not tell.
        let other: Vec<Vec<f32>> = (0..400).map(|_| cards.vector(&frames, 0, 1, &mut rng).unwrap()).collect();
        let of = |vectors: &[Vec<f32>], at: usize, known: usize| {
            let told: Vec<f32> = vectors.iter().filter(|v| v[known] > 0.0).map(|v| v[at]).collect();
            told.iter().sum::<f32>() / told.len() as f32
        };
        for (vectors, at, known, wanted) in
            [(&drawn, 129, 132, 1.0), (&other, 129, 132, 0.0), (&other, 133, 136, -1.0)]
        {
            let found = of(vectors, at, known);
            assert!((found - wanted).abs() < 0.02, "{at}: {found}");
        }
    }
}
