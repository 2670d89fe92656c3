//! Changing pictures, several people, and the choices of loading, on the command line.

use std::path::Path;

use image::imageops::{self, FilterType};
use image::{GrayImage, Luma, RgbImage};

use crate::png_reader::Png;
use crate::support::{Workplace, embedding, embedding_width, npy, portrait};

/// A workplace with a picture to change.
fn with_picture() -> (Workplace, RgbImage) {
    let place = Workplace::new();
    let picture = RgbImage::from_fn(40, 24, |x, y| image::Rgb([(x * 6) as u8, (y * 10) as u8, 90]));
    picture.save(place.path("a-private-picture.png")).unwrap();
    (place, picture)
}

fn changed(place: &Workplace, more: &[&str]) -> Png {
    place
        .generate([&["--init", "a-private-picture.png", "--seed", "1", "--out", "new.png"], more].concat())
        .done();
    Png::open(&place.path("new.png"))
}

fn differing(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).filter(|(a, b)| a.abs_diff(**b) > 1).count()
}

#[test]
fn a_picture_is_changed_as_far_as_strength_says() {
    let (place, picture) = with_picture();
    let weak = changed(&place, &["--strength", "0.5"]);
    let strong = changed(&place, &["--strength", "1"]);
    assert_eq!((weak.width, weak.height), picture.dimensions());
    assert!(differing(&weak.rgb, &strong.rgb) > 100);
    let line = weak.text("parameters");
    assert!(line.contains("Denoising strength: 0.5") && !line.contains("private"), "{line}");
    assert!(!weak.text("imagine").contains("private"));
    let run = place.generate(["--init", "a-private-picture.png", "--json", "--clip-skip", "1"]).done();
    assert_eq!((run.json()["strength"].as_f64(), run.json()["clip_skip"].as_u64()), (Some(0.8), Some(1)));
    assert!(run.json().get("mask").is_none());
}

#[test]
fn what_is_black_in_the_mask_stays_to_the_last_bit() {
    let (place, picture) = with_picture();
    let mask = GrayImage::from_fn(40, 24, |x, _| Luma([if x < 20 { 0 } else { 255 }]));
    mask.save(place.path("mask.png")).unwrap();
    let drawn = changed(&place, &["--mask", "mask.png"]);
    let half = |rgb: &[u8], left: bool| -> Vec<u8> {
        rgb.chunks_exact(120)
            .flat_map(|row| if left { row[..60].to_vec() } else { row[60..].to_vec() })
            .collect()
    };
    assert_eq!(half(&drawn.rgb, true), half(picture.as_raw(), true));
    assert!(differing(&half(&drawn.rgb, false), &half(picture.as_raw(), false)) > 100);
    assert!(drawn.text("parameters").contains("Denoising strength: 1, Mask: given"));
    let black = GrayImage::new(40, 24);
    black.save(place.path("mask.png")).unwrap();
    place.generate(["--init", "a-private-picture.png", "--mask", "mask.png"]).refused(&["marks nothing"]);
    place.generate(["--init", "a-private-picture.png", "--mask", "gone.png"]).refused(&["gone.png"]);
    place.generate(["--init", "gone.png"]).refused(&["gone.png"]);
}

#[test]
fn the_face_is_kept_and_the_rest_is_changed() {
    let (place, _) = with_picture();
    let portrait = portrait();
    let size = ["--size", "64x64", "--strength", "1", "--keep-face"];
    let args = [&["--init", portrait.to_str().unwrap(), "--out", "new.png"][..], &size].concat();
    place.generate(args).done();
    let drawn = Png::open(&place.path("new.png"));
    let original = image::open(&portrait).unwrap().to_rgb8();
    let original = imageops::resize(&original, 64, 64, FilterType::Lanczos3);
    let kept =
        drawn.rgb.chunks_exact(3).zip(original.as_raw().chunks_exact(3)).filter(|(a, b)| a == b).count();
    assert!((64..3000).contains(&kept), "{kept} of 4096 pixels are the original's");
    assert!(drawn.text("parameters").contains("Mask: all but the faces"));
    place
        .generate(["--init", "a-private-picture.png", "--keep-face"])
        .refused(&["a-private-picture.png", "no face was found"]);
}

#[test]
fn several_people_stand_in_their_places() {
    let place = Workplace::new();
    let (width, mut other) = (embedding_width(), embedding(embedding_width()));
    other.reverse();
    place.file("ann.npy", &npy(&embedding(width)));
    place.file("bob.npy", &npy(&other));
    let draw = |first: &str, second: &str, out: &str| {
        let args = ["--person", first, "--person", second, "--seed", "1", "--json", "--out", out];
        place.generate(args).done().json()
    };
    let (left, right) = ("box=0,0,0.5,1", "box=0.5,0,1,1;scale=0.5;steps=0-0.6");
    let json = draw(&format!("embedding=ann.npy;{left}"), &format!("embedding=bob.npy;{right}"), "a.png");
    assert_eq!(json["identity_scales"], serde_json::json!([1.0, 0.5]));
    assert!(json["identity_scale"].is_null());
    draw(&format!("embedding=bob.npy;{left}"), &format!("embedding=ann.npy;{right}"), "b.png");
    let line = Png::open(&place.path("a.png")).text("parameters").to_string();
    assert!(line.contains("Identity scales: \"1, 0.5\", Identity steps: \"0-1, 0-0.6\""), "{line}");
    assert_eq!(json["identity_steps_each"], serde_json::json!([[0.0, 1.0], [0.0, 0.6]]));
    assert!(json.get("identity_steps").is_none());
    let rgb = |name: &str| Png::open(&place.path(name)).rgb;
    assert_ne!(rgb("a.png"), rgb("b.png"), "who stands where matters");
    place
        .generate(["--person", "embedding=ann.npy", "--person", "embedding=bob.npy"])
        .refused(&["each needs a box or a mask"]);
    place.generate(["--person", "embedding=ann.npy;box=1,0,0,1"]).refused(&["box=1,0,0,1"]);
    let twice = format!("embedding=ann.npy;{left};mask=m.png");
    place.generate(["--person", &twice]).refused(&["--person", "\"mask=m.png\" is a second region"]);
    place.generate(["--person", "photo=gone.jpg"]).refused(&["gone.jpg"]);
}

#[test]
fn a_person_may_be_heard_in_a_part_of_the_run() {
    let place = Workplace::new();
    place.file("ann.npy", &npy(&embedding(embedding_width())));
    let draw = |steps: &str, out: &str| {
        let args =
            ["--identity-embedding", "ann.npy", "--identity-steps", steps, "--seed", "1", "--out", out];
        place.generate(args).done();
        Png::open(&place.path(out))
    };
    let (whole, half) = (draw("0-1", "a.png"), draw("0-0.5", "b.png"));
    assert_ne!(whole.rgb, half.rgb);
    assert!(half.text("parameters").contains("Identity steps: 0-0.5"));
    assert!(!whole.text("parameters").contains("Identity steps"));
    place.generate(["--identity-embedding", "ann.npy", "--identity-steps", "0.9-0.1"]).refused(&["0.9-0.1"]);
}

#[test]
fn what_a_model_is_loaded_with_is_checked_and_written_down() {
    let place = Workplace::new();
    let run = place.generate(["--preset", "turbo", "--json", "--seed", "1", "--out", "a.png"]).done();
    let json = run.json();
    assert_eq!((json["preset"].as_str(), json["guidance_scale"].as_f64()), (Some("turbo"), Some(0.0)));
    assert_eq!(json["scheduler"], "euler-a");
    assert!(Png::open(&place.path("a.png")).text("parameters").contains("Preset: turbo"));
    // Another sampler keeps the recipe's spacing of the timesteps.
    let drawn = |more: &[&str]| {
        place.generate([&["--seed", "1", "--out", "b.png", "--scheduler", "euler"], more].concat()).done();
        Png::open(&place.path("b.png")).rgb
    };
    let (plain, recipe) = (drawn(&["--guidance", "0"]), drawn(&["--preset", "turbo"]));
    assert_ne!(plain, recipe);
    place.generate(["--preset", "nosuch"]).refused(&["nosuch", "lightning-4"]);
    place.generate(["--clip-skip", "9"]).refused(&["clip_skip is 9"]);
    let unet = place.model().join("unet/diffusion_pytorch_model.safetensors").display().to_string();
    place.generate(["--lora", &format!("{unet}:0.5")]).refused(&["unet"]);
    place.generate(["--lora", "gone.safetensors:2"]).refused(&["gone.safetensors"]);
    place.generate(["--lora", "x:100"]).refused(&["--lora"]);
    place.generate(["--vae", "gone"]).refused(&["gone"]);
    // A checkpoint in one file is one by its contents.
    let adapter = place.model().join("unet/diffusion_pytorch_model.safetensors");
    let args = ["generate", "--prompt", "x", "--model", adapter.to_str().unwrap()];
    place.run(args).refused(&[Path::new("unet/diffusion_pytorch_model.safetensors").to_str().unwrap()]);
}
