//! Low-rank changes of weights (LoRA, arXiv 2106.09685), merged when a model is loaded: at run time
//! they cost nothing.

use tch::{Kind, Tensor};

use crate::weights::{Weights, WeightsError};

/// One low-rank change: `weight + scale · up · down`.
pub struct LowRank {
    /// [rank, in]
    pub down: Tensor,
    /// [out, rank]
    pub up: Tensor,
    pub scale: f64,
}

impl LowRank {
    /// The change as a matrix [out, in], in f32.
    pub fn delta(&self, key: &str) -> Result<Tensor, WeightsError> {
        let product = self.up.to_kind(Kind::Float).f_matmul(&self.down.to_kind(Kind::Float));
        let delta = product.map_err(|source| WeightsError::Tensor { key: key.to_string(), source })?;
        Ok(delta * self.scale)
    }

    /// Has `weights` add the change to the tensor `key` when it is loaded.
    pub fn merge_into(&self, weights: &Weights, key: &str) -> Result<(), WeightsError> {
        weights.add_delta(key, self.delta(key)?)
    }
}
