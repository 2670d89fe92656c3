//! One picture on its way from noise to clean latents, with everything that is its own: sampler, random
//! numbers, guidance, condition. Rows of different requests stand beside each other in a call of the U-Net.

use std::rc::Rc;

use imagine_identity::adapters::FaceCondition;
use imagine_unet::{AddedCondition, CrossKv};
use tch::{Device, Kind, Tensor};

use crate::edit::Start;
use crate::error::PipelineError;
use crate::noise::{NoiseSource, TorchGenerator};
use crate::schedulers::{PredictionType, Scheduler};

/// What the networks hear, step by step: made once a request, shared by its pictures.
pub struct Heard {
    /// Keys and values, as the run hears them one after the other.
    pub phases: Vec<Phase>,
    /// For each step, counted from the first that is taken, which phase it is in.
    pub phase_of_step: Vec<usize>,
    /// What InstantID's ControlNet hears and sees, through all phases: one for each person.
    pub faces: Vec<HeardFace>,
}

/// A person as InstantID's ControlNet has them.
pub struct HeardFace {
    pub condition: FaceCondition,
    /// Where among several people this one is: [1, 1, H, W]
    pub region: Option<Tensor>,
}

/// A condition that holds for some of the steps.
pub struct Phase {
    /// Keys and values of the unconditional row, if there is guidance, and the conditional one.
    pub cross: CrossKv,
    /// SDXL's added condition, for the same rows.
    pub added: Option<AddedCondition>,
    /// Strength of the ControlNet for every face; it is not computed at 0.
    pub control_scales: Vec<f64>,
}

/// The part of a picture that stays, put back after every step with the noise that belongs there.
pub struct Kept {
    /// Clean latents of the picture: [1, C, h, w]
    pub original: Tensor,
    /// The noise that the run began with: [1, C, h, w]
    pub noise: Tensor,
    /// 1 where the picture is drawn anew, otherwise 0: [1, 1, h, w]
    pub drawn: Tensor,
}

impl Kept {
    /// `latents` [1, C, h, w] after step `i` with the rest put back.
    fn put_back(
        &self,
        latents: &Tensor,
        i: usize,
        scheduler: &dyn Scheduler,
    ) -> Result<Tensor, PipelineError> {
        let rest = if i + 1 < scheduler.timesteps().len() {
            scheduler.add_noise(&self.original, &self.noise, i + 1)?
        } else {
            self.original.shallow_clone()
        };
        Ok((1.0 - &self.drawn) * rest + &self.drawn * latents)
    }
}

/// The random numbers of one picture, as `torch.Generator("cpu").manual_seed` draws them.
pub struct RowNoise(TorchGenerator);

impl RowNoise {
    pub fn new(seed: u64) -> Self {
        Self(TorchGenerator::new(seed))
    }

    /// Noise [1, …shape], f32 on the CPU.
    pub fn randn(&mut self, shape: &[i64]) -> Tensor {
        self.0.randn(&[&[1], shape].concat())
    }
}

impl NoiseSource for RowNoise {
    fn draw(&mut self, like: &Tensor) -> Tensor {
        self.0.draw(like)
    }
}

/// How a row's run goes: what is its own, not the model's.
pub struct Run {
    pub scheduler: Box<dyn Scheduler + Send>,
    pub prediction: PredictionType,
    /// Index of the first step that is taken.
    pub first: usize,
    /// Strength of classifier-free guidance (arXiv 2207.12598); none without an unconditional row.
    pub guidance_scale: Option<f64>,
    /// The strength as a U-Net takes it that was distilled so: [1, D]
    pub guidance_embedding: Option<Tensor>,
    pub heard: Rc<Heard>,
}

/// A picture being denoised.
pub struct Row {
    run: Run,
    noise: RowNoise,
    /// [1, C, h, w], f32
    latents: Tensor,
    kept: Option<Kept>,
    /// Further channels of the input, for U-Nets made for inpainting: [1, 1 + C, h, w]
    channels: Option<Tensor>,
    next: usize,
}

impl Row {
    /// A run from `start` on, whose random numbers go on with `noise`.
    pub fn new(run: Run, start: Start, noise: RowNoise) -> Self {
        let Start { latents, kept, channels } = start;
        Self { next: run.first, run, noise, latents, kept, channels }
    }

    pub fn heard(&self) -> &Rc<Heard> {
        &self.run.heard
    }

    pub fn guidance_scale(&self) -> Option<f64> {
        self.run.guidance_scale
    }

    pub fn guidance_embedding(&self) -> Option<&Tensor> {
        self.run.guidance_embedding.as_ref()
    }

    /// Rows that it takes in a batch.
    pub fn width(&self) -> i64 {
        if self.run.guidance_scale.is_some() { 2 } else { 1 }
    }

    /// Channels, height and width of its latents: rows that share a call have the same.
    pub fn shape(&self) -> [i64; 3] {
        let size = self.latents.size();
        [size[1], size[2], size[3]]
    }

    pub fn latents(&self) -> &Tensor {
        &self.latents
    }

    pub fn device(&self) -> Device {
        self.latents.device()
    }

    /// Steps taken.
    pub fn done(&self) -> usize {
        self.next - self.run.first
    }

    pub fn is_done(&self) -> bool {
        self.next >= self.run.scheduler.timesteps().len()
    }

    /// Which of the phases of [`Row::heard`] comes next.
    pub fn phase(&self) -> Result<usize, PipelineError> {
        let phase = self.run.heard.phase_of_step.get(self.done()).copied();
        phase
            .filter(|&phase| phase < self.run.heard.phases.len())
            .ok_or_else(|| PipelineError::Internal(format!("no condition for step {}", self.done())))
    }

    pub fn timestep(&self) -> Result<f64, PipelineError> {
        let timestep = self.run.scheduler.timesteps().get(self.next).copied();
        timestep.ok_or_else(|| PipelineError::Internal(format!("no step {}", self.next)))
    }

    /// What the U-Net is to see next: [1, C or 2·C + 1, h, w]
    pub fn input(&self) -> Result<Tensor, PipelineError> {
        let sample = self.run.scheduler.scale_model_input(&self.latents, self.next)?;
        match &self.channels {
            Some(channels) => Ok(Tensor::f_cat(&[&sample, channels], 1)?),
            None => Ok(sample),
        }
    }

    /// Takes one step with the guided output [1, C, h, w] of the U-Net for [`Row::input`].
    pub fn advance(&mut self, output: &Tensor) -> Result<(), PipelineError> {
        let (i, run) = (self.next, &mut self.run);
        self.latents = run.scheduler.step(output, i, &self.latents, &mut self.noise)?;
        if let Some(kept) = &self.kept {
            self.latents = kept.put_back(&self.latents, i, run.scheduler.as_ref())?;
        }
        self.next += 1;
        Ok(())
    }

    /// What the clean latents [1, C, h, w] will be as far as the guided output for [`Row::input`] tells: for
    /// previews, before [`Row::advance`].
    pub fn estimate(&self, output: &Tensor) -> Result<Tensor, PipelineError> {
        let scheduler = &self.run.scheduler;
        let kind = (Kind::Float, self.device());
        let (one, zero) = (Tensor::f_ones([1, 1, 1, 1], kind)?, Tensor::f_zeros([1, 1, 1, 1], kind)?);
        // The sample is signal · clean + level · noise.
        let signal = scheduler.add_noise(&one, &zero, self.next)?.f_double_value(&[0, 0, 0, 0])?;
        let level = scheduler.add_noise(&zero, &one, self.next)?.f_double_value(&[0, 0, 0, 0])?;
        let length = signal.hypot(level);
        let (signal, level) = (signal / length, level / length);
        let sample = &self.latents / length;
        // A model with a learned variance puts it out behind its prediction.
        let output = output.f_narrow(1, 0, sample.size()[1])?;
        Ok(match self.run.prediction {
            PredictionType::Epsilon => (sample - output * level) / signal.max(1e-3),
            PredictionType::VPrediction => sample * signal - output * level,
            PredictionType::Sample => output,
        })
    }
}
