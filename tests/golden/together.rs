//! What users lay over one another, against diffusers' pipelines (fixtures by `generate/together.py`): a LoRA in kohya's
//! layout with an adapter that brings a LoRA of its own, for people by masks and in inpainting; velocity prediction with
//! an adapter that looks at faces.

use imagine_contract::{GenerateRequest, Identity};
use imagine_pipeline::{LoadOptions, LoraChoice, StableDiffusion};
use imagine_tests::{Golden, fixtures, place};
use serde::Deserialize;
use serde_json::json;

use crate::broken_files::CheckpointCopy;
use crate::identities::{pictures, reference, region};
use crate::picture_runs::{Comparison, Run, generate};

/// What a run has beside a request's own fields.
#[derive(Deserialize)]
struct Laid {
    name: String,
    adapter_file: String,
    scales: Vec<f64>,
    lora: String,
    lora_weight: f64,
}

fn all() -> Vec<Laid> {
    let text = std::fs::read_to_string(fixtures("together").join("runs.json")).expect("the list of runs");
    serde_json::from_str(&text).expect("the list of runs is JSON")
}

/// SD 2.1 as in `sd21`, or SDXL.
fn checkpoint(laid: &Laid) -> CheckpointCopy {
    if !laid.name.starts_with("sd21") {
        return CheckpointCopy::of(&fixtures("sdxl").join("checkpoint"));
    }
    let copy = CheckpointCopy::new();
    copy.json("model_index.json", "scheduler", json!(["diffusers", "DDIMScheduler"]));
    copy.lay_over(&fixtures("sd21").join("parts"));
    copy
}

fn load(laid: &Laid, lora_weight: f64) -> StableDiffusion {
    let copy = checkpoint(laid);
    let options = LoadOptions {
        model: copy.path(""),
        adapter: Some(fixtures("together").join("..").join(&laid.adapter_file)),
        image_encoder: Some(fixtures("ip_adapters").join("image_encoder")),
        loras: vec![LoraChoice { file: fixtures("together").join(&laid.lora), weight: lora_weight }],
        device: place().choice,
        dtype: place().dtype,
        ..LoadOptions::default()
    };
    StableDiffusion::load(&options).unwrap_or_else(|e| panic!("{}: {e}", laid.name))
}

fn request(run: &Run, laid: &Laid, golden: &Golden) -> GenerateRequest {
    let people = pictures();
    let person = |(i, &scale): (usize, &f64)| Identity {
        references: vec![reference(&people, i as i64, false)],
        region: (laid.scales.len() > 1).then(|| region(&people, i as i64)),
        ..Identity::of_embedding(Vec::new(), scale)
    };
    let people = laid.scales.iter().enumerate().map(person).collect();
    GenerateRequest { people, edit: run.edit(golden), ..run.request(None) }
}

#[test]
fn every_picture_equals_diffusers() {
    let golden = Golden::read("together", "pictures.safetensors");
    let mut comparison = Comparison::default();
    for laid in all() {
        let run = Run::named("together", &laid.name);
        let drawn = generate(&mut load(&laid, laid.lora_weight), &request(&run, &laid, &golden));
        comparison.compare(&run, drawn, &golden);
    }
    comparison.finish();
}
