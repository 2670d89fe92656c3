//! Linear multistep method of order four over the probability-flow ODE, after k-diffusion: the last four
//! derivatives, each weighted by the integral of its Lagrange polynomial over the step. As
//! `LMSDiscreteScheduler` of diffusers.

use std::collections::VecDeque;

use tch::Tensor;

use super::config::PredictionType;
use super::euler::{init_noise_sigma, level, levels_and_timesteps, unit_variance};
use super::predict::clean_sample_from_sigma;
use super::stepper::Sampler;
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

const ORDER: usize = 4;

/// The LMS sampler.
pub(super) struct Lms {
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    init_noise_sigma: f64,
    prediction: PredictionType,
    /// Latest first.
    derivatives: VecDeque<Tensor>,
}

impl Lms {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::Lms;
        let (timesteps, sigmas) = levels_and_timesteps(config, kind, steps)?;
        let init_noise_sigma = init_noise_sigma(&sigmas, config.timestep_spacing(kind)?);
        let prediction = config.prediction_type()?;
        Ok(Self { timesteps, sigmas, init_noise_sigma, prediction, derivatives: VecDeque::new() })
    }

    /// Integral over step `i` of the Lagrange polynomial that is 1 at level `i - which` and 0 at the other
    /// levels of the last `order`. Gauss-Legendre with two points is exact up to the third degree, which
    /// is the highest here; diffusers integrates the same polynomial numerically.
    fn coefficient(&self, order: usize, i: usize, which: usize) -> f64 {
        let past = |back: usize| f64::from(level(&self.sigmas, i.saturating_sub(back)));
        let polynomial = |tau: f64| -> f64 {
            (0..order).filter(|&k| k != which).map(|k| (tau - past(k)) / (past(which) - past(k))).product()
        };
        let (start, end) = (past(0), f64::from(level(&self.sigmas, i + 1)));
        let (middle, half) = (0.5 * (start + end), 0.5 * (end - start));
        let offset = half / 3f64.sqrt();
        half * (polynomial(middle - offset) + polynomial(middle + offset))
    }
}

impl Sampler for Lms {
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
        let sigma = level(&self.sigmas, i);
        let clean = clean_sample_from_sigma(self.prediction, output, sample, sigma);
        self.derivatives.push_front((sample - clean) / f64::from(sigma));
        self.derivatives.truncate(ORDER);
        // Counted in steps of the schedule: a run that starts half way weights its few derivatives as if
        // more of them were there, in diffusers as in diffusers-rs.
        let order = ORDER.min(i + 1);
        let weighted = self.derivatives.iter().enumerate();
        let change: Tensor =
            weighted.map(|(which, derivative)| derivative * self.coefficient(order, i, which)).sum();
        Ok(sample + change)
    }
}
