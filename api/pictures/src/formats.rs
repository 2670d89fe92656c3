use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::FilterType;
use image::{DynamicImage, ExtendedColorType, ImageFormat, ImageReader, Limits, RgbImage};
use image_webp::{ColorType, WebPEncoder};
use imagine_contract::{GrayPixels, RgbPixels};

use crate::png_text::xmp;

/// Pixels of the largest picture that is decoded.
const MOST: u64 = 50_000_000;
/// Bytes that decoding may take.
const MEMORY: u64 = 512 << 20;

/// Why a picture could not be encoded or decoded.
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    #[error("the pixels are not as many as {width} × {height} asks for")]
    Pixels { width: u32, height: u32 },
    #[error("the picture has {width} × {height} pixels, at most {MOST} are taken")]
    TooLarge { width: u32, height: u32 },
    #[error(transparent)]
    Codec(#[from] image::ImageError),
    #[error(transparent)]
    Png(#[from] png::EncodingError),
    #[error(transparent)]
    Webp(#[from] image_webp::EncodingError),
}

fn whole(pixels: &RgbPixels) -> Result<(), PictureError> {
    let (width, height) = (pixels.width, pixels.height);
    if pixels.is_whole() { Ok(()) } else { Err(PictureError::Pixels { width, height }) }
}

/// JPEG of quality 1 to 100, marked as made by a model.
///
/// # Errors
/// The pixels are not whole.
pub fn jpeg(pixels: &RgbPixels, quality: u8) -> Result<Vec<u8>, PictureError> {
    whole(pixels)?;
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100));
    encoder.encode(&pixels.rgb, pixels.width, pixels.height, ExtendedColorType::Rgb8)?;
    // XMP lies in a segment APP1 of its own; the first two bytes begin the picture.
    let packet =
        [b"http://ns.adobe.com/xap/1.0/\0".as_slice(), xmp(env!("CARGO_PKG_VERSION")).as_bytes()].concat();
    if let Ok(length) = u16::try_from(packet.len() + 2) {
        let segment = [&[0xff, 0xe1], length.to_be_bytes().as_slice(), &packet].concat();
        bytes.splice(2..2, segment);
    }
    Ok(bytes)
}

/// Lossless WebP, marked as made by a model.
///
/// # Errors
/// The pixels are not whole.
pub fn webp(pixels: &RgbPixels) -> Result<Vec<u8>, PictureError> {
    whole(pixels)?;
    let mut bytes = Vec::new();
    let mut encoder = WebPEncoder::new(&mut bytes);
    encoder.set_xmp_metadata(xmp(env!("CARGO_PKG_VERSION")).into_bytes());
    encoder.encode(&pixels.rgb, pixels.width, pixels.height, ColorType::Rgb8)?;
    Ok(bytes)
}

/// At most `side` pixels a side, in the same shape; as it is where it is small enough.
///
/// # Errors
/// The pixels are not whole.
pub fn shrunk(pixels: &RgbPixels, side: u32) -> Result<RgbPixels, PictureError> {
    whole(pixels)?;
    if pixels.width.max(pixels.height) <= side {
        return Ok(pixels.clone());
    }
    let (width, height) = (pixels.width, pixels.height);
    let wrong = || PictureError::Pixels { width, height };
    let picture = RgbImage::from_raw(width, height, pixels.rgb.clone()).ok_or_else(wrong)?;
    let small = DynamicImage::from(picture).resize(side, side, FilterType::Triangle).into_rgb8();
    let (width, height) = small.dimensions();
    Ok(RgbPixels { width, height, rgb: small.into_raw() })
}

fn open(bytes: &[u8]) -> Result<DynamicImage, PictureError> {
    let reader =
        || ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(image::ImageError::IoError);
    let known = |format| matches!(format, Some(ImageFormat::Png | ImageFormat::Jpeg | ImageFormat::WebP));
    let first = reader()?;
    if !known(first.format()) {
        return Err(image::ImageError::Unsupported(image::error::ImageFormatHint::Unknown.into()).into());
    }
    let (width, height) = first.into_dimensions()?;
    if u64::from(width) * u64::from(height) > MOST {
        return Err(PictureError::TooLarge { width, height });
    }
    let mut limits = Limits::default();
    limits.max_alloc = Some(MEMORY);
    let mut reader = reader()?;
    reader.limits(limits);
    Ok(reader.decode()?)
}

/// PNG, JPEG or WebP that this program wrote or took in. Photos of people are read by a
/// [`imagine_contract::FaceReader`].
///
/// # Errors
/// Another format, too many pixels, or damaged.
pub fn decode(bytes: &[u8]) -> Result<RgbPixels, PictureError> {
    let picture = open(bytes)?.into_rgb8();
    let (width, height) = picture.dimensions();
    Ok(RgbPixels { width, height, rgb: picture.into_raw() })
}

/// The same by its brightness, for masks.
///
/// # Errors
/// As [`decode`].
pub fn decode_gray(bytes: &[u8]) -> Result<GrayPixels, PictureError> {
    let picture = open(bytes)?.into_luma8();
    let (width, height) = picture.dimensions();
    Ok(GrayPixels { width, height, values: picture.into_raw() })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use image::ImageDecoder;

    use super::*;

    fn ramp(width: u32, height: u32) -> RgbPixels {
        let rgb = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [(x * 2) as u8, (y * 2) as u8, 90]))
            .collect();
        RgbPixels { width, height, rgb }
    }

    #[test]
    fn written_and_read_back() {
        let pixels = ramp(100, 60);
        assert_eq!(decode(&webp(&pixels).unwrap()).unwrap(), pixels);
        let written = jpeg(&pixels, 90).unwrap();
        let read = decode(&written).unwrap();
        let most = read.rgb.iter().zip(&pixels.rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(most.unwrap() < 16, "{most:?}");
        assert!(jpeg(&pixels, 20).unwrap().len() < written.len());
        assert!(jpeg(&RgbPixels { height: 61, ..pixels }, 90).is_err());
    }

    /// By what other programs read, not by looking for the words.
    #[test]
    fn the_mark_is_where_readers_of_the_format_look() {
        let pixels = ramp(9, 9);
        let mark = "digitalsourcetype/trainedAlgorithmicMedia\"";
        let webp = webp(&pixels).unwrap();
        let mut decoder = image_webp::WebPDecoder::new(Cursor::new(&webp)).unwrap();
        let packet = decoder.xmp_metadata().unwrap().unwrap();
        assert!(String::from_utf8(packet).unwrap().contains(mark));
        let jpeg = jpeg(&pixels, 90).unwrap();
        let mut reader = ImageReader::new(Cursor::new(&jpeg)).with_guessed_format().unwrap();
        reader.no_limits();
        let packet = reader.into_decoder().unwrap().xmp_metadata().unwrap().unwrap();
        assert!(String::from_utf8(packet).unwrap().contains(mark));
    }

    #[test]
    fn shrunk_in_its_shape() {
        let small = shrunk(&ramp(100, 60), 50).unwrap();
        assert_eq!((small.width, small.height, small.rgb.len()), (50, 30, 4500));
        assert!(small.rgb[48 * 3] > 180, "the right edge is as bright as it was");
        assert_eq!(shrunk(&ramp(10, 6), 50).unwrap(), ramp(10, 6));
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [b"".as_slice(), b"GIF89a\x01\x00\x01\x00", b"<svg/>", &webp(&ramp(9, 9)).unwrap()[..30]]
        {
            assert!(decode(bytes).is_err());
        }
    }
}
