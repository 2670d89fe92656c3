//! A checkpoint folder in Hugging Face diffusers format.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::PipelineError;

/// A folder with `model_index.json`, checked for the parts that it names.
#[derive(Debug)]
pub struct Checkpoint {
    dir: PathBuf,
}

impl Checkpoint {
    /// Opens a folder whose pipeline is Stable Diffusion of the 1.x or 2.x kind.
    pub fn open(dir: &Path) -> Result<Self, PipelineError> {
        let refuse = |reason: String| PipelineError::NotACheckpoint { dir: dir.to_path_buf(), reason };
        let index = dir.join("model_index.json");
        let text = fs::read_to_string(&index).map_err(|e| refuse(format!("model_index.json: {e}")))?;
        let index: BTreeMap<String, Value> =
            serde_json::from_str(&text).map_err(|e| refuse(format!("model_index.json: {e}")))?;
        match index.get("_class_name").and_then(Value::as_str) {
            Some("StableDiffusionPipeline") => {}
            Some(other) => {
                return Err(refuse(format!("{other} is not supported, only StableDiffusionPipeline")));
            }
            None => return Err(refuse("model_index.json has no _class_name".into())),
        }
        for part in ["unet", "vae", "text_encoder", "tokenizer", "scheduler"] {
            if index.get(part).is_none_or(Value::is_null) {
                return Err(refuse(format!("model_index.json names no {part}")));
            }
            if !dir.join(part).is_dir() {
                return Err(refuse(format!("the folder {part}/ is missing")));
            }
        }
        Ok(Self { dir: dir.to_path_buf() })
    }

    /// The folder of one part, e.g. `unet`.
    pub fn part(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The folder's own name.
    pub fn name(&self) -> String {
        let dir = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        dir.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
    }
}
