//! Five-point alignment against OpenCV and Umeyama's decomposition (generate/alignment.py).

use image::RgbImage;
use imagine_identity::align::{Similarity, align, template, warp};
use imagine_tests::{Golden, assert_close};
use tch::{Kind, Tensor};

/// [height, width, 3] u8 to a picture.
pub fn picture(tensor: &Tensor) -> RgbImage {
    let &[height, width, 3] = &tensor.size()[..] else { panic!("not a picture: {:?}", tensor.size()) };
    let bytes = Vec::<u8>::try_from(tensor.contiguous().view(-1)).expect("u8 values");
    RgbImage::from_raw(width as u32, height as u32, bytes).expect("the right number of bytes")
}

/// [5, 2] f32 to landmarks.
fn landmarks(tensor: &Tensor) -> [[f32; 2]; 5] {
    let values = Vec::<f32>::try_from(tensor.to_kind(Kind::Float).contiguous().view(-1)).expect("f32 values");
    std::array::from_fn(|n| [values[2 * n], values[2 * n + 1]])
}

/// Every sample within 1/255 and nine in ten equal: OpenCV works in f32 and rounds half to even.
pub fn assert_same_picture(what: &str, actual: &RgbImage, expected: &RgbImage) {
    assert_eq!(actual.dimensions(), expected.dimensions(), "{what}");
    let off: Vec<u8> = actual.as_raw().iter().zip(expected.as_raw()).map(|(a, e)| a.abs_diff(*e)).collect();
    let most = off.iter().max().copied().unwrap_or(0);
    let different = off.iter().filter(|d| **d > 0).count();
    assert!(most <= 1, "{what}: {most}/255 off");
    assert!(different * 10 <= off.len(), "{what}: {different} of {} samples differ", off.len());
}

#[test]
fn matrices_equal_the_decomposition() {
    let golden = Golden::read("alignment", "alignment.safetensors");
    let points = golden.get("landmarks");
    for size in [112, 224, 256] {
        let expected = golden.get(&format!("matrix_{size}"));
        for n in 0..points.size()[0] {
            let found = Similarity::between(&landmarks(&points.get(n)), &template(size)).expect("a face");
            let actual = Tensor::from_slice(found.matrix().as_flattened()).view([2, 3]);
            assert_close(&format!("matrix {n} at {size}"), &actual, &expected.get(n), 1e-6);
        }
    }
}

#[test]
fn crops_equal_opencvs() {
    let golden = Golden::read("alignment", "alignment.safetensors");
    let (image, points) = (picture(&golden.get("image")), golden.get("landmarks"));
    let crops = golden.get("crop_112");
    for (at, n) in [0, 2, 5].into_iter().enumerate() {
        let aligned = align(&image, &landmarks(&points.get(n)), 112).expect("a face");
        assert_same_picture(&format!("crop {n}"), &aligned, &picture(&crops.get(at as i64)));
    }
    let warped = golden.get("warp_40");
    for n in 0..points.size()[0] {
        let transform = Similarity::between(&landmarks(&points.get(n)), &template(40)).expect("a face");
        assert_same_picture(&format!("warp {n}"), &warp(&image, &transform, 40), &picture(&warped.get(n)));
    }
}
