//! IP-Adapter FaceID: an MLP from a face embedding to tokens.
//!
//! Source: IP-Adapter (arXiv 2308.06721) and the published `ip-adapter-faceid*` files: `MLPProjModel` there,
//! `IPAdapterFaceIDImageProjection` in diffusers.

use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::{Init, Vs, Weights, WeightsError};
use tch::{Device, Kind, Tensor};

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
    ///
    /// # Errors
    /// What does not fit, as a sentence to follow the file's name.
    pub fn of(weights: &Weights) -> Result<Self, String> {
        Self::below(weights, "image_proj")
    }

    /// The same below another name.
    pub(super) fn below(weights: &Weights, path: &str) -> Result<Self, String> {
        let shape = |name: &str| {
            let key = format!("{path}.{name}");
            weights.shape(&key).ok_or_else(|| format!("it has no \"{key}\""))
        };
        let first = shape("proj.0.weight")?;
        let second = shape("proj.2.weight")?;
        let norm = shape("norm.weight")?;
        match (first.as_slice(), second.as_slice(), norm.as_slice()) {
            (&[hidden, embedding], &[out, inner], &[dim])
                if inner == hidden && embedding > 0 && dim > 0 && out > 0 && out % dim == 0 =>
            {
                Ok(Self { embedding, hidden, tokens: out / dim, cross_dim: dim })
            }
            _ => Err(format!(
                "{path} has shapes {first:?}, {second:?}, {norm:?}, which do not make an MLP to whole tokens"
            )),
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
