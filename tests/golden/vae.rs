//! The autoencoder against diffusers' `AutoencoderKL` (fixtures by `generate/vae.py`).

use imagine_tests::{Golden, assert_close, device, fixtures, kind, relative_error};
use imagine_unet::{AutoencoderKl, AutoencoderKlConfig, Weights, WeightsError};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

fn load_file(case: &str, file: &str, kind: Kind) -> AutoencoderKl {
    let dir = fixtures("vae").join(case);
    let fail = |e: &dyn std::fmt::Display| -> ! { panic!("{case}: {e}") };
    let config = AutoencoderKlConfig::from_file(&dir.join("config.json")).unwrap_or_else(|e| fail(&e));
    let weights = Weights::open(&[dir.join(file)], device(), kind).unwrap_or_else(|e| fail(&e));
    let model = AutoencoderKl::new(&weights.root(), &config).unwrap_or_else(|e| fail(&e));
    weights.finish(&[]).unwrap_or_else(|e: WeightsError| fail(&e));
    model
}

fn load(case: &str) -> AutoencoderKl {
    load_file(case, "diffusion_pytorch_model.safetensors", kind())
}

fn golden(case: &str) -> Golden {
    Golden::here("vae", &format!("{case}/io.safetensors"))
}

fn compare_model(model: &AutoencoderKl, golden: &Golden) {
    let latents = model.encode(&golden.get("pixels"));
    assert_close("mean", &latents.mean, &golden.get("mean"), TOLERANCE);
    assert_close("log-variance", &latents.log_variance, &golden.get("log_variance"), TOLERANCE);
    assert_close("divergence", &latents.kl(), &golden.get("kl"), TOLERANCE);
    assert_close("decoded", &model.decode(&golden.get("latents")), &golden.get("decoded"), TOLERANCE);
    let tiled = model.decode_tiled(&golden.get("large"));
    assert_close("tiled", &tiled, &golden.get("tiled"), TOLERANCE);
}

#[test]
fn the_kind_of_sd() {
    compare_model(&load("sd"), &golden("sd"));
}

#[test]
fn attention_under_its_old_names() {
    compare_model(&load_file("sd", "old_names.safetensors", kind()), &golden("sd"));
}

#[test]
fn without_convolutions_on_the_latents() {
    compare_model(&load("no_quant"), &golden("no_quant"));
}

#[test]
fn without_attention_and_with_one_convolution_on_the_latents() {
    compare_model(&load("no_attention"), &golden("no_attention"));
}

#[test]
fn one_tile_is_the_whole_picture() {
    // Tiles of this model are eight cells long and start every six.
    let model = load("sd");
    let latents = golden("sd").get("large").narrow(2, 0, 6).narrow(3, 0, 6);
    assert_close("one tile", &model.decode_tiled(&latents), &model.decode(&latents), 1e-6);
}

#[test]
fn scaling_is_undone() {
    let model = load("no_quant");
    let latents = golden("no_quant").get("latents");
    let scaled = (&latents - 0.1159) * 0.3611;
    assert_close("scaled", &model.scale(&latents), &scaled, 1e-6);
    assert_close("unscaled", &model.unscale(&scaled), &latents, 1e-6);
}

#[test]
fn samples_are_spread_by_the_deviation() {
    let latents = load("sd").encode(&golden("sd").get("pixels"));
    let zero = Tensor::zeros_like(&latents.mean);
    assert_close("no noise", &latents.sample(&zero), &latents.mean, 0.0);
    let spread = latents.sample(&zero.ones_like()) - &latents.mean;
    assert_close("noise of one", &spread.log(), &(&latents.log_variance * 0.5), 1e-4);
}

#[test]
fn bf16_stays_near_f32() {
    let model = load_file("sd", "diffusion_pytorch_model.safetensors", Kind::BFloat16);
    let io = golden("sd");
    let decoded = model.decode(&io.get("latents"));
    assert_eq!(decoded.kind(), Kind::BFloat16);
    let error = relative_error(&decoded, &io.get("decoded"));
    assert!(error < 0.05, "decoded: relative error {error:.3}");
    let tiled = relative_error(&model.decode_tiled(&io.get("large")), &io.get("tiled"));
    assert!(tiled < 0.05, "tiled: relative error {tiled:.3}");
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let file = fixtures("vae").join("sd/config.json");
    let text = std::fs::read_to_string(&file).expect("the fixture's config");
    let base: Value = serde_json::from_str(&text).expect("the fixture's config is JSON");
    let check = |key: &str, value: Value| {
        let mut changed = base.clone();
        changed[key] = value;
        let config: AutoencoderKlConfig = serde_json::from_value(changed).map_err(|e| e.to_string())?;
        config.check().map_err(|e| e.to_string())
    };
    assert_eq!(check("sample_size", json!(512)), Ok(()));
    for (key, value) in [
        ("down_block_types", json!(["DownEncoderBlock2D", "AttnDownEncoderBlock2D"])),
        ("up_block_types", json!(["UpDecoderBlock2D"])),
        ("act_fn", json!("relu")),
        ("block_out_channels", json!([])),
        ("block_out_channels", json!([4, 7])),
        ("norm_num_groups", json!(0)),
        ("layers_per_block", json!(0)),
        ("latent_channels", json!(0)),
        ("scaling_factor", json!(0.0)),
        ("sample_size", json!(0)),
    ] {
        let shown = value.to_string();
        let message = check(key, value).expect_err(&format!("{key} = {shown}"));
        assert!(message.contains(key), "{key} = {shown}: {message}");
    }
}
