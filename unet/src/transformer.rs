//! The spatial transformer: self-attention, cross-attention and feed-forward over a feature map.

use tch::Tensor;

use crate::attention::{CrossAttention, LayerKv, SelfAttention};
use crate::condition::{KvCursor, Strengths};
use crate::fused_linear::Follow;
use crate::layers::{Conv2d, GroupNorm, LayerNorm, Linear, plus};
use crate::weights::{Vs, WeightsError};

/// Sizes of one spatial transformer.
#[derive(Clone, Copy, Debug)]
pub struct TransformerConfig {
    pub channels: i64,
    pub cross_dim: i64,
    pub heads: i64,
    pub layers: i64,
    pub groups: i64,
    /// `proj_in` and `proj_out` are linear layers (SD 2.x, SDXL) instead of 1×1 convolutions.
    pub linear_projection: bool,
}

/// Feed-forward with a gated GELU (`GEGLU`), four times as wide inside.
struct FeedForward {
    /// Values, then gates.
    proj: Linear,
    out: Linear,
    inner: i64,
}

impl FeedForward {
    fn new(vs: &Vs, dim: i64) -> Result<Self, WeightsError> {
        Ok(Self {
            proj: Linear::new(&(vs / "net.0.proj"), dim, 8 * dim, true)?,
            out: Linear::new(&(vs / "net.2"), 4 * dim, dim, true)?,
            inner: 4 * dim,
        })
    }

    /// [B, N, dim] → [B, N, dim], added to `onto` of the same shape.
    ///
    /// Values and gates are computed apart, so that the gates' GELU and the product of both need no pass of their
    /// own: these are the largest tensors of a model.
    fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Tensor {
        let gate = self.proj.rows(self.inner, self.inner).forward_then(x, Follow::Gelu); // [B, N, 4·dim]
        let gated = self.proj.rows(0, self.inner).forward_then(x, Follow::Multiply(&gate));
        self.out.forward_then(&gated, Follow::Add(onto))
    }
}

/// diffusers' `BasicTransformerBlock`.
pub struct BasicTransformerBlock {
    norm1: LayerNorm,
    attn1: SelfAttention,
    norm2: LayerNorm,
    attn2: CrossAttention,
    norm3: LayerNorm,
    ff: FeedForward,
}

impl BasicTransformerBlock {
    fn new(vs: &Vs, c: &TransformerConfig) -> Result<Self, WeightsError> {
        let dim = c.channels;
        Ok(Self {
            norm1: LayerNorm::new(&(vs / "norm1"), dim, 1e-5)?,
            attn1: SelfAttention::new(&(vs / "attn1"), dim, c.heads)?,
            norm2: LayerNorm::new(&(vs / "norm2"), dim, 1e-5)?,
            attn2: CrossAttention::new(&(vs / "attn2"), dim, c.cross_dim, c.heads)?,
            norm3: LayerNorm::new(&(vs / "norm3"), dim, 1e-5)?,
            ff: FeedForward::new(&(vs / "ff"), dim)?,
        })
    }

    fn forward(&self, x: &Tensor, kv: &LayerKv, strengths: &[Strengths]) -> Tensor {
        let x = self.attn1.forward_onto(&self.norm1.forward(x), x);
        let x = self.attn2.forward_onto(&self.norm2.forward(&x), kv, strengths, &x);
        self.ff.forward_onto(&self.norm3.forward(&x), &x)
    }
}

enum Projection {
    Conv(Conv2d),
    Linear(Linear),
}

impl Projection {
    fn new(vs: &Vs, channels: i64, linear: bool) -> Result<Self, WeightsError> {
        Ok(if linear {
            Self::Linear(Linear::new(vs, channels, channels, true)?)
        } else {
            Self::Conv(Conv2d::new(vs, channels, channels, 1, 1, 0)?)
        })
    }
}

/// diffusers' `Transformer2DModel` for feature maps.
pub struct Transformer2DModel {
    norm: GroupNorm,
    proj_in: Projection,
    blocks: Vec<BasicTransformerBlock>,
    proj_out: Projection,
}

impl Transformer2DModel {
    pub fn new(vs: &Vs, c: &TransformerConfig) -> Result<Self, WeightsError> {
        let blocks = (0..c.layers)
            .map(|i| BasicTransformerBlock::new(&(vs / "transformer_blocks" / i), c))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            norm: GroupNorm::new(&(vs / "norm"), c.groups, c.channels, 1e-6)?,
            proj_in: Projection::new(&(vs / "proj_in"), c.channels, c.linear_projection)?,
            blocks,
            proj_out: Projection::new(&(vs / "proj_out"), c.channels, c.linear_projection)?,
        })
    }

    /// The cross-attention layers, first to last.
    pub fn cross_attentions(&self) -> impl Iterator<Item = &CrossAttention> {
        self.blocks.iter().map(|b| &b.attn2)
    }

    /// Like [`Transformer2DModel::cross_attentions`], to attach an adapter.
    pub fn cross_attentions_mut(&mut self) -> impl Iterator<Item = &mut CrossAttention> {
        self.blocks.iter_mut().map(|b| &mut b.attn2)
    }

    /// x [B, C, H, W] → [B, C, H, W]; takes one [`LayerKv`] a block from `kv`.
    pub fn forward(&self, x: &Tensor, kv: &mut KvCursor) -> Tensor {
        let (b, c, h, w) = (x.size()[0], x.size()[1], x.size()[2], x.size()[3]);
        let tokens = |t: &Tensor| t.permute([0, 2, 3, 1]).reshape([b, h * w, c]); // [B, H·W, C]
        let normed = self.norm.forward(x);
        let mut y = match &self.proj_in {
            Projection::Conv(conv) => tokens(&conv.forward(&normed)),
            Projection::Linear(linear) => linear.forward(&tokens(&normed)),
        };
        let strengths = kv.strengths(h, w);
        for (block, kv) in self.blocks.iter().zip(kv) {
            y = block.forward(&y, kv, &strengths);
        }
        let map = |t: &Tensor| t.view([b, h, w, c]).permute([0, 3, 1, 2]).contiguous(); // [B, C, H, W]
        let out = match &self.proj_out {
            Projection::Conv(conv) => conv.forward(&map(&y)),
            Projection::Linear(linear) => map(&linear.forward(&y)),
        };
        plus(out, x)
    }
}
