//! All pictures of a run on one sheet.

use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use imagine_contract::Picture;

/// Longest side of a sheet in pixels; pictures are made smaller to fit.
const LONGEST_SIDE: u32 = 4_096;

const PAPER: Rgb<u8> = Rgb([24, 24, 27]);

/// A grid, filled row by row, as nearly square as the number of pictures allows, with a thin margin
/// around every picture. None where there is no picture, or one whose bytes do not fit its size.
pub fn contact_sheet(pictures: &[&Picture]) -> Option<RgbImage> {
    let first = &pictures.first()?.pixels;
    let count = u32::try_from(pictures.len()).ok()?;
    let columns = (1..=count).find(|c| c * c >= count)?;
    let rows = count.div_ceil(columns);
    let margin = (first.width.min(first.height) / 64).max(2);
    let fit = |cells: u32, side: u32| {
        let room = LONGEST_SIDE.saturating_sub(margin * (cells + 1)) / cells;
        f64::from(room.max(1)) / f64::from(side.max(1))
    };
    let scale = fit(columns, first.width).min(fit(rows, first.height)).min(1.0);
    let cell = |side: u32| ((f64::from(side) * scale) as u32).max(1);
    let (width, height) = (cell(first.width), cell(first.height));
    let sheet_side = |cells: u32, side: u32| cells * side + (cells + 1) * margin;
    let mut sheet = RgbImage::from_pixel(sheet_side(columns, width), sheet_side(rows, height), PAPER);
    for (index, picture) in (0u32..).zip(pictures.iter().copied()) {
        let mut image =
            RgbImage::from_raw(picture.pixels.width, picture.pixels.height, picture.pixels.rgb.clone())?;
        if image.dimensions() != (width, height) {
            image = imageops::resize(&image, width, height, FilterType::Triangle);
        }
        let x = margin + index % columns * (width + margin);
        let y = margin + index / columns * (height + margin);
        imageops::replace(&mut sheet, &image, x.into(), y.into());
    }
    Some(sheet)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_contract::RgbPixels;

    use super::*;

    fn pictures(count: u8, width: u32, height: u32) -> Vec<Picture> {
        let of = |i: u8| {
            let rgb = vec![i; (width * height * 3) as usize];
            Picture { pixels: RgbPixels { width, height, rgb }, seed: 0 }
        };
        (1..=count).map(of).collect()
    }

    fn refs(pictures: &[Picture]) -> Vec<&Picture> {
        pictures.iter().collect()
    }

    #[test]
    fn pictures_stand_in_reading_order_with_a_margin() {
        let sheet = contact_sheet(&refs(&pictures(5, 64, 128))).unwrap();
        let margin = 2;
        // 5 pictures: 3 columns, 2 rows, the last place empty
        assert_eq!(sheet.dimensions(), (3 * 64 + 4 * margin, 2 * 128 + 3 * margin));
        for index in 0..5u8 {
            let (column, row) = (u32::from(index) % 3, u32::from(index) / 3);
            let (x, y) = (margin + column * (64 + margin), margin + row * (128 + margin));
            assert_eq!(sheet.get_pixel(x, y), &Rgb([index + 1; 3]));
            assert_eq!(sheet.get_pixel(x + 63, y + 127), &Rgb([index + 1; 3]));
            assert_eq!(sheet.get_pixel(x - 1, y), &PAPER);
        }
        assert_eq!(sheet.get_pixel(2 * (64 + margin) + margin, 128 + 2 * margin), &PAPER);
    }

    #[test]
    fn a_large_sheet_is_made_smaller() {
        let sheet = contact_sheet(&refs(&pictures(16, 1200, 40))).unwrap();
        assert!(sheet.width() <= LONGEST_SIDE && sheet.width() > LONGEST_SIDE - 100);
        assert!(sheet.height() < sheet.width());
    }

    #[test]
    fn nothing_fits_on_no_sheet() {
        assert_eq!(contact_sheet(&[]), None);
        let mut broken = pictures(1, 8, 8);
        broken[0].pixels.rgb.pop();
        assert_eq!(contact_sheet(&refs(&broken)), None);
    }
}
