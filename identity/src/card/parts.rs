//! The card itself: its parts, where each comes from, and the mean of several photos'.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::colour::Lab;
use super::descriptor::{DESCRIPTOR_WIDTH, Descriptor};
use super::edit::CardError;
use super::landmarks::POINTS;
use super::pose::{Pose, Shape};

/// Version of the card's JSON. Another number is refused: a part's meaning may have changed.
pub const CARD_VERSION: u32 = 2;

/// Ages that a card can say: it is of adults.
pub const YEARS: std::ops::RangeInclusive<f32> = 18.0..=100.0;

/// Where a part comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Measured on photos.
    Measured,
    /// Said by the person.
    Corrected,
}

/// A part of the card.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part<T> {
    pub value: T,
    /// 0 to 1; 1 for what the person said.
    pub confidence: f32,
    pub source: Source,
}

impl<T> Part<T> {
    /// A part that was measured; the confidence is brought into 0 to 1.
    pub fn measured(value: T, confidence: f32) -> Self {
        let confidence = if confidence.is_finite() { confidence.clamp(0.0, 1.0) } else { 0.0 };
        Self { value, confidence, source: Source::Measured }
    }

    /// A part as the person says it is.
    pub fn corrected(value: T) -> Self {
        Self { value, confidence: 1.0, source: Source::Corrected }
    }
}

/// How long the hair is, as far as it is seen from the front.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HairLength {
    /// Never measured, only said.
    Bald,
    Short,
    /// Beside the neck or longer.
    Long,
}

impl fmt::Display for HairLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bald => "bald",
            Self::Short => "short",
            Self::Long => "long",
        })
    }
}

/// As which of the two a face is drawn; a person whom neither fits leaves the part out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sex {
    Woman,
    Man,
}

impl fmt::Display for Sex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Woman => "woman",
            Self::Man => "man",
        })
    }
}

/// What is known of a person's looks. A part that is `None` could not be told or was left out.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityCard {
    pub version: u32,
    /// dlib's face descriptor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub descriptor: Option<Part<Descriptor>>,
    /// The face's shape without its pose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometry: Option<Part<Shape>>,
    /// How the head was turned: not who the person is, but what the other parts were seen under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pose: Option<Part<Pose>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skin: Option<Part<Lab>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hair_colour: Option<Part<Lab>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hair_length: Option<Part<HairLength>>,
    /// Never measured: what tells a beard on renders does not on photos.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beard: Option<Part<bool>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub glasses: Option<Part<bool>>,
    /// As which the face would be taken by most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sex: Option<Part<Sex>>,
    /// Years that the face looks; within about six of the truth, on average.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age: Option<Part<f32>>,
}

impl fmt::Debug for IdentityCard {
    /// Never the values: they are biometric data and have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "IdentityCard({})",
            self.parts().map(|part| part.to_string()).collect::<Vec<_>>().join(", ")
        )
    }
}

impl Default for IdentityCard {
    /// A card without parts.
    fn default() -> Self {
        Self {
            version: CARD_VERSION,
            descriptor: None,
            geometry: None,
            pose: None,
            skin: None,
            hair_colour: None,
            hair_length: None,
            beard: None,
            glasses: None,
            sex: None,
            age: None,
        }
    }
}

impl IdentityCard {
    /// Reads JSON and checks that every part can be what it says.
    ///
    /// # Errors
    /// [`CardError`], with the part.
    pub fn from_json(text: &str) -> Result<Self, CardError> {
        let card: Self = serde_json::from_str(text).map_err(|e| CardError::Json(e.to_string()))?;
        card.check()?;
        Ok(card)
    }

    fn check(&self) -> Result<(), CardError> {
        if self.version != CARD_VERSION {
            return Err(CardError::Version(self.version));
        }
        let wrong = |part, reason: &str| Err(CardError::Value { part, reason: reason.to_owned() });
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        use super::edit::PartName as Name;
        if let Some(part) = &self.descriptor
            && (part.value.0.len() != DESCRIPTOR_WIDTH || !finite(&part.value.0))
        {
            return wrong(Name::Descriptor, "it should be 128 finite numbers");
        }
        if let Some(part) = &self.geometry
            && (part.value.0.len() != POINTS || !finite(part.value.0.as_flattened()))
        {
            return wrong(Name::Geometry, "it should be 68 finite points");
        }
        for (name, part) in [(Name::Skin, &self.skin), (Name::HairColour, &self.hair_colour)] {
            if let Some(Part { value, .. }) = part
                && (!finite(&value.channels()) || !(0.0..=100.0).contains(&value.l))
            {
                return wrong(name, "it should be a colour in Lab, with L from 0 to 100");
            }
        }
        if let Some(Part { value, .. }) = &self.age
            && !YEARS.contains(value)
        {
            return wrong(Name::Age, "it should be from 18 to 100 years");
        }
        for (name, confidence) in self.confidences() {
            if !(0.0..=1.0).contains(&confidence) {
                return wrong(name, "its confidence should be a number from 0 to 1");
            }
        }
        Ok(())
    }

    /// The card of several photos of one person: of each part the mean, weighted with the confidence; of those
    /// that are said in words, the one with the most confidence behind it. A part that one card has
    /// corrected stays as it is there.
    pub fn mean(cards: &[Self]) -> Self {
        use super::edit::mix;
        let numbers = |cards: &[(&Vec<f32>, f32)]| mix(cards);
        Self {
            version: CARD_VERSION,
            descriptor: joined(
                cards,
                |c| c.descriptor.as_ref(),
                |values| {
                    let values: Vec<(&Vec<f32>, f32)> = values.iter().map(|(v, w)| (&v.0, *w)).collect();
                    Descriptor(numbers(&values))
                },
            ),
            geometry: joined(
                cards,
                |c| c.geometry.as_ref(),
                |values| {
                    let flat: Vec<(Vec<f32>, f32)> =
                        values.iter().map(|(v, w)| (v.0.as_flattened().to_vec(), *w)).collect();
                    let flat: Vec<(&Vec<f32>, f32)> = flat.iter().map(|(v, w)| (v, *w)).collect();
                    Shape(numbers(&flat).chunks_exact(2).map(|p| [p[0], p[1]]).collect())
                },
            ),
            pose: joined(
                cards,
                |c| c.pose.as_ref(),
                |values| {
                    let flat: Vec<(Vec<f32>, f32)> =
                        values.iter().map(|(v, w)| (vec![v.yaw, v.pitch, v.roll], *w)).collect();
                    let flat: Vec<(&Vec<f32>, f32)> = flat.iter().map(|(v, w)| (v, *w)).collect();
                    let mean = numbers(&flat);
                    Pose { yaw: mean[0], pitch: mean[1], roll: mean[2] }
                },
            ),
            skin: joined(cards, |c| c.skin.as_ref(), mean_colour),
            hair_colour: joined(cards, |c| c.hair_colour.as_ref(), mean_colour),
            hair_length: joined(cards, |c| c.hair_length.as_ref(), most),
            beard: joined(cards, |c| c.beard.as_ref(), most),
            glasses: joined(cards, |c| c.glasses.as_ref(), most),
            sex: joined(cards, |c| c.sex.as_ref(), most),
            age: joined(
                cards,
                |c| c.age.as_ref(),
                |values| {
                    let total: f32 = values.iter().map(|(_, weight)| weight).sum();
                    values.iter().map(|(years, weight)| *years * weight).sum::<f32>() / total
                },
            ),
        }
    }
}

fn mean_colour(values: &[(&Lab, f32)]) -> Lab {
    let channels: Vec<(Vec<f32>, f32)> = values.iter().map(|(v, w)| (v.channels().to_vec(), *w)).collect();
    let channels: Vec<(&Vec<f32>, f32)> = channels.iter().map(|(v, w)| (v, *w)).collect();
    let mean = super::edit::mix(&channels);
    Lab { l: mean[0], a: mean[1], b: mean[2] }
}

/// The value with the largest sum of confidences; the first of equals.
fn most<T: Copy + PartialEq>(values: &[(&T, f32)]) -> T {
    let behind = |value: &T| values.iter().filter(|(v, _)| *v == value).map(|(_, w)| w).sum::<f32>();
    let mut best = values[0].0;
    for (value, _) in values {
        if behind(value) > behind(best) {
            best = value;
        }
    }
    *best
}

/// One part of all cards: the corrected one if there is one, else what `of` makes of the measured ones (at least
/// one). The confidence is their mean.
fn joined<'a, T: Clone + 'a>(
    cards: &'a [IdentityCard],
    part: impl Fn(&'a IdentityCard) -> Option<&'a Part<T>>,
    of: impl Fn(&[(&T, f32)]) -> T,
) -> Option<Part<T>> {
    let parts: Vec<&Part<T>> = cards.iter().filter_map(part).collect();
    if let Some(said) = parts.iter().find(|part| part.source == Source::Corrected) {
        return Some((*said).clone());
    }
    if parts.is_empty() {
        return None;
    }
    // a part that nobody is sure of still counts a little
    let values: Vec<(&T, f32)> = parts.iter().map(|p| (&p.value, p.confidence.max(0.01))).collect();
    let confidence = parts.iter().map(|p| p.confidence).sum::<f32>() / parts.len() as f32;
    Some(Part::measured(of(&values), confidence))
}
