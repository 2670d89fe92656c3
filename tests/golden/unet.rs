//! The U-Net against diffusers' `UNet2DConditionModel` (fixtures by `generate/unet.py`).

use imagine_tests::{Golden, assert_close, device, fixtures, kind, relative_error};
use imagine_unet::{AddedCondition, Condition, CrossKv, UNet2DConditionModel, UNetConfig, Weights};
use serde_json::{Value, json};
use tch::{Kind, Tensor};

const TOLERANCE: f64 = 1e-5;

fn load(case: &str, kind: Kind) -> UNet2DConditionModel {
    let dir = fixtures("unet").join(case);
    let config = UNetConfig::from_file(&dir.join("config.json")).unwrap_or_else(|e| panic!("{case}: {e}"));
    let weights = Weights::open_folder(&dir, device(), kind).unwrap_or_else(|e| panic!("{case}: {e}"));
    let model = UNet2DConditionModel::new(&weights.root(), &config).unwrap_or_else(|e| panic!("{case}: {e}"));
    weights.finish(&[]).unwrap_or_else(|e| panic!("{case}: {e}"));
    model
}

/// One stored call: inputs and the output that diffusers gave.
struct Call {
    sample: Tensor,
    timesteps: Tensor,
    text: Tensor,
    added: Option<AddedCondition>,
    output: Tensor,
}

impl Call {
    fn read(golden: &Golden, size: &str) -> Self {
        let get = |name: &str| golden.get(&format!("{size}.{name}"));
        let has_added = golden.names().contains(&format!("{size}.time_ids"));
        Self {
            sample: get("sample"),
            timesteps: get("timesteps"),
            text: get("text"),
            added: has_added
                .then(|| AddedCondition { text_embeds: get("text_embeds"), time_ids: get("time_ids") }),
            output: get("output"),
        }
    }

    fn run(&self, model: &UNet2DConditionModel) -> Tensor {
        let cross = model.cross_kv(&Condition { text: self.text.shallow_clone(), identities: vec![] });
        model.forward(&self.sample, &self.timesteps, &cross, self.added.as_ref(), None)
    }
}

fn compare(case: &str) {
    let model = load(case, kind());
    let golden = Golden::here("unet", &format!("{case}/io.safetensors"));
    for size in ["even", "odd"] {
        let call = Call::read(&golden, size);
        assert_close(&format!("{case}, {size} size"), &call.run(&model), &call.output, TOLERANCE);
    }
}

#[test]
fn sd_1_with_convolutions_and_one_number_of_heads() {
    compare("sd1");
}

#[test]
fn sd_2_with_linear_projections_and_heads_and_layers_of_each_block() {
    compare("sd2");
}

#[test]
fn a_middle_without_attention_and_a_time_that_scales_and_shifts() {
    compare("scale_shift");
}

#[test]
fn no_middle_the_other_sinusoid_a_centred_input_and_other_kernels() {
    compare("no_middle");
}

#[test]
fn sdxl_with_pooled_text_sizes_and_deep_transformers() {
    compare("sdxl");
}

#[test]
fn a_single_level() {
    compare("one_level");
}

#[test]
fn rows_do_not_know_of_each_other() {
    let model = load("sd1", kind());
    let call = Call::read(&Golden::here("unet", "sd1/io.safetensors"), "odd");
    for row in 0..3 {
        let one = |t: &Tensor| t.narrow(0, row, 1);
        let cross = model.cross_kv(&Condition { text: one(&call.text), identities: vec![] });
        let alone = model.forward(&one(&call.sample), &one(&call.timesteps), &cross, None, None);
        assert_close("row alone", &alone, &one(&call.output), TOLERANCE);
    }
}

#[test]
fn joined_conditions_equal_written_out_ones() {
    let model = load("sd1", kind());
    let call = Call::read(&Golden::here("unet", "sd1/io.safetensors"), "even");
    let row = |i: i64| call.text.narrow(0, i, 1);
    let written = Tensor::cat(&[row(0), row(1), row(0), row(1)], 0); // [4, S, C]
    let two = call.text.narrow(0, 0, 2);
    let sample = Tensor::cat(&[&call.sample, &call.sample.narrow(0, 0, 1)], 0); // [4, C, H, W]
    let timesteps = Tensor::from_slice(&[700.0f32, 3.0, 700.0, 3.0]).to_device(device());
    let expected = model.forward(
        &sample,
        &timesteps,
        &model.cross_kv(&Condition { text: written, identities: vec![] }),
        None,
        None,
    );
    let two = model.cross_kv(&Condition { text: two, identities: vec![] });
    let joined = CrossKv::join(&[&two, &two]);
    assert_close("joined", &model.forward(&sample, &timesteps, &joined, None, None), &expected, 1e-6);
}

#[test]
fn bf16_stays_near_f32() {
    let model = load("sd2", Kind::BFloat16);
    let call = Call::read(&Golden::here("unet", "sd2/io.safetensors"), "even");
    let output = call.run(&model);
    assert_eq!(output.kind(), Kind::BFloat16);
    let error = relative_error(&output, &call.output);
    assert!(error < 0.05, "relative error {error:.3}");
}

/// Every value that this implementation does not have is refused with its key; none is passed over.
#[test]
fn what_is_not_implemented_is_refused_by_name() {
    let file = fixtures("unet").join("sd1/config.json");
    let text = std::fs::read_to_string(&file).expect("the fixture's config");
    let base: Value = serde_json::from_str(&text).expect("the fixture's config is JSON");
    let check = |key: &str, value: Value| {
        let mut changed = base.clone();
        changed[key] = value;
        let config: UNetConfig = serde_json::from_value(changed).map_err(|e| e.to_string())?;
        config.check().map_err(|e| e.to_string())
    };
    assert_eq!(check("sample_size", json!(64)), Ok(()));
    assert_eq!(check("only_cross_attention", json!([false, false])), Ok(()));
    for (key, value) in [
        ("down_block_types", json!(["CrossAttnDownBlock2D", "AttnDownBlock2D"])),
        ("down_block_types", json!(["DownBlock2D"])),
        ("up_block_types", json!(["UpBlock2D", "SimpleCrossAttnUpBlock2D"])),
        ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("only_cross_attention", json!(true)),
        ("only_cross_attention", json!([false, true])),
        ("mid_block_only_cross_attention", json!(true)),
        ("act_fn", json!("gelu")),
        ("norm_num_groups", json!(null)),
        ("norm_num_groups", json!(0)),
        ("block_out_channels", json!([4, 7])),
        ("block_out_channels", json!([])),
        ("attention_head_dim", json!(3)),
        ("attention_head_dim", json!(0)),
        ("attention_head_dim", json!([2, 2, 2])),
        ("layers_per_block", json!([1, 1, 1])),
        ("layers_per_block", json!(0)),
        ("layers_per_block", json!([1, -5])),
        ("transformer_layers_per_block", json!(-1)),
        ("reverse_transformer_layers_per_block", json!([1, 2])),
        ("cross_attention_dim", json!([6, 8])),
        ("dual_cross_attention", json!(true)),
        ("class_embed_type", json!("timestep")),
        ("num_class_embeds", json!(4)),
        ("addition_embed_type", json!("image")),
        ("encoder_hid_dim", json!(8)),
        ("encoder_hid_dim_type", json!("text_proj")),
        ("time_embedding_type", json!("fourier")),
        ("time_embedding_act_fn", json!("silu")),
        ("timestep_post_act", json!("silu")),
        ("time_cond_proj_dim", json!(0)),
        ("resnet_time_scale_shift", json!("ada_group")),
        ("resnet_skip_time_act", json!(true)),
        ("resnet_out_scale_factor", json!(1.4)),
        ("class_embeddings_concat", json!(true)),
        ("cross_attention_norm", json!("layer_norm")),
        ("attention_type", json!("gated")),
        ("conv_in_kernel", json!(4)),
        ("conv_out_kernel", json!(-3)),
        ("norm_eps", json!(-1.0)),
        ("mid_block_scale_factor", json!(0.0)),
        ("in_channels", json!(0)),
    ] {
        let shown = value.to_string();
        let message = check(key, value).expect_err(&format!("{key} = {shown}"));
        assert!(message.contains(key), "{key} = {shown}: {message}");
    }
}
