//! Whether a preview shows what the picture will be; with the starter model, since random weights draw nothing.

use std::path::Path;

use imagine_contract::{GenerateRequest, RgbPixels};
use imagine_pipeline::{BatchStudio, StudioOptions};
use imagine_tests::dtype;

use super::submit;
use crate::picture_runs;

/// Mean difference a colour value.
fn difference(a: &RgbPixels, b: &RgbPixels) -> f64 {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let sum: u64 = a.rgb.iter().zip(&b.rgb).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    sum as f64 / a.rgb.len() as f64
}

/// The mean colour everywhere: what a preview that shows nothing would have right.
fn flat(picture: &RgbPixels) -> RgbPixels {
    let mean = |c: usize| {
        let values = picture.rgb.iter().skip(c).step_by(3);
        (values.map(|&v| u64::from(v)).sum::<u64>() / (picture.rgb.len() as u64 / 3)) as u8
    };
    let rgb = [mean(0), mean(1), mean(2)].repeat(picture.rgb.len() / 3);
    RgbPixels { rgb, ..picture.clone() }
}

#[test]
fn the_starters_previews_come_nearer_to_the_picture() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
    let model = picture_runs::load(folder, None, dtype());
    let studio = BatchStudio::open(model, StudioOptions::default()).expect("a thread");
    let request = GenerateRequest::new("a portrait of a woman with a red hat", 7);
    let outcome = submit(&studio, &request, "somebody", Some(1)).wait();
    let picture = &outcome.pictures[0].pixels;
    let errors: Vec<f64> = outcome.previews.iter().map(|(_, _, p)| difference(p, picture)).collect();
    println!("flat {:.1}, previews {errors:.1?}", difference(&flat(picture), picture));
    assert_eq!(errors.len(), 11);
    let last = errors[errors.len() - 1];
    assert!(last < 0.5 * difference(&flat(picture), picture), "{errors:?}");
    assert!(last < errors[0], "{errors:?}");
}
