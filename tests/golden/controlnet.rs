//! ControlNets against diffusers' `ControlNetModel`, alone and with their U-Net (fixtures by
//! `generate/controlnet.py`).

use std::path::PathBuf;

use imagine_tests::{Golden, assert_close, assert_close_for, device, fixtures, kind};
use imagine_unet::{
    AddedCondition, Condition, ControlNetConfig, ControlNetModel, ControlResiduals, UNet2DConditionModel,
    UNetConfig, Weights,
};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

fn dir(case: &str, part: &str) -> PathBuf {
    fixtures("controlnet").join(case).join(part)
}

fn load(case: &str) -> (UNet2DConditionModel, ControlNetModel) {
    let open = |part: &str| {
        Weights::open_folder(&dir(case, part), device(), kind()).unwrap_or_else(|e| panic!("{case}: {e}"))
    };
    let config = UNetConfig::from_file(&dir(case, "unet/config.json")).expect("the fixture's config");
    let weights = open("unet");
    let unet = UNet2DConditionModel::new(&weights.root(), &config).unwrap_or_else(|e| panic!("{case}: {e}"));
    weights.finish(&[]).unwrap_or_else(|e| panic!("{case}: {e}"));
    let config =
        ControlNetConfig::from_file(&dir(case, "controlnet/config.json")).expect("the fixture's config");
    let weights = open("controlnet");
    let net = ControlNetModel::new(&weights.root(), &config).unwrap_or_else(|e| panic!("{case}: {e}"));
    weights.finish(&[]).unwrap_or_else(|e| panic!("{case}: {e}"));
    net.config().check_base(unet.config()).expect("made for each other");
    (unet, net)
}

fn condition(text: Tensor) -> Condition {
    Condition { text, identities: Vec::new() }
}

/// Against diffusers in f32, up to `amplified` times the rounding that is usual where the tests compute.
fn compare(case: &str, amplified: f64) {
    let (unet, net) = load(case);
    let golden = Golden::here("controlnet", &format!("{case}/io.safetensors"));
    for size in ["even", "odd"] {
        let get = |name: &str| golden.get(&format!("{size}.{name}"));
        let sample = get("sample");
        let added = golden
            .names()
            .contains(&format!("{size}.time_ids"))
            .then(|| AddedCondition { text_embeds: get("text_embeds"), time_ids: get("time_ids") });
        let picture = get("picture").to_kind(Kind::Float) / 255.0;
        let latents = (sample.size()[2], sample.size()[3]);
        let picture = net.embed_picture(&picture, latents).expect("a picture of the latents' size");
        let own = net.cross_kv(&condition(get("tokens")));
        let text = unet.cross_kv(&condition(get("text")));
        let run = |scale: f64| -> ControlResiduals {
            net.forward(&sample, &get("timesteps"), &own, added.as_ref(), &picture, scale)
        };
        let residuals = run(0.6);
        if size == "even" {
            assert_close(&format!("{case}: middle"), &residuals.mid, &get("mid"), TOLERANCE);
            let count = golden.names().iter().filter(|n| n.starts_with("even.down.")).count();
            assert_eq!(residuals.down.len(), count, "kept feature maps");
            for (i, made) in residuals.down.iter().enumerate() {
                assert_close(&format!("{case}: map {i}"), made, &get(&format!("down.{i}")), TOLERANCE);
            }
        }
        for (scale, residuals) in [("1.0", run(1.0)), ("0.6", residuals)] {
            let output = unet.forward(&sample, &get("timesteps"), &text, added.as_ref(), Some(&residuals));
            let what = format!("{case}, {size}, scale {scale}");
            assert_close_for(&what, &output, &get(&format!("output.{scale}")), TOLERANCE, amplified);
        }
    }
}

#[test]
fn sd_1() {
    compare("sd1", 1.0);
}

#[test]
fn sdxl_with_pooled_text_sizes_and_deep_transformers() {
    compare("sdxl", 1.0);
}

#[test]
fn blue_first_and_a_middle_without_attention() {
    // Two channels in two groups: each is normalised by itself, and little is left of it. diffusers' own output in bf16
    // is 0.46 of the largest value from its output in f32, that in f16 0.02.
    compare("bgr", 2.5);
}

#[test]
fn the_parts_of_two_people_make_the_whole() {
    let (_, net) = load("sd1");
    let golden = Golden::here("controlnet", "sd1/io.safetensors");
    let get = |name: &str| golden.get(&format!("even.{name}"));
    let picture = get("picture").to_kind(Kind::Float) / 255.0;
    let picture = net.embed_picture(&picture, (8, 4)).expect("a picture of the latents' size");
    let own = net.cross_kv(&condition(get("tokens")));
    let whole = net.forward(&get("sample"), &get("timesteps"), &own, None, &picture, 1.0);
    let above = Tensor::cat(
        &[
            Tensor::ones([1, 1, 5, 4], (Kind::Float, device())),
            Tensor::zeros([1, 1, 3, 4], (Kind::Float, device())),
        ],
        2,
    ); // [1, 1, 8, 4]
    let first = whole.within(&above);
    let joined = first.plus(&whole.within(&(above.ones_like() - &above)));
    assert_close("middle", &joined.mid, &whole.mid, 1e-6);
    for (a, b) in joined.down.iter().zip(&whole.down) {
        assert_close("map", a, b, 1e-6);
    }
    assert_eq!(joined.down.len(), whole.down.len());
    let rows = |from: i64, count: i64| first.down[0].narrow(2, from, count).abs().max().double_value(&[]);
    assert!(rows(0, 5) > 0.0 && rows(5, 3) == 0.0, "only above");
    // A row of the lower map covers two of the latents: the third is half the first person's.
    let low = whole.down.last().expect("a map").size()[2];
    assert_eq!(low, 4);
    assert_close("half", &first.mid.narrow(2, 2, 1), &(whole.mid.narrow(2, 2, 1) * 0.5), 1e-6);
}

#[test]
fn a_picture_of_another_size_is_refused_with_both() {
    let (_, net) = load("sd1");
    for shape in [[1, 3, 64, 40], [1, 4, 64, 32], [0, 3, 64, 32]] {
        let picture = Tensor::zeros(shape, (Kind::Float, device()));
        let error =
            net.embed_picture(&picture, (8, 4)).expect_err("8 × 4 cells are 64 × 32 pixels").to_string();
        assert!(error.contains(&format!("{shape:?}")) && error.contains("[rows, 3, 64, 32]"), "{error}");
    }
    let flat = Tensor::zeros([3, 64, 32], (Kind::Float, device()));
    assert!(net.embed_picture(&flat, (8, 4)).is_err(), "no rows");
}

#[test]
fn a_controlnet_of_another_base_is_refused_by_key() {
    let (unet, _) = load("sd1");
    let (_, other) = load("sdxl");
    let refused =
        |config: &ControlNetConfig| config.check_base(unet.config()).expect_err("another").to_string();
    let error = refused(other.config());
    assert!(error.contains("layers_per_block") && error.contains("[1, 1]"), "{error}");
    assert!(error.contains("[2, 2]"), "{error}");
    let mut narrow = load("sd1").1.config().clone();
    narrow.network.block_out_channels = vec![4, 8];
    let error = refused(&narrow);
    assert!(error.contains("block_out_channels") && error.contains("[4, 8]"), "{error}");
}

#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let file = dir("sd1", "controlnet/config.json");
    let text = std::fs::read_to_string(&file).expect("the fixture's config");
    let base: Value = serde_json::from_str(&text).expect("the fixture's config is JSON");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let changed = folder.path().join("config.json");
    let read = |key: &str, value: Value| {
        let mut config = base.clone();
        config[key] = value;
        std::fs::write(&changed, config.to_string()).expect("a writable folder");
        ControlNetConfig::from_file(&changed).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(read("upcast_attention", json!(null)), Ok(()));
    assert_eq!(read("up_block_types", json!(["Unknown"])), Ok(()), "a key that ControlNets do not have");
    for (key, value) in [
        ("controlnet_conditioning_channel_order", json!("gbr")),
        ("conditioning_embedding_out_channels", json!([])),
        ("conditioning_embedding_out_channels", json!([4, 0])),
        ("conditioning_channels", json!(0)),
        ("global_pool_conditions", json!(true)),
        ("mid_block_type", json!(null)),
        ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("down_block_types", json!(["CrossAttnDownBlock2D"])),
        ("addition_embed_type", json!("text")),
        ("class_embed_type", json!("timestep")),
        ("encoder_hid_dim", json!(8)),
        ("attention_head_dim", json!(3)),
    ] {
        let shown = value.to_string();
        let message = read(key, value).expect_err(&format!("{key} = {shown}"));
        assert!(message.contains(key), "{key} = {shown}: {message}");
    }
}

#[test]
fn gradients_reach_every_weight() {
    tch::manual_seed(5);
    let config = ControlNetConfig::from_file(&dir("sd1", "controlnet/config.json")).expect("the config");
    let weights = Weights::fresh(device(), kind());
    let net = ControlNetModel::new(&weights.root(), &config).expect("the fixture's config");
    let (unet, _) = load("sd1");
    let golden = Golden::here("controlnet", "sd1/io.safetensors");
    let get = |name: &str| golden.get(&format!("even.{name}"));
    let picture = get("picture").to_kind(Kind::Float) / 255.0;
    let picture = net.embed_picture(&picture, (8, 4)).expect("a picture of the latents' size");
    let own = net.cross_kv(&condition(get("tokens")));
    let residuals = net.forward(&get("sample"), &get("timesteps"), &own, None, &picture, 0.5);
    let text = unet.cross_kv(&condition(get("text")));
    let output = unet.forward(&get("sample"), &get("timesteps"), &text, None, Some(&residuals));
    output.square().mean(Kind::Float).backward();
    for (key, tensor) in weights.parameters() {
        let gradient = tensor.grad();
        assert!(gradient.defined(), "{key} has no gradient");
        let size = gradient.abs().sum(Kind::Float).double_value(&[]);
        assert!(size.is_finite() && size > 0.0, "{key}: gradient {size}");
    }
}
