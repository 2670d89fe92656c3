//! The pictures of a data set, in memory as bytes.
//!
//! They lie one by one in `images/`, or in strips, one a person, which `render/pack.py` makes to carry a data set
//! elsewhere: the shot of number n is the n-th square from the left.

use std::path::{Path, PathBuf};

use image::RgbImage;
use tch::{Device, Kind, Tensor};

use crate::dataset::Frame;
use crate::error::TrainingError;
use crate::in_parallel;
use crate::pictures::framed;
use crate::recipe::PICTURE_SIZE;

/// Pictures of frames, in their order.
pub struct Renders {
    /// [N, S, S, 3], u8
    pixels: Tensor,
}

impl Renders {
    /// Reads the pictures of `frames`, which are ordered by person, from the folder `dir`: of each the framed part,
    /// as large as the model's pictures.
    pub fn read(dir: &Path, frames: &[Frame], device: Device) -> Result<Self, TrainingError> {
        let people: Vec<&[Frame]> = frames.chunk_by(|a, b| a.person == b.person).collect();
        let read = |(): &(), shots: &&[Frame]| pictures(dir, shots);
        let side = PICTURE_SIZE;
        let pixels = Tensor::f_empty([frames.len() as i64, side, side, 3], (Kind::Uint8, Device::Cpu))?; // [N, S, S, 3]
        let rows = in_parallel::map(&people, || Ok(()), read)?;
        for (row, picture) in rows.iter().flatten().enumerate() {
            let picture = Tensor::f_from_data_size(picture.as_raw(), &[side, side, 3], Kind::Uint8)?;
            pixels.get(row as i64).f_copy_(&picture)?;
        }
        Ok(Self { pixels: pixels.to_device(device) })
    }

    /// These rows in [-1, 1]: [B, 3, S, S], channels last in memory, which convolutions on a CPU like best.
    pub fn batch(&self, rows: &[i64], kind: Kind, device: Device) -> Tensor {
        let rows = Tensor::from_slice(rows).to_device(self.pixels.device());
        let pixels = self.pixels.index_select(0, &rows).permute([0, 3, 1, 2]); // [B, 3, S, S]
        pixels.to_device(device).to_kind(kind) / 127.5 - 1.0
    }

    pub fn count(&self) -> i64 {
        self.pixels.size()[0]
    }
}

/// One person's pictures, as large as the model's.
pub fn pictures(dir: &Path, shots: &[Frame]) -> Result<Vec<RgbImage>, TrainingError> {
    let Some(first) = shots.first() else { return Ok(Vec::new()) };
    let strip = dir.join(format!("strips/{:05}.webp", first.person));
    if !strip.is_file() {
        return shots.iter().map(|shot| square(dir.join(&shot.file))).collect();
    }
    let picture = opened(&strip)?;
    let side = picture.height();
    let cut = |shot: &Frame| {
        let (left, needed) = (shot.shot * side, (shot.shot + 1) * side);
        if side < PICTURE_SIZE as u32 || picture.width() < needed {
            let (path, found) = (strip.clone(), picture.dimensions());
            return Err(TrainingError::Strip { path, found, shot: shot.shot });
        }
        let part = image::imageops::crop_imm(&picture, left, 0, side, side).to_image();
        Ok(framed(&part, PICTURE_SIZE as u32))
    };
    shots.iter().map(cut).collect()
}

fn square(path: PathBuf) -> Result<RgbImage, TrainingError> {
    let picture = opened(&path)?;
    let expected = PICTURE_SIZE as u32;
    if picture.width() != picture.height() || picture.width() < expected {
        return Err(TrainingError::Size {
            path,
            found: picture.dimensions(),
            expected: (expected, expected),
        });
    }
    Ok(framed(&picture, expected))
}

fn opened(path: &Path) -> Result<RgbImage, TrainingError> {
    let picture = image::open(path).map_err(|source| TrainingError::Image { path: path.into(), source })?;
    Ok(picture.to_rgb8())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use image::Rgb;

    use super::*;
    use crate::dataset::rendered;

    #[test]
    fn pictures_are_read_one_by_one_or_cut_from_a_strip() {
        let dir = std::env::temp_dir().join(format!("imagine-renders-{}", std::process::id()));
        for folder in ["images", "strips"] {
            std::fs::create_dir_all(dir.join(folder)).unwrap();
        }
        let side = PICTURE_SIZE as u32;
        RgbImage::from_pixel(side, side, Rgb([10, 20, 30])).save(dir.join("images/00001_0.png")).unwrap();
        // Shot 1 of the second person had no face: its square is there, no frame asks for it.
        let strip = RgbImage::from_fn(3 * side, side, |x, _| Rgb([(x / side * 100) as u8; 3]));
        strip.save(dir.join("strips/00002.webp")).unwrap();
        let frames = [rendered(1, 0), rendered(2, 0), rendered(2, 2)];
        let renders = Renders::read(&dir, &frames, Device::Cpu).unwrap();
        let batch = (renders.batch(&[0, 1, 2], Kind::Float, Device::Cpu) + 1.0) * 127.5;
        let means: Vec<f32> =
            Vec::try_from(batch.mean_dim([1i64, 2, 3].as_slice(), false, Kind::Float)).unwrap();
        for (found, wanted) in means.iter().zip([20.0, 0.0, 200.0]) {
            assert!((found - wanted).abs() < 1.0, "{means:?}");
        }
        let missing = Renders::read(&dir, &[rendered(2, 3)], Device::Cpu);
        assert!(matches!(missing, Err(TrainingError::Strip { shot: 3, .. })));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
