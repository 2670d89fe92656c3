//! The projections of IP-Adapters that see a picture through CLIP and know nothing of faces.
//!
//! Source: IP-Adapter (arXiv 2308.06721): `ImageProjModel` and the full-face `MLPProjModel` there;
//! `ImageProjection` and `IPAdapterFullImageProjection` in diffusers. The Plus files are a
//! [`Resampler`](super::Resampler).

use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::{Init, Vs, Weights, WeightsError};
use tch::{Device, Kind, Tensor};

const EPS: f64 = 1e-5;

/// Sizes of the plain projection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageProjectionSizes {
    /// Width of CLIP's projected embedding: 1024 for ViT-H/14, 1280 for bigG/14.
    pub inputs: i64,
    /// Tokens T made of one picture.
    pub tokens: i64,
    /// Width C of a token, that of the text condition.
    pub cross_dim: i64,
}

impl ImageProjectionSizes {
    /// Reads the sizes off the shapes below `image_proj`.
    ///
    /// # Errors
    /// What does not fit, as a sentence to follow the file's name.
    pub fn of(weights: &Weights) -> Result<Self, String> {
        let shape = |name: &str| weights.shape(&format!("image_proj.{name}")).unwrap_or_default();
        let (proj, norm) = (shape("proj.weight"), shape("norm.weight"));
        match (proj.as_slice(), norm.as_slice()) {
            (&[out, inputs], &[dim]) if inputs > 0 && dim > 0 && out > 0 && out % dim == 0 => {
                Ok(Self { inputs, tokens: out / dim, cross_dim: dim })
            }
            _ => Err(format!(
                "\"image_proj.proj.weight\" {proj:?} and \"image_proj.norm.weight\" {norm:?} do not make whole \
                 tokens"
            )),
        }
    }
}

/// `Linear → [B, T, C] → LayerNorm`.
pub struct ImageProjection {
    proj: Linear,
    norm: LayerNorm,
    sizes: ImageProjectionSizes,
    kind: Kind,
    device: Device,
}

impl ImageProjection {
    /// Weights below `vs`: `proj` and `norm`.
    pub fn new(vs: &Vs, sizes: ImageProjectionSizes) -> Result<Self, WeightsError> {
        let out = sizes.tokens * sizes.cross_dim;
        Ok(Self {
            proj: Linear::with_init(&(vs / "proj"), sizes.inputs, out, true, Init::FanIn)?,
            norm: LayerNorm::new(&(vs / "norm"), sizes.cross_dim, EPS)?,
            sizes,
            kind: vs.kind(),
            device: vs.device(),
        })
    }

    pub fn sizes(&self) -> ImageProjectionSizes {
        self.sizes
    }

    /// Projected CLIP embeddings [B, E] → tokens [B, T, C]
    pub fn forward(&self, image_embeds: &Tensor) -> Tensor {
        let x = image_embeds.to_device(self.device).to_kind(self.kind);
        let tokens = self.proj.forward(&x).view([-1, self.sizes.tokens, self.sizes.cross_dim]); // [B, T, C]
        self.norm.forward(&tokens)
    }

    /// Tokens of the unconditional branch: those of a zero embedding. [1, T, C]
    pub fn unconditional(&self) -> Tensor {
        self.forward(&Tensor::zeros([1, self.sizes.inputs], (Kind::Float, self.device)))
    }
}

/// Sizes of the full-face MLP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullFaceSizes {
    /// Width E of CLIP's hidden states.
    pub inputs: i64,
    pub hidden: i64,
    /// Width C of a token, that of the text condition.
    pub cross_dim: i64,
}

impl FullFaceSizes {
    /// Reads the sizes off the shapes below `image_proj`.
    ///
    /// # Errors
    /// What does not fit, as a sentence to follow the file's name.
    pub fn of(weights: &Weights) -> Result<Self, String> {
        let shape = |name: &str| weights.shape(&format!("image_proj.{name}")).unwrap_or_default();
        let (first, second) = (shape("proj.0.weight"), shape("proj.2.weight"));
        match (first.as_slice(), second.as_slice()) {
            (&[hidden, inputs], &[cross_dim, inner]) if inner == hidden && inputs > 0 => {
                Ok(Self { inputs, hidden, cross_dim })
            }
            _ => Err(format!(
                "\"image_proj.proj.0.weight\" {first:?} and \"image_proj.proj.2.weight\" {second:?} do not make \
                 an MLP"
            )),
        }
    }
}

/// `Linear → GELU → Linear → LayerNorm` of every CLIP token by itself.
pub struct FullFaceProjection {
    first: Linear,
    second: Linear,
    norm: LayerNorm,
    sizes: FullFaceSizes,
    kind: Kind,
    device: Device,
}

impl FullFaceProjection {
    /// Weights below `vs`: `proj.0`, `proj.2` and the norm `proj.3`.
    pub fn new(vs: &Vs, sizes: FullFaceSizes) -> Result<Self, WeightsError> {
        let vs = vs / "proj";
        Ok(Self {
            first: Linear::new(&(&vs / 0), sizes.inputs, sizes.hidden, true)?,
            second: Linear::new(&(&vs / 2), sizes.hidden, sizes.cross_dim, true)?,
            norm: LayerNorm::new(&(&vs / 3), sizes.cross_dim, EPS)?,
            sizes,
            kind: vs.kind(),
            device: vs.device(),
        })
    }

    pub fn sizes(&self) -> FullFaceSizes {
        self.sizes
    }

    /// CLIP states [B, S, E] → tokens [B, S, C]
    pub fn forward(&self, states: &Tensor) -> Tensor {
        let x = states.to_device(self.device).to_kind(self.kind);
        let hidden = self.first.forward(&x).gelu("none"); // [B, S, hidden]
        self.norm.forward(&self.second.forward(&hidden))
    }
}
