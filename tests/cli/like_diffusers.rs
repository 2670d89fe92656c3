//! The files that the program writes hold the pictures that Python diffusers draws for the same arguments
//! (made by `tests/golden/generate/pipeline.py`).

use std::fs;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::png_reader::Png;
use crate::support::{Workplace, adapter, finish, golden, npy};

/// The flags that say what a run of the fixture says.
fn flags(run: &Value) -> Vec<String> {
    let mut flags = Vec::new();
    for (flag, key) in [
        ("--prompt", "prompt"),
        ("--negative-prompt", "negative_prompt"),
        ("--seed", "seed"),
        ("--n", "count"),
        ("--steps", "steps"),
        ("--guidance", "guidance_scale"),
        ("--scheduler", "scheduler"),
        ("--identity-scale", "identity"),
    ] {
        let value = match &run[key] {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            number => number.to_string(),
        };
        flags.extend([flag.to_string(), value]);
    }
    if let (Some(width), Some(height)) = (run["width"].as_u64(), run["height"].as_u64()) {
        flags.extend(["--size".to_string(), format!("{width}x{height}")]);
    }
    flags
}

/// Runs the program and compares every picture; returns how many there were.
fn compare(name: &str) -> usize {
    let runs: Value = serde_json::from_slice(&fs::read(golden("pipeline/runs.json")).unwrap()).unwrap();
    let run = runs.as_array().unwrap().iter().find(|run| run["name"] == name);
    let run = run.unwrap_or_else(|| panic!("the fixture has no run \"{name}\""));
    let file = fs::read(golden("pipeline/pictures.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&file).unwrap();

    let place = Workplace::new();
    let mut command = place.command();
    command
        .arg("generate")
        .args(flags(run))
        .args(["--json", "--device", "cpu", "--model"])
        .arg(place.model());
    if run["adapter"] == true {
        command.arg("--adapter").arg(adapter());
    }
    if !run["identity"].is_null() {
        let values = tensors.tensor("embedding").unwrap();
        let values = values.data().chunks_exact(4).map(|v| f32::from_le_bytes(v.try_into().unwrap()));
        let person = place.file("person.npy", &npy(&values.collect::<Vec<f32>>()));
        command.arg("--identity-embedding").arg(person);
    }
    let report = finish(command.output().unwrap()).done().json();

    let expected = tensors.tensor(name).unwrap(); // [N, H, W, 3]
    let pictures = report["pictures"].as_array().unwrap();
    assert_eq!(pictures.len(), expected.shape()[0]);
    for (picture, expected_rgb) in
        pictures.iter().zip(expected.data().chunks_exact(expected.data().len() / pictures.len()))
    {
        let png = Png::open(&place.path(picture["path"].as_str().unwrap()));
        assert_eq!([png.height as usize, png.width as usize], expected.shape()[1..3]);
        let off = png.rgb.iter().zip(expected_rgb).map(|(a, b)| a.abs_diff(*b)).max();
        assert!(off <= Some(1), "{name}, seed {}: differs by {off:?} of 255", picture["seed"]);
    }
    pictures.len()
}

#[test]
fn a_prompt_alone() {
    assert_eq!(compare("default"), 1);
    assert_eq!(compare("wide"), 1);
}

#[test]
fn several_pictures_with_an_ancestral_sampler() {
    assert_eq!(compare("ancestral_several"), 2);
}

#[test]
fn a_person() {
    assert_eq!(compare("person_several"), 2);
    assert_eq!(compare("person_unguided"), 1);
}

#[test]
fn an_adapter_without_a_person() {
    assert_eq!(compare("nobody"), 1);
}
