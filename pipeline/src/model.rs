//! A Stable Diffusion checkpoint in memory, with its identity adapter.

use std::path::PathBuf;

use imagine_contract::ModelInfo;
use imagine_encoders::{ClipTextModel, ClipTokenizer};
use imagine_identity::adapters::FaceIdAdapter;
use imagine_unet::blocks::ModelError;
use imagine_unet::{
    AutoencoderKl, AutoencoderKlConfig, ConfigError, UNet2DConditionModel, UNetConfig, Weights,
};
use tch::{Device, Kind};

use crate::checkpoint::{Checkpoint, Defaults};
use crate::device::{DeviceChoice, DtypeChoice, device_name, kind_name};
use crate::error::PipelineError;
use crate::schedulers::{SchedulerChoice, SchedulerConfig, SchedulerError};

/// What to load, where and how.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// A checkpoint folder in diffusers format.
    pub model: PathBuf,
    /// A FaceID adapter file; the one that `imagine.json` names if left out.
    pub adapter: Option<PathBuf>,
    pub device: DeviceChoice,
    pub dtype: DtypeChoice,
}

/// The networks of one checkpoint on one device.
pub struct StableDiffusion {
    pub(crate) tokenizer: ClipTokenizer,
    pub(crate) text_encoder: ClipTextModel,
    pub(crate) unet: UNet2DConditionModel,
    pub(crate) vae: AutoencoderKl,
    pub(crate) scheduler: SchedulerConfig,
    scheduler_file: PathBuf,
    pub(crate) adapter: Option<FaceIdAdapter>,
    pub(crate) device: Device,
    pub(crate) info: ModelInfo,
}

fn config_error(file: PathBuf, source: ConfigError) -> PipelineError {
    match source {
        ConfigError::Unsupported { .. } => PipelineError::Config { file, source },
        named => PipelineError::ConfigFile(named),
    }
}

fn model_error(config: PathBuf, error: ModelError) -> PipelineError {
    match error {
        ModelError::Config(source) => config_error(config, source),
        ModelError::Weights(source) => source.into(),
    }
}

impl StableDiffusion {
    /// Loads every part of a checkpoint. Errors name the file, and the key, shape or value at fault.
    pub fn load(options: &LoadOptions) -> Result<Self, PipelineError> {
        let _no_grad = tch::no_grad_guard();
        let checkpoint = Checkpoint::open(&options.model)?;
        let device = options.device.resolve()?;
        let kind = options.dtype.resolve(device);
        let tokenizer = ClipTokenizer::from_folder(&checkpoint.part("tokenizer"))?;
        let text_encoder = ClipTextModel::from_folder(&checkpoint.part("text_encoder"), device, kind)?;
        let tokenizer = fit_prompts(tokenizer, &text_encoder);
        let defaults = checkpoint.defaults()?;
        let own_adapter = defaults.adapter.as_ref().map(|name| checkpoint.part(name));
        let adapter = match options.adapter.as_ref().or(own_adapter.as_ref()) {
            Some(file) => Some(FaceIdAdapter::open(file, device, kind)?),
            None => None,
        };
        let unet = load_unet(&checkpoint, adapter.as_ref(), device, kind)?;
        let vae = load_vae(&checkpoint, device, kind)?;
        let scheduler_file = checkpoint.part("scheduler/scheduler_config.json");
        let scheduler = SchedulerConfig::from_file(&scheduler_file)?;
        let info = blank_info();
        let model =
            Self { tokenizer, text_encoder, unet, vae, scheduler, scheduler_file, adapter, device, info };
        model.check_widths()?;
        let info = model.describe(checkpoint.name(), &defaults, kind)?;
        Ok(Self { info, ..model })
    }

    /// The scheduler's settings as the checkpoint has them, if its class is implemented.
    pub(crate) fn own_scheduler(&self) -> Result<&SchedulerConfig, PipelineError> {
        match self.scheduler.kind() {
            Ok(_) => Ok(&self.scheduler),
            Err(error) => Err(self.scheduler_error(error)),
        }
    }

    fn scheduler_error(&self, error: SchedulerError) -> PipelineError {
        SchedulerError::File { path: self.scheduler_file.clone(), source: Box::new(error) }.into()
    }

    /// The parts must fit each other: vocabulary, widths of text and latents.
    fn check_widths(&self) -> Result<(), PipelineError> {
        let unet = self.unet.config();
        let cross = unet
            .cross_dim()
            .map_err(|source| PipelineError::Config { file: "unet/config.json".into(), source })?;
        let text = self.text_encoder.config().hidden_size;
        let latents = self.vae.config().latent_channels;
        let (words, rows) = (self.tokenizer.vocab_size() as i64, self.text_encoder.config().vocab_size);
        if words > rows {
            return Err(PipelineError::Mismatch {
                part: "tokenizer and text_encoder".into(),
                first_key: "tokens of the vocabulary".into(),
                first: words,
                second_key: "vocab_size".into(),
                second: rows,
            });
        }
        for (part, first_key, first, second_key, second) in [
            ("text_encoder and unet", "hidden_size", text, "cross_attention_dim", cross),
            ("vae and unet", "latent_channels", latents, "in_channels", unet.in_channels),
            ("vae and unet", "latent_channels", latents, "out_channels", unet.out_channels),
        ] {
            if first != second {
                return Err(PipelineError::Mismatch {
                    part: part.into(),
                    first_key: first_key.into(),
                    first,
                    second_key: second_key.into(),
                    second,
                });
            }
        }
        Ok(())
    }

    fn describe(&self, name: String, defaults: &Defaults, kind: Kind) -> Result<ModelInfo, PipelineError> {
        let downscale = self.vae.config().downscale();
        // Checkpoints without a sample size were trained on 512 pixels.
        let side = self.unet.config().sample_size.map_or(512, |cells| cells * downscale);
        let scheduler = match self.scheduler.kind() {
            Ok(kind) => {
                let karras = self.scheduler.get_bool("use_karras_sigmas");
                let karras = karras.map_err(|e| self.scheduler_error(e))?.unwrap_or(false);
                SchedulerChoice { kind, karras: karras && kind.allows_karras() }.to_string()
            }
            // Not implemented, but its settings serve whatever scheduler a request names.
            Err(SchedulerError::Class { class, .. }) if !class.is_empty() => class,
            Err(error) => return Err(self.scheduler_error(error)),
        };
        Ok(ModelInfo {
            name,
            width: side as u32,
            height: side as u32,
            steps: defaults.steps,
            guidance_scale: defaults.guidance_scale,
            scheduler,
            side_multiple: downscale as u32,
            embedding_width: self.adapter.as_ref().map(|a| a.projection().sizes().embedding as usize),
            device: device_name(self.device),
            dtype: kind_name(kind).into(),
        })
    }
}

/// Prompts as long as the text encoder takes, where the tokenizer's folder says nothing or more.
fn fit_prompts(tokenizer: ClipTokenizer, text_encoder: &ClipTextModel) -> ClipTokenizer {
    let limit = text_encoder.config().max_position_embeddings as usize;
    match tokenizer.model_max_length() {
        Some(length) if length <= limit => tokenizer,
        _ => tokenizer.with_model_max_length(limit),
    }
}

fn blank_info() -> ModelInfo {
    ModelInfo {
        name: String::new(),
        width: 0,
        height: 0,
        steps: 0,
        guidance_scale: 0.0,
        scheduler: String::new(),
        side_multiple: 1,
        embedding_width: None,
        device: String::new(),
        dtype: String::new(),
    }
}

fn load_unet(
    checkpoint: &Checkpoint,
    adapter: Option<&FaceIdAdapter>,
    device: Device,
    kind: Kind,
) -> Result<UNet2DConditionModel, PipelineError> {
    let dir = checkpoint.part("unet");
    let file = dir.join("config.json");
    let config = UNetConfig::from_file(&file).map_err(|e| config_error(file.clone(), e))?;
    if config.addition_embed_type.is_some() {
        let source =
            ConfigError::unsupported("addition_embed_type", "text_time", "SDXL is not supported yet");
        return Err(PipelineError::Config { file, source });
    }
    let weights = Weights::open_folder(&dir, device, kind)?;
    if let Some(adapter) = adapter {
        adapter.merge_lora(&weights, &config)?;
    }
    let mut unet = UNet2DConditionModel::new(&weights.root(), &config).map_err(|e| model_error(file, e))?;
    weights.finish(&[])?;
    if let Some(adapter) = adapter {
        adapter.attach(&mut unet)?;
    }
    Ok(unet)
}

fn load_vae(checkpoint: &Checkpoint, device: Device, kind: Kind) -> Result<AutoencoderKl, PipelineError> {
    let dir = checkpoint.part("vae");
    let file = dir.join("config.json");
    let config = AutoencoderKlConfig::from_file(&file).map_err(|e| config_error(file.clone(), e))?;
    // Some autoencoders overflow in f16; f32 always holds.
    let kind = if kind == Kind::Half { Kind::Float } else { kind };
    let weights = Weights::open_folder(&dir, device, kind)?;
    let vae = AutoencoderKl::new(&weights.root(), &config).map_err(|e| model_error(file, e))?;
    weights.finish(&[])?;
    Ok(vae)
}
