//! A request for pictures, and what makes one invalid.

use serde::{Deserialize, Serialize};

use crate::edit::Edit;
use crate::people::Identity;

/// What SDXL is told about sizes, in pixels, beside the prompt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SizeCondition {
    /// Width and height that a training picture would have had: small ones were blurred.
    pub original: [u32; 2],
    /// Left and top edge of the cut: 0, 0 centres the subject.
    pub crop: [u32; 2],
    /// Width and height of the picture itself.
    pub target: [u32; 2],
}

/// Pictures of one prompt. Whatever is `None` takes the model's default ([`crate::ModelInfo`]).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateRequest {
    pub prompt: String,
    #[serde(default)]
    pub negative_prompt: String,
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub steps: Option<u32>,
    /// Strength of classifier-free guidance; 1 or less switches it off.
    pub guidance_scale: Option<f64>,
    /// Name of a scheduler, e.g. `dpm++2m-karras`.
    pub scheduler: Option<String>,
    /// Picture `i` is drawn from the noise of seed `seed + i`.
    pub seed: u64,
    /// How many pictures.
    pub count: u32,
    /// Who is to be drawn; several people by regions.
    #[serde(default)]
    pub people: Vec<Identity>,
    /// A picture to be changed.
    #[serde(default)]
    pub edit: Option<Edit>,
    /// So many of the text encoder's last layers are left out.
    pub clip_skip: Option<u32>,
    /// SDXL's size condition; the picture's size, uncut, if left out.
    pub size_condition: Option<SizeCondition>,
    /// The same for the negative prompt; that of the prompt if left out.
    pub negative_size_condition: Option<SizeCondition>,
}

impl GenerateRequest {
    /// A request with the model's defaults: one picture of `prompt`.
    pub fn new(prompt: impl Into<String>, seed: u64) -> Self {
        Self {
            prompt: prompt.into(),
            negative_prompt: String::new(),
            width: None,
            height: None,
            steps: None,
            guidance_scale: None,
            scheduler: None,
            seed,
            count: 1,
            people: Vec::new(),
            edit: None,
            clip_skip: None,
            size_condition: None,
            negative_size_condition: None,
        }
    }

    /// Checks every number against `limits`.
    pub fn check(&self, limits: &Limits) -> Result<(), RequestError> {
        let prompt = self.prompt.len().max(self.negative_prompt.len());
        if prompt > limits.prompt_bytes {
            return Err(RequestError::PromptTooLong { bytes: prompt, most: limits.prompt_bytes });
        }
        range("n", f64::from(self.count), 1.0, f64::from(limits.count))?;
        if let Some(steps) = self.steps {
            range("steps", f64::from(steps), 1.0, f64::from(limits.steps))?;
        }
        if let Some(guidance) = self.guidance_scale {
            range("guidance", guidance, 0.0, 100.0)?;
        }
        for (name, side) in [("width", self.width), ("height", self.height)] {
            let Some(side) = side else { continue };
            range(name, f64::from(side), f64::from(limits.side_multiple), f64::from(limits.side))?;
            if side % limits.side_multiple != 0 {
                let multiple = limits.side_multiple;
                return Err(RequestError::NotAMultiple { name, value: side, multiple });
            }
        }
        range("people", self.people.len() as f64, 0.0, f64::from(limits.people))?;
        self.people.iter().try_for_each(Identity::check)?;
        if self.people.len() > 1 && self.people.iter().any(|person| person.region.is_none()) {
            return Err(RequestError::PersonWithoutRegion);
        }
        if let Some(skip) = self.clip_skip {
            range("clip_skip", f64::from(skip), 0.0, 100.0)?;
        }
        for sizes in [self.size_condition, self.negative_size_condition].into_iter().flatten() {
            for value in [sizes.original, sizes.crop, sizes.target].concat() {
                range("a size of the size condition", f64::from(value), 0.0, 65_536.0)?;
            }
        }
        self.edit.as_ref().map_or(Ok(()), Edit::check)
    }
}

/// NaN is outside every range.
pub(crate) fn range(name: &'static str, value: f64, least: f64, most: f64) -> Result<(), RequestError> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(RequestError::OutOfRange { name, value, least, most })
}

/// The largest values that are accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    pub prompt_bytes: usize,
    pub count: u32,
    pub steps: u32,
    /// Pixels along one side.
    pub side: u32,
    /// Sides must be multiples of this: the model's pixels a latent cell.
    pub side_multiple: u32,
    /// In one picture.
    pub people: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { prompt_bytes: 32_000, count: 1_000, steps: 1_000, side: 4_096, side_multiple: 8, people: 8 }
    }
}

/// What is wrong with a request.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RequestError {
    #[error("the prompt has {bytes} bytes, at most {most} are accepted")]
    PromptTooLong { bytes: usize, most: usize },
    #[error("{name} is {value}, it must be between {least} and {most}")]
    OutOfRange { name: &'static str, value: f64, least: f64, most: f64 },
    #[error("{name} is {value}, it must be a multiple of {multiple}")]
    NotAMultiple { name: &'static str, value: u32, multiple: u32 },
    #[error("the face embedding is empty or holds a number that is not finite")]
    Embedding,
    #[error("a person is known by one photo or embedding at least")]
    NoReference,
    #[error("where several people are drawn, each needs a region of the picture")]
    PersonWithoutRegion,
    #[error(
        "the adapter ({kind}) has no group of tokens \"{name}\" whose strength could be set; there are: {known}"
    )]
    UnknownGroup { name: String, kind: String, known: String },
    #[error("a person's region has no area")]
    EmptyRegion,
    #[error("the {0} has no pixels, or not as many as its width and height say")]
    Pixels(&'static str),
    #[error("the mask marks nothing that could be drawn anew")]
    EmptyMask,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::{EditMask, GrayPixels, Region, Rest, RgbPixels, Stage};

    #[test]
    fn every_bad_number_is_named() {
        let limits = Limits::default();
        let good = GenerateRequest::new("me", 1);
        assert_eq!(good.check(&limits), Ok(()));
        let bad = |change: fn(&mut GenerateRequest)| {
            let mut request = good.clone();
            change(&mut request);
            request.check(&limits).map_err(|e| e.to_string()).unwrap_err()
        };
        assert!(bad(|r| r.count = 0).starts_with("n is 0"));
        assert!(bad(|r| r.steps = Some(0)).starts_with("steps is 0"));
        assert!(bad(|r| r.steps = Some(5000)).contains("between 1 and 1000"));
        assert!(bad(|r| r.guidance_scale = Some(f64::NAN)).starts_with("guidance is NaN"));
        assert!(bad(|r| r.width = Some(100)).contains("multiple of 8"));
        assert!(bad(|r| r.height = Some(9000)).starts_with("height is 9000"));
        assert!(bad(|r| r.prompt = "x".repeat(40_000)).contains("40000 bytes"));
        let person = |embedding, scale| Identity::of_embedding(embedding, scale);
        let refused = |people: Vec<Identity>| {
            let request = GenerateRequest { people, ..good.clone() };
            request.check(&limits).unwrap_err()
        };
        assert_eq!(refused(vec![person(vec![f32::NAN], 1.0)]), RequestError::Embedding);
        assert!(refused(vec![person(vec![1.0], -1.0)]).to_string().starts_with("identity scale is -1"));
        let two = vec![person(vec![1.0], 1.0), person(vec![1.0], 1.0)];
        assert_eq!(refused(two), RequestError::PersonWithoutRegion);
        let at = |region| Identity { region: Some(region), ..person(vec![1.0], 1.0) };
        assert_eq!(refused(vec![at(Region::Box([0.5, 0.0, 0.5, 1.0]))]), RequestError::EmptyRegion);
        assert!(refused(vec![at(Region::Box([0.0, 0.0, 1.5, 1.0]))]).to_string().starts_with("right is 1.5"));
        let empty = GrayPixels::filled(2, 2, 0);
        assert_eq!(refused(vec![at(Region::Mask(empty))]), RequestError::EmptyRegion);
        let backwards = Identity { steps: [0.6, 0.2], ..person(vec![1.0], 1.0) };
        assert!(refused(vec![backwards]).to_string().contains("steps' end is 0.2"));
        let stage =
            |steps, scale| Identity { stages: vec![Stage { steps, scale }], ..person(vec![1.0], 1.0) };
        assert!(refused(vec![stage([0.5, 0.2], 1.0)]).to_string().contains("stage's end is 0.2"));
        assert!(refused(vec![stage([0.0, 1.0], 11.0)]).to_string().contains("stage's scale is 11"));
        let endless = Identity { stages: stage([0.0, 1.0], 1.0).stages.repeat(21), ..person(vec![1.0], 1.0) };
        assert!(refused(vec![endless]).to_string().contains("stages is 21"));
        let group = Identity { group_scales: [("a".into(), -1.0)].into(), ..person(vec![1.0], 1.0) };
        assert!(refused(vec![group]).to_string().contains("group's scale is -1"));
        let nobody = Identity { references: Vec::new(), ..person(vec![1.0], 1.0) };
        assert_eq!(refused(vec![nobody]), RequestError::NoReference);
        assert!(
            refused(vec![at(Region::Box([0.0, 0.0, 1.0, 1.0])); 9]).to_string().starts_with("people is 9")
        );
    }

    #[test]
    fn an_edit_needs_pixels_a_strength_and_something_marked() {
        let picture = RgbPixels { width: 2, height: 1, rgb: vec![0; 6] };
        let mask = |value| EditMask { pixels: GrayPixels::filled(2, 1, value), rest: Rest::Decoded };
        let refused = |edit: Edit| {
            let request = GenerateRequest { edit: Some(edit), ..GenerateRequest::new("a hat", 1) };
            request.check(&Limits::default()).err()
        };
        let good = Edit { picture, strength: 0.5, mask: Some(mask(255)) };
        assert_eq!(refused(good.clone()), None);
        let short = RgbPixels { width: 2, height: 2, rgb: vec![0; 6] };
        let wrong = refused(Edit { picture: short, ..good.clone() });
        assert_eq!(wrong, Some(RequestError::Pixels("picture to be changed")));
        assert_eq!(refused(Edit { mask: Some(mask(127)), ..good.clone() }), Some(RequestError::EmptyMask));
        assert!(refused(Edit { strength: f64::NAN, ..good }).is_some());
    }
}
