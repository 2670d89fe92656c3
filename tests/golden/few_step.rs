//! U-Nets that are published alone, their recipes, and those that take the guidance as a number, as diffusers draws
//! with them (fixtures by `generate/few_step.py`).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use imagine_contract::{Engine, GenerateRequest};
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions, PipelineError, StableDiffusion};
use imagine_tests::{Golden, fixtures};
use serde_json::json;
use tempfile::TempDir;

use crate::broken_files::{CheckpointCopy, Stored, read_safetensors, write_safetensors};
use crate::picture_runs::{Comparison, Run, generate, largest_difference, load};

const LONE: &str = "dmd2_sdxl_4step_unet_fp16.bin";

/// A packed fixture as a file of its own name.
pub fn unpacked(name: &str) -> (TempDir, PathBuf) {
    unpacked_of("few_step", name)
}

/// The same of another subject's.
pub fn unpacked_of(subject: &str, name: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let packed = fs::read(fixtures(subject).join(format!("{name}.gz"))).expect("the fixture");
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("a gzip file");
    let file = dir.path().join(name);
    fs::write(&file, bytes).expect("the file");
    (dir, file)
}

pub fn options(model: PathBuf, unet: Option<PathBuf>) -> LoadOptions {
    let (device, dtype) = (DeviceChoice::Cpu, DtypeChoice::F32);
    LoadOptions { model, unet, device, dtype, ..LoadOptions::default() }
}

pub fn with_unet(model: PathBuf, unet: &Path) -> Result<StableDiffusion, PipelineError> {
    StableDiffusion::load(&options(model, Some(unet.to_path_buf())))
}

pub fn sdxl() -> PathBuf {
    fixtures("sdxl").join("checkpoint")
}

/// A latent consistency model's folder, as diffusers' pipeline saves it.
fn consistency_model() -> CheckpointCopy {
    let copy = CheckpointCopy::new();
    copy.json("model_index.json", "_class_name", json!("LatentConsistencyModelPipeline"));
    copy.json("model_index.json", "scheduler", json!(["diffusers", "LCMScheduler"]));
    copy.json("scheduler/scheduler_config.json", "_class_name", json!("LCMScheduler"));
    copy.remove("unet");
    fs::create_dir(copy.path("unet")).expect("a folder");
    for name in ["config.json", "diffusion_pytorch_model.safetensors"] {
        fs::copy(fixtures("few_step").join("lcm").join(name), copy.path("unet").join(name)).expect("a copy");
    }
    copy
}

fn consistency_runs() -> impl Iterator<Item = Run> {
    Run::all("few_step").into_iter().filter(|run| run.name.starts_with("lcm"))
}

fn request(run: &Run, golden: &Golden) -> GenerateRequest {
    let scheduler = Some(if run.name == "lcm_euler" { "euler" } else { "lcm" }.to_string());
    GenerateRequest { edit: run.edit(golden), scheduler, ..run.request(None) }
}

#[test]
fn a_unet_that_takes_the_guidance_draws_as_diffusers_does() {
    let golden = Golden::read("few_step", "pictures.safetensors");
    let copy = consistency_model();
    let mut model = load(copy.path(""), None, DtypeChoice::F32);
    assert!(model.embeds_guidance());
    let info = model.info().clone();
    assert_eq!((info.scheduler.as_str(), info.steps, info.guidance_scale), ("lcm", 4, 8.5));
    // Or over a checkpoint of the same base.
    let mut over = with_unet(fixtures("pipeline").join("checkpoint"), &fixtures("few_step").join("lcm"))
        .unwrap_or_else(|e| panic!("{e}"));
    let mut comparison = Comparison::default();
    for run in consistency_runs() {
        // Image-to-image of either pipeline: Stable Diffusion's leaves out steps, that of latent consistency models
        // spaces all of them below the strength. No edit is alike for both.
        let (own, other) = (run.name.starts_with("lcm_own"), run.name == "lcm_edit");
        if !other {
            comparison.compare(&run, generate(&mut model, &request(&run, &golden)), &golden);
        }
        if !own {
            comparison.compare(&run, generate(&mut over, &request(&run, &golden)), &golden);
        }
    }
    comparison.finish();
    // What the model does by itself is what the first run asks for.
    let run = Run::named("few_step", "lcm");
    let open =
        GenerateRequest { steps: None, guidance_scale: None, scheduler: None, ..request(&run, &golden) };
    let mut comparison = Comparison::default();
    comparison.compare(&run, generate(&mut model, &open), &golden);
    comparison.finish();
}

#[test]
fn a_unet_alone_takes_the_place_of_the_checkpoints() {
    let golden = Golden::read("few_step", "pictures.safetensors");
    let (_dir, file) = unpacked(LONE);
    let mut model = with_unet(sdxl(), &file).unwrap_or_else(|e| panic!("{e}"));
    assert!(!model.embeds_guidance());
    let run = Run::named("few_step", "lone");
    let mut comparison = Comparison::default();
    comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    // The same in a folder with its configuration, and in one of a whole model.
    let folder = CheckpointCopy::of(&sdxl());
    folder.remove("unet/diffusion_pytorch_model.safetensors");
    fs::copy(&file, folder.path("unet/diffusion_pytorch_model.bin")).expect("a copy");
    for path in ["unet", ""] {
        let mut model = with_unet(sdxl(), &folder.path(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    }
    comparison.finish();
}

/// Recipes of files for one step, and of DMD2's, as whole pictures.
#[test]
fn published_recipes_draw_as_diffusers_does() {
    let golden = Golden::read("few_step", "pictures.safetensors");
    let (_dir, file) = unpacked(LONE);
    let mut comparison = Comparison::default();
    let runs: Vec<Run> = Run::all("few_step").into_iter().filter(|run| run.preset.is_some()).collect();
    assert_eq!(runs.len(), 4, "a run for each of these recipes");
    for run in runs {
        let options = LoadOptions { preset: run.preset.clone(), ..options(sdxl(), Some(file.clone())) };
        let mut model = StableDiffusion::load(&options).unwrap_or_else(|e| panic!("{e}"));
        let open = GenerateRequest { steps: None, guidance_scale: None, ..run.request(None) };
        comparison.compare(&run, generate(&mut model, &open), &golden);
        // More steps of Euler than the recipe has can be taken.
        if model.info().scheduler == "lcm" {
            let many = GenerateRequest { steps: Some(run.steps + 1), ..open };
            let message = model.pictures(&many).map(drop).expect_err("too many steps").to_string();
            let limit = format!("lcm takes at most {} here (`timesteps`)", run.steps);
            assert!(message.contains(&limit), "{message}");
        }
    }
    comparison.finish();
}

/// Tensors of the base's U-Net, changed, as a lone file.
fn lone(dir: &TempDir, change: impl FnOnce(&mut std::collections::BTreeMap<String, Stored>)) -> PathBuf {
    let mut tensors = read_safetensors(&sdxl().join("unet/diffusion_pytorch_model.safetensors"));
    change(&mut tensors);
    let file = dir.path().join("unet.safetensors");
    write_safetensors(&file, &tensors);
    file
}

#[test]
fn a_file_that_is_no_unet_of_this_model_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let refused = |model: PathBuf, file: PathBuf, says: &[&str]| {
        let error = with_unet(model, &file).map(drop).expect_err("it must be refused");
        let message = error.to_string();
        assert!(error.is_input(), "{message}");
        for word in says.iter().chain(&["unet.safetensors"]) {
            assert!(message.contains(word), "\"{word}\" is not in: {message}");
        }
    };
    let whole = lone(&dir, |_| ());
    with_unet(sdxl(), &whole).map(drop).unwrap_or_else(|e| panic!("the base's own: {e}"));
    let widths = read_safetensors(&sdxl().join("unet/diffusion_pytorch_model.safetensors"));
    let (_, to_k) = widths.iter().find(|(key, _)| key.ends_with("attn2.to_k.weight")).expect("attention");
    let made_for = format!("it was made for a text {} wide, with sizes beside it", to_k.shape[1]);
    let base = fixtures("pipeline").join("checkpoint");
    let says = ["cannot take the place", &made_for, "this model is a text 16 wide, without sizes beside it"];
    refused(base, whole, &says);
    let renamed = |from: &'static str, to: &'static str| {
        lone(&dir, |tensors| {
            let old = std::mem::take(tensors);
            tensors.extend(old.into_iter().map(|(key, tensor)| (key.replacen(from, to, 1), tensor)));
        })
    };
    let original = "model.diffusion_model.input_blocks.0.0.";
    refused(sdxl(), renamed("conv_in.", original), &["it was made for", "without sizes beside it"]);
    refused(sdxl(), renamed("conv_in.", "first_stage_model.conv_in."), &["whole checkpoint", "--model"]);
    refused(sdxl(), renamed("conv_in.", "lora_unet_conv_in."), &["LoRA", "--lora"]);
    refused(sdxl(), renamed("conv_in.", "image_proj."), &["adapter", "--adapter"]);
    refused(sdxl(), renamed("conv_in.", "conv_inn."), &["holds no U-Net", "diffusers' names"]);
    refused(sdxl(), renamed("mid_block.", "middle."), &["mid_block", "is missing"]);
    let more = lone(&dir, |tensors| drop(tensors.insert("left.over".into(), Stored::zeros(&[2]))));
    refused(sdxl(), more, &["left.over", "do not belong"]);
    let narrow =
        lone(&dir, |tensors| drop(tensors.insert("conv_in.weight".into(), Stored::zeros(&[2, 4, 3, 3]))));
    refused(sdxl(), narrow, &["its first layer has 2 channels"]);
    let bias = lone(&dir, |tensors| drop(tensors.insert("conv_out.bias".into(), Stored::zeros(&[3]))));
    refused(sdxl(), bias, &["conv_out.bias", "[3]", "expected [4]"]);
}

#[test]
fn a_folder_without_an_autoencoder_needs_another() {
    let golden = Golden::read("pipeline", "pictures.safetensors");
    let run = Run::named("pipeline", "default");
    let vae = fixtures("pipeline").join("checkpoint/vae");
    // Left out altogether, and left out of the index.
    let absent = CheckpointCopy::new();
    absent.remove("vae");
    let unnamed = CheckpointCopy::new();
    unnamed.json("model_index.json", "vae", json!([null, null]));
    unnamed.remove("vae");
    let mut comparison = Comparison::default();
    for copy in [&absent, &unnamed] {
        let error =
            StableDiffusion::load(&options(copy.path(""), None)).map(drop).expect_err("no autoencoder");
        let message = error.to_string();
        assert!(matches!(error, PipelineError::NoAutoencoder { .. }) && error.is_input(), "{message}");
        assert!(message.contains("vae/") && message.contains("--vae"), "{message}");
        // A folder, and its file alone, whose shapes say what the configuration does.
        for vae in [vae.clone(), vae.join("diffusion_pytorch_model.safetensors")] {
            let with = LoadOptions { vae: Some(vae), ..options(copy.path(""), None) };
            let described = StableDiffusion::describe(&with).unwrap_or_else(|e| panic!("{e}"));
            let mut model = StableDiffusion::load(&with).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(&described, model.info());
            comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
        }
    }
    comparison.finish();
    // SDXL's latents have another scale.
    let run = Run::named("sdxl", "default");
    let golden = Golden::read("sdxl", "pictures.safetensors");
    let vae = Some(sdxl().join("vae/diffusion_pytorch_model.safetensors"));
    let with = LoadOptions { vae, ..options(sdxl(), None) };
    let mut model = StableDiffusion::load(&with).unwrap_or_else(|e| panic!("{e}"));
    let mut comparison = Comparison::default();
    comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    comparison.finish();
    // A tensor that does not belong to one is refused.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("vae.safetensors");
    let mut tensors = read_safetensors(&sdxl().join("vae/diffusion_pytorch_model.safetensors"));
    tensors.insert("left.over".into(), Stored::zeros(&[2]));
    write_safetensors(&file, &tensors);
    let with = LoadOptions { vae: Some(file), ..options(sdxl(), None) };
    let message = StableDiffusion::load(&with).map(drop).expect_err("left over").to_string();
    assert!(message.contains("vae.safetensors") && message.contains("left.over"), "{message}");
}

#[test]
fn what_the_guidance_is_shows() {
    let golden = Golden::read("few_step", "pictures.safetensors");
    let copy = consistency_model();
    let mut model = load(copy.path(""), None, DtypeChoice::F32);
    let run = Run::named("few_step", "lcm");
    let drawn = |model: &mut StableDiffusion, guidance: f64| {
        let request = GenerateRequest { guidance_scale: Some(guidance), ..request(&run, &golden) };
        generate(model, &request).remove(0).pixels.rgb
    };
    let strong = drawn(&mut model, 8.5);
    assert!(largest_difference(&strong, &drawn(&mut model, 1.0)) > 8);
    // A negative prompt is not heard.
    let request = GenerateRequest { negative_prompt: "a cat".into(), ..request(&run, &golden) };
    assert_eq!(generate(&mut model, &request).remove(0).pixels.rgb, strong);
}

#[test]
fn a_strength_that_leaves_too_few_timesteps_is_refused() {
    let golden = Golden::read("few_step", "pictures.safetensors");
    let copy = consistency_model();
    let mut model = load(copy.path(""), None, DtypeChoice::F32);
    let run = Run { strength: Some(0.06), steps: 4, ..Run::named("few_step", "lcm_own_edit") };
    let message = model.pictures(&request(&run, &golden)).map(drop).expect_err("too weak").to_string();
    let says = "4 steps: lcm takes at most 3 here (`original_inference_steps` × `strength`)";
    assert!(message.contains(says), "{message}");
}
