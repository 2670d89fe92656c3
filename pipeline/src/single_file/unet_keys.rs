//! The U-Net of the original layout (`UNetModel` of latent-diffusion and of Stability's generative-models):
//! numbered `input_blocks`, `middle_block`, `output_blocks`. Walking through them gives both the
//! configuration and the keys; reference for the names: `convert_ldm_unet_checkpoint` of diffusers.

use imagine_unet::UNetConfig;
use imagine_unet::config::PerBlock;
use imagine_unet::weights::KeyMap;

use super::error::SingleFileError;
use super::infer::{BaseModel, Prediction, SingleFileKind};
use super::layout::{Keys, Layout};

pub(super) const PREFIX: &str = "model.diffusion_model.";

/// One resolution on the way down.
#[derive(Default)]
struct Level {
    channels: i64,
    layers: i64,
    /// Transformer blocks in each attention, where there is attention.
    depth: Option<i64>,
}

/// The parts of a residual block, by their names in the model and in the file.
const RESNET: [(&str, &str); 5] = [
    ("norm1", "in_layers.0"),
    ("conv1", "in_layers.2"),
    ("time_emb_proj", "emb_layers.1"),
    ("norm2", "out_layers.0"),
    ("conv2", "out_layers.3"),
];

/// Configuration and keys of the U-Net. `pooled` is the width of SDXL's pooled text embedding.
pub(super) fn read(
    layout: &Layout,
    kind: &SingleFileKind,
    pooled: Option<i64>,
) -> Result<(UNetConfig, KeyMap), SingleFileError> {
    read_at(layout, PREFIX, kind, pooled)
}

/// The same of keys that start so.
pub(super) fn read_at(
    layout: &Layout,
    prefix: &str,
    kind: &SingleFileKind,
    pooled: Option<i64>,
) -> Result<(UNetConfig, KeyMap), SingleFileError> {
    let mut walk = Walk { keys: Keys::new(layout, prefix), linear: false, cross_dim: 0 };
    let first = walk.keys.dim("input_blocks.0.0.weight", 0)?;
    walk.keys.layer("conv_in", "input_blocks.0.0");
    walk.keys.layer("time_embedding.linear_1", "time_embed.0");
    walk.keys.layer("time_embedding.linear_2", "time_embed.2");
    // Of models that were distilled to take the guidance as a number.
    let guidance = "time_embed.cond_proj.weight";
    let time_cond_proj_dim =
        if walk.keys.has_prefix(guidance) { Some(walk.keys.dim(guidance, 1)?) } else { None };
    if time_cond_proj_dim.is_some() {
        walk.keys.add("time_embedding.cond_proj.weight", guidance);
    }
    let levels = walk.down(first)?;
    let mid_depth = walk.middle()?;
    let up_has_attention = walk.up(&levels)?;
    walk.keys.layer("conv_norm_out", "out.0");
    walk.keys.layer("conv_out", "out.2");

    let time_dim = walk.keys.dim("time_embed.0.weight", 0)?;
    let mut config = UNetConfig {
        sample_size: Some(kind.latent_size()),
        in_channels: walk.keys.dim("input_blocks.0.0.weight", 1)?,
        out_channels: walk.keys.dim("out.2.weight", 0)?,
        down_block_types: levels.iter().map(|l| block_type(l.depth.is_some(), "Down")).collect(),
        up_block_types: up_has_attention.iter().map(|&a| block_type(a, "Up")).collect(),
        block_out_channels: levels.iter().map(|l| l.channels).collect(),
        layers_per_block: per_block(levels.iter().map(|l| l.layers).collect()),
        transformer_layers_per_block: walk.depths(&levels, mid_depth)?,
        cross_attention_dim: PerBlock::All(walk.cross_dim),
        use_linear_projection: walk.linear,
        norm_num_groups: Some(groups(levels.iter().map(|l| l.channels))),
        time_embedding_dim: (time_dim != 4 * first).then_some(time_dim),
        attention_head_dim: match kind.base {
            // Eight heads whatever the width; the later models have heads of 64 channels.
            BaseModel::Sd1 => PerBlock::All(8),
            BaseModel::Sd2 | BaseModel::Sdxl => {
                PerBlock::Each(levels.iter().map(|l| (l.channels / 64).max(1)).collect())
            }
        },
        time_cond_proj_dim,
        upcast_attention: (kind.base == BaseModel::Sd2 && kind.prediction == Prediction::V).then_some(true),
        ..UNetConfig::default()
    };
    if let Some(pooled) = pooled {
        walk.keys.layer("add_embedding.linear_1", "label_emb.0.0");
        walk.keys.layer("add_embedding.linear_2", "label_emb.0.2");
        let inputs = walk.keys.dim("label_emb.0.0.weight", 1)?;
        // Beside the pooled text there are six numbers: original size, crop, target size.
        let each = (inputs - pooled) / 6;
        if each < 1 || each * 6 + pooled != inputs {
            let reason = format!("{inputs} inputs are not {pooled} of the text and six sinusoids");
            return Err(layout.wrong(&walk.keys.stored("label_emb.0.0.weight"), reason));
        }
        config.addition_embed_type = Some("text_time".into());
        config.addition_time_embed_dim = Some(each);
        config.projection_class_embeddings_input_dim = Some(inputs);
    }
    config.check().map_err(|source| SingleFileError::Config { file: layout.file(), source })?;
    Ok((config, walk.keys.map))
}

fn block_type(attention: bool, direction: &str) -> String {
    format!("{}{direction}Block2D", if attention { "CrossAttn" } else { "" })
}

/// One number where all are equal.
fn per_block(each: Vec<i64>) -> PerBlock {
    match each.first() {
        Some(&first) if each.iter().all(|&n| n == first) => PerBlock::All(first),
        _ => PerBlock::Each(each),
    }
}

/// Groups of the normalisations, which shapes do not tell: 32 in every published model; in narrower ones
/// the most of 32 that fit.
pub(super) fn groups(widths: impl Iterator<Item = i64>) -> i64 {
    fn gcd(a: i64, b: i64) -> i64 {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    widths.fold(32, gcd)
}

struct Walk<'a> {
    keys: Keys<'a>,
    /// Linear layers around the attention instead of 1×1 convolutions.
    linear: bool,
    cross_dim: i64,
}

impl Walk<'_> {
    /// `input_blocks` from 1 on.
    fn down(&mut self, first: i64) -> Result<Vec<Level>, SingleFileError> {
        let mut levels = vec![Level { channels: first, ..Level::default() }];
        for i in 1.. {
            let number = levels.len() - 1;
            let Some(level) = levels.last_mut() else { break };
            let block = format!("input_blocks.{i}");
            if self.keys.has_prefix(&format!("{block}.0.op.")) {
                self.keys
                    .layer(&format!("down_blocks.{number}.downsamplers.0.conv"), &format!("{block}.0.op"));
                levels.push(Level::default());
                continue;
            }
            if !self.keys.has_prefix(&format!("{block}.0.")) {
                break;
            }
            let layer = level.layers;
            level.channels =
                self.resnet(&format!("down_blocks.{number}.resnets.{layer}"), &format!("{block}.0"))?;
            let depth =
                self.attention(&format!("down_blocks.{number}.attentions.{layer}"), &format!("{block}.1"))?;
            if layer > 0 && depth != level.depth {
                return Err(self.uneven(&format!("{block}.1")));
            }
            level.depth = depth;
            level.layers += 1;
        }
        Ok(levels)
    }

    /// The transformer blocks in the middle.
    fn middle(&mut self) -> Result<i64, SingleFileError> {
        self.resnet("mid_block.resnets.0", "middle_block.0")?;
        let depth = self.attention("mid_block.attentions.0", "middle_block.1")?;
        let depth = depth.ok_or_else(|| self.uneven("middle_block.1"))?;
        self.resnet("mid_block.resnets.1", "middle_block.2")?;
        Ok(depth)
    }

    /// `output_blocks`: one more layer in each level than on the way down. Says which levels have attention,
    /// the deepest first.
    fn up(&mut self, levels: &[Level]) -> Result<Vec<bool>, SingleFileError> {
        let mut with_attention = Vec::with_capacity(levels.len());
        let mut i = 0;
        for (number, level) in levels.iter().rev().enumerate() {
            let mut has_attention = false;
            for layer in 0..=level.layers {
                let block = format!("output_blocks.{i}");
                self.resnet(&format!("up_blocks.{number}.resnets.{layer}"), &format!("{block}.0"))?;
                let depth =
                    self.attention(&format!("up_blocks.{number}.attentions.{layer}"), &format!("{block}.1"))?;
                if (layer > 0 && depth.is_some() != has_attention)
                    || level.depth.is_some_and(|down| depth.is_some_and(|up| up != down))
                {
                    return Err(self.uneven(&format!("{block}.1")));
                }
                has_attention = depth.is_some();
                // The upsampler follows the attention, or the residual block where there is none.
                let upsampler = format!("{block}.{}", if has_attention { 2 } else { 1 });
                if self.keys.has_prefix(&format!("{upsampler}.conv.")) {
                    self.keys.layer(
                        &format!("up_blocks.{number}.upsamplers.0.conv"),
                        &format!("{upsampler}.conv"),
                    );
                }
                i += 1;
            }
            with_attention.push(has_attention);
        }
        Ok(with_attention)
    }

    /// The configuration's depths: that of the last level also holds for the middle.
    fn depths(&self, levels: &[Level], mid_depth: i64) -> Result<PerBlock, SingleFileError> {
        let mut depths: Vec<i64> = levels.iter().map(|l| l.depth.unwrap_or(1)).collect();
        if let (Some(last), Some(level)) = (depths.last_mut(), levels.last()) {
            if level.depth.is_some_and(|depth| depth != mid_depth) {
                return Err(self.uneven("middle_block.1"));
            }
            *last = mid_depth;
        }
        Ok(per_block(depths))
    }

    fn uneven(&self, block: &str) -> SingleFileError {
        SingleFileError::Unsupported {
            file: self.keys.layout.file(),
            what: format!("attention whose depth differs within a level ({PREFIX}{block})"),
            reason: "that is a pruned or distilled U-Net (such as SSD-1B); take its full model".into(),
        }
    }

    /// A residual block; its width.
    fn resnet(&mut self, model: &str, stored: &str) -> Result<i64, SingleFileError> {
        for (name, number) in RESNET {
            self.keys.layer(&format!("{model}.{name}"), &format!("{stored}.{number}"));
        }
        let inputs = self.keys.dim(&format!("{stored}.in_layers.0.weight"), 0)?;
        let outputs = self.keys.dim(&format!("{stored}.out_layers.3.weight"), 0)?;
        if inputs != outputs {
            self.keys.layer(&format!("{model}.conv_shortcut"), &format!("{stored}.skip_connection"));
        }
        Ok(outputs)
    }

    /// A spatial transformer if there is one; the number of its blocks.
    fn attention(&mut self, model: &str, stored: &str) -> Result<Option<i64>, SingleFileError> {
        if !self.keys.has_prefix(&format!("{stored}.transformer_blocks.")) {
            return Ok(None);
        }
        self.linear = self.keys.shape(&format!("{stored}.proj_in.weight"))?.len() == 2;
        for name in ["norm", "proj_in", "proj_out"] {
            self.keys.layer(&format!("{model}.{name}"), &format!("{stored}.{name}"));
        }
        let block = |d: usize| format!("transformer_blocks.{d}");
        let depth = self.keys.count(|d| format!("{stored}.{}.", block(d)));
        for d in 0..depth {
            // The blocks have the same names in both layouts.
            let (model, stored) = (format!("{model}.{}", block(d)), format!("{stored}.{}", block(d)));
            for name in
                ["norm1", "norm2", "norm3", "attn1.to_out.0", "attn2.to_out.0", "ff.net.0.proj", "ff.net.2"]
            {
                self.keys.layer(&format!("{model}.{name}"), &format!("{stored}.{name}"));
            }
            for name in ["attn1", "attn2"].iter().flat_map(|a| ["q", "k", "v"].map(|p| format!("{a}.to_{p}")))
            {
                self.keys.add(format!("{model}.{name}.weight"), &format!("{stored}.{name}.weight"));
            }
            self.cross_dim = self.keys.dim(&format!("{stored}.attn2.to_k.weight"), 1)?;
        }
        Ok(Some(depth as i64))
    }
}
