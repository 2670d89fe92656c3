//! InstantID's IdentityNet: a ControlNet that sees a drawing of the face's key points and whose
//! cross-attention reads the face's tokens where others read the text.
//!
//! Source: InstantID (arXiv 2401.07519). The tokens are those of [`super::Adapter`] of the kind `instantid`,
//! which enter the U-Net's parallel attention, too. Both branches of guidance see the same drawing; in the
//! unconditional one the tokens are those of a zero embedding.

use std::path::{Path, PathBuf};

use imagine_unet::blocks::ModelError;
use imagine_unet::config::{ConfigError, UNetConfig};
use imagine_unet::{
    AddedCondition, Condition, ConditionPictureError, ControlNetConfig, ControlNetModel, ControlResiduals,
    CrossKv, NoControlNet, Weights, WeightsError,
};
use tch::{Device, Kind, Tensor};

use crate::key_point_image::KeyPointImage;

/// Why an IdentityNet could not be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityNetError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    ConfigFile(ConfigError),
    #[error("{file}: {source}")]
    Config { file: PathBuf, source: ConfigError },
    #[error("{file}: {reason}")]
    NotAControlNet { file: PathBuf, reason: String },
    #[error("the drawing of the key points: {0}")]
    Drawing(#[from] ConditionPictureError),
    #[error(
        "{path}: its cross-attention reads tokens {model} wide, but the face's have shape {found:?}: \
         the adapter and the IdentityNet do not belong together"
    )]
    Tokens { path: PathBuf, model: i64, found: Vec<i64> },
}

/// An IdentityNet: a folder in diffusers format with `config.json` and the weights, or the weights alone.
pub struct IdentityNet {
    net: ControlNetModel,
    path: PathBuf,
    /// What says its configuration, for messages.
    config_file: PathBuf,
    device: Device,
}

/// A face as the IdentityNet takes it: constant through all steps of a request.
pub struct FaceCondition {
    cross: CrossKv,
    /// Features of the drawing: [1, C, h, w]
    drawing: Tensor,
}

impl FaceCondition {
    /// All rows `count` times, for several pictures of one condition.
    pub fn times(&self, count: usize) -> Self {
        Self { cross: CrossKv::join(&vec![&self.cross; count]), drawing: self.drawing.shallow_clone() }
    }
}

impl IdentityNet {
    /// Opens the folder; every weight must be there and no other.
    ///
    /// # Errors
    /// Names the file and the key, shape or value at fault.
    pub fn open(dir: &Path, device: Device, kind: Kind) -> Result<Self, IdentityNetError> {
        let file = dir.join("config.json");
        let named = |source| match source {
            ConfigError::Unsupported { .. } => IdentityNetError::Config { file: file.clone(), source },
            of_file => IdentityNetError::ConfigFile(of_file),
        };
        let config = ControlNetConfig::from_file(&file).map_err(named)?;
        let weights = Weights::open_folder(dir, device, kind)?;
        Self::of_weights(&weights, &config, dir, file, device)
    }

    /// Opens a file of weights without its `config.json`, as other programs keep them; the configuration is
    /// that of the U-Net that it is a copy of.
    ///
    /// # Errors
    /// As [`Self::open`]; a file that is no ControlNet, or one for another base model.
    pub fn open_file(
        file: &Path,
        unet: &UNetConfig,
        device: Device,
        kind: Kind,
    ) -> Result<Self, IdentityNetError> {
        let weights = Weights::open(&[file.to_path_buf()], device, kind)?;
        let config = ControlNetConfig::of_weights(unet, |key| weights.shape(key)).map_err(|e| match e {
            NoControlNet::Config(source) => IdentityNetError::Config { file: file.to_path_buf(), source },
            missing @ NoControlNet::Missing(_) => {
                IdentityNetError::NotAControlNet { file: file.to_path_buf(), reason: missing.to_string() }
            }
        })?;
        Self::of_weights(&weights, &config, file, file.to_path_buf(), device)
    }

    fn of_weights(
        weights: &Weights,
        config: &ControlNetConfig,
        path: &Path,
        config_file: PathBuf,
        device: Device,
    ) -> Result<Self, IdentityNetError> {
        let net = ControlNetModel::new(&weights.root(), config).map_err(|error| match error {
            ModelError::Config(source) => IdentityNetError::Config { file: config_file.clone(), source },
            ModelError::Weights(source) => source.into(),
        })?;
        weights.finish(&[])?;
        Ok(Self { net, path: path.to_path_buf(), config_file, device })
    }

    /// The folder or the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a U-Net to whose features the IdentityNet's cannot be added.
    ///
    /// # Errors
    /// The IdentityNet's `config.json` or file, the key, and the values of both.
    pub fn check_base(&self, unet: &UNetConfig) -> Result<(), IdentityNetError> {
        let file = self.config_file.clone();
        self.net.config().check_base(unet).map_err(|source| IdentityNetError::Config { file, source })
    }

    /// Prepares a face: once a request.
    ///
    /// `tokens` [B, T, C], one row for each row of the steps (with guidance those of nobody first);
    /// `drawing` as large as the picture; `latents` (h, w) in cells.
    ///
    /// # Errors
    /// Tokens of another width than the model's; a drawing of another size than the picture.
    pub fn condition(
        &self,
        tokens: &Tensor,
        drawing: &KeyPointImage,
        latents: (i64, i64),
    ) -> Result<FaceCondition, IdentityNetError> {
        let found = tokens.size();
        let model = self
            .net
            .config()
            .network
            .cross_dim()
            .map_err(|source| IdentityNetError::Config { file: self.config_file.clone(), source })?;
        if !matches!(found.as_slice(), &[rows, count, width] if rows > 0 && count > 0 && width == model) {
            return Err(IdentityNetError::Tokens { path: self.path.clone(), model, found });
        }
        let drawing = self.net.embed_picture(&drawing.to_tensor(self.device), latents)?;
        let text = tokens.to_device(self.device);
        let cross = self.net.cross_kv(&Condition { text, identities: Vec::new() });
        Ok(FaceCondition { cross, drawing })
    }

    /// One evaluation: what is to be added to the U-Net's features, times `scale`.
    ///
    /// `sample` [B, in_channels, h, w], `timesteps` [B] and `added` are those of the U-Net.
    pub fn residuals(
        &self,
        face: &FaceCondition,
        sample: &Tensor,
        timesteps: &Tensor,
        added: Option<&AddedCondition>,
        scale: f64,
    ) -> ControlResiduals {
        self.net.forward(sample, timesteps, &face.cross, added, &face.drawing, scale)
    }
}
