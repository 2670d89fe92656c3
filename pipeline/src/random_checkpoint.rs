//! Checkpoints of a published architecture with seeded random weights, for measuring speed and memory
//! without downloading a model. What they draw is noise; what they cost is the real thing.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use imagine_encoders::vocabulary::{self, VocabularyError};
use imagine_encoders::{ClipTextConfig, ClipTextError, ClipTextModel};
use imagine_unet::blocks::ModelError;
use imagine_unet::{AutoencoderKl, AutoencoderKlConfig, UNet2DConditionModel, UNetConfig, Weights};
use safetensors::{Dtype, View};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

/// Why a checkpoint could not be written.
#[derive(Debug, thiserror::Error)]
pub enum RandomCheckpointError {
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Text(#[from] ClipTextError),
    #[error(transparent)]
    Vocabulary(#[from] VocabularyError),
    #[error("{file}: cannot be written: {source}")]
    Write { file: PathBuf, source: std::io::Error },
    #[error("{file}: cannot be written: {reason}")]
    Weights { file: PathBuf, reason: String },
}

/// An architecture that users have on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Stable Diffusion 1.5: 512², one text encoder.
    Sd15,
    /// Stable Diffusion XL: 1024², two text encoders.
    Sdxl,
}

/// One model folder: its name, its configuration, and the file of its weights.
struct Part {
    folder: &'static str,
    config: &'static str,
    weights: &'static str,
}

const UNET_FILE: &str = "diffusion_pytorch_model.safetensors";
const TEXT_FILE: &str = "model.safetensors";

macro_rules! data {
    ($name:literal) => {
        include_str!(concat!("../data/", $name, ".json"))
    };
}

impl Architecture {
    pub const ALL: [Self; 2] = [Self::Sd15, Self::Sdxl];

    pub fn name(self) -> &'static str {
        match self {
            Self::Sd15 => "sd15",
            Self::Sdxl => "sdxl",
        }
    }

    /// Pixels along a side that the architecture was trained on.
    pub fn side(self) -> u32 {
        match self {
            Self::Sd15 => 512,
            Self::Sdxl => 1024,
        }
    }

    fn index(self) -> &'static str {
        match self {
            Self::Sd15 => data!("sd15/model_index"),
            Self::Sdxl => data!("sdxl/model_index"),
        }
    }

    fn scheduler(self) -> &'static str {
        match self {
            Self::Sd15 => data!("sd15/scheduler"),
            Self::Sdxl => data!("sdxl/scheduler"),
        }
    }

    fn parts(self) -> Vec<Part> {
        let part = |folder, config, weights| Part { folder, config, weights };
        match self {
            Self::Sd15 => vec![
                part("unet", data!("sd15/unet"), UNET_FILE),
                part("vae", data!("sd15/vae"), UNET_FILE),
                part("text_encoder", data!("sd15/text_encoder"), TEXT_FILE),
            ],
            Self::Sdxl => vec![
                part("unet", data!("sdxl/unet"), UNET_FILE),
                part("vae", data!("sdxl/vae"), UNET_FILE),
                part("text_encoder", data!("sdxl/text_encoder"), TEXT_FILE),
                part("text_encoder_2", data!("sdxl/text_encoder_2"), TEXT_FILE),
            ],
        }
    }
}

impl std::str::FromStr for Architecture {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.map(Self::name).join(", ");
        let found = Self::ALL.into_iter().find(|a| a.name() == name);
        found.ok_or_else(|| format!("no architecture \"{name}\", one of: {known}"))
    }
}

/// Writes a checkpoint folder in diffusers format with weights of this type (f32, bf16 or f16), the
/// same for the same seed. `model_index.json` is written last, so that a folder that has it is whole.
///
/// # Errors
/// A folder or file that cannot be written.
pub fn write(
    architecture: Architecture,
    kind: Kind,
    seed: i64,
    dir: &Path,
) -> Result<(), RandomCheckpointError> {
    let _no_grad = tch::no_grad_guard();
    tch::manual_seed(seed);
    let parts = architecture.parts();
    for part in &parts {
        let weights = Weights::fresh(Device::Cpu, kind);
        build(part, &weights)?;
        let folder = dir.join(part.folder);
        write_text(&folder.join("config.json"), part.config)?;
        write_weights(&folder.join(part.weights), &weights)?;
    }
    write_text(&dir.join("scheduler/scheduler_config.json"), architecture.scheduler())?;
    for part in parts.iter().filter(|p| p.folder.starts_with("text_encoder")) {
        let config: ClipTextConfig = parsed(part.config);
        let words: Vec<String> = ["a", "portrait", "of", "person"].map(String::from).to_vec();
        let length = config.max_position_embeddings as usize;
        let folder = part.folder.replace("text_encoder", "tokenizer");
        vocabulary::build(&words)?.save(&dir.join(folder), length)?;
    }
    write_text(&dir.join("model_index.json"), architecture.index())
}

/// Builds the part's model once, which makes its weights.
fn build(part: &Part, weights: &Weights) -> Result<(), RandomCheckpointError> {
    let vs = weights.root();
    match part.folder {
        "unet" => drop(UNet2DConditionModel::new(&vs, &parsed::<UNetConfig>(part.config))?),
        "vae" => drop(AutoencoderKl::new(&vs, &parsed::<AutoencoderKlConfig>(part.config))?),
        _ => drop(ClipTextModel::new(&vs, &parsed::<ClipTextConfig>(part.config))?),
    }
    Ok(())
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str) -> T {
    let value: Value =
        serde_json::from_str(text).unwrap_or_else(|e| unreachable!("a file of this crate: {e}"));
    serde_json::from_value(value).unwrap_or_else(|e| unreachable!("a file of this crate: {e}"))
}

fn write_text(file: &Path, text: &str) -> Result<(), RandomCheckpointError> {
    let wrong = |source| RandomCheckpointError::Write { file: file.to_path_buf(), source };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(wrong)?;
    }
    fs::write(file, text).map_err(wrong)
}

/// A tensor whose bytes are made only when it is its turn to be written.
struct Stored {
    tensor: Tensor,
    shape: Vec<usize>,
    dtype: Dtype,
}

impl View for Stored {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let bytes = self.tensor.contiguous().view_dtype(Kind::Uint8).flatten(0, -1);
        let mut raw = vec![0u8; bytes.numel()];
        bytes.copy_data(&mut raw, bytes.numel());
        Cow::Owned(raw)
    }

    fn data_len(&self) -> usize {
        self.tensor.numel() * self.tensor.kind().elt_size_in_bytes()
    }
}

fn write_weights(file: &Path, weights: &Weights) -> Result<(), RandomCheckpointError> {
    let stored = weights.parameters().into_iter().map(|(key, tensor)| {
        let dtype = match tensor.kind() {
            Kind::Half => Dtype::F16,
            Kind::BFloat16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        let shape = tensor.size().iter().map(|&d| d as usize).collect();
        (key, Stored { tensor: tensor.detach(), shape, dtype })
    });
    let metadata = [("format".to_string(), "pt".to_string())].into();
    safetensors::serialize_to_file(stored, Some(metadata), file)
        .map_err(|e| RandomCheckpointError::Weights { file: file.to_path_buf(), reason: e.to_string() })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_data_files_describe_models_that_this_crate_can_build() {
        for architecture in Architecture::ALL {
            let parts = architecture.parts();
            let folders: Vec<&str> = parts.iter().map(|p| p.folder).collect();
            let index: serde_json::Map<String, Value> = serde_json::from_str(architecture.index()).unwrap();
            for folder in folders {
                assert!(index.contains_key(folder), "{folder}");
            }
            let unet = parts.iter().find(|p| p.folder == "unet").unwrap();
            let config: UNetConfig = parsed(unet.config);
            config.check().unwrap();
            assert_eq!(config.sample_size, Some(i64::from(architecture.side()) / 8));
            assert_eq!(architecture.name().parse(), Ok(architecture));
        }
        assert!("sd3".parse::<Architecture>().unwrap_err().contains("sd15, sdxl"));
    }

    #[test]
    fn stored_tensors_are_read_back_equal() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.safetensors");
        let weights = Weights::fresh(Device::Cpu, Kind::BFloat16);
        tch::manual_seed(3);
        let made = (&weights.root() / "layer").get("weight", &[3, 5], imagine_unet::Init::FanIn).unwrap();
        write_weights(&file, &weights).unwrap();
        let read = Weights::open(&[file], Device::Cpu, Kind::BFloat16).unwrap();
        let back = (&read.root() / "layer").get("weight", &[3, 5], imagine_unet::Init::FanIn).unwrap();
        assert!(back.equal(&made));
    }
}
