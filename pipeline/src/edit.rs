//! Changing a picture instead of drawing one from nothing: image-to-image, inpainting with any U-Net or
//! with one made for it, and putting the untouched rest back.
//!
//! Reference implementation: diffusers' `StableDiffusionImg2ImgPipeline` and `StableDiffusionInpaintPipeline`
//! and their XL kin, down to the order in which random numbers are drawn.

use image::imageops::{self, FilterType};
use image::{GrayImage, RgbImage};
use imagine_contract::{Edit, EditMask, GrayPixels, RequestError, Rest, RgbPixels};
use imagine_unet::AutoencoderKl;
use imagine_unet::autoencoder_kl::LatentDistribution;
use tch::{Device, Kind, Tensor};

use crate::composite::Composite;
use crate::error::PipelineError;
use crate::row::{Kept, RowNoise};
use crate::schedulers::Scheduler;

/// How the U-Net takes a mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inpainting {
    /// Not at all: after every step the rest is put back with as much noise as belongs there.
    ByBlending,
    /// As further channels of its input: the mask, and the latents of the picture without the marked part.
    ByChannels,
}

/// An edit ready for a run: pixels resized and encoded once a request.
pub struct PreparedEdit {
    picture: LatentDistribution,
    mask: Option<PreparedMask>,
    /// The first step that is taken.
    first: usize,
    /// Begins with noise alone instead of the picture with noise.
    from_noise: bool,
    composite: Option<Composite>,
}

struct PreparedMask {
    /// [1, 1, h, w]: 1 in the cells that are drawn anew, otherwise 0.
    cells: Tensor,
    /// Of the picture without the marked part; for U-Nets that take it.
    masked_picture: Option<LatentDistribution>,
}

/// Where a run begins.
pub struct Start {
    /// [1, C, h, w]
    pub latents: Tensor,
    /// What is put back after every step.
    pub kept: Option<Kept>,
    /// Further channels of the U-Net's input: [1, 1 + C, h, w]
    pub channels: Option<Tensor>,
}

/// Sides of the pictures that are made, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl PreparedEdit {
    /// Resizes and encodes the picture of `edit`, for a run that begins with the scheduler's step `first`.
    ///
    /// # Errors
    /// A mask that marks nothing at this size.
    pub fn new(
        edit: &Edit,
        size: Size,
        first: usize,
        vae: &AutoencoderKl,
        inpainting: Inpainting,
        device: Device,
    ) -> Result<Self, PipelineError> {
        let original = resized(&edit.picture, size)?;
        let pixels = pixel_tensor(&original)?.f_to_device(device)?;
        let (mut mask, mut composite) = (None, None);
        if let Some(EditMask { pixels: marks, rest }) = &edit.mask {
            let marks = resized_mask(marks, size)?;
            let marked = mask_tensor(&marks)?.f_to_device(device)?; // [1, 1, H, W]
            if marked.f_sum(Kind::Float)?.double_value(&[]) == 0.0 {
                return Err(RequestError::EmptyMask.into());
            }
            let downscale = vae.config().downscale();
            let cells = [i64::from(size.height) / downscale, i64::from(size.width) / downscale];
            let masked_picture = match inpainting {
                Inpainting::ByBlending => None,
                Inpainting::ByChannels => Some(encode(vae, &(&pixels * (1.0 - &marked)))?),
            };
            mask = Some(PreparedMask {
                cells: marked.f_upsample_nearest2d(cells, None, None)?, // [1, 1, h, w]
                masked_picture,
            });
            if let Rest::Original { feather } = rest {
                composite = Some(Composite::new(original, &marks, *feather));
            }
        }
        let from_noise = mask.is_some() && edit.strength >= 1.0;
        Ok(Self { picture: encode(vae, &pixels)?, mask, first, from_noise, composite })
    }

    /// Index of the first step in the scheduler's timesteps.
    pub fn first(&self) -> usize {
        self.first
    }

    /// How the original's rest is put back over a finished picture, if it is.
    pub fn composite(&self) -> Option<&Composite> {
        self.composite.as_ref()
    }

    /// Draws what the run of one picture begins with: first for the sample of the picture's latents, then
    /// the noise, then for the sample of the masked picture's latents, as in diffusers; what is not used
    /// is drawn all the same where diffusers draws it.
    pub fn begin(
        &self,
        scheduler: &dyn Scheduler,
        vae: &AutoencoderKl,
        noise: &mut RowNoise,
    ) -> Result<Start, PipelineError> {
        let shape = self.picture.mean.size();
        let (_, shape) = shape.split_first().unwrap_or((&1, &[])); // [C, h, w]
        let device = self.picture.mean.device();
        let mut draw = || noise.randn(shape).f_to_device(device);
        let by_channels = self.mask.as_ref().is_some_and(|mask| mask.masked_picture.is_some());
        let picture = if by_channels && self.from_noise {
            None
        } else {
            Some(vae.scale(&self.picture.sample(&draw()?))) // [1, C, h, w]
        };
        let added = draw()?;
        let latents = match &picture {
            Some(picture) if !self.from_noise => scheduler.add_noise(picture, &added, self.first)?,
            _ => &added * scheduler.init_noise_sigma(),
        };
        let Some(mask) = &self.mask else { return Ok(Start { latents, kept: None, channels: None }) };
        let last_draw = draw()?;
        match (&mask.masked_picture, picture) {
            (Some(masked), _) => {
                let masked = vae.scale(&masked.sample(&last_draw)); // [1, C, h, w]
                let channels = Some(Tensor::f_cat(&[&mask.cells, &masked], 1)?); // [1, 1 + C, h, w]
                Ok(Start { latents, kept: None, channels })
            }
            (None, picture) => {
                let kept = picture.map(|original| Kept {
                    original,
                    noise: added,
                    drawn: mask.cells.shallow_clone(),
                });
                Ok(Start { latents, kept, channels: None })
            }
        }
    }
}

/// Solver steps that are left out at the start, as diffusers' `get_timesteps` counts them.
///
/// # Errors
/// A strength that leaves no step.
pub(crate) fn left_out(steps: usize, strength: f64) -> Result<usize, PipelineError> {
    let taken = ((steps as f64 * strength) as usize).min(steps);
    if taken == 0 {
        return Err(PipelineError::Unsupported(format!(
            "strength {strength} of {steps} steps leaves no step to take; more steps or more strength are needed"
        )));
    }
    Ok(steps - taken)
}

/// f32, whatever the autoencoder computes in.
fn encode(vae: &AutoencoderKl, pixels: &Tensor) -> Result<LatentDistribution, PipelineError> {
    let LatentDistribution { mean, log_variance } = vae.encode(pixels);
    let (mean, log_variance) = (mean.f_to_kind(Kind::Float)?, log_variance.f_to_kind(Kind::Float)?);
    if mean.f_isfinite()?.f_all()?.int64_value(&[]) != 1 {
        return Err(PipelineError::NotFinite);
    }
    Ok(LatentDistribution { mean, log_variance })
}

/// A picture at the size of the run.
fn resized(picture: &RgbPixels, size: Size) -> Result<RgbPixels, PipelineError> {
    if (picture.width, picture.height) == (size.width, size.height) {
        return Ok(picture.clone());
    }
    let image = RgbImage::from_raw(picture.width, picture.height, picture.rgb.clone())
        .ok_or(RequestError::Pixels("picture to be changed"))?;
    let image = imageops::resize(&image, size.width, size.height, FilterType::Lanczos3);
    Ok(RgbPixels { width: size.width, height: size.height, rgb: image.into_raw() })
}

/// A mask at the size of the run.
pub(crate) fn resized_mask(mask: &GrayPixels, size: Size) -> Result<GrayPixels, PipelineError> {
    if (mask.width, mask.height) == (size.width, size.height) {
        return Ok(mask.clone());
    }
    let image = GrayImage::from_raw(mask.width, mask.height, mask.values.clone())
        .ok_or(RequestError::Pixels("mask"))?;
    let image = imageops::resize(&image, size.width, size.height, FilterType::Triangle);
    Ok(GrayPixels { width: size.width, height: size.height, values: image.into_raw() })
}

/// Pixels in [-1, 1]: [1, 3, H, W], f32
pub(crate) fn pixel_tensor(picture: &RgbPixels) -> Result<Tensor, PipelineError> {
    let shape = [1, i64::from(picture.height), i64::from(picture.width), 3];
    let bytes = Tensor::f_from_slice(&picture.rgb)?.f_view(shape)?.f_permute([0, 3, 1, 2])?; // [1, 3, H, W]
    Ok(bytes.f_to_kind(Kind::Float)?.f_contiguous()? / 255.0 * 2.0 - 1.0)
}

/// 1 from one half on, otherwise 0: [1, 1, H, W], f32
fn mask_tensor(mask: &GrayPixels) -> Result<Tensor, PipelineError> {
    let shape = [1, 1, i64::from(mask.height), i64::from(mask.width)];
    Ok(Tensor::f_from_slice(&mask.values)?.f_view(shape)?.f_ge(128)?.f_to_kind(Kind::Float)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn strength_counts_steps_from_the_end() {
        for (steps, strength, first) in
            [(10, 1.0, 0), (10, 0.8, 2), (10, 0.75, 3), (50, 0.3, 35), (1, 1.0, 0)]
        {
            assert_eq!(left_out(steps, strength).unwrap(), first, "{steps} steps at {strength}");
        }
        let message = left_out(4, 0.2).unwrap_err().to_string();
        assert!(message.contains("strength 0.2 of 4 steps leaves no step"), "{message}");
    }

    #[test]
    fn pixels_become_numbers_around_zero() {
        let picture = RgbPixels { width: 2, height: 1, rgb: vec![0, 255, 51, 255, 0, 204] };
        let tensor = pixel_tensor(&picture).unwrap();
        assert_eq!(tensor.size(), [1, 3, 1, 2]);
        let values: Vec<f32> = Vec::try_from(tensor.flatten(0, -1)).unwrap();
        for (value, expected) in values.iter().zip([-1.0, 1.0, 1.0, -1.0, -0.6, 0.6]) {
            assert!((value - expected).abs() < 1e-6, "{values:?}");
        }
    }

    #[test]
    fn a_mask_is_hard_for_the_networks() {
        let mask = GrayPixels { width: 4, height: 1, values: vec![0, 127, 128, 255] };
        let values: Vec<f32> = Vec::try_from(mask_tensor(&mask).unwrap().flatten(0, -1)).unwrap();
        assert_eq!(values, [0.0, 0.0, 1.0, 1.0]);
    }
}
