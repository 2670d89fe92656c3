//! The denoising loop: it stands here once, for every scheduler and kind of condition.

use imagine_contract::CancelFlag;
use imagine_identity::adapters::{FaceCondition, IdentityNet};
use imagine_unet::{AddedCondition, ControlResiduals, CrossKv, UNet2DConditionModel};
use tch::{Kind, Tensor};

use crate::error::PipelineError;
use crate::noise::{NoiseSource, TorchGenerator};
use crate::schedulers::Scheduler;

/// One generator a row, so that a picture does not depend on those beside it.
pub struct RowNoise(Vec<TorchGenerator>);

impl RowNoise {
    /// Row `i` draws with `seeds[i]`, as `torch.Generator("cpu").manual_seed` does.
    pub fn new(seeds: &[u64]) -> Self {
        Self(seeds.iter().map(|&seed| TorchGenerator::new(seed)).collect())
    }

    /// Noise [rows, …shape], f32 on the CPU.
    pub fn randn(&mut self, shape: &[i64]) -> Tensor {
        let row: Vec<i64> = [&[1], shape].concat();
        let rows: Vec<Tensor> = self.0.iter_mut().map(|g| g.randn(&row)).collect();
        Tensor::cat(&rows, 0) // [rows, …shape]
    }
}

impl NoiseSource for RowNoise {
    fn draw(&mut self, like: &Tensor) -> Tensor {
        self.randn(&like.size()[1..]).to_device(like.device()).to_kind(like.kind())
    }
}

/// What the networks hear, step by step.
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
    /// Keys and values for as many rows as the U-Net gets: unconditional rows first, if any.
    pub cross: CrossKv,
    /// SDXL's added condition, for the same rows.
    pub added: Option<AddedCondition>,
    /// Strength of the ControlNet for every face; it is not computed at 0.
    pub control_scales: Vec<f64>,
}

/// The networks' part in a run.
pub struct Guided<'a> {
    pub unet: &'a UNet2DConditionModel,
    pub identity_net: Option<&'a IdentityNet>,
    pub heard: &'a Heard,
    /// Strength of classifier-free guidance (arXiv 2207.12598); none without unconditional rows.
    pub guidance_scale: Option<f64>,
    /// Further channels of the input, for U-Nets made for inpainting: [N, 1 + C, h, w]
    pub channels: Option<Tensor>,
}

impl Guided<'_> {
    /// The guided prediction for `sample` [N, C, h, w] at one timestep, in step `step` of those taken:
    /// [N, C, h, w], f32
    fn predict(&self, sample: &Tensor, timestep: f64, step: usize) -> Result<Tensor, PipelineError> {
        let phase = self.heard.phase_of_step.get(step).and_then(|&at| self.heard.phases.get(at));
        let phase = phase.ok_or_else(|| PipelineError::Internal(format!("no condition for step {step}")))?;
        let input = match &self.channels {
            Some(channels) => Tensor::f_cat(&[sample, channels], 1)?, // [N, 2·C + 1, h, w]
            None => sample.shallow_clone(),
        };
        let input = if self.guidance_scale.is_some() { Tensor::f_cat(&[&input, &input], 0)? } else { input };
        let timesteps = Tensor::f_full([input.size()[0]], timestep, (Kind::Float, sample.device()))?;
        let added = phase.added.as_ref();
        let residuals = self.residuals(phase, &input, &timesteps);
        let output = self.unet.forward(&input, &timesteps, &phase.cross, added, residuals.as_ref());
        let output = output.f_to_kind(Kind::Float)?;
        match self.guidance_scale {
            None => Ok(output),
            Some(scale) => {
                let parts = output.f_chunk(2, 0)?; // 2 × [N, C, h, w]
                Ok(&parts[0] + (&parts[1] - &parts[0]) * scale)
            }
        }
    }

    /// What InstantID's ControlNet adds: of each person in their region, summed as their attention is.
    fn residuals(&self, phase: &Phase, input: &Tensor, timesteps: &Tensor) -> Option<ControlResiduals> {
        let net = self.identity_net?;
        let heard = self.heard.faces.iter().zip(&phase.control_scales).filter(|&(_, &scale)| scale != 0.0);
        let each = heard.map(|(face, &scale)| {
            let whole = net.residuals(&face.condition, input, timesteps, phase.added.as_ref(), scale);
            match &face.region {
                Some(region) => whole.within(region),
                None => whole,
            }
        });
        each.reduce(|sum, one| sum.plus(&one))
    }
}

/// The part of a picture that stays, put back after every step with the noise that belongs there.
pub struct Kept {
    /// Clean latents of the picture: [N, C, h, w]
    pub original: Tensor,
    /// The noise that the run began with: [N, C, h, w]
    pub noise: Tensor,
    /// 1 where the picture is drawn anew, otherwise 0: [1, 1, h, w]
    pub drawn: Tensor,
}

impl Kept {
    /// `latents` [N, C, h, w] after step `i` with the rest put back.
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

/// Runs the steps from index `first` on, from `latents` [N, C, h, w] (with the noise that belongs to that
/// step) to clean latents. `on_step` hears the number of evaluations done; `cancel` is read before each.
#[expect(clippy::too_many_arguments, reason = "a loop has this many ends")]
pub fn denoise(
    networks: &Guided,
    scheduler: &mut dyn Scheduler,
    mut latents: Tensor,
    first: usize,
    kept: Option<&Kept>,
    noise: &mut RowNoise,
    on_step: &mut dyn FnMut(u32),
    cancel: &CancelFlag,
) -> Result<Tensor, PipelineError> {
    for i in first..scheduler.timesteps().len() {
        if cancel.is_canceled() {
            return Err(PipelineError::Canceled);
        }
        let step = i - first;
        let input = scheduler.scale_model_input(&latents, i)?;
        let output = networks.predict(&input, scheduler.timesteps()[i], step)?;
        latents = scheduler.step(&output, i, &latents, noise)?;
        if let Some(kept) = kept {
            latents = kept.put_back(&latents, i, scheduler)?;
        }
        on_step(step as u32 + 1);
    }
    Ok(latents)
}
