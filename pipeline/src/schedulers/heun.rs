//! Heun's second-order method, Karras et al. 2022 (arXiv 2206.00364, algorithm 1 without churn): an Euler
//! step, then a correction with the derivative at its end. Two model calls a step, one in the last. As
//! `HeunDiscreteScheduler` of diffusers.

use tch::Tensor;

use super::config::PredictionType;
use super::euler::{init_noise_sigma, level, levels_and_timesteps, unit_variance};
use super::predict::{Bounds, clean_sample_from_sigma};
use super::stepper::Sampler;
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// The Heun sampler.
pub(super) struct Heun {
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    init_noise_sigma: f64,
    prediction: PredictionType,
    bounds: Bounds,
    /// Between the two calls of a step: its first derivative, length and start.
    half_way: Option<(Tensor, f32, Tensor)>,
}

impl Heun {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::Heun;
        let (timesteps, sigmas) = levels_and_timesteps(config, kind, steps)?;
        let init_noise_sigma = init_noise_sigma(&sigmas, config.timestep_spacing(kind)?);
        Ok(Self {
            timesteps: first_once_others_twice(&timesteps, timesteps.len()),
            sigmas: first_once_others_twice(&sigmas, steps),
            init_noise_sigma,
            prediction: config.prediction_type()?,
            bounds: Bounds::from_config(config, kind)?,
            half_way: None,
        })
    }
}

/// [a, b, c] -> [a, b, b, c, c]; entries from `single_from` on are not repeated either.
fn first_once_others_twice<T: Copy>(values: &[T], single_from: usize) -> Vec<T> {
    let times = |i: usize| if i == 0 || i >= single_from { 1 } else { 2 };
    values.iter().enumerate().flat_map(|(i, &value)| std::iter::repeat_n(value, times(i))).collect()
}

impl Sampler for Heun {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn order(&self) -> usize {
        2
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
        // in the second call of a step the model has seen the step's end
        let sigma = level(&self.sigmas, i);
        let clean = clean_sample_from_sigma(self.prediction, output, sample, sigma);
        let clean = self.bounds.apply(clean)?;
        let derivative = (sample - clean) / f64::from(sigma);
        match self.half_way.take() {
            None => {
                let length = level(&self.sigmas, i + 1) - sigma;
                let next = sample + &derivative * f64::from(length);
                self.half_way = Some((derivative, length, sample.shallow_clone()));
                Ok(next)
            }
            Some((first, length, start)) => {
                let mean = (first + derivative) / 2.0;
                Ok(start + mean * f64::from(length))
            }
        }
    }
}
