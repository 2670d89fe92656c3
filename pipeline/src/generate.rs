//! The engine: requests in, pictures out.

use std::time::Instant;

use imagine_contract::{
    CancelFlag, Edit, Engine, EngineError, Event, GenerateRequest, Limits, ModelInfo, Picture, RgbPixels,
};
use tch::{Device, Kind, Tensor};

use crate::condition::Prepared;
use crate::denoise::{Guided, RowNoise, denoise};
use crate::edit::{Inpainting, PreparedEdit, Size, Start};
use crate::error::PipelineError;
use crate::identity::IdentityModel;
use crate::model::StableDiffusion;
use crate::schedulers::{self, Scheduler, SchedulerConfig};

/// Latent cells that are denoised together: 16 pictures of 128², one of 512². Beyond that, memory
/// grows and a CPU gains nothing.
const CELLS_AT_ONCE: i64 = 64 * 64;

/// Pictures beyond so many pixels are decoded in tiles.
pub(crate) const PIXELS_WITHOUT_TILES: i64 = 1_536 * 1_024;

/// A picture to be changed keeps its size up to so many times the pixels that the model draws by itself;
/// a larger one is shrunk to as many as it draws.
const EDITED_PIXELS: f64 = 2.0;

impl Engine for StableDiffusion {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn generate(
        &mut self,
        request: &GenerateRequest,
        on_event: &mut dyn FnMut(Event),
        cancel: &CancelFlag,
    ) -> Result<(), EngineError> {
        Ok(self.run(request, on_event, cancel)?)
    }
}

/// A request with every choice made.
struct Plan {
    size: Size,
    /// Cells of the latents: channels, height, width.
    shape: [i64; 3],
    guidance_scale: Option<f64>,
    steps: usize,
    config: SchedulerConfig,
}

/// What all pictures of a request have in common.
struct Job {
    plan: Plan,
    edit: Option<PreparedEdit>,
    prepared: Prepared,
    /// The first step that is taken.
    first: usize,
}

impl StableDiffusion {
    fn run(
        &self,
        request: &GenerateRequest,
        on_event: &mut dyn FnMut(Event),
        cancel: &CancelFlag,
    ) -> Result<(), PipelineError> {
        let _no_grad = tch::no_grad_guard();
        let plan = self.plan(request)?;
        let at_once = (CELLS_AT_ONCE / (plan.shape[1] * plan.shape[2])).clamp(1, i64::from(request.count));
        let seeds: Vec<u64> = (0..u64::from(request.count)).map(|i| request.seed.wrapping_add(i)).collect();
        let mut scheduler = schedulers::build(&plan.config, plan.steps)?;
        let edit = match &request.edit {
            Some(edit) => Some(self.prepare_edit(edit, &plan, scheduler.as_ref())?),
            None => None,
        };
        let first = edit.as_ref().map_or(0, PreparedEdit::first);
        let calls = scheduler.timesteps().len() - first;
        let prepared = self.prepare(request, plan.size, calls, plan.guidance_scale.is_some())?;
        self.pages.release_text();
        if let Some(identity) = &self.identity {
            identity.release_encoder();
        }
        let groups = seeds.chunks(at_once as usize);
        let evaluations = calls as u32 * groups.len() as u32;
        let ignored_words = prepared.ignored_words.clone();
        on_event(Event::Started { steps: plan.steps as u32, evaluations, ignored_words });
        let job = Job { plan, edit, prepared, first };
        let mut index = 0;
        for (group, seeds) in groups.enumerate() {
            let started = Instant::now();
            if group > 0 {
                scheduler = schedulers::build(&job.plan.config, job.plan.steps)?;
            }
            let before = group as u32 * calls as u32;
            let mut on_step = |done| on_event(Event::Progress { done: before + done, evaluations });
            let latents = self.denoise_group(&job, scheduler.as_mut(), seeds, &mut on_step, cancel)?;
            self.pages.unet.release();
            let share = started.elapsed().as_secs_f64() / seeds.len() as f64;
            for (row, &seed) in seeds.iter().enumerate() {
                let decoding = Instant::now();
                let mut pixels = self.decode(&latents.narrow(0, row as i64, 1))?;
                if let Some(composite) = job.edit.as_ref().and_then(PreparedEdit::composite) {
                    composite.apply(&mut pixels);
                }
                let seconds = share + decoding.elapsed().as_secs_f64();
                on_event(Event::Finished { index, seconds, picture: Picture { pixels, seed } });
                index += 1;
            }
            self.pages.vae.release();
        }
        Ok(())
    }

    fn plan(&self, request: &GenerateRequest) -> Result<Plan, PipelineError> {
        let multiple = self.info.side_multiple;
        let limits = Limits { side_multiple: multiple, ..Limits::default() };
        request.check(&limits)?;
        let usual = match &request.edit {
            Some(edit) => edited_size(&edit.picture, &self.info),
            None => Size { width: self.info.width, height: self.info.height },
        };
        let size = Size {
            width: request.width.unwrap_or(usual.width),
            height: request.height.unwrap_or(usual.height),
        };
        let steps = request.steps.unwrap_or(self.info.steps);
        let guidance = request.guidance_scale.unwrap_or(self.info.guidance_scale);
        // The checkpoint's own choices are no more trusted than a person's.
        let mut chosen = GenerateRequest::new("", request.seed);
        (chosen.width, chosen.height) = (Some(size.width), Some(size.height));
        (chosen.steps, chosen.guidance_scale) = (Some(steps), Some(guidance));
        chosen.check(&limits)?;
        let config = self.scheduler(request.scheduler.as_deref())?;
        let cells = |side: u32| i64::from(side / multiple);
        Ok(Plan {
            size,
            shape: [self.vae.config().latent_channels, cells(size.height), cells(size.width)],
            guidance_scale: (guidance > 1.0).then_some(guidance),
            steps: steps as usize,
            config,
        })
    }

    fn prepare_edit(
        &self,
        edit: &Edit,
        plan: &Plan,
        scheduler: &dyn Scheduler,
    ) -> Result<PreparedEdit, PipelineError> {
        if self.inpainting == Inpainting::ByChannels && edit.mask.is_none() {
            return Err(PipelineError::Unsupported(INPAINTING_ONLY.into()));
        }
        PreparedEdit::new(edit, plan.size, plan.steps, scheduler, &self.vae, self.inpainting, self.device)
    }

    /// Clean latents [N, C, h, w] of a group of seeds.
    fn denoise_group(
        &self,
        job: &Job,
        scheduler: &mut dyn Scheduler,
        seeds: &[u64],
        on_step: &mut dyn FnMut(u32),
        cancel: &CancelFlag,
    ) -> Result<Tensor, PipelineError> {
        let mut noise = RowNoise::new(seeds);
        let Start { latents, kept, channels } = match &job.edit {
            Some(edit) => edit.begin(scheduler, &self.vae, &mut noise)?,
            None if self.inpainting == Inpainting::ByChannels => {
                return Err(PipelineError::Unsupported(INPAINTING_ONLY.into()));
            }
            None => {
                let noise = noise.randn(&job.plan.shape).f_to_device(self.device)?;
                Start { latents: noise * scheduler.init_noise_sigma(), kept: None, channels: None }
            }
        };
        let networks = Guided {
            unet: &self.unet,
            identity_net: self.identity.as_ref().and_then(IdentityModel::identity_net),
            heard: &job.prepared.heard(seeds.len() as i64),
            guidance_scale: job.plan.guidance_scale,
            channels,
        };
        denoise(&networks, scheduler, latents, job.first, kept.as_ref(), &mut noise, on_step, cancel)
    }

    /// One picture from latents [1, C, h, w].
    fn decode(&self, latents: &Tensor) -> Result<RgbPixels, PipelineError> {
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
        Ok(RgbPixels { width: width as u32, height: height as u32, rgb })
    }
}

const INPAINTING_ONLY: &str =
    "this model is made for inpainting: it needs a picture and a mask of what to draw anew";

/// The size at which a picture is changed where the request names none: its own, cut down to whole latent
/// cells, or as many pixels as the model draws where it is far larger.
fn edited_size(picture: &RgbPixels, info: &ModelInfo) -> Size {
    let pixels = |w: u32, h: u32| f64::from(w) * f64::from(h);
    let (own, usual) = (pixels(picture.width, picture.height), pixels(info.width, info.height));
    let factor = if own > EDITED_PIXELS * usual { (usual / own).sqrt() } else { 1.0 };
    let side = |length: u32| {
        let cells = (f64::from(length) * factor / f64::from(info.side_multiple)).floor() as u32;
        cells.max(1) * info.side_multiple
    };
    Size { width: side(picture.width), height: side(picture.height) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_picture_keeps_its_size_unless_it_is_far_too_large() {
        let info = ModelInfo {
            name: "x".into(),
            width: 512,
            height: 512,
            steps: 1,
            guidance_scale: 1.0,
            scheduler: "euler".into(),
            side_multiple: 8,
            identity: None,
            inpainting: false,
            device: "cpu".into(),
            dtype: "f32".into(),
        };
        let size = |width, height| {
            let rgb = vec![0; (width * height * 3) as usize];
            let Size { width, height } = edited_size(&RgbPixels { width, height, rgb }, &info);
            (width, height)
        };
        assert_eq!(size(512, 512), (512, 512));
        assert_eq!(size(515, 767), (512, 760));
        assert_eq!(size(3, 5), (8, 8));
        assert_eq!(size(2048, 1024), (720, 360));
    }
}
