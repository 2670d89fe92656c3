//! The noise schedule the model was trained with: betas, and the table of cumulative products that
//! every sampler reads.
//!
//! Tables are f32 because diffusers keeps them in f32; the sums and products run through the same
//! torch kernels, so that the tables agree to the bit.

use std::f64::consts::FRAC_PI_2;

use tch::{Device, Kind, Tensor};

use super::config::bad;
use super::{SchedulerConfig, SchedulerError, SchedulerKind};

/// Smallest positive half-precision number: diffusers puts it where a zero-SNR schedule ends, so that
/// the largest sigma is 4096 and not infinite.
const NEARLY_ZERO: f32 = 1.0 / 16_777_216.0;

/// The training noise schedule of one model under one sampler.
#[derive(Clone, Debug)]
pub struct NoiseSchedule {
    /// Cumulative product of (1 - beta), one value per training timestep: the share of signal variance.
    pub alphas_cumprod: Vec<f32>,
    /// How the betas came about: diffusers-rs knows two ways.
    pub(super) formula: Formula,
}

/// Where the betas come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Formula {
    /// Evenly spaced betas between the two ends.
    Linear { start: f64, end: f64 },
    /// Evenly spaced square roots of betas.
    ScaledLinear { start: f64, end: f64 },
    /// Everything else.
    Other,
}

impl NoiseSchedule {
    /// Reads `beta_start`, `beta_end`, `beta_schedule`, `trained_betas`, `num_train_timesteps` and
    /// `rescale_betas_zero_snr`.
    ///
    /// Schedules: `linear`, `scaled_linear` (latent diffusion) and `squaredcos_cap_v2` (Nichol and Dhariwal
    /// 2021) everywhere; `sigmoid` (GeoDiff) and `laplace` for DDPM; `exp` for Heun, as in diffusers.
    pub fn from_config(config: &SchedulerConfig, kind: SchedulerKind) -> Result<Self, SchedulerError> {
        let count = config.num_train_timesteps()?;
        let (mut betas, formula) = betas(config, kind, count)?;
        let rescale = rescales(kind) && config.flag("rescale_betas_zero_snr", false)?;
        if rescale {
            betas = rescale_to_zero_snr(&betas)?;
        }
        let mut alphas_cumprod = cumulative_product(&betas)?;
        if rescale && in_sigmas(kind) {
            alphas_cumprod.last_mut().into_iter().for_each(|last| *last = NEARLY_ZERO);
        }
        let decreasing = alphas_cumprod.iter().all(|a| (0.0..=1.0).contains(a));
        let vanishes_early = alphas_cumprod.split_last().is_some_and(|(_, rest)| rest.contains(&0.0));
        let ends_at_zero = alphas_cumprod.last() == Some(&0.0) && !rescale;
        if !decreasing || vanishes_early || ends_at_zero {
            let end = config.number("beta_end", beta_ends(kind).1)?;
            return Err(bad("beta_end", end, "betas that leave some signal at every timestep"));
        }
        let formula = if rescale { Formula::Other } else { formula };
        Ok(Self { alphas_cumprod, formula })
    }

    /// Number of training timesteps.
    pub fn len(&self) -> usize {
        self.alphas_cumprod.len()
    }

    /// Never true: a schedule has at least one timestep.
    pub fn is_empty(&self) -> bool {
        self.alphas_cumprod.is_empty()
    }

    /// Share of signal variance at a timestep; out of the table the nearest value.
    pub(super) fn alpha(&self, timestep: i64) -> f32 {
        let last = self.alphas_cumprod.len().saturating_sub(1);
        let index = usize::try_from(timestep).unwrap_or(0).min(last);
        self.alphas_cumprod.get(index).copied().unwrap_or(1.0)
    }

    /// Standard deviation of the noise over that of the signal, ascending with the timestep.
    pub(super) fn sigmas(&self) -> Vec<f32> {
        self.alphas_cumprod.iter().map(|a| ((1.0 - a) / a).sqrt()).collect()
    }
}

/// Samplers whose class in diffusers takes `rescale_betas_zero_snr`; the others ignore the key.
fn rescales(kind: SchedulerKind) -> bool {
    use SchedulerKind::{Heun, Lms, Pndm};
    !matches!(kind, Heun | Lms | Pndm)
}

/// Samplers that work with sigmas, which must stay finite.
fn in_sigmas(kind: SchedulerKind) -> bool {
    use SchedulerKind::{DpmSolverMultistep, Euler, EulerAncestral, UniPc};
    matches!(kind, Euler | EulerAncestral | DpmSolverMultistep | UniPc)
}

fn beta_ends(kind: SchedulerKind) -> (f64, f64) {
    match kind {
        SchedulerKind::Heun | SchedulerKind::Lcm | SchedulerKind::Tcd => (0.00085, 0.012),
        _ => (0.0001, 0.02),
    }
}

fn betas(
    config: &SchedulerConfig,
    kind: SchedulerKind,
    count: usize,
) -> Result<(Vec<f32>, Formula), SchedulerError> {
    if let Some(trained) = config.get::<Vec<f32>>("trained_betas", "a list of numbers")? {
        if trained.len() != count {
            let expected = format!("{count} numbers, as many as `num_train_timesteps`");
            return Err(bad("trained_betas", format!("a list of {}", trained.len()), &expected));
        }
        return Ok((trained, Formula::Other));
    }
    let (default_start, default_end) = beta_ends(kind);
    let start = config.number("beta_start", default_start)?;
    let end = config.number("beta_end", default_end)?;
    for (key, value) in [("beta_start", start), ("beta_end", end)] {
        if !(value > 0.0 && value < 1.0) {
            return Err(bad(key, value, "a number between 0 and 1"));
        }
    }
    let distilled = matches!(kind, SchedulerKind::Lcm | SchedulerKind::Tcd);
    let default = if distilled { "scaled_linear" } else { "linear" };
    let name = config.get_str("beta_schedule")?.unwrap_or_else(|| default.to_owned());
    let made = match (name.as_str(), kind) {
        ("linear", _) => (read(&linspace(start, end, count)?)?, Formula::Linear { start, end }),
        ("scaled_linear", _) => {
            let roots = linspace(start.sqrt(), end.sqrt(), count)?;
            (read(&roots.f_pow_tensor_scalar(2)?)?, Formula::ScaledLinear { start, end })
        }
        ("squaredcos_cap_v2", _) => (from_alpha_bar(count, cosine), Formula::Other),
        ("sigmoid", SchedulerKind::Ddpm) => {
            let curve = linspace(-6.0, 6.0, count)?.f_sigmoid()?;
            (read(&curve.f_mul_scalar(end - start)?.f_add_scalar(start)?)?, Formula::Other)
        }
        ("laplace", SchedulerKind::Ddpm) => (from_alpha_bar(count, laplace), Formula::Other),
        ("exp", SchedulerKind::Heun) => (from_alpha_bar(count, |t| (-12.0 * t).exp()), Formula::Other),
        ("sigmoid" | "laplace" | "exp", _) => {
            let owner = if name == "exp" { SchedulerKind::Heun } else { SchedulerKind::Ddpm };
            return Err(SchedulerError::Unsupported {
                kind,
                key: "beta_schedule",
                value: name,
                reason: format!("diffusers has it for {owner} only"),
            });
        }
        _ => {
            let allowed = match kind {
                SchedulerKind::Ddpm => "one of linear, scaled_linear, squaredcos_cap_v2, sigmoid, laplace",
                SchedulerKind::Heun => "one of linear, scaled_linear, squaredcos_cap_v2, exp",
                _ => "one of linear, scaled_linear, squaredcos_cap_v2",
            };
            return Err(bad("beta_schedule", name, allowed));
        }
    };
    Ok(made)
}

fn linspace(start: f64, end: f64, count: usize) -> Result<Tensor, SchedulerError> {
    Ok(Tensor::f_linspace(start, end, count as i64, (Kind::Float, Device::Cpu))?)
}

fn read(tensor: &Tensor) -> Result<Vec<f32>, SchedulerError> {
    Ok(Vec::<f32>::try_from(tensor)?)
}

fn cumulative_product(betas: &[f32]) -> Result<Vec<f32>, SchedulerError> {
    let alphas: Vec<f32> = betas.iter().map(|b| 1.0 - b).collect();
    read(&Tensor::f_from_slice(&alphas)?.f_cumprod(0, None)?)
}

/// Betas that make the signal follow `alpha_bar(t)` for t in [0, 1], none above 0.999.
fn from_alpha_bar(count: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| alpha_bar(i as f64 / count as f64);
    (0..count).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

fn cosine(t: f64) -> f64 {
    ((t + 0.008) / 1.008 * FRAC_PI_2).cos().powi(2)
}

fn laplace(t: f64) -> f64 {
    let lambda = -0.5 * 1f64.copysign(0.5 - t) * (1.0 - 2.0 * (0.5 - t).abs() + 1e-6).ln();
    let snr = lambda.exp();
    (snr / (1.0 + snr)).sqrt()
}

/// Betas whose last timestep holds no signal (Lin et al. 2023, algorithm 1).
fn rescale_to_zero_snr(betas: &[f32]) -> Result<Vec<f32>, SchedulerError> {
    let roots: Vec<f32> = cumulative_product(betas)?.into_iter().map(f32::sqrt).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return Ok(Vec::new()) };
    let scale = first / (first - last);
    let bars = roots.iter().map(|root| {
        let root = (root - last) * scale;
        root * root
    });
    let mut previous = 1.0;
    Ok(bars
        .map(|bar| {
            let alpha = bar / previous;
            previous = bar;
            1.0 - alpha
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn schedule(json: &str, kind: SchedulerKind) -> Result<NoiseSchedule, SchedulerError> {
        NoiseSchedule::from_config(&SchedulerConfig::from_json(json)?, kind)
    }

    #[test]
    fn a_schedule_without_signal_is_refused() {
        let message = schedule(r#"{"beta_end": 0.9}"#, SchedulerKind::Ddim).unwrap_err().to_string();
        assert!(message.starts_with("`beta_end` is 0.9"), "{message}");
        assert!(schedule(r#"{"beta_start": 0}"#, SchedulerKind::Ddim).is_err());
        let trained = r#"{"num_train_timesteps": 3, "trained_betas": [0.1, 1.5, 0.2]}"#;
        assert!(schedule(trained, SchedulerKind::Ddim).is_err());
        let short = schedule(r#"{"trained_betas": [0.1]}"#, SchedulerKind::Ddim).unwrap_err().to_string();
        assert!(short.contains("1000 numbers"), "{short}");
    }

    #[test]
    fn zero_snr_ends_at_zero_for_ddim_and_nearly_so_for_sigmas() {
        let json = r#"{"rescale_betas_zero_snr": true}"#;
        assert_eq!(schedule(json, SchedulerKind::Ddim).unwrap().alphas_cumprod.last(), Some(&0.0));
        assert_eq!(schedule(json, SchedulerKind::Euler).unwrap().sigmas().last().unwrap().round(), 4096.0);
    }

    #[test]
    fn a_schedule_of_another_sampler_is_named() {
        let message =
            schedule(r#"{"beta_schedule": "sigmoid"}"#, SchedulerKind::Ddim).unwrap_err().to_string();
        assert_eq!(
            message,
            "`beta_schedule` = sigmoid is not implemented for ddim: diffusers has it for ddpm only"
        );
    }
}
