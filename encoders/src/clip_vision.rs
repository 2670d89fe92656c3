//! CLIP's vision encoder: `CLIPVisionModelWithProjection` of transformers (Radford et al. 2021, arXiv
//! 2103.00020). IP-Adapters read its projected embedding or the output of its last layer but one; ViT-H/14
//! in most of them, bigG/14 in the plain one for SDXL, ViT-L/14 in PhotoMaker.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use imagine_unet::config::ConfigError;
use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::weights::{
    Change, Init, KeyMap, MappedPages, Source, TensorFiles, Vs, Weights, WeightsError,
};
use tch::{Device, Kind, TchError, Tensor};

use crate::clip_encoder::ClipEncoder;
use crate::clip_vision_config::ClipVisionConfig;

/// Why a vision encoder could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum ClipVisionError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: {source}")]
    ConfigFile { file: PathBuf, source: ConfigError },
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(
        "pixel values have shape {found:?} and type {kind:?}, expected [pictures, 3, {side}, {side}] of floats"
    )]
    Input { found: Vec<i64>, kind: Kind, side: i64 },
    #[error(transparent)]
    Tensor(#[from] TchError),
}

/// What the encoder makes of B pictures of P patches.
#[derive(Debug)]
pub struct ClipVisionOutput {
    /// [B, 1 + P, hidden]: the last layer's output, without a norm.
    pub last_hidden_state: Tensor,
    /// [B, 1 + P, hidden]: the output of the layer before that, `hidden_states[-2]`.
    pub last_but_one: Tensor,
    /// [B, hidden]: the normed last state of the class token.
    pub pooled: Tensor,
    /// [B, projection]: the projected pooled state, where the model has a projection.
    pub image_embeds: Option<Tensor>,
}

/// CLIP's vision encoder, with its projection where the checkpoint has one.
pub struct ClipVisionModel {
    class_embedding: Tensor,
    patch_embedding: Tensor,
    position_embedding: Tensor,
    pre_norm: LayerNorm,
    encoder: ClipEncoder,
    post_norm: LayerNorm,
    visual_projection: Option<Linear>,
    config: ClipVisionConfig,
    pages: MappedPages,
    device: Device,
    kind: Kind,
}

impl ClipVisionModel {
    /// Ends of keys that checkpoints may hold and no model needs, for [`Weights::finish`]: transformers
    /// before 4.31 saved the numbers 0, 1, 2, … of the positions.
    pub const IGNORED: [&'static str; 1] = ["embeddings.position_ids"];

    /// Weights under `vision_model` below `vs`, or directly below it (as transformers 5 saves a model without
    /// projection), and `visual_projection.weight` [projection, hidden] if the configuration names
    /// `CLIPVisionModelWithProjection` or the files hold it.
    pub fn new(vs: &Vs, config: &ClipVisionConfig) -> Result<Self, ClipVisionError> {
        config.check()?;
        let shape = config.encoder_shape()?;
        let (d, eps, factor) = (config.hidden_size, config.layer_norm_eps, config.initializer_factor);
        let bare = vs.contains("embeddings.class_embedding");
        let model = if bare { vs.clone() } else { vs / "vision_model" };
        let embeddings = &model / "embeddings";
        let read_init = Init::Normal(factor * (d as f64).powf(-0.5));
        let table_init = Init::Normal(factor * config.initializer_range);
        let patch = config.patch_size;
        let visual_projection = if config.has_projection() || vs.contains("visual_projection.weight") {
            let vs = vs / "visual_projection";
            Some(Linear::with_init(&vs, d, config.projection_dim, false, read_init)?)
        } else {
            None
        };
        Ok(Self {
            class_embedding: embeddings.get("class_embedding", &[d], read_init)?,
            patch_embedding: (&embeddings / "patch_embedding").get(
                "weight",
                &[d, config.num_channels, patch, patch],
                table_init,
            )?,
            position_embedding: (&embeddings / "position_embedding").get(
                "weight",
                &[config.positions(), d],
                table_init,
            )?,
            // The checkpoints' own spelling.
            pre_norm: LayerNorm::new(&(&model / "pre_layrnorm"), d, eps)?,
            encoder: ClipEncoder::new(&(&model / "encoder"), &shape)?,
            post_norm: LayerNorm::new(&(&model / "post_layernorm"), d, eps)?,
            visual_projection,
            config: config.clone(),
            pages: MappedPages::default(),
            device: vs.device(),
            kind: vs.kind(),
        })
    }

    /// Loads an `image_encoder` folder, or the vision tower of a whole CLIP: `config.json` and weights, which
    /// must fit each other exactly.
    pub fn from_folder(dir: &Path, device: Device, kind: Kind) -> Result<Self, ClipVisionError> {
        let file = dir.join("config.json");
        let config = ClipVisionConfig::from_file(&file).map_err(|source| match source {
            // The other kinds name the file themselves.
            ConfigError::Unsupported { .. } => ClipVisionError::ConfigFile { file, source },
            other => ClipVisionError::Config(other),
        })?;
        Self::of_files(&Arc::new(TensorFiles::open_folder(dir)?), &config, device, kind)
    }

    /// Loads one file of weights under transformers' names, such as `CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors`: of
    /// one of the published encoders, told by its width.
    ///
    /// # Errors
    /// It holds no vision encoder, one of another width, or one that does not fit it exactly.
    pub fn from_file(file: &Path, device: Device, kind: Kind) -> Result<Self, ClipVisionError> {
        let files = Arc::new(TensorFiles::open(&[file.to_path_buf()])?);
        let config = Self::published(file, &files)?;
        Self::of_files(&files, &config, device, kind)
    }

    /// The published encoder that a file's tensors are of, told by its width.
    ///
    /// # Errors
    /// It holds no vision encoder, or one of another width.
    pub fn published(file: &Path, files: &TensorFiles) -> Result<ClipVisionConfig, ClipVisionError> {
        let names = ["vision_model.", ""].map(|start| format!("{start}embeddings.class_embedding"));
        let width = names.iter().find_map(|name| files.shape(name)?.first().copied());
        let [key, _] = names;
        let width = width.ok_or_else(|| WeightsError::Missing { file: file.to_path_buf(), key })?;
        ClipVisionConfig::of_width(width)
            .map_err(|source| ClipVisionError::ConfigFile { file: file.to_path_buf(), source })
    }

    /// The tensors of a vision encoder, or of the one in a whole CLIP, under the names that [`Self::new`] asks for.
    ///
    /// # Errors
    /// As [`Weights::remapped`].
    pub fn weights_of(files: &Arc<TensorFiles>, device: Device, kind: Kind) -> Result<Weights, WeightsError> {
        match vision_tower(&files.keys()) {
            Some(map) => Weights::remapped(files, &map, device, kind),
            None => Ok(Weights::from_files(files, device, kind)),
        }
    }

    fn of_files(
        files: &Arc<TensorFiles>,
        config: &ClipVisionConfig,
        device: Device,
        kind: Kind,
    ) -> Result<Self, ClipVisionError> {
        let weights = Self::weights_of(files, device, kind)?;
        let model = Self::new(&weights.root(), config)?;
        weights.finish(&Self::IGNORED)?;
        Ok(Self { pages: weights.pages(), ..model })
    }

    /// The pages of the files that the weights were read from, in which the weights lie.
    pub fn pages(&self) -> &MappedPages {
        &self.pages
    }

    pub fn config(&self) -> &ClipVisionConfig {
        &self.config
    }

    /// Encodes normalised pixel values [B, 3, side, side] of a float type, as
    /// [`ClipImageProcessor`](crate::ClipImageProcessor) makes them.
    ///
    /// # Errors
    /// [`ClipVisionError::Input`] for any other shape or type.
    pub fn forward(&self, pixel_values: &Tensor) -> Result<ClipVisionOutput, ClipVisionError> {
        let x = self.embed(pixel_values)?;
        let (mut last_but_one, mut last) = (x.shallow_clone(), x.shallow_clone());
        let last_hidden_state = self.encoder.forward(&x, false, |state| {
            last_but_one = std::mem::replace(&mut last, state.shallow_clone());
        });
        let pooled = self.post_norm.forward(&last_hidden_state.f_select(1, 0)?); // [B, D]
        let image_embeds = self.visual_projection.as_ref().map(|projection| projection.forward(&pooled));
        Ok(ClipVisionOutput { last_hidden_state, last_but_one, pooled, image_embeds })
    }

    /// The output of the last layer but one for pixel values that are all zero, [1, 1 + P, hidden]: what
    /// IP-Adapters with a resampler take as no picture.
    pub fn of_zero_pixels(&self) -> Result<Tensor, ClipVisionError> {
        let side = self.config.image_size;
        let zeros = Tensor::zeros([1, self.config.num_channels, side, side], (self.kind, self.device));
        Ok(self.forward(&zeros)?.last_but_one)
    }

    /// [B, 3, H, W] → normed embeddings [B, 1 + P, D], the class token first.
    fn embed(&self, pixel_values: &Tensor) -> Result<Tensor, ClipVisionError> {
        let side = self.config.image_size;
        let size = pixel_values.size();
        let batch = match size.as_slice() {
            &[batch, 3, height, width] if batch > 0 && (height, width) == (side, side) => batch,
            _ => return Err(self.wrong(pixel_values)),
        };
        if !matches!(pixel_values.kind(), Kind::Float | Kind::Half | Kind::BFloat16 | Kind::Double) {
            return Err(self.wrong(pixel_values));
        }
        let x = pixel_values.to_device(self.device).to_kind(self.kind);
        let stride = [self.config.patch_size; 2];
        let patches = x.f_conv2d(&self.patch_embedding, None::<&Tensor>, stride, [0, 0], [1, 1], 1)?;
        let patches = patches.f_flatten(2, 3)?.f_transpose(1, 2)?; // [B, P, D]
        let class = self.class_embedding.f_view([1, 1, -1])?.f_expand([batch, 1, -1], false)?; // [B, 1, D]
        let x = Tensor::f_cat(&[class, patches], 1)?.f_add(&self.position_embedding)?; // [B, 1 + P, D]
        Ok(self.pre_norm.forward(&x))
    }

    fn wrong(&self, pixel_values: &Tensor) -> ClipVisionError {
        ClipVisionError::Input {
            found: pixel_values.size(),
            kind: pixel_values.kind(),
            side: self.config.image_size,
        }
    }
}

/// The keys of the vision tower, if the text tower stands beside it.
fn vision_tower(keys: &[String]) -> Option<KeyMap> {
    keys.iter().find(|key| key.starts_with("text_model."))?;
    let of_vision =
        keys.iter().filter(|k| k.starts_with("vision_model.") || k.starts_with("visual_projection."));
    Some(of_vision.map(|k| (k.clone(), Source { stored: k.clone(), change: Change::Whole })).collect())
}
