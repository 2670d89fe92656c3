//! `--init`, `--mask` and `--keep-face`: from files to a picture that is changed.

use std::path::Path;

use image::RgbImage;
use imagine_contract::{Edit, EditMask, GrayPixels, Rest};
use imagine_identity::{Encoder, IdentityError, Photo};
use imagine_pipeline::composite::{FaceBox, all_but_faces};

use crate::faces::pixels;
use crate::failure::Failure;
use crate::generate_args::GenerateArgs;

/// Over so many pixels inside a hard mask the new picture is faded in.
const FEATHER: u32 = 8;

/// The edit that the arguments ask for, if any.
pub fn read(args: &GenerateArgs) -> Result<Option<Edit>, Failure> {
    let Some(file) = &args.init else { return Ok(None) };
    let picture = open(file)?;
    let mask = if let Some(mask) = &args.mask {
        Some(EditMask { pixels: read_mask(mask)?, rest: Rest::Original { feather: FEATHER } })
    } else if args.keep_face {
        // Its edge is soft already.
        Some(EditMask { pixels: around_faces(file, &picture)?, rest: Rest::Original { feather: 0 } })
    } else {
        None
    };
    let usual = if args.mask.is_some() { 1.0 } else { 0.8 };
    Ok(Some(Edit { picture: pixels(&picture), strength: args.strength.unwrap_or(usual), mask }))
}

/// A picture for a mask: white where something holds, whatever its colours.
pub fn read_mask(file: &Path) -> Result<GrayPixels, Failure> {
    let picture = open(file)?;
    let (width, height) = picture.dimensions();
    // Luma of ITU-R 601-2, as Pillow's conversion to grey.
    let luma = |[r, g, b]: [u8; 3]| {
        ((u32::from(r) * 19595 + u32::from(g) * 38470 + u32::from(b) * 7471 + 0x8000) >> 16) as u8
    };
    Ok(GrayPixels { width, height, values: picture.pixels().map(|p| luma(p.0)).collect() })
}

/// Decoded within the limits of photos, upright.
fn open(file: &Path) -> Result<RgbImage, Failure> {
    Ok(Photo::open(file).map_err(Failure::input)?.pixels().clone())
}

fn around_faces(file: &Path, picture: &RgbImage) -> Result<GrayPixels, Failure> {
    let failure = |e: IdentityError| if e.is_input() { Failure::input(e) } else { Failure::failed(e) };
    let faces = Encoder::installed().and_then(|encoder| encoder.faces(picture)).map_err(failure)?;
    if faces.is_empty() {
        let message = format!("{}: no face was found, so --keep-face has nothing to keep", file.display());
        return Err(Failure::input(message).hint("--mask FILE says what to change"));
    }
    let boxes: Vec<FaceBox> = faces.iter().map(|face| face.bbox).collect();
    Ok(all_but_faces(picture.width(), picture.height(), &boxes))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_mask_is_read_by_its_brightness() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mask.png");
        let mut image = RgbImage::new(3, 1);
        image.put_pixel(1, 0, image::Rgb([255, 255, 255]));
        image.put_pixel(2, 0, image::Rgb([255, 0, 0]));
        image.save(&file).unwrap();
        assert_eq!(read_mask(&file).unwrap().values, [0, 255, 76]);
        assert!(read_mask(&dir.path().join("gone.png")).unwrap_err().to_string().contains("gone.png"));
    }
}
