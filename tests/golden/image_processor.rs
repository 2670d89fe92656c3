//! Pixel values for CLIP against transformers' `CLIPImageProcessor` with Pillow.

use image::RgbImage;
use imagine_encoders::ClipImageProcessor;
use imagine_tests::{Golden, fixtures};
use tch::{Kind, Tensor};

/// Of 255: every sample is the same, only the normalising may round.
const TOLERANCE: f64 = 1e-3;

const PICTURES: [&str; 4] = ["wide", "tall", "tiny", "smooth"];

fn picture(io: &Golden, name: &str) -> RgbImage {
    let pixels = io.get(&format!("picture.{name}")); // [H, W, 3]
    let (height, width, _) = pixels.size3().expect("a picture");
    let bytes = Vec::<u8>::try_from(pixels.flatten(0, 2)).expect("bytes");
    RgbImage::from_raw(width as u32, height as u32, bytes).expect("as many bytes as pixels")
}

/// The largest difference in samples of 0 to 255.
fn difference(processor: &ClipImageProcessor, actual: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(actual.size(), expected.size());
    let mut off = (actual - expected).abs().to_kind(Kind::Double);
    if let Some((_, std)) = processor.normalise {
        off *= Tensor::from_slice(&std).view([3, 1, 1]);
    }
    (off / processor.rescale.unwrap_or(1.0)).max().double_value(&[])
}

#[test]
fn every_setting_gives_the_pixels_of_transformers() {
    let io = Golden::read("image_processor", "io.safetensors");
    let mut cases = 0;
    for entry in std::fs::read_dir(fixtures("image_processor")).expect("the fixtures") {
        let dir = entry.expect("a file").path();
        if !dir.is_dir() {
            continue;
        }
        let name = dir.file_name().expect("a name").to_string_lossy().into_owned();
        let processor = ClipImageProcessor::from_folder(&dir, 1).unwrap_or_else(|e| panic!("{name}: {e}"));
        for shape in PICTURES {
            let values =
                processor.preprocess(&picture(&io, shape)).unwrap_or_else(|e| panic!("{name}, {shape}: {e}"));
            let off = difference(&processor, &values, &io.get(&format!("{name}.{shape}")));
            assert!(off <= TOLERANCE, "{name}, {shape}: {off:.4} of 255 off");
            cases += 1;
        }
    }
    assert_eq!(cases, 12 * PICTURES.len(), "every setting was there");
}

#[test]
fn the_published_size_without_a_settings_file() {
    let io = Golden::read("image_processor", "io.safetensors");
    let empty = tempfile::tempdir().expect("a temporary folder");
    let processor = ClipImageProcessor::from_folder(empty.path(), 224).expect("CLIP's own steps");
    for shape in PICTURES {
        let values = processor.preprocess(&picture(&io, shape)).expect("a picture");
        assert_eq!(values.size(), [1, 3, 224, 224]);
        let some = values.slice(2, 0, 224, 8).slice(3, 0, 224, 8);
        let off = difference(&processor, &some, &io.get(&format!("default.{shape}")));
        assert!(off <= TOLERANCE, "{shape}: {off:.4} of 255 off");
    }
}

fn read(json: &str) -> Result<ClipImageProcessor, String> {
    let dir = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(dir.path().join("preprocessor_config.json"), json).expect("a file");
    ClipImageProcessor::from_folder(dir.path(), 224).map_err(|e| e.to_string())
}

#[test]
fn settings_of_old_releases_and_of_none_are_clips_own() {
    let old = r#"{"size": 224, "crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor"}"#;
    for json in ["{}", old] {
        assert_eq!(read(json), Ok(ClipImageProcessor::of_size(224)), "{json}");
    }
}

#[test]
fn settings_that_mean_nothing_are_refused_with_file_and_key() {
    for (json, expected) in [
        (r#"{"size": 0}"#, "size = 0"),
        (r#"{"crop_size": {"height": 4, "width": 999999}}"#, "crop_size = 999999"),
        (r#"{"crop_size": {"shortest_edge": 4}}"#, "crop_size = shortest_edge"),
        (r#"{"resample": 0}"#, "resample = 0"),
        (r#"{"image_std": [0.2, 0.0, 0.3]}"#, "image_std"),
        (r#"{"rescale_factor": 0}"#, "rescale_factor = 0"),
        (r#"{"size": {"longest_edge": 4}}"#, "\"size\" and \"crop_size\""),
        (r#"{"image_mean": [0.1]}"#, "\"image_mean\""),
        ("[]", "an object"),
    ] {
        let message = read(json).expect_err(json);
        assert!(message.contains("preprocessor_config.json"), "{json}: {message}");
        assert!(message.contains(expected), "{json}: {message}");
    }
}

#[test]
fn pictures_that_would_fill_the_memory_are_refused_with_their_size() {
    let processor = ClipImageProcessor::of_size(224);
    for (width, height) in [(1, 60_000), (60_000, 1), (0, 0), (5, 0)] {
        let error = processor.preprocess(&RgbImage::new(width, height)).expect_err("no picture for CLIP");
        assert!(error.to_string().contains(&format!("{width}×{height}")), "{error}");
    }
}
