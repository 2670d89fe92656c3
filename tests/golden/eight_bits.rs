//! Weights of eight bits as torch reads them, with their scales (fixtures by `generate/few_step.py` and, as torchao and
//! diffusers save them, `generate/eight_bits.py`).

use std::fs;
use std::path::{Path, PathBuf};

use imagine_contract::GenerateRequest;
use imagine_pipeline::single_file::{SingleFile, SingleFileOptions};
use imagine_pipeline::{LoadOptions, StableDiffusion};
use imagine_tests::{Golden, fixtures};
use imagine_unet::weights::Init;
use imagine_unet::{Weights, WeightsError};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

use crate::broken_files::{Stored, read_safetensors, write_safetensors};
use crate::checkpoint_files;
use crate::few_step::{options, sdxl, unpacked, unpacked_of, with_unet};
use crate::picture_runs::{Comparison, Run, generate};
use crate::single_file::digest;

const CPU: Device = Device::Cpu;
const SCALED: &str = "scaled_fp8.safetensors";

/// Under the original names, with and without the start that they have in a whole checkpoint: out of such a one, in
/// eight bits, each weight as itself.
#[test]
fn a_whole_checkpoint_in_eight_bits_and_its_unet_alone() {
    let (dir, file, tokenizer) = checkpoint_files::unpacked("sdxl.safetensors");
    let path = |name: &str| dir.path().join(format!("{name}.safetensors"));
    let whole = read_safetensors(&file);
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
    let rows = tensors[&format!("{stem}.weight")].shape.clone();
    for shape in [vec![rows[0] + 1], vec![1, rows[1]], vec![rows[0], rows[1]]] {
        let mut several = tensors.clone();
        several.insert(key.clone(), Stored::zeros(&shape));
        refused(&several, &[key, &format!("{shape:?}"), &format!("{rows:?}"), "one for each row"]);
    }
    let mut whole_numbers = tensors.clone();
    let one = Stored { dtype: safetensors::Dtype::U8, shape: vec![1], bytes: vec![1] };
    whole_numbers.insert(key.clone(), one);
    refused(&whole_numbers, &[key, "not a weight type"]);
    let mut packed = tensors.clone();
    packed.insert(format!("{stem}.comfy_quant"), format("nvfp4"));
    refused(&packed, &[stem, "nvfp4", "float8_e4m3fn"]);
    let mut twice = tensors.clone();
    twice.insert(format!("{stem}._weight_qdata"), Stored::zeros(&[1]));
    twice.insert(format!("{stem}._weight_scale"), Stored::zeros(&[1]));
    refused(&twice, &[stem, ".weight", "in two files"]);
    // A scale without its weight is no part of the model.
    let mut alone = tensors.clone();
    alone.insert("nothing.scale_weight".into(), Stored::zeros(&[1]));
    write_safetensors(&newer, &alone);
    let error = with_unet(sdxl(), &newer).map(drop).expect_err("left over");
    assert!(error.to_string().contains("nothing.scale_weight"), "{error}");
}

/// In the shapes and under the names of ComfyUI's newer tools and of torchao.
#[test]
fn scales_of_rows_are_multiplied_in() {
    let (_dir, file) = unpacked("row_scaled_fp8.safetensors");
    let text = fs::read_to_string(fixtures("few_step").join("digests.json")).expect("the digests");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let weights =
        Weights::open(std::slice::from_ref(&file), CPU, Kind::Float).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json["rows"], digest(&weights), "to the last bit");
    let golden = Golden::read("few_step", "pictures.safetensors");
    let mut model = with_unet(sdxl(), &file).unwrap_or_else(|e| panic!("{e}"));
    let run = Run::named("few_step", "rows");
    let mut comparison = Comparison::default();
    comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    comparison.finish();
}

/// A folder as diffusers saves it with torchao, its configuration and all.
#[test]
fn a_unet_that_torchao_has_saved_draws_as_in_diffusers() {
    let (dir, _) = unpacked_of("eight_bits/unet", "diffusion_pytorch_model.safetensors");
    fs::copy(fixtures("eight_bits").join("unet/config.json"), dir.path().join("config.json"))
        .expect("a copy");
    let text = fs::read_to_string(fixtures("eight_bits").join("digests.json")).expect("the digests");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let weights = Weights::open_folder(dir.path(), CPU, Kind::Float).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(json["unet"], digest(&weights), "as torchao itself makes them whole, to the last bit");
    let golden = Golden::read("eight_bits", "pictures.safetensors");
    let mut model = with_unet(sdxl(), dir.path()).unwrap_or_else(|e| panic!("{e}"));
    let run = Run::named("eight_bits", "eight");
    let mut comparison = Comparison::default();
    comparison.compare(&run, generate(&mut model, &run.request(None)), &golden);
    comparison.finish();
}

/// Whole numbers of eight bits, which torchao saves under the same names, are no weights here.
#[test]
fn whole_numbers_of_torchao_are_refused_by_file_and_key() {
    let (dir, file) = unpacked_of("eight_bits/unet", "diffusion_pytorch_model.safetensors");
    let mut tensors = read_safetensors(&file);
    for (_, tensor) in tensors.iter_mut().filter(|(key, _)| key.ends_with("._weight_qdata")) {
        tensor.dtype = safetensors::Dtype::I8;
    }
    let whole = dir.path().join("int8.safetensors");
    write_safetensors(&whole, &tensors);
    let message = with_unet(sdxl(), &whole).map(drop).expect_err("whole numbers").to_string();
    for says in ["int8.safetensors", ".weight\"", "has type I8"] {
        assert!(message.contains(says), "\"{says}\" is not in: {message}");
    }
}
