//! An autoencoder alone in one file, as the bettered ones of Stable Diffusion are published: in the original layout
//! (`vae-ft-mse-840000-ema-pruned.safetensors`, `sdxl_vae.safetensors`) or under diffusers' names, out of its folder.

use std::path::Path;
use std::sync::Arc;

use imagine_unet::weights::{KeyMap, TensorFiles};
use imagine_unet::{AutoencoderKlConfig, Weights};
use tch::{Device, Kind};

use super::error::SingleFileError;
use super::infer::BaseModel;
use super::layout::Layout;
use super::vae_keys;

/// The file, mapped into memory.
pub struct AutoencoderFile {
    layout: Layout,
    config: AutoencoderKlConfig,
    map: KeyMap,
}

impl AutoencoderFile {
    /// Opens a `.safetensors`, `.ckpt` or `.pt` file whose keys start with `encoder.` and `decoder.`, or as in a
    /// whole checkpoint, out of which the autoencoder is then taken. `base` is for what the file does not say: the
    /// scale of the latents.
    ///
    /// # Errors
    /// The file cannot be read or holds no autoencoder; with the key and the shape.
    pub fn open(file: &Path, base: BaseModel) -> Result<Self, SingleFileError> {
        Self::of_files(TensorFiles::open(&[file.to_path_buf()])?, base)
    }

    /// The same of a file that is open already.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_files(files: impl Into<Arc<TensorFiles>>, base: BaseModel) -> Result<Self, SingleFileError> {
        let layout = Layout::new(files);
        if layout.has_prefix("encoder.down_blocks.") {
            let (config, map) =
                vae_keys::read_diffusers(&layout, base.picture_size(), base.scaling_factor())?;
            return Ok(Self { layout, config, map });
        }
        let prefix = if layout.has("decoder.conv_in.weight") { Some("") } else { vae_keys::prefix(&layout) };
        let prefix = prefix.ok_or_else(|| SingleFileError::NotACheckpoint {
            file: layout.file(),
            reason: format!("it holds no autoencoder ({}*)", vae_keys::PREFIXES.join("*, ")),
        })?;
        let (config, map) = vae_keys::read_at(&layout, prefix, base.picture_size(), base.scaling_factor())?;
        Ok(Self { layout, config, map })
    }

    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }

    /// The weights under diffusers' names.
    pub fn weights(&self, device: Device, kind: Kind) -> Result<Weights, SingleFileError> {
        Ok(Weights::remapped(&self.layout.files, &self.map, device, kind)?)
    }
}
