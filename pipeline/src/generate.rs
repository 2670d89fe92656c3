//! The engine: requests in, pictures out.

use std::time::Instant;

use imagine_contract::{CancelFlag, Engine, EngineError, Event, GenerateRequest, Limits, ModelInfo, Picture};
use tch::{Device, Kind, Tensor};

use crate::condition::Prepared;
use crate::denoise::{Guided, RowNoise, denoise};
use crate::error::PipelineError;
use crate::model::StableDiffusion;
use crate::schedulers::{self, Scheduler, SchedulerChoice};

/// Latent cells that are denoised together: 16 pictures of 128², one of 512². Beyond that, memory
/// grows and a CPU gains nothing.
const CELLS_AT_ONCE: i64 = 64 * 64;

/// Pictures beyond so many pixels are decoded in tiles.
const PIXELS_WITHOUT_TILES: i64 = 1_536 * 1_024;

impl Engine for StableDiffusion {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn generate(
        &mut self,
        request: &GenerateRequest,
        on_event: &mut dyn FnMut(Event),
        cancel: &CancelFlag,
    ) -> Result<Vec<Picture>, EngineError> {
        Ok(self.run(request, on_event, cancel)?)
    }
}

/// A request with every choice made.
struct Plan {
    /// Cells of the latents: channels, height, width.
    shape: [i64; 3],
    guidance_scale: Option<f64>,
    steps: usize,
    config: schedulers::SchedulerConfig,
}

impl StableDiffusion {
    fn run(
        &self,
        request: &GenerateRequest,
        on_event: &mut dyn FnMut(Event),
        cancel: &CancelFlag,
    ) -> Result<Vec<Picture>, PipelineError> {
        let _no_grad = tch::no_grad_guard();
        let plan = self.plan(request)?;
        let at_once = (CELLS_AT_ONCE / (plan.shape[1] * plan.shape[2])).clamp(1, i64::from(request.count));
        let seeds: Vec<u64> = (0..u64::from(request.count)).map(|i| request.seed.wrapping_add(i)).collect();
        let prepared = self.prepare(request, plan.guidance_scale.is_some())?;
        let calls = schedulers::build(&plan.config, plan.steps)?.timesteps().len() as u32;
        let groups = seeds.chunks(at_once as usize);
        let evaluations = calls * groups.len() as u32;
        on_event(Event::Started {
            steps: plan.steps as u32,
            evaluations,
            ignored_words: prepared.ignored_words.clone(),
        });
        let mut pictures = Vec::with_capacity(seeds.len());
        for (group, seeds) in groups.enumerate() {
            let started = Instant::now();
            let done_before = group as u32 * calls;
            let mut on_step = |done: u32| on_event(Event::Progress { done: done_before + done, evaluations });
            let latents = self.denoise_group(&plan, &prepared, seeds, &mut on_step, cancel)?;
            let share = started.elapsed().as_secs_f64() / seeds.len() as f64;
            for (row, &seed) in seeds.iter().enumerate() {
                let decoding = Instant::now();
                let picture = self.decode(&latents.narrow(0, row as i64, 1), seed)?;
                let seconds = share + decoding.elapsed().as_secs_f64();
                on_event(Event::Finished { index: pictures.len() as u32, seconds });
                pictures.push(picture);
            }
        }
        Ok(pictures)
    }

    fn plan(&self, request: &GenerateRequest) -> Result<Plan, PipelineError> {
        let limits = Limits { side_multiple: self.info.side_multiple, ..Limits::default() };
        let (width, height) =
            (request.width.unwrap_or(self.info.width), request.height.unwrap_or(self.info.height));
        let steps = request.steps.unwrap_or(self.info.steps);
        let guidance = request.guidance_scale.unwrap_or(self.info.guidance_scale);
        // The checkpoint's own choices are no more trusted than a person's.
        let chosen = GenerateRequest {
            width: Some(width),
            height: Some(height),
            steps: Some(steps),
            guidance_scale: Some(guidance),
            ..request.clone()
        };
        chosen.check(&limits)?;
        let config = match &request.scheduler {
            Some(name) => name.parse::<SchedulerChoice>()?.apply(&self.scheduler),
            None => self.own_scheduler()?.clone(),
        };
        let downscale = i64::from(self.info.side_multiple);
        Ok(Plan {
            shape: [
                self.vae.config().latent_channels,
                i64::from(height) / downscale,
                i64::from(width) / downscale,
            ],
            guidance_scale: (guidance > 1.0).then_some(guidance),
            steps: steps as usize,
            config,
        })
    }

    /// Clean latents [N, C, h, w] of a group of seeds.
    fn denoise_group(
        &self,
        plan: &Plan,
        prepared: &Prepared,
        seeds: &[u64],
        on_step: &mut dyn FnMut(u32),
        cancel: &CancelFlag,
    ) -> Result<Tensor, PipelineError> {
        let mut scheduler: Box<dyn Scheduler + Send> = schedulers::build(&plan.config, plan.steps)?;
        let mut noise = RowNoise::new(seeds);
        let latents = noise.randn(&plan.shape).to_device(self.device) * scheduler.init_noise_sigma();
        let n = seeds.len() as i64;
        let networks = Guided {
            unet: &self.unet,
            cross: &prepared.cross.repeat_rows(n),
            guidance_scale: plan.guidance_scale.filter(|_| prepared.guided),
        };
        denoise(&networks, scheduler.as_mut(), latents, &mut noise, on_step, cancel)
    }

    /// One picture from latents [1, C, h, w].
    fn decode(&self, latents: &Tensor, seed: u64) -> Result<Picture, PipelineError> {
        let latents = self.vae.unscale(latents);
        let downscale = i64::from(self.info.side_multiple);
        let (height, width) = (latents.size()[2] * downscale, latents.size()[3] * downscale);
        let pixels = if height * width > PIXELS_WITHOUT_TILES {
            self.vae.decode_tiled(&latents)
        } else {
            self.vae.decode(&latents)
        };
        let pixels = pixels.f_to_kind(Kind::Float)?;
        if !pixels.isfinite().all().int64_value(&[]).eq(&1) {
            return Err(PipelineError::NotFinite);
        }
        let bytes = (pixels / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0;
        let bytes = bytes.round().to_kind(Kind::Uint8).squeeze_dim(0); // [3, H, W]
        let bytes = bytes.permute([1, 2, 0]).contiguous().to_device(Device::Cpu); // [H, W, 3]
        let mut rgb = vec![0u8; bytes.numel()];
        bytes.f_copy_data(&mut rgb, bytes.numel())?;
        Ok(Picture { width: width as u32, height: height as u32, rgb, seed })
    }
}
