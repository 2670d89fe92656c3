//! Several people in one picture: parallel attention with regions against diffusers' attention processor and
//! its masks (fixtures by `generate/regions.py`).

use imagine_tests::{Golden, assert_close, device, fixtures, kind, relative_error};
use imagine_unet::{Condition, CrossKv, IdentityTokens, UNet2DConditionModel, UNetConfig, Weights};
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;
const SIZES: [&str; 3] = ["upright", "wide", "odd"];

fn config() -> UNetConfig {
    UNetConfig::from_file(&fixtures("regions").join("unet/config.json")).expect("the fixture's config")
}

fn load() -> UNet2DConditionModel {
    let dir = fixtures("regions");
    let weights = Weights::open_folder(&dir.join("unet"), device(), kind()).expect("the fixture's U-Net");
    let mut unet = UNet2DConditionModel::new(&weights.root(), &config()).expect("the fixture's U-Net");
    weights.finish(&[]).expect("no other tensors");
    let adapter =
        Weights::open(&[dir.join("adapter.safetensors")], device(), kind()).expect("the fixture's adapter");
    unet.attach_identity(&(&adapter.root() / "ip_adapter")).expect("the fixture's adapter");
    adapter.finish(&[]).expect("no other tensors");
    unet
}

/// One person's tokens [B, T, C] and mask [1, 1, h, w], the same strength in all rows.
fn person(io: &Golden, index: i64, masks: Option<&str>, scale: f64) -> IdentityTokens {
    let tokens = io.get("tokens").select(1, index); // [B, T, C]
    IdentityTokens {
        scale: Tensor::full([tokens.size()[0]], scale, (Kind::Float, device())),
        region: masks.map(|name| io.get(&format!("masks.{name}")).narrow(1, index, 1)),
        tokens,
    }
}

fn evaluate(unet: &UNet2DConditionModel, io: &Golden, cross: &CrossKv) -> Tensor {
    unet.forward(&io.get("sample"), &io.get("timesteps"), cross, None, None)
}

fn draw(unet: &UNet2DConditionModel, io: &Golden, identities: Vec<IdentityTokens>) -> Tensor {
    evaluate(unet, io, &unet.cross_kv(&Condition { text: io.get("text"), identities }))
}

#[test]
fn each_person_acts_in_its_region() {
    let unet = load();
    for size in SIZES {
        let io = Golden::here("regions", &format!("{size}.safetensors"));
        for masks in ["picture", "latents"] {
            for (name, scales) in [("both", [0.7, 1.2]), ("second", [0.0, 0.9])] {
                let people = (0i64..).zip(scales).map(|(i, scale)| person(&io, i, Some(masks), scale));
                let output = draw(&unet, &io, people.collect());
                let what = format!("{size}, masks of the {masks}, {name}");
                assert_close(&what, &output, &io.get(&format!("output.{masks}.{name}")), TOLERANCE);
            }
        }
    }
}

#[test]
fn references_of_one_person_join_their_tokens() {
    let unet = load();
    for size in SIZES {
        let io = Golden::here("regions", &format!("{size}.safetensors"));
        let mut joined = person(&io, 0, None, 0.8);
        joined.tokens = io.get("tokens").flatten(1, 2); // [B, 2·T, C]
        assert_close(size, &draw(&unet, &io, vec![joined]), &io.get("output.joined"), TOLERANCE);
    }
}

#[test]
fn each_row_has_strengths_of_its_own() {
    let unet = load();
    let io = Golden::here("regions", "wide.safetensors");
    let people = || [0, 1].map(|i| person(&io, i, Some("picture"), 1.0));
    let all = draw(&unet, &io, people().into());
    let [mut first, second] = people();
    first.scale = Tensor::from_slice(&[1.0f32, 0.0, 1.0]).to_device(device());
    let one_off = draw(&unet, &io, vec![first, second]);
    let row = |t: &Tensor, i: i64| t.narrow(0, i, 1);
    for i in [0, 2] {
        assert_close("a row as before", &row(&one_off, i), &row(&all, i), 1e-6);
    }
    let changed = relative_error(&row(&one_off, 1), &row(&all, 1));
    assert!(changed > 0.01, "the row without its first person must change: {changed}");
}

#[test]
fn scales_change_between_steps_without_new_keys() {
    let unet = load();
    for size in SIZES {
        let io = Golden::here("regions", &format!("{size}.safetensors"));
        let people = |scales: [f64; 2]| -> Vec<IdentityTokens> {
            (0i64..).zip(scales).map(|(i, scale)| person(&io, i, Some("picture"), scale)).collect()
        };
        let cross = unet.cross_kv(&Condition { text: io.get("text"), identities: people([0.3, 0.1]) });
        for (name, scales) in [("both", [0.7, 1.2]), ("second", [0.0, 0.9])] {
            let output = evaluate(&unet, &io, &cross.with_identity_scales(&scales));
            assert_close(name, &output, &io.get(&format!("output.picture.{name}")), TOLERANCE);
        }
        let off = evaluate(&unet, &io, &cross.with_identity_scales(&[0.0, 0.0]));
        assert_close("both off", &off, &io.get("output.nobody"), TOLERANCE);
        let first = evaluate(&unet, &io, &cross.with_identity_scales(&[0.7]));
        assert_close("one left as it was", &first, &draw(&unet, &io, people([0.7, 0.1])), 1e-6);
        assert_close(
            "the first condition",
            &evaluate(&unet, &io, &cross),
            &draw(&unet, &io, people([0.3, 0.1])),
            0.0,
        );
    }
}

#[test]
fn an_identity_that_is_off_is_not_computed() {
    let unet = load();
    let io = Golden::here("regions", "upright.safetensors");
    // NaN would spoil the sum if it were touched, 0 · NaN included.
    let mut nobody = person(&io, 0, None, 0.0);
    nobody.tokens = &nobody.tokens * f64::NAN;
    assert_close("off", &draw(&unet, &io, vec![nobody]), &io.get("output.nobody"), TOLERANCE);
}

#[test]
fn joined_rows_keep_their_regions() {
    let unet = load();
    let io = Golden::here("regions", "odd.safetensors");
    let people = || vec![person(&io, 0, Some("picture"), 0.7), person(&io, 1, Some("picture"), 1.2)];
    let cross = unet.cross_kv(&Condition { text: io.get("text"), identities: people() });
    let twice = |t: &Tensor| Tensor::cat(&[t, t], 0);
    let (sample, timesteps) = (twice(&io.get("sample")), twice(&io.get("timesteps")));
    let expected = twice(&io.get("output.picture.both"));
    let output = unet.forward(&sample, &timesteps, &CrossKv::join(&[&cross, &cross]), None, None);
    assert_close("one region for all rows", &output, &expected, TOLERANCE);
    let mut each = people();
    for one in &mut each {
        one.region = one.region.as_ref().map(|r| r.repeat([3, 1, 1, 1]));
    }
    let cross = unet.cross_kv(&Condition { text: io.get("text"), identities: each });
    let output = unet.forward(&sample, &timesteps, &CrossKv::join(&[&cross, &cross]), None, None);
    assert_close("a region for each row", &output, &expected, TOLERANCE);
}

#[test]
fn gradients_reach_every_weight() {
    tch::manual_seed(3);
    let io = Golden::here("regions", "upright.safetensors");
    let [base, adapter] = std::array::from_fn(|_| Weights::fresh(device(), kind()));
    let mut unet = UNet2DConditionModel::new(&base.root(), &config()).expect("the fixture's config");
    unet.attach_identity(&adapter.root()).expect("fresh weights");
    // A fresh adapter starts with values of zero, through which no gradient reaches its keys.
    for tensor in adapter.parameters().values() {
        let _guard = tch::no_grad_guard();
        tensor.shallow_clone().copy_(&(tensor.randn_like() * 0.5));
    }
    let people = vec![person(&io, 0, Some("latents"), 0.7), person(&io, 1, Some("latents"), 1.2)];
    draw(&unet, &io, people).square().mean(Kind::Float).backward();
    for (key, tensor) in base.parameters().iter().chain(&adapter.parameters()) {
        let gradient = tensor.grad();
        assert!(gradient.defined(), "{key} has no gradient");
        let size = gradient.abs().sum(Kind::Float).double_value(&[]);
        assert!(size.is_finite() && size > 0.0, "{key}: gradient {size}");
    }
}
