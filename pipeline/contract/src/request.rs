//! A request for pictures, and what makes one invalid.

use serde::{Deserialize, Serialize};

/// Who is to be drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Identity {
    /// L2-normalised face embedding, as wide as the model's adapter asks for.
    pub embedding: Vec<f32>,
    /// Strength: 0 ignores the person, 1 is the adapter's own strength.
    pub scale: f64,
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
    pub identity: Option<Identity>,
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
            identity: None,
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
        if let Some(identity) = &self.identity {
            range("identity scale", identity.scale, 0.0, 10.0)?;
            if identity.embedding.is_empty() || identity.embedding.iter().any(|v| !v.is_finite()) {
                return Err(RequestError::Embedding);
            }
        }
        Ok(())
    }
}

/// NaN is outside every range.
fn range(name: &'static str, value: f64, least: f64, most: f64) -> Result<(), RequestError> {
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
}

impl Default for Limits {
    fn default() -> Self {
        Self { prompt_bytes: 32_000, count: 1_000, steps: 1_000, side: 4_096, side_multiple: 8 }
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
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

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
        let with = |embedding, scale| Some(Identity { embedding, scale });
        let mut request = good.clone();
        request.identity = with(vec![f32::NAN], 1.0);
        assert_eq!(request.check(&limits), Err(RequestError::Embedding));
        request.identity = with(vec![1.0], -1.0);
        assert!(request.check(&limits).is_err());
    }
}
