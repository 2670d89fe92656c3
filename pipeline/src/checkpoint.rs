//! A checkpoint on disk: a folder in Hugging Face diffusers format or a single file, and what either gives:
//! the configuration and the weights of every part, under the same names.

use std::path::{Path, PathBuf};

use imagine_encoders::{ClipTextConfig, ClipTokenizer};
use imagine_unet::{AutoencoderKlConfig, ConfigError, UNetConfig, Weights};
use serde::Deserialize;
use tch::{Device, Kind};

use crate::checkpoint_folder::CheckpointFolder;
use crate::error::PipelineError;
use crate::schedulers::SchedulerConfig;
use crate::single_file::{AutoencoderFile, BaseModel, SingleFile, SingleFileOptions};
use crate::text_conditioning::Hearing;

/// `imagine.json` in a checkpoint folder: what a request means that leaves these open. The file is
/// ours and optional; other programs pass over it.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    pub steps: u32,
    pub guidance_scale: f64,
    /// File in the folder of an adapter that was trained together with the model: it is loaded unless
    /// another is named, also where there is no person.
    pub adapter: Option<String>,
    /// [`ModelInfo::width_per_person`](imagine_contract::ModelInfo::width_per_person).
    pub width_per_person: u32,
    /// Pixels along a side, where a recipe says so of a checkpoint that does not.
    #[serde(skip)]
    pub side: Option<u32>,
}

impl Default for Defaults {
    /// Usual for Stable Diffusion.
    fn default() -> Self {
        Self { steps: 25, guidance_scale: 7.5, adapter: None, width_per_person: 0, side: None }
    }
}

/// Diffusers' pipeline of latent consistency models (arXiv 2310.04378), whose parts are Stable Diffusion's.
const LATENT_CONSISTENCY: &str = "LatentConsistencyModel";

/// What models have in common that are loaded and prompted alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Stable Diffusion 1.x and 2.x: one text encoder.
    StableDiffusion,
    /// Stable Diffusion XL: two text encoders and a size condition.
    StableDiffusionXl,
}

impl Family {
    /// The family of a pipeline class of diffusers. Text-to-image, image-to-image and inpainting are the
    /// same checkpoint in another class.
    pub(crate) fn of_class(class: &str) -> Option<Self> {
        let stem = class.strip_suffix("Pipeline")?;
        let stem = stem.strip_suffix("Img2Img").or_else(|| stem.strip_suffix("Inpaint")).unwrap_or(stem);
        match stem {
            // Of a U-Net that takes the guidance as a number; all else is the same.
            LATENT_CONSISTENCY => Some(Self::StableDiffusion),
            "StableDiffusion" => Some(Self::StableDiffusion),
            "StableDiffusionXL" => Some(Self::StableDiffusionXl),
            _ => None,
        }
    }

    /// Folders of tokenizers and text encoders, in the order in which their states are joined.
    pub fn text_parts(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::StableDiffusion => &[("tokenizer", "text_encoder")],
            Self::StableDiffusionXl => &[("tokenizer", "text_encoder"), ("tokenizer_2", "text_encoder_2")],
        }
    }

    /// Pixels along a side for checkpoints that do not say it.
    pub fn usual_side(self) -> i64 {
        match self {
            Self::StableDiffusion => 512,
            Self::StableDiffusionXl => 1024,
        }
    }

    /// Whether a pipeline class of diffusers is that of latent consistency models.
    pub(crate) fn is_latent_consistency(class: &str) -> bool {
        class.starts_with(LATENT_CONSISTENCY)
    }

    /// What a request means that leaves these open, for a pipeline class of diffusers.
    pub(crate) fn defaults_of(self, class: &str) -> Defaults {
        match Self::is_latent_consistency(class) {
            true => Defaults { steps: 4, guidance_scale: 8.5, ..Defaults::default() },
            false => self.defaults(),
        }
    }

    /// What a request means that leaves these open: diffusers' default guidance of the pipeline.
    pub(crate) fn defaults(self) -> Defaults {
        match self {
            Self::StableDiffusion => Defaults::default(),
            Self::StableDiffusionXl => Defaults { guidance_scale: 5.0, ..Defaults::default() },
        }
    }
}

/// Where and in which type to load.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    pub device: Device,
    pub kind: Kind,
    /// Of the autoencoder, unless it would overflow.
    pub vae: Kind,
}

/// One network on disk: changes are merged into the weights before the model is built.
pub struct Part<C> {
    pub config: C,
    pub weights: Weights,
    /// What errors of the configuration name.
    pub file: PathBuf,
}

/// A checkpoint of Stable Diffusion 1.x, 2.x or XL.
pub enum Checkpoint {
    Folder(CheckpointFolder),
    File { path: PathBuf, file: Box<SingleFile> },
}

impl Checkpoint {
    /// Opens a folder with `model_index.json`, or a single file.
    pub fn open(path: &Path) -> Result<Self, PipelineError> {
        Self::open_with(path, &SingleFileOptions::default())
    }

    /// As [`Self::open`], with what a single file cannot say. A folder says it all: options are refused there.
    pub fn open_with(path: &Path, options: &SingleFileOptions) -> Result<Self, PipelineError> {
        if !path.is_file() {
            let folder = |option, says: &str| {
                let reason = format!("{} is a folder, whose {says}", path.display());
                Err(PipelineError::Unused { option, reason })
            };
            if options.prediction.is_some() {
                return folder(
                    "--prediction",
                    "scheduler/scheduler_config.json says what the model predicts",
                );
            }
            if options.tokenizer.is_some() {
                return folder("--tokenizer", "own tokenizer/ is read");
            }
            return CheckpointFolder::open(path).map(Self::Folder);
        }
        let file = Box::new(SingleFile::open(path, options)?);
        Ok(Self::File { path: path.to_path_buf(), file })
    }

    pub fn family(&self) -> Family {
        match self {
            Self::Folder(folder) => folder.family(),
            Self::File { file, .. } => match file.kind().base {
                BaseModel::Sd1 | BaseModel::Sd2 => Family::StableDiffusion,
                BaseModel::Sdxl => Family::StableDiffusionXl,
            },
        }
    }

    /// What of its text encoders the model hears.
    pub fn hearing(&self) -> Hearing {
        match (self, self.family()) {
            (Self::Folder(folder), _) => folder.hearing(),
            (_, Family::StableDiffusion) => Hearing::LastLayer,
            // As the published folder says.
            (_, Family::StableDiffusionXl) => Hearing::Penultimate { zeros_for_empty_negative: true },
        }
    }

    /// Its pipeline is diffusers' of latent consistency models, whose image-to-image keeps to the lower part of the
    /// distillation's schedule where others leave out the first steps of the whole one.
    pub fn is_latent_consistency(&self) -> bool {
        match self {
            Self::Folder(folder) => folder.is_latent_consistency(),
            Self::File { .. } => false,
        }
    }

    /// Pixels along a side of the pictures that it was trained on, where the U-Net does not say it.
    pub fn usual_side(&self) -> i64 {
        match self {
            Self::Folder(folder) => folder.family().usual_side(),
            Self::File { file, .. } => file.kind().picture_size(),
        }
    }

    /// What a request means that leaves these open.
    pub fn defaults(&self) -> Result<Defaults, PipelineError> {
        match self {
            Self::Folder(folder) => folder.defaults(),
            Self::File { .. } => Ok(self.family().defaults()),
        }
    }

    /// The folder's or file's own name.
    pub fn name(&self) -> String {
        let (path, is_file) = match self {
            Self::Folder(folder) => (folder.path(), false),
            Self::File { path, .. } => (path.as_path(), true),
        };
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        let name = if is_file { path.file_stem() } else { path.file_name() };
        name.map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
    }

    /// A file or folder beside the parts; of a single file, beside itself.
    pub fn beside(&self, name: &str) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.part(name),
            Self::File { path, .. } => path.with_file_name(name),
        }
    }

    pub fn unet(&self, target: Target) -> Result<Part<UNetConfig>, PipelineError> {
        match self {
            Self::Folder(folder) => folder.network("unet", target, UNetConfig::from_file),
            Self::File { path, file } => part(path, file.unet(target.device, target.kind)?),
        }
    }

    /// The autoencoder in the type that `kind` makes of its configuration.
    ///
    /// # Errors
    /// [`PipelineError::NoAutoencoder`] where the checkpoint was published without one.
    pub fn vae(
        &self,
        device: Device,
        kind: impl Fn(&AutoencoderKlConfig) -> Kind,
    ) -> Result<Part<AutoencoderKlConfig>, PipelineError> {
        match self {
            Self::Folder(folder) if folder.has_vae() => autoencoder_folder(&folder.part("vae"), device, kind),
            Self::Folder(folder) => {
                Err(PipelineError::NoAutoencoder { model: folder.path().to_path_buf(), looked_for: "vae/" })
            }
            Self::File { path, file } => {
                let none = || PipelineError::NoAutoencoder {
                    model: path.clone(),
                    looked_for: "first_stage_model.*, vae.*",
                };
                let config = file.vae_config().ok_or_else(none)?;
                part(path, file.vae(device, kind(config))?.ok_or_else(none)?)
            }
        }
    }

    /// Every text encoder with its tokenizer, in the order in which their states are joined.
    pub fn text_encoders(
        &self,
        target: Target,
    ) -> Result<Vec<(ClipTokenizer, Part<ClipTextConfig>)>, PipelineError> {
        match self {
            Self::Folder(folder) => {
                let encoder = |(tokenizer, encoder): &(&str, &str)| {
                    let tokenizer = ClipTokenizer::from_folder(&folder.part(tokenizer))?;
                    Ok((tokenizer, folder.network(encoder, target, ClipTextConfig::from_file)?))
                };
                folder.family().text_parts().iter().map(encoder).collect()
            }
            Self::File { path, file } => {
                let Target { device, kind, .. } = target;
                let mut all = vec![(file.tokenizer()?, part(path, file.text_encoder(device, kind)?)?)];
                if let (Some(tokenizer), Some(encoder)) =
                    (file.tokenizer_2()?, file.text_encoder_2(device, kind)?)
                {
                    all.push((tokenizer, part(path, encoder)?));
                }
                Ok(all)
            }
        }
    }

    /// The scheduler's settings and the file that errors about them name.
    pub fn scheduler(&self) -> Result<(SchedulerConfig, PathBuf), PipelineError> {
        match self {
            Self::Folder(folder) => {
                let file = folder.part("scheduler/scheduler_config.json");
                Ok((SchedulerConfig::from_file(&file)?, file))
            }
            Self::File { path, file } => Ok((file.scheduler(), path.clone())),
        }
    }
}

fn part<C>(file: &Path, (config, weights): (C, Weights)) -> Result<Part<C>, PipelineError> {
    Ok(Part { config, weights, file: file.to_path_buf() })
}

/// An autoencoder to be used in the place of a checkpoint's: its folder, or its file in the original layout, whose
/// scale of the latents is that of the checkpoint's family.
pub fn autoencoder(
    path: &Path,
    family: Family,
    device: Device,
    kind: impl Fn(&AutoencoderKlConfig) -> Kind,
) -> Result<Part<AutoencoderKlConfig>, PipelineError> {
    if !path.is_file() {
        return autoencoder_folder(path, device, kind);
    }
    let base = match family {
        Family::StableDiffusion => BaseModel::Sd1,
        Family::StableDiffusionXl => BaseModel::Sdxl,
    };
    let file = AutoencoderFile::open(path, base)?;
    let weights = file.weights(device, kind(file.config()))?;
    part(path, (file.config().clone(), weights))
}

/// The folder of one network: `config.json`, read by `read`, and the weights beside it.
pub(crate) fn network_folder<C>(
    dir: &Path,
    target: Target,
    read: impl Fn(&Path) -> Result<C, ConfigError>,
) -> Result<Part<C>, PipelineError> {
    let file = dir.join("config.json");
    let config = read(&file).map_err(|e| config_error(file.clone(), e))?;
    Ok(Part { config, weights: Weights::open_folder(dir, target.device, target.kind)?, file })
}

/// The folder of an autoencoder.
fn autoencoder_folder(
    dir: &Path,
    device: Device,
    kind: impl Fn(&AutoencoderKlConfig) -> Kind,
) -> Result<Part<AutoencoderKlConfig>, PipelineError> {
    let file = dir.join("config.json");
    let config = AutoencoderKlConfig::from_file(&file).map_err(|e| config_error(file.clone(), e))?;
    let weights = Weights::open_folder(dir, device, kind(&config))?;
    Ok(Part { config, weights, file })
}

/// Names the file where the error does not do it itself.
pub(crate) fn config_error(file: PathBuf, source: ConfigError) -> PipelineError {
    match source {
        ConfigError::Unsupported { .. } => PipelineError::Config { file, source },
        named => PipelineError::ConfigFile(named),
    }
}
