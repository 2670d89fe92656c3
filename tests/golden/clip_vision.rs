//! The CLIP vision encoder against transformers' `CLIPVisionModel` and `CLIPVisionModelWithProjection`.

use imagine_encoders::{ClipVisionConfig, ClipVisionModel};
use imagine_tests::{Golden, assert_close, device, fixtures, kind};
use imagine_unet::weights::{Weights, WeightsError};
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

fn load(case: &str) -> ClipVisionModel {
    ClipVisionModel::from_folder(&fixtures("clip_vision").join(case), device(), kind())
        .unwrap_or_else(|e| panic!("{case}: {e}"))
}

fn compare(case: &str, projected: bool) {
    let golden = Golden::here("clip_vision", &format!("{case}/io.safetensors"));
    let model = load(case);
    let out = model.forward(&golden.get("pixel_values")).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_close("last hidden state", &out.last_hidden_state, &golden.get("last_hidden_state"), TOLERANCE);
    assert_close("last but one", &out.last_but_one, &golden.get("last_but_one"), TOLERANCE);
    assert_close("pooled", &out.pooled, &golden.get("pooled"), TOLERANCE);
    assert_eq!(out.image_embeds.is_some(), projected, "{case}: projection");
    if let Some(embeds) = &out.image_embeds {
        assert_close("image embeds", embeds, &golden.get("image_embeds"), TOLERANCE);
    }
    let zeros = golden.get("last_but_one").narrow(0, 2, 1);
    let of_zeros = model.of_zero_pixels().unwrap_or_else(|e| panic!("{case}: {e}"));
    assert_close("of zero pixels", &of_zeros, &zeros, TOLERANCE);
}

#[test]
fn openai_kind_saved_without_prefix() {
    compare("quick_gelu", false);
}

#[test]
fn openai_kind_with_projection() {
    compare("quick_gelu_projection", true);
}

#[test]
fn openclip_kind_with_projection_and_patches_that_leave_a_rim() {
    compare("gelu_projection", true);
}

#[test]
fn before_the_only_layer_are_the_embeddings() {
    compare("one_layer", true);
}

#[test]
fn the_vision_tower_of_a_whole_clip() {
    compare("whole_clip", true);
    assert_eq!(load("whole_clip").config().projection_dim, 10, "the width that both towers share");
}

#[test]
fn bf16_stays_near_f32() {
    let golden = Golden::here("clip_vision", "gelu_projection/io.safetensors");
    let dir = fixtures("clip_vision").join("gelu_projection");
    let model = ClipVisionModel::from_folder(&dir, device(), Kind::BFloat16).expect("the fixture loads");
    let out = model.forward(&golden.get("pixel_values")).expect("the fixture's pictures fit");
    assert_eq!(out.last_but_one.kind(), Kind::BFloat16);
    assert_close("last but one", &out.last_but_one, &golden.get("last_but_one"), 0.05);
}

#[test]
fn pixel_values_of_another_shape_or_type_are_refused() {
    let model = load("quick_gelu");
    let message =
        |size: &[i64], kind| model.forward(&Tensor::zeros(size, (kind, device()))).expect_err("refused");
    for (size, kind, expected) in [
        (vec![1, 3, 12, 13], Kind::Float, "[1, 3, 12, 13]"),
        (vec![1, 4, 12, 12], Kind::Float, "[1, 4, 12, 12]"),
        (vec![3, 12, 12], Kind::Float, "[3, 12, 12]"),
        (vec![0, 3, 12, 12], Kind::Float, "[0, 3, 12, 12]"),
        (vec![1, 3, 12, 12], Kind::Uint8, "Uint8"),
    ] {
        let message = message(&size, kind).to_string();
        assert!(message.contains(expected) && message.contains("[pictures, 3, 12, 12]"), "{message}");
    }
}

#[test]
fn a_checkpoint_that_does_not_fit_its_config_is_refused() {
    let dir = fixtures("clip_vision").join("gelu_projection");
    let build = |change: fn(&mut ClipVisionConfig)| {
        let mut config = ClipVisionConfig::from_file(&dir.join("config.json")).expect("the fixture's config");
        change(&mut config);
        let weights = Weights::open_folder(&dir, device(), kind()).expect("the fixture's weights");
        let built = ClipVisionModel::new(&weights.root(), &config).map(drop).map_err(|e| e.to_string());
        built
            .and_then(|()| weights.finish(&ClipVisionModel::IGNORED).map_err(|e: WeightsError| e.to_string()))
    };
    assert_eq!(build(|_| ()), Ok(()));
    for (change, expected) in [
        (
            (|c| c.num_hidden_layers = 4) as fn(&mut ClipVisionConfig),
            "layers.3.layer_norm1.weight\" is missing",
        ),
        (|c| c.num_hidden_layers = 2, "16 tensors do not belong"),
        (|c| c.projection_dim = 13, "visual_projection.weight\" has shape [12, 16], expected [13, 16]"),
        (|c| c.image_size = 25, "position_embedding.weight\" has shape [10, 16], expected [26, 16]"),
        (|c| c.patch_size = 6, "patch_embedding.weight\" has shape [16, 3, 5, 5], expected [16, 3, 6, 6]"),
        (|c| c.hidden_act = "relu".into(), "hidden_act = relu"),
        (|c| c.num_attention_heads = 3, "num_attention_heads = 3"),
        (|c| c.num_channels = 1, "num_channels = 1"),
        (|c| c.patch_size = 20, "patch_size = 20"),
        (|c| c.model_type = "siglip_vision_model".into(), "model_type = siglip_vision_model"),
        (|c| c.image_size = -1, "image_size = -1"),
    ] {
        let message = build(change).expect_err(expected);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn photomakers_tower_needs_no_file() {
    let config = ClipVisionConfig::vit_l_14();
    config.check().expect("a valid configuration");
    assert_eq!(config.positions(), 257);
}

/// The weights of OpenAI's ViT-L/14 at full size, all zero, in a file that takes no space: every key and shape is what
/// the known configuration asks for.
#[test]
fn one_file_of_weights_is_known_by_its_width() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("clip.safetensors");
    let config = ClipVisionConfig::vit_l_14();
    let write = |width: i64, layers: i64, more: Option<&str>| {
        let (d, wide, positions) = (width, config.intermediate_size, config.positions());
        let mut shapes = vec![
            ("vision_model.embeddings.class_embedding".to_string(), vec![d]),
            ("vision_model.embeddings.patch_embedding.weight".to_string(), vec![d, 3, 14, 14]),
            ("vision_model.embeddings.position_embedding.weight".to_string(), vec![positions, d]),
            ("visual_projection.weight".to_string(), vec![config.projection_dim, d]),
        ];
        let mut layer = |name: String, shape: Vec<i64>| {
            shapes.push((format!("vision_model.{name}.bias"), vec![shape[0]]));
            shapes.push((format!("vision_model.{name}.weight"), shape));
        };
        layer("pre_layrnorm".into(), vec![d]);
        layer("post_layernorm".into(), vec![d]);
        for n in 0..layers {
            let at = |name: &str| format!("encoder.layers.{n}.{name}");
            for name in ["q_proj", "k_proj", "v_proj", "out_proj"] {
                layer(at(&format!("self_attn.{name}")), vec![d, d]);
            }
            layer(at("layer_norm1"), vec![d]);
            layer(at("layer_norm2"), vec![d]);
            layer(at("mlp.fc1"), vec![wide, d]);
            layer(at("mlp.fc2"), vec![d, wide]);
        }
        shapes.extend(more.map(|key| (key.to_string(), vec![2])));
        let mut header = serde_json::Map::new();
        let mut end = 0;
        for (key, shape) in shapes {
            let start = end;
            end += 2 * shape.iter().product::<i64>();
            let entry = serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
            header.insert(key, entry);
        }
        let header = serde_json::Value::Object(header).to_string();
        let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat();
        std::fs::write(&file, &bytes).expect("a file");
        let whole = std::fs::OpenOptions::new().write(true).open(&file).expect("the file");
        whole.set_len(bytes.len() as u64 + end as u64).expect("a longer file");
    };
    let open = || ClipVisionModel::from_file(&file, device(), Kind::Half);
    write(1024, 24, None);
    let model = open().unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((model.config().hidden_size, model.config().num_attention_heads), (1024, 16));
    drop(model);
    for (width, layers, more, says) in [
        (1024, 23, None, "encoder.layers.23"),
        (1024, 24, Some("left.over"), "left.over"),
        (1000, 1, None, "hidden_size = 1000"),
    ] {
        write(width, layers, more);
        let message = open().map(drop).expect_err(says).to_string();
        assert!(message.contains(says) && message.contains("clip.safetensors"), "{message}");
    }
    for (width, act, projection) in [(1024, "quick_gelu", 768), (1280, "gelu", 1024), (1664, "gelu", 1280)] {
        let config = ClipVisionConfig::of_width(width).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((config.hidden_act.as_str(), config.projection_dim), (act, projection));
        config.check().unwrap_or_else(|e| panic!("{e}"));
    }
}
