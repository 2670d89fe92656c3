//! Who is to be drawn, and where.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::IdentityNeeds;
use crate::pixels::{GrayPixels, RgbPixels};
use crate::request::{RequestError, range};

/// What is known of a person from one photo.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    /// L2-normalised face embedding, as wide as the model's adapter asks for; empty where the adapter
    /// asks for none.
    pub embedding: Vec<f32>,
    /// Length of the embedding before it was normalised, for adapters that take it raw.
    #[serde(default = "one")]
    pub norm: f32,
    /// The face cut out upright, for adapters that look at the picture itself.
    #[serde(default)]
    pub face: Option<RgbPixels>,
    /// Where the face stands in its photo, for adapters that draw it in the same place.
    #[serde(default)]
    pub key_points: Option<KeyPoints>,
}

/// Five points of a face in a photo.
#[derive(Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct KeyPoints {
    /// Left eye, right eye, nose, left and right corner of the mouth, as seen in the photo: x and y in
    /// pixels.
    pub points: [[f32; 2]; 5],
    /// Width and height of the photo.
    pub photo: [u32; 2],
}

impl fmt::Debug for KeyPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyPoints({}x{})", self.photo[0], self.photo[1])
    }
}

fn one() -> f32 {
    1.0
}

fn whole_run() -> [f64; 2] {
    [0.0, 1.0]
}

impl Reference {
    /// An embedding alone.
    pub fn of_embedding(embedding: Vec<f32>) -> Self {
        Self { embedding, norm: 1.0, face: None, key_points: None }
    }
}

impl fmt::Debug for Reference {
    /// Never the values: they are biometric data and have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (face, points) = (self.face.is_some(), self.key_points.is_some());
        write!(f, "Reference({} values, face: {face}, key points: {points})", self.embedding.len())
    }
}

/// A part of the picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Region {
    /// Left, top, right and bottom edge as parts of width and height, 0 to 1.
    Box([f64; 4]),
    /// 255 where the person belongs; of any size, stretched over the picture.
    Mask(GrayPixels),
}

impl Region {
    fn check(&self) -> Result<(), RequestError> {
        match self {
            Self::Box([left, top, right, bottom]) => {
                for (edge, value) in [("left", left), ("top", top), ("right", right), ("bottom", bottom)] {
                    range(edge, *value, 0.0, 1.0)?;
                }
                if left < right && top < bottom { Ok(()) } else { Err(RequestError::EmptyRegion) }
            }
            Self::Mask(mask) if !mask.is_whole() => Err(RequestError::Pixels("region's mask")),
            Self::Mask(mask) if mask.values.iter().all(|&v| v == 0) => Err(RequestError::EmptyRegion),
            Self::Mask(_) => Ok(()),
        }
    }
}

/// A strength for a part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stage {
    /// From which part of the run to which, 0 to 1.
    pub steps: [f64; 2],
    pub scale: f64,
}

/// Parts of a run that may have a strength of their own.
const STAGES: usize = 20;

/// Who is to be drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// One or several photos of this person.
    pub references: Vec<Reference>,
    /// Strength: 0 ignores the person, 1 is the adapter's own strength.
    pub scale: f64,
    /// From which part of the run to which the person is heard; all of it is [0, 1].
    #[serde(default = "whole_run")]
    pub steps: [f64; 2],
    /// Strengths of parts of the run, times `scale`: the first part that a step lies in counts, and a step
    /// that lies in none does not hear the person. 1 in all of it if empty.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Strengths of groups of the adapter's tokens ([`IdentityNeeds::groups`]), times `scale`; 1 for those
    /// that are left out.
    #[serde(default)]
    pub group_scales: BTreeMap<String, f64>,
    /// The part of the picture in which the person is; anywhere if left out.
    #[serde(default)]
    pub region: Option<Region>,
}

impl Identity {
    /// A person known by one embedding, heard from the first step to the last, anywhere.
    pub fn of_embedding(embedding: Vec<f32>, scale: f64) -> Self {
        Self {
            references: vec![Reference::of_embedding(embedding)],
            scale,
            steps: whole_run(),
            stages: Vec::new(),
            group_scales: BTreeMap::new(),
            region: None,
        }
    }

    /// Whether the person is heard at step `i` of `count`.
    pub fn is_heard(&self, i: usize, count: usize) -> bool {
        lies_in(i, count, self.steps)
    }

    /// How strongly the person is heard at step `i` of `count`.
    pub fn strength(&self, i: usize, count: usize) -> f64 {
        if !self.is_heard(i, count) {
            return 0.0;
        }
        let stage = self.stages.iter().find(|stage| lies_in(i, count, stage.steps));
        match stage {
            Some(stage) => self.scale * stage.scale,
            None if self.stages.is_empty() => self.scale,
            None => 0.0,
        }
    }

    pub(crate) fn check(&self) -> Result<(), RequestError> {
        range("identity scale", self.scale, 0.0, 10.0)?;
        let [from, to] = self.steps;
        range("identity steps' begin", from, 0.0, 1.0)?;
        range("identity steps' end", to, from, 1.0)?;
        range("the number of identity stages", self.stages.len() as f64, 0.0, STAGES as f64)?;
        for Stage { steps: [from, to], scale } in &self.stages {
            range("a stage's begin", *from, 0.0, 1.0)?;
            range("a stage's end", *to, *from, 1.0)?;
            range("a stage's scale", *scale, 0.0, 10.0)?;
        }
        for scale in self.group_scales.values() {
            range("a group's scale", *scale, 0.0, 10.0)?;
        }
        if self.references.is_empty() {
            return Err(RequestError::NoReference);
        }
        for reference in &self.references {
            let Reference { embedding, norm, face, key_points } = reference;
            let known = !embedding.is_empty() || face.is_some();
            let points = key_points.iter().flat_map(|k| k.points.as_flattened());
            let finite = embedding.iter().chain([norm]).chain(points);
            if !known || finite.into_iter().any(|v| !v.is_finite()) {
                return Err(RequestError::Embedding);
            }
            let no_photo = key_points.is_some_and(|k| k.photo.contains(&0));
            if no_photo || face.as_ref().is_some_and(|face| !face.is_whole()) {
                return Err(RequestError::Pixels("face"));
            }
        }
        self.region.as_ref().map_or(Ok(()), Region::check)
    }
}

fn lies_in(i: usize, count: usize, [from, to]: [f64; 2]) -> bool {
    let part = i as f64 / count.max(1) as f64;
    part >= from && part < to
}

impl IdentityNeeds {
    /// Whether the adapter has all these groups of tokens.
    ///
    /// # Errors
    /// [`RequestError::UnknownGroup`] with those that it has.
    pub fn check_groups<'a>(&self, names: impl IntoIterator<Item = &'a String>) -> Result<(), RequestError> {
        let unknown = names.into_iter().find(|name| !self.groups.contains(name));
        unknown.map_or(Ok(()), |name| {
            let (kind, known) = (self.kind.clone(), self.groups.join(", "));
            let known = if known.is_empty() { "none".into() } else { known };
            Err(RequestError::UnknownGroup { name: name.clone(), kind, known })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strengths_of_stages_multiply_the_person_s() {
        let stage = |from, to, scale| Stage { steps: [from, to], scale };
        let mut person = Identity::of_embedding(vec![1.0], 0.5);
        let strengths = |person: &Identity| [0, 1, 2, 3].map(|i| person.strength(i, 4));
        assert_eq!(strengths(&person), [0.5; 4]);
        person.stages = vec![stage(0.0, 0.25, 2.0), stage(0.0, 0.75, 1.0)];
        assert_eq!(
            strengths(&person),
            [1.0, 0.5, 0.5, 0.0],
            "the first that holds; outside of all, not at all"
        );
        person.steps = [0.5, 1.0];
        assert_eq!(strengths(&person), [0.0, 0.0, 0.5, 0.0]);
    }
}
