//! A checkpoint in one file, from the file to a picture: the parts are compared with diffusers' in `single_file`,
//! here they are put together (files by `generate/single_file.py`).

use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use imagine_contract::{Engine, GenerateRequest, RgbPixels};
use imagine_pipeline::single_file::{Prediction, PredictionSource, SingleFile, SingleFileOptions};
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions, StableDiffusion};
use imagine_tests::fixtures;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::{Map, json};
use tempfile::TempDir;

/// A tiny file, unpacked, beside a tokenizer of its twenty tokens.
pub fn unpacked(name: &str) -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let packed = std::fs::read(fixtures("single_file").join(format!("{name}.gz"))).expect("the fixture");
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).expect("a gzip file");
    let file = dir.path().join(name);
    std::fs::write(&file, bytes).expect("the file");
    let tokenizer = dir.path().join("tokenizer");
    write_tokenizer(&tokenizer);
    (dir, file, tokenizer)
}

fn write_tokenizer(tokenizer: &Path) {
    std::fs::create_dir(tokenizer).expect("a folder");
    let words =
        "! a b c d e f g h i a</w> b</w> c</w> d</w> e</w> f</w> g</w> h</w> <|startoftext|> <|endoftext|>";
    let vocab: Map<_, _> = words.split(' ').zip(0..).map(|(word, id)| (word.into(), json!(id))).collect();
    write(tokenizer, "vocab.json", &serde_json::Value::from(vocab).to_string());
    write(tokenizer, "merges.txt", "#version: 0.2\n");
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap_or_else(|e| panic!("{name}: {e}"));
}

/// Three steps of the prompt on 64 × 64 pixels.
fn draw(model: &mut StableDiffusion, prompt: &str) -> RgbPixels {
    let request = GenerateRequest {
        width: Some(64),
        height: Some(64),
        steps: Some(3),
        ..GenerateRequest::new(prompt, 7)
    };
    model.pictures(&request).unwrap_or_else(|e| panic!("{prompt}: {e}")).remove(0).pixels
}

const UNET: &str = "model.diffusion_model.";

/// Copies those tensors of a file that begin with `start`, with empty ones of these names beside them.
fn marked(model: &Path, start: &str, markers: &[&str], file: PathBuf) -> PathBuf {
    let bytes = std::fs::read(model).expect("the file");
    let all = SafeTensors::deserialize(&bytes).expect("safetensors");
    let marker = TensorView::new(Dtype::F32, vec![0], &[]).expect("a view");
    let kept = all.tensors().into_iter().filter(|(key, _)| key.starts_with(start));
    let parts = kept.chain(markers.iter().map(|key| (key.to_string(), marker.clone())));
    std::fs::write(&file, safetensors::serialize(parts, None).expect("tensors")).expect("the file");
    file
}

fn loaded_from(model: PathBuf, tokenizer: PathBuf) -> LoadOptions {
    LoadOptions {
        model,
        tokenizer: Some(tokenizer),
        device: DeviceChoice::Cpu,
        dtype: DtypeChoice::F32,
        ..LoadOptions::default()
    }
}

#[test]
fn what_a_single_file_predicts_can_be_asked_for() {
    let (_dir, model, tokenizer) = unpacked("sd1.safetensors");
    let options = loaded_from(model, tokenizer);
    let drawn = |prediction: Option<Prediction>| {
        let options = LoadOptions { prediction, ..options.clone() };
        draw(&mut StableDiffusion::load(&options).unwrap_or_else(|e| panic!("{e}")), "a b c").rgb
    };
    let usual = drawn(None);
    assert_eq!(
        usual,
        drawn(Some(Prediction::Epsilon)),
        "SD 1.x predicts noise unless something else is said"
    );
    assert_ne!(usual, drawn(Some(Prediction::V)));
    let folder = fixtures("pipeline").join("checkpoint");
    let options = LoadOptions { model: folder, prediction: Some(Prediction::V), ..LoadOptions::default() };
    let error = StableDiffusion::load(&options).map(drop).expect_err("a folder says it itself");
    let message = error.to_string();
    assert!(error.is_input() && message.contains("--prediction"), "{message}");
    assert!(message.contains("scheduler_config.json"), "{message}");
}

#[test]
fn an_autoencoder_is_taken_from_a_file_of_its_own() {
    let (dir, model, tokenizer) = unpacked("sd1.safetensors");
    let bytes = std::fs::read(&model).expect("the file");
    let all = SafeTensors::deserialize(&bytes).expect("safetensors");
    let alone = |name: &str, renamed: fn(&str) -> Option<String>| -> PathBuf {
        let parts = all.tensors().into_iter().filter_map(|(key, view)| Some((renamed(&key)?, view)));
        let file = dir.path().join(name);
        std::fs::write(&file, safetensors::serialize(parts, None).expect("tensors")).expect("the file");
        file
    };
    let original = alone("vae.safetensors", |key| key.strip_prefix("first_stage_model.").map(String::from));
    let options = loaded_from(model.clone(), tokenizer);
    let with = |vae: Option<PathBuf>| StableDiffusion::load(&LoadOptions { vae, ..options.clone() });
    let drawn = |vae: Option<PathBuf>| draw(&mut with(vae).unwrap_or_else(|e| panic!("{e}")), "a b c").rgb;
    let own = drawn(None);
    assert_eq!(drawn(Some(original.clone())), own);
    assert_eq!(drawn(Some(model)), own, "out of a whole checkpoint");
    let refused =
        |vae: PathBuf| with(Some(vae)).map(drop).expect_err("no autoencoder in the original layout");
    let diffusers = alone("new.safetensors", |key| {
        key.ends_with("encoder.conv_in.weight").then(|| "encoder.down_blocks.0.resnets.0.conv1.weight".into())
    });
    let message = refused(diffusers).to_string();
    assert!(message.contains("new.safetensors") && message.contains("encoder.conv_in.weight"), "{message}");
    // The same checkpoint without its own.
    let bare = alone("bare.safetensors", |key| (!key.starts_with("first_stage_model.")).then(|| key.into()));
    let bare = LoadOptions { model: bare, ..options.clone() };
    let vae = Some(original.clone());
    let mut model =
        StableDiffusion::load(&LoadOptions { vae, ..bare.clone() }).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(draw(&mut model, "a b c").rgb, own);
    let message = StableDiffusion::load(&bare).map(drop).expect_err("no autoencoder").to_string();
    for word in ["bare.safetensors", "no autoencoder", "first_stage_model", "--vae"] {
        assert!(message.contains(word), "{message}");
    }
    let unet = alone("unet.safetensors", |key| key.strip_prefix("model.").map(String::from));
    let message = refused(unet).to_string();
    assert!(message.contains("unet.safetensors") && message.contains("no autoencoder"), "{message}");
}

/// `NAME.yaml` says it where the file itself does not.
#[test]
fn a_configuration_beside_the_file_says_what_it_predicts() {
    use {Prediction::*, PredictionSource::*};
    let (_sd1, sd1, _) = unpacked("sd1.safetensors");
    // Its number of training steps is that of the base model, which predicts noise.
    let (_sd2, sd2, _) = unpacked("sd2.ckpt");
    let config = |line: &str| {
        format!(
            "model:\n  target: ldm.models.diffusion.ddpm.LatentDiffusion\n  params:\n{line}    unet_config:\n"
        )
    };
    let (velocity, noise) = (config("    parameterization: \"v\"\n"), config(""));
    let foreign = "parameterization: v\n".to_string();
    for (what, file, asked, yaml, expected) in [
        ("sd1, velocity", &sd1, None, Some(&velocity), (V, Beside)),
        ("sd1, noise", &sd1, None, Some(&noise), (Epsilon, Beside)),
        ("sd1, asked", &sd1, Some(Epsilon), Some(&velocity), (Epsilon, Asked)),
        ("sd1, another file", &sd1, None, Some(&foreign), (Epsilon, Usual)),
        ("sd2, velocity", &sd2, None, Some(&velocity), (V, Beside)),
        ("sd2, without", &sd2, None, None, (Epsilon, GlobalStep)),
    ] {
        let beside = file.with_extension("yaml");
        let _ = std::fs::remove_file(&beside);
        if let Some(yaml) = yaml {
            std::fs::write(&beside, yaml).expect("a file");
        }
        let opened = SingleFile::open(file, &SingleFileOptions { prediction: asked, tokenizer: None });
        let kind = *opened.unwrap_or_else(|e| panic!("{what}: {e}")).kind();
        assert_eq!((kind.prediction, kind.prediction_source), expected, "{what}");
    }
}

/// A U-Net alone under the original names may keep what a whole checkpoint leaves over, and its markers count.
#[test]
fn leftovers_and_markers_of_a_unet_alone() {
    let (dir, model, tokenizer) = unpacked("sd1.safetensors");
    let unet = |markers: &[&str]| marked(&model, UNET, markers, dir.path().join("unet.safetensors"));
    let options = loaded_from(model.clone(), tokenizer);
    let drawn = |unet: Option<PathBuf>, prediction: Option<Prediction>| {
        let options = LoadOptions { unet, prediction, ..options.clone() };
        draw(&mut StableDiffusion::load(&options).unwrap_or_else(|e| panic!("{e}")), "a b c").rgb
    };
    let (noise, velocity) = (drawn(None, None), drawn(None, Some(Prediction::V)));
    assert_ne!(noise, velocity);
    assert_eq!(drawn(Some(unet(&["denoiser.sigmas", "model_ema.decay", "betas"])), None), noise);
    assert_eq!(drawn(Some(unet(&["v_pred"])), None), velocity);
    assert_eq!(drawn(Some(unet(&["v_pred"])), Some(Prediction::Epsilon)), noise, "asked for");
    let unknown = LoadOptions { unet: Some(unet(&["something"])), ..options.clone() };
    let message = StableDiffusion::load(&unknown).map(drop).expect_err("an unknown key").to_string();
    assert!(message.contains("unet.safetensors") && message.contains("\"something\""), "{message}");
}

#[test]
fn a_unet_alone_tells_of_its_noise_schedule_as_a_whole_file_does() {
    let (dir, model, tokenizer) = unpacked("sdxl.safetensors");
    let drawn = |model: &Path, unet: Option<PathBuf>| {
        let options = LoadOptions { unet, ..loaded_from(model.to_path_buf(), tokenizer.clone()) };
        draw(&mut StableDiffusion::load(&options).unwrap_or_else(|e| panic!("{e}")), "a b c").rgb
    };
    let unet = |markers: &[&str]| Some(marked(&model, UNET, markers, dir.path().join("unet.safetensors")));
    let whole = marked(&model, "", &["v_pred", "ztsnr"], dir.path().join("whole.safetensors"));
    let alone = drawn(&model, unet(&["v_pred", "ztsnr"]));
    assert_eq!(alone, drawn(&whole, None));
    assert_ne!(alone, drawn(&model, unet(&["v_pred"])));
}

#[test]
fn a_single_file_draws_pictures() {
    for (name, side, scheduler, guidance) in [
        ("sd1.safetensors", 512, "pndm", 7.5),
        ("sd2.ckpt", 512, "pndm", 7.5),
        ("sdxl.safetensors", 1024, "euler", 5.0),
    ] {
        let (_dir, model, tokenizer) = unpacked(name);
        let options = loaded_from(model, tokenizer);
        let mut model = StableDiffusion::load(&options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let info = model.info().clone();
        assert_eq!(Some(info.name.as_str()), name.split('.').next());
        // The tiny autoencoders have fewer pixels a cell than the published ones' 8.
        let side = side / 8 * info.side_multiple;
        assert_eq!((info.width, info.scheduler.as_str(), info.guidance_scale), (side, scheduler, guidance));
        let mut draw = |prompt: &str| draw(&mut model, prompt);
        let (first, second) = (draw("a b c"), draw("h g f"));
        assert_eq!((first.width, first.height), (64, 64));
        assert_ne!(first.rgb, second.rgb, "{name}: the prompt is heard");
        assert_eq!(first.rgb, draw("a b c").rgb);
        // CLIP's own vocabulary does not fit twenty tokens.
        let alone = StableDiffusion::load(&LoadOptions { tokenizer: None, ..options }).map(drop);
        let message = alone.expect_err("another vocabulary").to_string();
        assert!(message.contains(name) && message.contains("20 tokens"), "{message}");
    }
}
