//! Checkpoints in one file, in the layout of the original programs: `model.diffusion_model.*` (U-Net),
//! `first_stage_model.*` (autoencoder), `cond_stage_model.*` or `conditioner.embedders.*` (text encoders).
//!
//! The kind is inferred from keys and shapes, the configurations from the shapes, and the weights are read
//! in place under the names that the models ask for; nothing is converted or copied beforehand. Every key
//! of the file must belong to a part or to a short list of known leftovers.

mod autoencoder;
mod beside;
mod error;
mod infer;
mod layout;
mod text_keys;
mod unet;
mod unet_keys;
mod vae_keys;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imagine_encoders::tokenizer::END_OF_TEXT;
use imagine_encoders::{ClipTextConfig, ClipTokenizer, Vocabulary};
use imagine_unet::weights::{KeyMap, TensorFiles};
use imagine_unet::{AutoencoderKlConfig, UNetConfig, Weights, WeightsError};
use tch::{Device, Kind};

use crate::schedulers::SchedulerConfig;

pub use autoencoder::AutoencoderFile;
pub use error::SingleFileError;
pub use infer::{BaseModel, Prediction, PredictionSource, SingleFileKind};
pub(crate) use infer::{is_ignored, tell};
use layout::Layout;
pub use unet::UNetFile;

/// What the file itself cannot say.
#[derive(Clone, Debug, Default)]
pub struct SingleFileOptions {
    /// What the U-Net predicts; inferred as [`PredictionSource`] says if left out.
    pub prediction: Option<Prediction>,
    /// Folder of the tokenizer, for text encoders with another vocabulary than CLIP's. It may hold
    /// `tokenizer` and, for SDXL, `tokenizer_2`, or the files themselves.
    pub tokenizer: Option<PathBuf>,
}

type Part<C> = (C, KeyMap);

/// A checkpoint in one file, mapped into memory.
///
/// ```no_run,standalone_crate
/// use imagine_pipeline::single_file::{SingleFile, SingleFileOptions};
/// use imagine_unet::{AutoencoderKl, UNet2DConditionModel};
/// use tch::{Device, Kind};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let file = SingleFile::open("model.safetensors".as_ref(), &SingleFileOptions::default())?;
/// println!("{}", file.kind()); // e.g. "Stable Diffusion 1.x"
/// let (config, weights) = file.unet(Device::Cpu, Kind::Float)?;
/// // LoRAs are merged here, under diffusers' names.
/// let unet = UNet2DConditionModel::new(&weights.root(), &config)?;
/// weights.finish(&[])?;
/// if let Some((config, weights)) = file.vae(Device::Cpu, Kind::Float)? {
///     let vae = AutoencoderKl::new(&weights.root(), &config)?;
///     weights.finish(&[])?;
/// }
/// let (scheduler, tokenizer) = (file.scheduler(), file.tokenizer()?);
/// # Ok(())
/// # }
/// ```
pub struct SingleFile {
    layout: Layout,
    kind: SingleFileKind,
    options: SingleFileOptions,
    unet: Part<UNetConfig>,
    vae: Option<Part<AutoencoderKlConfig>>,
    text_encoder: Part<ClipTextConfig>,
    text_encoder_2: Option<Part<ClipTextConfig>>,
}

impl SingleFile {
    /// Opens a `.safetensors` or `.ckpt` file. The errors say which other kind of file it is, or which key
    /// or shape is at fault.
    pub fn open(file: &Path, options: &SingleFileOptions) -> Result<Self, SingleFileError> {
        Self::of_files(TensorFiles::open(&[file.to_path_buf()])?, options)
    }

    /// The same of a file that is open already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_files(
        files: impl Into<Arc<TensorFiles>>,
        options: &SingleFileOptions,
    ) -> Result<Self, SingleFileError> {
        let layout = Layout::new(files);
        let kind = SingleFileKind::infer(&layout, options.prediction)?;
        let (text_encoder, text_encoder_2) = match kind.base {
            BaseModel::Sd1 => (text_keys::clip(&layout, text_keys::SD1)?, None),
            BaseModel::Sd2 => (text_keys::open_clip_penultimate(&layout, text_keys::SD2)?, None),
            BaseModel::Sdxl => (
                text_keys::clip(&layout, text_keys::SDXL_1)?,
                Some(text_keys::open_clip_with_projection(&layout, text_keys::SDXL_2)?),
            ),
        };
        let pooled = text_encoder_2.as_ref().and_then(|(config, _)| config.projection_dim);
        let unet = unet_keys::read(&layout, &kind, pooled)?;
        let vae = vae_keys::read(&layout, &kind)?;
        let options = options.clone();
        let opened = Self { layout, kind, options, unet, vae, text_encoder, text_encoder_2 };
        opened.check_keys()?;
        Ok(opened)
    }

    /// Every key of the parts must be in the file, and every key of the file in a part or known to be left
    /// over.
    fn check_keys(&self) -> Result<(), SingleFileError> {
        let mut maps = vec![&self.unet.1, &self.text_encoder.1];
        maps.extend(self.vae.as_ref().map(|(_, map)| map));
        maps.extend(self.text_encoder_2.as_ref().map(|(_, map)| map));
        let mut used = HashSet::with_capacity(self.layout.keys.len());
        for source in maps.into_iter().flat_map(KeyMap::values) {
            if !self.layout.has(&source.stored) {
                let key = source.stored.clone();
                return Err(WeightsError::Missing { file: self.layout.file(), key }.into());
            }
            used.insert(source.stored.as_str());
        }
        let is_known = |key: &str| {
            infer::is_ignored(key) || self.kind.base == BaseModel::Sd2 && infer::is_unused_open_clip(key)
        };
        let left: Vec<&String> =
            self.layout.keys.iter().filter(|key| !used.contains(key.as_str()) && !is_known(key)).collect();
        match left.first() {
            None => Ok(()),
            Some(first) => Err(SingleFileError::Leftover {
                file: self.layout.file(),
                count: left.len(),
                first: first.to_string(),
                kind: self.kind.to_string(),
            }),
        }
    }

    /// What the file holds.
    pub fn kind(&self) -> &SingleFileKind {
        &self.kind
    }

    fn part<C: Clone>(
        &self,
        (config, map): &Part<C>,
        device: Device,
        kind: Kind,
    ) -> Result<(C, Weights), SingleFileError> {
        Ok((config.clone(), Weights::remapped(&self.layout.files, map, device, kind)?))
    }

    /// The U-Net, under diffusers' names.
    pub fn unet(&self, device: Device, kind: Kind) -> Result<(UNetConfig, Weights), SingleFileError> {
        self.part(&self.unet, device, kind)
    }

    /// The autoencoder, under diffusers' names; none where the file was published without one. Half precision
    /// overflows in some; see `force_upcast`.
    pub fn vae(
        &self,
        device: Device,
        kind: Kind,
    ) -> Result<Option<(AutoencoderKlConfig, Weights)>, SingleFileError> {
        self.vae.as_ref().map(|part| self.part(part, device, kind)).transpose()
    }

    pub fn vae_config(&self) -> Option<&AutoencoderKlConfig> {
        self.vae.as_ref().map(|(config, _)| config)
    }

    /// The (first) text encoder, under transformers' names.
    pub fn text_encoder(
        &self,
        device: Device,
        kind: Kind,
    ) -> Result<(ClipTextConfig, Weights), SingleFileError> {
        self.part(&self.text_encoder, device, kind)
    }

    /// SDXL's second text encoder, with its projection.
    pub fn text_encoder_2(
        &self,
        device: Device,
        kind: Kind,
    ) -> Result<Option<(ClipTextConfig, Weights)>, SingleFileError> {
        self.text_encoder_2.as_ref().map(|part| self.part(part, device, kind)).transpose()
    }

    /// The scheduler of the published folder of this kind.
    pub fn scheduler(&self) -> SchedulerConfig {
        self.kind.scheduler()
    }

    /// The tokenizer of the first text encoder: that of the options' folder, else CLIP's own.
    pub fn tokenizer(&self) -> Result<ClipTokenizer, SingleFileError> {
        // OpenAI's models pad with the end token, OpenCLIP's with the first of the vocabulary.
        let pad = if self.kind.base == BaseModel::Sd2 { "!" } else { END_OF_TEXT };
        self.make_tokenizer("tokenizer", &self.text_encoder.0, pad)
    }

    /// The tokenizer of SDXL's second text encoder.
    pub fn tokenizer_2(&self) -> Result<Option<ClipTokenizer>, SingleFileError> {
        let config = self.text_encoder_2.as_ref().map(|(config, _)| config);
        config.map(|config| self.make_tokenizer("tokenizer_2", config, "!")).transpose()
    }

    fn make_tokenizer(
        &self,
        name: &str,
        config: &ClipTextConfig,
        pad: &str,
    ) -> Result<ClipTokenizer, SingleFileError> {
        let length = config.max_position_embeddings.max(0) as usize;
        if let Some(folder) = &self.options.tokenizer {
            let inner = [name, "tokenizer"].map(|name| folder.join(name)).into_iter().find(|f| f.is_dir());
            let tokenizer = ClipTokenizer::from_folder(inner.as_ref().unwrap_or(folder))?;
            return Ok(match tokenizer.model_max_length() {
                Some(own) if own <= length => tokenizer,
                _ => tokenizer.with_model_max_length(length),
            });
        }
        let vocabulary = Vocabulary::clip()?;
        if config.vocab_size != vocabulary.tokens.len() as i64 {
            let (file, found) = (self.layout.file(), config.vocab_size);
            return Err(SingleFileError::OtherVocabulary { file, found });
        }
        Ok(ClipTokenizer::from_vocabulary(&vocabulary, pad, length)?)
    }
}
