//! Contact sheets, for looking at.

use std::path::Path;

use image::RgbImage;
use image::codecs::jpeg::JpegEncoder;
use tch::{Device, Kind, Tensor};

use crate::error::TrainingError;
use crate::files::write_whole;
use crate::recipe;

/// Of sheets that are kept as JPEG.
const JPEG_QUALITY: u8 = 90;

/// Saves pictures [N, 3, H, W] in [-1, 1] as one PNG or JPEG, by the path's ending, with `columns` a row.
pub fn write_sheet(path: &Path, pixels: &Tensor, columns: i64) -> Result<(), TrainingError> {
    let size = pixels.size();
    let (count, height, width) = (size[0], size[2], size[3]);
    let rows = (count + columns - 1) / columns;
    let bytes = ((pixels.to_kind(Kind::Float).to_device(Device::Cpu) + 1.0) * 127.5)
        .round()
        .clamp(0.0, 255.0)
        .to_kind(Kind::Uint8);
    let sheet = Tensor::zeros([3, rows * height, columns * width], (Kind::Uint8, Device::Cpu));
    for i in 0..count {
        let mut cell = sheet.narrow(1, i / columns * height, height).narrow(2, i % columns * width, width);
        cell.f_copy_(&bytes.get(i))?;
    }
    let sheet = sheet.permute([1, 2, 0]).contiguous(); // [H, W, 3]
    let mut raw = vec![0u8; sheet.numel()];
    sheet.f_copy_data(&mut raw, sheet.numel())?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(TrainingError::io(folder))?;
    }
    let picture = RgbImage::from_raw((columns * width) as u32, (rows * height) as u32, raw);
    let picture = picture.unwrap_or_default();
    if path.extension().is_some_and(|ending| ending == "jpg") {
        let mut bytes = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        let encoded = picture.write_with_encoder(encoder);
        encoded.map_err(|source| TrainingError::Image { path: path.into(), source })?;
        return write_whole(path, &bytes);
    }
    picture.save(path).map_err(|source| TrainingError::Image { path: path.into(), source })
}

/// The framed part of a square render of any size, scaled down to `size` × `size`.
pub fn framed(render: &RgbImage, size: u32) -> RgbImage {
    let (left, top, side) = recipe::FRAMING;
    let scaled = |pixels: u32| pixels * render.width() / recipe::RENDER_SIZE;
    let part = image::imageops::crop_imm(render, scaled(left), scaled(top), scaled(side), scaled(side));
    image::imageops::thumbnail(&*part, size, size)
}

/// A picture as [3, H, W] in [-1, 1].
pub fn tensor_of(picture: &RgbImage) -> Result<Tensor, TrainingError> {
    let (width, height) = picture.dimensions();
    let bytes = Tensor::f_from_data_size(picture.as_raw(), &[height.into(), width.into(), 3], Kind::Uint8)?;
    Ok(bytes.permute([2, 0, 1]).to_kind(Kind::Float) / 127.5 - 1.0)
}
