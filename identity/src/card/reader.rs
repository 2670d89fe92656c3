//! From a photo to its card: the parts whose measure carries over from renders to photos
//! (docs/measurements/identity-card.md). A beard and a bald head are left for the person to say.

use image::RgbImage;

use super::colour::Sample;
use super::measure::{Measure, Measured};
use super::parts::{HairLength, IdentityCard, Part, Sex, YEARS};
use super::pose::fit;
use super::probes::Judge;
use crate::IdentityError;
use crate::detect::Face;

/// A probe that is not surer than this either way says nothing.
const SURE: f32 = 0.7;
/// Of a head that wears a hat nothing is said about its hair from this chance on.
const HAT: f32 = 0.5;
/// Turned farther than this, degrees, the other half of the face is not seen.
const MOST_TURNED: f32 = 60.0;
/// A mean distance from the mean head, in eye distances, at which the points are those of no face.
const NO_FACE: f32 = 0.35;
/// A face smaller than this, pixels of its box, is no more than half as sure as one of this size.
const SMALL_FACE: f32 = 80.0;
/// The spread of a colour's pixels at which it is worth nothing, ΔE.
const MOTTLED: f32 = 20.0;

/// How sure an age is in the best of photos: a third of the spread of ages is left.
const AGE_SURE: f32 = 0.6;

/// Everything that makes cards. One thread at a time: its networks are tensors, which are not to be shared.
pub struct CardReader {
    measure: Measure,
    judge: Judge,
}

impl CardReader {
    /// With this crate's own weights.
    ///
    /// # Errors
    /// [`IdentityError::Weights`]: a damaged build.
    pub fn built_in() -> Result<Self, IdentityError> {
        Ok(Self { measure: Measure::built_in()?, judge: Judge::built_in()? })
    }

    /// The card of a face that a detector has found in a photo; `None` where its points are none of a face.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn read(&self, photo: &RgbImage, face: &Face) -> Result<Option<IdentityCard>, IdentityError> {
        let Some(measured) = self.measure.look(photo, face)? else { return Ok(None) };
        Ok(self.judge(&measured, face))
    }

    fn judge(&self, measured: &Measured, face: &Face) -> Option<IdentityCard> {
        let fit = fit(&self.judge.shape, &measured.points)?;
        let turned = (fit.pose.yaw.abs().max(fit.pose.pitch.abs()) / MOST_TURNED).min(1.0);
        let fits = 1.0 - (fit.residual / NO_FACE).min(1.0);
        let seen = (face.bbox[3] / (2.0 * SMALL_FACE)).min(1.0);
        let sure = (1.0 - turned) * fits * seen.max(0.1);
        let colour = |sample: &Sample| {
            Part::measured(sample.colour, (1.0 - sample.spread / MOTTLED) * sample.share * seen)
        };
        let [glasses, long, hat] = self.judge.probes.each_ref();
        let told = |chance: f32| (chance >= SURE || chance <= 1.0 - SURE).then_some(chance);
        let sureness = |chance: f32| (2.0 * chance - 1.0).abs() * seen;
        let hatted = hat.chance(&measured.head) > HAT;
        let hair = measured.hair.as_ref().filter(|_| !hatted);
        let hair_length = match told(long.chance(&measured.head)) {
            Some(chance) if !hatted && chance > 0.5 => Some((HairLength::Long, chance)),
            // of a head without hair over the forehead it is not known whether it is bald
            Some(chance) if hair.is_some() => Some((HairLength::Short, chance)),
            _ => None,
        };
        let woman = told(self.judge.woman.chance(measured.descriptor.values()));
        let sex = |chance: f32| if chance > 0.5 { Sex::Woman } else { Sex::Man };
        let years = self.judge.years.value(measured.descriptor.values());
        let adult = |years: f32| years.clamp(*YEARS.start(), *YEARS.end());
        Some(IdentityCard {
            sex: woman.map(|chance| Part::measured(sex(chance), sureness(chance))),
            age: years.map(|years| Part::measured(adult(years), AGE_SURE * sure)),
            descriptor: Some(Part::measured(measured.descriptor.clone(), sure)),
            geometry: Some(Part::measured(fit.shape, sure)),
            pose: Some(Part::measured(fit.pose, fits * seen)),
            skin: measured.skin.as_ref().map(colour),
            hair_colour: hair.map(colour),
            hair_length: hair_length.map(|(length, chance)| Part::measured(length, sureness(chance))),
            glasses: told(glasses.chance(&measured.eyes))
                .map(|chance| Part::measured(chance > 0.5, sureness(chance))),
            ..IdentityCard::default()
        })
    }
}
