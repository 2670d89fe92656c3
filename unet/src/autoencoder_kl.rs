//! `AutoencoderKL`: pixels to latents and back (Rombach et al., arXiv 2112.10752; reference
//! implementation: diffusers).

use std::path::Path;

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::blocks::ModelError;
use crate::config::{ConfigError, read_json};
use crate::layers::Conv2d;
use crate::tiling::{Tiling, tiled_decode};
use crate::vae_blocks::{Decoder, Encoder};
use crate::weights::Vs;

/// The keys of a diffusers `AutoencoderKL` config, with diffusers' defaults.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct AutoencoderKlConfig {
    pub in_channels: i64,
    pub out_channels: i64,
    pub down_block_types: Vec<String>,
    pub up_block_types: Vec<String>,
    pub block_out_channels: Vec<i64>,
    pub layers_per_block: i64,
    pub act_fn: String,
    pub latent_channels: i64,
    pub norm_num_groups: i64,
    /// Height and width of the pictures that it was trained on; the size of a tile.
    pub sample_size: i64,
    /// Multiplies latents so that their variance is about one.
    pub scaling_factor: f64,
    /// Subtracted from latents before scaling.
    pub shift_factor: Option<f64>,
    /// The model overflows in f16 and has to run in f32 (SDXL's first autoencoder).
    pub force_upcast: bool,
    pub use_quant_conv: bool,
    pub use_post_quant_conv: bool,
    pub mid_block_add_attention: bool,
}

impl Default for AutoencoderKlConfig {
    fn default() -> Self {
        Self {
            in_channels: 3,
            out_channels: 3,
            down_block_types: vec!["DownEncoderBlock2D".into()],
            up_block_types: vec!["UpDecoderBlock2D".into()],
            block_out_channels: vec![64],
            layers_per_block: 1,
            act_fn: "silu".into(),
            latent_channels: 4,
            norm_num_groups: 32,
            sample_size: 32,
            scaling_factor: 0.18215,
            shift_factor: None,
            force_upcast: true,
            use_quant_conv: true,
            use_post_quant_conv: true,
            mid_block_add_attention: true,
        }
    }
}

impl AutoencoderKlConfig {
    /// Reads and checks a `config.json`.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let config: Self = read_json(file)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what this implementation does not do, naming key and value.
    pub fn check(&self) -> Result<(), ConfigError> {
        let blocks = self.block_out_channels.len();
        if blocks == 0 {
            return Err(ConfigError::unsupported("block_out_channels", "[]", "one or more"));
        }
        for (key, kinds, known) in [
            ("down_block_types", &self.down_block_types, "DownEncoderBlock2D"),
            ("up_block_types", &self.up_block_types, "UpDecoderBlock2D"),
        ] {
            if let Some(kind) = kinds.iter().find(|k| *k != known) {
                return Err(ConfigError::unsupported(key, kind, known));
            }
            if kinds.len() != blocks {
                return Err(ConfigError::unsupported(
                    key,
                    kinds.len(),
                    &format!("{blocks} blocks, as many as block_out_channels"),
                ));
            }
        }
        if !matches!(self.act_fn.as_str(), "silu" | "swish") {
            return Err(ConfigError::unsupported("act_fn", &self.act_fn, "silu"));
        }
        if self.norm_num_groups <= 0
            || self.block_out_channels.iter().any(|c| *c <= 0 || c % self.norm_num_groups != 0)
        {
            let value = format!("{:?}", self.block_out_channels);
            return Err(ConfigError::unsupported(
                "block_out_channels",
                value,
                "multiples of norm_num_groups",
            ));
        }
        for (key, value) in [
            ("layers_per_block", self.layers_per_block),
            ("latent_channels", self.latent_channels),
            ("in_channels", self.in_channels),
            ("out_channels", self.out_channels),
            ("sample_size", self.sample_size),
        ] {
            if !(1..=1 << 20).contains(&value) {
                return Err(ConfigError::unsupported(key, value, "1 to 1048576"));
            }
        }
        if !(self.scaling_factor.is_finite() && self.scaling_factor > 0.0) {
            return Err(ConfigError::unsupported("scaling_factor", self.scaling_factor, "a positive number"));
        }
        Ok(())
    }

    /// Pixels along one side of a latent cell.
    pub fn downscale(&self) -> i64 {
        1 << (self.block_out_channels.len() - 1)
    }
}

/// Mean and log-variance of the latents of a batch of pictures.
pub struct LatentDistribution {
    /// [B, latent_channels, h, w]
    pub mean: Tensor,
    /// [B, latent_channels, h, w], clamped to [-30, 20] as the reference does.
    pub log_variance: Tensor,
}

impl LatentDistribution {
    /// `mean + std · noise`
    pub fn sample(&self, noise: &Tensor) -> Tensor {
        &self.mean + (&self.log_variance * 0.5).exp() * noise
    }

    /// Divergence from the unit normal, summed over each picture: [B]
    pub fn kl(&self) -> Tensor {
        let terms = self.mean.square() + self.log_variance.exp() - 1.0 - &self.log_variance;
        terms.sum_dim_intlist([1i64, 2, 3].as_slice(), false, Kind::Float) * 0.5
    }
}

/// The autoencoder. Pixels are in [-1, 1]; latents here are unscaled (see [`Self::scale`]).
pub struct AutoencoderKl {
    encoder: Encoder,
    quant_conv: Option<Conv2d>,
    post_quant_conv: Option<Conv2d>,
    decoder: Decoder,
    config: AutoencoderKlConfig,
    kind: Kind,
}

impl AutoencoderKl {
    /// Builds the model with the weights below `vs`.
    pub fn new(vs: &Vs, config: &AutoencoderKlConfig) -> Result<Self, ModelError> {
        config.check()?;
        let moments = 2 * config.latent_channels;
        let latents = config.latent_channels;
        Ok(Self {
            encoder: Encoder::new(&(vs / "encoder"), config)?,
            quant_conv: if config.use_quant_conv {
                Some(Conv2d::new(&(vs / "quant_conv"), moments, moments, 1, 1, 0)?)
            } else {
                None
            },
            post_quant_conv: if config.use_post_quant_conv {
                Some(Conv2d::new(&(vs / "post_quant_conv"), latents, latents, 1, 1, 0)?)
            } else {
                None
            },
            decoder: Decoder::new(&(vs / "decoder"), config)?,
            config: config.clone(),
            kind: vs.kind(),
        })
    }

    pub fn config(&self) -> &AutoencoderKlConfig {
        &self.config
    }

    /// Pixels [B, 3, H, W] → distribution of latents [B, latent_channels, H/f, W/f]
    pub fn encode(&self, pixels: &Tensor) -> LatentDistribution {
        let mut moments = self.encoder.forward(&pixels.to_kind(self.kind));
        if let Some(conv) = &self.quant_conv {
            moments = conv.forward(&moments);
        }
        let parts = moments.chunk(2, 1); // 2 × [B, latent_channels, h, w]
        LatentDistribution { mean: parts[0].shallow_clone(), log_variance: parts[1].clamp(-30.0, 20.0) }
    }

    /// Latents [B, latent_channels, h, w] → pixels [B, 3, h·f, w·f]
    pub fn decode(&self, latents: &Tensor) -> Tensor {
        let mut x = latents.to_kind(self.kind);
        if let Some(conv) = &self.post_quant_conv {
            x = conv.forward(&x);
        }
        self.decoder.forward(&x)
    }

    /// Like [`Self::decode`] in overlapping tiles, so that memory does not grow with the picture.
    pub fn decode_tiled(&self, latents: &Tensor) -> Tensor {
        let tiling = Tiling::new(self.config.sample_size, self.config.downscale());
        tiled_decode(latents, &tiling, |tile| self.decode(tile))
    }

    /// Unscaled latents to those that the U-Net sees.
    pub fn scale(&self, latents: &Tensor) -> Tensor {
        (latents - self.config.shift_factor.unwrap_or(0.0)) * self.config.scaling_factor
    }

    /// The inverse of [`Self::scale`].
    pub fn unscale(&self, latents: &Tensor) -> Tensor {
        latents / self.config.scaling_factor + self.config.shift_factor.unwrap_or(0.0)
    }
}
