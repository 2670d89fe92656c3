//! Samplers: from noise to a picture in a few dozen steps.
//!
//! Every sampler reads the model's `scheduler_config.json` and gives the numbers that Python diffusers
//! 0.42.1 gives for it (golden-tested to 1e-5 over whole runs). Where diffusers-rs 0.3.1 gives those
//! numbers too, it does the steps (see [`diffusers_rs`] and `docs/schedulers.md` for what was measured); all
//! other configurations have their own code, one file per sampler. The way of being called is
//! diffusers-rs's, with one difference: a step is named by its *index* in `timesteps()`, because timesteps
//! repeat in Heun's method and PNDM.
//!
//! ```text
//! let config = SchedulerConfig::from_file("scheduler/scheduler_config.json".as_ref())?;
//! let mut scheduler = schedulers::build(&config, 25)?;
//! let mut generator = TorchGenerator::new(42);
//! let mut latents = generator.randn(&[1, 4, 64, 64]) * scheduler.init_noise_sigma();
//! for i in 0..scheduler.timesteps().len() {
//!     let input = scheduler.scale_model_input(&latents, i)?;
//!     let output = unet(&input, scheduler.timesteps()[i]);
//!     latents = scheduler.step(&output, i, &latents, &mut generator)?;
//! }
//! ```

mod betas;
mod choice;
mod config;
mod ddim;
mod ddpm;
pub mod diffusers_rs;
mod dpm_solver_multistep;
mod error;
mod euler;
mod euler_ancestral;
mod heun;
mod lcm;
mod lms;
mod pndm;
mod predict;
mod sigmas;
mod stepper;
mod tcd;
#[cfg(test)]
mod tests;
mod timesteps;
mod unipc;

use tch::Tensor;

pub use betas::NoiseSchedule;
pub use choice::{SchedulerChoice, SchedulerKind};
pub use config::{PredictionType, SchedulerConfig, TimestepSpacing};
pub use error::SchedulerError;

use crate::noise::NoiseSource;
use stepper::Stepper;

/// One run of a sampler: built for a configuration and a number of steps, used for one request, its
/// state moving on with every step.
///
/// Arithmetic is f32 (f64 where the sample is f64); results come back in the sample's type, so latents
/// kept in f32 lose nothing to a model that computes in bf16.
pub trait Scheduler {
    /// Timesteps to call the model with, in order. Heun's method and PNDM repeat some.
    fn timesteps(&self) -> &[f64];

    /// Standard deviation of the noise that a run starts from.
    fn init_noise_sigma(&self) -> f64;

    /// Entries of `timesteps()` that make one step of the solver: 2 for Heun's method, otherwise 1.
    fn order(&self) -> usize;

    /// Whether `step` draws noise.
    fn needs_noise(&self) -> bool;

    /// The sample as the model expects it at step `i`, same shape.
    fn scale_model_input(&self, sample: &Tensor, i: usize) -> Result<Tensor, SchedulerError>;

    /// One step: the model's output for `scale_model_input(sample, i)` at `timesteps()[i]`, and the sample
    /// before the step, give the sample after it. Shapes are equal, except that a DDPM model with a
    /// learned variance puts out twice the channels. Steps go one after the other from any first one.
    fn step(
        &mut self,
        model_output: &Tensor,
        i: usize,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError>;

    /// A clean sample with as much noise as belongs to step `i`: where image-to-image begins.
    fn add_noise(&self, original: &Tensor, noise: &Tensor, i: usize) -> Result<Tensor, SchedulerError>;
}

/// Builds the sampler that `config` asks for, for `steps` steps.
///
/// # Errors
/// A number of steps the model cannot make, and every key whose value is wrong or not implemented.
pub fn build(config: &SchedulerConfig, steps: usize) -> Result<Box<dyn Scheduler + Send>, SchedulerError> {
    if let Some(delegate) = checked(config, steps).and_then(|()| diffusers_rs::build(config, steps))? {
        return Ok(delegate);
    }
    build_own(config, steps)
}

/// As [`build`], always with the code of this crate: for comparing it with diffusers-rs.
pub fn build_own(
    config: &SchedulerConfig,
    steps: usize,
) -> Result<Box<dyn Scheduler + Send>, SchedulerError> {
    checked(config, steps)?;
    Ok(match config.kind()? {
        SchedulerKind::Ddim => Stepper::boxed(ddim::Ddim::new(config, steps)?),
        SchedulerKind::Ddpm => Stepper::boxed(ddpm::Ddpm::new(config, steps)?),
        SchedulerKind::Euler => Stepper::boxed(euler::Euler::new(config, steps)?),
        SchedulerKind::EulerAncestral => Stepper::boxed(euler_ancestral::EulerAncestral::new(config, steps)?),
        SchedulerKind::DpmSolverMultistep => {
            Stepper::boxed(dpm_solver_multistep::DpmSolverMultistep::new(config, steps)?)
        }
        SchedulerKind::Heun => Stepper::boxed(heun::Heun::new(config, steps)?),
        SchedulerKind::Lms => Stepper::boxed(lms::Lms::new(config, steps)?),
        SchedulerKind::Pndm => Stepper::boxed(pndm::Pndm::new(config, steps)?),
        SchedulerKind::UniPc => Stepper::boxed(unipc::UniPc::new(config, steps)?),
        SchedulerKind::Lcm => Stepper::boxed(lcm::Lcm::new(config, steps)?),
        SchedulerKind::Tcd => Stepper::boxed(tcd::Tcd::new(config, steps)?),
    })
}

fn checked(config: &SchedulerConfig, steps: usize) -> Result<(), SchedulerError> {
    let kind = config.kind()?;
    let max = config.num_train_timesteps()?;
    if steps == 0 || steps > max {
        return Err(SchedulerError::Steps { kind, steps, min: 1, max, limit: "`num_train_timesteps`" });
    }
    Ok(())
}
