//! The denoising loop: it stands here once, for every scheduler and kind of condition.

use imagine_contract::CancelFlag;
use imagine_unet::{CrossKv, UNet2DConditionModel};
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

/// The networks' part in a run.
pub struct Guided<'a> {
    pub unet: &'a UNet2DConditionModel,
    /// Keys and values for as many rows as the U-Net gets: unconditional rows first, if any.
    pub cross: &'a CrossKv,
    /// Strength of classifier-free guidance (arXiv 2207.12598); none without unconditional rows.
    pub guidance_scale: Option<f64>,
}

impl Guided<'_> {
    /// The guided prediction for `sample` [N, C, h, w] at one timestep: [N, C, h, w], f32
    fn predict(&self, sample: &Tensor, timestep: f64) -> Tensor {
        let n = sample.size()[0];
        let rows = if self.guidance_scale.is_some() { 2 * n } else { n };
        let timesteps = Tensor::full([rows], timestep, (Kind::Float, sample.device()));
        let input = if self.guidance_scale.is_some() {
            Tensor::cat(&[sample, sample], 0)
        } else {
            sample.shallow_clone()
        };
        let output = self.unet.forward(&input, &timesteps, self.cross, None).to_kind(Kind::Float);
        match self.guidance_scale {
            None => output,
            Some(scale) => {
                let parts = output.chunk(2, 0); // 2 × [N, C, h, w]
                &parts[0] + (&parts[1] - &parts[0]) * scale
            }
        }
    }
}

/// Runs all steps from `latents` [N, C, h, w] (noise with the scheduler's initial deviation) to clean
/// latents. `on_step` hears the number of evaluations done; `cancel` is read before each.
pub fn denoise(
    networks: &Guided,
    scheduler: &mut dyn Scheduler,
    mut latents: Tensor,
    noise: &mut RowNoise,
    on_step: &mut dyn FnMut(u32),
    cancel: &CancelFlag,
) -> Result<Tensor, PipelineError> {
    for i in 0..scheduler.timesteps().len() {
        if cancel.is_canceled() {
            return Err(PipelineError::Canceled);
        }
        let input = scheduler.scale_model_input(&latents, i)?;
        let output = networks.predict(&input, scheduler.timesteps()[i]);
        latents = scheduler.step(&output, i, &latents, noise)?;
        on_step(i as u32 + 1);
    }
    Ok(latents)
}
