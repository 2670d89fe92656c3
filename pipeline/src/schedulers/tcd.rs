//! Trajectory consistency distillation, Zheng et al. 2024 (arXiv 2402.19159): each step jumps to a timestep
//! below the next one and adds noise up to it. As `TCDScheduler` of diffusers, whose pipelines are given
//! `eta` (gamma in the paper) with the request; here it is a key of the configuration.

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::{PredictionType, bad};
use super::ddim::{levels, prediction_and_bounds};
use super::predict::{clean_sample, noise_in_sample};
use super::stepper::Sampler;
use super::timesteps::distilled;
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// The TCD sampler.
pub(super) struct Tcd {
    schedule: NoiseSchedule,
    timesteps: Vec<f64>,
    prediction: PredictionType,
    /// How far below the next timestep a step jumps, as a share of it: 0 adds no noise, 1 as much as LCM.
    eta: f64,
}

impl Tcd {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::Tcd;
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let eta = config.number("eta", 0.3)?;
        if !(0.0..=1.0).contains(&eta) {
            return Err(bad("eta", eta, "a number from 0 to 1"));
        }
        let timesteps = distilled(config, kind, steps)?;
        // diffusers neither clips nor thresholds here
        let (prediction, _) = prediction_and_bounds(config, kind, &schedule, &timesteps)?;
        Ok(Self { schedule, timesteps, prediction, eta })
    }
}

impl Sampler for Tcd {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn needs_noise(&self) -> bool {
        self.eta > 0.0 && self.timesteps.len() > 1
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        levels(&self.schedule, &self.timesteps, i)
    }

    fn advance(
        &mut self,
        output: &Tensor,
        i: usize,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError> {
        let timestep = self.timesteps.get(i).copied().unwrap_or_default();
        let next = self.timesteps.get(i + 1).copied();
        // in f32, as torch multiplies a whole number by a Python one
        let below = ((1.0 - self.eta) as f32 * next.unwrap_or(0.0) as f32).floor();
        let alpha = self.schedule.alpha(timestep as i64);
        let alpha_below = self.schedule.alpha(below as i64);
        let (signal, level) = (alpha.sqrt(), (1.0 - alpha).sqrt());

        let clean = clean_sample(self.prediction, output, sample, signal, level);
        let epsilon = noise_in_sample(self.prediction, output, sample, signal, level);
        let jumped = clean * f64::from(alpha_below.sqrt()) + epsilon * f64::from((1.0 - alpha_below).sqrt());
        let Some(next) = next.filter(|_| self.eta > 0.0) else { return Ok(jumped) };
        let ratio = self.schedule.alpha(next as i64) / alpha_below;
        let drawn = noise.draw(sample);
        Ok(jumped * f64::from(ratio.sqrt()) + drawn * f64::from((1.0 - ratio).sqrt()))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::schedulers::build;

    #[test]
    fn its_own_keys_are_checked() {
        let config = |json: &str| SchedulerConfig::from_json(json).unwrap().with_kind(SchedulerKind::Tcd);
        let message = |json: &str, steps| build(&config(json), steps).err().unwrap().to_string();
        assert!(message(r#"{"eta": 1.5}"#, 4).starts_with("`eta` is 1.5"));
        assert!(message(r#"{"eta": "NaN"}"#, 4).starts_with("`eta` is \"NaN\""));
        let many = message(r#"{"original_inference_steps": 8}"#, 9);
        assert!(many.contains("9 steps: tcd takes at most 8 here (`original_inference_steps`)"), "{many}");
        assert!(!build(&config(r#"{"eta": 0}"#), 4).unwrap().needs_noise());
        assert!(build(&config("{}"), 4).unwrap().needs_noise());
    }
}
