//! A Stable Diffusion checkpoint in memory, with its identity adapter.

use std::path::{Path, PathBuf};

use imagine_contract::{Edit, ModelInfo};
use imagine_identity::adapters::{Adapter, AdapterKind, AdapterOptions, PhotoMaker};
use imagine_unet::{AutoencoderKl, UNet2DConditionModel, UNetConfig};
use tch::{Device, Kind};

use crate::checkpoint::{Checkpoint, Defaults, Target, autoencoder};
use crate::device::{DeviceChoice, DtypeChoice};
use crate::edit::Inpainting;
use crate::error::PipelineError;
use crate::footprint::unet_parameters;
use crate::identity::{IdentityAdapter, IdentityModel, is_photo_maker, needs_for};
use crate::load::{Changes, LoadedLora, NetworkPages, Networks, describe, scheduler_name};
use crate::lone_unet;
use crate::lora::LoraFile;
use crate::photo_maker::PhotoMakerIdentity;
use crate::presets::Preset;
use crate::schedulers::{SchedulerChoice, SchedulerConfig, SchedulerError, SchedulerKind};
use crate::single_file::{Prediction, SingleFileOptions};
use crate::text_conditioning::TextConditioner;

/// What to load, where and how.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// What the model is called; as its folder or file if left out. Folders of a download cache are named by
    /// numbers, and several models may share one.
    pub name: Option<String>,
    /// A checkpoint folder in diffusers format, or a checkpoint in a single file.
    pub model: PathBuf,
    /// Folder of the tokenizer, for a single file with another vocabulary than CLIP's.
    pub tokenizer: Option<PathBuf>,
    /// What the U-Net predicts, for a single file that does not say it.
    pub prediction: Option<Prediction>,
    /// An identity adapter's file; the one that `imagine.json` names if left out.
    pub adapter: Option<PathBuf>,
    /// Which kind of adapter it is, where its tensors and its name do not tell.
    pub adapter_kind: Option<AdapterKind>,
    /// Folder of the CLIP vision encoder that the adapter wants; `image_encoder` beside the adapter or in
    /// the checkpoint's folder if left out.
    pub image_encoder: Option<PathBuf>,
    /// Folder of the ControlNet that the adapter wants; `ControlNetModel` beside the adapter if left out.
    pub controlnet: Option<PathBuf>,
    /// Folder of an autoencoder to take in the place of the checkpoint's, or its file in the original layout.
    pub vae: Option<PathBuf>,
    /// File of a U-Net's weights under diffusers' names to take in the place of the checkpoint's, or its folder.
    pub unet: Option<PathBuf>,
    /// Merged in this order.
    pub loras: Vec<LoraChoice>,
    /// Name of a recipe for few steps ([`crate::presets`]).
    pub preset: Option<String>,
    pub device: DeviceChoice,
    pub dtype: DtypeChoice,
}

/// A LoRA file and how strongly it counts: 1 is as strong as it was trained.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraChoice {
    pub file: PathBuf,
    pub weight: f64,
}

/// The networks of one checkpoint on one device: Stable Diffusion 1.x, 2.x or XL.
pub struct StableDiffusion {
    pub(crate) text: TextConditioner,
    pub(crate) unet: UNet2DConditionModel,
    pub(crate) vae: AutoencoderKl,
    pub(crate) pages: NetworkPages,
    pub(crate) inpainting: Inpainting,
    latent_consistency: bool,
    /// The checkpoint's own.
    scheduler: SchedulerConfig,
    scheduler_file: PathBuf,
    preset: Option<&'static Preset>,
    pub(crate) identity: Option<IdentityModel>,
    pub(crate) device: Device,
    pub(crate) info: ModelInfo,
}

/// What options and configurations say, before any weight is opened.
struct Plan {
    preset: Option<&'static Preset>,
    checkpoint: Checkpoint,
    target: Target,
    /// Where a request leaves a choice open; the preset's before the checkpoint's.
    defaults: Defaults,
    scheduler: SchedulerConfig,
    scheduler_file: PathBuf,
    scheduler_name: String,
    /// The adapter that is asked for, else the checkpoint's own.
    adapter: Option<PathBuf>,
}

impl Plan {
    fn read(options: &LoadOptions) -> Result<Self, PipelineError> {
        let preset = options.preset.as_deref().map(Preset::by_name).transpose()?;
        let single_file =
            SingleFileOptions { tokenizer: options.tokenizer.clone(), prediction: options.prediction };
        let checkpoint = Checkpoint::open_with(&options.model, &single_file)?;
        let device = options.device.resolve()?;
        let target = target(&checkpoint, options, device)?;
        let mut defaults = checkpoint.defaults()?;
        let (mut scheduler, scheduler_file) = checkpoint.scheduler()?;
        if let (Some(unet), None) = (&options.unet, options.prediction) {
            lone_unet::tell(unet, &mut scheduler)?;
        }
        // A single file says nothing of its scheduler and its pictures' size: the recipe knows better than its family.
        if let (Checkpoint::File { .. }, Some(preset)) = (&checkpoint, preset) {
            scheduler = preset.without_kept(&scheduler);
            defaults.side = preset.side;
        }
        let used = preset.map(|preset| preset.scheduler_config(&scheduler));
        let scheduler_name = scheduler_name(used.as_ref().unwrap_or(&scheduler));
        let scheduler_name = scheduler_name.map_err(|e| in_file(&scheduler_file, e))?;
        let own_adapter = defaults.adapter.as_ref().map(|name| checkpoint.beside(name));
        let adapter = options.adapter.clone().or(own_adapter);
        if let Some(preset) = preset {
            (defaults.steps, defaults.guidance_scale) = (preset.steps, preset.guidance_scale);
        }
        Ok(Self { preset, checkpoint, target, defaults, scheduler, scheduler_file, scheduler_name, adapter })
    }
}

/// Whether a file is the LoRA that is published beside a FaceID adapter, whose own file holds it too:
/// `ip-adapter-faceid_sd15_lora.safetensors` beside `ip-adapter-faceid_sd15.bin`.
fn is_lora_of(lora: &Path, adapter: &Path) -> bool {
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase());
    match (stem(lora), stem(adapter)) {
        (Some(lora), Some(adapter)) => lora.strip_suffix("_lora") == Some(&adapter),
        _ => false,
    }
}

/// The types to compute in. How large the U-Net is counts for `auto` on a CPU alone, and is not looked at elsewhere.
fn target(checkpoint: &Checkpoint, options: &LoadOptions, device: Device) -> Result<Target, PipelineError> {
    let dtype = options.dtype;
    if (dtype, device) != (DtypeChoice::Auto, Device::Cpu) {
        return Ok(dtype.target(device, 0));
    }
    // Opened, so that headers are read; nothing is taken out of them.
    let target = Target { device, kind: Kind::Float, vae: Kind::Float };
    let unet = lone_unet::unet(checkpoint, options.unet.as_deref(), target)?;
    let parameters = unet_parameters(&unet.config);
    let parameters = parameters.map_err(|source| PipelineError::Config { file: unet.file, source })?;
    Ok(dtype.target(device, parameters))
}

impl StableDiffusion {
    /// Loads every part of a checkpoint. Errors name the file, and the key, shape or value at fault.
    pub fn load(options: &LoadOptions) -> Result<Self, PipelineError> {
        let _no_grad = tch::no_grad_guard();
        let Plan { preset, checkpoint, target, defaults, scheduler, scheduler_file, scheduler_name, adapter } =
            Plan::read(options)?;
        let opened = match &adapter {
            Some(file) => Opened::open(file, options, target)?,
            None => Opened::Nothing,
        };
        opened.refuse_unused(options)?;
        let loras = opened.loras(adapter.as_deref(), &options.loras)?;
        let (vae, unet) = (options.vae.as_deref(), options.unet.as_deref());
        let changes = Changes { adapter: opened.adapter(), loras: &loras, preset, vae, unet };
        let networks = Networks::load(&checkpoint, &changes, target)?;
        let identity = opened.finish(&checkpoint, networks.unet.config(), options, target)?;
        let info = ModelInfo {
            identity: identity.as_ref().map(IdentityModel::needs),
            ..describe(
                options.name.clone().unwrap_or_else(|| checkpoint.name()),
                &checkpoint,
                (networks.unet.config(), networks.vae.config()),
                &defaults,
                scheduler_name,
                target,
            )
        };
        let inpainting = networks.inpainting();
        let Networks { text, unet, vae, pages } = networks;
        Ok(Self {
            text,
            unet,
            vae,
            pages,
            inpainting,
            latent_consistency: checkpoint.is_latent_consistency(),
            scheduler,
            scheduler_file,
            preset,
            identity,
            device: target.device,
            info,
        })
    }

    /// A result that is not finite may come from weights that are not, which are unread at the start: then that
    /// is the error.
    pub(crate) fn explain(&self, error: PipelineError) -> PipelineError {
        match error {
            PipelineError::NotFinite => self.pages.check_finite().err().map_or(error, PipelineError::from),
            error => error,
        }
    }

    /// What [`Self::load`] would say of itself, from the configurations and the adapter's file alone: for whoever
    /// tells what a model takes and draws nothing.
    ///
    /// # Errors
    /// A configuration or the adapter's file is missing or wrong. Weights are not looked at.
    pub fn describe(options: &LoadOptions) -> Result<ModelInfo, PipelineError> {
        let Plan { checkpoint, target, defaults, scheduler_name, adapter, .. } = Plan::read(options)?;
        let needs = |file: &PathBuf| needs_for(file, options.adapter_kind, checkpoint.family());
        let identity = adapter.as_ref().map(needs).transpose()?;
        // Opened, so that headers are read; nothing is taken out of them.
        let unet = lone_unet::unet(&checkpoint, options.unet.as_deref(), target)?.config;
        let vae = match options.vae.as_deref() {
            Some(path) => autoencoder(path, checkpoint.family(), target.device, |_| Kind::Float)?.config,
            None => checkpoint.vae(target.device, |_| Kind::Float)?.config,
        };
        let name = options.name.clone().unwrap_or_else(|| checkpoint.name());
        let info = describe(name, &checkpoint, (&unet, &vae), &defaults, scheduler_name, target);
        Ok(ModelInfo { identity, ..info })
    }

    /// The U-Net takes the guidance as a number: there is no unconditional row, and a negative prompt is not heard.
    pub fn embeds_guidance(&self) -> bool {
        self.unet.config().time_cond_proj_dim.is_some()
    }

    /// Text encoders and what looked at the photos rest until the next request.
    pub(crate) fn release_encoders(&self) {
        self.pages.release_text();
        if let Some(identity) = &self.identity {
            identity.release_encoder();
        }
    }

    /// Whether image-to-image begins in the schedule where its strength says, with all its steps to come, as diffusers'
    /// pipeline of latent consistency models does, instead of leaving out the first steps. It has none for inpainting,
    /// and only the samplers of distilled models can.
    pub(crate) fn spaces_by_strength(&self, edit: &Edit, config: &SchedulerConfig) -> bool {
        let distilled = matches!(config.kind(), Ok(SchedulerKind::Lcm | SchedulerKind::Tcd));
        self.latent_consistency && distilled && edit.mask.is_none()
    }

    /// The scheduler's settings for a request: the sampler that it names, else the preset's, else the
    /// checkpoint's own, if its class is implemented; with the preset's settings, if there is one.
    pub(crate) fn scheduler(&self, name: Option<&str>) -> Result<SchedulerConfig, PipelineError> {
        match (name, self.preset) {
            (named, Some(preset)) => Ok(preset.scheduler_for(named, &self.scheduler)?),
            (Some(name), None) => Ok(name.parse::<SchedulerChoice>()?.apply(&self.scheduler)),
            (None, None) => match self.scheduler.kind() {
                Ok(_) => Ok(self.scheduler.clone()),
                Err(error) => Err(in_file(&self.scheduler_file, error)),
            },
        }
    }
}

/// What an adapter file turned out to be, before the U-Net is built.
enum Opened {
    Nothing,
    Adapter(Box<Adapter>),
    PhotoMaker(Box<PhotoMakerIdentity>, PathBuf),
}

impl Opened {
    fn open(file: &Path, options: &LoadOptions, target: Target) -> Result<Self, PipelineError> {
        if is_photo_maker(file)? {
            let maker = PhotoMakerIdentity::load(file, options.image_encoder.as_deref(), target)?;
            return Ok(Self::PhotoMaker(Box::new(maker), file.to_path_buf()));
        }
        let adapter_options = AdapterOptions { kind: options.adapter_kind, ..AdapterOptions::default() };
        Ok(Self::Adapter(Box::new(Adapter::open(file, &adapter_options, target.device, target.kind)?)))
    }

    /// Refuses what was named for an adapter and would not be used.
    fn refuse_unused(&self, options: &LoadOptions) -> Result<(), PipelineError> {
        let (takes_kind, sees, takes_net, reason) = match self {
            Self::Nothing => {
                let reason = "no identity adapter is loaded: nobody is to be drawn, and none is named";
                (false, false, false, reason.to_string())
            }
            // It brings its own vision network, whose settings may lie in a folder.
            Self::PhotoMaker(_, file) => {
                (false, true, false, format!("{} is PhotoMaker's, which takes none", file.display()))
            }
            Self::Adapter(adapter) => {
                let sees = adapter.needs().clip_vision_width.is_some();
                let kind = adapter.kind();
                let reason = format!("{} ({}) takes none", adapter.file().display(), kind.name());
                (true, sees, kind == AdapterKind::InstantId, reason)
            }
        };
        for (option, named, taken) in [
            ("--adapter-kind", options.adapter_kind.is_some(), takes_kind),
            ("--image-encoder", options.image_encoder.is_some(), sees),
            ("--controlnet", options.controlnet.is_some(), takes_net),
        ] {
            if named && !taken {
                return Err(PipelineError::Unused { option, reason });
            }
        }
        Ok(())
    }

    fn adapter(&self) -> Option<&Adapter> {
        match self {
            Self::Adapter(adapter) => Some(adapter),
            Self::Nothing | Self::PhotoMaker(..) => None,
        }
    }

    /// The LoRAs that were chosen, behind PhotoMaker's own.
    ///
    /// # Errors
    /// A file cannot be used, or is what the adapter's own file (`adapter`) holds too.
    fn loras(&self, adapter: Option<&Path>, chosen: &[LoraChoice]) -> Result<Vec<LoadedLora>, PipelineError> {
        if let (Self::Adapter(_), Some(adapter)) = (self, adapter)
            && let Some(twice) = chosen.iter().find(|lora| is_lora_of(&lora.file, adapter))
        {
            let (file, adapter) = (twice.file.clone(), adapter.to_path_buf());
            return Err(PipelineError::LoraOfAdapter { file, adapter });
        }
        let own = match self {
            Self::PhotoMaker(_, file) => {
                let file = LoraFile::open_below(file, PhotoMaker::LORA_PREFIX)?;
                Some(LoadedLora { file, weight: 1.0 })
            }
            Self::Nothing | Self::Adapter(_) => None,
        };
        let open = |lora: &LoraChoice| -> Result<LoadedLora, PipelineError> {
            Ok(LoadedLora { file: LoraFile::open(&lora.file)?, weight: lora.weight })
        };
        own.map(Ok).into_iter().chain(chosen.iter().map(open)).collect()
    }

    /// Loads what it needs beside itself, for this U-Net.
    fn finish(
        self,
        checkpoint: &Checkpoint,
        unet: &UNetConfig,
        options: &LoadOptions,
        target: Target,
    ) -> Result<Option<IdentityModel>, PipelineError> {
        Ok(match self {
            Self::Nothing => None,
            Self::Adapter(adapter) => {
                let adapter = IdentityAdapter::load(*adapter, checkpoint, unet, options, target)?;
                Some(IdentityModel::Adapter(Box::new(adapter)))
            }
            Self::PhotoMaker(maker, _) => {
                maker.check_base(unet)?;
                Some(IdentityModel::PhotoMaker(maker))
            }
        })
    }
}

fn in_file(file: &Path, error: SchedulerError) -> PipelineError {
    SchedulerError::File { path: file.to_path_buf(), source: Box::new(error) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lora_beside_an_adapter_is_known_by_its_name() {
        let adapter = Path::new("a/ip-adapter-faceid_sd15.bin");
        assert!(is_lora_of(Path::new("b/ip-adapter-faceid_sd15_lora.safetensors"), adapter));
        for other in [
            "ip-adapter-faceid_sdxl_lora.safetensors",
            "ip-adapter-faceid_sd15.bin",
            "style_lora.safetensors",
        ] {
            assert!(!is_lora_of(Path::new(other), adapter), "{other}");
        }
    }
}
