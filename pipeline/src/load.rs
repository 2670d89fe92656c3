//! The parts of a checkpoint, read from disk and held against each other.

use std::path::{Path, PathBuf};

use imagine_contract::ModelInfo;
use imagine_encoders::ClipTextModel;
use imagine_identity::adapters::Adapter;
use imagine_unet::blocks::ModelError;
use imagine_unet::weights::{MappedPages, WeightsError};
use imagine_unet::{AutoencoderKl, AutoencoderKlConfig, ConfigError, UNet2DConditionModel, UNetConfig};
use tch::Kind;

use crate::checkpoint::{Checkpoint, Defaults, Family, Part, Target, autoencoder, config_error};
use crate::device::{device_name, kind_name};
use crate::edit::Inpainting;
use crate::error::PipelineError;
use crate::lone_unet;
use crate::lora::{LoraFile, TextEncoderSlot};
use crate::presets::Preset;
use crate::schedulers::{SchedulerChoice, SchedulerConfig, SchedulerError};
use crate::text_conditioning::{TextConditioner, TextEncoder};

/// A LoRA and how strongly it counts.
pub(crate) struct LoadedLora {
    pub file: LoraFile,
    pub weight: f64,
}

/// What is made otherwise than the checkpoint has it.
#[derive(Clone, Copy, Default)]
pub(crate) struct Changes<'a> {
    /// Merged into the U-Net and attached to it.
    pub adapter: Option<&'a Adapter>,
    /// Merged into the U-Net and the text encoders.
    pub loras: &'a [LoadedLora],
    /// Has to be made for a U-Net like this one.
    pub preset: Option<&'a Preset>,
    /// Folder or file of another autoencoder.
    pub vae: Option<&'a Path>,
    /// Folder or file of another U-Net.
    pub unet: Option<&'a Path>,
}

/// The networks of a checkpoint.
pub(crate) struct Networks {
    pub text: TextConditioner,
    pub unet: UNet2DConditionModel,
    pub vae: AutoencoderKl,
    pub pages: NetworkPages,
}

/// Where in mapped files the networks lie. They work one after the other, so that whichever rests need not be
/// in memory.
pub(crate) struct NetworkPages {
    pub text: Vec<MappedPages>,
    pub unet: MappedPages,
    pub vae: MappedPages,
}

impl NetworkPages {
    /// Looks at the weights that were left unread at the start.
    ///
    /// # Errors
    /// The first tensor with NaN or infinite values.
    pub fn check_finite(&self) -> Result<(), WeightsError> {
        self.text.iter().chain([&self.unet, &self.vae]).try_for_each(MappedPages::check_finite)
    }

    /// The text encoders rest until the next prompt.
    pub fn release_text(&self) {
        self.text.iter().for_each(MappedPages::release);
    }
}

pub(crate) fn model_error(config: PathBuf, error: ModelError) -> PipelineError {
    match error {
        ModelError::Config(source) => config_error(config, source),
        ModelError::Weights(source) => source.into(),
    }
}

impl Networks {
    /// Loads and checks all networks.
    pub fn load(checkpoint: &Checkpoint, changes: &Changes, target: Target) -> Result<Self, PipelineError> {
        let (text, text_pages) = load_text(checkpoint, changes.loras, target)?;
        let (vae, vae_pages) = load_vae(checkpoint, changes.vae, target)?;
        let (unet, unet_pages) = load_unet(checkpoint, changes, target)?;
        let pages = NetworkPages { text: text_pages, unet: unet_pages, vae: vae_pages };
        let networks = Self { text, unet, vae, pages };
        networks.check_widths()?;
        Ok(networks)
    }

    /// How the U-Net takes a mask.
    pub fn inpainting(&self) -> Inpainting {
        inpainting(self.unet.config(), self.vae.config())
    }

    /// The parts must fit each other: vocabularies, widths of text and latents.
    fn check_widths(&self) -> Result<(), PipelineError> {
        let unet = self.unet.config();
        let cross = unet
            .cross_dim()
            .map_err(|source| PipelineError::Config { file: "unet/config.json".into(), source })?;
        for encoder in self.text.encoders() {
            let (words, rows) =
                (encoder.tokenizer().vocab_size() as i64, encoder.model().config().vocab_size);
            if words > rows {
                return Err(mismatch(
                    "tokenizer and text_encoder",
                    "tokens of the vocabulary",
                    words,
                    "vocab_size",
                    rows,
                ));
            }
        }
        let lengths: Vec<i64> = self
            .text
            .encoders()
            .iter()
            .filter_map(|e| e.tokenizer().model_max_length())
            .map(|l| l as i64)
            .collect();
        if let [first, second] = lengths[..]
            && first != second
        {
            let key = "model_max_length";
            return Err(mismatch("tokenizer and tokenizer_2", key, first, key, second));
        }
        let latents = self.vae.config().latent_channels;
        let inputs = match self.inpainting() {
            Inpainting::ByChannels => latents,
            Inpainting::ByBlending => unet.in_channels,
        };
        let mut pairs = vec![
            ("text_encoder and unet", "hidden_size", self.text.width(), "cross_attention_dim", cross),
            ("vae and unet", "latent_channels", latents, "in_channels", inputs),
            ("vae and unet", "latent_channels", latents, "out_channels", unet.out_channels),
        ];
        if let (Some(pooled), Some(sinusoid), Some(all)) = (
            self.text.pooled_width(),
            unet.addition_time_embed_dim,
            unet.projection_class_embeddings_input_dim,
        ) {
            // Six sizes, each in as many numbers, stand behind the pooled text.
            let (left, key) =
                (all - 6 * sinusoid, "projection_class_embeddings_input_dim − 6 · addition_time_embed_dim");
            pairs.push(("text_encoder_2 and unet", "projection_dim", pooled, key, left));
        }
        for (part, first_key, first, second_key, second) in pairs {
            if first != second {
                return Err(mismatch(part, first_key, first, second_key, second));
            }
        }
        Ok(())
    }
}

/// How a U-Net takes a mask: by its number of input channels.
fn inpainting(unet: &UNetConfig, vae: &AutoencoderKlConfig) -> Inpainting {
    if unet.in_channels == 2 * vae.latent_channels + 1 {
        Inpainting::ByChannels
    } else {
        Inpainting::ByBlending
    }
}

/// What a model is, and what it does where a request leaves a choice open, by the configurations of its parts.
pub(crate) fn describe(
    name: String,
    checkpoint: &Checkpoint,
    (unet, vae): (&UNetConfig, &AutoencoderKlConfig),
    defaults: &Defaults,
    scheduler: String,
    target: Target,
) -> ModelInfo {
    let downscale = vae.downscale();
    let side = unet.sample_size.map_or(checkpoint.usual_side(), |cells| cells * downscale) as u32;
    let side = defaults.side.unwrap_or(side);
    ModelInfo {
        name,
        width: side,
        height: side,
        width_per_person: defaults.width_per_person,
        steps: defaults.steps,
        guidance_scale: defaults.guidance_scale,
        scheduler,
        side_multiple: downscale as u32,
        identity: None,
        inpainting: inpainting(unet, vae) == Inpainting::ByChannels,
        device: device_name(target.device),
        dtype: kind_name(target.kind).into(),
    }
}

fn mismatch(part: &str, first_key: &str, first: i64, second_key: &str, second: i64) -> PipelineError {
    PipelineError::Mismatch {
        part: part.into(),
        first_key: first_key.into(),
        first,
        second_key: second_key.into(),
        second,
    }
}

/// The name of a scheduler as requests spell it; the class itself where it is not implemented.
pub(crate) fn scheduler_name(scheduler: &SchedulerConfig) -> Result<String, SchedulerError> {
    match scheduler.kind() {
        Ok(kind) => {
            let karras = scheduler.get_bool("use_karras_sigmas")?.unwrap_or(false);
            Ok(SchedulerChoice { kind, karras: karras && kind.allows_karras() }.to_string())
        }
        // Not implemented, but its settings serve whatever scheduler a request names.
        Err(SchedulerError::Class { class, .. }) if !class.is_empty() => Ok(class),
        Err(error) => Err(error),
    }
}

fn load_text(
    checkpoint: &Checkpoint,
    loras: &[LoadedLora],
    target: Target,
) -> Result<(TextConditioner, Vec<MappedPages>), PipelineError> {
    let parts = checkpoint.text_encoders(target)?;
    for lora in loras {
        lora.file.check_text_encoders(parts.len())?;
    }
    let (mut encoders, mut pages) = (Vec::new(), Vec::new());
    let slots = [TextEncoderSlot::First, TextEncoderSlot::Second];
    for ((tokenizer, Part { config, weights, .. }), slot) in parts.into_iter().zip(slots) {
        let weights = weights.unread();
        for lora in loras {
            lora.file.merge_into_text_encoder(&weights, slot, lora.weight)?;
        }
        let model = ClipTextModel::new(&weights.root(), &config)?;
        weights.finish(&ClipTextModel::IGNORED)?;
        pages.push(weights.pages());
        encoders.push(TextEncoder::new(tokenizer, model));
    }
    Ok((TextConditioner::new(encoders, checkpoint.hearing()), pages))
}

fn load_unet(
    checkpoint: &Checkpoint,
    &Changes { adapter, loras, preset, unet: instead, .. }: &Changes,
    target: Target,
) -> Result<(UNet2DConditionModel, MappedPages), PipelineError> {
    let Part { config, weights, file } = lone_unet::unet(checkpoint, instead, target)?;
    let weights = weights.unread();
    let (key, found) = ("addition_embed_type", config.addition_embed_type.as_deref());
    let wanted = match checkpoint.family() {
        Family::StableDiffusion => None,
        Family::StableDiffusionXl => Some("text_time"),
    };
    if found != wanted {
        let expected = format!("{}, as model_index.json names the pipeline", wanted.unwrap_or("null"));
        let source = ConfigError::unsupported(key, found.unwrap_or("null"), &expected);
        return Err(PipelineError::Config { file, source });
    }
    if let Some(preset) = preset {
        preset.check_base(&config)?;
    }
    if let Some(adapter) = adapter {
        adapter.merge_lora(&weights, &config)?;
    }
    for lora in loras {
        lora.file.merge_into_unet(&weights, &config, lora.weight)?;
    }
    let mut unet = UNet2DConditionModel::new(&weights.root(), &config).map_err(|e| model_error(file, e))?;
    weights.finish(&[])?;
    if let Some(adapter) = adapter {
        adapter.attach(&mut unet)?;
    }
    Ok((unet, weights.pages()))
}

fn load_vae(
    checkpoint: &Checkpoint,
    instead: Option<&Path>,
    target: Target,
) -> Result<(AutoencoderKl, MappedPages), PipelineError> {
    let kind = |config: &AutoencoderKlConfig| vae_kind(checkpoint.family(), config, target.vae);
    let Part { config, weights, file } = match instead {
        Some(path) => autoencoder(path, checkpoint.family(), target.device, kind)?,
        None => checkpoint.vae(target.device, kind)?,
    };
    let weights = weights.unread();
    let vae = AutoencoderKl::new(&weights.root(), &config).map_err(|e| model_error(file, e))?;
    weights.finish(&[])?;
    Ok((vae, weights.pages()))
}

/// SDXL's autoencoder overflows in f16, and says so by `force_upcast`: f32 holds, as bf16 does. Other families'
/// do not overflow, though theirs is on where they leave it out: diffusers asks it of SDXL alone.
fn vae_kind(family: Family, config: &AutoencoderKlConfig, kind: Kind) -> Kind {
    let overflows = family == Family::StableDiffusionXl && config.force_upcast;
    if kind == Kind::Half && overflows { Kind::Float } else { kind }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_autoencoder_is_kept_from_overflowing() {
        let config = |force_upcast| AutoencoderKlConfig { force_upcast, ..AutoencoderKlConfig::default() };
        let xl = |force_upcast, kind| vae_kind(Family::StableDiffusionXl, &config(force_upcast), kind);
        assert_eq!(xl(true, Kind::Half), Kind::Float);
        assert_eq!(xl(false, Kind::Half), Kind::Half);
        for kind in [Kind::Float, Kind::BFloat16] {
            assert_eq!(xl(true, kind), kind);
        }
        assert_eq!(
            vae_kind(Family::StableDiffusion, &config(true), Kind::Half),
            Kind::Half,
            "left out there"
        );
    }
}
