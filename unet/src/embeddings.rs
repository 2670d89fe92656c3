//! Sinusoidal timestep embeddings and the small network behind them.

use tch::{Kind, Tensor};

use crate::layers::Linear;
use crate::weights::{Vs, WeightsError};

/// Sinusoids of a scalar per row, as diffusers' `get_timestep_embedding` computes them.
pub struct Timesteps {
    pub channels: i64,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
}

impl Timesteps {
    /// [N] → [N, channels], f32
    pub fn forward(&self, timesteps: &Tensor) -> Tensor {
        let half = self.channels / 2;
        let device = timesteps.device();
        let exponent = Tensor::arange(half, (Kind::Float, device)) * -(10_000f64.ln());
        let frequencies = (exponent / (half as f64 - self.freq_shift)).exp();
        let angles = timesteps.to_kind(Kind::Float).unsqueeze(-1) * frequencies.unsqueeze(0);
        let (sin, cos) = (angles.sin(), angles.cos());
        let pair = if self.flip_sin_to_cos { [&cos, &sin] } else { [&sin, &cos] };
        let embedding = Tensor::cat(&pair, -1); // [N, 2·half]
        if self.channels % 2 == 1 { embedding.constant_pad_nd([0, 1]) } else { embedding }
    }
}

/// `linear_1` → SiLU → `linear_2`.
pub struct TimestepEmbedding {
    linear_1: Linear,
    linear_2: Linear,
}

impl TimestepEmbedding {
    pub fn new(vs: &Vs, inputs: i64, dim: i64) -> Result<Self, WeightsError> {
        Ok(Self {
            linear_1: Linear::new(&(vs / "linear_1"), inputs, dim, true)?,
            linear_2: Linear::new(&(vs / "linear_2"), dim, dim, true)?,
        })
    }

    /// [N, inputs] → [N, dim]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.linear_2.forward(&self.linear_1.forward(x).silu())
    }
}
