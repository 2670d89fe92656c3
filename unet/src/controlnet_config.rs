//! `config.json` of a ControlNet: the keys of the U-Net's way down, and those of the condition picture.

use std::path::Path;

use serde::Deserialize;

use crate::config::{ConfigError, PerBlock, UNetConfig, read_json};

/// The order of the colours in which a ControlNet was trained to see its picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    Rgb,
    Bgr,
}

/// The keys of a diffusers `ControlNetModel` config, with diffusers' defaults.
#[derive(Clone, Debug, Deserialize)]
pub struct ControlNetConfig {
    /// What it shares with a U-Net. The way up, which a ControlNet lacks, is filled in.
    #[serde(flatten)]
    pub network: UNetConfig,
    #[serde(default = "three")]
    pub conditioning_channels: i64,
    #[serde(default = "embedding_channels")]
    pub conditioning_embedding_out_channels: Vec<i64>,
    #[serde(default = "rgb")]
    pub controlnet_conditioning_channel_order: String,
    #[serde(default)]
    pub global_pool_conditions: bool,
}

/// Convolutions that a condition picture may go through.
const MOST_WIDTHS: usize = 16;

/// Why a file of weights is no ControlNet.
#[derive(Debug, thiserror::Error)]
pub enum NoControlNet {
    #[error("it holds no ControlNet under diffusers' names: \"{0}\" is missing")]
    Missing(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

fn three() -> i64 {
    3
}

fn embedding_channels() -> Vec<i64> {
    vec![16, 32, 96, 256]
}

fn rgb() -> String {
    "rgb".into()
}

impl ControlNetConfig {
    /// Reads and checks a `config.json`.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = read_json(file)?;
        config.complete();
        config.check()?;
        Ok(config)
    }

    /// Of a file of weights alone, whose tensors have these shapes: a ControlNet is a copy of the way down of the
    /// `base` that it was trained for, the shapes say the rest.
    ///
    /// # Errors
    /// The tensor by which a ControlNet is known and that is not there; what [`Self::check`] and
    /// [`Self::check_base`] refuse.
    pub fn of_weights(
        base: &UNetConfig,
        shape: impl Fn(&str) -> Option<Vec<i64>>,
    ) -> Result<Self, NoControlNet> {
        let dim = |key: &str, axis: usize| {
            shape(key)
                .and_then(|shape| shape.get(axis).copied())
                .ok_or_else(|| NoControlNet::Missing(key.into()))
        };
        let picture = "controlnet_cond_embedding.conv_in.weight";
        let mut widths = vec![dim(picture, 0)?];
        // Every second convolution halves the picture, and widens it.
        while let Ok(width) =
            dim(&format!("controlnet_cond_embedding.blocks.{}.weight", 2 * widths.len() - 1), 0)
            && widths.len() <= MOST_WIDTHS
        {
            widths.push(width);
        }
        let mut network = base.clone();
        network.in_channels = dim("conv_in.weight", 1)?;
        if let Some(first) = network.block_out_channels.first_mut() {
            *first = dim("conv_in.weight", 0)?;
        }
        let keys = |block| format!("down_blocks.{block}.attentions.0.transformer_blocks.0.attn2.to_k.weight");
        let blocks = 0..network.block_out_channels.len();
        if let Some(cross) = blocks.into_iter().find_map(|block| dim(&keys(block), 1).ok()) {
            network.cross_attention_dim = PerBlock::All(cross);
        }
        network.time_cond_proj_dim = None;
        let mut config = Self {
            network,
            conditioning_channels: dim(picture, 1)?,
            conditioning_embedding_out_channels: widths,
            controlnet_conditioning_channel_order: rgb(),
            global_pool_conditions: false,
        };
        config.complete();
        config.check()?;
        // Before a tensor is missed that the other base does not have.
        config.check_base(base)?;
        Ok(config)
    }

    /// Gives the network a way up of as many blocks as it has down, since [`UNetConfig`] asks for one, and
    /// the values that ControlNets have fixed.
    fn complete(&mut self) {
        self.network.up_block_types = vec!["UpBlock2D".into(); self.network.block_out_channels.len()];
        self.network.out_channels = self.network.in_channels;
        self.network.conv_in_kernel = 3;
        self.network.time_embedding_dim = None;
    }

    /// Refuses what this implementation does not do, naming key and value.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.network.check()?;
        if self.network.mid_block_type.is_none() {
            return Err(ConfigError::unsupported("mid_block_type", "null", "a ControlNet has a middle"));
        }
        if self.global_pool_conditions {
            let key = "global_pool_conditions";
            return Err(ConfigError::unsupported(key, true, "only false is supported"));
        }
        let key = "conditioning_embedding_out_channels";
        let widths = &self.conditioning_embedding_out_channels;
        if !(1..=MOST_WIDTHS).contains(&widths.len()) {
            return Err(ConfigError::unsupported(key, format!("{widths:?}"), "1 to 16 numbers"));
        }
        let named = widths.iter().map(|&width| (key, width));
        for (key, value) in named.chain([("conditioning_channels", self.conditioning_channels)]) {
            if !(1..=1 << 20).contains(&value) {
                return Err(ConfigError::unsupported(key, value, "1 to 1048576"));
            }
        }
        self.channel_order().map(drop)
    }

    /// The order of colours, `controlnet_conditioning_channel_order`.
    pub fn channel_order(&self) -> Result<ChannelOrder, ConfigError> {
        match self.controlnet_conditioning_channel_order.as_str() {
            "rgb" => Ok(ChannelOrder::Rgb),
            "bgr" => Ok(ChannelOrder::Bgr),
            other => {
                let key = "controlnet_conditioning_channel_order";
                Err(ConfigError::unsupported(key, other, "rgb or bgr"))
            }
        }
    }

    /// Pixels of the condition picture along one side of a latent cell.
    pub fn downscale(&self) -> i64 {
        1 << (self.conditioning_embedding_out_channels.len() - 1)
    }

    /// Refuses a U-Net to whose features this ControlNet's cannot be added, or whose condition has another
    /// width; the error names the key and both values.
    pub fn check_base(&self, unet: &UNetConfig) -> Result<(), ConfigError> {
        let own = &self.network;
        let depths = |config: &UNetConfig| -> Result<Vec<i64>, ConfigError> {
            Ok(config.plans()?.iter().map(|plan| plan.layers).collect())
        };
        for (key, found, wanted) in [
            (
                "block_out_channels",
                format!("{:?}", own.block_out_channels),
                format!("{:?}", unet.block_out_channels),
            ),
            ("layers_per_block", format!("{:?}", depths(own)?), format!("{:?}", depths(unet)?)),
            ("cross_attention_dim", own.cross_dim()?.to_string(), unet.cross_dim()?.to_string()),
        ] {
            if found != wanted {
                let reason = format!("the base model's is {wanted}: the ControlNet belongs to another one");
                return Err(ConfigError::unsupported(key, found, &reason));
            }
        }
        Ok(())
    }
}
