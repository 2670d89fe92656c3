//! Whole pictures of SDXL against diffusers' `StableDiffusionXLPipeline` (fixtures by `generate/sdxl.py`), and
//! what is refused of a checkpoint with two text encoders.

use imagine_contract::{Engine, GenerateRequest};
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions, StableDiffusion};
use imagine_tests::{Golden, dtype, fixtures};
use serde_json::json;

use crate::broken_files::CheckpointCopy;
use crate::picture_runs::{Comparison, NEARLY, Run, generate, load, mean_difference};

fn copy() -> CheckpointCopy {
    CheckpointCopy::of(&fixtures("sdxl").join("checkpoint"))
}

/// The checkpoint with the changes of `run`.
fn changed(run: &Run) -> CheckpointCopy {
    let copy = copy();
    for (file, keys) in
        [("scheduler/scheduler_config.json", &run.scheduler_keys), ("model_index.json", &run.index_keys)]
    {
        keys.iter().for_each(|(key, value)| copy.json(file, key, value.clone()));
    }
    copy
}

#[test]
fn every_picture_equals_diffusers() {
    let golden = Golden::read("sdxl", "pictures.safetensors");
    let mut comparison = Comparison::default();
    for run in Run::all("sdxl") {
        let mut model = load(changed(&run).path(""), None, dtype());
        comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    }
    comparison.finish();
}

#[test]
fn half_precision_draws_nearly_the_same_picture() {
    let golden = Golden::read("sdxl", "pictures.safetensors");
    let run = Run::named("sdxl", "default");
    let expected = crate::picture_runs::bytes(&golden.get("default"));
    for (dtype, name) in [(DtypeChoice::Bf16, "bf16"), (DtypeChoice::F16, "f16")] {
        let mut model = load(copy().path(""), None, dtype);
        assert_eq!(model.info().dtype, name);
        let drawn = generate(&mut model, &run.request(None));
        let mean = mean_difference(&drawn[0].pixels.rgb, &expected);
        println!("{name}: mean difference {mean:.2}/255");
        assert!(mean > 0.0 && mean < NEARLY, "{name}: mean difference {mean:.2}/255");
    }
}

#[test]
fn what_a_request_leaves_open_is_the_checkpoints_choice() {
    let mut model = load(copy().path(""), None, dtype());
    let info = model.info().clone();
    assert_eq!((info.width, info.height, info.scheduler.as_str()), (32, 32, "euler"));
    assert_eq!((info.guidance_scale, info.inpainting, info.identity), (5.0, false, None));
    let run = Run::named("sdxl", "no_negative").request(None);
    let open = GenerateRequest { guidance_scale: None, ..run.clone() };
    assert_eq!(generate(&mut model, &open), generate(&mut model, &run));
}

/// Loads a copy after `damage`; the error must hold every one of `says`.
fn refused(what: &str, damage: impl FnOnce(&CheckpointCopy), says: &[&str]) {
    let copy = copy();
    damage(&copy);
    let options = LoadOptions {
        model: copy.path(""),
        device: DeviceChoice::Cpu,
        dtype: DtypeChoice::F32,
        ..LoadOptions::default()
    };
    let Err(error) = StableDiffusion::load(&options) else { panic!("{what}: was loaded") };
    let message = error.to_string();
    for word in says {
        assert!(message.contains(word), "{what}: \"{word}\" is missing in: {message}");
    }
    assert!(error.is_input(), "{what}: {message} is not the machine's fault");
}

#[test]
fn parts_that_are_missing_or_do_not_fit_are_refused() {
    let index = "model_index.json";
    for part in ["text_encoder_2", "tokenizer_2"] {
        refused("not named", |c| c.json(index, part, json!([null, null])), &[index, part]);
        refused("not there", |c| c.remove(part), &[part, "missing"]);
    }
    let forced = "force_zeros_for_empty_prompt";
    refused("no truth value", |c| c.json(index, forced, json!("yes")), &[index, forced, "yes"]);
    let class = |c: &CheckpointCopy| c.json(index, "_class_name", json!("StableDiffusionPipeline"));
    refused("one encoder", class, &["unet/config.json", "addition_embed_type", "text_time", "null"]);
    let file = "unet/config.json";
    refused("no added condition", |c| c.json(file, "addition_embed_type", json!(null)), &[file, "text_time"]);
    let key = "projection_class_embeddings_input_dim";
    refused("pooled width", |c| c.json(file, key, json!(40)), &["add_embedding", "34", "40"]);
    // The sum stays the same, so that every tensor fits: only the widths themselves tell.
    let sinusoid = |c: &CheckpointCopy| c.json(file, "addition_time_embed_dim", json!(2));
    refused("sinusoid", sinusoid, &["text_encoder_2 and unet", "projection_dim = 10", "22"]);
    let file = "tokenizer_2/tokenizer_config.json";
    let shorter = |c: &CheckpointCopy| c.json(file, "model_max_length", json!(20));
    refused("prompts of other lengths", shorter, &["tokenizer and tokenizer_2", "model_max_length", "20"]);
    let swapped = |c: &CheckpointCopy| {
        for name in ["config.json", "model.safetensors"] {
            std::fs::copy(c.path("text_encoder").join(name), c.path("text_encoder_2").join(name))
                .expect("a copy");
        }
    };
    refused("the same encoder twice", swapped, &["hidden_size = 16", "cross_attention_dim = 20"]);
}

#[test]
fn layers_can_only_be_skipped_where_there_are_some() {
    let mut model = load(copy().path(""), None, dtype());
    let mut request = Run::named("sdxl", "default").request(None);
    request.clip_skip = Some(3);
    let message = model.pictures(&request).expect_err("too many layers").to_string();
    assert!(message.contains("clip_skip is 3") && message.contains("at most 2"), "{message}");
    request.clip_skip = Some(2);
    assert!(model.pictures(&request).is_ok());
}
