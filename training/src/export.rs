//! The checkpoint folder: diffusers format, and the adapter of the identity card beside it.

use std::collections::BTreeMap;
use std::path::Path;

use imagine_unet::Weights;
use tch::{Kind, Tensor};

use crate::error::TrainingError;
use crate::files::{copy_folder, read_tensors, write_json, write_tensors};
use crate::recipe;

/// The adapter's file in the checkpoint folder.
pub const ADAPTER_FILE: &str = "ip-adapter-card_starter.safetensors";

pub const UNET_FILE: &str = "unet/diffusion_pytorch_model.safetensors";
pub const TEXT_FILE: &str = "text_encoder/model.safetensors";

const UNET: &str = "unet/";
const TEXT: &str = "text_encoder/";
const ADAPTER: &str = "adapter/";

/// All leaves under one roof, for one optimiser.
pub fn joined(unet: &Weights, text: &Weights, adapter: &Weights) -> BTreeMap<String, Tensor> {
    let mut all = BTreeMap::new();
    for (prefix, weights) in [(UNET, unet), (TEXT, text), (ADAPTER, adapter)] {
        all.extend(weights.parameters().into_iter().map(|(k, t)| (format!("{prefix}{k}"), t)));
    }
    all
}

/// The weights of a checkpoint folder by the keys of [`joined`].
pub fn read_checkpoint(folder: &Path) -> Result<BTreeMap<String, Tensor>, TrainingError> {
    let mut all = BTreeMap::new();
    for (prefix, file) in [(UNET, UNET_FILE), (TEXT, TEXT_FILE), (ADAPTER, ADAPTER_FILE)] {
        let tensors = read_tensors(&folder.join(file))?;
        all.extend(tensors.into_iter().map(|(key, tensor)| (format!("{prefix}{key}"), tensor)));
    }
    Ok(all)
}

/// Gives a checkpoint folder what the U-Net's training does not change: autoencoder, tokenizer, vocabulary.
pub fn copy_unlearnt(from: &Path, to: &Path) -> Result<(), TrainingError> {
    for part in ["vae", "tokenizer"] {
        copy_folder(&from.join(part), &to.join(part))?;
    }
    let file = from.join("vocabulary.json");
    std::fs::copy(&file, to.join("vocabulary.json")).map_err(TrainingError::io(&file))?;
    Ok(())
}

/// Writes weights by the keys of [`joined`] in f16 and every configuration file; `vae/` and `tokenizer/` are
/// already there.
pub fn write_checkpoint(
    out: &Path,
    weights: &[(String, Tensor)],
    vocabulary: i64,
) -> Result<(), TrainingError> {
    let part = |prefix: &str| -> Vec<(String, Tensor)> {
        weights
            .iter()
            .filter_map(|(k, t)| Some((k.strip_prefix(prefix)?.to_string(), t.to_kind(Kind::Half))))
            .collect()
    };
    write_tensors(&out.join(UNET_FILE), &part(UNET))?;
    write_tensors(&out.join(TEXT_FILE), &part(TEXT))?;
    write_tensors(&out.join(ADAPTER_FILE), &part(ADAPTER))?;
    write_json(&out.join("unet/config.json"), &recipe::unet_json())?;
    write_json(&out.join("text_encoder/config.json"), &recipe::text_json(vocabulary))?;
    write_json(&out.join("scheduler/scheduler_config.json"), &recipe::scheduler_json())?;
    write_json(&out.join("imagine.json"), &recipe::defaults_json())?;
    write_json(&out.join("model_index.json"), &recipe::model_index_json())
}
