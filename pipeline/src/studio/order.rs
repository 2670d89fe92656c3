//! An order on its way: what it asks for, what all its pictures have in common, how far it has come.

use std::rc::Rc;

use imagine_contract::{CancelFlag, Event, GenerateRequest, RgbPixels};
use imagine_unet::embeddings::guidance_embedding;
use tch::Tensor;

use super::floor::Task;
use crate::condition::Prepared;
use crate::edit::{PreparedEdit, Start, left_out};
use crate::error::PipelineError;
use crate::model::StableDiffusion;
use crate::plan::Plan;
use crate::row::{Heard, Row, RowNoise, Run};
use crate::schedulers::{self, SchedulerConfig};

/// An order and its progress.
pub struct Work {
    request: GenerateRequest,
    previews_every: Option<u32>,
    cancel: CancelFlag,
    plan: Option<Planned>,
    ready: Option<Ready>,
    begun: u32,
    finished: u32,
    /// Steps taken, of all pictures.
    done: u32,
    evaluations: u32,
}

/// A request with every choice made.
struct Planned {
    plan: Plan,
    /// Solver steps that are left out at the start, as an edit's strength says.
    left_out: usize,
    config: SchedulerConfig,
    /// Channels, height and width of the latents.
    shape: [i64; 3],
    /// The strength of the guidance as the U-Net takes it, where it was distilled so: [1, D]
    guidance: Option<Tensor>,
}

/// What all pictures of an order have in common.
struct Ready {
    edit: Option<PreparedEdit>,
    heard: Rc<Heard>,
}

impl Work {
    pub fn new(task: Task) -> Self {
        let Task { request, previews_every, cancel, owner: _ } = task;
        Self {
            request,
            previews_every: previews_every.filter(|&every| every > 0),
            cancel,
            plan: None,
            ready: None,
            begun: 0,
            finished: 0,
            done: 0,
            evaluations: 0,
        }
    }

    pub fn is_canceled(&self) -> bool {
        self.cancel.is_canceled()
    }

    pub fn is_prepared(&self) -> bool {
        self.ready.is_some()
    }

    pub fn is_begun(&self) -> bool {
        self.begun > 0
    }

    pub fn is_all_begun(&self) -> bool {
        self.begun >= self.request.count
    }

    pub fn is_finished(&self) -> bool {
        self.finished >= self.request.count
    }

    pub fn previews_every(&self) -> Option<usize> {
        self.previews_every.map(|every| every as usize)
    }

    /// Latent cells of one picture.
    pub fn cells(&self) -> i64 {
        self.plan.as_ref().map_or(0, |planned| planned.shape[1] * planned.shape[2])
    }

    /// Makes the choices that the request leaves open; latent cells of one picture.
    pub fn plan(&mut self, model: &StableDiffusion) -> Result<i64, PipelineError> {
        if self.plan.is_none() {
            let mut plan = Plan::new(&self.request, &model.info)?;
            let scale = self.request.guidance_scale.unwrap_or(model.info.guidance_scale);
            let width = model.unet.config().time_cond_proj_dim;
            let guidance = width.map(|width| guidance_embedding(&[scale], width, model.device));
            if guidance.is_some() {
                // Such a U-Net has learned what guidance makes of two rows.
                plan.guidance_scale = None;
            }
            let mut config = model.scheduler(self.request.scheduler.as_deref())?;
            let left_out = match &self.request.edit {
                Some(edit) if model.spaces_by_strength(edit, &config) => {
                    config.set("strength", edit.strength);
                    0
                }
                Some(edit) => left_out(plan.steps, edit.strength)?,
                None => 0,
            };
            let cells = |side: u32| i64::from(side / model.info.side_multiple);
            let channels = model.vae.config().latent_channels;
            let shape = [channels, cells(plan.size.height), cells(plan.size.width)];
            self.plan = Some(Planned { plan, left_out, config, shape, guidance });
        }
        Ok(self.cells())
    }

    fn planned(&self) -> Result<&Planned, PipelineError> {
        self.plan.as_ref().ok_or_else(|| PipelineError::Internal("an order without a plan".into()))
    }

    /// Encodes everything that the pictures have in common.
    pub fn prepare(&mut self, model: &StableDiffusion) -> Result<Event, PipelineError> {
        let Planned { plan, left_out, config, .. } = self.planned()?;
        let scheduler = schedulers::build(config, plan.steps)?;
        let edit = match &self.request.edit {
            Some(edit) => Some(PreparedEdit::new(
                edit,
                plan.size,
                left_out * scheduler.order(),
                &model.vae,
                model.inpainting,
                model.device,
            )?),
            None => None,
        };
        let first = edit.as_ref().map_or(0, PreparedEdit::first);
        let calls = scheduler.timesteps().len() - first;
        let Prepared { heard, ignored_words } =
            model.prepare(&self.request, plan.size, calls, plan.guidance_scale.is_some())?;
        let (steps, evaluations) = (plan.steps as u32, (calls as u32).saturating_mul(self.request.count));
        self.ready = Some(Ready { edit, heard: Rc::new(heard) });
        self.evaluations = evaluations;
        Ok(Event::Started { steps, evaluations, ignored_words })
    }

    /// Begins the next picture: its index, its seed, and its row.
    pub fn begin(&mut self, model: &StableDiffusion) -> Result<(u32, u64, Row), PipelineError> {
        let Planned { plan, config, shape, guidance, .. } = self.planned()?;
        let unprepared = || PipelineError::Internal("an order without a condition".into());
        let Ready { edit, heard } = self.ready.as_ref().ok_or_else(unprepared)?;
        let index = self.begun;
        let seed = self.request.seed.wrapping_add(u64::from(index));
        let scheduler = schedulers::build(config, plan.steps)?;
        let mut noise = RowNoise::new(seed);
        let start = match edit {
            Some(edit) => edit.begin(scheduler.as_ref(), &model.vae, &mut noise)?,
            None => {
                let noise = noise.randn(shape).f_to_device(model.device)?;
                Start { latents: noise * scheduler.init_noise_sigma(), kept: None, channels: None }
            }
        };
        let run = Run {
            prediction: config.prediction_type()?,
            scheduler,
            first: edit.as_ref().map_or(0, PreparedEdit::first),
            guidance_scale: plan.guidance_scale,
            guidance_embedding: guidance.as_ref().map(Tensor::shallow_clone),
            heard: Rc::clone(heard),
        };
        self.begun += 1;
        Ok((index, seed, Row::new(run, start, noise)))
    }

    /// `steps` more have been taken.
    pub fn stepped(&mut self, steps: u32) -> Event {
        self.done += steps;
        Event::Progress { done: self.done, evaluations: self.evaluations }
    }

    /// One more picture is decoded: puts back over it what an edit leaves as it was.
    pub fn finish(&mut self, pixels: &mut RgbPixels) {
        if let Some(composite) = self.ready.as_ref().and_then(|ready| ready.edit.as_ref()?.composite()) {
            composite.apply(pixels);
        }
        self.finished += 1;
    }
}
