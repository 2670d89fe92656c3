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

/// The colour of every latent cell as a linear function of its channels: next to nothing to compute, and
/// enough to see what a picture will be.
pub struct PreviewDecoder {
    /// [C + 1, 3]: the last row is the constant.
    weights: Tensor,
    downscale: i64,
}

impl PreviewDecoder {
    /// Fits the line to what the autoencoder makes of random latents, by least squares with a little ridge.
    ///
    /// The latents are noise at several widths added up, since those of pictures are smooth in parts. They
    /// are the same at every call.
    pub fn fit(vae: &AutoencoderKl, device: Device) -> Result<Self, PipelineError> {
        const SIDE: i64 = 16;
        const SAMPLES: i64 = 8;
        const RIDGE: f64 = 1e-3;
        let config = vae.config();
        let (channels, downscale) = (config.latent_channels, config.downscale());
        let mut generator = TorchGenerator::new(0);
        let mut latents = Tensor::f_zeros([SAMPLES, channels, SIDE, SIDE], (Kind::Float, Device::Cpu))?;
        for side in [1, 2, 4, SIDE] {
            let noise = generator.randn(&[SAMPLES, channels, side, side]);
            latents = latents + noise.f_upsample_bilinear2d([SIDE, SIDE], false, None, None)? * 0.5;
        }
        let latents = latents.f_to_device(device)?;
        let pixels = vae.decode(&vae.unscale(&latents)).f_to_kind(Kind::Float)?;
        let colours = pixels.f_clamp(-1.0, 1.0)?.f_adaptive_avg_pool2d([SIDE, SIDE])?; // [N, 3, h, w]
        let columns = |t: &Tensor| t.f_permute([0, 2, 3, 1])?.f_reshape([-1, t.size()[1]]);
        let (x, y) = (with_constant(&columns(&latents)?)?, columns(&colours)?); // [M, C + 1], [M, 3]
        let (x, y) = (x.f_to_kind(Kind::Double)?, y.f_to_kind(Kind::Double)?);
        let ridge = Tensor::f_eye(channels + 1, (Kind::Double, device))? * RIDGE * x.size()[0] as f64;
        let normal = x.f_tr()?.f_matmul(&x)? + ridge; // [C + 1, C + 1]
        let weights =
            Tensor::f_linalg_solve(&normal, &x.f_tr()?.f_matmul(&y)?, true)?.f_to_kind(Kind::Float)?;
        Ok(Self { weights, downscale })
    }

    /// A small picture of latents [1, C, h, w] as the U-Net has them, in the shape of the whole one.
    pub fn preview(&self, latents: &Tensor) -> Result<RgbPixels, PipelineError> {
        let (height, width) = (latents.size()[2], latents.size()[3]);
        let cells = latents.f_permute([0, 2, 3, 1])?.f_reshape([height * width, -1])?; // [h·w, C]
        let colours = with_constant(&cells)?.f_matmul(&self.weights)?; // [h·w, 3]
        let colours = colours.f_view([1, height, width, 3])?.f_permute([0, 3, 1, 2])?.f_clamp(-1.0, 1.0)?;
        let whole = self.downscale * height.max(width);
        let (num, den) =
            if whole > PREVIEW_SIDE { (PREVIEW_SIDE, height.max(width)) } else { (self.downscale, 1) };
        let size = [(height * num / den).max(1), (width * num / den).max(1)];
        bytes(&colours.f_upsample_bilinear2d(size, false, None, None)?)
    }
}

/// [M, C] → [M, C + 1]
fn with_constant(rows: &Tensor) -> Result<Tensor, PipelineError> {
    let ones = Tensor::f_ones([rows.size()[0], 1], (rows.kind(), rows.device()))?;
    Ok(Tensor::f_cat(&[rows, &ones], 1)?)
}
