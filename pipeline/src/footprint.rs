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

use crate::generate::PIXELS_WITHOUT_TILES;

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
            unet: parsed(include_str!(concat!("../data/", $name, "/unet.json"))),
            vae: parsed(include_str!(concat!("../data/", $name, "/vae.json"))),
            texts: texts.iter().map(|text| parsed(text)).collect(),
        }
    }};
}

impl Shape {
    /// Stable Diffusion 1.5.
    pub fn sd15() -> Self {
        published!("sd15", [include_str!("../data/sd15/text_encoder.json")])
    }

    /// Stable Diffusion XL.
    pub fn sdxl() -> Self {
        let texts = [
            include_str!("../data/sdxl/text_encoder.json"),
            include_str!("../data/sdxl/text_encoder_2.json"),
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

    /// The cost of pictures of that size in that type.
    ///
    /// # Errors
    /// A configuration that contradicts itself.
    pub fn footprint(&self, width: u32, height: u32, kind: Kind) -> Result<Footprint, ConfigError> {
        let bytes = kind.elt_size_in_bytes() as u64;
        let cells = |side: u32| (u64::from(side) / self.vae.downscale().max(1) as u64).max(1);
        let step = unet_tally(&self.unet, cells(width), cells(height))?;
        // the autoencoder of SDXL runs in f32 where the rest is f16
        let decode_bytes = if self.vae.force_upcast && kind == Kind::Half { 4 } else { bytes };
        let (tile_width, tile_height) = self.tile(width, height);
        let decode = decoder_tally(&self.vae, cells(tile_width), cells(tile_height));
        let whole = decoder_tally(&self.vae, cells(width), cells(height));
        Ok(Footprint {
            weights: self.parameters()? * bytes + vae_parameters(&self.vae) * (decode_bytes - bytes),
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

fn parsed<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).unwrap_or_else(|e| unreachable!("a file of this crate: {e}"))
}

/// Sums over the layers of a network, for one row.
#[derive(Debug, Default)]
struct Tally {
    parameters: u64,
    /// Products in convolutions, linear layers and attention.
    products: u64,
    /// Elements of the feature maps that are kept for later layers.
    kept: u64,
    /// Largest number of elements at one moment.
    peak: u64,
}

impl Tally {
    fn convolution(&mut self, inputs: u64, outputs: u64, kernel: u64, area: u64) {
        let products = inputs * outputs * kernel * kernel;
        self.parameters += products + outputs;
        self.products += products * area;
    }

    fn linear(&mut self, inputs: u64, outputs: u64, bias: bool, rows: u64) {
        self.parameters += inputs * outputs + if bias { outputs } else { 0 };
        self.products += inputs * outputs * rows;
    }

    fn norm(&mut self, channels: u64) {
        self.parameters += 2 * channels;
    }

    /// So many elements live beside those that are kept.
    fn work(&mut self, elements: u64) {
        self.peak = self.peak.max(self.kept + elements);
    }

    /// `ResnetBlock2D`; `time` is the width of what the time embedding is projected from, and to how many maps.
    fn resnet(&mut self, inputs: u64, outputs: u64, time: Option<(u64, u64)>, area: u64) {
        self.norm(inputs);
        self.convolution(inputs, outputs, 3, area);
        if let Some((width, maps)) = time {
            self.linear(width, maps * outputs, true, 1);
        }
        self.norm(outputs);
        self.convolution(outputs, outputs, 3, area);
        if inputs != outputs {
            self.convolution(inputs, outputs, 1, area);
        }
        self.work((4 * inputs + 3 * outputs) * area);
    }

    /// `Transformer2DModel` over `area` tokens and a text of `text` tokens.
    fn transformer(&mut self, channels: u64, cross: u64, layers: u64, area: u64, text: u64) {
        self.norm(channels);
        for _ in 0..2 {
            self.linear(channels, channels, true, area);
        }
        for _ in 0..layers {
            for _ in 0..3 {
                self.norm(channels);
                self.linear(channels, channels, false, area); // self-attention's q, k, v
            }
            self.linear(channels, channels, true, area);
            self.products += 2 * area * area * channels;
            self.linear(channels, channels, false, area);
            for _ in 0..2 {
                self.linear(cross, channels, false, text);
            }
            self.linear(channels, channels, true, area);
            self.products += 2 * area * text * channels;
            self.linear(channels, 8 * channels, true, area);
            self.linear(4 * channels, channels, true, area);
        }
        // its own 19 and the map that the result is added to
        self.work(20 * channels * area);
    }
}

/// Counts as configurations have them are positive: [`UNetConfig::check`] sees to it.
fn count(value: i64) -> u64 {
    value.max(0) as u64
}

/// The U-Net for one row of latents.
fn unet_tally(c: &UNetConfig, width: u64, height: u64) -> Result<Tally, ConfigError> {
    /// Tokens of CLIP's text.
    const TEXT: u64 = 77;
    let plans = c.plans()?;
    let time_dim = count(c.time_dim());
    let time = Some((time_dim, if c.resnet_time_scale_shift == "scale_shift" { 2 } else { 1 }));
    let first = plans.first().map_or(0, |plan| count(plan.channels));
    // as a convolution with stride 2 rounds
    let area = |level: usize| {
        let side = |side: u64| side.div_ceil(1 << level).max(1);
        side(width) * side(height)
    };
    let mut t = Tally::default();
    t.linear(first, time_dim, true, 1);
    t.linear(time_dim, time_dim, true, 1);
    if let Some(width) = c.projection_class_embeddings_input_dim.filter(|_| c.addition_embed_type.is_some()) {
        t.linear(count(width), time_dim, true, 1);
        t.linear(time_dim, time_dim, true, 1);
    }
    t.convolution(count(c.in_channels), first, count(c.conv_in_kernel), area(0));
    let mut kept = vec![first * area(0)];
    t.kept = first * area(0);
    let mut keep = |t: &mut Tally, elements: u64| {
        t.kept += elements;
        kept.push(elements);
    };
    let mut before = first;
    for (level, (plan, kind)) in plans.iter().zip(&c.down_block_types).enumerate() {
        let channels = count(plan.channels);
        for _ in 0..plan.layers {
            t.resnet(before, channels, time, area(level));
            if kind.starts_with("CrossAttn") {
                let (cross, layers) = (count(plan.cross_dim), count(plan.transformer_layers));
                t.transformer(channels, cross, layers, area(level), TEXT);
            }
            keep(&mut t, channels * area(level));
            before = channels;
        }
        if level + 1 < plans.len() {
            t.convolution(channels, channels, 3, area(level + 1));
            keep(&mut t, channels * area(level + 1));
        }
    }
    if let Some(plan) = plans.last() {
        let (channels, area) = (count(plan.channels), area(plans.len() - 1));
        t.resnet(channels, channels, time, area);
        if c.mid_block_type.as_deref() == Some("UNetMidBlock2DCrossAttn") {
            t.transformer(channels, count(plan.cross_dim), count(plan.transformer_layers), area, TEXT);
            t.resnet(channels, channels, time, area);
        }
    }
    for (index, (plan, kind)) in plans.iter().rev().zip(&c.up_block_types).enumerate() {
        let level = plans.len() - 1 - index;
        let channels = count(plan.channels);
        let lower = plans.get(level.saturating_sub(1)).map_or(channels, |plan| count(plan.channels));
        for layer in 0..=plan.layers {
            let skip = if layer == plan.layers { lower } else { channels };
            t.kept -= kept.pop().unwrap_or(0);
            t.resnet(before + skip, channels, time, area(level));
            if kind.starts_with("CrossAttn") {
                let (cross, layers) = (count(plan.cross_dim), count(plan.transformer_layers));
                t.transformer(channels, cross, layers, area(level), TEXT);
            }
            before = channels;
        }
        if level > 0 {
            t.convolution(channels, channels, 3, area(level - 1));
        }
    }
    t.norm(first);
    t.convolution(first, count(c.out_channels), count(c.conv_out_kernel), area(0));
    Ok(t)
}

/// The attention in the middle of the autoencoder.
fn vae_middle(t: &mut Tally, c: &AutoencoderKlConfig, channels: u64, area: u64) {
    t.resnet(channels, channels, None, area);
    if c.mid_block_add_attention {
        t.norm(channels);
        for _ in 0..4 {
            t.linear(channels, channels, true, area);
        }
        t.products += 2 * area * area * channels;
    }
    t.resnet(channels, channels, None, area);
}

/// Latents of that many cells to pixels.
fn decoder_tally(c: &AutoencoderKlConfig, width: u64, height: u64) -> Tally {
    let mut t = Tally::default();
    let widths: Vec<u64> = c.block_out_channels.iter().rev().map(|&w| count(w)).collect();
    let (Some(&deepest), Some(&last)) = (widths.first(), widths.last()) else { return t };
    let mut area = width * height;
    if c.use_post_quant_conv {
        t.convolution(count(c.latent_channels), count(c.latent_channels), 1, area);
    }
    t.convolution(count(c.latent_channels), deepest, 3, area);
    vae_middle(&mut t, c, deepest, area);
    let mut before = deepest;
    for (level, &channels) in widths.iter().enumerate() {
        for _ in 0..=c.layers_per_block {
            t.resnet(before, channels, None, area);
            before = channels;
        }
        if level + 1 < widths.len() {
            area *= 4;
            t.convolution(channels, channels, 3, area);
        }
    }
    t.norm(last);
    t.convolution(last, count(c.out_channels), 3, area);
    t
}

fn vae_parameters(c: &AutoencoderKlConfig) -> u64 {
    let mut t = Tally::default();
    let widths: Vec<u64> = c.block_out_channels.iter().map(|&w| count(w)).collect();
    let (Some(&first), Some(&deepest)) = (widths.first(), widths.last()) else { return 0 };
    let moments = 2 * count(c.latent_channels);
    t.convolution(count(c.in_channels), first, 3, 0);
    let mut before = first;
    for (level, &channels) in widths.iter().enumerate() {
        for _ in 0..c.layers_per_block {
            t.resnet(before, channels, None, 0);
            before = channels;
        }
        if level + 1 < widths.len() {
            t.convolution(channels, channels, 3, 0);
        }
    }
    vae_middle(&mut t, c, deepest, 0);
    t.norm(deepest);
    t.convolution(deepest, moments, 3, 0);
    if c.use_quant_conv {
        t.convolution(moments, moments, 1, 0);
    }
    t.parameters + decoder_tally(c, 0, 0).parameters
}

fn text_parameters(c: &ClipTextConfig) -> u64 {
    let mut t = Tally::default();
    let (width, inner) = (count(c.hidden_size), count(c.intermediate_size));
    t.parameters += (count(c.vocab_size) + count(c.max_position_embeddings)) * width;
    for _ in 0..c.num_hidden_layers {
        for _ in 0..4 {
            t.linear(width, width, true, 0);
        }
        t.linear(width, inner, true, 0);
        t.linear(inner, width, true, 0);
        t.norm(width);
        t.norm(width);
    }
    t.norm(width);
    let projects = c.architectures.iter().any(|name| name == "CLIPTextModelWithProjection");
    if let Some(projection) = c.projection_dim.filter(|_| projects) {
        t.linear(width, count(projection), false, 0);
    }
    t.parameters
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
