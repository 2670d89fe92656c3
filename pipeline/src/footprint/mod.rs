//! What a model costs before it is loaded: parameters, memory and arithmetic, counted from its configurations.
//!
//! **Memory** = weights + the larger of a step's and the decoder's activations. Weights are every parameter at the
//! width of its type. A step is counted for two rows, as guidance has them. Its peak is where, over all layers, the
//! feature maps kept for the way up and the layer's own tensors are largest together:
//!
//! - a residual block holds four times its input and three times its output (both normalised and activated
//!   copies, and what the convolution reorders);
//! - a transformer block holds 19 times its tokens: input, residual and normed copy (3), the gated projection
//!   (8), its activated half (4) and their product (4). Attention itself is computed in tiles and keeps no
//!   map of all pairs.
//!
//! The decoder is counted by the same rule, for the whole picture or for one tile where it decodes in tiles.
//!
//! Measured with SD 1.5, 512², f32 on a CPU: 5.5 GB at the worst moment of drawing, the program included; counted
//! 5.7 GB without it. Pages of the mapped file that are still in memory while a model loads are not counted: the
//! system takes them back when it needs them.

use std::path::Path;

use imagine_encoders::ClipTextConfig;
use imagine_unet::{AutoencoderKlConfig, ConfigError, UNetConfig};
use serde::de::DeserializeOwned;
use tch::Kind;

use self::networks::{decoder_tally, text_parameters, unet_tally, vae_parameters};
use crate::decode::PIXELS_WITHOUT_TILES;

mod layers;
mod networks;

/// Rows of a step: with and without the prompt.
const ROWS: u64 = 2;

/// The configurations of a model.
#[derive(Clone, Debug)]
pub struct Shape {
    unet: UNetConfig,
    vae: AutoencoderKlConfig,
    texts: Vec<ClipTextConfig>,
}

/// What a model costs at one size and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footprint {
    /// Bytes of all weights.
    pub weights: u64,
    /// Bytes beside the weights at the worst moment.
    pub activations: u64,
    /// Multiplications and additions of one step, with guidance.
    pub step_operations: u64,
    /// The same for decoding one picture.
    pub decode_operations: u64,
}

impl Footprint {
    /// Bytes in all.
    pub fn memory(&self) -> u64 {
        self.weights + self.activations
    }
}

macro_rules! published {
    ($name:literal, $texts:expr) => {{
        let texts: &[&str] = &$texts;
        Shape {
            unet: parsed(include_str!(concat!("../../data/", $name, "/unet.json"))),
            vae: parsed(include_str!(concat!("../../data/", $name, "/vae.json"))),
            texts: texts.iter().map(|text| parsed(text)).collect(),
        }
    }};
}

impl Shape {
    /// Stable Diffusion 1.5.
    pub fn sd15() -> Self {
        published!("sd15", [include_str!("../../data/sd15/text_encoder.json")])
    }

    /// Stable Diffusion XL.
    pub fn sdxl() -> Self {
        let texts = [
            include_str!("../../data/sdxl/text_encoder.json"),
            include_str!("../../data/sdxl/text_encoder_2.json"),
        ];
        published!("sdxl", texts)
    }

    /// Of a checkpoint folder.
    ///
    /// # Errors
    /// A configuration that is missing, damaged or not supported.
    pub fn of_folder(dir: &Path) -> Result<Self, ConfigError> {
        let config = |part: &str| dir.join(part).join("config.json");
        let mut texts = vec![ClipTextConfig::from_file(&config("text_encoder"))?];
        if config("text_encoder_2").is_file() {
            texts.push(ClipTextConfig::from_file(&config("text_encoder_2"))?);
        }
        Ok(Self {
            unet: UNetConfig::from_file(&config("unet"))?,
            vae: AutoencoderKlConfig::from_file(&config("vae"))?,
            texts,
        })
    }

    /// The U-Net's configuration.
    pub fn unet(&self) -> &UNetConfig {
        &self.unet
    }

    /// Those of the text encoders.
    pub fn texts(&self) -> &[ClipTextConfig] {
        &self.texts
    }

    /// Pixels along a side of the pictures that it was trained on, where the configuration says so.
    pub fn side(&self) -> Option<u32> {
        let pixels = self.unet.sample_size?.checked_mul(self.vae.downscale())?;
        u32::try_from(pixels).ok()
    }

    /// All parameters: U-Net, autoencoder, text encoders.
    ///
    /// # Errors
    /// A configuration that contradicts itself.
    pub fn parameters(&self) -> Result<u64, ConfigError> {
        let texts: u64 = self.texts.iter().map(text_parameters).sum();
        Ok(unet_tally(&self.unet, 1, 1)?.parameters + vae_parameters(&self.vae) + texts)
    }

    /// Parameters of the U-Net alone.
    ///
    /// # Errors
    /// A configuration that contradicts itself.
    pub fn unet_parameters(&self) -> Result<u64, ConfigError> {
        unet_parameters(&self.unet)
    }

    /// The cost of pictures of that size in that type.
    ///
    /// # Errors
    /// A configuration that contradicts itself.
    pub fn footprint(&self, width: u32, height: u32, kind: Kind) -> Result<Footprint, ConfigError> {
        self.footprint_in(width, height, (kind, kind))
    }

    /// The same with a type for the autoencoder, behind that of the rest.
    ///
    /// # Errors
    /// As [`Self::footprint`].
    pub fn footprint_in(
        &self,
        width: u32,
        height: u32,
        (kind, vae_kind): (Kind, Kind),
    ) -> Result<Footprint, ConfigError> {
        let bytes = kind.elt_size_in_bytes() as u64;
        let cells = |side: u32| (u64::from(side) / self.vae.downscale().max(1) as u64).max(1);
        let step = unet_tally(&self.unet, cells(width), cells(height))?;
        // the autoencoder of SDXL runs in f32 where the rest is f16
        let is_xl = self.texts.len() > 1;
        let upcast = is_xl && self.vae.force_upcast && vae_kind == Kind::Half;
        let decode_bytes = if upcast { 4 } else { vae_kind.elt_size_in_bytes() as u64 };
        let (tile_width, tile_height) = self.tile(width, height);
        let decode = decoder_tally(&self.vae, cells(tile_width), cells(tile_height));
        let whole = decoder_tally(&self.vae, cells(width), cells(height));
        Ok(Footprint {
            weights: (self.parameters()? - vae_parameters(&self.vae)) * bytes
                + vae_parameters(&self.vae) * decode_bytes,
            activations: (ROWS * step.peak * bytes).max(decode.peak * decode_bytes),
            step_operations: ROWS * 2 * step.products,
            decode_operations: 2 * whole.products,
        })
    }

    /// What is decoded at once.
    fn tile(&self, width: u32, height: u32) -> (u32, u32) {
        if i64::from(width) * i64::from(height) <= PIXELS_WITHOUT_TILES {
            return (width, height);
        }
        let side = u32::try_from(self.vae.sample_size).unwrap_or(u32::MAX);
        (width.min(side), height.min(side))
    }
}

/// Parameters of a U-Net.
///
/// # Errors
/// A configuration that contradicts itself.
pub(crate) fn unet_parameters(config: &UNetConfig) -> Result<u64, ConfigError> {
    Ok(unet_tally(config, 1, 1)?.parameters)
}

fn parsed<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|e| unreachable!("a file of this crate: {e}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// Sizes of the published files, in parameters.
    #[test]
    fn published_models_are_counted_to_the_last_parameter() {
        let (small, large) = (Shape::sd15(), Shape::sdxl());
        assert_eq!(unet_tally(&small.unet, 64, 64).unwrap().parameters, 859_520_964);
        assert_eq!(unet_tally(&large.unet, 128, 128).unwrap().parameters, 2_567_463_684);
        assert_eq!(vae_parameters(&small.vae), 83_653_863);
        assert_eq!(vae_parameters(&large.vae), 83_653_863);
        assert_eq!(text_parameters(&small.texts[0]), 123_060_480);
        assert_eq!(large.texts.iter().map(text_parameters).collect::<Vec<_>>(), [123_060_480, 694_659_840]);
    }

    #[test]
    fn the_shipped_model_is_counted_as_its_files_are() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
        let mut found = 0;
        for file in ["unet/diffusion_pytorch_model", "vae/diffusion_pytorch_model", "text_encoder/model"] {
            let bytes = std::fs::read(dir.join(format!("{file}.safetensors"))).unwrap();
            let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let elements = |(name, view): (String, safetensors::tensor::TensorView)| match name
                .ends_with("position_ids")
            {
                true => 0,
                false => view.shape().iter().product::<usize>() as u64,
            };
            found += tensors.tensors().into_iter().map(elements).sum::<u64>();
        }
        assert_eq!(Shape::of_folder(&dir).unwrap().parameters().unwrap(), found);
    }

    #[test]
    fn memory_and_work_are_of_the_right_size() {
        let f32 = Shape::sd15().footprint(512, 512, Kind::Float).unwrap();
        let f16 = Shape::sd15().footprint(512, 512, Kind::Half).unwrap();
        assert_eq!((f32.weights, f16.weights), (4 * 1_066_235_307, 2 * 1_066_235_307));
        // 0.8 TFLOP a row at 512², as published profiles of SD 1.5 have it
        let tera = f32.step_operations as f64 / 1e12;
        assert!((1.5..1.8).contains(&tera), "{tera}");
        let xl = Shape::sdxl().footprint(1024, 1024, Kind::Half).unwrap();
        // 6.0 TFLOP a row at 1024² in profiles that leave out the products inside attention, which are 0.75
        let tera = xl.step_operations as f64 / 1e12;
        assert!((13.0..14.0).contains(&tera), "{tera}");
        let gigabytes = |f: &Footprint| f.memory() as f64 / 1e9;
        assert!((4.5..7.0).contains(&gigabytes(&f32)), "{f32:?}");
        let bf16 = Shape::sdxl().footprint(1024, 1024, Kind::BFloat16).unwrap();
        assert!((9.0..11.0).contains(&gigabytes(&bf16)), "{bf16:?}");
        assert!(
            xl.activations > bf16.activations && xl.weights > bf16.weights,
            "its autoencoder runs in f32"
        );
        let small = Shape::sd15().footprint(256, 256, Kind::Float).unwrap();
        assert!(small.activations * 3 < f32.activations && small.weights == f32.weights);
    }
}
