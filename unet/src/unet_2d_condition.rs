//! `UNet2DConditionModel` of Stable Diffusion 1.x, 2.x and XL (Rombach et al., arXiv 2112.10752;
//! reference implementation: diffusers).

use tch::{Kind, Tensor};

use crate::blocks::{ModelError, UpBlock, in_adapter_order, in_forward_order};
use crate::condition::{AddedCondition, Condition, CrossKv};
use crate::config::{ConfigError, UNetConfig};
use crate::controlnet::ControlResiduals;
use crate::down_path::DownPath;
use crate::layers::{Conv2d, GroupNorm};
use crate::weights::{Vs, WeightsError};

/// The denoising U-Net.
pub struct UNet2DConditionModel {
    path: DownPath,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    config: UNetConfig,
}

impl UNet2DConditionModel {
    /// Builds the model with the weights below `vs`. Errors name the key of the configuration or the
    /// file and tensor at fault.
    pub fn new(vs: &Vs, config: &UNetConfig) -> Result<Self, ModelError> {
        config.check()?;
        let first = config.first_channels();
        let up_blocks = (0..config.block_out_channels.len())
            .map(|i| UpBlock::new(&(vs / "up_blocks" / i), config, i))
            .collect::<Result<_, _>>()?;
        let kernel = config.conv_out_kernel;
        let outputs = config.out_channels;
        Ok(Self {
            path: DownPath::new(vs, config)?,
            up_blocks,
            conv_norm_out: GroupNorm::new(&(vs / "conv_norm_out"), config.groups()?, first, config.norm_eps)?,
            conv_out: Conv2d::new(&(vs / "conv_out"), first, outputs, kernel, 1, (kernel - 1) / 2)?,
            config: config.clone(),
        })
    }

    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The type of the weights, in which the model computes.
    pub fn kind(&self) -> Kind {
        self.path.kind()
    }

    /// Attaches an identity adapter: `<N>.to_k_ip` and `<N>.to_v_ip` below `vs`, where N counts
    /// attention layers in the order down, up, middle and is odd for cross-attention (the layout of
    /// published IP-Adapter files).
    pub fn attach_identity(&mut self, vs: &Vs) -> Result<(), WeightsError> {
        let layers =
            in_adapter_order(&mut self.path.down_blocks, self.path.mid_block.as_mut(), &mut self.up_blocks);
        for (i, layer) in layers.enumerate() {
            layer.attach_identity(&(vs / (2 * i + 1)))?;
        }
        Ok(())
    }

    /// Keys and values of a condition for all layers: once a request.
    pub fn cross_kv(&self, condition: &Condition) -> CrossKv {
        let layers = in_forward_order(&self.path.down_blocks, self.path.mid_block.as_ref(), &self.up_blocks);
        CrossKv::new(layers, condition, self.kind())
    }

    /// One evaluation.
    ///
    /// `sample` [B, in_channels, H, W], `timesteps` [B], `cross` of a condition of B rows, `added` for
    /// the models that ask for it, `residuals` of the same rows from a ControlNet → [B, out_channels, H, W] in
    /// the model's type.
    pub fn forward(
        &self,
        sample: &Tensor,
        timesteps: &Tensor,
        cross: &CrossKv,
        added: Option<&AddedCondition>,
        residuals: Option<&ControlResiduals>,
    ) -> Tensor {
        self.forward_guided(sample, timesteps, None, cross, added, residuals)
    }

    /// [`Self::forward`] with the embedded guidance [B, time_cond_proj_dim]
    /// ([`guidance_embedding`](crate::embeddings::guidance_embedding)) for U-Nets that take one; without it such a
    /// U-Net computes as diffusers' does without `timestep_cond`.
    pub fn forward_guided(
        &self,
        sample: &Tensor,
        timesteps: &Tensor,
        guidance: Option<&Tensor>,
        cross: &CrossKv,
        added: Option<&AddedCondition>,
        residuals: Option<&ControlResiduals>,
    ) -> Tensor {
        let time = self.path.embed_time(timesteps, guidance, added);
        let mut kv = cross.cursor();
        let (x, mut skips) = self.path.descend(self.path.enter(sample), &time, &mut kv);
        let x = self.path.middle(x, &time, &mut kv);
        let mut x = match residuals {
            None => x,
            Some(residuals) => {
                // Not in place: the kept maps are the inputs of the next blocks, too.
                for (skip, residual) in skips.iter_mut().zip(&residuals.down) {
                    *skip = &*skip + residual.to_kind(self.kind());
                }
                x + residuals.mid.to_kind(self.kind())
            }
        };
        for block in &self.up_blocks {
            x = block.forward(&x, &time, &mut kv, &mut skips);
        }
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&x))
    }
}

/// One attention layer of a U-Net, as adapters and LoRA files address it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttentionLayer {
    /// E.g. `down_blocks.0.attentions.1.transformer_blocks.0.attn2`
    pub path: String,
    pub is_cross: bool,
}

/// All attention layers in the order in which published adapters number them.
pub fn attention_layers(config: &UNetConfig) -> Result<Vec<AttentionLayer>, ConfigError> {
    let plans = config.plans()?;
    let mut layers = Vec::new();
    let mut add = |block: String, attentions: i64, depth: i64| {
        for a in 0..attentions {
            for d in 0..depth {
                for (name, is_cross) in [("attn1", false), ("attn2", true)] {
                    let path = format!("{block}.attentions.{a}.transformer_blocks.{d}.{name}");
                    layers.push(AttentionLayer { path, is_cross });
                }
            }
        }
    };
    for (i, plan) in plans.iter().enumerate() {
        if config.down_block_types[i].starts_with("CrossAttn") {
            add(format!("down_blocks.{i}"), plan.layers, plan.transformer_layers);
        }
    }
    for (i, plan) in plans.iter().rev().enumerate() {
        if config.up_block_types[i].starts_with("CrossAttn") {
            add(format!("up_blocks.{i}"), plan.layers + 1, plan.transformer_layers);
        }
    }
    if let (Some("UNetMidBlock2DCrossAttn"), Some(plan)) = (config.mid_block_type.as_deref(), plans.last()) {
        add("mid_block".into(), 1, plan.transformer_layers);
    }
    Ok(layers)
}
