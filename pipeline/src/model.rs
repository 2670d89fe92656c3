//! A Stable Diffusion checkpoint in memory, with its identity adapter.

use std::path::PathBuf;

use imagine_contract::ModelInfo;
use imagine_encoders::{ClipTextModel, ClipTokenizer};
use imagine_identity::adapters::FaceIdAdapter;
use imagine_unet::{
    AutoencoderKl, AutoencoderKlConfig, ConfigError, UNet2DConditionModel, UNetConfig, Weights,
};
use tch::{Device, Kind};

use crate::checkpoint::Checkpoint;
use crate::device::{DeviceChoice, DtypeChoice, device_name, kind_name};
use crate::error::PipelineError;
use crate::schedulers::{SchedulerChoice, SchedulerConfig};

/// What to load, where and how.
#[derive(Clone, Debug)]
pub struct LoadOptions {
    /// A checkpoint folder in diffusers format.
    pub model: PathBuf,
    /// A FaceID adapter file.
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
    pub(crate) adapter: Option<FaceIdAdapter>,
    pub(crate) device: Device,
    pub(crate) info: ModelInfo,
}

/// Steps and guidance where neither the request nor the checkpoint says.
const DEFAULT_STEPS: u32 = 25;
const DEFAULT_GUIDANCE: f64 = 7.5;

fn in_file<T>(file: PathBuf, result: Result<T, ConfigError>) -> Result<T, PipelineError> {
    result.map_err(|source| PipelineError::Config { file, source })
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
        let adapter = match &options.adapter {
            Some(file) => Some(FaceIdAdapter::open(file, device, kind)?),
            None => None,
        };
        let unet = load_unet(&checkpoint, adapter.as_ref(), device, kind)?;
        let vae = load_vae(&checkpoint, device, kind)?;
        let scheduler = SchedulerConfig::from_file(&checkpoint.part("scheduler/scheduler_config.json"))?;
        let model =
            Self { tokenizer, text_encoder, unet, vae, scheduler, adapter, device, info: blank_info() };
        model.check_widths()?;
        let info = model.describe(checkpoint.name(), kind)?;
        Ok(Self { info, ..model })
    }

    /// The parts must fit each other: widths of text, adapter and latents.
    fn check_widths(&self) -> Result<(), PipelineError> {
        let unet = self.unet.config();
        let cross = unet
            .cross_dim()
            .map_err(|source| PipelineError::Config { file: "unet/config.json".into(), source })?;
        let text = self.text_encoder.config().hidden_size;
        let latents = self.vae.config().latent_channels;
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

    fn describe(&self, name: String, kind: Kind) -> Result<ModelInfo, PipelineError> {
        let downscale = self.vae.config().downscale();
        // Checkpoints without a sample size were trained on 512 pixels.
        let side = self.unet.config().sample_size.map_or(512, |cells| cells * downscale);
        let kind_of = self.scheduler.kind()?;
        let karras = self.scheduler.get_bool("use_karras_sigmas")?.unwrap_or(false);
        let choice = SchedulerChoice { kind: kind_of, karras: karras && kind_of.allows_karras() };
        Ok(ModelInfo {
            name,
            width: side as u32,
            height: side as u32,
            steps: DEFAULT_STEPS,
            guidance_scale: DEFAULT_GUIDANCE,
            scheduler: choice.to_string(),
            side_multiple: downscale as u32,
            embedding_width: self.adapter.as_ref().map(|a| a.projection().sizes().embedding as usize),
            device: device_name(self.device),
            dtype: kind_name(kind).into(),
        })
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
    let config = in_file(file.clone(), UNetConfig::from_file(&file))?;
    if config.addition_embed_type.is_some() {
        let source =
            ConfigError::unsupported("addition_embed_type", "text_time", "SDXL is not supported yet");
        return Err(PipelineError::Config { file, source });
    }
    let weights = Weights::open_folder(&dir, device, kind)?;
    if let Some(adapter) = adapter {
        adapter.merge_lora(&weights, &config)?;
    }
    let mut unet = UNet2DConditionModel::new(&weights.root(), &config)
        .map_err(|source| PipelineError::Model { file: dir, source })?;
    weights.finish(&[])?;
    if let Some(adapter) = adapter {
        adapter.attach(&mut unet)?;
    }
    Ok(unet)
}

fn load_vae(checkpoint: &Checkpoint, device: Device, kind: Kind) -> Result<AutoencoderKl, PipelineError> {
    let dir = checkpoint.part("vae");
    let file = dir.join("config.json");
    let config = in_file(file.clone(), AutoencoderKlConfig::from_file(&file))?;
    // Some autoencoders overflow in f16; f32 always holds.
    let kind = if kind == Kind::Half { Kind::Float } else { kind };
    let weights = Weights::open_folder(&dir, device, kind)?;
    let vae = AutoencoderKl::new(&weights.root(), &config)
        .map_err(|source| PipelineError::Model { file: dir, source })?;
    weights.finish(&[])?;
    Ok(vae)
}
