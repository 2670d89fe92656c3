//! The residual block and the resampling layers around it.

use tch::Tensor;

use crate::layers::{Conv2d, GroupNorm, Linear, plus};
use crate::weights::{Vs, WeightsError};

/// How the time embedding enters a residual block (`resnet_time_scale_shift`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeShift {
    /// Added before the second normalisation.
    Default,
    /// Scales and shifts after the second normalisation.
    ScaleShift,
}

/// Sizes of one residual block.
#[derive(Clone, Copy, Debug)]
pub struct ResnetConfig {
    pub inputs: i64,
    pub outputs: i64,
    /// Width of the time embedding; none in the autoencoder.
    pub time_dim: Option<i64>,
    pub groups: i64,
    pub eps: f64,
    pub time_shift: TimeShift,
    /// Divides the sum of both branches.
    pub output_scale: f64,
}

/// diffusers' `ResnetBlock2D`.
pub struct ResnetBlock2D {
    norm1: GroupNorm,
    conv1: Conv2d,
    time_emb_proj: Option<Linear>,
    norm2: GroupNorm,
    conv2: Conv2d,
    conv_shortcut: Option<Conv2d>,
    config: ResnetConfig,
}

impl ResnetBlock2D {
    pub fn new(vs: &Vs, c: ResnetConfig) -> Result<Self, WeightsError> {
        let time_emb_proj = match c.time_dim {
            Some(dim) => {
                let width = if c.time_shift == TimeShift::ScaleShift { 2 * c.outputs } else { c.outputs };
                Some(Linear::new(&(vs / "time_emb_proj"), dim, width, true)?)
            }
            None => None,
        };
        let conv_shortcut = if c.inputs == c.outputs {
            None
        } else {
            Some(Conv2d::new(&(vs / "conv_shortcut"), c.inputs, c.outputs, 1, 1, 0)?)
        };
        Ok(Self {
            norm1: GroupNorm::new(&(vs / "norm1"), c.groups, c.inputs, c.eps)?,
            conv1: Conv2d::new(&(vs / "conv1"), c.inputs, c.outputs, 3, 1, 1)?,
            time_emb_proj,
            norm2: GroupNorm::new(&(vs / "norm2"), c.groups, c.outputs, c.eps)?,
            conv2: Conv2d::new(&(vs / "conv2"), c.outputs, c.outputs, 3, 1, 1)?,
            conv_shortcut,
            config: c,
        })
    }

    /// x [B, inputs, H, W], time [B, time_dim] after its SiLU → [B, outputs, H, W]
    pub fn forward(&self, x: &Tensor, time: Option<&Tensor>) -> Tensor {
        let mut h = self.conv1.forward(&self.norm1.forward_silu(x));
        let shift = match (&self.time_emb_proj, time) {
            (Some(proj), Some(time)) => Some(proj.forward(time).unsqueeze(-1).unsqueeze(-1)), // [B, C, 1, 1]
            _ => None,
        };
        h = match (shift, self.config.time_shift) {
            (None, _) => self.norm2.forward_silu(&h),
            (Some(shift), TimeShift::Default) => self.norm2.forward_silu(&plus(h, &shift)),
            (Some(shift), TimeShift::ScaleShift) => {
                let parts = shift.chunk(2, 1); // 2 × [B, C, 1, 1]
                (self.norm2.forward(&h) * (&parts[0] + 1.0) + &parts[1]).silu()
            }
        };
        h = self.conv2.forward(&h);
        let sum = match &self.conv_shortcut {
            Some(conv) => plus(h, &conv.forward(x)),
            None => plus(h, x),
        };
        if self.config.output_scale == 1.0 { sum } else { sum / self.config.output_scale }
    }
}

/// Halves height and width by a strided convolution.
pub struct Downsample2D {
    conv: Conv2d,
    /// The autoencoder pads on the right and below only.
    one_sided: bool,
}

impl Downsample2D {
    pub fn new(vs: &Vs, channels: i64, padding: i64) -> Result<Self, WeightsError> {
        let conv = Conv2d::new(&(vs / "conv"), channels, channels, 3, 2, padding)?;
        Ok(Self { conv, one_sided: padding == 0 })
    }

    /// [B, C, H, W] → [B, C, H/2, W/2]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        if self.one_sided {
            self.conv.forward(&x.constant_pad_nd([0, 1, 0, 1]))
        } else {
            self.conv.forward(x)
        }
    }
}

/// Doubles height and width (nearest neighbour) and convolves.
pub struct Upsample2D {
    conv: Conv2d,
}

impl Upsample2D {
    pub fn new(vs: &Vs, channels: i64) -> Result<Self, WeightsError> {
        Ok(Self { conv: Conv2d::new(&(vs / "conv"), channels, channels, 3, 1, 1)? })
    }

    /// [B, C, H, W] → [B, C, h, w], where (h, w) is `size` or twice the input's.
    pub fn forward(&self, x: &Tensor, size: Option<(i64, i64)>) -> Tensor {
        let (h, w) = size.unwrap_or_else(|| {
            let s = x.size();
            (2 * s[2], 2 * s[3])
        });
        let up = x.upsample_nearest2d([h, w], None, None);
        self.conv.forward(&up)
    }
}
