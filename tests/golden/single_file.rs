//! Checkpoints in one file (fixtures by `generate/single_file.py`): tiny ones give exactly diffusers' tensors,
//! configurations and outputs; the published ones, at full size but without data, are recognised with every
//! key in its place; everything else is refused.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use imagine_encoders::{ClipTextConfig, ClipTextModel, ClipTokenizer, Vocabulary};
use imagine_pipeline::schedulers::{PredictionType, SchedulerKind};
use imagine_pipeline::single_file::{
    BaseModel, Prediction, PredictionSource, SingleFile, SingleFileError, SingleFileOptions,
};
use imagine_tests::{Golden, assert_close, fixtures};
use imagine_unet::weights::Init;
use imagine_unet::{
    AddedCondition, AutoencoderKl, AutoencoderKlConfig, Condition, UNet2DConditionModel, UNetConfig, Weights,
};
use serde_json::{Value, json};
use tch::{Device, Kind};
use tempfile::TempDir;

const TOLERANCE: f64 = 1e-5;
const CPU: Device = Device::Cpu;

fn unpacked(name: &str) -> Vec<u8> {
    let file = fixtures("single_file").join(name);
    let packed = fs::read(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut bytes = Vec::new();
    GzDecoder::new(&packed[..]).read_to_end(&mut bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    bytes
}

fn temporary() -> TempDir {
    tempfile::tempdir().unwrap_or_else(|e| panic!("a temporary folder: {e}"))
}

fn open(file: &Path, options: &SingleFileOptions) -> SingleFile {
    SingleFile::open(file, options).unwrap_or_else(|e| panic!("{e}"))
}

fn asked(prediction: Prediction) -> SingleFileOptions {
    SingleFileOptions { prediction: Some(prediction), tokenizer: None }
}

/// A tiny checkpoint, unpacked.
fn tiny(name: &str) -> (TempDir, PathBuf) {
    let dir = temporary();
    let file = dir.path().join(name);
    fs::write(&file, unpacked(&format!("{name}.gz"))).unwrap_or_else(|e| panic!("{name}: {e}"));
    (dir, file)
}

/// 64-bit FNV-1a over sorted keys and values in f32, as the generator computes it.
pub fn digest(weights: &Weights) -> String {
    let mut value = 0xcbf2_9ce4_8422_2325u64;
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            value = (value ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    for key in weights.keys() {
        let shape = weights.shape(&key).unwrap_or_default();
        let tensor = weights.root().get(&key, &shape, Init::Zeros).unwrap_or_else(|e| panic!("{e}"));
        let values = Vec::<f32>::try_from(tensor.flatten(0, -1)).unwrap_or_else(|e| panic!("{key}: {e}"));
        add(key.as_bytes());
        values.iter().for_each(|v| add(&v.to_le_bytes()));
    }
    format!("{value:016x}")
}

/// The configuration of a part as diffusers or transformers would save it.
fn published_config(configs: &Value, part: &str) -> Value {
    let mut config = configs[part].clone();
    // Absent and false are one; published files have both.
    if config["upcast_attention"] == json!(false) {
        config["upcast_attention"] = Value::Null;
    }
    config
}

fn assert_same_unet(config: &UNetConfig, expected: &Value) {
    let expected: UNetConfig = serde_json::from_value(expected.clone()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(format!("{config:#?}"), format!("{expected:#?}"));
}

fn assert_same_vae(config: &AutoencoderKlConfig, expected: &Value) {
    let expected: AutoencoderKlConfig =
        serde_json::from_value(expected.clone()).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(format!("{config:#?}"), format!("{expected:#?}"));
}

fn assert_same_text(config: &ClipTextConfig, expected: &Value) {
    let found = serde_json::to_value(config).unwrap_or_else(|e| panic!("{e}"));
    for key in [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "max_position_embeddings",
        "hidden_act",
        "layer_norm_eps",
        "eos_token_id",
        "bos_token_id",
    ] {
        assert_eq!(found[key], expected[key], "{key}");
    }
    if config.has_projection() {
        assert_eq!(found["projection_dim"], expected["projection_dim"]);
    }
}

fn text_model((config, weights): (ClipTextConfig, Weights)) -> ClipTextModel {
    let model = ClipTextModel::new(&weights.root(), &config).unwrap_or_else(|e| panic!("{e}"));
    weights.finish(&[]).unwrap_or_else(|e| panic!("{e}"));
    model
}

/// Tensors, configurations and outputs of a tiny checkpoint against diffusers.
fn compare(name: &str, options: &SingleFileOptions) -> SingleFile {
    let kind = name.split('.').next().unwrap_or_default();
    let (_dir, path) = tiny(name);
    let file = open(&path, options);
    let text = fs::read_to_string(fixtures("single_file").join(format!("{kind}.json")));
    let json: Value = serde_json::from_str(&text.unwrap_or_else(|e| panic!("{kind}: {e}"))).expect("JSON");
    let golden = Golden::read("single_file", &format!("{kind}_io.safetensors"));
    let expected = |part: &str| published_config(&json["configs"], part);
    let same = |part: &str, weights: &Weights| assert_eq!(digest(weights), json["digests"][part], "{part}");

    let (config, weights) = file.unet(CPU, Kind::Float).expect("a U-Net");
    assert_same_unet(&config, &expected("unet"));
    same("unet", &weights);
    let unet = UNet2DConditionModel::new(&weights.root(), &config).unwrap_or_else(|e| panic!("{e}"));
    weights.finish(&[]).unwrap_or_else(|e| panic!("{e}"));

    let (config, weights) = file.vae(CPU, Kind::Float).expect("an autoencoder").expect("one in the file");
    assert_same_vae(&config, &expected("vae"));
    same("vae", &weights);
    let vae = AutoencoderKl::new(&weights.root(), &config).unwrap_or_else(|e| panic!("{e}"));
    weights.finish(&[]).unwrap_or_else(|e| panic!("{e}"));

    let mut added = None;
    let parts = [
        ("text_encoder", Some(file.text_encoder(CPU, Kind::Float).expect("a text encoder"))),
        ("text_encoder_2", file.text_encoder_2(CPU, Kind::Float).expect("a text encoder or none")),
    ];
    for (part, found) in parts {
        assert_eq!(found.is_some(), json["configs"].get(part).is_some(), "{part}");
        let Some((config, weights)) = found else { continue };
        assert_same_text(&config, &expected(part));
        same(part, &weights);
        let model = text_model((config, weights));
        let output = model.forward(&golden.get("ids"), true).unwrap_or_else(|e| panic!("{e}"));
        let get = |what: &str| golden.get(&format!("{part}.{what}"));
        assert_close(part, &output.last_hidden_state, &get("last"), TOLERANCE);
        assert_close(part, output.hidden_state(1).expect("a state"), &get("penultimate"), TOLERANCE);
        if let Some(embeds) = output.text_embeds {
            assert_close(part, &embeds, &get("embeds"), TOLERANCE);
            added = Some(AddedCondition { text_embeds: embeds, time_ids: golden.get("time_ids") });
        }
    }
    let cross = unet.cross_kv(&Condition { text: golden.get("text"), identities: vec![] });
    let noise = unet.forward(&golden.get("sample"), &golden.get("timesteps"), &cross, added.as_ref(), None);
    assert_close("unet", &noise, &golden.get("unet"), TOLERANCE);
    let mean = vae.encode(&golden.get("pixels")).mean;
    assert_close("vae.encode", &mean, &golden.get("vae.mean"), TOLERANCE);
    let pixels = vae.decode(&golden.get("sample").narrow(0, 0, 1));
    assert_close("vae.decode", &pixels, &golden.get("vae.decoded"), TOLERANCE);
    file
}

#[test]
fn sd_1() {
    let file = compare("sd1.safetensors", &SingleFileOptions::default());
    assert_eq!(file.kind().to_string(), "Stable Diffusion 1.x");
    assert_eq!(file.scheduler().kind().expect("a scheduler"), SchedulerKind::Pndm);
}

#[test]
fn sd_2_in_a_training_checkpoint_without_its_last_text_layer() {
    let file = compare("sd2.ckpt", &asked(Prediction::V));
    assert_eq!(file.kind().to_string(), "Stable Diffusion 2.x (v-prediction)");
    assert_eq!(file.kind().prediction_source, PredictionSource::Asked);
    // Its number of training steps is that of the base model, which predicts noise.
    let (_dir, path) = tiny("sd2.ckpt");
    let file = open(&path, &SingleFileOptions::default());
    assert_eq!(file.kind().to_string(), "Stable Diffusion 2.x (epsilon)");
    assert_eq!(file.kind().prediction_source, PredictionSource::GlobalStep);
    assert_eq!(file.unet(CPU, Kind::Float).expect("a U-Net").0.sample_size, Some(64));
}

#[test]
fn sdxl_with_two_text_encoders() {
    let file = compare("sdxl.safetensors", &SingleFileOptions::default());
    assert_eq!(file.kind().to_string(), "Stable Diffusion XL");
    assert_eq!(file.scheduler().kind().expect("a scheduler"), SchedulerKind::Euler);
}

/// Keys and shapes of a file, which then holds zeros that take no space on disk.
#[derive(Clone)]
struct Sparse {
    tensors: BTreeMap<String, Vec<i64>>,
    metadata: BTreeMap<String, String>,
}

impl Sparse {
    /// A published checkpoint.
    fn published(name: &str) -> (Self, Value) {
        let json: Value =
            serde_json::from_slice(&unpacked(&format!("published/{name}.json.gz"))).expect("JSON");
        let tensors = serde_json::from_value(json["file"].clone()).expect("keys and shapes");
        (Self { tensors, metadata: BTreeMap::new() }, json["parts"].clone())
    }

    fn of(keys: &[&str]) -> Self {
        let tensors = keys.iter().map(|key| (key.to_string(), vec![2])).collect();
        Self { tensors, metadata: BTreeMap::new() }
    }

    fn write(&self, file: &Path) {
        let mut header = serde_json::Map::new();
        let mut at = 0;
        for (key, shape) in &self.tensors {
            let end = at + 2 * shape.iter().product::<i64>();
            header.insert(key.clone(), json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}));
            at = end;
        }
        header.insert("__metadata__".into(), json!(self.metadata));
        let header = Value::Object(header).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        fs::write(file, &bytes).expect("a file");
        let whole = fs::OpenOptions::new().write(true).open(file).expect("the file");
        whole.set_len(bytes.len() as u64 + at as u64).expect("a longer file");
    }

    fn open(&self, options: &SingleFileOptions) -> Result<SingleFile, SingleFileError> {
        let dir = temporary();
        let file = dir.path().join("model.safetensors");
        self.write(&file);
        // The map outlives the name.
        SingleFile::open(&file, options)
    }

    fn refused(&self, says: &[&str]) {
        let Err(error) = self.open(&SingleFileOptions::default()) else { panic!("was opened: {says:?}") };
        let message = error.to_string();
        println!("{message}");
        for word in says.iter().chain(&["model.safetensors"]) {
            assert!(message.contains(word), "\"{word}\" is not in: {message}");
        }
    }
}

fn assert_keys(part: &str, weights: &Weights, expected: &Value) {
    let expected: BTreeMap<String, Vec<i64>> =
        serde_json::from_value(expected.clone()).unwrap_or_else(|e| panic!("{part}: {e}"));
    assert_eq!(weights.keys(), expected.keys().cloned().collect::<Vec<_>>(), "{part}");
    for (key, shape) in expected {
        assert_eq!(weights.shape(&key), Some(shape), "{part}: {key}");
    }
}

#[test]
fn published_checkpoints_at_full_size() {
    for (name, options, kind) in [
        ("sd15", SingleFileOptions::default(), "Stable Diffusion 1.x"),
        ("sd21", SingleFileOptions::default(), "Stable Diffusion 2.x (v-prediction)"),
        ("sdxl", SingleFileOptions::default(), "Stable Diffusion XL"),
    ] {
        let (sparse, parts) = Sparse::published(name);
        let file = sparse.open(&options).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(file.kind().to_string(), kind);
        assert_eq!(file.kind().prediction_source, PredictionSource::Usual);
        let config = |part: &str| {
            let configs: Value = parts.as_object().map_or(Value::Null, |parts| {
                parts.iter().map(|(name, part)| (name.clone(), part["config"].clone())).collect()
            });
            published_config(&configs, part)
        };
        let (unet, weights) = file.unet(CPU, Kind::Half).expect("a U-Net");
        assert_same_unet(&unet, &config("unet"));
        assert_keys("unet", &weights, &parts["unet"]["shapes"]);
        let (vae, weights) = file.vae(CPU, Kind::Half).expect("an autoencoder").expect("one in the file");
        assert_same_vae(&vae, &config("vae"));
        assert_keys("vae", &weights, &parts["vae"]["shapes"]);
        let (text, weights) = file.text_encoder(CPU, Kind::Half).expect("a text encoder");
        assert_same_text(&text, &config("text_encoder"));
        assert_keys("text_encoder", &weights, &parts["text_encoder"]["shapes"]);
        let second = file.text_encoder_2(CPU, Kind::Half).expect("a text encoder or none");
        assert_eq!(second.is_some(), name == "sdxl");
        if let Some((text, weights)) = second {
            assert_same_text(&text, &config("text_encoder_2"));
            assert_keys("text_encoder_2", &weights, &parts["text_encoder_2"]["shapes"]);
            assert!(text.has_projection());
        }
        // The vocabulary is CLIP's; the padding differs.
        let tokenizer = file.tokenizer().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((tokenizer.vocab_size(), tokenizer.model_max_length()), (49408, Some(77)));
        assert_eq!(tokenizer.pad_id(), if name == "sd21" { 0 } else { 49407 });
        let second = file.tokenizer_2().unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(second.map(|t| t.pad_id()), (name == "sdxl").then_some(0));
    }
}

#[test]
fn inpainting_is_known_by_nine_channels() {
    const KEY: &str = "model.diffusion_model.input_blocks.0.0.weight";
    for (name, kind, scheduler) in [
        ("sd15", "Stable Diffusion 1.x inpainting", SchedulerKind::Ddim),
        ("sd21", "Stable Diffusion 2.x inpainting (epsilon)", SchedulerKind::Ddim),
        ("sdxl", "Stable Diffusion XL inpainting", SchedulerKind::Euler),
    ] {
        let (mut sparse, _) = Sparse::published(name);
        sparse.tensors.insert(KEY.into(), vec![320, 9, 3, 3]);
        let file = sparse.open(&SingleFileOptions::default()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(file.kind().to_string(), kind);
        assert!(file.kind().inpainting);
        assert_eq!(file.unet(CPU, Kind::Float).expect("a U-Net").0.in_channels, 9);
        assert_eq!(file.scheduler().kind().expect("a scheduler"), scheduler);
        for (channels, says) in [(8, "InstructPix2Pix"), (5, "depth"), (7, "7 input channels")] {
            sparse.tensors.insert(KEY.into(), vec![320, channels, 3, 3]);
            sparse.refused(&[says]);
        }
    }
}

#[test]
fn what_the_model_predicts() {
    use {Prediction::*, PredictionSource::*};
    let (sd1, _) = Sparse::published("sd15");
    let (sd2, _) = Sparse::published("sd21");
    let (sdxl, _) = Sparse::published("sdxl");
    let with = |sparse: &Sparse, key: &str, value: &str| {
        let mut sparse = sparse.clone();
        sparse.metadata.insert(key.into(), value.into());
        sparse
    };
    let mut marked = sdxl.clone();
    marked.tensors.extend([("v_pred".to_string(), vec![0]), ("ztsnr".to_string(), vec![0])]);
    let (type_key, architecture) = ("modelspec.prediction_type", "modelspec.architecture");
    for (what, sparse, options, prediction, source) in [
        ("sd1", &sd1, None, Epsilon, Usual),
        ("sd1, asked", &sd1, Some(V), V, Asked),
        ("sd2", &sd2, None, V, Usual),
        ("sd2, asked", &sd2, Some(Epsilon), Epsilon, Asked),
        ("sd2, type", &with(&sd2, type_key, "epsilon"), None, Epsilon, Metadata),
        ("sd2, type v", &with(&sd2, type_key, "v"), None, V, Metadata),
        ("sd2, base", &with(&sd2, architecture, "stable-diffusion-v2-512"), None, Epsilon, Metadata),
        ("sd2, 768", &with(&sd2, architecture, "stable-diffusion-v2-768-v"), None, V, Metadata),
        ("sd2, other metadata", &with(&sd2, architecture, "something"), None, V, Usual),
        ("sdxl", &sdxl, None, Epsilon, Usual),
        ("sdxl, type", &with(&sdxl, type_key, "v"), None, V, Metadata),
        ("sdxl, marked", &marked, None, V, Marker),
        ("sdxl, marked but asked", &marked, Some(Epsilon), Epsilon, Asked),
    ] {
        let options = SingleFileOptions { prediction: options, tokenizer: None };
        let file = sparse.open(&options).unwrap_or_else(|e| panic!("{what}: {e}"));
        assert_eq!((file.kind().prediction, file.kind().prediction_source), (prediction, source), "{what}");
        let scheduler = file.scheduler();
        let expected = if prediction == V { PredictionType::VPrediction } else { PredictionType::Epsilon };
        assert_eq!(scheduler.prediction_type().expect("a prediction"), expected, "{what}");
        imagine_pipeline::schedulers::build(&scheduler, 4).unwrap_or_else(|e| panic!("{what}: {e}"));
        if what == "sdxl, marked" {
            assert!(file.kind().zero_terminal_snr && file.kind().base == BaseModel::Sdxl);
        }
    }
}

#[test]
fn every_key_must_belong_to_a_part() {
    let (sparse, _) = Sparse::published("sd15");
    for extra in [
        "model.diffusion_model.output_blocks.12.0.in_layers.0.weight",
        "model.diffusion_model.input_blocks.1.0.skip_connection.weight",
        "model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn3.to_q.weight",
        "first_stage_model.encoder.down.0.attn.0.q.weight",
        "cond_stage_model.transformer.text_model.encoder.layers.0.extra",
        "something",
    ] {
        let mut sparse = sparse.clone();
        sparse.tensors.insert(extra.into(), vec![2]);
        sparse.refused(&[extra, "Stable Diffusion 1.x"]);
    }
    // Known leftovers are no fault.
    let mut more = sparse.clone();
    for extra in [
        "model_ema.diffusion_modelinput_blocks00weight",
        "model_ema.num_updates",
        "betas",
        "alphas_cumprod_prev",
        "sqrt_recipm1_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "posterior_mean_coef1",
        "first_stage_model.loss.discriminator.main.0.weight",
        "cond_stage_model.transformer.text_model.embeddings.position_ids",
        "cond_stage_model.logit_scale",
        "scale_factor",
        "global_step",
    ] {
        more.tensors.insert(extra.into(), vec![2]);
    }
    more.open(&SingleFileOptions::default()).unwrap_or_else(|e| panic!("{e}"));
}

/// Leaving out any single tensor is noticed, and told under the file's own name.
#[test]
fn no_tensor_can_be_left_out() {
    for name in ["sd15", "sd21", "sdxl"] {
        let (whole, _) = Sparse::published(name);
        let is_unused = |key: &str| {
            name == "sd21"
                && (key.contains("resblocks.23.") || key == "cond_stage_model.model.text_projection")
        };
        // Files are written anew each time, so of the many alike not every one is tried.
        for key in whole.tensors.keys().filter(|key| !is_unused(key)).step_by(41) {
            let mut without = whole.clone();
            without.tensors.remove(key);
            without.refused(&[&format!("\"{key}\" is missing")]);
        }
    }
}

#[test]
fn shapes_that_fit_no_model() {
    let (whole, _) = Sparse::published("sdxl");
    let changed = |key: &str, shape: &[i64], says: &[&str]| {
        let mut sparse = whole.clone();
        assert!(sparse.tensors.insert(key.into(), shape.to_vec()).is_some(), "{key}");
        sparse.refused(says);
    };
    changed("model.diffusion_model.label_emb.0.0.weight", &[1280, 1285], &["label_emb.0.0", "1285"]);
    changed("model.diffusion_model.label_emb.0.0.weight", &[1280], &["label_emb.0.0", "[1280]"]);
    changed("conditioner.embedders.1.model.text_projection", &[1280], &["text_projection", "[1280]"]);
    changed("model.diffusion_model.input_blocks.0.0.weight", &[], &["input_blocks.0.0.weight", "[]"]);
    changed("first_stage_model.decoder.conv_in.weight", &[512], &["decoder.conv_in.weight"]);
    // A layer of other depth, as in pruned models.
    let mut pruned = whole.clone();
    pruned.tensors.retain(|key, _| {
        !["4", "5", "6", "7", "8", "9"].iter().any(|n| {
            key.starts_with(&format!("model.diffusion_model.input_blocks.7.1.transformer_blocks.{n}."))
        })
    });
    pruned.refused(&["input_blocks.8.1", "pruned"]);
    // Shapes that only the model notices are told under the file's name.
    let mut sparse = whole.clone();
    let key = "first_stage_model.encoder.mid.attn_1.q.weight";
    sparse.tensors.insert(key.into(), vec![512, 512, 3, 3]);
    let file = sparse.open(&SingleFileOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let message = file.vae(CPU, Kind::Float).map(drop).expect_err("a shape").to_string();
    assert!(message.contains(key) && message.contains("[512, 512, 3, 3]"), "{message}");
}

#[test]
fn other_kinds_of_file_are_named() {
    for (keys, says) in [
        (&["model.diffusion_model.joint_blocks.0.x"][..], &["Stable Diffusion 3"][..]),
        (&["double_blocks.0.img_attn.norm.key_norm.scale"], &["Flux"]),
        (&["model.diffusion_model.double_blocks.0.x"], &["Flux"]),
        (&["conditioner.embedders.0.model.text_projection", "model.diffusion_model.x"], &["refiner", "base"]),
        (&["control_model.time_embed.0.weight"], &["ControlNet"]),
        (&["lora_unet_down_blocks_0.lora_down.weight"], &["LoRA"]),
        (&["image_proj.norm.weight", "ip_adapter.1.to_k_ip.weight"], &["adapter"]),
        (&["down_blocks.0.resnets.0.conv1.weight", "conv_in.weight"], &["diffusers", "model_index.json"]),
        (&["encoder.down.0.block.0.conv1.weight"], &["autoencoder"]),
        (&["text_model.embeddings.token_embedding.weight"], &["text encoder"]),
        (&["a", "b"], &["no U-Net", "model.diffusion_model."]),
        (&["model.diffusion_model.x"], &["no text encoder", "cond_stage_model."]),
        (
            &["model.diffusion_model.x", "cond_stage_model.model.x", "cond_stage_model.transformer.x"],
            &["several models"],
        ),
        (&["model.diffusion_model.x", "edm_mean"], &["EDM"]),
    ] {
        Sparse::of(keys).refused(says);
    }
    // Parts that are missing altogether.
    for (prefix, says) in [("cond_stage_model.", "no text encoder"), ("model.", "no U-Net")] {
        let (mut sparse, _) = Sparse::published("sd15");
        sparse.tensors.retain(|key, _| !key.starts_with(prefix));
        sparse.refused(&[says]);
    }
    let (mut sparse, _) = Sparse::published("sdxl");
    sparse.tensors.retain(|key, _| !key.contains(".label_emb."));
    sparse.refused(&["label_emb"]);
}

#[test]
fn the_oldest_names_of_the_text_encoder() {
    let (mut sparse, parts) = Sparse::published("sd15");
    sparse.tensors =
        sparse.tensors.into_iter().map(|(key, shape)| (key.replace(".text_model.", "."), shape)).collect();
    let file = sparse.open(&SingleFileOptions::default()).unwrap_or_else(|e| panic!("{e}"));
    let (_, weights) = file.text_encoder(CPU, Kind::Half).expect("a text encoder");
    assert_keys("text_encoder", &weights, &parts["text_encoder"]["shapes"]);
}

#[test]
fn clip_splits_prompts_as_its_own_tokenizer_does() {
    let text = fs::read_to_string(fixtures("single_file").join("clip_ids.json")).expect("the fixture");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let vocabulary = Vocabulary::clip().expect("the vocabulary");
    let tokenizer = ClipTokenizer::from_vocabulary(&vocabulary, "<|endoftext|>", 77).expect("a tokenizer");
    for case in &cases {
        let text = case["text"].as_str().expect("a text");
        let ids = tokenizer.text_ids(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(json!(ids), case["ids"], "{text}");
    }
    assert!(cases.len() > 5);
}

#[test]
fn another_vocabulary_needs_its_folder() {
    let (_dir, path) = tiny("sd1.safetensors");
    let file = open(&path, &SingleFileOptions::default());
    let message = file.tokenizer().map(drop).expect_err("twenty tokens are not CLIP's").to_string();
    assert!(message.contains("sd1.safetensors") && message.contains("20 tokens"), "{message}");
    assert!(message.contains("vocab.json") && message.contains("tokenizer"), "{message}");

    let folder = fixtures("tokenizer").join("base");
    let options = SingleFileOptions { prediction: None, tokenizer: Some(folder) };
    let tokenizer = open(&path, &options).tokenizer().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(tokenizer.model_max_length(), Some(5));
    // Or the whole folder of a checkpoint.
    let folder = fixtures("pipeline").join("checkpoint");
    let options = SingleFileOptions { prediction: None, tokenizer: Some(folder) };
    open(&path, &options).tokenizer().unwrap_or_else(|e| panic!("{e}"));
    let options = SingleFileOptions { prediction: None, tokenizer: Some("no/such/folder".into()) };
    let message = open(&path, &options).tokenizer().map(drop).expect_err("no folder").to_string();
    assert!(message.contains("no/such/folder"), "{message}");
}
