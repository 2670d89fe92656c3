//! The card as numbers, for an adapter that was trained on cards, and to be kept where embeddings are kept.
//!
//! The last number is one. Who scales a vector, as all that handle embeddings do, scales it too, so that the
//! numbers can be had again; and the mean of several vectors is that of their cards. What is not known is zero, and
//! a number beside it says so.

use std::ops::Range;

use imagine_unet::WeightsError;

use super::colour::Lab;
use super::descriptor::DESCRIPTOR_WIDTH;
use super::parts::{HairLength, IdentityCard, Sex};
use super::probes::descriptor_mean;

/// Numbers of a card's vector.
pub const CARD_WIDTH: usize = 149;
/// Length of the descriptor's part: that of 128 numbers of variance one.
pub const DESCRIPTOR_LENGTH: f32 = 11.313_708;
/// The cosine of two photos' descriptors, counted from the mean of photos, above which they show one person: that
/// of 0.6 apart, which dlib takes, at the length of .57 that photos of many people have on average.
pub const SAME_PERSON: f32 = 0.44;

/// Where what stands in a vector, once it is divided by its last number.
pub struct Columns;

impl Columns {
    /// The descriptor's direction from the mean of photos, [`DESCRIPTOR_LENGTH`] long, and whether it is known.
    pub const DESCRIPTOR: Range<usize> = 0..129;
    /// Colours of skin and hair: (L − 50) / 25, a / 15, b / 15, known; twice.
    pub const COLOURS: Range<usize> = 129..137;
    /// Bald, short, long; beard, none; glasses, none; woman, man; (years − 45) / 15, known.
    pub const TRAITS: Range<usize> = 137..148;
    pub const ONE: usize = 148;
}

/// Makes vectors of cards.
pub struct CardVectors {
    mean: Vec<f32>,
}

impl CardVectors {
    /// With this crate's own mean of photos.
    ///
    /// # Errors
    /// A damaged build.
    pub fn built_in() -> Result<Self, WeightsError> {
        Ok(Self { mean: descriptor_mean()? })
    }

    /// Counting descriptors from another mean: a training set's own.
    pub fn counted_from(mean: Vec<f32>) -> Self {
        Self { mean }
    }

    /// The numbers of a card, [`CARD_WIDTH`] of them. Geometry and pose are not among them
    /// (docs/measurements/identity-card.md says why).
    pub fn vector(&self, card: &IdentityCard) -> Vec<f32> {
        let mut vector = vec![0.0; CARD_WIDTH];
        if let Some(part) = &card.descriptor {
            let direction = direction(part.value.values(), &self.mean, DESCRIPTOR_LENGTH);
            vector[..DESCRIPTOR_WIDTH].copy_from_slice(&direction);
            vector[DESCRIPTOR_WIDTH] = 1.0;
        }
        for (at, part) in [(129, &card.skin), (133, &card.hair_colour)] {
            if let Some(part) = part {
                vector[at..at + 4].copy_from_slice(&colour(&part.value));
            }
        }
        let length = card.hair_length.as_ref().map(|part| match part.value {
            HairLength::Bald => 137,
            HairLength::Short => 138,
            HairLength::Long => 139,
        });
        let yes_no = |at: usize, yes: bool| if yes { at } else { at + 1 };
        let beard = card.beard.as_ref().map(|part| yes_no(140, part.value));
        let glasses = card.glasses.as_ref().map(|part| yes_no(142, part.value));
        let sex = card.sex.as_ref().map(|part| yes_no(144, part.value == Sex::Woman));
        for at in [length, beard, glasses, sex].into_iter().flatten() {
            vector[at] = 1.0;
        }
        if let Some(part) = &card.age {
            vector[146] = (part.value - 45.0) / 15.0;
            vector[147] = 1.0;
        }
        vector[Columns::ONE] = 1.0;
        vector
    }

    /// Likeness of two vectors: the cosine of the descriptors' directions, −1 to 1; `None` where one has no
    /// descriptor or they are no vectors of cards.
    pub fn likeness(left: &[f32], right: &[f32]) -> Option<f32> {
        let part = |vector: &[f32]| -> Option<Vec<f32>> {
            let whole = vector.len() == CARD_WIDTH && vector[DESCRIPTOR_WIDTH] > 0.0;
            whole.then(|| direction(&vector[..DESCRIPTOR_WIDTH], &[0.0; DESCRIPTOR_WIDTH], 1.0))
        };
        let (left, right) = (part(left)?, part(right)?);
        Some(left.iter().zip(&right).map(|(a, b)| a * b).sum::<f32>().clamp(-1.0, 1.0))
    }
}

/// `values` counted from `mean`, brought to this length.
fn direction(values: &[f32], mean: &[f32], length: f32) -> Vec<f32> {
    let from_mean: Vec<f32> = values.iter().zip(mean).map(|(v, m)| v - m).collect();
    let norm = from_mean.iter().map(|v| v * v).sum::<f32>().sqrt().max(1e-6);
    from_mean.into_iter().map(|v| v / norm * length).collect()
}

fn colour(lab: &Lab) -> [f32; 4] {
    [(lab.l - 50.0) / 25.0, lab.a / 15.0, lab.b / 15.0, 1.0]
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::super::descriptor::Descriptor;
    use super::super::parts::Part;
    use super::*;

    fn card(seed: f32) -> IdentityCard {
        let values = (0..DESCRIPTOR_WIDTH).map(|n| (n as f32 * seed).sin() * 0.1).collect();
        let mut card = IdentityCard {
            descriptor: Some(Part::measured(Descriptor(values), 1.0)),
            skin: Some(Part::measured(Lab { l: 75.0, a: 15.0, b: 30.0 }, 1.0)),
            ..IdentityCard::default()
        };
        for change in ["hair-length=long", "beard=no", "glasses=yes", "sex=woman", "age=60"] {
            card.correct(change).unwrap();
        }
        card
    }

    #[test]
    fn every_part_has_its_place() {
        let vectors = CardVectors::built_in().unwrap();
        let vector = vectors.vector(&card(0.7));
        assert_eq!(vector.len(), CARD_WIDTH);
        let length = vector[..DESCRIPTOR_WIDTH].iter().map(|v| v * v).sum::<f32>().sqrt();
        assert!((length - DESCRIPTOR_LENGTH).abs() < 1e-3 && vector[DESCRIPTOR_WIDTH] == 1.0);
        assert_eq!(vector[Columns::COLOURS], [1.0, 1.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(vector[Columns::TRAITS], [0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
        assert_eq!(vector[Columns::ONE], 1.0);
        let nothing = vectors.vector(&IdentityCard::default());
        assert!(nothing[..Columns::ONE].iter().all(|v| *v == 0.0) && nothing[Columns::ONE] == 1.0);
    }

    #[test]
    fn likeness_is_of_the_descriptors_alone_at_any_scale() {
        let vectors = CardVectors::built_in().unwrap();
        let one = vectors.vector(&card(0.7));
        let mut other = card(0.7);
        other.correct("glasses=no").unwrap();
        let scaled: Vec<f32> = vectors.vector(&other).iter().map(|v| v * 0.08).collect();
        assert!((CardVectors::likeness(&one, &scaled).unwrap() - 1.0).abs() < 1e-5);
        let unlike = CardVectors::likeness(&one, &vectors.vector(&card(1.9))).unwrap();
        assert!(unlike < 0.9, "{unlike}");
        assert_eq!(CardVectors::likeness(&one, &vectors.vector(&IdentityCard::default())), None);
        assert_eq!(CardVectors::likeness(&one, &[1.0; 128]), None);
    }
}
