//! UniPC, Zhao et al. 2023 (arXiv 2302.04867): a multistep predictor, and a corrector of one order more that
//! uses the model output of the next step, so that it costs no further call. As
//! `UniPCMultistepScheduler` of diffusers.

use std::collections::VecDeque;

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::{FinalSigma, PredictionType, SigmaSpread, bad};
use super::dpm_solver_multistep::Point;
use super::predict::{Bounds, clean_sample, noise_in_sample};
use super::sigmas::{at_timesteps, chosen, final_level, finish, to_timesteps};
use super::stepper::Sampler;
use super::timesteps::{Grid, spaced};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// The function B(h) of the paper's section 3.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SolverType {
    /// B(h) = h
    Bh1,
    /// B(h) = exp(h) - 1
    Bh2,
}

/// The UniPC sampler.
pub(super) struct UniPc {
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    predict_x0: bool,
    solver_type: SolverType,
    order: usize,
    lower_order_final: bool,
    /// Steps whose result is not corrected.
    uncorrected: Vec<usize>,
    prediction: PredictionType,
    bounds: Bounds,
    /// Converted outputs, latest first.
    outputs: VecDeque<Tensor>,
    /// Sample before the latest step, and that step's order.
    last: Option<(Tensor, usize)>,
}

impl UniPc {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::UniPc;
        for key in ["use_flow_sigmas", "use_dynamic_shifting", "shift_terminal"] {
            config.refuse(kind, key, "flow matching models are not supported")?;
        }
        config.refuse(kind, "solver_p", "another scheduler as predictor is not supported")?;
        let order = config.get_usize("solver_order")?.unwrap_or(2);
        if !(1..=3).contains(&order) {
            return Err(bad("solver_order", order, "1, 2 or 3"));
        }
        let key = "solver_type";
        let solver_type = config.choose(
            key,
            SolverType::Bh2,
            &[
                ("bh1", SolverType::Bh1),
                ("bh2", SolverType::Bh2),
                // names of other solvers, which diffusers reads as bh2 when a model changes sampler
                ("midpoint", SolverType::Bh2),
                ("heun", SolverType::Bh2),
                ("logrho", SolverType::Bh2),
            ],
        )?;
        let predict_x0 = config.flag("predict_x0", true)?;
        let final_sigma = config.final_sigma()?;
        if final_sigma == FinalSigma::Zero && (solver_type == SolverType::Bh1 || !predict_x0) {
            // the last interval is infinitely long in log signal-to-noise; diffusers gives NaN
            let expected = "sigma_min where `solver_type` is bh1 or `predict_x0` is false";
            return Err(bad("final_sigmas_type", "zero", expected));
        }
        let lower_order_final = config.flag("lower_order_final", true)?;
        if final_sigma == FinalSigma::Zero && order > 1 && !lower_order_final {
            return Err(bad("lower_order_final", false, "true where `final_sigmas_type` is zero"));
        }
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let table = schedule.sigmas();
        let ends: Vec<f64> = table.iter().rev().map(|&s| f64::from(s)).collect();
        let wanted = config.sigma_spread(kind)?;
        let (timesteps, sigmas) = match chosen(config, kind, &ends, steps)? {
            Some(levels) => {
                let whole =
                    |t: f64| if wanted == SigmaSpread::Karras { t.round_ties_even() } else { t.trunc() };
                let timesteps = to_timesteps(&table, &levels).into_iter().map(whole).collect();
                let last = match final_sigma {
                    FinalSigma::Zero => 0.0,
                    FinalSigma::SigmaMin => levels.last().copied().unwrap_or_default(),
                };
                (timesteps, finish(&levels, last))
            }
            None => {
                let timesteps = spaced(config, kind, Grid::Open, steps, schedule.len())?;
                let levels = at_timesteps(&table, &timesteps);
                (timesteps, finish(&levels, final_level(&schedule, final_sigma)))
            }
        };
        let uncorrected = config.get("disable_corrector", "a list of step numbers")?.unwrap_or_default();
        Ok(Self {
            timesteps,
            sigmas,
            predict_x0,
            solver_type,
            order,
            lower_order_final,
            uncorrected,
            prediction: config.prediction_type()?,
            bounds: Bounds::from_config(config, kind)?,
            outputs: VecDeque::new(),
            last: None,
        })
    }

    /// What the solver works on: the clean sample or the noise.
    fn convert(&self, output: &Tensor, i: usize, sample: &Tensor) -> Result<Tensor, SchedulerError> {
        let Point { alpha, sigma, .. } = Point::at(&self.sigmas, i);
        if self.predict_x0 {
            self.bounds.apply(clean_sample(self.prediction, output, sample, alpha, sigma))
        } else {
            Ok(noise_in_sample(self.prediction, output, sample, alpha, sigma))
        }
    }

    /// The sample at level `to`, from the one at the level before. Where the converted output at `to` is
    /// known already, this is the corrector, otherwise the predictor.
    fn update(&self, from: &Tensor, to: usize, order: usize, known: Option<&Tensor>) -> Tensor {
        let Some(m0) = self.outputs.front() else { return from.shallow_clone() };
        let (t, s) = (Point::at(&self.sigmas, to), Point::at(&self.sigmas, to.saturating_sub(1)));
        let h = t.lambda - s.lambda;
        // a last interval of no length (Karras levels that end at sigma_min twice) has no slope
        let order = if h == 0.0 { 1 } else { order };
        let hh = if self.predict_x0 { -h } else { h };
        let phi = hh.exp_m1();
        let b_h = match self.solver_type {
            SolverType::Bh1 => hh,
            SolverType::Bh2 => phi,
        };
        // positions of the earlier outputs in units of this step, with this step's end last
        let ratio = |k: usize| (Point::at(&self.sigmas, (to - 1).saturating_sub(k)).lambda - s.lambda) / h;
        let mut ratios: Vec<f32> = (1..order).map(ratio).collect();
        ratios.push(1.0);

        let weights = match (known, order) {
            (None, 1) => Vec::new(),
            (None, 2) | (Some(_), 1) => vec![0.5],
            (None, _) => solve(&ratios, &right_hand_side(phi, hh, b_h, order), order - 1),
            (Some(_), _) => solve(&ratios, &right_hand_side(phi, hh, b_h, order), order),
        };
        let earlier = self.outputs.iter().skip(1).zip(&ratios);
        let mut differences: Vec<Tensor> =
            earlier.take(order - 1).map(|(m, &r)| (m - m0) / f64::from(r)).collect();
        differences.extend(known.map(|output| output - m0));

        let (keep, scale) =
            if self.predict_x0 { (t.sigma / s.sigma, t.alpha) } else { (t.alpha / s.alpha, t.sigma) };
        let mut next = from * f64::from(keep) - m0 * f64::from(scale * phi);
        for (difference, weight) in differences.iter().zip(weights) {
            next -= difference * (weight * f64::from(scale * b_h));
        }
        next
    }
}

/// The vector b of the paper's equation for the weights: `order` entries.
fn right_hand_side(phi: f32, hh: f32, b_h: f32, order: usize) -> Vec<f64> {
    let mut phi_k = phi / hh - 1.0;
    let mut factorial = 1.0f32;
    (1..=order)
        .map(|i| {
            let entry = phi_k * factorial / b_h;
            factorial *= (i + 1) as f32;
            phi_k = phi_k / hh - 1.0 / factorial;
            f64::from(entry)
        })
        .collect()
}

/// Solves the Vandermonde system sum_j ratios[j]^i w[j] = b[i] of the given size.
fn solve(ratios: &[f32], b: &[f64], size: usize) -> Vec<f64> {
    // Lagrange basis: w = sum_i b[i] x (coefficient of x^i in the polynomial that is 1 at ratios[j] and 0
    // at the others)
    let points: Vec<f64> = ratios.iter().take(size).map(|&r| f64::from(r)).collect();
    let weight = |j: usize, at: f64| {
        let mut polynomial = vec![1.0];
        for (_, &other) in points.iter().enumerate().filter(|&(k, _)| k != j) {
            // times (x - other) / (at - other)
            let mut product = vec![0.0; polynomial.len() + 1];
            for (i, &c) in polynomial.iter().enumerate() {
                product[i + 1] += c / (at - other);
                product[i] -= c * other / (at - other);
            }
            polynomial = product;
        }
        polynomial.iter().zip(b).map(|(c, b)| c * b).sum()
    };
    points.iter().enumerate().map(|(j, &at)| weight(j, at)).collect()
}

impl Sampler for UniPc {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        let Point { alpha, sigma, .. } = Point::at(&self.sigmas, i);
        (f64::from(alpha), f64::from(sigma))
    }

    fn advance(
        &mut self,
        output: &Tensor,
        i: usize,
        sample: &Tensor,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError> {
        let converted = self.convert(output, i, sample)?;
        let corrected = match &self.last {
            Some((before, order)) if !self.uncorrected.contains(&(i - 1)) => {
                self.update(before, i, *order, Some(&converted))
            }
            _ => sample.shallow_clone(),
        };
        self.outputs.push_front(converted);
        self.outputs.truncate(self.order);
        let left = if self.lower_order_final { self.timesteps.len() - i } else { self.order };
        let order = self.order.min(left).min(self.outputs.len());
        let next = self.update(&corrected, i + 1, order, None);
        self.last = Some((corrected, order));
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_solve_their_system() {
        let (ratios, b) = ([-1.5f32, -0.25, 1.0], [0.3, -0.7, 2.0]);
        let weights = solve(&ratios, &b, 3);
        for (i, expected) in b.iter().enumerate() {
            let found: f64 = ratios.iter().zip(&weights).map(|(&r, w)| f64::from(r).powi(i as i32) * w).sum();
            assert!((found - expected).abs() < 1e-12, "{i}: {found}");
        }
    }
}
