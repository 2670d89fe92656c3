//! From latents to pixels: whole pictures by the autoencoder, previews by a straight line.

use imagine_contract::RgbPixels;
use imagine_unet::AutoencoderKl;
use tch::{Device, Kind, Tensor};

use crate::error::PipelineError;
use crate::noise::TorchGenerator;

/// Pictures beyond so many pixels are decoded in tiles.
pub(crate) const PIXELS_WITHOUT_TILES: i64 = 1_536 * 1_024;

/// The longer side of a preview at most, in pixels.
const PREVIEW_SIDE: i64 = 256;

/// One picture from latents [1, C, h, w] as the U-Net has them.
///
/// # Errors
/// Values that are not finite, which a type that overflows gives.
pub fn decode(vae: &AutoencoderKl, latents: &Tensor) -> Result<RgbPixels, PipelineError> {
    let latents = vae.unscale(latents);
    let downscale = vae.config().downscale();
    let (height, width) = (latents.size()[2] * downscale, latents.size()[3] * downscale);
    let pixels =
        if height * width > PIXELS_WITHOUT_TILES { vae.decode_tiled(&latents) } else { vae.decode(&latents) };
    let pixels = pixels.f_to_kind(Kind::Float)?;
    if !pixels.isfinite().all().int64_value(&[]).eq(&1) {
        return Err(PipelineError::NotFinite);
    }
    bytes(&pixels)
}

/// Pixels [1, 3, H, W] in [-1, 1]; values beyond are cut off.
fn bytes(pixels: &Tensor) -> Result<RgbPixels, PipelineError> {
    let (height, width) = (pixels.size()[2], pixels.size()[3]);
    let bytes = (pixels / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0;
    let bytes = bytes.round().to_kind(Kind::Uint8).squeeze_dim(0); // [3, H, W]
    let bytes = bytes.permute([1, 2, 0]).contiguous().to_device(Device::Cpu); // [H, W, 3]
    let mut rgb = vec![0u8; bytes.numel()];
    bytes.f_copy_data(&mut rgb, bytes.numel())?;
    Ok(RgbPixels { width: width as u32, height: height as u32, rgb })
}

/// Channels in the widest layer of an autoencoder up to which previews are its own work: that of Stable
/// Diffusion has 512, and decoding costs more than a step.
const SMALL_AUTOENCODER: i64 = 128;

/// Shows what a picture will be, from latents on their way.
pub enum PreviewDecoder {
    /// The autoencoder is small enough to be asked each time.
    Autoencoder,
    Linear(LinearDecoder),
}

impl PreviewDecoder {
    pub fn new(vae: &AutoencoderKl, device: Device) -> Result<Self, PipelineError> {
        let widest = vae.config().block_out_channels.iter().copied().max().unwrap_or(0);
        if widest <= SMALL_AUTOENCODER {
            return Ok(Self::Autoencoder);
        }
        Ok(Self::Linear(LinearDecoder::fit(vae, device)?))
    }

    /// A small picture of latents [1, C, h, w] as the U-Net has them, in the shape of the whole one.
    pub fn preview(&self, vae: &AutoencoderKl, latents: &Tensor) -> Result<RgbPixels, PipelineError> {
        let (height, width) = (latents.size()[2], latents.size()[3]);
        let (longer, downscale) = (height.max(width), vae.config().downscale());
        let side = |cells: i64| match longer * downscale {
            whole if whole > PREVIEW_SIDE => (cells * PREVIEW_SIDE / longer).max(1),
            _ => cells * downscale,
        };
        let size = [side(height), side(width)];
        let colours = match self {
            Self::Linear(linear) => linear.colours(latents)?,
            Self::Autoencoder => vae.decode(&vae.unscale(latents)).f_to_kind(Kind::Float)?,
        };
        let small = match colours.size()[2..] == size {
            true => colours,
            false if colours.size()[2] > size[0] => colours.f_adaptive_avg_pool2d(size)?,
            false => colours.f_upsample_bilinear2d(size, false, None, None)?,
        };
        bytes(&small.f_nan_to_num(0.0, 1.0, -1.0)?)
    }
}

/// The colour of every latent cell as a linear function of its channels: next to nothing to compute.
pub struct LinearDecoder {
    /// [C + 1, 3]: the last row is the constant.
    weights: Tensor,
}

impl LinearDecoder {
    /// Fits the line to what the autoencoder makes of random latents, by least squares with a little ridge.
    ///
    /// The latents are noise at several widths added up, since those of pictures are smooth in parts. They
    /// are the same at every call.
    pub fn fit(vae: &AutoencoderKl, device: Device) -> Result<Self, PipelineError> {
        const SAMPLES: i64 = 8;
        const RIDGE: f64 = 1e-3;
        let channels = vae.config().latent_channels;
        let latents = smooth_noise(&mut TorchGenerator::new(0), SAMPLES, channels)?.f_to_device(device)?;
        let colours = cell_colours(vae, &latents)?; // [N, 3, h, w]
        let columns = |t: &Tensor| t.f_permute([0, 2, 3, 1])?.f_reshape([-1, t.size()[1]]);
        let (x, y) = (with_constant(&columns(&latents)?)?, columns(&colours)?); // [M, C + 1], [M, 3]
        let (x, y) = (x.f_to_kind(Kind::Double)?, y.f_to_kind(Kind::Double)?);
        let ridge = Tensor::f_eye(channels + 1, (Kind::Double, device))? * RIDGE * x.size()[0] as f64;
        let normal = x.f_tr()?.f_matmul(&x)? + ridge; // [C + 1, C + 1]
        // So few numbers that a GPU's solver, a library of its own, is not worth loading.
        let [normal, right] = [normal, x.f_tr()?.f_matmul(&y)?].map(|t| t.to_device(Device::Cpu));
        let weights = Tensor::f_linalg_solve(&normal, &right, true)?;
        Ok(Self { weights: weights.f_to_kind(Kind::Float)?.f_to_device(device)? })
    }

    /// Latents [N, C, h, w] → colours [N, 3, h, w] in [-1, 1]
    fn colours(&self, latents: &Tensor) -> Result<Tensor, PipelineError> {
        let (rows, height, width) = (latents.size()[0], latents.size()[2], latents.size()[3]);
        let cells = latents.f_permute([0, 2, 3, 1])?.f_reshape([rows * height * width, -1])?; // [N·h·w, C]
        let colours = with_constant(&cells)?.f_matmul(&self.weights)?; // [N·h·w, 3]
        Ok(colours.f_view([rows, height, width, 3])?.f_permute([0, 3, 1, 2])?.f_clamp(-1.0, 1.0)?)
    }
}

/// Random latents [N, C, 16, 16] that are smooth in parts, with a variance near 1.
fn smooth_noise(
    generator: &mut TorchGenerator,
    samples: i64,
    channels: i64,
) -> Result<Tensor, PipelineError> {
    const SIDE: i64 = 16;
    let mut latents = Tensor::f_zeros([samples, channels, SIDE, SIDE], (Kind::Float, Device::Cpu))?;
    for side in [1, 2, 4, SIDE] {
        let noise = generator.randn(&[samples, channels, side, side]);
        latents += noise.f_upsample_bilinear2d([SIDE, SIDE], false, None, None)? * 0.5;
    }
    Ok(latents)
}

/// Mean colour of every latent cell as the autoencoder decodes it: [N, C, h, w] → [N, 3, h, w]
fn cell_colours(vae: &AutoencoderKl, latents: &Tensor) -> Result<Tensor, PipelineError> {
    let pixels = vae.decode(&vae.unscale(latents)).f_to_kind(Kind::Float)?;
    Ok(pixels.f_clamp(-1.0, 1.0)?.f_adaptive_avg_pool2d([latents.size()[2], latents.size()[3]])?)
}

/// [M, C] → [M, C + 1]
fn with_constant(rows: &Tensor) -> Result<Tensor, PipelineError> {
    let ones = Tensor::f_ones([rows.size()[0], 1], (rows.kind(), rows.device()))?;
    Ok(Tensor::f_cat(&[rows, &ones], 1)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::path::Path;

    use imagine_unet::{AutoencoderKlConfig, Weights, read_json};

    use super::*;

    fn starter() -> AutoencoderKl {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter/vae");
        let config: AutoencoderKlConfig = read_json(&folder.join("config.json")).unwrap();
        let weights = Weights::open_folder(&folder, Device::Cpu, Kind::Float).unwrap();
        AutoencoderKl::new(&weights.root(), &config).unwrap()
    }

    #[test]
    fn a_line_tells_colours_that_it_was_not_fitted_to() {
        let _no_grad = tch::no_grad_guard();
        let vae = starter();
        let linear = LinearDecoder::fit(&vae, Device::Cpu).unwrap();
        let latents = smooth_noise(&mut TorchGenerator::new(99), 4, 12).unwrap();
        let expected = cell_colours(&vae, &latents).unwrap();
        let error = |colours: &Tensor| (colours - &expected).square().mean(Kind::Float).double_value(&[]);
        let mean = expected.mean_dim([0i64, 2, 3].as_slice(), true, Kind::Float);
        let (line, flat) = (error(&linear.colours(&latents).unwrap()), error(&mean.expand_as(&expected)));
        println!("squared error: line {line:.4}, flat {flat:.4}");
        // How much a line explains of what is decoded from noise differs by autoencoder: here two fifths, of others more.
        assert!(line < 0.7 * flat, "line {line:.4}, flat {flat:.4}");
    }

    #[test]
    fn previews_have_the_pictures_shape_and_are_small() {
        let _no_grad = tch::no_grad_guard();
        let vae = starter();
        let line = PreviewDecoder::Linear(LinearDecoder::fit(&vae, Device::Cpu).unwrap());
        assert!(matches!(PreviewDecoder::new(&vae, Device::Cpu), Ok(PreviewDecoder::Autoencoder)));
        for decoder in [line, PreviewDecoder::Autoencoder] {
            for (cells, size) in [([16, 16], (128, 128)), ([8, 24], (192, 64)), ([50, 100], (256, 128))] {
                let latents = TorchGenerator::new(1).randn(&[1, 12, cells[0], cells[1]]);
                let preview = decoder.preview(&vae, &latents).unwrap();
                assert_eq!((preview.width, preview.height, preview.is_whole()), (size.0, size.1, true));
            }
        }
    }
}
