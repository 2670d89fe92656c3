//! What one file of weights holds, by its keys and shapes: which part of a model, for which base, how it is named to a
//! run. No weight is read, but those of an adapter and a PhotoMaker, which are loaded to tell whether they are whole.

use std::path::Path;
use std::sync::Arc;

use imagine_identity::adapters::{Adapter, AdapterOptions, PhotoMaker, PhotoMakerVersion};
use imagine_unet::AutoencoderKl;
pub use imagine_unet::weights::{ReadAll, TensorFiles, TypeShare, has_weight_name};
use tch::{Device, Kind};

use crate::error::PipelineError;
use crate::load::model_error;
use crate::lora::LoraFile;
use crate::presets::{Base, Preset};
use crate::single_file::{AutoencoderFile, BaseModel, SingleFile, SingleFileOptions, UNetFile, is_ignored};

/// What a file holds.
#[derive(Clone, Debug)]
pub struct Inspected {
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
/// A file of no part that is known; of a whole checkpoint tensors that are missing, left over or of a wrong shape; of
/// other parts those without which it cannot be told what they are: with file, key and reason. The rest is found when
/// a part is loaded, an autoencoder by [`build`].
pub fn inspect(path: &Path, files: &Arc<TensorFiles>) -> Result<Inspected, PipelineError> {
    let _no_grad = tch::no_grad_guard();
    let found = recognise(path, files)?;
    let preset = match found.option {
        Some("--model") => Preset::of_checkpoint(path),
        Some("--unet") => Preset::of_unet(path),
        Some("--lora") => Preset::of_lora(path),
        _ => None,
    };
    let Found { what, base, option } = found;
    Ok(Inspected { what, base, option, preset: preset.map(|preset| preset.name) })
}

/// Builds what was found, as a run would, if that is an autoencoder: its shapes say all of its configuration, where the
/// other parts need that of a model.
///
/// # Errors
/// Tensors that are missing, of a wrong shape or, under diffusers' names, left over; with file and key.
pub fn build(found: &Inspected, files: &Arc<TensorFiles>) -> Result<(), PipelineError> {
    if found.option != Some("--vae") {
        return Ok(());
    }
    let _no_grad = tch::no_grad_guard();
    let file = AutoencoderFile::of_files(Arc::clone(files), BaseModel::Sd1)?;
    let weights = file.weights(Device::Cpu, Kind::Float)?.unread();
    AutoencoderKl::new(&weights.root(), file.config()).map_err(|e| model_error(files.path(), e))?;
    Ok(weights.finish(&[])?)
}

/// Reads every tensor of a file but what training programs save beside the weights: OpenCLIP's mask, infinite where
/// nothing is to be seen, and what no part of a checkpoint needs, such as the constants of a noise schedule that ends in
/// pure noise. `go_on` is asked before each, with the bytes of the one before.
pub fn read_all(files: &TensorFiles, go_on: &mut dyn FnMut(u64) -> bool) -> ReadAll {
    files.read_all(&|key| is_ignored(key) || key.ends_with("attn_mask"), go_on)
}

struct Found {
    what: String,
    base: Option<String>,
    option: Option<&'static str>,
}

impl Found {
    fn new(what: impl Into<String>, base: Option<String>, option: &'static str) -> Self {
        Self { what: what.into(), base, option: Some(option) }
    }
}

fn recognise(path: &Path, files: &Arc<TensorFiles>) -> Result<Found, PipelineError> {
    let keys = files.keys();
    let starts = |start: &str| keys.iter().any(|key| key.starts_with(start));
    let holds = |part: &str| keys.iter().any(|key| key.contains(part));
    let has = |key: &str| files.shape(key).is_some();
    if starts("id_encoder.") {
        let maker = PhotoMaker::open(path, None, Device::Cpu, Kind::Float)?;
        let version = match maker.version() {
            PhotoMakerVersion::V1 => "1",
            PhotoMakerVersion::V2 => "2",
        };
        return Ok(Found::new(
            format!("a PhotoMaker of version {version}"),
            Some(Base::Sdxl.name().into()),
            "--adapter",
        ));
    }
    if starts("image_proj.") || starts("ip_adapter.") {
        let adapter = Adapter::open(path, &AdapterOptions::default(), Device::Cpu, Kind::Float)?;
        let base = base_of_width(adapter.cross_dim());
        return Ok(Found::new(
            format!("an identity adapter ({})", adapter.kind().name()),
            Some(base),
            "--adapter",
        ));
    }
    if ["lora_", ".lora", "hada_w", "lokr_w"].iter().any(|part| holds(part)) {
        let lora = LoraFile::open(path)?.describe();
        return Ok(Found::new(format!("a {lora}"), lora_base(files, &keys), "--lora"));
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
        return Ok(Found::new(
            format!("a whole checkpoint, {kind}{vae}"),
            Some(base.name().into()),
            "--model",
        ));
    }
    if starts("controlnet_cond_embedding.") {
        let base = cross_width(files, &keys, ".attn2.to_k.weight").map(base_of_width);
        return Ok(Found::new("a ControlNet; its folder with config.json is named", base, "--controlnet"));
    }
    if has("conv_in.weight") && has("time_embedding.linear_1.weight") {
        return Ok(unet(files, &keys, "conv_in.weight", "under diffusers' names"));
    }
    if let Some(prefix) = UNetFile::prefix(files) {
        return Ok(unet(
            files,
            &keys,
            &format!("{prefix}input_blocks.0.0.weight"),
            "under the original names",
        ));
    }
    if ["", "first_stage_model.", "vae."].iter().any(|start| has(&format!("{start}decoder.conv_in.weight"))) {
        AutoencoderFile::of_files(Arc::clone(files), BaseModel::Sd1)?;
        let names = if starts("encoder.down_blocks.") { "diffusers'" } else { "the original" };
        let base = "SD 1.5, SD 2.1 or SDXL, whose have the same shapes";
        return Ok(Found::new(format!("an autoencoder under {names} names"), Some(base.into()), "--vae"));
    }
    if starts("vision_model.") || starts("visual.") {
        return Ok(Found::new("an image encoder of CLIP", None, "--image-encoder"));
    }
    if let Some(&[_, width]) = files.shape("text_model.embeddings.token_embedding.weight") {
        let what = format!("a text encoder of CLIP, {width} wide: a part of a model's folder");
        return Ok(Found { what, base: None, option: None });
    }
    // Its own error says which other model it is, or what is missing.
    if starts("model.diffusion_model.") || starts("first_stage_model.") || starts("double_blocks.") {
        SingleFile::of_files(Arc::clone(files), &SingleFileOptions::default())?;
    }
    let first = keys.first().cloned().unwrap_or_default();
    Err(PipelineError::UnknownFile { file: path.to_path_buf(), tensors: keys.len(), first })
}

/// A U-Net whose first convolution is at `first`.
fn unet(files: &TensorFiles, keys: &[String], first: &str, names: &str) -> Found {
    let inputs = files.shape(first).and_then(|shape| shape.get(1).copied()).unwrap_or(0);
    let base = cross_width(files, keys, ".attn2.to_k.weight").map(base_of_width);
    let guided = keys.iter().any(|key| key.ends_with("cond_proj.weight"));
    let more = match (inputs, guided) {
        (9, _) => ", for inpainting",
        (_, true) => ", which takes the guidance as a number",
        _ => "",
    };
    Found::new(format!("a U-Net alone {names}{more}"), base, "--unet")
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

/// The base of a LoRA, by what its layers of cross-attention take in; none where it changes none.
fn lora_base(files: &TensorFiles, keys: &[String]) -> Option<String> {
    let down = ["lora_down", "lora_A", "lora.down", "lora_linear_layer.down"];
    let attends = |key: &&String| {
        (key.contains("attn2_to_k") || key.contains("attn2.to_k") || key.contains("attn2.processor.to_k"))
            && down.iter().any(|part| key.contains(part))
    };
    let key = keys.iter().find(attends)?;
    files.shape(key)?.get(1).copied().map(base_of_width)
}
