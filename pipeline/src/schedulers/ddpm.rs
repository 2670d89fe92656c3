//! Denoising diffusion probabilistic models, Ho et al. 2020 (arXiv 2006.11239): every step but the last
//! adds noise. As `DDPMScheduler` of diffusers.

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::PredictionType;
use super::ddim::{levels, prediction_and_bounds};
use super::predict::{Bounds, clean_sample};
use super::stepper::Sampler;
use super::timesteps::{Grid, spaced, within_table};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// Where the variance of a step comes from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variance {
    /// The posterior's, the lower bound.
    FixedSmall,
    /// The same by way of its logarithm.
    FixedSmallLog,
    /// Beta itself, the upper bound.
    FixedLarge,
    /// Put out by the model in as many channels again.
    Learned,
    /// Put out by the model as a position between the logarithms of both bounds.
    LearnedRange,
}

/// The DDPM sampler.
pub(super) struct Ddpm {
    schedule: NoiseSchedule,
    timesteps: Vec<f64>,
    prediction: PredictionType,
    bounds: Bounds,
    variance: Variance,
}

impl Ddpm {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::Ddpm;
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let timesteps = spaced(config, kind, Grid::Whole, steps, schedule.len())?;
        within_table(config, &timesteps, schedule.len())?;
        let (prediction, bounds) = prediction_and_bounds(config, kind, &schedule, &timesteps)?;
        let key = "variance_type";
        if config.get_str(key)?.as_deref() == Some("fixed_large_log") {
            return Err(SchedulerError::Unsupported {
                kind,
                key,
                value: "fixed_large_log".to_owned(),
                reason: "diffusers takes the square root of a negative logarithm here and gives NaN; \
                         use fixed_large"
                    .to_owned(),
            });
        }
        let variance = config.choose(
            key,
            Variance::FixedSmall,
            &[
                ("fixed_small", Variance::FixedSmall),
                ("fixed_small_log", Variance::FixedSmallLog),
                ("fixed_large", Variance::FixedLarge),
                ("learned", Variance::Learned),
                ("learned_range", Variance::LearnedRange),
            ],
        )?;
        Ok(Self { schedule, timesteps, prediction, bounds, variance })
    }

    fn learns_variance(&self) -> bool {
        matches!(self.variance, Variance::Learned | Variance::LearnedRange)
    }
}

impl Sampler for Ddpm {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn needs_noise(&self) -> bool {
        true
    }

    fn output_channels(&self) -> i64 {
        if self.learns_variance() { 2 } else { 1 }
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
        let timestep = self.timesteps.get(i).copied().unwrap_or_default() as i64;
        let alpha = self.schedule.alpha(timestep);
        let alpha_previous = self.timesteps.get(i + 1).map_or(1.0, |&t| self.schedule.alpha(t as i64));
        let (beta, beta_previous) = (1.0 - alpha, 1.0 - alpha_previous);
        let step_alpha = alpha / alpha_previous;
        let step_beta = 1.0 - step_alpha;

        let (output, learned) = if self.learns_variance() {
            let channels = sample.size().get(1).copied().unwrap_or_default();
            // [batch, 2 x channels, ...] -> two of [batch, channels, ...]
            (output.f_narrow(1, 0, channels)?, Some(output.f_narrow(1, channels, channels)?))
        } else {
            (output.shallow_clone(), None)
        };
        let clean = clean_sample(self.prediction, &output, sample, alpha.sqrt(), beta.sqrt());
        let clean = self.bounds.apply(clean)?;
        // mean of the posterior, equation 7
        let of_clean = alpha_previous.sqrt() * step_beta / beta;
        let of_sample = step_alpha.sqrt() * beta_previous / beta;
        let mean = clean * f64::from(of_clean) + sample * f64::from(of_sample);
        if timestep == 0 {
            return Ok(mean);
        }

        let small = (beta_previous / beta * step_beta).max(1e-20);
        let drawn = noise.draw(&output);
        let added = match (self.variance, learned) {
            (Variance::FixedSmallLog, _) => drawn * f64::from((0.5 * small.ln()).exp()),
            (Variance::FixedLarge, _) => drawn * f64::from(step_beta.sqrt()),
            (Variance::Learned, Some(variance)) => drawn * variance.f_sqrt()?,
            (Variance::LearnedRange, Some(position)) => {
                let share = (position + 1.0) / 2.0;
                let (low, high) = (f64::from(small.ln()), f64::from(step_beta.ln()));
                let log_variance: Tensor = &share * (high - low) + low;
                drawn * (log_variance * 0.5).exp()
            }
            _ => drawn * f64::from(small.sqrt()),
        };
        Ok(mean + added)
    }
}
