//! Checkpoints that are put together of several files: without an autoencoder of their own, with a U-Net that is
//! published alone, with one that takes the guidance as a number, in eight bits.

use std::fs;
use std::path::Path;

use safetensors::SafeTensors;

use crate::png_reader::Png;
use crate::support::{Run, Workplace, golden};

/// The picture of seed 42 that diffusers drew for a run of a fixture.
fn assert_drawn(place: &Workplace, file: &str, subject: &str, run: &str) {
    let pictures = fs::read(golden(subject).join("pictures.safetensors")).unwrap();
    let pictures = SafeTensors::deserialize(&pictures).unwrap();
    let expected = pictures.tensor(run).unwrap(); // [1, H, W, 3]
    let png = Png::open(&place.path(file));
    let off = png.rgb.iter().zip(expected.data()).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(png.rgb.len() == expected.data().len() && off <= Some(1), "{run}: differs by {off:?} of 255");
}

fn prompt(subject: &str) -> (String, String) {
    let runs = fs::read(golden(subject).join("runs.json")).unwrap();
    let runs: serde_json::Value = serde_json::from_slice(&runs).unwrap();
    let of = |key: &str| runs[0][key].as_str().unwrap().to_string();
    (of("prompt"), of("negative_prompt"))
}

fn draw(place: &Workplace, model: &Path, prompt: &str, more: &[&str]) -> Run {
    let model = model.to_str().unwrap();
    let fixed = ["generate", "--prompt", prompt, "--seed", "42", "--device", "cpu", "--dtype", "f32"];
    place.run([&fixed[..], &["--model", model, "--out", "a.png"], more].concat())
}

#[test]
fn a_checkpoint_without_an_autoencoder_beside_one() {
    let place = Workplace::new();
    let vae = place.path("vae");
    fs::rename(place.model().join("vae"), &vae).unwrap();
    let (words, negative) = prompt("pipeline");
    let steps = ["--steps", "6", "--guidance", "7.5", "--negative-prompt", &negative];
    let bare = draw(&place, &place.model(), &words, &steps);
    bare.refused(&["holds no autoencoder (vae/)", "--vae"]);
    draw(&place, &place.model(), &words, &[&steps[..], &["--vae", vae.to_str().unwrap()]].concat()).done();
    assert_drawn(&place, "a.png", "pipeline", "default");
}

#[test]
fn a_unet_alone_over_a_checkpoint() {
    let place = Workplace::new();
    let (words, _) = prompt("sdxl");
    let model = golden("sdxl/checkpoint");
    let usual = ["--steps", "5", "--guidance", "5"];
    let name = "dmd2_sdxl_4step_unet_fp16.bin";
    for (fixture, called, run) in
        [(name, "my_unet.bin", "lone"), ("scaled_fp8.safetensors", "fp8.safetensors", "fp8")]
    {
        let unet = place.unpacked(&format!("few_step/{fixture}.gz"), called);
        let drawn = draw(&place, &model, &words, &[&usual[..], &["--unet", unet.to_str().unwrap()]].concat());
        assert!(!drawn.stderr.contains("--preset"), "{}", drawn.stderr);
        drawn.done();
        assert_drawn(&place, "a.png", "few_step", run);
    }
    // By its published name its recipe is known, and said.
    let unet = place.unpacked(&format!("few_step/{name}.gz"), name);
    let unet = unet.to_str().unwrap();
    let run = draw(&place, &model, &words, &["--unet", unet]);
    assert!(run.stderr.contains("is drawn by --preset dmd2-4, as its name says"), "{}", run.stderr);
    run.done();
    let report = draw(&place, &model, &words, &["--unet", unet, "--json"]).done().json();
    assert_eq!((report["steps"].as_u64(), report["scheduler"].as_str()), (Some(4), Some("lcm")));
    // Of another base model.
    let wrong = draw(&place, &place.model(), &words, &["--unet", unet]);
    wrong.refused(&[name, "cannot take the place of the model's U-Net", "it was made for"]);
}

#[test]
fn a_unet_that_takes_the_guidance_as_a_number() {
    let place = Workplace::new();
    let (words, _) = prompt("few_step");
    let unet = golden("few_step/lcm");
    let lcm = ["--unet", unet.to_str().unwrap(), "--preset", "lcm"];
    draw(&place, &place.model(), &words, &[&lcm[..], &["--guidance", "8.5"]].concat()).done();
    assert_drawn(&place, "a.png", "few_step", "lcm");
    draw(&place, &place.model(), &words, &[&lcm[..], &["--guidance", "2"]].concat()).done();
    assert_drawn(&place, "a.png", "few_step", "lcm_weak");
    let deaf = draw(&place, &place.model(), &words, &[&lcm[..], &["--negative-prompt", "blurred"]].concat());
    deaf.refused(&["--negative-prompt has no effect", "takes the guidance as a number"]);
}
