//! Euler's method on the probability-flow ODE, Karras et al. 2022 (arXiv 2206.00364, algorithm 2 without
//! churn). As `EulerDiscreteScheduler` of diffusers.

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::{PredictionType, TimestepSpacing};
use super::predict::clean_sample_from_sigma;
use super::sigmas::{at_timesteps, chosen, final_level, finish, to_timesteps};
use super::stepper::Sampler;
use super::timesteps::{Grid, linspace, spaced};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// The Euler sampler.
pub(super) struct Euler {
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    init_noise_sigma: f64,
    prediction: PredictionType,
}

impl Euler {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::Euler;
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let table = schedule.sigmas();
        let mut timesteps = spaced(config, kind, Grid::Fractional, steps, schedule.len())?;
        let mut levels =
            if is_log_linear(config)? { log_spaced(&table, steps) } else { at_timesteps(&table, &timesteps) };
        if let Some(chosen) = chosen(config, kind, &levels, steps)? {
            timesteps = as_f32(to_timesteps(&table, &chosen));
            levels = chosen;
        }
        let sigmas = finish(&levels, final_level(&schedule, config.final_sigma()?));
        let prediction = config.prediction_type()?;
        if is_continuous(config)? && prediction == PredictionType::VPrediction {
            timesteps = sigmas.iter().take(steps).map(|s| f64::from(0.25 * s.ln())).collect();
        }
        let init_noise_sigma = init_noise_sigma(&sigmas, config.timestep_spacing(kind)?);
        Ok(Self { timesteps, sigmas, init_noise_sigma, prediction })
    }
}

/// Levels evenly spaced in the logarithm instead of those of the timesteps, `interpolation_type`.
pub(super) fn is_log_linear(config: &SchedulerConfig) -> Result<bool, SchedulerError> {
    config.choose("interpolation_type", false, &[("linear", false), ("log_linear", true)])
}

/// The model is told a quarter of the level's logarithm and no timestep, `timestep_type`.
pub(super) fn is_continuous(config: &SchedulerConfig) -> Result<bool, SchedulerError> {
    config.choose("timestep_type", false, &[("discrete", false), ("continuous", true)])
}

/// `interpolation_type: log_linear`: one level more than steps, so that the run ends at the smallest.
fn log_spaced(table: &[f32], steps: usize) -> Vec<f64> {
    let end = |level: Option<&f32>| f64::from(level.copied().unwrap_or_default().ln());
    let logs = linspace(end(table.last()), end(table.first()), steps + 1);
    logs.into_iter().map(|log| f64::from((log as f32).exp())).collect()
}

/// Timesteps as diffusers keeps them, in f32.
fn as_f32(timesteps: Vec<f64>) -> Vec<f64> {
    timesteps.into_iter().map(|t| f64::from(t as f32)).collect()
}

/// Standard deviation of a run's first sample. `leading` timesteps start below the last training
/// timestep, where the sample still holds signal; diffusers then counts the signal's variance in.
pub(super) fn init_noise_sigma(sigmas: &[f32], spacing: TimestepSpacing) -> f64 {
    let largest = sigmas.iter().copied().fold(0f32, f32::max);
    match spacing {
        TimestepSpacing::Leading => f64::from((largest * largest + 1.0).sqrt()),
        TimestepSpacing::Linspace | TimestepSpacing::Trailing => f64::from(largest),
    }
}

/// What a sample at level `sigma` is divided by to have unit variance.
pub(super) fn unit_variance(sigmas: &[f32], i: usize) -> f64 {
    let sigma = sigmas.get(i).copied().unwrap_or_default();
    f64::from((sigma * sigma + 1.0).sqrt())
}

/// Level `i`, 0 beyond the end.
pub(super) fn level(sigmas: &[f32], i: usize) -> f32 {
    sigmas.get(i).copied().unwrap_or_default()
}

/// Table of levels and timesteps of Heun's method and LMS, which know neither a final level nor another
/// interpolation: (timesteps, levels with 0 at the end).
pub(super) fn levels_and_timesteps(
    config: &SchedulerConfig,
    kind: SchedulerKind,
    steps: usize,
) -> Result<(Vec<f64>, Vec<f32>), SchedulerError> {
    let schedule = NoiseSchedule::from_config(config, kind)?;
    let table = schedule.sigmas();
    let mut timesteps = spaced(config, kind, Grid::Fractional, steps, schedule.len())?;
    let mut levels = at_timesteps(&table, &timesteps);
    if let Some(chosen) = chosen(config, kind, &levels, steps)? {
        timesteps = as_f32(to_timesteps(&table, &chosen));
        levels = chosen;
    }
    Ok((timesteps, finish(&levels, 0.0)))
}

impl Sampler for Euler {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
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
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError> {
        let (sigma, next) = (level(&self.sigmas, i), level(&self.sigmas, i + 1));
        let clean = clean_sample_from_sigma(self.prediction, output, sample, sigma);
        let derivative = (sample - clean) / f64::from(sigma);
        Ok(sample + derivative * f64::from(next - sigma))
    }
}
