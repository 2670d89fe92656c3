//! Euler's method with ancestral noise, after k-diffusion: each step goes below its target level and comes
//! back up with fresh noise. As `EulerAncestralDiscreteScheduler` of diffusers.

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::PredictionType;
use super::euler::{init_noise_sigma, level, unit_variance};
use super::predict::clean_sample_from_sigma;
use super::sigmas::{at_timesteps, finish};
use super::stepper::Sampler;
use super::timesteps::{Grid, spaced};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// The Euler ancestral sampler.
pub(super) struct EulerAncestral {
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    init_noise_sigma: f64,
    prediction: PredictionType,
}

impl EulerAncestral {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::EulerAncestral;
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let timesteps = spaced(config, kind, Grid::Fractional, steps, schedule.len())?;
        let sigmas = finish(&at_timesteps(&schedule.sigmas(), &timesteps), 0.0);
        let prediction = config.prediction_type()?;
        if prediction == PredictionType::Sample {
            return Err(SchedulerError::Unsupported {
                kind,
                key: "prediction_type",
                value: "sample".to_owned(),
                reason: "diffusers does not have it either; use euler".to_owned(),
            });
        }
        let init_noise_sigma = init_noise_sigma(&sigmas, config.timestep_spacing(kind)?);
        Ok(Self { timesteps, sigmas, init_noise_sigma, prediction })
    }
}

impl Sampler for EulerAncestral {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn needs_noise(&self) -> bool {
        true
    }

    fn input_divisor(&self, i: usize) -> f64 {
        unit_variance(&self.sigmas, i)
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        (1.0, f64::from(level(&self.sigmas, i)))
    }

    fn advance(
        &mut self,
        output: &Tensor,
        i: usize,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError> {
        let (from, to) = (level(&self.sigmas, i), level(&self.sigmas, i + 1));
        let (from2, to2) = (from * from, to * to);
        let up = (to2 * (from2 - to2) / from2).sqrt();
        let down = (to2 - up * up).sqrt();
        let clean = clean_sample_from_sigma(self.prediction, output, sample, from);
        let derivative = (sample - clean) / f64::from(from);
        let lowered = sample + derivative * f64::from(down - from);
        // drawn in the last step too, where it counts for nothing, so that a generator used further
        // stands where diffusers leaves it
        Ok(lowered + noise.draw(output) * f64::from(up))
    }
}
