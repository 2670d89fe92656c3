//! Pseudo numerical methods for diffusion models, Liu et al. 2022 (arXiv 2202.09778): a linear multistep
//! method, started either by Runge-Kutta steps (PRK, four model calls each) or, as every Stable Diffusion
//! checkpoint asks with `skip_prk_steps`, by one step taken twice. As `PNDMScheduler` of diffusers.

use std::collections::VecDeque;

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::PredictionType;
use super::ddim::levels;
use super::stepper::Sampler;
use super::timesteps::{Grid, spaced, within_table};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// Derivatives the multistep method remembers; also the number of Runge-Kutta steps that start it.
const ORDER: usize = 4;

/// The PNDM sampler.
pub(super) struct Pndm {
    schedule: NoiseSchedule,
    timesteps: Vec<f64>,
    /// How many of the timesteps, from the first on, are calls of Runge-Kutta steps.
    runge_kutta_calls: usize,
    stride: i64,
    final_alpha: f32,
    prediction: PredictionType,
    calls: usize,
    /// Model outputs, latest first.
    outputs: VecDeque<Tensor>,
    /// Sample at the start of a step that takes several calls.
    start: Option<Tensor>,
    /// Weighted outputs of a Runge-Kutta step so far.
    gathered: Option<Tensor>,
}

impl Pndm {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::Pndm;
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let prediction = config.prediction_type()?;
        if prediction == PredictionType::Sample {
            return Err(SchedulerError::Unsupported {
                kind,
                key: "prediction_type",
                value: "sample".to_owned(),
                reason: "diffusers does not have it either; use ddim".to_owned(),
            });
        }
        let skip_prk = config.flag("skip_prk_steps", false)?;
        if !skip_prk && steps < ORDER {
            return Err(SchedulerError::Steps {
                kind,
                steps,
                min: ORDER,
                max: schedule.len(),
                limit: "`skip_prk_steps` is false, and four Runge-Kutta steps come first",
            });
        }
        let grid = spaced(config, kind, Grid::Whole, steps, schedule.len())?;
        within_table(config, &grid, schedule.len())?;
        let stride = (schedule.len() / steps) as i64;
        let (timesteps, runge_kutta_calls) =
            if skip_prk { (second_twice(&grid), 0) } else { with_runge_kutta(&grid, stride) };
        within_table(config, &timesteps, schedule.len())?;
        let final_alpha = if config.flag("set_alpha_to_one", false)? { 1.0 } else { schedule.alpha(0) };
        Ok(Self {
            schedule,
            timesteps,
            runge_kutta_calls,
            stride,
            final_alpha,
            prediction,
            calls: 0,
            outputs: VecDeque::new(),
            start: None,
            gathered: None,
        })
    }

    /// One call of a Runge-Kutta step: at its start, twice at its middle, at its end.
    fn runge_kutta(&mut self, output: &Tensor, i: usize, sample: &Tensor) -> Tensor {
        let at = |k: usize| self.timesteps.get(k).copied().unwrap_or_default() as i64;
        let call = i % 4;
        let previous = at(i) - if call.is_multiple_of(2) { self.stride / 2 } else { 0 };
        let from = at(i - call);
        let weight = if call == 0 || call == 3 { 1.0 / 6.0 } else { 1.0 / 3.0 };
        let mut gathered = output * weight;
        if let Some(before) = self.gathered.take() {
            gathered = before + gathered;
        }
        if call == 0 {
            self.remember(output);
            self.start = Some(sample.shallow_clone());
        }
        let start = self.start.as_ref().map_or_else(|| sample.shallow_clone(), Tensor::shallow_clone);
        if call == 3 {
            return self.transfer(&start, from, previous, &gathered);
        }
        self.gathered = Some(gathered);
        self.transfer(&start, from, previous, output)
    }

    /// One call of the multistep method.
    fn multistep(&mut self, output: &Tensor, i: usize, sample: &Tensor) -> Tensor {
        let timestep = self.timesteps.get(i).copied().unwrap_or_default() as i64;
        if self.calls == 1 {
            // the first step again, now with the mean of the outputs at both of its ends
            let mean =
                self.outputs.front().map_or_else(|| output.shallow_clone(), |first| (output + first) / 2.0);
            let start = self.start.take().unwrap_or_else(|| sample.shallow_clone());
            return self.transfer(&start, timestep + self.stride, timestep, &mean);
        }
        self.remember(output);
        if self.calls == 0 {
            self.start = Some(sample.shallow_clone());
        }
        let derivative = self.adams_bashforth();
        self.transfer(sample, timestep, timestep - self.stride, &derivative)
    }

    fn remember(&mut self, output: &Tensor) {
        self.outputs.push_front(output.shallow_clone());
        self.outputs.truncate(ORDER);
    }

    /// Adams-Bashforth of the order that the remembered outputs allow.
    fn adams_bashforth(&self) -> Tensor {
        let (weights, divisor): (&[f64], f64) = match self.outputs.len() {
            0 | 1 => (&[1.0], 1.0),
            2 => (&[3.0, -1.0], 2.0),
            3 => (&[23.0, -16.0, 5.0], 12.0),
            _ => (&[55.0, -59.0, 37.0, -9.0], 24.0),
        };
        let sum: Tensor = self.outputs.iter().zip(weights).map(|(output, &weight)| output * weight).sum();
        sum / divisor
    }

    /// Equation 9 of the paper: the sample carried from one timestep to another along a derivative.
    fn transfer(&self, sample: &Tensor, from: i64, to: i64, output: &Tensor) -> Tensor {
        let alpha = self.schedule.alpha(from);
        let alpha_to = if to >= 0 { self.schedule.alpha(to) } else { self.final_alpha };
        let (beta, beta_to) = (1.0 - alpha, 1.0 - alpha_to);
        let epsilon = match self.prediction {
            PredictionType::VPrediction => output * f64::from(alpha.sqrt()) + sample * f64::from(beta.sqrt()),
            _ => output.shallow_clone(),
        };
        let divisor = alpha * beta_to.sqrt() + (alpha * beta * alpha_to).sqrt();
        sample * f64::from((alpha_to / alpha).sqrt())
            - epsilon * f64::from(alpha_to - alpha) / f64::from(divisor)
    }
}

/// [a, b, c, d] -> [a, b, b, c, d]
fn second_twice(grid: &[f64]) -> Vec<f64> {
    let repeats = |i: usize| if i == 1 { 2 } else { 1 };
    grid.iter().enumerate().flat_map(|(i, &t)| std::iter::repeat_n(t, repeats(i))).collect()
}

/// The first three intervals as Runge-Kutta calls (t, t - half, t - half, next t), then the multistep
/// timesteps from the fourth on: (timesteps, number of Runge-Kutta calls).
fn with_runge_kutta(grid: &[f64], stride: i64) -> (Vec<f64>, usize) {
    let half = (stride / 2) as f64;
    let mut timesteps = Vec::new();
    for pair in grid.windows(2).take(ORDER - 1) {
        if let [start, end] = pair {
            timesteps.extend([*start, end + half, end + half, *end]);
        }
    }
    let calls = timesteps.len();
    timesteps.extend(grid.iter().skip(ORDER - 1));
    (timesteps, calls)
}

impl Sampler for Pndm {
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
        let next = if self.calls < self.runge_kutta_calls {
            if i != self.calls {
                // Runge-Kutta steps stand at the start of the whole schedule
                return Err(SchedulerError::Order { expected: self.calls, found: i });
            }
            self.runge_kutta(output, i, sample)
        } else {
            self.multistep(output, i, sample)
        };
        self.calls += 1;
        Ok(next)
    }
}
