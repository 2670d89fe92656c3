//! Masks from clients: PNGs, read within limits and written anew.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{
    DynamicImage, GrayImage, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits,
};

use crate::app::App;
use crate::error::{Code, Outcome, Problem};

/// Bytes of a mask's PNG where it comes as text.
const BYTES: usize = 8 << 20;

/// How large a mask may be.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    /// Of the request, for errors.
    field: &'static str,
    side: u32,
    pixels: u64,
}

/// OpenAI's masks are as large as the photo that is changed: what photos may have.
const OF_PHOTOS: Bounds = Bounds { field: "mask", side: 12_000, pixels: 50_000_000 };

/// A gray PNG from base64 (a data URL too), white where something is drawn anew.
pub(crate) async fn of_base64(text: &str, side: u32, field: &'static str) -> Outcome<Vec<u8>> {
    let text = text.split_once(";base64,").map_or(text, |(_, data)| data);
    if text.len() > BYTES / 3 * 4 {
        return Err(Problem::new(Code::TooLarge, format!("a mask has {BYTES} bytes at most")).param(field));
    }
    let bytes = STANDARD.decode(text.trim()).map_err(|_| Problem::field(field, "the mask is not base64"))?;
    let bounds = Bounds { field, side, pixels: u64::from(side) * u64::from(side) };
    tokio::task::spawn_blocking(move || gray(&bytes, bounds)).await.map_err(Problem::internal)?
}

/// The same from a file, which may be as large as the photo that is changed. As much work: a few at a time.
pub(crate) async fn of_file(app: &App, bytes: Vec<u8>, field: &'static str) -> Outcome<Vec<u8>> {
    let closed = |_| Problem::new(Code::Draining, "the server is shutting down");
    let _slot = app.photo_slots.acquire().await.map_err(closed)?;
    let bounds = Bounds { field, ..OF_PHOTOS };
    tokio::task::spawn_blocking(move || gray(&bytes, bounds)).await.map_err(Problem::internal)?
}

fn gray(bytes: &[u8], bounds: Bounds) -> Outcome<Vec<u8>> {
    let luma = decode(bytes, bounds)?.into_luma8();
    if luma.pixels().all(|pixel| pixel.0[0] < 128) {
        return Err(Problem::field(bounds.field, "the mask marks nothing: no pixel is white"));
    }
    encode(&luma)
}

/// The same from OpenAI's kind of mask: a PNG that is transparent where something is drawn anew.
/// As large as a photo, and as much work: a few at a time.
pub(crate) async fn of_alpha(app: &App, bytes: Vec<u8>) -> Outcome<Vec<u8>> {
    let closed = |_| Problem::new(Code::Draining, "the server is shutting down");
    let _slot = app.photo_slots.acquire().await.map_err(closed)?;
    let work = move || gray_of_alpha(&bytes, OF_PHOTOS);
    tokio::task::spawn_blocking(work).await.map_err(Problem::internal)?
}

fn gray_of_alpha(bytes: &[u8], bounds: Bounds) -> Outcome<Vec<u8>> {
    let picture = decode(bytes, bounds)?;
    if !picture.color().has_alpha() {
        return Err(Problem::field("mask", "the mask has no transparency: it says where to draw anew"));
    }
    let rgba = picture.into_rgba8();
    let values = rgba.pixels().map(|pixel| 255 - pixel.0[3]).collect();
    let luma = GrayImage::from_raw(rgba.width(), rgba.height(), values);
    let luma = luma.ok_or_else(|| Problem::internal("a mask lost pixels"))?;
    if luma.pixels().all(|pixel| pixel.0[0] < 128) {
        return Err(Problem::field("mask", "the mask is transparent nowhere"));
    }
    encode(&luma)
}

fn decode(bytes: &[u8], Bounds { field, side, pixels }: Bounds) -> Outcome<DynamicImage> {
    let large = || {
        let detail = format!("a mask has {side} pixels a side and {pixels} pixels at most");
        Problem::new(Code::TooLarge, detail).param(field)
    };
    let wrong = |error| match error {
        ImageError::Limits(_) => large(),
        _ => Problem::field(field, "the mask is not a PNG that can be read"),
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(side);
    limits.max_image_height = Some(side);
    limits.max_alloc = Some(64 << 20);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), ImageFormat::Png);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(wrong)?;
    // The decoder's limits do not cover the pixels themselves.
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > pixels {
        return Err(large());
    }
    DynamicImage::from_decoder(decoder).map_err(wrong)
}

fn encode(luma: &GrayImage) -> Outcome<Vec<u8>> {
    let mut png = Vec::new();
    let encoder = image::codecs::png::PngEncoder::new(&mut png);
    let written = encoder.write_image(luma, luma.width(), luma.height(), image::ExtendedColorType::L8);
    written.map_err(Problem::internal)?;
    Ok(png)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use image::{Rgba, RgbaImage};

    use super::*;

    fn png(picture: &DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn values(png: &[u8]) -> Vec<u8> {
        image::load_from_memory(png).unwrap().into_luma8().into_raw()
    }

    #[tokio::test]
    async fn white_is_drawn_anew() {
        let mask = DynamicImage::ImageLuma8(GrayImage::from_raw(2, 1, vec![255, 0]).unwrap());
        let text = STANDARD.encode(png(&mask));
        assert_eq!(values(&of_base64(&text, 64, "edit.mask").await.unwrap()), [255, 0]);
        assert_eq!(
            values(&of_base64(&format!("data:image/png;base64,{text}"), 64, "edit.mask").await.unwrap()),
            [255, 0]
        );
        assert!(of_base64(&text, 1, "edit.mask").await.is_err(), "wider than allowed");
        assert!(of_base64("!", 64, "edit.mask").await.is_err());
        let black = DynamicImage::ImageLuma8(GrayImage::from_raw(2, 1, vec![0, 0]).unwrap());
        assert!(of_base64(&STANDARD.encode(png(&black)), 64, "edit.mask").await.is_err());
    }

    #[test]
    fn transparent_is_drawn_anew() {
        let picture = RgbaImage::from_fn(2, 1, |x, _| Rgba([9, 9, 9, if x == 0 { 0 } else { 255 }]));
        let bytes = png(&DynamicImage::ImageRgba8(picture));
        let few = Bounds { pixels: 2, ..OF_PHOTOS };
        assert_eq!(values(&gray_of_alpha(&bytes, few).unwrap()), [255, 0]);
        assert_eq!(gray_of_alpha(&bytes, Bounds { pixels: 1, ..few }).unwrap_err().code, Code::TooLarge);
        assert_eq!(gray_of_alpha(&bytes, Bounds { side: 1, ..few }).unwrap_err().code, Code::TooLarge);
        let opaque = DynamicImage::ImageRgb8(image::RgbImage::new(2, 1));
        assert!(gray_of_alpha(&png(&opaque), few).is_err());
    }
}
