//! Sinusoidal timestep embeddings and the small network behind them.

use tch::{Device, Kind, Tensor};

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
    /// Of a condition that is added to the input.
    cond_proj: Option<Linear>,
}

impl TimestepEmbedding {
    pub fn new(vs: &Vs, inputs: i64, dim: i64) -> Result<Self, WeightsError> {
        Self::conditioned(vs, inputs, dim, None)
    }

    /// With a further input of `condition` numbers, if it is given.
    pub fn conditioned(vs: &Vs, inputs: i64, dim: i64, condition: Option<i64>) -> Result<Self, WeightsError> {
        let cond_proj = |width| Linear::new(&(vs / "cond_proj"), width, inputs, false);
        Ok(Self {
            linear_1: Linear::new(&(vs / "linear_1"), inputs, dim, true)?,
            linear_2: Linear::new(&(vs / "linear_2"), dim, dim, true)?,
            cond_proj: condition.map(cond_proj).transpose()?,
        })
    }

    /// [N, inputs] → [N, dim]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.linear_2.forward(&self.linear_1.forward(x).silu())
    }

    /// [N, inputs] with the condition [N, condition] → [N, dim]; one that the weights do not take is not heard.
    pub fn forward_with(&self, x: &Tensor, condition: Option<&Tensor>) -> Tensor {
        match (&self.cond_proj, condition) {
            (Some(layer), Some(condition)) => {
                self.forward(&(x + layer.forward(&condition.to_kind(x.kind()))))
            }
            _ => self.forward(x),
        }
    }
}

/// Sinusoids of a guidance strength, as U-Nets take it that were distilled from guided ones (Meng et al., arXiv
/// 2210.03142; reference: `get_guidance_scale_embedding` of diffusers): [N, channels], f32.
pub fn guidance_embedding(scales: &[f64], channels: i64, device: Device) -> Tensor {
    let half = channels / 2;
    // Here it is in f32 from the first number on, and one less than the strength is embedded.
    let scales: Vec<f32> = scales.iter().map(|scale| (scale - 1.0) as f32).collect();
    let scales = Tensor::from_slice(&scales).to_device(device) * 1000.0; // [N]
    let step = f64::from(10_000f32.ln()) / (half - 1).max(1) as f64;
    let frequencies = (Tensor::arange(half, (Kind::Float, device)) * -step).exp();
    let angles = scales.unsqueeze(-1) * frequencies.unsqueeze(0); // [N, half]
    let embedding = Tensor::cat(&[angles.sin(), angles.cos()], -1); // [N, 2·half]
    if channels % 2 == 1 { embedding.constant_pad_nd([0, 1]) } else { embedding }
}
