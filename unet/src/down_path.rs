//! What a U-Net and a ControlNet have in common: the time embedding, the way down and the middle.

use tch::{Kind, Tensor};

use crate::blocks::{DownBlock, MidBlock, ModelError};
use crate::condition::{AddedCondition, KvCursor};
use crate::config::{ConfigError, UNetConfig};
use crate::embeddings::{TimestepEmbedding, Timesteps};
use crate::layers::Conv2d;
use crate::weights::Vs;

/// Input convolution, time embedding, down blocks and middle, under the names that both models use.
pub struct DownPath {
    conv_in: Conv2d,
    time_proj: Timesteps,
    time_embedding: TimestepEmbedding,
    added: Option<(Timesteps, TimestepEmbedding)>,
    pub(crate) down_blocks: Vec<DownBlock>,
    pub(crate) mid_block: Option<MidBlock>,
    center_input: bool,
    kind: Kind,
}

impl DownPath {
    /// Builds the layers with the weights below `vs`. The configuration must have been checked.
    pub fn new(vs: &Vs, config: &UNetConfig) -> Result<Self, ModelError> {
        let channels = &config.block_out_channels;
        let first = config.first_channels();
        let mut down_blocks = Vec::with_capacity(channels.len());
        let mut inputs = first;
        for (i, &outputs) in channels.iter().enumerate() {
            let last = i + 1 == channels.len();
            down_blocks.push(DownBlock::new(&(vs / "down_blocks" / i), config, i, inputs, last)?);
            inputs = outputs;
        }
        let kernel = config.conv_in_kernel;
        Ok(Self {
            conv_in: Conv2d::new(&(vs / "conv_in"), config.in_channels, first, kernel, 1, (kernel - 1) / 2)?,
            time_proj: sinusoid(config, first),
            time_embedding: TimestepEmbedding::conditioned(
                &(vs / "time_embedding"),
                first,
                config.time_dim(),
                config.time_cond_proj_dim,
            )?,
            added: added_embedding(vs, config)?,
            down_blocks,
            mid_block: match config.mid_block_type {
                Some(_) => Some(MidBlock::new(&(vs / "mid_block"), config)?),
                None => None,
            },
            center_input: config.center_input_sample,
            kind: vs.kind(),
        })
    }

    /// The type of the weights, in which the model computes.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Timesteps [B], the embedded guidance [B, time_cond_proj_dim] and what is added to them → [B, time_dim], after
    /// the SiLU that every residual block begins with.
    pub fn embed_time(
        &self,
        timesteps: &Tensor,
        guidance: Option<&Tensor>,
        added: Option<&AddedCondition>,
    ) -> Tensor {
        let time = self.time_proj.forward(timesteps).to_kind(self.kind);
        let time = self.time_embedding.forward_with(&time, guidance); // [B, time_dim]
        let time = match (&self.added, added) {
            (Some((sinusoid, embedding)), Some(added)) => {
                let rows = added.time_ids.size()[0];
                let ids = sinusoid.forward(&added.time_ids.flatten(0, 1)).view([rows, -1]); // [B, 6·dim]
                let text = added.text_embeds.to_kind(self.kind);
                time + embedding.forward(&Tensor::cat(&[&text, &ids.to_kind(self.kind)], -1))
            }
            _ => time,
        };
        time.silu()
    }

    /// Latents [B, in_channels, H, W] → the first features [B, C, H, W]
    pub fn enter(&self, sample: &Tensor) -> Tensor {
        let x = sample.to_kind(self.kind);
        if self.center_input { self.conv_in.forward(&(x * 2.0 - 1.0)) } else { self.conv_in.forward(&x) }
    }

    /// The way down: first features [B, C, H, W] → the last [B, C', h, w] and all that are kept for the
    /// way up, the first included.
    pub fn descend(&self, x: Tensor, time: &Tensor, kv: &mut KvCursor) -> (Tensor, Vec<Tensor>) {
        let mut skips = vec![x.shallow_clone()];
        let mut x = x;
        for block in &self.down_blocks {
            x = block.forward(&x, time, kv, &mut skips);
        }
        (x, skips)
    }

    /// The middle, if there is one: [B, C, h, w] → [B, C, h, w]
    pub fn middle(&self, x: Tensor, time: &Tensor, kv: &mut KvCursor) -> Tensor {
        match &self.mid_block {
            Some(mid) => mid.forward(&x, time, kv),
            None => x,
        }
    }
}

fn sinusoid(config: &UNetConfig, channels: i64) -> Timesteps {
    Timesteps { channels, flip_sin_to_cos: config.flip_sin_to_cos, freq_shift: config.freq_shift }
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
    let inputs = need("projection_class_embeddings_input_dim", config.projection_class_embeddings_input_dim)?;
    let embedding = TimestepEmbedding::new(&(vs / "add_embedding"), inputs, config.time_dim())?;
    Ok(Some((sinusoid(config, channels), embedding)))
}
