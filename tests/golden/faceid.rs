//! The FaceID adapter against a reference on diffusers' U-Net (fixtures by `generate/faceid.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imagine_identity::adapters::{Adapter, AdapterError, AdapterOptions, Combine, ReferenceFeatures};
use imagine_tests::{Golden, assert_close, assert_close_for, device, fixtures, kind, relative_error};
use imagine_unet::unet_2d_condition::attention_layers;
use imagine_unet::{Condition, IdentityTokens, UNet2DConditionModel, UNetConfig, Weights};
use tch::Tensor;

use crate::broken_files::{Stored, read_safetensors, write_safetensors};

const TOLERANCE: f64 = 1e-5;

fn config() -> UNetConfig {
    UNetConfig::from_file(&fixtures("faceid").join("unet/config.json")).expect("the fixture's config")
}

fn published(name: &str) -> PathBuf {
    fixtures("faceid").join(format!("{name}.safetensors"))
}

/// Opens an adapter that puts several references side by side.
fn open(file: &Path) -> Result<Adapter, AdapterError> {
    let options = AdapterOptions { combine: Some(Combine::Concatenate), ..AdapterOptions::default() };
    Adapter::open(file, &options, device(), kind())
}

/// The tiny U-Net with an adapter, in the order in which a checkpoint is loaded.
fn load(file: &Path, config: &UNetConfig) -> Result<(Adapter, UNet2DConditionModel), AdapterError> {
    let adapter = open(file)?;
    let weights = Weights::open_folder(&fixtures("faceid").join("unet"), device(), kind())?;
    adapter.merge_lora(&weights, config)?;
    let mut unet = UNet2DConditionModel::new(&weights.root(), config).expect("the fixture's U-Net");
    weights.finish(&[])?;
    adapter.attach(&mut unet)?;
    Ok((adapter, unet))
}

fn refusal(file: &Path, config: &UNetConfig) -> String {
    load(file, config).map(drop).expect_err("this adapter must be refused").to_string()
}

fn evaluate(unet: &UNet2DConditionModel, io: &Golden, identity: Option<(Tensor, &[f32])>) -> Tensor {
    let identities = identity.into_iter().map(|(tokens, scale)| IdentityTokens {
        tokens,
        scale: Tensor::from_slice(scale).to_device(device()),
        region: None,
    });
    let cross = unet.cross_kv(&Condition { text: io.get("text"), identities: identities.collect() });
    unet.forward(&io.get("sample"), &io.get("timesteps"), &cross, None, None)
}

fn compare(name: &str, width: i64, count: i64) {
    let io = Golden::here("faceid", "io.safetensors");
    let (adapter, unet) = load(&published(name), &config()).unwrap_or_else(|e| panic!("{name}: {e}"));
    let get = |what: &str| io.get(&format!("{name}.{what}"));
    assert_eq!((adapter.needs().embedding_width, adapter.cross_dim()), (Some(width), 6));
    let embeddings = get("embeddings");
    let references: Vec<ReferenceFeatures> = (0..embeddings.size()[0])
        .map(|row| ReferenceFeatures {
            embedding: Some(embeddings.narrow(0, row, 1)),
            ..ReferenceFeatures::default()
        })
        .collect();
    let tokens = adapter.tokens(&references).expect("embeddings of the right width"); // [1, B·T, C]
    let tokens = tokens.view([-1, count, 6]); // [B, T, C]
    assert_close("tokens", &tokens, &get("tokens"), TOLERANCE);
    let nobody = adapter.unconditional(None, 1).expect("nothing but zeros is needed");
    assert_close("tokens of nobody", &nobody, &get("nobody"), TOLERANCE);
    for (scale, rows) in [("0", [0.0; 3]), ("0.7", [0.7; 3]), ("1", [1.0; 3]), ("rows", [0.0, 0.4, 1.3])] {
        let output = evaluate(&unet, &io, Some((tokens.shallow_clone(), &rows)));
        // With the LoRA alone torch's own output in f16 is 0.0403 from that in f32, as ours is.
        let amplified = if scale == "0" { 2.0 } else { 1.0 };
        let what = format!("{name}, scale {scale}");
        assert_close_for(&what, &output, &get(&format!("output.{scale}")), TOLERANCE, amplified);
    }
    let guided = Tensor::cat(&[tokens.narrow(0, 0, 2), nobody], 0); // [3, T, C]
    let output = evaluate(&unet, &io, Some((guided, &[1.0; 3])));
    assert_close("nobody beside two persons", &output, &get("output.nobody"), TOLERANCE);
}

#[test]
fn arcface_embeddings_and_lora() {
    compare("arcface", 512, 4);
}

#[test]
fn sface_embeddings_and_lora() {
    compare("sface", 128, 4);
}

#[test]
fn the_portrait_variant_has_sixteen_tokens_and_no_lora() {
    compare("portrait", 512, 16);
    let io = Golden::here("faceid", "io.safetensors");
    let (_, unet) = load(&published("portrait"), &config()).expect("the fixture's adapter");
    assert_close("without identity", &evaluate(&unet, &io, None), &io.get("plain"), TOLERANCE);
    let shown = relative_error(&io.get("portrait.output.1"), &io.get("plain"));
    assert!(shown > 0.01, "the identity must show in the fixture: {shown}");
}

#[test]
fn layers_are_numbered_down_up_middle() {
    let file = fixtures("faceid").join("layers.json");
    let text = std::fs::read_to_string(&file).expect("the fixture's list of layers");
    let expected: Vec<String> = serde_json::from_str(&text).expect("a list of names");
    let layers = attention_layers(&config()).expect("the fixture's config");
    assert_eq!(layers.iter().map(|l| l.path.clone()).collect::<Vec<_>>(), expected);
    assert!(layers.iter().all(|l| l.is_cross == l.path.ends_with("attn2")));
}

#[test]
fn another_base_is_refused_with_both_widths() {
    let config = UNetConfig::from_file(&fixtures("unet").join("sd2/config.json")).expect("the config");
    let adapter = open(&published("arcface")).expect("the fixture's adapter");
    let weights =
        Weights::open_folder(&fixtures("unet").join("sd2"), device(), kind()).expect("the fixture's weights");
    let error = adapter.merge_lora(&weights, &config).expect_err("6 is not 10").to_string();
    assert!(error.contains("arcface.safetensors"), "{error}");
    assert!(error.contains("6 wide") && error.contains("10 wide"), "{error}");
}

#[test]
fn embeddings_of_another_face_encoder_are_refused() {
    let adapter = open(&published("sface")).expect("the fixture's adapter");
    assert!(adapter.check_embedding(128).is_ok());
    let error = adapter.check_embedding(512).expect_err("512 is not 128").to_string();
    assert!(error.contains("sface.safetensors") && error.contains("128") && error.contains("512"), "{error}");
}

/// Writes the ArcFace adapter with one change and returns how that is refused.
fn changed(change: impl FnOnce(&mut BTreeMap<String, Stored>)) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("changed.safetensors");
    let mut tensors = read_safetensors(&published("arcface"));
    change(&mut tensors);
    write_safetensors(&file, &tensors);
    let message = refusal(&file, &config());
    assert!(message.contains("changed.safetensors"), "{message}");
    message
}

#[test]
fn damaged_adapters_are_refused_by_file_and_key() {
    let extra = changed(|t| {
        t.insert("ip_adapter.99.to_k_ip.weight".into(), Stored::zeros(&[2, 2]));
    });
    assert!(extra.contains("ip_adapter.99.to_k_ip.weight") && extra.contains("do not belong"), "{extra}");
    let extra = changed(|t| {
        t.insert("ip_adapter.0.to_k_ip.weight".into(), Stored::zeros(&[4, 6]));
    });
    assert!(extra.contains("ip_adapter.0.to_k_ip.weight"), "self-attention has no identity: {extra}");
    for key in ["ip_adapter.3.to_v_ip.weight", "image_proj.norm.weight", "image_proj.proj.2.bias"] {
        let missing = changed(|t| drop(t.remove(key)));
        assert!(missing.contains(key), "{missing}");
    }
    for name in ["to_q", "to_k", "to_v", "to_out"] {
        for part in ["down", "up"] {
            let key = format!("ip_adapter.2.{name}_lora.{part}.weight");
            let missing = changed(|t| drop(t.remove(&key)));
            assert!(missing.contains(&format!("ip_adapter.2.{name}_lora")), "{key}: {missing}");
        }
    }
    let shape = changed(|t| {
        t.insert("ip_adapter.1.to_k_ip.weight".into(), Stored::zeros(&[4, 7]));
    });
    assert!(shape.contains("ip_adapter.1.to_k_ip.weight"), "{shape}");
    assert!(shape.contains("[4, 7], expected [4, 6]"), "{shape}");
    let lora = changed(|t| {
        t.insert("ip_adapter.1.to_k_lora.up.weight".into(), Stored::zeros(&[4, 9]));
    });
    assert!(lora.contains("ip_adapter.1.to_k_lora.up.weight") && lora.contains("[4, 3]"), "{lora}");
    let flat = changed(|t| {
        t.insert("ip_adapter.1.to_k_lora.down.weight".into(), Stored::zeros(&[18]));
    });
    assert!(flat.contains("ip_adapter.1.to_k_lora.down.weight") && flat.contains("[18]"), "{flat}");
    let tokens = changed(|t| {
        t.insert("image_proj.proj.2.weight".into(), Stored::zeros(&[25, 12]));
    });
    assert!(tokens.contains("image_proj") && tokens.contains("25"), "{tokens}");
}

#[test]
fn a_plus_adapter_without_most_of_its_resampler_is_refused() {
    let message = changed(|t| {
        t.insert("image_proj.perceiver_resampler.proj_in.weight".into(), Stored::zeros(&[6, 8]));
    });
    assert!(message.contains("image_proj.perceiver_resampler.proj_out.weight"), "{message}");
}

#[test]
fn what_is_no_adapter_is_refused() {
    let unet = fixtures("faceid").join("unet/diffusion_pytorch_model.safetensors");
    let message = refusal(&unet, &config());
    assert!(message.contains("not an identity adapter") && message.contains("image_proj"), "{message}");
    let message = refusal(&fixtures("faceid").join("layers.json"), &config());
    assert!(message.contains("layers.json") && message.contains("index of shards"), "{message}");
    let message = refusal(Path::new("no/such/adapter.safetensors"), &config());
    assert!(message.contains("no/such/adapter.safetensors"), "{message}");
}
