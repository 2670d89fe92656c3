//! InstantID's drawings of key points against OpenCV's (fixtures by `generate/key_point_image.py`).

use imagine_identity::key_point_image::{KeyPointError, KeyPointImage, KeyPoints, fit};
use imagine_tests::fixtures;
use serde::Deserialize;
use tch::{Device, Kind};

#[derive(Deserialize)]
struct Case {
    points: KeyPoints,
    width: u32,
    height: u32,
    checksum: u64,
}

/// Every byte times its place, modulo 2^64.
fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().zip(1u64..).fold(0, |sum, (&byte, place)| sum.wrapping_add(u64::from(byte) * place))
}

/// The face of `face.png`.
const FACE: KeyPoints = [[66.4, 43.7], [198.4, 43.7], [132.4, 125.1], [79.6, 199.9], [185.2, 199.9]];

#[test]
fn every_pixel_is_opencvs() {
    let text = std::fs::read_to_string(fixtures("key_point_image").join("cases.json")).expect("the cases");
    let cases: Vec<Case> = serde_json::from_str(&text).expect("a list of cases");
    assert!(cases.len() >= 400, "{} cases", cases.len());
    let mut wrong = Vec::new();
    for (i, case) in cases.iter().enumerate() {
        let drawn = KeyPointImage::draw(&[case.points], case.width, case.height);
        let drawn = drawn.unwrap_or_else(|e| panic!("case {i}: {e}"));
        if checksum(&drawn.rgb) != case.checksum {
            wrong.push(i);
        }
    }
    assert!(wrong.is_empty(), "{} of {} drawings differ: {wrong:?}", wrong.len(), cases.len());
}

#[test]
fn the_drawing_to_look_at() {
    let expected = image::open(fixtures("key_point_image").join("face.png")).expect("the picture").to_rgb8();
    let drawn = KeyPointImage::draw(&[FACE], expected.width(), expected.height()).expect("a face");
    let different = drawn.rgb.iter().zip(expected.as_raw()).filter(|(a, b)| a != b).count();
    assert_eq!((drawn.rgb.len(), different), (expected.as_raw().len(), 0), "bytes, and those that differ");
    let tensor = drawn.to_tensor(Device::Cpu);
    assert_eq!((tensor.size(), tensor.kind()), (vec![1, 3, 288, 256], Kind::Float));
    let eye = [0, 1, 2].map(|c| tensor.double_value(&[0, c, 43, 66]));
    assert_eq!(eye, [1.0, 0.0, 0.0], "the eye on the left is red");
}

#[test]
fn several_faces_lie_side_by_side() {
    let right = FACE.map(|[x, y]| [x + 256.0, y]);
    let both = KeyPointImage::draw(&[FACE, right], 512, 288).expect("two faces");
    let one = KeyPointImage::draw(&[FACE], 256, 288).expect("a face");
    for (row, pair) in one.rgb.chunks_exact(3 * 256).zip(both.rgb.chunks_exact(3 * 512)) {
        assert!(row == &pair[..3 * 256] && row == &pair[3 * 256..]);
    }
}

#[test]
fn points_that_cannot_be_drawn_are_refused() {
    for (index, value) in [(3, f32::NAN), (0, f32::INFINITY), (4, -1e9), (2, 3e6)] {
        let mut points = FACE;
        points[index][1] = value;
        let error = KeyPointImage::draw(&[FACE, points], 256, 288).expect_err("no such point");
        assert!(matches!(error, KeyPointError::Outside { index: i, .. } if i == index), "{error}");
        assert!(error.to_string().contains("256 × 288"), "{error}");
    }
    for (width, height) in [(0, 8), (8, 0), (u32::MAX, u32::MAX)] {
        let error = KeyPointImage::draw(&[], width, height).expect_err("no such picture");
        assert_eq!(error, KeyPointError::Size { width, height });
    }
}

#[test]
fn a_photo_is_fitted_into_the_picture() {
    let corners = [[0.0, 0.0], [400.0, 0.0], [200.0, 100.0], [0.0, 200.0], [400.0, 200.0]];
    let fitted = fit(&corners, (400, 200), (1024, 1024));
    assert_eq!(fitted, [[0.0, 256.0], [1024.0, 256.0], [512.0, 512.0], [0.0, 768.0], [1024.0, 768.0]]);
    assert_eq!(fit(&FACE, (256, 288), (256, 288)), FACE);
}
