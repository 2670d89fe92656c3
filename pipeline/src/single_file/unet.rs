//! A U-Net alone in one file, in the original layout, as ComfyUI's folder of diffusion models has them.

use std::collections::HashSet;

use imagine_unet::Weights;
use imagine_unet::weights::{KeyMap, TensorFiles};
use tch::{Device, Kind};

use super::error::SingleFileError;
use super::infer::{BaseModel, Prediction, PredictionSource, SingleFileKind, is_ignored};
use super::layout::Layout;
use super::unet_keys;

/// Starts of its keys: as in a whole checkpoint, or none.
const PREFIXES: [&str; 2] = [unet_keys::PREFIX, ""];

const FIRST: &str = "input_blocks.0.0.weight";

/// The file, mapped into memory.
pub struct UNetFile {
    layout: Layout,
    map: KeyMap,
}

impl UNetFile {
    /// What the keys of a U-Net under the original names start with, if files hold one.
    pub fn prefix(files: &TensorFiles) -> Option<&'static str> {
        PREFIXES.into_iter().find(|prefix| files.shape(&format!("{prefix}{FIRST}")).is_some())
    }

    /// Reads the keys, which start with `prefix`. `pooled` is the width of SDXL's pooled text.
    ///
    /// # Errors
    /// Keys that are missing or belong to no U-Net, shapes that contradict each other; with the key.
    pub fn new(
        files: TensorFiles,
        prefix: &str,
        base: BaseModel,
        pooled: Option<i64>,
    ) -> Result<Self, SingleFileError> {
        let layout = Layout::new(files);
        let kind = SingleFileKind {
            base,
            inpainting: false,
            prediction: Prediction::Epsilon,
            prediction_source: PredictionSource::Usual,
            zero_terminal_snr: false,
        };
        let (_, map) = unet_keys::read_at(&layout, prefix, &kind, pooled)?;
        let used: HashSet<&str> = map.values().map(|s| s.stored.as_str()).collect();
        let left: Vec<&String> =
            layout.keys.iter().filter(|key| !used.contains(key.as_str()) && !is_ignored(key)).collect();
        if let Some(first) = left.first() {
            let (count, first, kind) = (left.len(), first.to_string(), "a U-Net alone".to_string());
            return Err(SingleFileError::Leftover { file: layout.file(), count, first, kind });
        }
        Ok(Self { layout, map })
    }

    /// The weights under diffusers' names.
    pub fn weights(&self, device: Device, kind: Kind) -> Result<Weights, SingleFileError> {
        Ok(Weights::remapped(&self.layout.files, &self.map, device, kind)?)
    }
}
