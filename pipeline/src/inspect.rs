//! What one file of weights holds, by its keys and shapes: which part of a model, for which base, how it is named to a
//! run. No weight is read. Whether it is whole says [`crate::fit`].

use std::path::Path;
use std::sync::Arc;

use imagine_identity::adapters::{Adapter, AdapterOptions, PhotoMaker, PhotoMakerVersion};
use imagine_unet::Weights;
pub use imagine_unet::weights::{ReadAll, TensorFiles, TypeShare, has_weight_name};
use tch::{Device, Kind};

use crate::error::PipelineError;
use crate::lora::LoraFile;
use crate::presets::{Base, Preset};
use crate::single_file::{AutoencoderFile, BaseModel, SingleFile, SingleFileOptions, UNetFile, is_ignored};

/// Which part of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilePart {
    /// All parts in one.
    Checkpoint,
    /// Under diffusers' names.
    UNet,
    /// Under the original ones.
    OriginalUNet,
    Autoencoder,
    Lora,
    Adapter,
    PhotoMaker,
    ControlNet,
    ImageEncoder,
    TextEncoder,
}

impl FilePart {
    /// Never one of several files of a network.
    pub fn is_one_file(self) -> bool {
        matches!(self, Self::Checkpoint | Self::Lora | Self::Adapter | Self::PhotoMaker)
    }
}

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Inspected {
    pub part: FilePart,
    /// Of the text that it attends to; of a text encoder its own. `None` where that cannot be told, and where its
    /// shapes say all of its configuration.
    pub width: Option<i64>,
    /// E.g. `a LoRA of rank 4 in kohya layout: 278 layers of the U-Net`
    pub what: String,
    /// The base model that it is or goes with, where that can be told.
    pub base: Option<String>,
    /// The option that names it to a run.
    pub option: Option<&'static str>,
    /// The recipe that belongs to it, by its name.
    pub preset: Option<&'static str>,
}

/// Looks into a file of weights of any format that is read; `files` is that file, open.
///
/// # Errors
/// A file of no part that is known; of a whole checkpoint tensors that are missing or left over; of other parts those
/// without which it cannot be told what they are: with file, key and reason. The rest is found by [`crate::fit::fit`].
pub fn inspect(path: &Path, files: &Arc<TensorFiles>) -> Result<Inspected, PipelineError> {
    let _no_grad = tch::no_grad_guard();
    let found = recognise(path, files)?;
    let preset = match found.option {
        Some("--model") => Preset::of_checkpoint(path),
        Some("--unet") => Preset::of_unet(path),
        Some("--lora") => Preset::of_lora(path),
        _ => None,
    };
    let Found { part, width, what, base, option } = found;
    Ok(Inspected { part, width, what, base, option, preset: preset.map(|preset| preset.name) })
}

/// Reads every tensor of a file but what training programs save beside the weights: OpenCLIP's mask, infinite where
/// nothing is to be seen, and what no part of a checkpoint needs, such as the constants of a noise schedule that ends in
/// pure noise. `go_on` is asked before each, with the bytes of the one before.
pub fn read_all(files: &TensorFiles, go_on: &mut dyn FnMut(u64) -> bool) -> ReadAll {
    files.read_all(&|key| is_ignored(key) || key.ends_with("attn_mask"), go_on)
}

struct Found {
    part: FilePart,
    width: Option<i64>,
    what: String,
    base: Option<String>,
    option: Option<&'static str>,
}

impl Found {
    fn new(part: FilePart, what: impl Into<String>) -> Self {
        let option = match part {
            FilePart::Checkpoint => Some("--model"),
            FilePart::UNet | FilePart::OriginalUNet => Some("--unet"),
            FilePart::Autoencoder => Some("--vae"),
            FilePart::Lora => Some("--lora"),
            FilePart::Adapter | FilePart::PhotoMaker => Some("--adapter"),
            FilePart::ControlNet => Some("--controlnet"),
            FilePart::ImageEncoder => Some("--image-encoder"),
            FilePart::TextEncoder => None,
        };
        Self { part, width: None, what: what.into(), base: None, option }
    }

    fn of_base(self, base: impl Into<String>) -> Self {
        Self { base: Some(base.into()), ..self }
    }

    /// Goes with the base whose text is so wide.
    fn of_width(self, width: Option<i64>) -> Self {
        Self { width, base: width.map(base_of_width), ..self }
    }
}

fn recognise(path: &Path, files: &Arc<TensorFiles>) -> Result<Found, PipelineError> {
    let keys = files.keys();
    let starts = |start: &str| keys.iter().any(|key| key.starts_with(start));
    let holds = |part: &str| keys.iter().any(|key| key.contains(part));
    let has = |key: &str| files.shape(key).is_some();
    if starts("id_encoder.") {
        let weights = PhotoMaker::weights_of(path, Device::Cpu, Kind::Float)?.outline();
        let version = match PhotoMaker::of_weights(weights, path, None)?.version() {
            PhotoMakerVersion::V1 => "1",
            PhotoMakerVersion::V2 => "2",
        };
        let what = format!("a PhotoMaker of version {version}");
        return Ok(Found::new(FilePart::PhotoMaker, what).of_base(Base::Sdxl.name()));
    }
    if starts("image_proj.") || starts("ip_adapter.") {
        let weights = Weights::from_files(files, Device::Cpu, Kind::Float).outline();
        let adapter = Adapter::of_weights(weights, path, &AdapterOptions::default())?;
        let what = format!("an identity adapter ({})", adapter.kind().name());
        return Ok(Found::new(FilePart::Adapter, what).of_width(Some(adapter.cross_dim())));
    }
    if ["lora_", ".lora", "hada_w", "lokr_w"].iter().any(|part| holds(part)) {
        let lora = LoraFile::open(path)?.describe();
        return Ok(Found::new(FilePart::Lora, format!("a {lora}")).of_width(lora_width(files, &keys)));
    }
    let text = ["cond_stage_model.", "conditioner."].iter().any(|start| starts(start));
    let two_parts = starts("model.diffusion_model.") && starts("first_stage_model.");
    if text || two_parts {
        let file = SingleFile::of_files(Arc::clone(files), &SingleFileOptions::default())?;
        let kind = *file.kind();
        let vae =
            if file.vae_config().is_some() { "" } else { ", without an autoencoder: it needs one by --vae" };
        let base = match kind.base {
            BaseModel::Sd1 => Base::Sd15,
            BaseModel::Sd2 => Base::Sd21,
            BaseModel::Sdxl => Base::Sdxl,
        };
        let what = format!("a whole checkpoint, {kind}{vae}");
        return Ok(Found::new(FilePart::Checkpoint, what).of_base(base.name()));
    }
    if starts("controlnet_cond_embedding.") {
        let what = "a ControlNet; its folder with config.json is named";
        let width = cross_width(files, &keys, ".attn2.to_k.weight");
        return Ok(Found::new(FilePart::ControlNet, what).of_width(width));
    }
    if has("conv_in.weight") && has("time_embedding.linear_1.weight") {
        return Ok(unet(files, &keys, "conv_in.weight", FilePart::UNet));
    }
    if let Some(prefix) = UNetFile::prefix(files) {
        return Ok(unet(files, &keys, &format!("{prefix}input_blocks.0.0.weight"), FilePart::OriginalUNet));
    }
    if ["", "first_stage_model.", "vae."].iter().any(|start| has(&format!("{start}decoder.conv_in.weight"))) {
        AutoencoderFile::of_files(Arc::clone(files), BaseModel::Sd1)?;
        let names = if starts("encoder.down_blocks.") { "diffusers'" } else { "the original" };
        let base = "SD 1.5, SD 2.1 or SDXL, whose have the same shapes";
        let what = format!("an autoencoder under {names} names");
        return Ok(Found::new(FilePart::Autoencoder, what).of_base(base));
    }
    // As transformers 5 saves encoders without a projection, the names start a step further in.
    if starts("vision_model.") || starts("visual.") || has("embeddings.class_embedding") {
        return Ok(Found::new(FilePart::ImageEncoder, "an image encoder of CLIP"));
    }
    let words = ["text_model.", ""].map(|start| format!("{start}embeddings.token_embedding.weight"));
    if let Some(&[_, width]) = words.iter().find_map(|key| files.shape(key)) {
        let what = format!("a text encoder of CLIP, {width} wide: a part of a model's folder");
        return Ok(Found { width: Some(width), ..Found::new(FilePart::TextEncoder, what) });
    }
    // Its own error says which other model it is, or what is missing.
    if starts("model.diffusion_model.") || starts("first_stage_model.") || starts("double_blocks.") {
        SingleFile::of_files(Arc::clone(files), &SingleFileOptions::default())?;
    }
    let first = keys.first().cloned().unwrap_or_default();
    Err(PipelineError::UnknownFile { file: path.to_path_buf(), tensors: keys.len(), first })
}

/// A U-Net whose first convolution is at `first`.
fn unet(files: &TensorFiles, keys: &[String], first: &str, part: FilePart) -> Found {
    let inputs = files.shape(first).and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let names = if part == FilePart::UNet { "under diffusers' names" } else { "under the original names" };
    let guided = keys.iter().any(|key| key.ends_with("cond_proj.weight"));
    let more = match (inputs, guided) {
        (9, _) => ", for inpainting",
        (_, true) => ", which takes the guidance as a number",
        _ => "",
    };
    let width = cross_width(files, keys, ".attn2.to_k.weight");
    Found::new(part, format!("a U-Net alone {names}{more}")).of_width(width)
}

/// The second dimension of the first tensor whose key ends so: the width of the text that it attends to.
fn cross_width(files: &TensorFiles, keys: &[String], end: &str) -> Option<i64> {
    let key = keys.iter().find(|key| key.ends_with(end))?;
    files.shape(key)?.get(1).copied()
}

/// The base whose text is so wide.
fn base_of_width(width: i64) -> String {
    match Base::of_width(width) {
        Some(base) => base.name().into(),
        None if width == 1280 => "the SDXL refiner".into(),
        None => format!("a model of its own, whose text is {width} wide"),
    }
}

/// Width of a LoRA's text, by what its layers of cross-attention take in; none where it changes none.
fn lora_width(files: &TensorFiles, keys: &[String]) -> Option<i64> {
    let down = ["lora_down", "lora_A", "lora.down", "lora_linear_layer.down"];
    let attends = |key: &&String| {
        (key.contains("attn2_to_k") || key.contains("attn2.to_k") || key.contains("attn2.processor.to_k"))
            && down.iter().any(|part| key.contains(part))
    };
    let key = keys.iter().find(attends)?;
    files.shape(key)?.get(1).copied()
}
