//! The CLIP vision encoder that an adapter looks through: found on disk, loaded, and asked for the states of a
//! face.

use std::path::{Path, PathBuf};

use image::RgbImage;
use imagine_contract::{RequestError, RgbPixels};
use imagine_encoders::{ClipImageProcessor, ClipVisionConfig, ClipVisionModel};
use imagine_identity::adapters::{ClipStates, Needs};
use tch::Tensor;

use crate::checkpoint::Target;
use crate::error::PipelineError;

/// Name of the folder in published adapters and checkpoints.
const FOLDER: &str = "image_encoder";

/// A CLIP vision encoder with its way of cutting pictures.
pub struct ImageEncoder {
    model: ClipVisionModel,
    processor: ClipImageProcessor,
    states: ClipStates,
    zero_pixels: Option<Tensor>,
}

impl ImageEncoder {
    /// The encoder that `needs` asks for; none if it asks for none. Looked for in `named`, a folder or a file, else in
    /// [`candidates`] where the first of the right width is taken.
    pub fn load(
        needs: &Needs,
        named: Option<&Path>,
        adapter: &Path,
        checkpoint: &Path,
        target: Target,
    ) -> Result<Option<Self>, PipelineError> {
        let (Some(width), Some(states)) = (needs.clip_vision_width, needs.clip_states) else {
            return Ok(None);
        };
        let folder = match named {
            Some(folder) => folder.to_path_buf(),
            None => find(width, states, adapter, checkpoint)?,
        };
        let model = if folder.is_file() {
            ClipVisionModel::from_file(&folder, target.device, target.kind)?
        } else {
            ClipVisionModel::from_folder(&folder, target.device, target.kind)?
        };
        let found = width_of(model.config(), states);
        if found != width {
            let reason = format!(
                "{}: its states are {found} wide, but {} was made for {width}: another image encoder belongs to it",
                folder.display(),
                adapter.display()
            );
            return Err(PipelineError::Unsupported(reason));
        }
        let processor = ClipImageProcessor::from_folder(&folder, model.config().image_size as u32)?;
        let zero_pixels = if needs.zero_pixels() { Some(model.of_zero_pixels()?) } else { None };
        let encoder = Self { model, processor, states, zero_pixels };
        encoder.release_pages();
        Ok(Some(encoder))
    }

    /// Gives back the memory in which the weights lie, until the next picture.
    pub fn release_pages(&self) {
        self.model.pages().release();
    }

    /// States of pixel values that are all zero, for adapters that take them for nobody.
    pub fn zero_pixels(&self) -> Option<&Tensor> {
        self.zero_pixels.as_ref()
    }

    /// States of a face: [1, W] or [1, S, W].
    pub fn encode(&self, face: &RgbPixels) -> Result<Tensor, PipelineError> {
        let picture = RgbImage::from_raw(face.width, face.height, face.rgb.clone());
        let picture = picture.ok_or(RequestError::Pixels("face"))?;
        let output = self.model.forward(&self.processor.preprocess(&picture)?)?;
        match self.states {
            ClipStates::LastButOne => Ok(output.last_but_one),
            ClipStates::Projected => output.image_embeds.ok_or_else(|| {
                PipelineError::Unsupported(
                    "the image encoder has no projection, which the adapter reads".into(),
                )
            }),
        }
    }
}

fn width_of(config: &ClipVisionConfig, states: ClipStates) -> i64 {
    match states {
        ClipStates::LastButOne => config.hidden_size,
        ClipStates::Projected => config.projection_dim,
    }
}

/// Where the encoder may lie: in the adapter's folder, beside it, where the published collection keeps the
/// one that most of its adapters share, and in the checkpoint's folder.
fn candidates(adapter: &Path, checkpoint: &Path) -> Vec<PathBuf> {
    let around = adapter.parent().unwrap_or(Path::new(""));
    vec![
        around.join(FOLDER),
        around.join("..").join(FOLDER),
        around.join("../models").join(FOLDER),
        checkpoint.to_path_buf(),
    ]
}

fn find(width: i64, states: ClipStates, adapter: &Path, checkpoint: &Path) -> Result<PathBuf, PipelineError> {
    let mut others = Vec::new();
    for folder in candidates(adapter, checkpoint) {
        let file = folder.join("config.json");
        if !file.is_file() {
            continue;
        }
        match ClipVisionConfig::from_file(&file) {
            Ok(config) if width_of(&config, states) == width => return Ok(folder),
            Ok(config) => others.push(format!("{} ({} wide)", folder.display(), width_of(&config, states))),
            Err(error) => others.push(format!("{} ({error})", folder.display())),
        }
    }
    let seen = match others.as_slice() {
        [] => format!("no folder {FOLDER} lies beside it or in the model's folder"),
        others => format!("found only {}", others.join(", ")),
    };
    Err(PipelineError::Unsupported(format!(
        "{} needs a CLIP vision encoder whose states are {width} wide, and {seen}; name its folder (--image-encoder)",
        adapter.display()
    )))
}
