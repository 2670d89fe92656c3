//! Where in the picture somebody is.

use imagine_contract::Region;
use tch::{Device, Kind, Tensor};

use crate::edit::{Size, resized_mask};
use crate::error::PipelineError;

/// 1 where the person belongs, otherwise 0: [1, 1, H, W] of the picture's size, f32
pub(crate) fn region_tensor(region: &Region, size: Size) -> Result<Tensor, PipelineError> {
    let (width, height) = (i64::from(size.width), i64::from(size.height));
    match region {
        Region::Mask(mask) => {
            let mask = resized_mask(mask, size)?;
            let values = Tensor::f_from_slice(&mask.values)?.f_view([1, 1, height, width])?;
            Ok(values.f_ge(128)?.f_to_kind(Kind::Float)?)
        }
        Region::Box([left, top, right, bottom]) => {
            let cut = |low: f64, high: f64, length: i64| {
                let at = |part: f64| ((part * length as f64).round() as i64).clamp(0, length);
                let low = at(low).min(length - 1);
                (low, (at(high) - low).max(1))
            };
            let ((x, w), (y, h)) = (cut(*left, *right, width), cut(*top, *bottom, height));
            let tensor = Tensor::f_zeros([1, 1, height, width], (Kind::Float, Device::Cpu))?;
            let _ = tensor.f_narrow(2, y, h)?.f_narrow(3, x, w)?.f_fill_(1.0)?;
            Ok(tensor)
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_contract::GrayPixels;

    use super::*;

    #[test]
    fn a_box_covers_its_pixels_and_a_mask_is_stretched() {
        let size = Size { width: 8, height: 4 };
        let values = |region: &Region| -> Vec<f32> {
            let tensor = region_tensor(region, size).unwrap();
            assert_eq!(tensor.size(), [1, 1, 4, 8]);
            Vec::try_from(tensor.flatten(0, -1)).unwrap()
        };
        let right = values(&Region::Box([0.5, 0.25, 1.0, 0.75]));
        let expected: Vec<f32> =
            (0..32).map(|n| f32::from(u8::from(n % 8 >= 4 && (8..24).contains(&n)))).collect();
        assert_eq!(right, expected);
        // However thin, a region is a pixel wide.
        assert_eq!(values(&Region::Box([0.99, 0.0, 1.0, 0.01])).iter().sum::<f32>(), 1.0);
        let half = GrayPixels { width: 2, height: 1, values: vec![255, 0] };
        let stretched = values(&Region::Mask(half));
        assert_eq!(stretched[..8], [1.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    }
}
