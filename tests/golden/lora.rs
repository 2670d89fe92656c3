//! LoRA files in every layout against diffusers and PEFT (fixtures by `generate/lora.py`): each is merged
//! into a tiny U-Net and its text encoders, whose outputs are compared.

use std::path::{Path, PathBuf};

use imagine_encoders::{ClipTextConfig, ClipTextModel};
use imagine_pipeline::lora::{Layout, LoraFile, Network, TextEncoderSlot};
use imagine_tests::{Golden, assert_close, device, fixtures, kind, relative_error};
use imagine_unet::{AddedCondition, Condition, UNet2DConditionModel, UNetConfig, Weights};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use tch::Tensor;

const TOLERANCE: f64 = 1e-5;

const SLOTS: [(&str, TextEncoderSlot); 2] =
    [("text_encoder", TextEncoderSlot::First), ("text_encoder_2", TextEncoderSlot::Second)];

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn file(base: &str, name: &str) -> PathBuf {
    fixtures("lora").join(base).join(format!("{name}.safetensors"))
}

fn open(base: &str, name: &str) -> LoraFile {
    LoraFile::open(&file(base, name)).unwrap_or_else(|e| panic!("{base}/{name}: {e}"))
}

fn unet_config(base: &str) -> UNetConfig {
    UNetConfig::from_file(&fixtures("lora").join(base).join("unet/config.json"))
        .expect("the fixture's config")
}

fn weights(base: &str, part: &str) -> Weights {
    Weights::open_folder(&fixtures("lora").join(base).join(part), device(), kind())
        .unwrap_or_else(|e| panic!("{base}/{part}: {e}"))
}

/// Output of the U-Net with these files merged.
fn unet_output(base: &str, loras: &[(&LoraFile, f64)]) -> Result<Tensor, Box<dyn std::error::Error>> {
    let (weights, config) = (weights(base, "unet"), unet_config(base));
    for (lora, weight) in loras {
        lora.merge_into_unet(&weights, &config, *weight)?;
    }
    let model = UNet2DConditionModel::new(&weights.root(), &config)?;
    weights.finish(&[])?;
    let inputs = Golden::here("lora", &format!("{base}/inputs.safetensors"));
    let added = inputs
        .names()
        .contains(&"time_ids".to_string())
        .then(|| AddedCondition { text_embeds: inputs.get("text_embeds"), time_ids: inputs.get("time_ids") });
    let cross = model.cross_kv(&Condition { text: inputs.get("text"), identities: vec![] });
    Ok(model.forward(&inputs.get("sample"), &inputs.get("timesteps"), &cross, added.as_ref(), None))
}

/// Last hidden state of a text encoder with these files merged.
fn text_output(
    base: &str,
    part: &str,
    slot: TextEncoderSlot,
    loras: &[(&LoraFile, f64)],
) -> Result<Tensor, Box<dyn std::error::Error>> {
    let weights = weights(base, part);
    for (lora, weight) in loras {
        lora.merge_into_text_encoder(&weights, slot, *weight)?;
    }
    let config = ClipTextConfig::from_file(&fixtures("lora").join(base).join(part).join("config.json"))?;
    let model = ClipTextModel::new(&weights.root(), &config)?;
    weights.finish(&ClipTextModel::IGNORED)?;
    let ids = Golden::here("lora", &format!("{base}/inputs.safetensors")).get("ids");
    Ok(model.forward(&ids, false)?.last_hidden_state)
}

/// Every network of the base with these files merged equals what Python made of it, and differs from the
/// plain one where Python's does.
fn compare(base: &str, case: &str, loras: &[(&str, f64)]) {
    let _no_grad = tch::no_grad_guard();
    let golden = Golden::here("lora", "outputs.safetensors");
    let files: Vec<(LoraFile, f64)> = loras.iter().map(|(name, w)| (open(base, name), *w)).collect();
    let loras: Vec<(&LoraFile, f64)> = files.iter().map(|(file, weight)| (file, *weight)).collect();
    let check = |part: &str, found: Tensor| {
        let plain = golden.get(&format!("{base}.plain.{part}"));
        let name = format!("{base}.{case}.{part}");
        if golden.names().contains(&name) {
            assert!(relative_error(&found, &plain) > 1e-2, "{name}: nothing has changed");
            assert_close(&name, &found, &golden.get(&name), TOLERANCE);
        } else {
            assert_close(&name, &found, &plain, TOLERANCE);
        }
    };
    check("unet", unet_output(base, &loras).unwrap_or_else(|e| panic!("{base}.{case}: {e}")));
    for (part, slot) in SLOTS.into_iter().take(if base == "sd1" { 1 } else { 2 }) {
        check(part, text_output(base, part, slot, &loras).unwrap_or_else(|e| panic!("{base}.{case}: {e}")));
    }
}

#[test]
fn without_a_lora_nothing_changes() {
    compare("sd1", "plain_again", &[]);
    compare("sdxl", "plain_again", &[("kohya", 0.0)]);
}

#[test]
fn attention_processors_of_the_first_diffusers() {
    compare("sd1", "processors", &[("processors", 1.0)]);
}

#[test]
fn layers_of_the_later_diffusers_with_two_text_encoders() {
    compare("sdxl", "linear_layers", &[("linear_layers", 1.0)]);
}

#[test]
fn peft_with_ranks_and_alphas_of_single_layers_in_the_metadata() {
    compare("sd1", "peft", &[("peft", 1.0)]);
}

#[test]
fn kohya_with_convolutions_and_an_alpha_that_is_not_the_rank() {
    compare("sd1", "kohya", &[("kohya", 1.0)]);
}

#[test]
fn kohya_on_sdxl_with_two_text_encoders() {
    compare("sdxl", "kohya", &[("kohya", 1.0)]);
}

#[test]
fn kohya_with_the_original_names_of_sdxls_blocks() {
    compare("sdxl", "original", &[("original", 1.0)]);
}

#[test]
fn two_files_with_weights_of_their_own_add_up() {
    compare("sd1", "both", &[("kohya", 0.7), ("peft", 0.4)]);
    compare("sdxl", "both", &[("original", 0.7), ("linear_layers", 0.4)]);
}

#[test]
fn dora_alone_and_after_another_file() {
    compare("sd1", "dora", &[("dora", 1.0)]);
    compare("sd1", "dora_second", &[("processors", 0.7), ("dora", 0.4)]);
}

#[test]
fn loha_lokr_and_tucker_cores() {
    compare("sd1", "loha", &[("loha", 1.0)]);
    compare("sd1", "lokr", &[("lokr", 1.0)]);
    compare("sd1", "core", &[("core", 1.0)]);
}

#[test]
fn a_file_says_what_it_holds() {
    let kohya = open("sd1", "kohya").describe();
    assert_eq!((kohya.layout, kohya.ranks), (Layout::Kohya, Some((3, 3))));
    assert_eq!(kohya.layers[&Network::TextEncoder(TextEncoderSlot::First)], 3);
    let shown = kohya.to_string();
    assert!(
        shown.starts_with("LoRA of rank 3 in kohya layout: ") && shown.contains(" layers of the U-Net, 3 of"),
        "{shown}"
    );
    let peft = open("sd1", "peft").describe();
    assert_eq!((peft.layout, peft.ranks, peft.kinds), (Layout::Diffusers, Some((2, 3)), vec!["LoRA"]));
    assert_eq!(open("sd1", "dora").describe().kinds, ["LoRA", "DoRA"]);
    assert_eq!(open("sd1", "loha").describe().kinds, ["LoHa"]);
    assert_eq!(open("sd1", "lokr").describe().kinds, ["LoKr"]);
}

/// A copy of a fixture, changed: `edit` may rename a tensor, drop it (None) or give it another shape.
fn changed(
    dir: &Path,
    base: &str,
    name: &str,
    edit: impl Fn(&str, &[usize]) -> Option<(String, Vec<usize>)>,
) -> Result<PathBuf, Box<dyn std::error::Error>> {
    let bytes = std::fs::read(file(base, name))?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let mut kept = Vec::new();
    for (key, view) in tensors.tensors() {
        if let Some((key, shape)) = edit(&key, view.shape()) {
            let length =
                shape.iter().product::<usize>() * view.data().len() / view.shape().iter().product::<usize>();
            let data = view.data().iter().copied().cycle().take(length).collect::<Vec<u8>>();
            kept.push((key, view.dtype(), shape, data));
        }
    }
    let views = kept.iter().map(|(key, dtype, shape, data)| {
        TensorView::new(*dtype, shape.clone(), data).map(|view| (key.clone(), view))
    });
    let path = dir.join("changed.safetensors");
    safetensors::serialize_to_file(views.collect::<Result<Vec<_>, _>>()?, None, &path)?;
    Ok(path)
}

/// Why a changed fixture is refused, when it is opened or merged into its own base.
fn refusal(base: &str, name: &str, edit: impl Fn(&str, &[usize]) -> Option<(String, Vec<usize>)>) -> String {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let path = changed(dir.path(), base, name, edit).expect("a changed fixture");
    let merged = LoraFile::open(&path).and_then(|lora| {
        lora.check_text_encoders(if base == "sd1" { 1 } else { 2 })?;
        lora.merge_into_unet(&weights(base, "unet"), &unet_config(base), 1.0)?;
        lora.merge_into_text_encoder(&weights(base, "text_encoder"), TextEncoderSlot::First, 1.0)
    });
    let message = merged.err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message.contains("changed.safetensors"), "{message}");
    message
}

#[test]
fn what_does_not_fit_is_refused_with_key_and_reason() {
    let keep = |key: &str, shape: &[usize]| Some((key.to_string(), shape.to_vec()));
    let rename = |from: &'static str, to: &'static str| {
        move |key: &str, shape: &[usize]| Some((key.replace(from, to), shape.to_vec()))
    };
    for (base, name, from, to, expected) in [
        // a layer that the model does not have
        (
            "sd1",
            "kohya",
            "lora_unet_conv_in",
            "lora_unet_conv_between",
            "lora_unet_conv_between.lora_down.weight",
        ),
        ("sd1", "processors", "unet.mid_block.", "unet.end_block.", "another base model"),
        ("sd1", "kohya", "lora_te_", "lora_te2_", "second text encoder, which this model does not have"),
        // no LoRA at all, or one of another kind
        ("sd1", "processors", "_lora.down.weight", ".down", "is no part of one"),
        ("sd1", "processors", "unet.", "transformer.", "is no part of one"),
        ("sd1", "kohya", "lora_down.weight", "oft_blocks", "oft_blocks\" is not supported: orthogonal"),
        ("sd1", "kohya", "lora_up.weight", "diff_b", "diff_b\" is not supported: a difference of biases"),
        (
            "sd1",
            "kohya",
            "lora_unet_conv_in.alpha",
            "bundle_emb.someone.clip_l",
            "\"bundle_emb.someone.clip_l\" is not supported: it is the embedding of a word",
        ),
        // both spellings in one file
        (
            "sd1",
            "kohya",
            "lora_te_text_model_encoder_layers_0_mlp_fc1",
            "unet.conv_between",
            "with underscores",
        ),
    ] {
        let message = refusal(base, name, rename(from, to));
        assert!(message.contains(expected), "{from} → {to}: {message}");
    }
    let no_up = |key: &str, shape: &[usize]| {
        if key.ends_with("conv_in.lora_up.weight") { None } else { keep(key, shape) }
    };
    let message = refusal("sd1", "kohya", no_up);
    assert!(message.contains("conv_in.lora_down.weight\" has no \"up\""), "{message}");
    let wider = |key: &str, shape: &[usize]| {
        let wide = key.contains("attn2.processor.to_k_lora.down") && shape == [2, 6];
        Some((key.to_string(), if wide { vec![2, 9] } else { shape.to_vec() }))
    };
    let message = refusal("sd1", "processors", wider);
    assert!(
        message.contains("[4, 9]") && message.contains("[4, 6]") && message.contains("another base"),
        "{message}"
    );
    let vector = |key: &str, shape: &[usize]| {
        let alpha = key.ends_with("conv_in.alpha");
        Some((key.to_string(), if alpha { vec![3] } else { shape.to_vec() }))
    };
    let message = refusal("sd1", "kohya", vector);
    assert!(message.contains("conv_in.alpha") && message.contains("expected one number"), "{message}");
}

/// LyCORIS by itself puts another word in front of the same names.
#[test]
fn lycoris_without_kohyas_trainer() -> Outcome {
    let dir = tempfile::tempdir()?;
    let renamed = |key: &str, shape: &[usize]| Some((key.replace("lora_unet_", "lycoris_"), shape.to_vec()));
    let path = changed(dir.path(), "sd1", "lokr", renamed)?;
    let output = |file: &LoraFile| unet_output("sd1", &[(file, 1.0)]);
    assert_close("U-Net", &output(&LoraFile::open(&path)?)?, &output(&open("sd1", "lokr"))?, 1e-6);
    Ok(())
}

/// A LoRA for SDXL is not merged into SD 1.x in part.
#[test]
fn another_base_model_is_named_as_the_reason() {
    for name in ["kohya", "original", "linear_layers"] {
        let lora = open("sdxl", name);
        let merged = lora.merge_into_unet(&weights("sd1", "unet"), &unet_config("sd1"), 1.0);
        let message = merged.expect_err(name).to_string();
        assert!(message.contains("another base model"), "{message}");
    }
    let message =
        open("sdxl", "linear_layers").check_text_encoders(1).expect_err("one text encoder").to_string();
    assert!(
        message.contains("text_encoder_2.") && message.contains("which this model does not have"),
        "{message}"
    );
    let weight = open("sd1", "kohya").merge_into_unet(&weights("sd1", "unet"), &unet_config("sd1"), f64::NAN);
    assert!(weight.expect_err("NaN").to_string().contains("NaN"));
}

/// SD 1.x has convolutions of one pixel where SDXL has linear layers; trainers save either for either.
#[test]
fn a_linear_layer_is_a_convolution_of_one_pixel() -> Outcome {
    let _no_grad = tch::no_grad_guard();
    let dir = tempfile::tempdir()?;
    let golden = Golden::here("lora", "outputs.safetensors");
    let pixel = |key: &str, shape: &[usize]| match *shape {
        [a, b] if key.contains("_proj_in.") => Some((key.to_string(), vec![a, b, 1, 1])),
        [a, b, 1, 1] if key.contains("_proj_in.") => Some((key.to_string(), vec![a, b])),
        _ => Some((key.to_string(), shape.to_vec())),
    };
    for base in ["sd1", "sdxl"] {
        let lora = LoraFile::open(&changed(dir.path(), base, "kohya", pixel)?)?;
        let expected = golden.get(&format!("{base}.kohya.unet"));
        assert_close(base, &unet_output(base, &[(&lora, 1.0)])?, &expected, TOLERANCE);
    }
    Ok(())
}

/// A U-Net's LoRA as PEFT saves it alone: its scales stand in a file beside it, without which it is refused.
#[test]
fn pefts_own_files_need_their_configuration() -> Outcome {
    let _no_grad = tch::no_grad_guard();
    let dir = tempfile::tempdir()?;
    let path = changed(dir.path(), "sd1", "peft", |key, shape| {
        Some((key.strip_prefix("unet.").map(|key| format!("base_model.model.{key}"))?, shape.to_vec()))
    })?;
    let message = LoraFile::open(&path).err().map(|e| e.to_string()).unwrap_or_default();
    assert!(message.contains("adapter_config.json: PEFT keeps the scale"), "{message}");
    let config = r#"{"peft_type": "LORA", "r": 3, "lora_alpha": 5, "use_rslora": false,
                     "rank_pattern": {"ff.net.2": 2}, "alpha_pattern": {"attn2.to_q": 1, "ff.net.2": 4}}"#;
    std::fs::write(dir.path().join("adapter_config.json"), config)?;
    let expected = Golden::here("lora", "outputs.safetensors").get("sd1.peft.unet");
    let lora = LoraFile::open(&path)?;
    assert_close("PEFT's own", &unet_output("sd1", &[(&lora, 1.0)])?, &expected, TOLERANCE);
    Ok(())
}

/// An alpha that kohya's trainer left at the rank is saved as a whole number; the file may name blocks twice.
#[test]
fn whole_numbers_and_second_names_are_read() -> Outcome {
    let _no_grad = tch::no_grad_guard();
    let dir = tempfile::tempdir()?;
    let bytes = std::fs::read(file("sdxl", "original"))?;
    let tensors = SafeTensors::deserialize(&bytes)?;
    let mut all: Vec<(String, safetensors::Dtype, Vec<usize>, Vec<u8>)> = Vec::new();
    for (key, view) in tensors.tensors() {
        if key.ends_with(".alpha") {
            // 1.0, as the fixture has it
            all.push((key, safetensors::Dtype::I64, vec![], 1_i64.to_le_bytes().to_vec()));
        } else {
            all.push((key, view.dtype(), view.shape().to_vec(), view.data().to_vec()));
        }
    }
    let write = |all: &[(String, safetensors::Dtype, Vec<usize>, Vec<u8>)], name: &str| {
        let views = all.iter().map(|(key, dtype, shape, data)| {
            TensorView::new(*dtype, shape.clone(), data).map(|view| (key.clone(), view))
        });
        let path = dir.path().join(name);
        safetensors::serialize_to_file(views.collect::<Result<Vec<_>, _>>()?, None, &path)?;
        Ok::<_, safetensors::SafeTensorError>(path)
    };
    let whole = LoraFile::open(&write(&all, "whole.safetensors")?)?;
    let expected = Golden::here("lora", "outputs.safetensors").get("sdxl.original.unet");
    assert_close("whole alphas", &unet_output("sdxl", &[(&whole, 1.0)])?, &expected, TOLERANCE);

    // One layer more, under diffusers' name: all others have the names that are left out then.
    let again: Vec<_> = all
        .iter()
        .filter(|(key, ..)| key.starts_with("lora_unet_middle_block_1_proj_in."))
        .map(|(key, dtype, shape, data)| {
            (key.replace("middle_block_1", "mid_block_attentions_0"), *dtype, shape.clone(), data.clone())
        })
        .collect();
    assert_eq!(again.len(), 3);
    all.extend(again);
    let twice = LoraFile::open(&write(&all, "twice.safetensors")?)?;
    let before = whole.describe().layers[&Network::UNet];
    let outside = 4; // the time and the added embedding are in no block
    assert_eq!(twice.describe().left_out, before - outside - 1);
    Ok(())
}
