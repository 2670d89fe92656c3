//! The CLIP text encoder against transformers' `CLIPTextModel` and `CLIPTextModelWithProjection`.

use imagine_encoders::{ClipTextConfig, ClipTextModel};
use imagine_tests::{Golden, assert_close, device, fixtures, kind};
use imagine_unet::weights::{Weights, WeightsError};
use tch::Kind;

const TOLERANCE: f64 = 1e-5;

fn load(case: &str) -> ClipTextModel {
    ClipTextModel::from_folder(&fixtures("clip_text").join(case), device(), kind())
        .unwrap_or_else(|e| panic!("{case}: {e}"))
}

fn compare(case: &str, layers: usize, projected: bool) {
    let golden = Golden::here("clip_text", &format!("{case}/io.safetensors"));
    let out = load(case).forward(&golden.get("ids"), true).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_close("last hidden state", &out.last_hidden_state, &golden.get("last_hidden_state"), TOLERANCE);
    assert_close("pooled", &out.pooled, &golden.get("pooled"), TOLERANCE);
    assert_eq!(out.hidden_states.len(), layers + 1);
    for (index, state) in out.hidden_states.iter().enumerate() {
        let name = format!("hidden_states.{index}");
        assert_close(&name, state, &golden.get(&name), TOLERANCE);
    }
    assert_eq!(out.text_embeds.is_some(), projected, "{case}: projection");
    if let Some(embeds) = &out.text_embeds {
        assert_close("text embeds", embeds, &golden.get("text_embeds"), TOLERANCE);
    }
}

#[test]
fn openai_kind_saved_without_prefix() {
    compare("quick_gelu", 2, false);
}

#[test]
fn openai_kind_saved_with_prefix_pools_by_the_highest_id() {
    compare("quick_gelu_old_eos", 2, false);
}

#[test]
fn gelu_with_projection() {
    compare("gelu_projection", 3, true);
}

#[test]
fn gelu_with_projection_pools_by_the_highest_id() {
    compare("gelu_old_eos_projection", 2, true);
}

#[test]
fn quick_gelu_with_projection() {
    compare("quick_gelu_projection", 2, true);
}

#[test]
fn a_shorter_prompt_has_the_same_states() {
    // The attention is causal, so what stands after a prompt cannot change it.
    let golden = Golden::here("clip_text", "quick_gelu/io.safetensors");
    let ids = golden.get("ids").narrow(1, 0, 6);
    let out = load("quick_gelu").forward(&ids, false).expect("six tokens are few enough");
    assert!(out.hidden_states.is_empty());
    assert_close(
        "states",
        &out.last_hidden_state,
        &golden.get("last_hidden_state").narrow(1, 0, 6),
        TOLERANCE,
    );
}

#[test]
fn bf16_stays_near_f32() {
    let golden = Golden::here("clip_text", "gelu_projection/io.safetensors");
    let dir = fixtures("clip_text").join("gelu_projection");
    let model = ClipTextModel::from_folder(&dir, device(), Kind::BFloat16).expect("the fixture loads");
    let out = model.forward(&golden.get("ids"), false).expect("the fixture's ids are valid");
    assert_eq!(out.last_hidden_state.kind(), Kind::BFloat16);
    assert_close("states", &out.last_hidden_state, &golden.get("last_hidden_state"), 0.05);
}

#[test]
fn a_checkpoint_that_does_not_fit_its_config_is_refused() {
    let dir = fixtures("clip_text").join("gelu_projection");
    let build = |change: fn(&mut ClipTextConfig)| {
        let mut config = ClipTextConfig::from_file(&dir.join("config.json")).expect("the fixture's config");
        change(&mut config);
        let weights = Weights::open_folder(&dir, device(), kind()).expect("the fixture's weights");
        let built = ClipTextModel::new(&weights.root(), &config).map(drop).map_err(|e| e.to_string());
        built.and_then(|()| weights.finish(&ClipTextModel::IGNORED).map_err(|e: WeightsError| e.to_string()))
    };
    assert_eq!(build(|_| ()), Ok(()));
    for (change, expected) in [
        (
            (|c| c.num_hidden_layers = 4) as fn(&mut ClipTextConfig),
            "layers.3.layer_norm1.weight\" is missing",
        ),
        (|c| c.num_hidden_layers = 2, "16 tensors do not belong"),
        (|c| c.projection_dim = Some(21), "text_projection.weight\" has shape [20, 16], expected [21, 16]"),
        (|c| c.vocab_size = 51, "token_embedding.weight\" has shape [50, 16], expected [51, 16]"),
    ] {
        let message = build(change).expect_err(expected);
        assert!(message.contains(expected) && message.contains("model.safetensors"), "{message}");
    }
}

#[test]
fn a_projection_that_the_config_names_must_be_there() {
    let dir = fixtures("clip_text").join("quick_gelu");
    let mut config = ClipTextConfig::from_file(&dir.join("config.json")).expect("the fixture's config");
    config.architectures = vec!["CLIPTextModelWithProjection".into()];
    let weights = Weights::open_folder(&dir, device(), kind()).expect("the fixture's weights");
    let error =
        ClipTextModel::new(&weights.root(), &config).map(drop).expect_err("no projection in the file");
    assert!(error.to_string().contains("\"text_projection.weight\" is missing"), "{error}");
}
