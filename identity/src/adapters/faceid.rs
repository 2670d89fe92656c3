//! IP-Adapter FaceID: an MLP from a face embedding to tokens, projections of those tokens in every
//! cross-attention layer, and a LoRA of the attention layers.
//!
//! Source: IP-Adapter (arXiv 2308.06721) and the published `ip-adapter-faceid*` files, whose keys are
//! `image_proj.*` and `ip_adapter.<N>.*`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use imagine_unet::config::{ConfigError, UNetConfig};
use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::lora::LowRank;
use imagine_unet::unet_2d_condition::{AttentionLayer, attention_layers};
use imagine_unet::{Init, UNet2DConditionModel, Vs, Weights, WeightsError};
use tch::{Device, Kind, Tensor};

/// The projections that a LoRA changes: their names in adapter files and in a U-Net.
const LORA_TARGETS: [(&str, &str); 4] =
    [("to_q", "to_q"), ("to_k", "to_k"), ("to_v", "to_v"), ("to_out", "to_out.0")];

/// Why an adapter could not be used.
#[derive(Debug, thiserror::Error)]
pub enum AdapterError {
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: not a FaceID adapter: {reason}")]
    Kind { file: PathBuf, reason: String },
    #[error(
        "{file}: made for a text condition {adapter} wide, but this model's is {model} wide: \
         the adapter belongs to another base model"
    )]
    WrongBase { file: PathBuf, adapter: i64, model: i64 },
    #[error("{file}: wants face embeddings of {adapter} numbers, got {found}: another face encoder made it")]
    EmbeddingWidth { file: PathBuf, adapter: i64, found: i64 },
}

/// Sizes of the MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaceIdSizes {
    /// Width of the face embedding: 512 for ArcFace, 128 for SFace.
    pub embedding: i64,
    pub hidden: i64,
    /// Tokens T made of one embedding.
    pub tokens: i64,
    /// Width of a token, that of the text condition.
    pub cross_dim: i64,
}

impl FaceIdSizes {
    /// Reads the sizes off the shapes below `image_proj`.
    fn of(weights: &Weights, file: &Path) -> Result<Self, AdapterError> {
        let refuse = |reason: String| AdapterError::Kind { file: file.to_path_buf(), reason };
        let shape = |key: &str| weights.shape(key).ok_or_else(|| refuse(format!("it has no \"{key}\"")));
        if weights.shape("image_proj.perceiver_resampler.proj_in.weight").is_some() {
            return Err(refuse("it is a FaceID-Plus adapter, which needs a CLIP vision encoder".into()));
        }
        let first = shape("image_proj.proj.0.weight")?;
        let second = shape("image_proj.proj.2.weight")?;
        let norm = shape("image_proj.norm.weight")?;
        match (first.as_slice(), second.as_slice(), norm.as_slice()) {
            (&[hidden, embedding], &[out, inner], &[dim])
                if inner == hidden && dim > 0 && out > 0 && out % dim == 0 =>
            {
                Ok(Self { embedding, hidden, tokens: out / dim, cross_dim: dim })
            }
            _ => Err(refuse(format!(
                "image_proj has shapes {first:?}, {second:?}, {norm:?}, which do not make an MLP to whole tokens"
            ))),
        }
    }
}

/// `Linear → GELU → Linear → [B, T, C] → LayerNorm`.
pub struct FaceIdProjection {
    first: Linear,
    second: Linear,
    norm: LayerNorm,
    sizes: FaceIdSizes,
    kind: Kind,
    device: Device,
}

impl FaceIdProjection {
    /// Builds the MLP from `proj.0`, `proj.2` and `norm` below `vs`.
    pub fn new(vs: &Vs, sizes: FaceIdSizes) -> Result<Self, WeightsError> {
        let out = sizes.tokens * sizes.cross_dim;
        Ok(Self {
            first: Linear::with_init(&(vs / "proj.0"), sizes.embedding, sizes.hidden, true, Init::FanIn)?,
            second: Linear::new(&(vs / "proj.2"), sizes.hidden, out, true)?,
            norm: LayerNorm::new(&(vs / "norm"), sizes.cross_dim, 1e-5)?,
            sizes,
            kind: vs.kind(),
            device: vs.device(),
        })
    }

    pub fn sizes(&self) -> FaceIdSizes {
        self.sizes
    }

    /// L2-normalised embeddings [B, E] → tokens [B, T, C]
    pub fn forward(&self, embeddings: &Tensor) -> Tensor {
        let x = embeddings.to_device(self.device).to_kind(self.kind);
        let hidden = self.first.forward(&x).gelu("none"); // [B, hidden]
        let tokens = self.second.forward(&hidden).view([-1, self.sizes.tokens, self.sizes.cross_dim]); // [B, T, C]
        self.norm.forward(&tokens)
    }

    /// Tokens of the unconditional branch: the MLP of a zero embedding, as the reference makes them
    /// (zero tokens would be something else). [rows, T, C]
    pub fn unconditional(&self, rows: i64) -> Tensor {
        self.forward(&Tensor::zeros([rows, self.sizes.embedding], (Kind::Float, self.device)))
    }
}

/// A FaceID adapter file.
pub struct FaceIdAdapter {
    file: PathBuf,
    weights: Weights,
    projection: FaceIdProjection,
}

impl FaceIdAdapter {
    /// Opens an adapter in the published layout, for embeddings of any width.
    pub fn open(file: &Path, device: Device, kind: Kind) -> Result<Self, AdapterError> {
        let weights = Weights::open(&[file.to_path_buf()], device, kind)?;
        let sizes = FaceIdSizes::of(&weights, file)?;
        let projection = FaceIdProjection::new(&(&weights.root() / "image_proj"), sizes)?;
        Ok(Self { file: file.to_path_buf(), weights, projection })
    }

    pub fn projection(&self) -> &FaceIdProjection {
        &self.projection
    }

    /// Merges the adapter's LoRA into the U-Net's weights before that is built. An adapter without
    /// LoRA keys (the portrait variant) changes nothing.
    pub fn merge_lora(&self, unet: &Weights, config: &UNetConfig) -> Result<(), AdapterError> {
        self.check_base(config)?;
        let with_lora: BTreeSet<String> = self
            .weights
            .keys()
            .iter()
            .filter_map(|key| Some(key.split_once("_lora.")?.0.to_string()))
            .collect();
        for (n, layer) in attention_layers(config)?.iter().enumerate() {
            // All four or none: a layer with some of them is damaged.
            if LORA_TARGETS.iter().any(|(name, _)| with_lora.contains(&format!("ip_adapter.{n}.{name}"))) {
                self.merge_layer(unet, n, layer)?;
            }
        }
        Ok(())
    }

    fn merge_layer(&self, unet: &Weights, n: usize, layer: &AttentionLayer) -> Result<(), AdapterError> {
        for (name, target) in LORA_TARGETS {
            let target = format!("{}.{target}.weight", layer.path);
            let missing = || WeightsError::Missing { file: self.file.clone(), key: target.clone() };
            let shape = unet.shape(&target).ok_or_else(missing)?;
            let base = format!("ip_adapter.{n}.{name}_lora");
            // The rank is the file's choice; that both matrices have it is checked when they are read.
            let down = self.weights.shape(&format!("{base}.down.weight")).unwrap_or_default();
            let rank = down.first().copied().unwrap_or(0);
            let vs = &self.weights.root() / &base;
            let (out, inputs) = match shape.as_slice() {
                &[out, inputs] => (out, inputs),
                _ => return Err(missing().into()),
            };
            let change = LowRank {
                down: vs.get("down.weight", &[rank, inputs], Init::Zeros)?,
                up: vs.get("up.weight", &[out, rank], Init::Zeros)?,
                scale: 1.0,
            };
            change.merge_into(unet, &target)?;
        }
        Ok(())
    }

    /// Gives the U-Net the adapter's attention, then refuses keys that belong to nothing.
    pub fn attach(&self, unet: &mut UNet2DConditionModel) -> Result<(), AdapterError> {
        self.check_base(unet.config())?;
        unet.attach_identity(&(&self.weights.root() / "ip_adapter"))?;
        Ok(self.weights.finish(&[])?)
    }

    /// Refuses embeddings of another width than the adapter's.
    pub fn check_embedding(&self, width: i64) -> Result<(), AdapterError> {
        let adapter = self.projection.sizes.embedding;
        if width == adapter {
            return Ok(());
        }
        Err(AdapterError::EmbeddingWidth { file: self.file.clone(), adapter, found: width })
    }

    fn check_base(&self, config: &UNetConfig) -> Result<(), AdapterError> {
        let (adapter, model) = (self.projection.sizes.cross_dim, config.cross_dim()?);
        if adapter == model {
            return Ok(());
        }
        Err(AdapterError::WrongBase { file: self.file.clone(), adapter, model })
    }
}
