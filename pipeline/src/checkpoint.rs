//! A checkpoint folder in Hugging Face diffusers format.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use imagine_unet::{ConfigError, read_json};

use crate::error::PipelineError;

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
}

impl Default for Defaults {
    /// Usual for Stable Diffusion.
    fn default() -> Self {
        Self { steps: 25, guidance_scale: 7.5, adapter: None }
    }
}

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

    /// The contents of `imagine.json`, or what is usual where there is none.
    pub fn defaults(&self) -> Result<Defaults, PipelineError> {
        let file = self.dir.join("imagine.json");
        if !file.is_file() {
            return Ok(Defaults::default());
        }
        let defaults: Defaults = read_json(&file).map_err(PipelineError::ConfigFile)?;
        let (steps, guidance) = (defaults.steps, defaults.guidance_scale);
        for (key, value, least, most) in
            [("steps", f64::from(steps), 1.0, 1000.0), ("guidance_scale", guidance, 0.0, 100.0)]
        {
            if !(value >= least && value <= most) {
                let source = ConfigError::unsupported(key, value, &format!("{least} to {most}"));
                return Err(PipelineError::Config { file, source });
            }
        }
        Ok(defaults)
    }

    /// The folder's own name.
    pub fn name(&self) -> String {
        let dir = self.dir.canonicalize().unwrap_or_else(|_| self.dir.clone());
        dir.file_name().map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
    }
}
