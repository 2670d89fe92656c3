//! PhotoMaker v2's network over a face embedding: two tokens are made of the embedding, then they read
//! CLIP's patch tokens of the picture and what they read is added to them.
//!
//! Source: `QFormerPerceiver` of the published code; its resampler is IP-Adapter's with wider heads.

use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::{Vs, Weights, WeightsError};
use tch::Tensor;

use super::resampler::{Perceiver, ResamplerSizes};

/// Width of one attention head. No shape shows it.
const HEAD_DIM: i64 = 128;

/// The norms' epsilon, PyTorch's default.
const EPS: f64 = 1e-5;

/// Where the network stands in a file's encoder.
const PREFIX: &str = "qformer_perceiver";

/// Sizes of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QFormerSizes {
    /// Width E of the face embedding.
    embedding: i64,
    hidden: i64,
    /// Tokens T made of one embedding.
    tokens: i64,
    /// Width C of a token.
    width: i64,
    resampler: ResamplerSizes,
}

impl QFormerSizes {
    /// Reads the sizes off the shapes, for tokens of this width.
    ///
    /// # Errors
    /// What is missing or does not fit, as a sentence to follow the file's name.
    pub(super) fn of(weights: &Weights, width: i64) -> Result<Self, String> {
        let matrix = |name: &str| match weights.shape(&format!("{PREFIX}.{name}")).as_deref() {
            Some(&[rows, columns]) if rows > 0 && columns > 0 => Ok((rows, columns)),
            Some(shape) => Err(format!("\"{PREFIX}.{name}\" has shape {shape:?}, which is not a matrix")),
            None => Err(format!("it has no \"{PREFIX}.{name}\"")),
        };
        let (hidden, embedding) = matrix("token_proj.0.weight")?;
        let (all, _) = matrix("token_proj.2.weight")?;
        if all != 2 * width {
            return Err(format!(
                "\"{PREFIX}.token_proj.2.weight\" has {all} rows, expected two tokens of {width}"
            ));
        }
        let prefix = format!("{PREFIX}.perceiver_resampler");
        let mut resampler = ResamplerSizes::of(weights, &prefix)?;
        if resampler.dim != width || resampler.outputs != width || resampler.inner % HEAD_DIM != 0 {
            return Err(format!(
                "\"{prefix}\" does not read and write tokens of {width} in heads of {HEAD_DIM}"
            ));
        }
        resampler.heads = resampler.inner / HEAD_DIM;
        Ok(Self { embedding, hidden, tokens: 2, width, resampler })
    }
}

/// Face embeddings and CLIP's patch tokens to tokens of the person.
pub(super) struct QFormerPerceiver {
    first: Linear,
    second: Linear,
    norm: LayerNorm,
    perceiver: Perceiver,
    sizes: QFormerSizes,
}

impl QFormerPerceiver {
    /// Weights below `vs`: `token_proj.{0,2}`, `token_norm`, `perceiver_resampler` as in [`Perceiver::new`].
    pub(super) fn new(vs: &Vs, sizes: QFormerSizes) -> Result<Self, WeightsError> {
        let QFormerSizes { embedding, hidden, tokens, width, resampler } = sizes;
        Ok(Self {
            first: Linear::new(&(vs / "token_proj.0"), embedding, hidden, true)?,
            second: Linear::new(&(vs / "token_proj.2"), hidden, tokens * width, true)?,
            norm: LayerNorm::new(&(vs / "token_norm"), width, EPS)?,
            perceiver: Perceiver::new(&(vs / "perceiver_resampler"), &resampler)?,
            sizes,
        })
    }

    pub(super) fn embedding_width(&self) -> i64 {
        self.sizes.embedding
    }

    /// Width of CLIP's states.
    pub(super) fn vision_width(&self) -> i64 {
        self.sizes.resampler.inputs
    }

    /// Embeddings [N, E] and states [N, S, W] → [N, T, C]
    pub(super) fn forward(&self, embeddings: &Tensor, states: &Tensor) -> Tensor {
        let hidden = self.first.forward(embeddings).gelu("none"); // [N, hidden]
        let tokens = self.second.forward(&hidden).view([-1, self.sizes.tokens, self.sizes.width]); // [N, T, C]
        let tokens = self.norm.forward(&tokens);
        &tokens + self.perceiver.forward(&tokens, states)
    }
}
