//! A U-Net that is put in the place of a checkpoint's, as few-step models are published: a file of weights under
//! diffusers' names (`sdxl_lightning_4step_unet.safetensors`) or the original ones, or a folder with its own
//! `config.json`.

use std::path::Path;
use std::sync::Arc;

use imagine_unet::config::PerBlock;
use imagine_unet::weights::TensorFiles;
use imagine_unet::{UNetConfig, Weights};

use crate::checkpoint::{Checkpoint, Part, Target, network_folder};
use crate::error::PipelineError;
use crate::presets::Base;
use crate::schedulers::SchedulerConfig;
use crate::single_file::{self, BaseModel, UNetFile};

/// The U-Net to load: the one at `instead`, else the checkpoint's own.
///
/// # Errors
/// What is there is no U-Net, or one for another base model; with the file and the reason.
pub(crate) fn unet(
    checkpoint: &Checkpoint,
    instead: Option<&Path>,
    target: Target,
) -> Result<Part<UNetConfig>, PipelineError> {
    let Some(path) = instead else { return checkpoint.unet(target) };
    if path.is_dir() {
        let inner = path.join("unet");
        let dir = if inner.join("config.json").is_file() { &inner } else { path };
        return network_folder(dir, target, UNetConfig::from_file);
    }
    // The file says nothing of its configuration: it is that of the model it was made from.
    let base = checkpoint.unet(target)?.config;
    let files = TensorFiles::open(&[path.to_path_buf()])?;
    refuse_others(path, &files)?;
    let file = path.to_path_buf();
    let original = UNetFile::prefix(&files);
    let config = fitted(path, &base, telling(path, &base, &files, original)?)?;
    let weights = match original {
        Some(prefix) => UNetFile::new(files, prefix, family(&base), pooled_width(&base))?
            .weights(target.device, target.kind)?,
        None => Weights::from_files(&Arc::new(files), target.device, target.kind),
    };
    Ok(Part { config, weights, file })
}

/// Tells the scheduler what the markers of a file under the original names say of its training.
pub(crate) fn tell(path: &Path, scheduler: &mut SchedulerConfig) -> Result<(), PipelineError> {
    if path.is_file() {
        let files = TensorFiles::open(&[path.to_path_buf()])?;
        if UNetFile::prefix(&files).is_some() {
            single_file::tell(&files, scheduler);
        }
    }
    Ok(())
}

/// Other kinds of file, by the start of a key that only they have.
const OTHERS: [(&[&str], &str); 3] = [
    (
        &["first_stage_model.", "cond_stage_model.", "conditioner.", "vae."],
        "it is a whole checkpoint: name it with --model",
    ),
    (
        &["lora_", "unet.", "base_model.", "text_encoder.", "diffusion_model."],
        "it is a LoRA: name it with --lora",
    ),
    (&["image_proj.", "ip_adapter.", "id_encoder."], "it is an adapter: name it with --adapter"),
];

fn refusal(file: &Path, reason: impl Into<String>) -> PipelineError {
    PipelineError::LoneUnet { file: file.to_path_buf(), reason: reason.into() }
}

fn refuse_others(file: &Path, files: &TensorFiles) -> Result<(), PipelineError> {
    let keys = files.keys();
    let has = |start: &&str| keys.iter().any(|key| key.starts_with(start));
    match OTHERS.iter().find(|(starts, _)| starts.iter().any(has)) {
        Some((_, reason)) => Err(refusal(file, *reason)),
        None => Ok(()),
    }
}

/// The family that a file in the original layout is read as.
fn family(base: &UNetConfig) -> BaseModel {
    match (Base::of(base), &base.addition_embed_type) {
        (_, Some(_)) => BaseModel::Sdxl,
        (Ok(Some(Base::Sd21)), None) => BaseModel::Sd2,
        _ => BaseModel::Sd1,
    }
}

/// Width of SDXL's pooled text: six sizes, each in as many numbers, stand behind it.
fn pooled_width(base: &UNetConfig) -> Option<i64> {
    Some(base.projection_class_embeddings_input_dim? - 6 * base.addition_time_embed_dim?)
}

/// What the shapes of a file tell of its configuration; `original` is the start of its keys where they are not
/// diffusers'.
fn telling(
    file: &Path,
    base: &UNetConfig,
    files: &TensorFiles,
    original: Option<&str>,
) -> Result<UNetConfig, PipelineError> {
    let [conv_in, added, guidance] = match original {
        Some(prefix) => ["input_blocks.0.0.weight", "label_emb.0.0.weight", "time_embed.cond_proj.weight"]
            .map(|key| format!("{prefix}{key}")),
        None => ["conv_in.weight", "add_embedding.linear_1.weight", "time_embedding.cond_proj.weight"]
            .map(String::from),
    };
    let dim = |key: &str, axis: usize| files.shape(key).and_then(|shape| shape.get(axis).copied());
    let (Some(first), Some(inputs)) = (dim(&conv_in, 0), dim(&conv_in, 1)) else {
        let reason = "it holds no U-Net, neither under diffusers' names (conv_in.weight, down_blocks.*) nor under the \
                      original ones (input_blocks.*)";
        return Err(refusal(file, reason));
    };
    let keys = files.keys();
    let cross = keys.iter().find(|key| key.ends_with(".attn2.to_k.weight")).and_then(|key| dim(key, 1));
    let mut told = base.clone();
    if let Some(width) = told.block_out_channels.first_mut() {
        *width = first;
    }
    if let Some(cross) = cross {
        told.cross_attention_dim = PerBlock::All(cross);
    }
    told.addition_embed_type = dim(&added, 1).map(|_| "text_time".into());
    told.in_channels = inputs;
    told.time_cond_proj_dim = dim(&guidance, 1);
    Ok(told)
}

/// The configuration of the base model for a file of which its shapes `tell` so much: what they share must be equal.
fn fitted(file: &Path, base: &UNetConfig, told: UNetConfig) -> Result<UNetConfig, PipelineError> {
    let cross = |config: &UNetConfig| config.cross_dim().unwrap_or(0);
    let name = |config: &UNetConfig| {
        let with = if config.addition_embed_type.is_some() { "with" } else { "without" };
        match Base::of(config) {
            Ok(Some(known)) => known.name().to_string(),
            _ => format!("a text {} wide, {with} sizes beside it", cross(config)),
        }
    };
    if cross(&told) != cross(base) || told.addition_embed_type != base.addition_embed_type {
        let reason = format!("it was made for {}, this model is {}", name(&told), name(base));
        return Err(refusal(file, reason));
    }
    if told.first_channels() != base.first_channels() {
        let (found, wanted) = (told.first_channels(), base.first_channels());
        return Err(refusal(
            file,
            format!("its first layer has {found} channels, this model's has {wanted}"),
        ));
    }
    Ok(UNetConfig {
        // One for inpainting may stand over a model that is none, and one that takes the guidance over one that
        // does not.
        in_channels: told.in_channels,
        time_cond_proj_dim: told.time_cond_proj_dim,
        ..base.clone()
    })
}
