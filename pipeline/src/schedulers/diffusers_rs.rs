//! The deterministic samplers of diffusers-rs 0.3.1, behind this crate's trait.
//!
//! [`build`] hands out one of them where [`is_equal`] says that the golden tests found it equal to Python
//! diffusers. [`build_any`] does so wherever diffusers-rs can be called at all, which is what those tests
//! measure; `docs/schedulers.md` has the table.

use diffusers::schedulers as theirs;
use tch::{Kind, Tensor};

use super::betas::{Formula, NoiseSchedule};
use super::config::{FinalSigma, PredictionType, SigmaSpread, TimestepSpacing};
use super::euler::{is_continuous, is_log_linear};
use super::predict::Bounds;
use super::stepper::{Sampler, Stepper};
use super::timesteps::{Grid, spaced, within_table};
use super::{Scheduler, SchedulerConfig, SchedulerError, SchedulerKind};
use crate::noise::NoiseSource;

use theirs::ddim::{DDIMScheduler, DDIMSchedulerConfig};
use theirs::euler_discrete::{EulerDiscreteScheduler, EulerDiscreteSchedulerConfig};
use theirs::heun_discrete::{HeunDiscreteScheduler, HeunDiscreteSchedulerConfig};
use theirs::lms_discrete::{LMSDiscreteScheduler, LMSDiscreteSchedulerConfig};
use theirs::pndm::{PNDMScheduler, PNDMSchedulerConfig};

/// The sampler of diffusers-rs where it is proved to give what Python gives; otherwise `None`.
pub fn build(
    config: &SchedulerConfig,
    steps: usize,
) -> Result<Option<Box<dyn Scheduler + Send>>, SchedulerError> {
    if is_equal(config, steps)? { build_any(config, steps) } else { Ok(None) }
}

/// The sampler of diffusers-rs for the keys of this configuration that it knows, ignoring all others, as
/// it does; `None` where it has no such sampler or would panic.
pub fn build_any(
    config: &SchedulerConfig,
    steps: usize,
) -> Result<Option<Box<dyn Scheduler + Send>>, SchedulerError> {
    let kind = config.kind()?;
    let prediction = config.prediction_type()?;
    let schedule = NoiseSchedule::from_config(config, kind)?;
    let (beta_schedule, beta_start, beta_end) = match schedule.formula {
        Formula::Linear { start, end } => (theirs::BetaSchedule::Linear, start, end),
        Formula::ScaledLinear { start, end } => (theirs::BetaSchedule::ScaledLinear, start, end),
        Formula::Other => return Ok(None),
    };
    let train_timesteps = schedule.len();
    let prediction_type = match prediction {
        PredictionType::Epsilon => theirs::PredictionType::Epsilon,
        PredictionType::VPrediction => theirs::PredictionType::VPrediction,
        PredictionType::Sample => theirs::PredictionType::Sample,
    };
    if prediction == PredictionType::Sample && kind != SchedulerKind::Ddim {
        return Ok(None);
    }
    let inner = match kind {
        SchedulerKind::Ddim => {
            let steps_offset = config.steps_offset()?;
            let config = DDIMSchedulerConfig {
                beta_start,
                beta_end,
                beta_schedule,
                eta: 0.0,
                steps_offset,
                prediction_type,
                train_timesteps,
            };
            Inner::Ddim(DDIMScheduler::new(steps, config))
        }
        SchedulerKind::Euler => {
            let config = EulerDiscreteSchedulerConfig {
                beta_start,
                beta_end,
                beta_schedule,
                train_timesteps,
                prediction_type,
            };
            Inner::Euler(EulerDiscreteScheduler::new(steps, config))
        }
        SchedulerKind::Heun => {
            let config = HeunDiscreteSchedulerConfig {
                beta_start,
                beta_end,
                beta_schedule,
                train_timesteps,
                prediction_type,
            };
            Inner::Heun(HeunDiscreteScheduler::new(steps, config))
        }
        SchedulerKind::Lms => {
            let config = LMSDiscreteSchedulerConfig {
                beta_start,
                beta_end,
                beta_schedule,
                train_timesteps,
                order: 4,
                prediction_type,
            };
            Inner::Lms(LMSDiscreteScheduler::new(steps, config))
        }
        // it indexes the last timestep but one
        SchedulerKind::Pndm if steps > 1 => {
            let config = PNDMSchedulerConfig {
                beta_start,
                beta_end,
                beta_schedule,
                set_alpha_to_one: config.flag("set_alpha_to_one", false)?,
                prediction_type,
                steps_offset: config.steps_offset()?,
                train_timesteps,
            };
            Inner::Pndm(PNDMScheduler::new(steps, config))
        }
        _ => return Ok(None),
    };
    Ok(Some(Stepper::boxed(Delegate::new(inner))))
}

/// Whether the golden tests found diffusers-rs equal to Python for this configuration.
///
/// Three of its samplers are left out altogether. DDPM and Euler ancestral take their noise from torch's
/// process-wide generator, which the seed of a request does not govern; DPM-Solver++ ends at the smallest
/// noise level of training, as no published checkpoint asks any more.
pub fn is_equal(config: &SchedulerConfig, steps: usize) -> Result<bool, SchedulerError> {
    use TimestepSpacing::{Leading, Linspace};
    let kind = config.kind()?;
    let schedule = NoiseSchedule::from_config(config, kind)?;
    let spacing = config.timestep_spacing(kind)?;
    let free = Bounds::from_config(config, kind)? == Bounds::Free;
    // their linspace of one timestep starts at the last, Python's at the first
    let plain = spacing == Linspace && free && steps > 1;
    let model_levels =
        || -> Result<bool, SchedulerError> { Ok(config.sigma_spread(kind)? == SigmaSpread::Model) };
    let in_table = || -> Result<bool, SchedulerError> {
        let timesteps = spaced(config, kind, Grid::Whole, steps, schedule.len())?;
        Ok(within_table(config, &timesteps, schedule.len()).is_ok())
    };
    if schedule.formula == Formula::Other {
        return Ok(false);
    }
    match kind {
        SchedulerKind::Ddim => {
            Ok(spacing == Leading && free && !config.flag("set_alpha_to_one", true)? && in_table()?)
        }
        SchedulerKind::Pndm => Ok(spacing == Leading && config.flag("skip_prk_steps", false)? && in_table()?),
        SchedulerKind::Euler => {
            let usual = !is_log_linear(config)? && !is_continuous(config)?;
            Ok(plain && usual && model_levels()? && config.final_sigma()? == FinalSigma::Zero)
        }
        SchedulerKind::Heun | SchedulerKind::Lms => Ok(plain && model_levels()?),
        _ => Ok(false),
    }
}

enum Inner {
    Ddim(DDIMScheduler),
    Euler(EulerDiscreteScheduler),
    Heun(HeunDiscreteScheduler),
    Lms(LMSDiscreteScheduler),
    Pndm(PNDMScheduler),
}

/// Runs `$body` with `$s` bound to the sampler inside and `$t` to the timestep in its own type.
macro_rules! each {
    ($inner:expr, $timestep:expr, |$s:ident, $t:ident| $body:expr) => {
        match $inner {
            Inner::Ddim($s) => each!(@ $t, $timestep as usize, $body),
            Inner::Pndm($s) => each!(@ $t, $timestep as usize, $body),
            Inner::Euler($s) => each!(@ $t, $timestep, $body),
            Inner::Heun($s) => each!(@ $t, $timestep, $body),
            Inner::Lms($s) => each!(@ $t, $timestep, $body),
        }
    };
    (@ $t:ident, $timestep:expr, $body:expr) => {{
        let $t = $timestep;
        $body
    }};
}

impl Inner {
    fn timesteps(&self) -> Vec<f64> {
        let whole = |list: &[usize]| list.iter().map(|&t| t as f64).collect();
        match self {
            Self::Ddim(s) => whole(s.timesteps()),
            Self::Pndm(s) => whole(s.timesteps()),
            Self::Euler(s) => s.timesteps().to_vec(),
            Self::Heun(s) => s.timesteps().to_vec(),
            Self::Lms(s) => s.timesteps().to_vec(),
        }
    }
}

/// One of their samplers with what does not change in a run read out once: they look a timestep up by its
/// value, and answer with tensors.
struct Delegate {
    inner: Inner,
    timesteps: Vec<f64>,
    init_noise_sigma: f64,
    divisors: Vec<f64>,
    levels: Vec<(f64, f64)>,
}

impl Delegate {
    fn new(inner: Inner) -> Self {
        let timesteps = inner.timesteps();
        let one = Tensor::from(1f64);
        let zero = Tensor::from(0f64);
        let number = |tensor: Tensor| tensor.to_kind(Kind::Double).double_value(&[]);
        let mut divisors = Vec::new();
        let mut levels = Vec::new();
        for &timestep in &timesteps {
            let (scaled, signal, noise) = each!(&inner, timestep, |s, t| (
                s.scale_model_input(one.shallow_clone(), t),
                s.add_noise(&one, zero.shallow_clone(), t),
                s.add_noise(&zero, one.shallow_clone(), t),
            ));
            divisors.push(1.0 / number(scaled));
            levels.push((number(signal), number(noise)));
        }
        let init_noise_sigma = each!(&inner, 0.0f64, |s, _t| s.init_noise_sigma());
        Self { inner, timesteps, init_noise_sigma, divisors, levels }
    }
}

impl Sampler for Delegate {
    fn timesteps(&self) -> &[f64] {
        &self.timesteps
    }

    fn init_noise_sigma(&self) -> f64 {
        self.init_noise_sigma
    }

    fn order(&self) -> usize {
        if matches!(self.inner, Inner::Heun(_)) { 2 } else { 1 }
    }

    fn input_divisor(&self, i: usize) -> f64 {
        self.divisors.get(i).copied().unwrap_or(1.0)
    }

    fn levels(&self, i: usize) -> (f64, f64) {
        self.levels.get(i).copied().unwrap_or((1.0, 0.0))
    }

    fn advance(
        &mut self,
        output: &Tensor,
        i: usize,
        sample: &Tensor,
        _noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError> {
        let timestep = self.timesteps.get(i).copied().unwrap_or_default();
        Ok(each!(&mut self.inner, timestep, |s, t| s.step(output, t, sample)))
    }
}
