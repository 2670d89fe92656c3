//! A checkpoint folder in Hugging Face diffusers format, checked for the parts that it names.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use imagine_unet::{ConfigError, read_json};
use serde_json::Value;

use crate::checkpoint::{Defaults, Family, Part, Target, network_folder};
use crate::error::PipelineError;
use crate::text_conditioning::Hearing;

/// What `width_per_person` is a multiple of, and its most.
const WIDTH_STEP: u32 = 8;
const MOST_WIDTH: u32 = 1024;

/// A folder with `model_index.json`, checked for the parts that it names.
#[derive(Debug)]
pub struct CheckpointFolder {
    dir: PathBuf,
    family: Family,
    hearing: Hearing,
    has_vae: bool,
    /// What its pipeline does where a request leaves a choice open.
    usual: Defaults,
    /// Its pipeline is diffusers' of latent consistency models.
    latent_consistency: bool,
}

impl CheckpointFolder {
    /// Opens a folder whose pipeline is Stable Diffusion 1.x, 2.x or XL.
    pub fn open(dir: &Path) -> Result<Self, PipelineError> {
        let refuse = |reason: String| PipelineError::NotACheckpoint { dir: dir.to_path_buf(), reason };
        let index = dir.join("model_index.json");
        let text = fs::read_to_string(&index).map_err(|e| refuse(format!("model_index.json: {e}")))?;
        let index: BTreeMap<String, Value> =
            serde_json::from_str(&text).map_err(|e| refuse(format!("model_index.json: {e}")))?;
        let Some(class) = index.get("_class_name").and_then(Value::as_str) else {
            return Err(refuse("model_index.json has no _class_name".into()));
        };
        let Some(family) = Family::of_class(class) else {
            let known = "StableDiffusionPipeline, StableDiffusionXLPipeline, their Img2Img and Inpaint, and LatentConsistencyModelPipeline";
            return Err(refuse(format!("{class} is not supported, only {known}")));
        };
        let text_parts = family.text_parts().iter().flat_map(|(tokenizer, encoder)| [*encoder, *tokenizer]);
        // Each part is [library, class]; left out it is null or [null, null].
        let is_named = |part: &str| match index.get(part) {
            None | Some(Value::Null) => false,
            Some(Value::Array(names)) => names.iter().any(|name| !name.is_null()),
            Some(_) => true,
        };
        for part in ["unet"].into_iter().chain(text_parts).chain(["scheduler"]) {
            if !is_named(part) {
                return Err(refuse(format!("model_index.json names no {part}")));
            }
            if !dir.join(part).is_dir() {
                return Err(refuse(format!("the folder {part}/ is missing")));
            }
        }
        let key = "force_zeros_for_empty_prompt";
        let zeros_for_empty_negative = match index.get(key) {
            None | Some(Value::Null) => true,
            Some(Value::Bool(value)) => *value,
            Some(other) => {
                return Err(refuse(format!("model_index.json: {key} is {other}, not true or false")));
            }
        };
        let hearing = match family {
            Family::StableDiffusion => Hearing::LastLayer,
            Family::StableDiffusionXl => Hearing::Penultimate { zeros_for_empty_negative },
        };
        // It may be left out: another can be named.
        let has_vae = is_named("vae") && dir.join("vae").is_dir();
        let usual = family.defaults_of(class);
        let latent_consistency = Family::is_latent_consistency(class);
        Ok(Self { dir: dir.to_path_buf(), family, hearing, has_vae, usual, latent_consistency })
    }

    pub fn family(&self) -> Family {
        self.family
    }

    /// What of its text encoders the model hears.
    pub fn hearing(&self) -> Hearing {
        self.hearing
    }

    pub fn is_latent_consistency(&self) -> bool {
        self.latent_consistency
    }

    pub fn has_vae(&self) -> bool {
        self.has_vae
    }

    /// The folder of one part, e.g. `unet`.
    pub fn part(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The contents of `imagine.json`, or what is usual where there is none.
    pub fn defaults(&self) -> Result<Defaults, PipelineError> {
        let file = self.dir.join("imagine.json");
        if !file.is_file() {
            return Ok(self.usual.clone());
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
        if !defaults.width_per_person.is_multiple_of(WIDTH_STEP) || defaults.width_per_person > MOST_WIDTH {
            let expected = format!("a multiple of {WIDTH_STEP} up to {MOST_WIDTH}");
            let source = ConfigError::unsupported("width_per_person", defaults.width_per_person, &expected);
            return Err(PipelineError::Config { file, source });
        }
        if let Some(name) = &defaults.adapter
            && Path::new(name).file_name() != Some(name.as_ref())
        {
            let source = ConfigError::unsupported("adapter", name, "the name of a file in this folder");
            return Err(PipelineError::Config { file, source });
        }
        Ok(defaults)
    }

    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// One network: `config.json`, read by `read`, and the weights beside it.
    pub fn network<C>(
        &self,
        name: &str,
        target: Target,
        read: impl Fn(&Path) -> Result<C, ConfigError>,
    ) -> Result<Part<C>, PipelineError> {
        network_folder(&self.part(name), target, read)
    }
}
