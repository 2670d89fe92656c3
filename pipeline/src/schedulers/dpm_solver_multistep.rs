//! DPM-Solver and DPM-Solver++ with multistep updates of order one to three, as ODE or SDE: Lu et al. 2022
//! (arXiv 2206.00927 and 2211.01095). As `DPMSolverMultistepScheduler` of diffusers; order two with
//! `dpmsolver++` is what user interfaces call "DPM++ 2M".

use std::collections::VecDeque;

use tch::Tensor;

use super::betas::NoiseSchedule;
use super::config::{FinalSigma, PredictionType, SigmaSpread, bad};
use super::predict::{Bounds, clean_sample, noise_in_sample};
use super::sigmas::{at_timesteps, chosen, final_level, finish, to_timesteps};
use super::stepper::Sampler;
use super::timesteps::{Grid, spaced};
use super::{SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

/// The equation that is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Algorithm {
    /// The solver works on the clean sample (the ++ variants) or on the noise.
    plus_plus: bool,
    /// Reverse SDE instead of the probability-flow ODE.
    sde: bool,
}

/// Which second-order update.
#[derive(Clone, Copy, PartialEq, Eq)]
enum SolverType {
    Midpoint,
    Heun,
}

/// The DPM-Solver multistep sampler.
pub(super) struct DpmSolverMultistep {
    timesteps: Vec<f64>,
    sigmas: Vec<f32>,
    algorithm: Algorithm,
    solver_type: SolverType,
    order: usize,
    /// The last step is of first order, and the one before of second order at most.
    lower_order_at_end: (bool, bool),
    prediction: PredictionType,
    bounds: Bounds,
    /// Converted outputs, latest first.
    outputs: VecDeque<Tensor>,
}

impl DpmSolverMultistep {
    pub(super) fn new(config: &SchedulerConfig, steps: usize) -> Result<Self, SchedulerError> {
        let kind = SchedulerKind::DpmSolverMultistep;
        for key in ["use_flow_sigmas", "use_dynamic_shifting"] {
            config.refuse(kind, key, "flow matching models are not supported")?;
        }
        if let Some(learned @ ("learned" | "learned_range")) = config.get_str("variance_type")?.as_deref() {
            return Err(SchedulerError::Unsupported {
                kind,
                key: "variance_type",
                value: learned.to_owned(),
                reason: "the model would put out a variance too; use ddpm".to_owned(),
            });
        }
        let algorithm = algorithm(config)?;
        let final_sigma = config.final_sigma()?;
        if !algorithm.plus_plus && final_sigma == FinalSigma::Zero {
            let expected = "sigma_min where `algorithm_type` is dpmsolver or sde-dpmsolver";
            return Err(bad("final_sigmas_type", "zero", expected));
        }
        let order = config.get_usize("solver_order")?.unwrap_or(2);
        if !(1..=3).contains(&order) {
            return Err(bad("solver_order", order, "1, 2 or 3"));
        }
        if order == 3 && algorithm == (Algorithm { plus_plus: false, sde: true }) {
            return Err(bad("solver_order", order, "1 or 2 where `algorithm_type` is sde-dpmsolver"));
        }
        let solver_type = config.choose(
            "solver_type",
            SolverType::Midpoint,
            &[
                ("midpoint", SolverType::Midpoint),
                ("heun", SolverType::Heun),
                // names of other solvers, which diffusers reads as midpoint when a model changes sampler
                ("logrho", SolverType::Midpoint),
                ("bh1", SolverType::Midpoint),
                ("bh2", SolverType::Midpoint),
            ],
        )?;
        let schedule = NoiseSchedule::from_config(config, kind)?;
        let (timesteps, levels) = timesteps_and_levels(config, kind, &schedule, steps)?;
        let sigmas = finish(&levels, final_level(&schedule, final_sigma));
        let lower = config.flag("lower_order_final", true)? && timesteps.len() < 15;
        let first_at_end = config.flag("euler_at_final", false)? || lower || final_sigma == FinalSigma::Zero;
        Ok(Self {
            timesteps,
            sigmas,
            algorithm,
            solver_type,
            order,
            lower_order_at_end: (first_at_end, lower),
            prediction: config.prediction_type()?,
            bounds: Bounds::from_config(config, kind)?,
            outputs: VecDeque::new(),
        })
    }

    /// What the solver works on: the clean sample or the noise.
    fn convert(&self, output: &Tensor, i: usize, sample: &Tensor) -> Result<Tensor, SchedulerError> {
        let Point { alpha, sigma, .. } = Point::at(&self.sigmas, i);
        if self.algorithm.plus_plus {
            return self.bounds.apply(clean_sample(self.prediction, output, sample, alpha, sigma));
        }
        let epsilon = noise_in_sample(self.prediction, output, sample, alpha, sigma);
        if self.bounds == Bounds::Free {
            return Ok(epsilon);
        }
        let clean = (sample - epsilon * f64::from(sigma)) / f64::from(alpha);
        let clean = self.bounds.apply(clean)?;
        Ok((sample - clean * f64::from(alpha)) / f64::from(sigma))
    }

    /// Order of the update at step `i` of `count`.
    fn order_at(&self, i: usize, count: usize) -> usize {
        let (first_at_end, lower) = self.lower_order_at_end;
        let limit = match count - i {
            1 if first_at_end => 1,
            2 if lower => 2,
            _ => self.order,
        };
        limit.min(self.outputs.len())
    }
}

/// Signal and noise factors of a level and half its log signal-to-noise ratio, in f32 as in diffusers.
#[derive(Clone, Copy)]
pub(super) struct Point {
    pub alpha: f32,
    pub sigma: f32,
    pub lambda: f32,
}

impl Point {
    pub(super) fn at(sigmas: &[f32], i: usize) -> Self {
        let level = sigmas.get(i).copied().unwrap_or_default();
        let alpha = 1.0 / (level * level + 1.0).sqrt();
        let sigma = level * alpha;
        Self { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }
}

fn algorithm(config: &SchedulerConfig) -> Result<Algorithm, SchedulerError> {
    let default = Algorithm { plus_plus: true, sde: false };
    config.choose(
        "algorithm_type",
        default,
        &[
            ("dpmsolver++", default),
            ("dpmsolver", Algorithm { plus_plus: false, sde: false }),
            ("sde-dpmsolver++", Algorithm { plus_plus: true, sde: true }),
            ("sde-dpmsolver", Algorithm { plus_plus: false, sde: true }),
            // the solver of another class, read as dpmsolver++ when a model changes sampler
            ("deis", default),
        ],
    )
}

fn timesteps_and_levels(
    config: &SchedulerConfig,
    kind: SchedulerKind,
    schedule: &NoiseSchedule,
    steps: usize,
) -> Result<(Vec<f64>, Vec<f64>), SchedulerError> {
    let table = schedule.sigmas();
    let wanted = config.sigma_spread(kind)?;
    let ends: Vec<f64> = table.iter().rev().map(|&s| f64::from(s)).collect();
    if let Some(levels) = chosen(config, kind, &ends, steps)? {
        let rounds = matches!(wanted, SigmaSpread::Karras | SigmaSpread::Lu)
            && config.get_str("beta_schedule")?.as_deref() != Some("squaredcos_cap_v2");
        let whole = |t: f64| if rounds { t.round_ties_even() } else { t.trunc() };
        let timesteps = to_timesteps(&table, &levels).into_iter().map(whole).collect();
        return Ok((timesteps, levels));
    }
    let clip = config.number("lambda_min_clipped", f64::NEG_INFINITY)?;
    let last = schedule
        .alphas_cumprod
        .partition_point(|&a| f64::from(a.sqrt().ln() - (1.0 - a).sqrt().ln()) >= clip);
    let timesteps = spaced(config, kind, Grid::Open, steps, last)?;
    let levels = at_timesteps(&table, &timesteps);
    Ok((timesteps, levels))
}

impl Sampler for DpmSolverMultistep {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn needs_noise(&self) -> bool {
        self.algorithm.sde
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
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError> {
        let converted = self.convert(output, i, sample)?;
        self.outputs.push_front(converted);
        self.outputs.truncate(self.order);
        let factors = Factors::of(self.algorithm, Point::at(&self.sigmas, i + 1), Point::at(&self.sigmas, i));
        let h = factors.h;
        // a last interval of no length (Karras levels that end at sigma_min twice) has no slope
        let order = if h == 0.0 { 1 } else { self.order_at(i, self.timesteps.len()) };
        let lambda = |back: usize| Point::at(&self.sigmas, i.saturating_sub(back)).lambda;

        let mut outputs = self.outputs.iter();
        let (Some(m0), m1, m2) = (outputs.next(), outputs.next(), outputs.next()) else {
            return Ok(sample.shallow_clone());
        };
        let mut next = sample * f64::from(factors.sample) + m0 * f64::from(factors.zeroth);
        match (order, m1, m2) {
            (3, Some(m1), Some(m2)) => {
                let (r0, r1) = ((lambda(0) - lambda(1)) / h, (lambda(1) - lambda(2)) / h);
                let newer = (m0 - m1) * f64::from(1.0 / r0);
                let older = (m1 - m2) * f64::from(1.0 / r1);
                let bend = &newer - older;
                let slope = newer + &bend * f64::from(r0 / (r0 + r1));
                let curvature = bend * f64::from(1.0 / (r0 + r1));
                next = next + slope * f64::from(factors.first) + curvature * f64::from(factors.second);
            }
            (2, Some(m1), _) => {
                let r0 = (lambda(0) - lambda(1)) / h;
                let slope = (m0 - m1) * f64::from(1.0 / r0);
                let factor = match self.solver_type {
                    SolverType::Midpoint => 0.5 * factors.zeroth,
                    SolverType::Heun => factors.first,
                };
                next += slope * f64::from(factor);
            }
            _ => {}
        }
        if self.algorithm.sde {
            next += noise.draw(sample) * f64::from(factors.noise);
        }
        Ok(next)
    }
}

/// Factors of one update from level `s` to level `t`: of the sample, of the converted output and its first
/// two differences, and of fresh noise.
struct Factors {
    h: f32,
    sample: f32,
    zeroth: f32,
    first: f32,
    second: f32,
    noise: f32,
}

impl Factors {
    fn of(algorithm: Algorithm, t: Point, s: Point) -> Self {
        let h = t.lambda - s.lambda;
        match algorithm {
            Algorithm { plus_plus: true, sde: false } => {
                let phi = (-h).exp() - 1.0;
                Self {
                    h,
                    sample: t.sigma / s.sigma,
                    zeroth: -(t.alpha * phi),
                    first: t.alpha * (phi / h + 1.0),
                    second: -(t.alpha * ((phi + h) / (h * h) - 0.5)),
                    noise: 0.0,
                }
            }
            Algorithm { plus_plus: false, sde: false } => {
                let phi = h.exp() - 1.0;
                Self {
                    h,
                    sample: t.alpha / s.alpha,
                    zeroth: -(t.sigma * phi),
                    first: -(t.sigma * (phi / h - 1.0)),
                    second: -(t.sigma * ((phi - h) / (h * h) - 0.5)),
                    noise: 0.0,
                }
            }
            Algorithm { plus_plus: true, sde: true } => {
                let phi = 1.0 - (-2.0 * h).exp();
                Self {
                    h,
                    sample: t.sigma / s.sigma * (-h).exp(),
                    zeroth: t.alpha * phi,
                    first: t.alpha * (phi / (-2.0 * h) + 1.0),
                    second: t.alpha * ((phi - 2.0 * h) / ((2.0 * h) * (2.0 * h)) - 0.5),
                    noise: t.sigma * phi.sqrt(),
                }
            }
            Algorithm { plus_plus: false, sde: true } => {
                let phi = h.exp() - 1.0;
                Self {
                    h,
                    sample: t.alpha / s.alpha,
                    zeroth: -2.0 * (t.sigma * phi),
                    first: -2.0 * (t.sigma * (phi / h - 1.0)),
                    second: 0.0,
                    noise: t.sigma * ((2.0 * h).exp() - 1.0).sqrt(),
                }
            }
        }
    }
}
