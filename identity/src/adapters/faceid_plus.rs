//! FaceID-Plus: the tokens of a face embedding read CLIP's patch tokens of the face.
//!
//! Source: IP-Adapter's `ProjPlusModel` (`IPAdapterFaceIDPlusImageProjection` in diffusers). Version 1 gives
//! what the resampler makes; version 2 adds it, with a scale, to the tokens of the embedding alone, so that
//! the strength of the picture's structure can be chosen.

use imagine_unet::{Vs, Weights, WeightsError};
use tch::Tensor;

use super::faceid::{FaceIdProjection, FaceIdSizes};
use super::resampler::{Perceiver, ResamplerSizes};

/// Sizes of the MLP and of the resampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaceIdPlusSizes {
    pub embedding: FaceIdSizes,
    pub resampler: ResamplerSizes,
}

impl FaceIdPlusSizes {
    /// Reads the sizes off the shapes below `image_proj`.
    ///
    /// # Errors
    /// What does not fit, as a sentence to follow the file's name.
    pub fn of(weights: &Weights) -> Result<Self, String> {
        let embedding = FaceIdSizes::of(weights)?;
        let resampler = ResamplerSizes::of(weights, "image_proj.perceiver_resampler")?;
        let width = embedding.cross_dim;
        if resampler.dim != width || resampler.outputs != width {
            return Err(format!(
                "\"image_proj.norm.weight\" is {width} wide, but the resampler takes queries of {} and gives \
                 tokens of {}",
                resampler.dim, resampler.outputs
            ));
        }
        Ok(Self { embedding, resampler })
    }
}

/// The MLP to tokens and the resampler whose queries they are.
pub struct FaceIdPlusProjection {
    embedding: FaceIdProjection,
    perceiver: Perceiver,
    sizes: FaceIdPlusSizes,
}

impl FaceIdPlusProjection {
    /// Weights below `vs`: those of [`FaceIdProjection::new`], and `perceiver_resampler` as in
    /// [`Perceiver::new`].
    pub fn new(vs: &Vs, sizes: FaceIdPlusSizes) -> Result<Self, WeightsError> {
        Ok(Self {
            embedding: FaceIdProjection::new(vs, sizes.embedding)?,
            perceiver: Perceiver::new(&(vs / "perceiver_resampler"), &sizes.resampler)?,
            sizes,
        })
    }

    pub fn sizes(&self) -> FaceIdPlusSizes {
        self.sizes
    }

    /// L2-normalised embeddings [B, E] and CLIP's last hidden states but one [B, S, W] → tokens [B, T, C].
    /// `shortcut` is version 2's scale; without it, version 1.
    pub fn forward(&self, embeddings: &Tensor, clip: &Tensor, shortcut: Option<f64>) -> Tensor {
        let tokens = self.embedding.forward(embeddings); // [B, T, C]
        let clip = clip.to_device(tokens.device()).to_kind(tokens.kind());
        let read = self.perceiver.forward(&tokens, &clip); // [B, T, C]
        match shortcut {
            Some(scale) => tokens + read * scale,
            None => read,
        }
    }
}
