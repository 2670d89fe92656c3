//! The parts of the autoencoder: encoder, decoder and the attention between them.

use tch::Tensor;

use crate::autoencoder_kl::AutoencoderKlConfig;
use crate::layers::{Conv2d, GroupNorm, Linear};
use crate::resnet::{Downsample2D, ResnetBlock2D, ResnetConfig, TimeShift, Upsample2D};
use crate::weights::{Init, Vs, WeightsError};

const EPS: f64 = 1e-6;

fn resnet(
    vs: &Vs,
    c: &AutoencoderKlConfig,
    inputs: i64,
    outputs: i64,
) -> Result<ResnetBlock2D, WeightsError> {
    let groups = c.norm_num_groups;
    let config = ResnetConfig {
        inputs,
        outputs,
        time_dim: None,
        groups,
        eps: EPS,
        time_shift: TimeShift::Default,
        output_scale: 1.0,
    };
    ResnetBlock2D::new(vs, config)
}

/// Self-attention over all positions with one head. Files from before diffusers 0.18 call its layers
/// `query`, `key`, `value` and `proj_attn`; both names are read.
struct VaeAttention {
    group_norm: GroupNorm,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
}

impl VaeAttention {
    fn new(vs: &Vs, channels: i64, groups: i64) -> Result<Self, WeightsError> {
        let linear = |new: &str, old: &str| -> Result<Linear, WeightsError> {
            let (w, b) = (
                ["weight", "bias"].map(|p| format!("{new}.{p}")),
                ["weight", "bias"].map(|p| format!("{old}.{p}")),
            );
            Ok(Linear::from_tensors(
                vs.get_any(&[&w[0], &b[0]], &[channels, channels], Init::FanIn)?,
                Some(vs.get_any(&[&w[1], &b[1]], &[channels], Init::Zeros)?),
            ))
        };
        Ok(Self {
            group_norm: GroupNorm::new(&(vs / "group_norm"), groups, channels, EPS)?,
            to_q: linear("to_q", "query")?,
            to_k: linear("to_k", "key")?,
            to_v: linear("to_v", "value")?,
            to_out: linear("to_out.0", "proj_attn")?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let (b, c, h, w) = (x.size()[0], x.size()[1], x.size()[2], x.size()[3]);
        let y = self.group_norm.forward(x).reshape([b, c, h * w]).transpose(1, 2); // [B, H·W, C]
        let head = |l: &Linear| l.forward(&y).unsqueeze(1); // [B, 1, H·W, C]
        let (q, k, v) = (head(&self.to_q), head(&self.to_k), head(&self.to_v));
        let out = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, false, None, false);
        let out = self.to_out.forward(&out.squeeze_dim(1)); // [B, H·W, C]
        x + out.transpose(1, 2).reshape([b, c, h, w])
    }
}

struct Mid {
    first: ResnetBlock2D,
    attention: Option<VaeAttention>,
    second: ResnetBlock2D,
}

impl Mid {
    fn new(vs: &Vs, c: &AutoencoderKlConfig, channels: i64) -> Result<Self, WeightsError> {
        Ok(Self {
            first: resnet(&(vs / "resnets.0"), c, channels, channels)?,
            attention: if c.mid_block_add_attention {
                Some(VaeAttention::new(&(vs / "attentions.0"), channels, c.norm_num_groups)?)
            } else {
                None
            },
            second: resnet(&(vs / "resnets.1"), c, channels, channels)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.first.forward(x, None);
        let x = self.attention.as_ref().map_or(x.shallow_clone(), |a| a.forward(&x));
        self.second.forward(&x, None)
    }
}

struct Stage<R> {
    resnets: Vec<ResnetBlock2D>,
    resample: Option<R>,
}

/// Pixels to the moments of the latent distribution.
pub struct Encoder {
    conv_in: Conv2d,
    stages: Vec<Stage<Downsample2D>>,
    mid: Mid,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    pub fn new(vs: &Vs, c: &AutoencoderKlConfig) -> Result<Self, WeightsError> {
        let widths = &c.block_out_channels;
        let (first, deepest) = (widths[0], widths[widths.len() - 1]);
        let mut stages = Vec::with_capacity(widths.len());
        for (i, &width) in widths.iter().enumerate() {
            let vs = vs / "down_blocks" / i;
            let inputs = if i == 0 { first } else { widths[i - 1] };
            let resnets = (0..c.layers_per_block)
                .map(|j| resnet(&(&vs / "resnets" / j), c, if j == 0 { inputs } else { width }, width))
                .collect::<Result<_, _>>()?;
            let resample = if i + 1 < widths.len() {
                Some(Downsample2D::new(&(vs / "downsamplers.0"), width, 0)?)
            } else {
                None
            };
            stages.push(Stage { resnets, resample });
        }
        Ok(Self {
            conv_in: Conv2d::new(&(vs / "conv_in"), c.in_channels, first, 3, 1, 1)?,
            stages,
            mid: Mid::new(&(vs / "mid_block"), c, deepest)?,
            conv_norm_out: GroupNorm::new(&(vs / "conv_norm_out"), c.norm_num_groups, deepest, EPS)?,
            conv_out: Conv2d::new(&(vs / "conv_out"), deepest, 2 * c.latent_channels, 3, 1, 1)?,
        })
    }

    /// [B, 3, H, W] → [B, 2·latent_channels, H/f, W/f]
    pub fn forward(&self, pixels: &Tensor) -> Tensor {
        let mut x = self.conv_in.forward(pixels);
        for stage in &self.stages {
            for resnet in &stage.resnets {
                x = resnet.forward(&x, None);
            }
            if let Some(down) = &stage.resample {
                x = down.forward(&x);
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&self.mid.forward(&x)))
    }
}

/// Latents to pixels.
pub struct Decoder {
    conv_in: Conv2d,
    mid: Mid,
    stages: Vec<Stage<Upsample2D>>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    pub fn new(vs: &Vs, c: &AutoencoderKlConfig) -> Result<Self, WeightsError> {
        let widths: Vec<i64> = c.block_out_channels.iter().rev().copied().collect();
        let (deepest, last) = (widths[0], widths[widths.len() - 1]);
        let mut stages = Vec::with_capacity(widths.len());
        for (i, &width) in widths.iter().enumerate() {
            let vs = vs / "up_blocks" / i;
            let inputs = if i == 0 { deepest } else { widths[i - 1] };
            let resnets = (0..=c.layers_per_block)
                .map(|j| resnet(&(&vs / "resnets" / j), c, if j == 0 { inputs } else { width }, width))
                .collect::<Result<_, _>>()?;
            let resample = if i + 1 < widths.len() {
                Some(Upsample2D::new(&(vs / "upsamplers.0"), width)?)
            } else {
                None
            };
            stages.push(Stage { resnets, resample });
        }
        Ok(Self {
            conv_in: Conv2d::new(&(vs / "conv_in"), c.latent_channels, deepest, 3, 1, 1)?,
            mid: Mid::new(&(vs / "mid_block"), c, deepest)?,
            stages,
            conv_norm_out: GroupNorm::new(&(vs / "conv_norm_out"), c.norm_num_groups, last, EPS)?,
            conv_out: Conv2d::new(&(vs / "conv_out"), last, c.out_channels, 3, 1, 1)?,
        })
    }

    /// [B, latent_channels, h, w] → [B, 3, h·f, w·f]
    pub fn forward(&self, latents: &Tensor) -> Tensor {
        let mut x = self.mid.forward(&self.conv_in.forward(latents));
        for stage in &self.stages {
            for resnet in &stage.resnets {
                x = resnet.forward(&x, None);
            }
            if let Some(up) = &stage.resample {
                x = up.forward(&x, None);
            }
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&x))
    }
}
