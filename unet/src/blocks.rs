//! The U-Net's blocks: `DownBlock2D`, `CrossAttnDownBlock2D`, the middle, `UpBlock2D`,
//! `CrossAttnUpBlock2D`. With and without attention are one type: the attentions are there or not.

use tch::Tensor;

use crate::attention::CrossAttention;
use crate::condition::KvCursor;
use crate::config::{BlockPlan, ConfigError, UNetConfig};
use crate::resnet::{Downsample2D, ResnetBlock2D, ResnetConfig, Upsample2D};
use crate::transformer::{Transformer2DModel, TransformerConfig};
use crate::weights::{Vs, WeightsError};

/// Building a model fails over its configuration or its weights.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Weights(#[from] WeightsError),
}

fn resnet_config(c: &UNetConfig, inputs: i64, outputs: i64) -> Result<ResnetConfig, ConfigError> {
    Ok(ResnetConfig {
        inputs,
        outputs,
        time_dim: Some(c.time_dim()),
        groups: c.groups()?,
        eps: c.norm_eps,
        time_shift: c.time_shift()?,
        output_scale: 1.0,
    })
}

fn transformer_config(c: &UNetConfig, plan: &BlockPlan) -> Result<TransformerConfig, ConfigError> {
    Ok(TransformerConfig {
        channels: plan.channels,
        cross_dim: plan.cross_dim,
        heads: plan.heads,
        layers: plan.transformer_layers,
        groups: c.groups()?,
        linear_projection: c.use_linear_projection,
    })
}

/// A residual block and, in the blocks of that kind, the attention behind it.
struct Layer {
    resnet: ResnetBlock2D,
    attention: Option<Transformer2DModel>,
}

impl Layer {
    fn forward(&self, x: &Tensor, time: &Tensor, kv: &mut KvCursor) -> Tensor {
        let x = self.resnet.forward(x, Some(time));
        match &self.attention {
            Some(attention) => attention.forward(&x, kv),
            None => x,
        }
    }
}

fn layers_new(
    vs: &Vs,
    c: &UNetConfig,
    plan: &BlockPlan,
    inputs: &[i64],
    cross: bool,
) -> Result<Vec<Layer>, ModelError> {
    let transformer = transformer_config(c, plan)?;
    let mut layers = Vec::with_capacity(inputs.len());
    for (i, &channels) in inputs.iter().enumerate() {
        let resnet = resnet_config(c, channels, plan.channels)?;
        layers.push(Layer {
            resnet: ResnetBlock2D::new(&(vs / "resnets" / i), resnet)?,
            attention: if cross {
                Some(Transformer2DModel::new(&(vs / "attentions" / i), &transformer)?)
            } else {
                None
            },
        });
    }
    Ok(layers)
}

/// A block on the way down: features of every layer are kept for the way up.
pub struct DownBlock {
    layers: Vec<Layer>,
    downsampler: Option<Downsample2D>,
}

impl DownBlock {
    /// `inputs`: channels that come in; `last`: no downsampling behind it.
    pub fn new(vs: &Vs, c: &UNetConfig, index: usize, inputs: i64, last: bool) -> Result<Self, ModelError> {
        let plan = &c.plans()?[index];
        let cross = c.down_block_types[index] == "CrossAttnDownBlock2D";
        let channels: Vec<i64> =
            (0..plan.layers).map(|i| if i == 0 { inputs } else { plan.channels }).collect();
        let downsampler = if last {
            None
        } else {
            Some(Downsample2D::new(&(vs / "downsamplers.0"), plan.channels, c.downsample_padding)?)
        };
        Ok(Self { layers: layers_new(vs, c, plan, &channels, cross)?, downsampler })
    }

    /// Pushes each layer's result (and the downsampled one) to `skips`; returns the last.
    pub fn forward(&self, x: &Tensor, time: &Tensor, kv: &mut KvCursor, skips: &mut Vec<Tensor>) -> Tensor {
        let mut x = x.shallow_clone();
        for layer in &self.layers {
            x = layer.forward(&x, time, kv);
            skips.push(x.shallow_clone());
        }
        if let Some(down) = &self.downsampler {
            x = down.forward(&x);
            skips.push(x.shallow_clone());
        }
        x
    }

    fn transformers_mut(&mut self) -> impl Iterator<Item = &mut Transformer2DModel> {
        self.layers.iter_mut().filter_map(|l| l.attention.as_mut())
    }

    fn transformers(&self) -> impl Iterator<Item = &Transformer2DModel> {
        self.layers.iter().filter_map(|l| l.attention.as_ref())
    }
}

/// The middle: a residual block, then attention and a second one where the type has attention.
pub struct MidBlock {
    first: ResnetBlock2D,
    rest: Option<(Transformer2DModel, ResnetBlock2D)>,
}

impl MidBlock {
    pub fn new(vs: &Vs, c: &UNetConfig) -> Result<Self, ModelError> {
        let plans = c.plans()?;
        let plan = plans
            .last()
            .ok_or_else(|| ConfigError::unsupported("block_out_channels", "[]", "one or more"))?;
        let mut resnet = resnet_config(c, plan.channels, plan.channels)?;
        resnet.output_scale = c.mid_block_scale_factor;
        let rest = if c.mid_block_type.as_deref() == Some("UNetMidBlock2DCrossAttn") {
            let attention = Transformer2DModel::new(&(vs / "attentions.0"), &transformer_config(c, plan)?)?;
            Some((attention, ResnetBlock2D::new(&(vs / "resnets.1"), resnet)?))
        } else {
            None
        };
        Ok(Self { first: ResnetBlock2D::new(&(vs / "resnets.0"), resnet)?, rest })
    }

    /// [B, C, H, W] → [B, C, H, W]
    pub fn forward(&self, x: &Tensor, time: &Tensor, kv: &mut KvCursor) -> Tensor {
        let x = self.first.forward(x, Some(time));
        match &self.rest {
            Some((attention, resnet)) => resnet.forward(&attention.forward(&x, kv), Some(time)),
            None => x,
        }
    }
}

/// A block on the way up: each layer takes one kept feature map beside its input.
pub struct UpBlock {
    layers: Vec<Layer>,
    upsampler: Option<Upsample2D>,
}

impl UpBlock {
    /// `index` counts from the lowest resolution, as in checkpoints.
    pub fn new(vs: &Vs, c: &UNetConfig, index: usize) -> Result<Self, ModelError> {
        let mut plans = c.plans()?;
        plans.reverse();
        let last = plans.len() - 1;
        let plan = &plans[index];
        let incoming = plans[index.saturating_sub(1)].channels;
        let lower = plans[(index + 1).min(last)].channels;
        let count = plan.layers + 1;
        let channels: Vec<i64> = (0..count)
            .map(|i| {
                let skip = if i == count - 1 { lower } else { plan.channels };
                let before = if i == 0 { incoming } else { plan.channels };
                before + skip
            })
            .collect();
        let cross = c.up_block_types[index] == "CrossAttnUpBlock2D";
        let upsampler =
            if index == last { None } else { Some(Upsample2D::new(&(vs / "upsamplers.0"), plan.channels)?) };
        Ok(Self { layers: layers_new(vs, c, plan, &channels, cross)?, upsampler })
    }

    /// Takes its share from the end of `skips`; upsamples to the size of the next kept map.
    pub fn forward(&self, x: &Tensor, time: &Tensor, kv: &mut KvCursor, skips: &mut Vec<Tensor>) -> Tensor {
        let mut x = x.shallow_clone();
        for layer in &self.layers {
            let joined = match skips.pop() {
                Some(skip) => Tensor::cat(&[&x, &skip], 1), // [B, before + skip, H, W]
                None => x,
            };
            x = layer.forward(&joined, time, kv);
        }
        match &self.upsampler {
            Some(up) => {
                let size = skips.last().map(|s| (s.size()[2], s.size()[3]));
                up.forward(&x, size)
            }
            None => x,
        }
    }

    fn transformers_mut(&mut self) -> impl Iterator<Item = &mut Transformer2DModel> {
        self.layers.iter_mut().filter_map(|l| l.attention.as_mut())
    }

    fn transformers(&self) -> impl Iterator<Item = &Transformer2DModel> {
        self.layers.iter().filter_map(|l| l.attention.as_ref())
    }
}

/// Cross-attention layers in the order in which a forward pass meets them.
pub fn in_forward_order<'a>(
    down: &'a [DownBlock],
    mid: Option<&'a MidBlock>,
    up: &'a [UpBlock],
) -> impl Iterator<Item = &'a CrossAttention> {
    let middle = mid.and_then(|m| m.rest.as_ref()).map(|r| &r.0);
    down.iter()
        .flat_map(DownBlock::transformers)
        .chain(middle)
        .chain(up.iter().flat_map(UpBlock::transformers))
        .flat_map(Transformer2DModel::cross_attentions)
}

/// Cross-attention layers in the order in which published adapters number them: down, up, middle.
pub fn in_adapter_order<'a>(
    down: &'a mut [DownBlock],
    mid: Option<&'a mut MidBlock>,
    up: &'a mut [UpBlock],
) -> impl Iterator<Item = &'a mut CrossAttention> {
    let middle = mid.and_then(|m| m.rest.as_mut()).map(|r| &mut r.0);
    down.iter_mut()
        .flat_map(DownBlock::transformers_mut)
        .chain(up.iter_mut().flat_map(UpBlock::transformers_mut))
        .chain(middle)
        .flat_map(Transformer2DModel::cross_attentions_mut)
}
