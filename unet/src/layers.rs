//! The layers that all models are made of, with their weights under PyTorch's names.

use tch::Tensor;

use crate::fused_linear::{self, Follow};
use crate::weights::{Init, Vs, WeightsError};
use crate::winograd;

/// a + b, in the memory of `a` where no gradient needs its values. b's shape may be repeated to a's.
pub fn plus(mut a: Tensor, b: &Tensor) -> Tensor {
    if a.requires_grad() || b.requires_grad() { a + b } else { a.g_add_(b) }
}

/// `weight` [out, in], optional `bias` [out].
pub struct Linear {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Linear {
    pub fn new(vs: &Vs, inputs: i64, outputs: i64, bias: bool) -> Result<Self, WeightsError> {
        Self::with_init(vs, inputs, outputs, bias, Init::FanIn)
    }

    /// Like [`Linear::new`], with another start for a fresh weight.
    pub fn with_init(
        vs: &Vs,
        inputs: i64,
        outputs: i64,
        bias: bool,
        init: Init,
    ) -> Result<Self, WeightsError> {
        let weight = vs.get("weight", &[outputs, inputs], init)?;
        let bias = if bias { Some(vs.get("bias", &[outputs], Init::Zeros)?) } else { None };
        Ok(Self { weight, bias })
    }

    /// A layer from tensors at hand.
    pub fn from_tensors(weight: Tensor, bias: Option<Tensor>) -> Self {
        Self { weight, bias }
    }

    /// The part of the layer that makes outputs `start` to `start + count`; shares the weights.
    pub fn rows(&self, start: i64, count: i64) -> Self {
        let part = |t: &Tensor| t.narrow(0, start, count);
        Self { weight: part(&self.weight), bias: self.bias.as_ref().map(part) }
    }

    /// [.., in] → [.., out]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.forward_then(x, Follow::Nothing)
    }

    /// [`Linear::forward`], and something more with each result.
    pub fn forward_then(&self, x: &Tensor, follow: Follow) -> Tensor {
        fused_linear::linear(x, &self.weight, self.bias.as_ref(), follow)
    }
}

/// `weight` [out, in, k, k] and `bias` [out].
pub struct Conv2d {
    weight: Tensor,
    bias: Tensor,
    stride: i64,
    padding: i64,
}

impl Conv2d {
    pub fn new(
        vs: &Vs,
        inputs: i64,
        outputs: i64,
        kernel: i64,
        stride: i64,
        padding: i64,
    ) -> Result<Self, WeightsError> {
        let weight = vs.get("weight", &[outputs, inputs, kernel, kernel], Init::FanIn)?;
        Ok(Self { weight, bias: vs.get("bias", &[outputs], Init::Zeros)?, stride, padding })
    }

    /// [B, in, H, W] → [B, out, H', W']
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let (s, p) = (self.stride, self.padding);
        if (s, p) == (1, 1) && winograd::pays(x, &self.weight) {
            return winograd::conv3x3(x, &self.weight, &self.bias);
        }
        x.conv2d(&self.weight, Some(&self.bias), [s, s], [p, p], [1, 1], 1)
    }
}

/// Normalises groups of channels; `weight` and `bias` [channels].
pub struct GroupNorm {
    weight: Tensor,
    bias: Tensor,
    groups: i64,
    eps: f64,
}

impl GroupNorm {
    pub fn new(vs: &Vs, groups: i64, channels: i64, eps: f64) -> Result<Self, WeightsError> {
        let weight = vs.get("weight", &[channels], Init::Ones)?;
        Ok(Self { weight, bias: vs.get("bias", &[channels], Init::Zeros)?, groups, eps })
    }

    /// [B, C, ..] → [B, C, ..]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.group_norm(self.groups, Some(&self.weight), Some(&self.bias), self.eps, true)
    }

    /// [`GroupNorm::forward`], then SiLU.
    pub fn forward_silu(&self, x: &Tensor) -> Tensor {
        let mut normed = self.forward(x);
        // In place where no gradient needs the values before.
        if normed.requires_grad() { normed.silu() } else { normed.silu_() }
    }
}

/// Normalises the last dimension; `weight` and `bias` [dim].
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    dim: i64,
    eps: f64,
}

impl LayerNorm {
    pub fn new(vs: &Vs, dim: i64, eps: f64) -> Result<Self, WeightsError> {
        let weight = vs.get("weight", &[dim], Init::Ones)?;
        Ok(Self { weight, bias: vs.get("bias", &[dim], Init::Zeros)?, dim, eps })
    }

    /// [.., dim] → [.., dim]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        x.layer_norm([self.dim], Some(&self.weight), Some(&self.bias), self.eps, true)
    }
}
