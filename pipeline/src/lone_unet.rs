//! A U-Net that is put in the place of a checkpoint's, as few-step models are published: a file of weights under
//! diffusers' names (`sdxl_lightning_4step_unet.safetensors`), or a folder with its own `config.json`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use imagine_unet::config::PerBlock;
use imagine_unet::weights::TensorFiles;
use imagine_unet::{UNetConfig, Weights};

use crate::checkpoint::{Checkpoint, Part, Target, network_folder};
use crate::error::PipelineError;
use crate::presets::Base;

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
    let files = Arc::new(TensorFiles::open(&[path.to_path_buf()])?);
    let config = fitted(path, &base, &files)?;
    let weights = Weights::from_files(&files, target.device, target.kind);
    Ok(Part { config, weights, file: path.to_path_buf() })
}

/// Other kinds of file, by the start of a key that only they have.
const OTHERS: [(&[&str], &str); 4] = [
    (
        &["first_stage_model.", "cond_stage_model.", "conditioner.", "vae."],
        "it is a whole checkpoint: name it with --model",
    ),
    (
        &["model.diffusion_model.", "input_blocks.", "diffusion_model."],
        "its names are those of the original programs; only diffusers' names are read of a U-Net alone",
    ),
    (&["lora_", "unet.", "base_model.", "text_encoder."], "it is a LoRA: name it with --lora"),
    (&["image_proj.", "ip_adapter.", "id_encoder."], "it is an adapter: name it with --adapter"),
];

/// The configuration of the base model for this file, whose telling shapes must be those of the base.
fn fitted(path: &Path, base: &UNetConfig, files: &TensorFiles) -> Result<UNetConfig, PipelineError> {
    let refuse = |reason: String| PipelineError::LoneUnet { file: path.to_path_buf(), reason };
    let keys = files.keys();
    let other = OTHERS
        .iter()
        .find(|(starts, _)| keys.iter().any(|key| starts.iter().any(|start| key.starts_with(start))));
    if let Some((_, reason)) = other {
        return Err(refuse((*reason).to_string()));
    }
    let dim = |key: &str, axis: usize| files.shape(key).and_then(|shape| shape.get(axis).copied());
    let Some(first) = dim("conv_in.weight", 0).filter(|_| files.shape("conv_out.weight").is_some()) else {
        return Err(refuse(
            "it holds no U-Net under diffusers' names (conv_in.weight, down_blocks.*)".into(),
        ));
    };
    let cross = keys.iter().find(|key| key.ends_with(".attn2.to_k.weight")).and_then(|key| dim(key, 1));
    let own = UNetConfig {
        cross_attention_dim: PerBlock::All(cross.unwrap_or(0)),
        addition_embed_type: dim("add_embedding.linear_1.weight", 1).map(|_| "text_time".into()),
        ..base.clone()
    };
    let name = |config: &UNetConfig| {
        let width = config.cross_dim().unwrap_or(0);
        let known = Base::of(config).ok().flatten().map(Base::name);
        known.map_or_else(
            || format!("a text condition {width} wide"),
            |known| format!("{known} ({width} wide)"),
        )
    };
    let config_error = |source| PipelineError::Config { file: PathBuf::from("unet/config.json"), source };
    let wanted = base.cross_dim().map_err(config_error)?;
    if cross.is_some_and(|cross| cross != wanted) || own.addition_embed_type != base.addition_embed_type {
        return Err(refuse(format!("it was made for {}, this model is {}", name(&own), name(base))));
    }
    if first != base.first_channels() {
        let wanted = base.first_channels();
        return Err(refuse(format!("its conv_in.weight has {first} channels, this model's has {wanted}")));
    }
    Ok(UNetConfig {
        // One for inpainting may stand over a model that is none, and one that takes the guidance over one that
        // does not.
        in_channels: dim("conv_in.weight", 1).unwrap_or(base.in_channels),
        time_cond_proj_dim: dim("time_embedding.cond_proj.weight", 1),
        ..base.clone()
    })
}
