//! A photo as it may come in from anyone: read, recognised by its magic bytes, checked against limits
//! before any pixel is allocated, decoded, turned upright, reduced to 8-bit RGB. Metadata goes no further
//! than the orientation tag.

mod container;
#[cfg(test)]
mod tests;

use std::fmt;
use std::io::{Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, RgbImage};

use container::Flaw;

/// What a photo may cost before it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the file.
    pub bytes: u64,
    /// Width times height.
    pub pixels: u64,
    /// Width and height each.
    pub side: u32,
}

impl Default for Limits {
    /// 25 MB, 50 megapixels, 12,000 pixels a side: above what phones deliver, below what hurts.
    fn default() -> Self {
        Self { bytes: 25_000_000, pixels: 50_000_000, side: 12_000 }
    }
}

/// Widest pixel that is decoded: four channels of 16 bits.
const WIDEST_PIXEL: u64 = 8;

/// The picture formats that are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Png,
    Jpeg,
    WebP,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
        })
    }
}

/// Why a file is not a usable photo. Every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhotoError {
    #[error("{name}: cannot be read: {source}")]
    Read { name: String, source: std::io::Error },
    #[error("{name}: the file is empty")]
    Empty { name: String },
    #[error("{name}: over the limit of {limit} bytes a photo")]
    TooManyBytes { name: String, limit: u64 },
    #[error("{name}: not a PNG, JPEG or WebP picture: it is {found}")]
    NotAPicture { name: String, found: &'static str },
    #[error("{name}: {width}×{height} pixels, and a side may have at most {limit}")]
    TooLarge { name: String, width: u32, height: u32, limit: u32 },
    #[error("{name}: {width}×{height} is {} megapixels, and {} are the limit", mega(.width, .height), *.limit / 1_000_000)]
    TooManyPixels { name: String, width: u32, height: u32, limit: u64 },
    #[error("{name}: the {format} ends too early, as after an interrupted copy or download")]
    Truncated { name: String, format: Format },
    #[error("{name}: the {format} is damaged: {reason}")]
    Damaged { name: String, format: Format, reason: String },
    #[error("{name}: a kind of {format} that is not supported: {reason}")]
    Unsupported { name: String, format: Format, reason: String },
}

fn mega(width: &u32, height: &u32) -> u64 {
    (u64::from(*width) * u64::from(*height)).div_ceil(1_000_000)
}

/// A decoded photo: 8-bit RGB, upright, without metadata.
///
/// Samples are taken as sRGB; an embedded colour profile is not applied. 16-bit samples are rounded to 8,
/// transparency is laid over white, of an animated WebP or PNG the first frame counts, CMYK becomes RGB.
#[derive(Clone)]
pub struct Photo {
    name: String,
    pixels: RgbImage,
}

impl fmt::Debug for Photo {
    /// Size only: neither the name nor the pixels belong in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Photo({}×{})", self.pixels.width(), self.pixels.height())
    }
}

impl Photo {
    /// Reads and decodes a file within the default [`Limits`].
    pub fn open(path: &Path) -> Result<Self, PhotoError> {
        Self::open_within(path, &Limits::default())
    }

    /// Reads and decodes a file; not more than `limits.bytes` + 1 bytes of it are ever read.
    pub fn open_within(path: &Path, limits: &Limits) -> Result<Self, PhotoError> {
        let name = path.display().to_string();
        let read = || -> std::io::Result<Vec<u8>> {
            let mut bytes = Vec::new();
            std::fs::File::open(path)?.take(limits.bytes.saturating_add(1)).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = read().map_err(|source| PhotoError::Read { name: name.clone(), source })?;
        Self::decode(&bytes, limits, &name)
    }

    /// Decodes bytes that came from elsewhere; `name` is what error messages call them.
    ///
    /// # Errors
    /// One [`PhotoError`] for each way in which a file can be wrong; a decoder that panics counts as
    /// damage, so that one bad upload cannot end a server.
    pub fn decode(bytes: &[u8], limits: &Limits, name: &str) -> Result<Self, PhotoError> {
        let owned = || name.to_owned();
        if bytes.is_empty() {
            return Err(PhotoError::Empty { name: owned() });
        }
        if bytes.len() as u64 > limits.bytes {
            return Err(PhotoError::TooManyBytes { name: owned(), limit: limits.bytes });
        }
        let format =
            container::sniff(bytes).map_err(|found| PhotoError::NotAPicture { name: owned(), found })?;
        let flaw = |flaw| match flaw {
            Flaw::Truncated => PhotoError::Truncated { name: owned(), format },
            Flaw::Damaged(reason) => PhotoError::Damaged { name: owned(), format, reason: reason.to_owned() },
        };
        let pixels = match format {
            Format::Png => {
                if let Some((width, height)) = container::png_size(bytes) {
                    check_size(width, height, limits, name)?;
                }
                let essentials = container::png_essentials(bytes).map_err(flaw)?;
                guarded_decode(&essentials, format, limits, name)?
            }
            Format::Jpeg => {
                // Of a file that is both too large and cut, the size is the news.
                let size = guarded_size(bytes, format, limits, name);
                if let Err(e @ (PhotoError::TooLarge { .. } | PhotoError::TooManyPixels { .. })) = size {
                    return Err(e);
                }
                container::check_jpeg(bytes).map_err(flaw)?;
                size?;
                guarded_decode(bytes, format, limits, name)?
            }
            Format::WebP => {
                container::check_webp(bytes).map_err(flaw)?;
                guarded_decode(bytes, format, limits, name)?
            }
        };
        Ok(Self { name: owned(), pixels })
    }

    /// A photo from pixels that were made here, such as a generated picture.
    pub fn from_pixels(name: &str, pixels: RgbImage) -> Self {
        Self { name: name.to_owned(), pixels }
    }

    /// What error messages call this photo.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The upright 8-bit RGB pixels.
    pub fn pixels(&self) -> &RgbImage {
        &self.pixels
    }
}

fn check_size(width: u32, height: u32, limits: &Limits, name: &str) -> Result<(), PhotoError> {
    if width > limits.side || height > limits.side {
        return Err(PhotoError::TooLarge { name: name.to_owned(), width, height, limit: limits.side });
    }
    if u64::from(width) * u64::from(height) > limits.pixels {
        return Err(PhotoError::TooManyPixels { name: name.to_owned(), width, height, limit: limits.pixels });
    }
    Ok(())
}

/// Runs a third-party decoder so that a panic inside it becomes an error.
fn guarded<T>(
    format: Format,
    name: &str,
    work: impl FnOnce() -> Result<T, PhotoError>,
) -> Result<T, PhotoError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(PhotoError::Damaged { name: name.to_owned(), format, reason: "the decoder gave up".to_owned() })
    })
}

fn guarded_size(bytes: &[u8], format: Format, limits: &Limits, name: &str) -> Result<(), PhotoError> {
    guarded(format, name, || {
        let (width, height) = decoder(bytes, format, limits, name)?.dimensions();
        check_size(width, height, limits, name)
    })
}

fn guarded_decode(bytes: &[u8], format: Format, limits: &Limits, name: &str) -> Result<RgbImage, PhotoError> {
    guarded(format, name, || {
        let mut decoder = decoder(bytes, format, limits, name)?;
        let (width, height) = decoder.dimensions();
        check_size(width, height, limits, name)?;
        if width == 0 || height == 0 {
            let reason = "it has no pixels".to_owned();
            return Err(PhotoError::Damaged { name: name.to_owned(), format, reason });
        }
        // `DynamicImage::from_decoder` allocates this much without asking any limit.
        if decoder.total_bytes() > limits.pixels.saturating_mul(WIDEST_PIXEL) {
            return Err(PhotoError::TooManyPixels {
                name: name.to_owned(),
                width,
                height,
                limit: limits.pixels,
            });
        }
        let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
        let mut image = DynamicImage::from_decoder(decoder).map_err(|e| decode_error(e, format, name))?;
        image.apply_orientation(orientation);
        Ok(flatten(image))
    })
}

fn decoder<'a>(
    bytes: &'a [u8],
    format: Format,
    limits: &Limits,
    name: &str,
) -> Result<impl ImageDecoder + 'a, PhotoError> {
    let kind = match format {
        Format::Png => ImageFormat::Png,
        Format::Jpeg => ImageFormat::Jpeg,
        Format::WebP => ImageFormat::WebP,
    };
    let mut reader = ImageReader::with_format(Cursor::new(bytes), kind);
    let mut bound = image::Limits::no_limits();
    bound.max_alloc = Some(limits.pixels.saturating_mul(WIDEST_PIXEL));
    reader.limits(bound);
    reader.into_decoder().map_err(|e| decode_error(e, format, name))
}

fn decode_error(error: ImageError, format: Format, name: &str) -> PhotoError {
    let name = name.to_owned();
    match error {
        ImageError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            PhotoError::Truncated { name, format }
        }
        ImageError::Unsupported(e) => PhotoError::Unsupported { name, format, reason: e.to_string() },
        other => PhotoError::Damaged { name, format, reason: other.to_string() },
    }
}

/// 8-bit RGB; transparent pixels are laid over white, because the colour hidden under them is arbitrary.
fn flatten(image: DynamicImage) -> RgbImage {
    if !image.color().has_alpha() {
        return image.into_rgb8();
    }
    let rgba = image.into_rgba8();
    let mut rgb = RgbImage::new(rgba.width(), rgba.height());
    for (to, from) in rgb.pixels_mut().zip(rgba.pixels()) {
        let [r, g, b, alpha] = from.0.map(u32::from);
        to.0 = [r, g, b].map(|c| ((c * alpha + 255 * (255 - alpha) + 127) / 255) as u8);
    }
    rgb
}
