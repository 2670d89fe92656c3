//! `UNet2DConditionModel` of Stable Diffusion 1.x, 2.x and XL (Rombach et al., arXiv 2112.10752;
//! reference implementation: diffusers).

use tch::{Kind, Tensor};

use crate::attention::LayerKv;
use crate::blocks::{DownBlock, MidBlock, ModelError, UpBlock, in_adapter_order, in_forward_order};
use crate::config::{ConfigError, UNetConfig};
use crate::embeddings::{TimestepEmbedding, Timesteps};
use crate::layers::{Conv2d, GroupNorm};
use crate::weights::{Vs, WeightsError};

/// The identity tokens of a batch.
pub struct IdentityTokens {
    /// [B, T, cross_dim]
    pub tokens: Tensor,
    /// Strength of the identity, one a row: [B]
    pub scale: Tensor,
}

/// What the U-Net is conditioned on: constant through all steps of a request.
pub struct Condition {
    /// Hidden states of the text encoder: [B, S, cross_dim]
    pub text: Tensor,
    pub identity: Option<IdentityTokens>,
}

/// SDXL's added condition (`addition_embed_type: text_time`).
pub struct AddedCondition {
    /// Pooled text embedding: [B, P]
    pub text_embeds: Tensor,
    /// Original size, crop and target size: [B, 6]
    pub time_ids: Tensor,
}

/// Keys and values of a [`Condition`] for every cross-attention layer, in forward order.
pub struct CrossKv(Vec<LayerKv>);

impl CrossKv {
    /// Every row `count` times in turn: rows [a, b] become [a, …, a, b, …, b]. For several pictures
    /// of one condition.
    pub fn repeat_rows(&self, count: i64) -> Self {
        Self(self.0.iter().map(|layer| layer.repeat_rows(count)).collect())
    }
}

/// The denoising U-Net.
pub struct UNet2DConditionModel {
    conv_in: Conv2d,
    time_proj: Timesteps,
    time_embedding: TimestepEmbedding,
    added: Option<(Timesteps, TimestepEmbedding)>,
    down_blocks: Vec<DownBlock>,
    mid_block: Option<MidBlock>,
    up_blocks: Vec<UpBlock>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
    config: UNetConfig,
    kind: Kind,
}

impl UNet2DConditionModel {
    /// Builds the model with the weights below `vs`. Errors name the key of the configuration or the
    /// file and tensor at fault.
    pub fn new(vs: &Vs, config: &UNetConfig) -> Result<Self, ModelError> {
        config.check()?;
        let channels = &config.block_out_channels;
        let first = channels[0];
        let last = channels.len() - 1;
        let sinusoid = |channels| Timesteps {
            channels,
            flip_sin_to_cos: config.flip_sin_to_cos,
            freq_shift: config.freq_shift,
        };
        let pad = |kernel: i64| (kernel - 1) / 2;
        let mut down_blocks = Vec::with_capacity(channels.len());
        for i in 0..channels.len() {
            let inputs = if i == 0 { first } else { channels[i - 1] };
            down_blocks.push(DownBlock::new(&(vs / "down_blocks" / i), config, i, inputs, i == last)?);
        }
        let mut up_blocks = Vec::with_capacity(channels.len());
        for i in 0..channels.len() {
            up_blocks.push(UpBlock::new(&(vs / "up_blocks" / i), config, i)?);
        }
        Ok(Self {
            conv_in: Conv2d::new(
                &(vs / "conv_in"),
                config.in_channels,
                first,
                config.conv_in_kernel,
                1,
                pad(config.conv_in_kernel),
            )?,
            time_proj: sinusoid(first),
            time_embedding: TimestepEmbedding::new(&(vs / "time_embedding"), first, config.time_dim())?,
            added: Self::added_embedding(vs, config)?,
            down_blocks,
            mid_block: match config.mid_block_type {
                Some(_) => Some(MidBlock::new(&(vs / "mid_block"), config)?),
                None => None,
            },
            up_blocks,
            conv_norm_out: GroupNorm::new(&(vs / "conv_norm_out"), config.groups()?, first, config.norm_eps)?,
            conv_out: Conv2d::new(
                &(vs / "conv_out"),
                first,
                config.out_channels,
                config.conv_out_kernel,
                1,
                pad(config.conv_out_kernel),
            )?,
            config: config.clone(),
            kind: vs.kind(),
        })
    }

    fn added_embedding(
        vs: &Vs,
        config: &UNetConfig,
    ) -> Result<Option<(Timesteps, TimestepEmbedding)>, ModelError> {
        if config.addition_embed_type.is_none() {
            return Ok(None);
        }
        let need = |key: &str, value: Option<i64>| {
            value.ok_or_else(|| ConfigError::unsupported(key, "null", "text_time needs it"))
        };
        let channels = need("addition_time_embed_dim", config.addition_time_embed_dim)?;
        let inputs =
            need("projection_class_embeddings_input_dim", config.projection_class_embeddings_input_dim)?;
        let sinusoid =
            Timesteps { channels, flip_sin_to_cos: config.flip_sin_to_cos, freq_shift: config.freq_shift };
        Ok(Some((sinusoid, TimestepEmbedding::new(&(vs / "add_embedding"), inputs, config.time_dim())?)))
    }

    pub fn config(&self) -> &UNetConfig {
        &self.config
    }

    /// The type of the weights, in which the model computes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Attaches an identity adapter: `<N>.to_k_ip` and `<N>.to_v_ip` below `vs`, where N counts
    /// attention layers in the order down, up, middle and is odd for cross-attention (the layout of
    /// published IP-Adapter files).
    pub fn attach_identity(&mut self, vs: &Vs) -> Result<(), WeightsError> {
        let layers = in_adapter_order(&mut self.down_blocks, self.mid_block.as_mut(), &mut self.up_blocks);
        for (i, layer) in layers.enumerate() {
            layer.attach_identity(&(vs / (2 * i + 1)))?;
        }
        Ok(())
    }

    /// Keys and values of a condition for all layers: once a request.
    pub fn cross_kv(&self, condition: &Condition) -> CrossKv {
        let text = condition.text.to_kind(self.kind);
        let identity = condition.identity.as_ref().map(|i| {
            let scale = i.scale.to_kind(self.kind).view([-1, 1, 1]); // [B, 1, 1]
            (i.tokens.to_kind(self.kind), scale)
        });
        let identity = identity.as_ref().map(|(tokens, scale)| (tokens, scale));
        let layers = in_forward_order(&self.down_blocks, self.mid_block.as_ref(), &self.up_blocks);
        CrossKv(layers.map(|layer| layer.key_values(&text, identity)).collect())
    }

    /// One evaluation.
    ///
    /// `sample` [B, in_channels, H, W], `timesteps` [B], `cross` of a condition of B rows, `added` for
    /// the models that ask for it → [B, out_channels, H, W] in the model's type.
    pub fn forward(
        &self,
        sample: &Tensor,
        timesteps: &Tensor,
        cross: &CrossKv,
        added: Option<&AddedCondition>,
    ) -> Tensor {
        let mut x = sample.to_kind(self.kind);
        if self.config.center_input_sample {
            x = x * 2.0 - 1.0;
        }
        let mut time = self.time_embedding.forward(&self.time_proj.forward(timesteps).to_kind(self.kind)); // [B, time_dim]
        if let (Some((sinusoid, embedding)), Some(added)) = (&self.added, added) {
            let rows = added.time_ids.size()[0];
            let ids = sinusoid.forward(&added.time_ids.flatten(0, 1)).view([rows, -1]); // [B, 6·dim]
            let joined = Tensor::cat(&[&added.text_embeds.to_kind(self.kind), &ids.to_kind(self.kind)], -1);
            time += embedding.forward(&joined);
        }
        let time = time.silu();
        let mut kv = cross.0.iter();
        x = self.conv_in.forward(&x);
        let mut skips = vec![x.shallow_clone()];
        for block in &self.down_blocks {
            x = block.forward(&x, &time, &mut kv, &mut skips);
        }
        if let Some(mid) = &self.mid_block {
            x = mid.forward(&x, &time, &mut kv);
        }
        for block in &self.up_blocks {
            x = block.forward(&x, &time, &mut kv, &mut skips);
        }
        self.conv_out.forward(&self.conv_norm_out.forward(&x).silu())
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
