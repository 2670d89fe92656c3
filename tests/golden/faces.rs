//! YuNet and SFace against OpenCV and ONNX Runtime in Python (generate/faces.py). The models are those that
//! `cargo xtask setup` fetched.

use std::sync::LazyLock;

use image::{Rgb, RgbImage, imageops};
use imagine_identity::align::{FACE_SIZE, align};
use imagine_identity::detect::DETECTOR_SIZE;
use imagine_identity::runtime::{SFACE_FILE, YUNET_FILE, face_models};
use imagine_identity::{Embedding, Encoder, Face, FaceChoice, FaceDetector, FaceEmbedder, Photo, likeness};
use imagine_tests::{Golden, assert_close, fixtures};
use tch::{Kind, Tensor};

use crate::alignment::picture;

/// Rows of a raw output that the fixture keeps.
const EVERY: usize = 41;

fn golden() -> Golden {
    Golden::read("faces", "faces.safetensors")
}

pub fn photo(name: &str) -> RgbImage {
    let path = fixtures("faces").join(name);
    Photo::open(&path).unwrap_or_else(|e| panic!("{e}")).pixels().clone()
}

fn detector() -> FaceDetector {
    FaceDetector::open(&face_models().expect("models").join(YUNET_FILE)).unwrap_or_else(|e| panic!("{e}"))
}

fn embedder() -> FaceEmbedder {
    FaceEmbedder::open(&face_models().expect("models").join(SFACE_FILE)).unwrap_or_else(|e| panic!("{e}"))
}

/// One encoder for all tests, which run in threads of one process.
pub fn encoder() -> &'static Encoder {
    static ENCODER: LazyLock<Encoder> =
        LazyLock::new(|| Encoder::installed().unwrap_or_else(|e| panic!("{e}")));
    &ENCODER
}

/// The picture of four faces that faces.py composes.
pub fn canvas() -> RgbImage {
    let (astronaut, render) = (photo("astronaut.png"), photo("render.png"));
    let mut canvas = RgbImage::new(DETECTOR_SIZE, DETECTOR_SIZE);
    imageops::replace(&mut canvas, &astronaut, 0, 0);
    imageops::replace(&mut canvas, &render, 320, 16);
    imageops::replace(&mut canvas, &imageops::flip_horizontal(&render), 16, 320);
    let half = RgbImage::from_fn(112, 112, |x, y| *astronaut.get_pixel(2 * x, 2 * y));
    imageops::replace(&mut canvas, &half, 400, 400);
    canvas
}

/// Every pixel three times in both directions.
fn enlarged(image: &RgbImage) -> RgbImage {
    RgbImage::from_fn(3 * image.width(), 3 * image.height(), |x, y| *image.get_pixel(x / 3, y / 3))
}

/// [15]: box, landmarks, score, as OpenCV lays a face out.
fn row(face: &Face) -> Tensor {
    let mut values = face.bbox.to_vec();
    values.extend(face.landmarks.as_flattened());
    values.push(face.score);
    Tensor::from_slice(&values)
}

/// The row of `expected` whose box begins nearest, and the largest distance in any coordinate, pixels.
fn nearest(face: &Face, expected: &Tensor) -> (i64, f64) {
    let off = (expected - row(face)).abs().narrow(1, 0, 14);
    let worst = off.amax(1, false);
    let at = worst.argmin(0, false).int64_value(&[]);
    (at, worst.double_value(&[at]))
}

#[test]
fn raw_detector_outputs_equal_python() {
    let golden = golden();
    for level in detector().network_outputs(&canvas()).expect("outputs") {
        let stride = level.stride;
        for (name, values, width) in [
            ("cls", &level.class, 1),
            ("obj", &level.objectness, 1),
            ("bbox", &level.boxes, 4),
            ("kps", &level.landmarks, 10),
        ] {
            let kept: Vec<f32> = values.chunks(width).step_by(EVERY).flatten().copied().collect();
            let actual = Tensor::from_slice(&kept).view([-1, width as i64]);
            let name = format!("{name}_{stride}");
            assert_close(&name, &actual, &golden.get(&format!("canvas.raw.{name}")), 1e-4);
        }
    }
}

#[test]
fn faces_equal_opencvs() {
    let found = detector().detect_canvas(&canvas()).expect("faces");
    let rows: Vec<Tensor> = found.iter().map(row).collect();
    // the same faces in the same order, best score first
    assert_close("faces", &Tensor::stack(&rows, 0), &golden().get("canvas.faces"), 1e-4);
}

#[test]
fn faces_of_a_photo_that_must_be_shrunk_are_where_python_finds_them() {
    let (golden, large) = (golden(), enlarged(&canvas()));
    let detector = detector();
    let found = detector.detect(&large).expect("faces");
    let expected = golden.get("large.faces");
    assert_eq!(found.len() as i64, expected.size()[0]);
    assert!(found.is_sorted_by(|a, b| a.area() >= b.area()), "the largest comes first");
    for face in &found {
        // one part in 1,000 of a 1920-pixel photo, twice that where a second look follows the first
        let (at, off) = nearest(face, &expected);
        assert!(off < 2.0, "face {at}: {off} pixels off");
        let refined = detector.refine(&large, face).expect("a second look");
        let (again, off) = nearest(&refined, &golden.get("large.refined"));
        assert_eq!(at, again);
        assert!(off < 4.0, "face {at} refined: {off} pixels off");
        let (_, moved) = nearest(face, &golden.get("large.refined"));
        assert!(off < moved, "the second look of face {at} brought nothing: {off} against {moved}");
    }
}

#[test]
fn a_face_that_fills_the_photo_is_found() {
    let close = imageops::crop_imm(&photo("astronaut.png"), 56, 16, 112, 160).to_image();
    let found = detector().detect(&close).expect("faces");
    assert_eq!(found.len(), 1);
    let (_, off) = nearest(&found[0], &golden().get("close.faces"));
    assert!(off < 0.5, "{off} pixels off");
}

#[test]
fn embeddings_equal_opencvs_and_onnx_runtimes() {
    let (golden, embedder) = (golden(), embedder());
    for name in ["astronaut", "render"] {
        let crop = picture(&golden.get(&format!("{name}.crop")));
        let actual = Tensor::from_slice(&embedder.network_output(&crop).expect("values"));
        assert_close(&format!("{name} raw"), &actual, &golden.get(&format!("{name}.raw")), 1e-4);
        let feature = golden.get(&format!("{name}.feature"));
        assert_close(&format!("{name} feature"), &actual, &feature, 1e-4);
        let embedding = embedder.embed(&crop).expect("an embedding");
        let direction = Tensor::from_slice(embedding.vector());
        let norm = feature.norm().double_value(&[]);
        assert_close(&format!("{name} direction"), &direction, &(feature / norm), 1e-4);
        assert!((f64::from(embedding.norm()) / norm - 1.0).abs() < 1e-4);
    }
}

/// Detection, alignment and embedding in one go, each stage taking what Rust's own stage before it gave;
/// nothing is resized, so nothing but rounding may differ.
#[test]
fn from_picture_to_embedding_equals_opencv() {
    let (golden, detector, embedder, canvas) = (golden(), detector(), embedder(), canvas());
    for (n, face) in detector.detect_canvas(&canvas).expect("faces").iter().enumerate() {
        let crop = align(&canvas, &face.landmarks, FACE_SIZE).expect("a crop");
        let embedding = embedder.embed(&crop).expect("an embedding");
        let cosine = cosine(&embedding, &golden.get("canvas.features").get(n as i64));
        assert!(cosine >= 0.9999, "face {n}: cosine {cosine}");
    }
}

/// The same from a photo that must be enlarged first, where one sample in many is rounded the other way
/// than in Pillow and the landmarks move by hundredths of a pixel.
#[test]
fn from_photo_to_embedding_is_near_opencv() {
    let (golden, detector, embedder) = (golden(), detector(), embedder());
    for name in ["astronaut", "render"] {
        let image = photo(&format!("{name}.png"));
        let face = detector.detect(&image).expect("faces").into_iter().next().expect("a face");
        let (_, off) = nearest(&face, &golden.get(&format!("{name}.face")).unsqueeze(0));
        assert!(off < 0.1, "{name}: {off} pixels off");
        let crop = align(&image, &face.landmarks, FACE_SIZE).expect("a crop");
        let embedding = embedder.embed(&crop).expect("an embedding");
        let cosine = cosine(&embedding, &golden.get(&format!("{name}.feature")));
        assert!(cosine >= 0.9995, "{name}: cosine {cosine}");
    }
}

fn cosine(embedding: &Embedding, feature: &Tensor) -> f64 {
    let direction = Tensor::from_slice(embedding.vector()).to_kind(Kind::Double);
    let feature = feature.to_kind(Kind::Double);
    direction.dot(&feature).double_value(&[]) / feature.norm().double_value(&[])
}

#[test]
fn a_person_is_the_mean_of_the_photos_and_likeness_their_cosine() {
    let encoder = encoder();
    let astronaut = Photo::from_pixels("astronaut", photo("astronaut.png"));
    let render = Photo::from_pixels("render", photo("render.png"));
    let alone = encoder.person(std::slice::from_ref(&astronaut), FaceChoice::Largest).expect("a person");
    assert!(alone.reports[0].verdict.is_good(), "{:?}", alone.reports[0].verdict);
    let other = encoder.embed(render.pixels()).expect("no failure").expect("a face");
    let expected = golden().get("likeness").double_value(&[0]);
    let measured = f64::from(likeness(&alone.embedding, &other).expect("one width"));
    assert!((measured - expected).abs() < 2e-3, "likeness {measured}, Python {expected}");
    assert_eq!(
        encoder.likeness(&alone.embedding, render.pixels()).expect("no failure"),
        Some(measured as f32)
    );

    let both = encoder.person(&[astronaut.clone(), render.clone()], FaceChoice::Largest).expect("a person");
    let sum: Vec<f32> = alone.embedding.vector().iter().zip(other.vector()).map(|(a, b)| a + b).collect();
    let sum = Tensor::from_slice(&sum);
    let actual = Tensor::from_slice(both.embedding.vector());
    assert_close("mean", &actual, &(&sum / sum.norm()), 1e-5);
    // two people were mixed up, and both photos say so
    for report in &both.reports {
        let warning = report.verdict.warnings().next().expect("a warning").to_string();
        assert!(warning.contains("same person"), "{warning}");
    }
    // brightness and size do not change who it is
    let mut dim = photo("astronaut.png");
    dim.pixels_mut().for_each(|p| *p = Rgb(p.0.map(|v| v / 2)));
    let small = imageops::resize(&photo("astronaut.png"), 160, 160, imageops::FilterType::Triangle);
    for (name, changed) in [("dim", dim), ("small", small)] {
        let score = encoder.likeness(&alone.embedding, &changed).expect("no failure").expect("a face");
        assert!(score > 0.9, "{name}: {score}");
    }
}

/// As the workers of a service do, each for pictures of its own.
#[test]
fn many_threads_measure_what_one_does() {
    let (encoder, picture) = (encoder(), photo("astronaut.png"));
    let person = encoder.embed(&picture).expect("an embedding").expect("a face");
    let alone = encoder.likeness(&person, &picture).expect("a likeness").expect("a face");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    let again = encoder.likeness(&person, &picture).expect("a likeness");
                    assert_eq!(again, Some(alone));
                }
            });
        }
    });
}
