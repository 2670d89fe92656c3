//! A service's model with everything that `imagine generate` can load with it.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use serde_json::json;

use crate::png_reader::Png;
use crate::server::Server;
use crate::support::{Workplace, adapter};

/// A LoRA over every query projection of a U-Net, large enough to be seen.
fn lora(unet: &Path, file: PathBuf) -> PathBuf {
    let bytes = fs::read(unet).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let wave = |count: usize| -> Vec<u8> {
        (0..count).flat_map(|i| ((i as f32 * 0.61).sin() * 0.5).to_le_bytes()).collect()
    };
    let mut parts = Vec::new();
    for (name, view) in tensors.tensors() {
        let Some(module) = name.strip_suffix(".to_q.weight") else { continue };
        let [out, inner] = view.shape() else { panic!("{name}: {:?}", view.shape()) };
        for (part, shape) in [("lora_A", vec![2, *inner]), ("lora_B", vec![*out, 2])] {
            let key = format!("unet.{module}.to_q.{part}.weight");
            parts.push((key, wave(shape.iter().product()), shape));
        }
    }
    assert!(!parts.is_empty());
    let views = parts.iter().map(|(key, values, shape)| {
        (key.clone(), TensorView::new(Dtype::F32, shape.clone(), values).unwrap())
    });
    serialize_to_file(views.collect::<Vec<_>>(), None, &file).unwrap();
    file
}

#[test]
fn a_service_draws_with_what_generate_draws_with() {
    let place = Workplace::new();
    let model = place.model();
    fs::remove_file(model.join("ip-adapter-faceid_tiny.safetensors")).unwrap();
    let own = place.file("mine.safetensors", &fs::read(adapter()).unwrap());
    let lora = lora(&model.join("unet/diffusion_pytorch_model.safetensors"), place.path("style.safetensors"));
    let weighed = format!("{}:0.8", lora.display());
    let settings = format!("[model]\nadapter = {own:?}\nadapter_kind = \"faceid\"\nlora = [{weighed:?}]\n");
    let settings = place.file("imagine.toml", settings.as_bytes());

    let drawn = |name: &str, more: &[&str]| {
        let usual = ["--adapter", own.to_str().unwrap(), "--preset", "turbo", "--seed", "3", "--out", name];
        place.generate([&usual, more].concat()).done();
        Png::open(&place.path(name)).rgb
    };
    let (with, without) = (drawn("with.png", &["--lora", &weighed]), drawn("without.png", &[]));
    assert_ne!(with, without);

    for refused in [
        ["--adapter-kind", "nonsense"],
        ["--lora", "x:100"],
        ["--lora", "gone.safetensors"],
        ["--preset", "nosuch"],
        ["--prediction", "nonsense"],
        ["--vae", "gone"],
        ["--unet", "gone"],
    ] {
        let usual = ["serve", "--listen", "127.0.0.1:0", "--device", "cpu", "--data-dir", "data", "--model"];
        let run = place.run([&usual[..], &[model.to_str().unwrap()], &refused].concat());
        run.refused(&[refused[1].split(':').next().unwrap()]);
    }

    let server = Server::start_with(place, |command| {
        command.arg("--model").arg(&model).arg("--config").arg(&settings).env("IMAGINE_PRESET", "turbo");
    });
    let models = server.json("/v1/models");
    let told = &models["data"][0];
    assert_eq!(told["identity"]["kind"], "faceid", "{told}");
    assert_eq!((&told["guidance_scale"], &told["scheduler"]), (&json!(0.0), &json!("euler-a")));
    let wish = json!({"prompt": "a red hat", "steps": 2, "seed": 3, "expand": false});
    let (_, job) = server.post("/v1/jobs", &wish);
    let events = server.events(job["urls"]["events"].as_str().unwrap());
    let (name, job) = events.last().unwrap();
    assert_eq!(name, "job.succeeded", "{job}");
    let (_, bytes) = server.get(job["output"][0]["url"].as_str().unwrap());
    let served = Png::open(&server.place.file("served.png", &bytes)).rgb;
    let far = |other: &[u8]| served.iter().zip(other).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(far(&with) <= Some(1), "{:?}", far(&with));
    assert!(far(&without) > Some(1));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_face_encoder_s_licence_is_accepted_by_a_setting() {
    use crate::support::{copy_folder, golden};
    let place = Workplace::new();
    copy_folder(&golden("face_packs/buffalo_l"), &place.path("faces/mine"));
    let usual = ["serve", "--listen", "127.0.0.1:0", "--device", "cpu", "--data-dir", "data"];
    let named = ["--face-encoder", "faces/mine"];
    let model = place.model();
    fs::remove_file(model.join("ip-adapter-faceid_tiny.safetensors")).unwrap();
    let named = [&named[..], &["--model", model.to_str().unwrap()]].concat();
    let run = place.run([&usual[..], &named].concat());
    assert!(run.code != Some(0) && run.stderr.contains("--accept-licence"), "{}", run.stderr);
    let server = Server::start(place, &[&named[..], &["--accept-licence", "insightface"]].concat());
    assert_eq!(server.stop(), Some(0));
}
