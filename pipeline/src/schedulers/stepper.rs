//! What all samplers share: checks, types, and the order of steps.

use tch::{Kind, Tensor};

use super::{Scheduler, SchedulerError};
use crate::noise::NoiseSource;

/// The arithmetic of one sampler. Tensors given to it are f32 or f64, of equal shape and on one device.
pub(super) trait Sampler: Send {
    /// See [`Scheduler::timesteps`].
    fn timesteps(&self) -> &[f64];

    /// See [`Scheduler::init_noise_sigma`].
    fn init_noise_sigma(&self) -> f64 {
        1.0
    }

    /// See [`Scheduler::order`].
    fn order(&self) -> usize {
        1
    }

    /// See [`Scheduler::needs_noise`].
    fn needs_noise(&self) -> bool {
        false
    }

    /// Channels the model puts out for each channel of the sample.
    fn output_channels(&self) -> i64 {
        1
    }

    /// What the sample is divided by before the model sees it.
    fn input_divisor(&self, _i: usize) -> f64 {
        1.0
    }

    /// Factors of signal and noise that belong to step `i`.
    fn levels(&self, i: usize) -> (f64, f64);

    /// The sample after step `i`.
    fn advance(
        &mut self,
        output: &Tensor,
        i: usize,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError>;
}

/// A [`Sampler`] with everything checked that comes from outside.
pub(super) struct Stepper<S> {
    sampler: S,
    /// The step that comes next, once one has been taken.
    next: Option<usize>,
}

impl<S: Sampler + 'static> Stepper<S> {
    pub(super) fn boxed(sampler: S) -> Box<dyn Scheduler + Send> {
        Box::new(Self { sampler, next: None })
    }

    fn check_index(&self, index: usize) -> Result<(), SchedulerError> {
        let count = self.sampler.timesteps().len();
        if index < count { Ok(()) } else { Err(SchedulerError::Index { index, count }) }
    }
}

impl<S: Sampler + 'static> Scheduler for Stepper<S> {
    fn timesteps(&self) -> &[f64] {
        self.sampler.timesteps()
    }

    fn init_noise_sigma(&self) -> f64 {
        self.sampler.init_noise_sigma()
    }

    fn order(&self) -> usize {
        self.sampler.order()
    }

    fn needs_noise(&self) -> bool {
        self.sampler.needs_noise()
    }

    fn scale_model_input(&self, sample: &Tensor, i: usize) -> Result<Tensor, SchedulerError> {
        self.check_index(i)?;
        match self.sampler.input_divisor(i) {
            1.0 => Ok(sample.shallow_clone()),
            divisor => Ok(sample.f_div_scalar(divisor)?),
        }
    }

    fn step(
        &mut self,
        model_output: &Tensor,
        i: usize,
        sample: &Tensor,
        noise: &mut dyn NoiseSource,
    ) -> Result<Tensor, SchedulerError> {
        self.check_index(i)?;
        // a solver step of several calls cannot be entered half way
        let expected = self.next.unwrap_or(i - i % self.sampler.order());
        if i != expected {
            return Err(SchedulerError::Order { expected, found: i });
        }
        let mut shape = sample.size();
        if let Some(channels) = shape.get_mut(1) {
            *channels *= self.sampler.output_channels();
        }
        same_shape("the model's output", model_output, &shape)?;
        let kind = sample.kind();
        let working = if kind == Kind::Double { Kind::Double } else { Kind::Float };
        let output = model_output.f_to_device(sample.device())?.f_to_kind(working)?;
        let stepped = self.sampler.advance(&output, i, &sample.f_to_kind(working)?, noise)?;
        self.next = Some(i + 1);
        Ok(stepped.f_to_kind(kind)?)
    }

    fn add_noise(&self, original: &Tensor, noise: &Tensor, i: usize) -> Result<Tensor, SchedulerError> {
        self.check_index(i)?;
        same_shape("the noise", noise, &original.size())?;
        let noise = noise.f_to_device(original.device())?.f_to_kind(original.kind())?;
        let (signal, level) = self.sampler.levels(i);
        Ok(original.f_mul_scalar(signal)?.f_add(&noise.f_mul_scalar(level)?)?)
    }
}

fn same_shape(what: &'static str, tensor: &Tensor, expected: &[i64]) -> Result<(), SchedulerError> {
    let found = tensor.size();
    if found == expected {
        Ok(())
    } else {
        Err(SchedulerError::Shape { what, expected: expected.to_vec(), found })
    }
}
