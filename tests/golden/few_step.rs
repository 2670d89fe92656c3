//! U-Nets that are published alone, and those that take the guidance as a number, as diffusers draws with them;
//! weights of eight bits as torch reads them (fixtures by `generate/few_step.py`).

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use imagine_contract::{Engine, GenerateRequest};
use imagine_pipeline::single_file::{SingleFile, SingleFileOptions};
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions, PipelineError, StableDiffusion};
use imagine_tests::{Golden, fixtures};
use imagine_unet::weights::Init;
use imagine_unet::{Weights, WeightsError};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

use crate::broken_files::{CheckpointCopy, Stored, read_safetensors, write_safetensors};
use crate::picture_runs::{Comparison, Run, generate, largest_difference, load};
use crate::single_file::digest;

const CPU: Device = Device::Cpu;
const LONE: &str = "dmd2_sdxl_4step_unet_fp16.bin";
const SCALED: &str = "scaled_fp8.safetensors";

/// A packed fixture as a file of its own name.
fn unpacked(name: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let packed = fs::read(fixtures("few_step").join(format!("{name}.gz"))).expect("the fixture");
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("a gzip file");
    let file = dir.path().join(name);
    fs::write(&file, bytes).expect("the file");
    (dir, file)
}

fn options(model: PathBuf, unet: Option<PathBuf>) -> LoadOptions {
    let (device, dtype) = (DeviceChoice::Cpu, DtypeChoice::F32);
    LoadOptions { model, unet, device, dtype, ..LoadOptions::default() }
}

fn with_unet(model: PathBuf, unet: &Path) -> Result<StableDiffusion, PipelineError> {
    StableDiffusion::load(&options(model, Some(unet.to_path_buf())))
}

fn sdxl() -> PathBuf {
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
        comparison.compare(&run, generate(&mut model, &request(&run, &golden)), &golden);
        comparison.compare(&run, generate(&mut over, &request(&run, &golden)), &golden);
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

/// Under the original names, with and without the start that they have in a whole checkpoint: out of such a one, in
/// eight bits, each weight as itself.
#[test]
fn a_whole_checkpoint_in_eight_bits_and_its_unet_alone() {
    let packed = fs::read(fixtures("single_file").join("sdxl.safetensors.gz")).expect("the fixture");
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("a gzip file");
    let path = |name: &str| dir.path().join(format!("{name}.safetensors"));
    fs::write(path("whole"), bytes).expect("the file");
    let whole = read_safetensors(&path("whole"));
    // What ComfyUI's and Forge's files have: all in eight bits, and a marker.
    let (mut small, mut large) = (whole.clone(), whole);
    for (key, tensor) in &mut small {
        let shape: Vec<i64> = tensor.shape.iter().map(|&n| n as i64).collect();
        if tensor.dtype != safetensors::Dtype::F16 {
            continue;
        }
        let half = Tensor::from_data_size(&tensor.bytes, &shape, Kind::Half);
        let eight = half.to_kind(Kind::Float8e4m3fn);
        let upcast = Vec::<f32>::try_from(eight.to_kind(Kind::Float).flatten(0, -1)).expect("floats");
        let bytes = Vec::<u8>::try_from(eight.flatten(0, -1).view_dtype(Kind::Uint8)).expect("bytes");
        let shape = tensor.shape.clone();
        *tensor = Stored { dtype: safetensors::Dtype::F8_E4M3, shape: shape.clone(), bytes };
        let bytes = upcast.iter().flat_map(|value| value.to_le_bytes()).collect();
        large.insert(key.clone(), Stored { dtype: safetensors::Dtype::F32, shape, bytes });
    }
    let empty = Stored { dtype: safetensors::Dtype::F8_E4M3, shape: vec![0], bytes: Vec::new() };
    small.insert("model.diffusion_model.scaled_fp8".into(), empty);
    write_safetensors(&path("small"), &small);
    write_safetensors(&path("large"), &large);
    let open = |name: &str| {
        SingleFile::open(&path(name), &SingleFileOptions::default()).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    let (small, large) = (open("small"), open("large"));
    let digests = |file: &SingleFile| {
        let (_, unet) = file.unet(CPU, Kind::Float).expect("a U-Net");
        let (_, vae) = file.vae(CPU, Kind::Float).expect("an autoencoder").expect("one in the file");
        let (_, text) = file.text_encoder(CPU, Kind::Float).expect("a text encoder");
        let (_, second) = file.text_encoder_2(CPU, Kind::Float).expect("a text encoder").expect("two");
        [unet, vae, text, second].map(|weights| digest(&weights))
    };
    assert_eq!(digests(&small), digests(&large));

    let words = read_safetensors(&path("large"));
    let unet = |start: &str, name: &str| {
        let alone = words.iter().filter_map(|(key, tensor)| {
            Some((format!("{start}{}", key.strip_prefix("model.diffusion_model.")?), tensor.clone()))
        });
        write_safetensors(&path(name), &alone.collect());
        path(name)
    };
    let tokenizer = dir.path().join("tokenizer");
    crate::checkpoint_files::write_tokenizer(&tokenizer);
    let draw = |model: &str, unet: Option<PathBuf>| {
        let options = LoadOptions { tokenizer: Some(tokenizer.clone()), ..options(path(model), unet) };
        let mut model = StableDiffusion::load(&options).unwrap_or_else(|e| panic!("{e}"));
        let request = GenerateRequest { steps: Some(2), ..GenerateRequest::new("a b c", 7) };
        let request = GenerateRequest { width: Some(64), height: Some(64), ..request };
        generate(&mut model, &request).remove(0).pixels.rgb
    };
    let expected = draw("large", None);
    for start in ["model.diffusion_model.", ""] {
        let alone = unet(start, "unet");
        let mut base = words.clone();
        for (key, tensor) in &mut base {
            if key.starts_with("model.diffusion_model.") && tensor.shape.len() > 1 {
                tensor.bytes.fill(0);
            }
        }
        write_safetensors(&path("blank"), &base);
        assert_ne!(draw("blank", None), expected);
        assert_eq!(draw("blank", Some(alone.clone())), expected, "{start}");
        let wrong = with_unet(fixtures("pipeline").join("checkpoint"), &alone).map(drop).expect_err("SDXL's");
        assert!(wrong.to_string().contains("it was made for"), "{wrong}");
        let mut tensors = read_safetensors(&alone);
        tensors.insert("left.over".into(), Stored::zeros(&[2]));
        write_safetensors(&alone, &tensors);
        let options =
            LoadOptions { tokenizer: Some(tokenizer.clone()), ..options(path("large"), Some(alone)) };
        let message = StableDiffusion::load(&options).map(drop).expect_err("a tensor too many").to_string();
        assert!(message.contains("left.over") && message.contains("a U-Net alone"), "{message}");
    }
}

/// All values of a tensor, by their bits.
fn bits(tensor: &Tensor) -> Vec<u32> {
    let values = Vec::<f32>::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).expect("floats");
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn every_value_of_eight_bits_is_read_as_torch_reads_it() {
    let file = fixtures("few_step").join("fp8.safetensors");
    let pickled = fixtures("few_step").join("plain_fp8.pt");
    for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
        let open =
            |file: &Path| Weights::open(&[file.to_path_buf()], CPU, kind).unwrap_or_else(|e| panic!("{e}"));
        let (weights, pickled) = (open(&file), open(&pickled));
        let get = |weights: &Weights, key: &str| {
            let shape = weights.shape(key).expect("the tensor is there");
            weights.root().get(key, &shape, Init::Zeros).unwrap_or_else(|e| panic!("{e}"))
        };
        for name in ["e4m3", "e5m2"] {
            let found = get(&weights, name);
            assert_eq!(found.kind(), kind);
            // Both half types hold every such number.
            let expected = get(&weights, &format!("{name}.float"));
            assert_eq!(bits(&found), bits(&expected), "{name} as {kind:?}");
            let turned = get(&pickled, name);
            assert_eq!(
                bits(&turned),
                bits(&expected.view([2, -1]).tr().contiguous()),
                "{name} of torch.save"
            );
        }
    }
    // NaN is no weight in these types either.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let mut tensors = read_safetensors(&file);
    tensors.get_mut("e4m3").expect("the tensor").bytes[3] = 0x7f;
    let spoiled = dir.path().join("nan.safetensors");
    write_safetensors(&spoiled, &tensors);
    let weights = Weights::open(&[spoiled], CPU, Kind::Float).unwrap_or_else(|e| panic!("{e}"));
    let shape = weights.shape("e4m3").expect("the tensor");
    let error = weights.root().get("e4m3", &shape, Init::Zeros).expect_err("NaN");
    assert!(matches!(error, WeightsError::NotFinite { .. }), "{error}");
}

#[test]
fn scales_beside_weights_of_eight_bits_are_multiplied_in() {
    let (dir, file) = unpacked(SCALED);
    let text = fs::read_to_string(fixtures("few_step").join("digests.json")).expect("the digests");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let weights =
        Weights::open(std::slice::from_ref(&file), CPU, Kind::Float).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json["unet"], digest(&weights), "to the last bit");
    let golden = Golden::read("few_step", "pictures.safetensors");
    let mut model = with_unet(sdxl(), &file).unwrap_or_else(|e| panic!("{e}"));
    let run = Run::named("few_step", "fp8");
    let mut comparison = Comparison::default();
    comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    comparison.finish();

    // The newer names for the same.
    let tensors = read_safetensors(&file);
    let newer = dir.path().join("newer.safetensors");
    let mut renamed = std::collections::BTreeMap::new();
    let format = |format: &str| {
        let bytes = format!("{{\"format\": \"{format}\"}}").into_bytes();
        Stored { dtype: safetensors::Dtype::U8, shape: vec![bytes.len()], bytes }
    };
    for (key, tensor) in &tensors {
        if let Some(stem) = key.strip_suffix(".scale_weight") {
            renamed.insert(format!("{stem}.comfy_quant"), format("float8_e4m3fn"));
        }
        let key = key.replace(".scale_weight", ".weight_scale").replace(".scale_input", ".input_scale");
        if key != "scaled_fp8" {
            renamed.insert(key, tensor.clone());
        }
    }
    write_safetensors(&newer, &renamed);
    let weights =
        Weights::open(std::slice::from_ref(&newer), CPU, Kind::Float).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json["unet"], digest(&weights));

    let refused = |tensors: &std::collections::BTreeMap<String, Stored>, says: &[&str]| {
        write_safetensors(&newer, tensors);
        let error = Weights::open(std::slice::from_ref(&newer), CPU, Kind::Float)
            .map(drop)
            .expect_err("it must be refused");
        let message = error.to_string();
        for word in says.iter().chain(&["newer.safetensors"]) {
            assert!(message.contains(word), "\"{word}\" is not in: {message}");
        }
    };
    let key = tensors.keys().find(|key| key.ends_with(".scale_weight")).expect("a scale");
    let stem = key.strip_suffix(".scale_weight").expect("a scale");
    let mut several = tensors.clone();
    several.insert(key.clone(), Stored::zeros(&[4]));
    refused(&several, &[key, "[4]", "one number"]);
    let mut packed = tensors.clone();
    packed.insert(format!("{stem}.comfy_quant"), format("nvfp4"));
    refused(&packed, &[stem, "nvfp4", "float8_e4m3fn"]);
    // A scale without its weight is no part of the model.
    let mut alone = tensors.clone();
    alone.insert("nothing.scale_weight".into(), Stored::zeros(&[1]));
    write_safetensors(&newer, &alone);
    let error = with_unet(sdxl(), &newer).map(drop).expect_err("left over");
    assert!(error.to_string().contains("nothing.scale_weight"), "{error}");
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
        let with = LoadOptions { vae: Some(vae.clone()), ..options(copy.path(""), None) };
        let described = StableDiffusion::describe(&with).unwrap_or_else(|e| panic!("{e}"));
        let mut model = StableDiffusion::load(&with).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(&described, model.info());
        comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    }
    comparison.finish();
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
