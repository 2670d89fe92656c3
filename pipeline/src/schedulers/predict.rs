//! From what the model predicts to the clean sample, and keeping that sample within bounds.

use tch::Tensor;

use super::config::{PredictionType, bad};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};

/// Clean sample where sample = `signal` x clean + `noise` x epsilon (variance-preserving notation).
pub(super) fn clean_sample(
    prediction: PredictionType,
    output: &Tensor,
    sample: &Tensor,
    signal: f32,
    noise: f32,
) -> Tensor {
    let (signal, noise) = (f64::from(signal), f64::from(noise));
    match prediction {
        PredictionType::Epsilon => (sample - output * noise) / signal,
        PredictionType::VPrediction => sample * signal - output * noise,
        PredictionType::Sample => output.shallow_clone(),
    }
}

/// Noise in the sample, in the same notation.
pub(super) fn noise_in_sample(
    prediction: PredictionType,
    output: &Tensor,
    sample: &Tensor,
    signal: f32,
    noise: f32,
) -> Tensor {
    let (signal, noise) = (f64::from(signal), f64::from(noise));
    match prediction {
        PredictionType::Epsilon => output.shallow_clone(),
        PredictionType::VPrediction => output * signal + sample * noise,
        PredictionType::Sample => (sample - output * signal) / noise,
    }
}

/// Clean sample where sample = clean + `sigma` x epsilon (variance-exploding notation).
pub(super) fn clean_sample_from_sigma(
    prediction: PredictionType,
    output: &Tensor,
    sample: &Tensor,
    sigma: f32,
) -> Tensor {
    match prediction {
        PredictionType::Epsilon => sample - output * f64::from(sigma),
        PredictionType::VPrediction => {
            let variance = sigma * sigma + 1.0;
            output * f64::from(-sigma / variance.sqrt()) + sample / f64::from(variance)
        }
        PredictionType::Sample => output.shallow_clone(),
    }
}

/// Bounds on the predicted clean sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bounds {
    /// None.
    Free,
    /// `clip_sample`: between plus and minus `clip_sample_range`.
    Clip(f64),
    /// `thresholding`: each sample divided by the given quantile of its magnitudes where that is above 1
    /// (Saharia et al. 2022, section 2.3).
    Dynamic { quantile: f64, limit: f64 },
}

impl Bounds {
    /// Reads the keys that `kind` has: `thresholding` wins over `clip_sample`, as in diffusers.
    pub(super) fn from_config(config: &SchedulerConfig, kind: SchedulerKind) -> Result<Self, SchedulerError> {
        use SchedulerKind::{Ddim, Ddpm, DpmSolverMultistep, Heun, Lcm, UniPc};
        let thresholds = matches!(kind, Ddim | Ddpm | Lcm | DpmSolverMultistep | UniPc);
        if thresholds && config.flag("thresholding", false)? {
            let quantile = config.number("dynamic_thresholding_ratio", 0.995)?;
            if !(0.0..=1.0).contains(&quantile) {
                return Err(bad("dynamic_thresholding_ratio", quantile, "a number from 0 to 1"));
            }
            return Ok(Self::Dynamic { quantile, limit: config.number("sample_max_value", 1.0)? });
        }
        let clips = matches!(kind, Ddim | Ddpm | Lcm | Heun);
        if clips && config.flag("clip_sample", matches!(kind, Ddim | Ddpm))? {
            let range = config.number("clip_sample_range", 1.0)?;
            if range.is_nan() || range < 0.0 {
                return Err(bad("clip_sample_range", range, "a number, not negative"));
            }
            return Ok(Self::Clip(range));
        }
        Ok(Self::Free)
    }

    /// Bounds a clean sample of shape [batch, ...]; dynamic thresholds are taken per row.
    pub(super) fn apply(self, clean: Tensor) -> Result<Tensor, SchedulerError> {
        match self {
            Self::Free => Ok(clean),
            Self::Clip(range) => Ok(clean.f_clamp(-range, range)?),
            Self::Dynamic { quantile, limit } => {
                let shape = clean.size();
                let rows = shape.first().copied().unwrap_or(1);
                let flat = clean.f_reshape([rows, -1])?; // [batch, values]
                let bound = flat
                    .f_abs()?
                    .f_quantile_scalar(quantile, 1, true, "linear")? // [batch, 1]
                    .f_clamp_min(1.0)?
                    .f_clamp_max(limit)?;
                let bounded = flat.f_clamp_tensor(Some(&bound.f_neg()?), Some(&bound))?.f_div(&bound)?;
                Ok(bounded.f_reshape(&shape)?)
            }
        }
    }
}
