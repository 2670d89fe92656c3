//! From a picture to the pixel values that CLIP's vision encoder takes: `CLIPImageProcessor` of transformers.
//!
//! The shortest edge is brought to a size with Pillow's bicubic filter, the middle is cut out, and the
//! samples are scaled and normalised.

use std::path::{Path, PathBuf};

use image::RgbImage;
use imagine_unet::config::{ConfigError, read_json};
use serde::Deserialize;
use tch::Tensor;

use crate::resample::{self, Filter};

/// Mean and deviation of each channel in CLIP's training pictures.
const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_STD: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

/// Samples of a resized picture at most: a picture of one pixel by thousands must not fill the memory.
const MOST_PIXELS: u64 = 1 << 26;

/// The largest side that a configuration may ask for.
const LARGEST_SIDE: u32 = 1 << 14;

/// Why a picture could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum ImageProcessorError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: {source}")]
    ConfigFile { file: PathBuf, source: ConfigError },
    #[error("a picture of {width}×{height} pixels cannot be brought to {to_width}×{to_height}")]
    Shape { width: u32, height: u32, to_width: u64, to_height: u64 },
    #[error(transparent)]
    Tensor(#[from] tch::TchError),
}

/// What a picture is resized to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSize {
    /// The shorter side gets this length, pixels; the other follows.
    ShortestEdge(u32),
    Exactly {
        height: u32,
        width: u32,
    },
}

/// The steps from a picture to pixel values.
#[derive(Clone, Debug, PartialEq)]
pub struct ClipImageProcessor {
    /// Size and filter; not resized if left out.
    pub resize: Option<(TargetSize, Filter)>,
    /// Height and width, pixels, of the middle that is cut out.
    pub crop: Option<[u32; 2]>,
    /// What samples of 0 to 255 are multiplied with.
    pub rescale: Option<f64>,
    /// Mean and deviation of each channel.
    pub normalise: Option<([f64; 3], [f64; 3])>,
}

impl Default for ClipImageProcessor {
    fn default() -> Self {
        Self::of_size(224)
    }
}

/// The keys of a `preprocessor_config.json` that change the result.
#[derive(Deserialize)]
#[serde(default)]
struct PreprocessorConfig {
    do_resize: bool,
    size: SizeSetting,
    /// Pillow's number of the filter.
    resample: u8,
    do_center_crop: bool,
    crop_size: SizeSetting,
    do_rescale: bool,
    rescale_factor: f64,
    do_normalize: bool,
    image_mean: Channels,
    image_std: Channels,
}

impl Default for PreprocessorConfig {
    fn default() -> Self {
        Self {
            do_resize: true,
            size: SizeSetting::Side(224),
            resample: 3,
            do_center_crop: true,
            crop_size: SizeSetting::Side(224),
            do_rescale: true,
            rescale_factor: 1.0 / 255.0,
            do_normalize: true,
            image_mean: Channels::Each(CLIP_MEAN),
            image_std: Channels::Each(CLIP_STD),
        }
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "\"size\" and \"crop_size\" are a number of pixels, a \"height\" and a \"width\", or a \
                 \"shortest_edge\""
)]
enum SizeSetting {
    Side(u32),
    Shortest { shortest_edge: u32 },
    Exactly { height: u32, width: u32 },
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "\"image_mean\" and \"image_std\" are a number or one for each of 3 channels")]
enum Channels {
    All(f64),
    Each([f64; 3]),
}

impl Channels {
    fn each(&self) -> [f64; 3] {
        match self {
            Self::All(value) => [*value; 3],
            Self::Each(values) => *values,
        }
    }
}

impl ClipImageProcessor {
    /// CLIP's own steps for an encoder of pictures of `side` pixels.
    pub fn of_size(side: u32) -> Self {
        Self {
            resize: Some((TargetSize::ShortestEdge(side), Filter::Bicubic)),
            crop: Some([side, side]),
            rescale: Some(1.0 / 255.0),
            normalise: Some((CLIP_MEAN, CLIP_STD)),
        }
    }

    /// Reads a `preprocessor_config.json`.
    ///
    /// # Errors
    /// A file that cannot be read; settings that mean nothing, by key and value.
    pub fn from_file(file: &Path) -> Result<Self, ImageProcessorError> {
        let config: PreprocessorConfig = read_json(file)?;
        Self::new(&config)
            .map_err(|source| ImageProcessorError::ConfigFile { file: file.to_path_buf(), source })
    }

    /// Reads the `preprocessor_config.json` of a folder, or takes CLIP's own steps for an encoder of
    /// pictures of `side` pixels where there is none.
    ///
    /// # Errors
    /// As [`ClipImageProcessor::from_file`].
    pub fn from_folder(dir: &Path, side: u32) -> Result<Self, ImageProcessorError> {
        let file = dir.join("preprocessor_config.json");
        if file.is_file() { Self::from_file(&file) } else { Ok(Self::of_size(side)) }
    }

    fn new(config: &PreprocessorConfig) -> Result<Self, ConfigError> {
        let resize = if config.do_resize {
            let size = match config.size {
                SizeSetting::Side(n) | SizeSetting::Shortest { shortest_edge: n } => {
                    TargetSize::ShortestEdge(side("size", n)?)
                }
                SizeSetting::Exactly { height, width } => {
                    TargetSize::Exactly { height: side("size", height)?, width: side("size", width)? }
                }
            };
            Some((size, filter(config.resample)?))
        } else {
            None
        };
        let crop = match (config.do_center_crop, &config.crop_size) {
            (false, _) => None,
            (true, &SizeSetting::Side(n)) => Some([side("crop_size", n)?; 2]),
            (true, &SizeSetting::Exactly { height, width }) => {
                Some([side("crop_size", height)?, side("crop_size", width)?])
            }
            (true, SizeSetting::Shortest { .. }) => {
                let reason = "a crop has a height and a width";
                return Err(ConfigError::unsupported("crop_size", "shortest_edge", reason));
            }
        };
        let (mean, std) = (config.image_mean.each(), config.image_std.each());
        let is_scale = |x: &f64| x.is_finite() && *x > 0.0;
        if config.do_rescale && !is_scale(&config.rescale_factor) {
            return Err(ConfigError::unsupported("rescale_factor", config.rescale_factor, "over 0"));
        }
        if config.do_normalize && !(std.iter().all(is_scale) && mean.iter().all(|x| x.is_finite())) {
            return Err(ConfigError::unsupported("image_std", format!("{std:?}"), "all over 0"));
        }
        Ok(Self {
            resize,
            crop,
            rescale: config.do_rescale.then_some(config.rescale_factor),
            normalise: config.do_normalize.then_some((mean, std)),
        })
    }

    /// Pixel values of one picture: [1, 3, height, width], f32.
    ///
    /// # Errors
    /// A picture without pixels or far too long for its width.
    pub fn preprocess(&self, picture: &RgbImage) -> Result<Tensor, ImageProcessorError> {
        let resized;
        let mut picture = picture;
        if let Some((size, filter)) = self.resize {
            resized = resize(picture, size, filter)?;
            picture = &resized;
        }
        let [height, width] = self.crop.unwrap_or([picture.height(), picture.width()]);
        let mut values = Vec::with_capacity(3 * height as usize * width as usize);
        let (top, left) = (middle(picture.height(), height), middle(picture.width(), width));
        for channel in 0..3 {
            for y in 0..height {
                for x in 0..width {
                    values.push(self.value(sample(picture, left, top, x, y, channel), channel));
                }
            }
        }
        Ok(Tensor::f_from_slice(&values)?.f_view([1, 3, i64::from(height), i64::from(width)])?)
    }

    /// In f64 and then f32, as transformers computes.
    fn value(&self, sample: u8, channel: usize) -> f32 {
        let mut value = f32::from(sample);
        if let Some(factor) = self.rescale {
            value = (f64::from(sample) * factor) as f32;
        }
        if let Some((mean, std)) = &self.normalise {
            value = (value - mean[channel] as f32) / std[channel] as f32;
        }
        value
    }
}

fn side(key: &str, value: u32) -> Result<u32, ConfigError> {
    if (1..=LARGEST_SIDE).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::unsupported(key, value, "a number of pixels"))
}

fn filter(number: u8) -> Result<Filter, ConfigError> {
    let reason = "1 to 5, the numbers of Pillow's filters";
    Filter::of_number(number).ok_or_else(|| ConfigError::unsupported("resample", number, reason))
}

/// Where a window of `inner` begins in the middle of `outer`; before it, if that is smaller.
fn middle(outer: u32, inner: u32) -> i64 {
    let (outer, inner) = (i64::from(outer), i64::from(inner));
    // A picture smaller than the window is centred with the odd pixel of the rim before it.
    (outer - inner).div_euclid(2)
}

/// The sample of a window's pixel; black outside the picture.
fn sample(picture: &RgbImage, left: i64, top: i64, x: u32, y: u32, channel: usize) -> u8 {
    let at = |start: i64, offset: u32| u32::try_from(start + i64::from(offset)).ok();
    match (at(left, x), at(top, y)) {
        (Some(x), Some(y)) => picture.get_pixel_checked(x, y).map_or(0, |pixel| pixel.0[channel]),
        _ => 0,
    }
}

fn resize(picture: &RgbImage, size: TargetSize, filter: Filter) -> Result<RgbImage, ImageProcessorError> {
    let (width, height) = picture.dimensions();
    let (to_width, to_height) = match size {
        TargetSize::Exactly { height, width } => (u64::from(width), u64::from(height)),
        TargetSize::ShortestEdge(side) => {
            let (short, long) = (width.min(height), width.max(height));
            // Cut off, not rounded.
            let long = u64::from(side) * u64::from(long) / u64::from(short.max(1));
            if width <= height { (u64::from(side), long) } else { (long, u64::from(side)) }
        }
    };
    if width == 0 || height == 0 || to_width.saturating_mul(to_height) > MOST_PIXELS {
        return Err(ImageProcessorError::Shape { width, height, to_width, to_height });
    }
    Ok(resample::resize(picture, to_width as u32, to_height as u32, filter))
}
