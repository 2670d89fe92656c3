//! A checkpoint with one thing wrong: each is refused with the file and the key, shape or value at fault.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use half::f16;
use imagine_contract::Engine;
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions, PipelineError, StableDiffusion};
use imagine_tests::fixtures;
use safetensors::Dtype;
use serde_json::{Value, json};

use crate::broken_files::{CheckpointCopy, Stored, read_safetensors};
use crate::picture_runs::Run;

fn load(model: PathBuf, adapter: Option<PathBuf>) -> Result<StableDiffusion, PipelineError> {
    let (device, dtype) = (DeviceChoice::Cpu, DtypeChoice::F32);
    StableDiffusion::load(&LoadOptions { model, adapter, device, dtype, ..LoadOptions::default() })
}

/// Loads a copy after `damage`; the error must be the input's fault and hold every one of `says`.
fn refused(what: &str, damage: impl FnOnce(&CheckpointCopy), says: &[&str]) {
    let copy = CheckpointCopy::new();
    damage(&copy);
    let Err(error) = load(copy.path(""), None) else { panic!("{what}: was loaded") };
    let message = error.to_string();
    println!("{what}: {}", message.replace(&copy.path("").display().to_string(), "…"));
    for word in says {
        assert!(message.contains(word), "{what}: \"{word}\" is missing in: {message}");
    }
    assert!(error.is_input(), "{what}: {message} is not the machine's fault");
}

/// Weight file of each part, with a key that it holds and that key's shape as errors write it.
const WEIGHTS: [(&str, &str, &str); 3] = [
    ("unet/diffusion_pytorch_model.safetensors", "mid_block.attentions.0.norm.weight", "[16]"),
    ("vae/diffusion_pytorch_model.safetensors", "decoder.mid_block.attentions.0.to_q.weight", "[8, 8]"),
    ("text_encoder/model.safetensors", "encoder.layers.1.mlp.fc1.bias", "[32]"),
];

/// The key as this file spells it: text encoders are saved with and without a prefix.
fn full_key(file: &str, end: &str) -> String {
    let tensors = read_safetensors(&fixtures("pipeline").join("checkpoint").join(file));
    let mut keys = tensors.into_keys().filter(|key| key.ends_with(end));
    keys.next().unwrap_or_else(|| panic!("{file} has no {end}"))
}

#[test]
fn the_copy_itself_is_loaded() {
    let copy = CheckpointCopy::new();
    load(copy.path(""), None).map(drop).unwrap_or_else(|e| panic!("{e}"));
    // Rewriting a file changes nothing.
    for (file, ..) in WEIGHTS {
        copy.tensors(file, |_| ());
    }
    load(copy.path(""), None).map(drop).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn tensors_that_are_missing_or_too_many() {
    for (file, end, _) in WEIGHTS {
        let key = full_key(file, end);
        refused("missing", |c| c.tensors(file, |t| drop(t.remove(&key))), &[file, &key, "missing"]);
        let extra = "left.over.weight";
        let add = |c: &CheckpointCopy| c.tensors(file, |t| drop(t.insert(extra.into(), Stored::zeros(&[2]))));
        refused("extra", add, &[file, extra, "do not belong"]);
        refused("no tensors at all", |c| c.tensors(file, |t| t.clear()), &[file, "missing"]);
    }
}

/// Every single tensor of the checkpoint is asked for: leaving out any one is noticed.
#[test]
fn no_tensor_can_be_left_out() {
    for (file, ..) in WEIGHTS {
        let copy = CheckpointCopy::new();
        let whole = read_safetensors(&copy.path(file));
        for key in whole.keys() {
            let mut without = whole.clone();
            without.remove(key);
            crate::broken_files::write_safetensors(&copy.path(file), &without);
            let message = load(copy.path(""), None).map(drop).expect_err(key).to_string();
            assert!(message.contains(file) && message.contains(key.as_str()), "{file}, {key}: {message}");
        }
    }
}

#[test]
fn tensors_of_another_shape_or_type() {
    for (file, end, shape) in WEIGHTS {
        let key = full_key(file, end);
        let put = |stored: Stored| {
            let key = key.clone();
            move |c: &CheckpointCopy| c.tensors(file, |t| drop(t.insert(key, stored)))
        };
        for (wrong, shown) in
            [(&[3, 5][..], "[3, 5]"), (&[], "[]"), (&[0], "[0]"), (&[1, 1, 1, 1, 1], "[1, 1, 1, 1, 1]")]
        {
            refused("shape", put(Stored::zeros(wrong)), &[file, &key, shown, shape, "expected"]);
        }
        for dtype in [Dtype::I64, Dtype::I8, Dtype::BOOL, Dtype::F8_E8M0] {
            let shape: Vec<usize> = serde_json::from_str(shape).unwrap_or_default();
            let bytes = vec![0; shape.iter().product::<usize>() * if dtype == Dtype::I64 { 8 } else { 1 }];
            let name = format!("{dtype:?}");
            refused("type", put(Stored { dtype, shape, bytes }), &[file, &key, &name, "not a weight type"]);
        }
    }
}

#[test]
fn weights_that_are_not_finite() {
    for (file, end, _) in WEIGHTS {
        let key = full_key(file, end);
        // NaN, infinity and minus infinity in float16, the type that the files are stored in
        for bits in [0x7e00u16, 0x7c00, 0xfc00] {
            let spoil = |c: &CheckpointCopy| {
                c.tensors(file, |t| {
                    let tensor = t.get_mut(&key).expect("the key is there");
                    assert_eq!(tensor.dtype, Dtype::F16);
                    tensor.bytes[6..8].copy_from_slice(&bits.to_le_bytes());
                });
            };
            refused("not finite", spoil, &[file, &key, "NaN or infinite"]);
        }
    }
}

/// The same weights in f32, which are used where they lie in the file.
fn in_f32(tensors: &mut BTreeMap<String, Stored>) {
    for tensor in tensors.values_mut().filter(|tensor| tensor.dtype == Dtype::F16) {
        let halves = tensor.bytes.chunks_exact(2).map(|two| f16::from_le_bytes([two[0], two[1]]));
        tensor.bytes = halves.flat_map(|half| half.to_f32().to_le_bytes()).collect();
        tensor.dtype = Dtype::F32;
    }
}

#[test]
fn unread_weights_that_are_not_finite_are_named_when_a_picture_is_not() {
    let run = Run::all("pipeline").into_iter().find(|run| run.file.is_none()).expect("a plain run");
    let draw = |copy: &CheckpointCopy| {
        let mut model = load(copy.path(""), None).unwrap_or_else(|e| panic!("{e}"));
        model.pictures(&run.request(None))
    };
    for (file, end, _) in WEIGHTS {
        let (key, copy) = (full_key(file, end), CheckpointCopy::new());
        copy.tensors(file, in_f32);
        draw(&copy).unwrap_or_else(|e| panic!("{file} in f32: {e}"));
        copy.tensors(file, |t| {
            let tensor = t.get_mut(&key).expect("the key is there");
            tensor.bytes[4..8].copy_from_slice(&f32::NAN.to_le_bytes());
        });
        let error = draw(&copy).expect_err("a picture of NaN").to_string();
        assert!([file, key.as_str(), "NaN or infinite"].iter().all(|said| error.contains(said)), "{error}");
    }
}

#[test]
fn files_that_are_no_safetensors() {
    for (file, ..) in WEIGHTS {
        let whole = fs::read(fixtures("pipeline").join("checkpoint").join(file)).expect("the fixture");
        for length in [0, 1, 7, 8, 9, 100, whole.len() / 2, whole.len() - 1] {
            refused(&format!("cut to {length}"), |c| c.write(file, &whole[..length]), &[file]);
        }
        let longer = [&whole[..], &[0; 16]].concat();
        refused("something behind the end", |c| c.write(file, &longer), &[file, "safetensors"]);
        refused("a text", |c| c.write(file, "this is a text, not a model"), &[file, "safetensors"]);
        let huge = [&u64::MAX.to_le_bytes()[..], &[b'{'; 64]].concat();
        refused("a huge header", |c| c.write(file, &huge), &[file, "safetensors"]);
        let mut garbled = whole.clone();
        garbled[8..40].fill(0xff);
        refused("a garbled header", |c| c.write(file, &garbled), &[file, "safetensors"]);
        let header = br#"{"a":{"dtype":"F32","shape":[18446744073709551615,4],"data_offsets":[0,4]}}"#;
        let overflow = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
        refused("sizes that overflow", |c| c.write(file, &overflow), &[file, "safetensors"]);
        refused(
            "no file",
            |c| c.remove(file),
            &[file.split('/').next().unwrap_or_default(), "no weights found"],
        );
        let folder = |c: &CheckpointCopy| {
            c.remove(file);
            fs::create_dir(c.path(file)).expect("a folder in the file's place");
        };
        refused("a folder", folder, &[file.split('/').next().unwrap_or_default()]);
    }
}

#[test]
fn configurations_that_cannot_be_read() {
    for part in ["unet", "vae", "text_encoder"] {
        let file = format!("{part}/config.json");
        refused("missing", |c| c.remove(&file), &[&file]);
        refused("not JSON", |c| c.write(&file, "{\"a\": "), &[&file, "line 1"]);
        refused("a list", |c| c.write(&file, "[1, 2]"), &[&file]);
        refused("not text", |c| c.write(&file, [0xff, 0xfe, 0x00]), &[&file]);
        refused("empty", |c| c.write(&file, ""), &[&file]);
    }
}

#[test]
fn configurations_that_ask_for_something_else() {
    let unet = "unet/config.json";
    let vae = "vae/config.json";
    let text = "text_encoder/config.json";
    let cases: [(&str, &str, Value, &[&str]); 18] = [
        (unet, "down_block_types", json!(["CrossAttnDownBlock2D", "KDownBlock2D"]), &["KDownBlock2D"]),
        (unet, "up_block_types", json!(["UpBlock2D"]), &["as many as block_out_channels"]),
        (unet, "attention_head_dim", json!(3), &["3", "divisor of 8 channels"]),
        (unet, "norm_num_groups", json!(5), &["5"]),
        (unet, "block_out_channels", json!([8, 20]), &["[16", "[20"]),
        (unet, "cross_attention_dim", json!(12), &["attn2.to_k.weight", "[8, 16]", "[8, 12]"]),
        (unet, "layers_per_block", json!(2), &["resnets.1"]),
        (unet, "in_channels", json!(9), &["conv_in.weight", "[8, 4, 3, 3]", "[8, 9, 3, 3]"]),
        (unet, "addition_embed_type", json!("text_time"), &["text_time"]),
        (unet, "sample_size", json!("large"), &["large"]),
        (unet, "sample_size", json!(1_000_000_000_000_000_000i64), &["1000000000000000000"]),
        (vae, "down_block_types", json!(["AttnDownEncoderBlock2D"]), &["AttnDownEncoderBlock2D"]),
        (vae, "latent_channels", json!(5), &["[8, 8, 3, 3]", "[10, 8, 3, 3]"]),
        (vae, "norm_num_groups", json!(3), &["norm_num_groups"]),
        (vae, "use_quant_conv", json!(false), &["quant_conv", "do not belong"]),
        (vae, "block_out_channels", json!("many"), &["many"]),
        (text, "num_attention_heads", json!(5), &["5", "16"]),
        (text, "hidden_act", json!("tanh"), &["tanh"]),
    ];
    for (file, key, value, says) in cases {
        let folder = file.split('/').next().unwrap_or_default();
        let what = format!("{file}: {key} = {value}");
        refused(&what, |c| c.json(file, key, value), &[&[folder], says].concat());
    }
}

#[test]
fn parts_that_do_not_fit_each_other() {
    // A whole and valid U-Net of another text encoder.
    let other = |c: &CheckpointCopy| {
        for file in ["config.json", "diffusion_pytorch_model.safetensors"] {
            fs::copy(fixtures("unet").join("sd1").join(file), c.path("unet").join(file)).expect("a copy");
        }
    };
    refused(
        "another U-Net",
        other,
        &["text_encoder and unet", "hidden_size = 16", "cross_attention_dim = 6"],
    );
    let other = |c: &CheckpointCopy| {
        for file in ["config.json", "diffusion_pytorch_model.safetensors"] {
            fs::copy(fixtures("vae").join("no_quant").join(file), c.path("vae").join(file)).expect("a copy");
        }
    };
    refused("another autoencoder", other, &["vae and unet", "latent_channels = 6", "in_channels = 4"]);
    let adapter = fixtures("faceid").join("sface.safetensors");
    let error = load(fixtures("pipeline").join("checkpoint"), Some(adapter)).map(drop);
    let message = error.expect_err("an adapter of another base").to_string();
    assert!(message.contains("sface.safetensors"), "{message}");
    assert!(message.contains("6 wide") && message.contains("16 wide"), "{message}");
}

#[test]
fn schedulers_that_are_unknown_or_wrong() {
    let file = "scheduler/scheduler_config.json";
    refused("no class", |c| c.write(file, "{}"), &[file, "_class_name"]);
    refused("class", |c| c.json(file, "_class_name", json!(5)), &[file, "_class_name"]);
    refused("betas", |c| c.json(file, "beta_schedule", json!("cubic")), &[file, "beta_schedule", "cubic"]);
    refused("prediction", |c| c.json(file, "prediction_type", json!("score")), &[file, "score"]);
    refused("steps", |c| c.json(file, "num_train_timesteps", json!(0)), &[file, "num_train_timesteps"]);
    refused("beta", |c| c.json(file, "beta_start", json!("low")), &[file, "beta_start"]);
    refused("not JSON", |c| c.write(file, "scheduler"), &[file]);
    refused("missing", |c| c.remove(file), &[file]);
}

#[test]
fn tokenizers_that_are_missing_or_damaged() {
    let nothing = |c: &CheckpointCopy| {
        c.remove("tokenizer");
        fs::create_dir(c.path("tokenizer")).expect("an empty folder");
    };
    refused("empty folder", nothing, &["tokenizer", "tokenizer.json", "vocab.json"]);
    let file = "tokenizer/tokenizer.json";
    refused("not JSON", |c| c.write(file, "{"), &[file]);
    refused("no model", |c| c.write(file, "{}"), &[file]);
    // One token more than the text encoder knows would read beyond its table.
    let larger = |c: &CheckpointCopy| {
        let text = fs::read_to_string(c.path(file)).expect("the tokenizer");
        let mut json: Value = serde_json::from_str(&text).expect("JSON");
        json["model"]["vocab"]["zebra</w>"] = json!(100_000);
        c.write(file, json.to_string());
    };
    refused("larger vocabulary", larger, &["tokenizer", "100001", "vocab_size"]);
}

#[test]
fn defaults_that_no_request_could_have() {
    let file = "imagine.json";
    refused("no steps", |c| c.write(file, r#"{"steps": 0}"#), &[file, "steps = 0"]);
    refused("guidance", |c| c.write(file, r#"{"guidance_scale": -1}"#), &[file, "guidance_scale = -1"]);
    for width in [4, 2048] {
        let says = format!("width_per_person = {width}");
        refused(
            "room for people",
            |c| c.write(file, format!(r#"{{"width_per_person": {width}}}"#)),
            &[file, &says],
        );
    }
    refused("a key misspelt", |c| c.write(file, r#"{"step": 5}"#), &[file, "step"]);
    refused("a list", |c| c.write(file, "[]"), &[file]);
}

#[test]
fn folders_that_are_no_checkpoint() {
    let index = "model_index.json";
    refused("no index", |c| c.remove(index), &[index]);
    refused("not JSON", |c| c.write(index, "hello"), &[index]);
    refused("a list", |c| c.write(index, "[]"), &[index]);
    refused("no class", |c| c.write(index, "{}"), &[index, "_class_name"]);
    refused(
        "SDXL without its second encoder",
        |c| c.json(index, "_class_name", json!("StableDiffusionXLPipeline")),
        &[index, "text_encoder_2"],
    );
    for class in ["StableDiffusion3Pipeline", "StableDiffusionUpscalePipeline", "FluxPipeline"] {
        refused("another pipeline", |c| c.json(index, "_class_name", json!(class)), &[class]);
    }
    for part in ["unet", "text_encoder", "tokenizer", "scheduler"] {
        refused("a part is not named", |c| c.json(index, part, Value::Null), &[index, part]);
        refused("a part is not there", |c| c.remove(part), &[part, "missing"]);
    }
    // Another can be named in its place.
    refused("no autoencoder is named", |c| c.json(index, "vae", Value::Null), &["vae/", "--vae"]);
    refused("no autoencoder is there", |c| c.remove("vae"), &["vae/", "--vae"]);
    let message = load("no/such/folder".into(), None).map(drop).expect_err("no folder").to_string();
    assert!(message.contains("no/such/folder"), "{message}");
}
