//! Denoising diffusion implicit models, J. Song et al. 2020 (arXiv 2010.02502), with eta 0: no noise is
//! added, a run is a function of its start. As `DDIMScheduler` of diffusers.

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::{PredictionType, bad};
use super::predict::{Bounds, clean_sample, noise_in_sample};
use super::stepper::Sampler;
use super::timesteps::{Grid, spaced, within_table};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// The DDIM sampler.
pub(super) struct Ddim {
    schedule: NoiseSchedule,
    timesteps: Vec<f64>,
    stride: i64,
    final_alpha: f32,
    prediction: PredictionType,
    bounds: Bounds,
}

impl Ddim {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::Ddim;
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let timesteps = spaced(config, kind, Grid::Whole, steps, schedule.len())?;
        within_table(config, &timesteps, schedule.len())?;
        let (prediction, bounds) = prediction_and_bounds(config, kind, &schedule, &timesteps)?;
        let final_alpha = if config.flag("set_alpha_to_one", true)? { 1.0 } else { schedule.alpha(0) };
        let stride = (schedule.len() / steps) as i64;
        Ok(Self { schedule, timesteps, stride, final_alpha, prediction, bounds })
    }
}

/// What the model predicts and how the clean sample is bounded.
///
/// Where a zero-SNR schedule starts from pure noise, the noise says nothing about the picture: the clean
/// sample cannot be computed from epsilon (diffusers divides by zero), unless it is clipped.
pub(super) fn prediction_and_bounds(
    config: &SchedulerConfig,
    kind: SchedulerKind,
    schedule: &NoiseSchedule,
    timesteps: &[f64],
) -> Result<(PredictionType, Bounds), SchedulerError> {
    let prediction = config.prediction_type()?;
    let bounds = Bounds::from_config(config, kind)?;
    let blind = timesteps.iter().any(|&t| schedule.alpha(t as i64) == 0.0);
    if blind && prediction == PredictionType::Epsilon && !matches!(bounds, Bounds::Clip(_)) {
        let expected = "v_prediction or sample where `rescale_betas_zero_snr` is true";
        return Err(bad("prediction_type", "epsilon", expected));
    }
    Ok((prediction, bounds))
}

/// Signal and noise factors of the variance-preserving samplers at a timestep.
pub(super) fn levels(schedule: &NoiseSchedule, timesteps: &[f64], i: usize) -> (f64, f64) {
    let alpha = schedule.alpha(timesteps.get(i).copied().unwrap_or_default() as i64);
    (f64::from(alpha.sqrt()), f64::from((1.0 - alpha).sqrt()))
}

impl Sampler for Ddim {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        levels(&self.schedule, &self.timesteps, i)
    }

    fn advance(
        &mut self,
        output: &Tensor,
        i: usize,
        sample: &Tensor,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError> {
        let timestep = self.timesteps.get(i).copied().unwrap_or_default() as i64;
        let previous = timestep - self.stride;
        let alpha = self.schedule.alpha(timestep);
        let alpha_previous = if previous >= 0 { self.schedule.alpha(previous) } else { self.final_alpha };
        let (signal, noise) = (alpha.sqrt(), (1.0 - alpha).sqrt());

        let clean = self.bounds.apply(clean_sample(self.prediction, output, sample, signal, noise))?;
        // epsilon stays that of the unbounded sample, as diffusers has it by default
        let epsilon = noise_in_sample(self.prediction, output, sample, signal, noise);
        let direction = epsilon * f64::from((1.0 - alpha_previous).sqrt());
        Ok(clean * f64::from(alpha_previous.sqrt()) + direction)
    }
}
