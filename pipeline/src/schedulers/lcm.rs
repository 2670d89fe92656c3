//! Latent consistency models, Luo et al. 2023 (arXiv 2310.04378): each step predicts the clean sample and
//! adds noise for the next, on a subset of the timesteps the model was distilled on. As `LCMScheduler` of
//! diffusers.

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::PredictionType;
use super::ddim::{levels, prediction_and_bounds};
use super::predict::{Bounds, clean_sample};
use super::stepper::Sampler;
use super::timesteps::distilled;
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// Standard deviation of the data that the boundary condition assumes.
const SIGMA_DATA: f32 = 0.5;

/// The LCM sampler.
pub(super) struct Lcm {
    schedule: NoiseSchedule,
    timesteps: Vec<f64>,
    prediction: PredictionType,
    bounds: Bounds,
    timestep_scaling: f32,
}

impl Lcm {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::Lcm;
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let timesteps = distilled(config, kind, steps)?;
        let (prediction, bounds) = prediction_and_bounds(config, kind, &schedule, &timesteps)?;
        let timestep_scaling = config.number("timestep_scaling", 10.0)? as f32;
        Ok(Self { schedule, timesteps, prediction, bounds, timestep_scaling })
    }
}

impl Sampler for Lcm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn needs_noise(&self) -> bool {
        self.timesteps.len() > 1
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
        let alpha = self.schedule.alpha(timestep as i64);
        let clean = clean_sample(self.prediction, output, sample, alpha.sqrt(), (1.0 - alpha).sqrt());
        let clean = self.bounds.apply(clean)?;
        // the boundary condition of consistency models: at timestep 0 the sample is the answer
        let scaled = timestep as f32 * self.timestep_scaling;
        let variance = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (SIGMA_DATA * SIGMA_DATA / variance, scaled / variance.sqrt());
        let denoised = clean * f64::from(out) + sample * f64::from(skip);
        let Some(&next) = self.timesteps.get(i + 1) else { return Ok(denoised) };
        let alpha_next = self.schedule.alpha(next as i64);
        let drawn = noise.draw(sample);
        Ok(denoised * f64::from(alpha_next.sqrt()) + drawn * f64::from((1.0 - alpha_next).sqrt()))
    }
}
