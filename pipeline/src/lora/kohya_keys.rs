//! Layers named with underscores, as kohya's trainer and LyCORIS name them. The dots cannot be told from
//! the underscores any more, so names are looked up among those of the model at hand ([`Names`]); the blocks
//! of a U-Net may have their names in diffusers or those in the original Stable Diffusion.

use std::collections::HashMap;

use imagine_unet::UNetConfig;
use imagine_unet::config::ConfigError;

use super::{Network, TextEncoderSlot};

/// The network that a file means by `layer` (a key without its part), and the name behind the prefix;
/// `None` if it is of another kind.
pub(super) fn parse(layer: &str) -> Option<(Network, &str)> {
    const PREFIXES: [(&str, Network); 5] = [
        ("lora_unet_", Network::UNet),
        // LyCORIS around a U-Net, without kohya's trainer.
        ("lycoris_", Network::UNet),
        ("lora_te_", Network::TextEncoder(TextEncoderSlot::First)),
        ("lora_te1_", Network::TextEncoder(TextEncoderSlot::First)),
        ("lora_te2_", Network::TextEncoder(TextEncoderSlot::Second)),
    ];
    PREFIXES.iter().find_map(|(prefix, network)| Some((*network, layer.strip_prefix(prefix)?)))
}

/// Whether a U-Net's layer is named as in the original Stable Diffusion, with dots or underscores.
pub(super) fn is_original(name: &str) -> bool {
    ["input_blocks", "middle_block", "output_blocks"].iter().any(|block| name.starts_with(block))
}

/// The layers of a model by the names that a file may have for them.
pub(super) struct Names {
    /// Name in the file → layer
    table: HashMap<String, String>,
}

impl Names {
    /// Of a U-Net with these layers (diffusers' names): both names of the blocks, with dots and with
    /// underscores.
    pub(super) fn of_unet<'a>(
        layers: impl Iterator<Item = &'a str>,
        config: &UNetConfig,
    ) -> Result<Self, ConfigError> {
        let blocks = OriginalBlocks::new(config)?;
        let mut table = HashMap::new();
        for layer in layers {
            for name in [Some(layer.to_string()), blocks.name(layer)].into_iter().flatten() {
                table.insert(name.replace('.', "_"), layer.to_string());
                table.insert(name, layer.to_string());
            }
        }
        Ok(Self { table })
    }

    /// Of a text encoder with these layers (transformers' names, `text_model.` in front or not).
    pub(super) fn of_text_encoder<'a>(layers: impl Iterator<Item = &'a str>) -> Self {
        let mut table = HashMap::new();
        for layer in layers {
            let bare = layer.strip_prefix("text_model.").unwrap_or(layer);
            let full =
                if bare == "text_projection" { bare.to_string() } else { format!("text_model.{bare}") };
            for name in [full.replace('.', "_"), full, bare.to_string()] {
                table.insert(name, layer.to_string());
            }
        }
        Self { table }
    }

    /// The layer of the model that the file means by `name`.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.table.get(name).map(String::as_str)
    }
}

/// Where the blocks of diffusers stand in the original U-Net's lists.
struct OriginalBlocks {
    /// Number of the first entry of each block, in `input_blocks` and in `output_blocks`.
    inputs: Vec<i64>,
    outputs: Vec<i64>,
    /// Entries of each block in `output_blocks`, and whether it has attentions.
    up: Vec<(i64, bool)>,
    /// Layers of each block in `input_blocks`.
    down: Vec<i64>,
}

impl OriginalBlocks {
    fn new(config: &UNetConfig) -> Result<Self, ConfigError> {
        let plans = config.plans()?;
        let down: Vec<i64> = plans.iter().map(|plan| plan.layers).collect();
        let attends = config.up_block_types.iter().map(|kind| kind.starts_with("CrossAttn"));
        let up: Vec<(i64, bool)> = plans.iter().rev().map(|plan| plan.layers + 1).zip(attends).collect();
        let starts = |first: i64, sizes: &mut dyn Iterator<Item = i64>| {
            sizes
                .scan(first, |next, size| {
                    let start = *next;
                    *next += size;
                    Some(start)
                })
                .collect()
        };
        Ok(Self {
            // Entry 0 is the first convolution; each block ends with its downsampler.
            inputs: starts(1, &mut down.iter().map(|layers| layers + 1)),
            outputs: starts(0, &mut up.iter().map(|(layers, _)| *layers)),
            up,
            down,
        })
    }

    /// The original name of a layer of diffusers.
    fn name(&self, layer: &str) -> Option<String> {
        const OUTSIDE: [(&str, &str); 7] = [
            ("conv_in", "input_blocks.0.0"),
            ("time_embedding.linear_1", "time_embed.0"),
            ("time_embedding.linear_2", "time_embed.2"),
            ("add_embedding.linear_1", "label_emb.0.0"),
            ("add_embedding.linear_2", "label_emb.0.2"),
            ("conv_norm_out", "out.0"),
            ("conv_out", "out.2"),
        ];
        if let Some((_, original)) = OUTSIDE.iter().find(|(name, _)| *name == layer) {
            return Some(original.to_string());
        }
        let words: Vec<&str> = layer.split('.').collect();
        let (prefix, kind, rest) = match *words.as_slice() {
            ["down_blocks", block, kind, index, ref rest @ ..] => {
                let (block, index): (usize, i64) = (block.parse().ok()?, index.parse().ok()?);
                let start = *self.inputs.get(block)?;
                match kind {
                    "resnets" => (format!("input_blocks.{}.0", start + index), kind, rest),
                    "attentions" => (format!("input_blocks.{}.1", start + index), kind, rest),
                    "downsamplers" => {
                        (format!("input_blocks.{}.0", start + self.down.get(block)?), kind, rest)
                    }
                    _ => return None,
                }
            }
            ["mid_block", kind, index, ref rest @ ..] => {
                let place = match (kind, index) {
                    ("resnets", "0") => 0,
                    ("attentions", "0") => 1,
                    ("resnets", "1") => 2,
                    _ => return None,
                };
                (format!("middle_block.{place}"), kind, rest)
            }
            ["up_blocks", block, kind, index, ref rest @ ..] => {
                let (block, index): (usize, i64) = (block.parse().ok()?, index.parse().ok()?);
                let (start, (layers, attends)) = (*self.outputs.get(block)?, *self.up.get(block)?);
                match kind {
                    "resnets" => (format!("output_blocks.{}.0", start + index), kind, rest),
                    "attentions" => (format!("output_blocks.{}.1", start + index), kind, rest),
                    "upsamplers" => {
                        let place = if attends { 2 } else { 1 };
                        (format!("output_blocks.{}.{place}", start + layers - 1), kind, rest)
                    }
                    _ => return None,
                }
            }
            _ => return None,
        };
        let rest = rest.join(".");
        let rest = match (kind, rest.as_str()) {
            ("resnets", "norm1") => "in_layers.0",
            ("resnets", "conv1") => "in_layers.2",
            ("resnets", "time_emb_proj") => "emb_layers.1",
            ("resnets", "norm2") => "out_layers.0",
            ("resnets", "conv2") => "out_layers.3",
            ("resnets", "conv_shortcut") => "skip_connection",
            ("downsamplers", "conv") => "op",
            (_, rest) => rest,
        };
        Some(format!("{prefix}.{rest}"))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// The blocks of SDXL: three levels of two layers, attention on the lower two.
    fn sdxl() -> UNetConfig {
        serde_json::from_value(serde_json::json!({
            "block_out_channels": [320, 640, 1280],
            "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
            "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
            "layers_per_block": 2,
            "transformer_layers_per_block": [1, 2, 10],
            "attention_head_dim": [5, 10, 20],
        }))
        .unwrap()
    }

    #[test]
    fn the_blocks_of_sdxl_have_their_published_numbers() {
        let blocks = OriginalBlocks::new(&sdxl()).unwrap();
        for (layer, original) in [
            ("conv_in", "input_blocks.0.0"),
            ("down_blocks.0.resnets.1.conv1", "input_blocks.2.0.in_layers.2"),
            ("down_blocks.0.downsamplers.0.conv", "input_blocks.3.0.op"),
            ("down_blocks.1.attentions.0.proj_in", "input_blocks.4.1.proj_in"),
            (
                "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k",
                "input_blocks.8.1.transformer_blocks.9.attn2.to_k",
            ),
            ("mid_block.attentions.0.proj_out", "middle_block.1.proj_out"),
            ("mid_block.resnets.1.conv_shortcut", "middle_block.2.skip_connection"),
            ("up_blocks.0.attentions.2.proj_in", "output_blocks.2.1.proj_in"),
            ("up_blocks.0.upsamplers.0.conv", "output_blocks.2.2.conv"),
            ("up_blocks.1.resnets.0.time_emb_proj", "output_blocks.3.0.emb_layers.1"),
            ("up_blocks.2.resnets.2.conv2", "output_blocks.8.0.out_layers.3"),
            ("add_embedding.linear_2", "label_emb.0.2"),
        ] {
            assert_eq!(blocks.name(layer).as_deref(), Some(original), "{layer}");
        }
        assert_eq!(blocks.name("down_blocks.9.resnets.0.conv1"), None);
        assert_eq!(blocks.name("something.else"), None);
    }

    #[test]
    fn names_are_found_in_both_spellings() {
        let layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_out.0";
        let names = Names::of_unet([layer].into_iter(), &sdxl()).unwrap();
        for name in [
            "down_blocks_1_attentions_0_transformer_blocks_0_attn1_to_out_0",
            "input_blocks_4_1_transformer_blocks_0_attn1_to_out_0",
            "input_blocks.4.1.transformer_blocks.0.attn1.to_out.0",
        ] {
            assert_eq!(names.get(name), Some(layer), "{name}");
        }
        let bare = ["encoder.layers.0.mlp.fc1"];
        let names = Names::of_text_encoder(bare.into_iter());
        assert_eq!(names.get("text_model_encoder_layers_0_mlp_fc1"), Some(bare[0]));
    }
}
