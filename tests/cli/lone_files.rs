//! `imagine models show` and `verify` of files that somebody else put there: what they are, and whether they are sound.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;

use crate::stub_hub::sha256;
use crate::support::{Workplace, golden};

fn models(place: &Workplace, command: &str, file: &Path, json: bool) -> crate::support::Run {
    let mut args = vec!["models".into(), command.into(), file.to_string_lossy().into_owned()];
    if json {
        args.push("--json".into());
    }
    place.run(args)
}

#[test]
fn every_kind_of_file_is_told() {
    let place = Workplace::new();
    let own = |width: u32| format!("a model of its own, whose text is {width} wide");
    let copied = |from: &str, name: &str| {
        fs::copy(golden(from), place.path(name)).unwrap();
        place.path(name)
    };
    let lora = "lora/sdxl/kohya.safetensors";
    let files = [
        (
            place.unpacked("single_file/sd1.safetensors.gz", "dream.safetensors"),
            "a whole checkpoint, Stable Diffusion 1.x",
            Some("SD 1.5".into()),
            "--model",
            None,
        ),
        (
            place.unpacked("single_file/sd2.ckpt.gz", "two.ckpt"),
            "a whole checkpoint, Stable Diffusion 2.x",
            Some("SD 2.1".into()),
            "--model",
            None,
        ),
        (
            place.unpacked("single_file/sdxl.safetensors.gz", "sdxl_lightning_4step.safetensors"),
            "a whole checkpoint, Stable Diffusion XL",
            Some("SDXL".into()),
            "--model",
            Some("lightning-4"),
        ),
        (
            place.unpacked("few_step/dmd2_sdxl_4step_unet_fp16.bin.gz", "dmd2_sdxl_1step_unet_fp16.bin"),
            "a U-Net alone under diffusers' names",
            Some(own(20)),
            "--unet",
            Some("dmd2-1"),
        ),
        (
            golden("few_step/lcm/diffusion_pytorch_model.safetensors"),
            "which takes the guidance as a number",
            Some(own(16)),
            "--unet",
            None,
        ),
        (
            golden("pipeline/checkpoint/vae/diffusion_pytorch_model.safetensors"),
            "an autoencoder under diffusers' names",
            Some("SD 1.5, SD 2.1 or SDXL, whose have the same shapes".into()),
            "--vae",
            None,
        ),
        (
            copied(lora, "sdxl_lightning_4step_lora.safetensors"),
            "a LoRA of rank",
            Some(own(12)),
            "--lora",
            Some("lightning-4"),
        ),
        (
            golden("pipeline/adapter.safetensors"),
            "an identity adapter (faceid)",
            Some(own(16)),
            "--adapter",
            None,
        ),
        (
            golden("ip_adapters/ip-adapter_sd15.bin"),
            "an identity adapter (ip-adapter)",
            None,
            "--adapter",
            None,
        ),
        (
            golden("photomaker/photomaker-v2.bin"),
            "a PhotoMaker of version 2",
            Some("SDXL".into()),
            "--adapter",
            None,
        ),
        (
            golden("controlnet/sd1/controlnet/diffusion_pytorch_model.safetensors"),
            "a ControlNet",
            Some(own(6)),
            "--controlnet",
            None,
        ),
    ];
    for (file, what, base, option, preset) in files {
        let shown = models(&place, "show", &file, true).done().json();
        let at = file.display();
        assert!(shown["what"].as_str().unwrap_or_default().contains(what), "{at}: {shown}");
        if let Some(base) = base {
            assert_eq!(shown["base"], *base, "{at}");
        }
        assert_eq!((shown["option"].as_str(), shown["preset"].as_str()), (Some(option), preset), "{at}");
        let bytes = fs::read(&file).unwrap();
        assert_eq!(shown["sha256"], *sha256(&bytes), "{at}");
        assert_eq!(shown["bytes"], bytes.len(), "{at}");
        assert_eq!(shown["problems"], Value::Array(Vec::new()), "{at}");
        assert!(shown["tensors"].as_u64() > Some(3) && shown["parameters"].as_u64() > Some(100), "{shown}");
        let mut verified = models(&place, "verify", &file, true).done().json();
        if let Some(keys) = verified["files"][0].as_object_mut() {
            keys.remove("compared_with");
        }
        assert_eq!((&verified["ok"], &verified["files"][0]), (&Value::Bool(true), &shown), "{at}");
    }
    let lines = models(&place, "show", &place.path("dmd2_sdxl_1step_unet_fp16.bin"), false).done().stdout;
    for says in
        ["precision f16 (", "parameters", "sha256", "named by --unet; it is drawn by the preset dmd2-1"]
    {
        assert!(lines.contains(says), "\"{says}\" is not in: {lines}");
    }
}

#[test]
fn eight_bits_are_told_and_read() {
    let place = Workplace::new();
    let file = place.unpacked("few_step/row_scaled_fp8.safetensors.gz", "rows.safetensors");
    let shown = models(&place, "verify", &file, true).done().json();
    let precision = &shown["files"][0]["precision"];
    assert_eq!(precision[0]["type"], "f8_e4m3", "{precision}");
    assert_eq!(precision[1]["type"], "f16", "{precision}");
}

fn list(problems: &Value) -> Vec<String> {
    problems.as_array().unwrap().iter().map(|problem| problem.as_str().unwrap().to_owned()).collect()
}

/// The error line and what was found, of a file that must be refused.
fn unsound(place: &Workplace, file: &Path, says: &[&str]) {
    let run = models(place, "verify", file, true);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    let report = run.json();
    assert_eq!(report["ok"], false);
    let files = report["files"].as_array().unwrap().iter().flat_map(|file| list(&file["problems"]));
    let problems = files.chain(list(&report["problems"])).collect::<Vec<_>>().join("; ");
    for word in says {
        assert!(problems.contains(word), "\"{word}\" is not in: {problems}");
    }
    assert!(run.stderr.contains("error: ") && !run.stderr.contains("panicked"), "{}", run.stderr);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_file_and_key() {
    let place = Workplace::new();
    let bytes = fs::read(golden("pipeline/checkpoint/vae/diffusion_pytorch_model.safetensors")).unwrap();
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: Value = serde_json::from_slice(&bytes[8..header]).unwrap();
    let offset = |key: &str| header + json[key]["data_offsets"][0].as_u64().unwrap() as usize;
    let spoilt = |keys: &[&str]| {
        let mut bytes = bytes.clone();
        for key in keys {
            assert_eq!(json[*key]["dtype"], "F16");
            // NaN
            bytes[offset(key)..offset(key) + 2].copy_from_slice(&0x7e00u16.to_le_bytes());
        }
        bytes
    };
    // Every tensor is told, not the first alone.
    let (first, second) = ("decoder.conv_in.bias", "encoder.conv_out.weight");
    let nan = place.file("nan.safetensors", &spoilt(&[first, second]));
    unsound(&place, &nan, &["nan.safetensors", first, second, "NaN"]);
    let shown = models(&place, "show", &nan, false).done().stdout;
    assert!(!shown.contains("problem"), "only verify reads tensors: {shown}");

    let short = place.file("short.safetensors", &bytes[..bytes.len() - 3]);
    unsound(&place, &short, &["short.safetensors", "ends before its tensors do"]);
    let mut wrong = bytes.clone();
    wrong[9] = b'!';
    unsound(
        &place,
        &place.file("wrong.safetensors", &wrong),
        &["wrong.safetensors", "safetensors file, or damaged"],
    );
    let pickle = place.path("eval.bin");
    fs::copy(golden("weight_files/refused/command.bin"), &pickle).unwrap();
    unsound(&place, &pickle, &["eval.bin", "posix.system"]);

    // A part of a checkpoint that is missing, and a file of nothing that is known.
    let mut text = String::from_utf8(bytes[8..header].to_vec()).unwrap();
    text = text.replace("decoder.", "decodex.");
    let mut renamed = bytes[..8].to_vec();
    renamed.extend(text.bytes().chain(bytes[header..].iter().copied()));
    unsound(
        &place,
        &place.file("odd.safetensors", &renamed),
        &["odd.safetensors", "no part of a model", "decodex."],
    );
}

/// A file with other tensors: zeros of f32 by their keys, or NaN.
fn changed(place: &Workplace, from: &Path, name: &str, without: &str, more: &[(&str, f32)]) -> PathBuf {
    let bytes = fs::read(from).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let more: Vec<(&str, [u8; 4])> = more.iter().map(|(key, value)| (*key, value.to_le_bytes())).collect();
    let replaced = |key: &str| more.iter().any(|(other, _)| *other == key);
    let kept = tensors.iter().filter(|(key, _)| *key != without && !replaced(key));
    let more = more.iter().map(|(key, bytes)| (*key, TensorView::new(Dtype::F32, vec![1], bytes).unwrap()));
    place.file(name, &safetensors::serialize(kept.chain(more), None).unwrap())
}

#[test]
fn an_autoencoder_that_is_not_whole_is_told() {
    let place = Workplace::new();
    let vae = golden("pipeline/checkpoint/vae/diffusion_pytorch_model.safetensors");
    let missing = "decoder.up_blocks.0.resnets.0.conv1.weight";
    let less = changed(&place, &vae, "less.safetensors", missing, &[]);
    unsound(&place, &less, &["less.safetensors", missing, "missing"]);
    let more = changed(&place, &vae, "more.safetensors", "", &[("left.over", 0.0)]);
    unsound(&place, &more, &["more.safetensors", "left.over", "does not belong"]);
    let shown = models(&place, "show", &more, true).done().json();
    assert_eq!(list(&shown["problems"]), Vec::<String>::new(), "only verify builds it");
}

#[test]
fn what_no_model_reads_may_be_anything() {
    let place = Workplace::new();
    let whole = place.unpacked("single_file/sd1.safetensors.gz", "whole.safetensors");
    let unread = [("alphas_cumprod", f32::INFINITY), ("model_ema.decay", f32::NAN)];
    let constants = changed(&place, &whole, "constants.safetensors", "", &unread);
    models(&place, "verify", &constants, false).done();
    // By its key alone a tensor is not passed over.
    let unet = golden("few_step/lcm/diffusion_pytorch_model.safetensors");
    let spare = changed(&place, &unet, "unet.safetensors", "", &[("spare", f32::NAN)]);
    unsound(&place, &spare, &["unet.safetensors", "spare", "NaN"]);
    let says = |file: &Path| models(&place, "verify", file, false).stdout;
    let tensors = SafeTensors::deserialize(&fs::read(&constants).unwrap()).unwrap().len();
    let read = says(&constants).lines().last().unwrap().to_owned();
    let count: usize = read.split(' ').rev().nth(2).unwrap().parse().unwrap();
    assert!(count > 0 && count <= tensors - unread.len(), "{count} of {tensors}: {read}");
}

/// By the configuration of its folder, whether the file is named or the folder.
#[test]
fn a_network_that_does_not_fit_its_configuration_is_told() {
    let place = Workplace::new();
    let missing = "mid_block.resnets.0.conv1.weight";
    for network in ["controlnet", "unet"] {
        let from = golden(&format!("controlnet/sd1/{network}"));
        let folder = place.path(network);
        crate::support::copy_folder(&from, &folder);
        let name = "diffusion_pytorch_model.safetensors";
        let verified = models(&place, "verify", &folder.join(name), false).done().stdout;
        assert!(verified.contains("keys and shapes compared with the config.json"), "{verified}");
        let file = format!("{network}/{name}");
        changed(&place, &from.join(name), &file, missing, &[("left.over", 0.0), ("conv_in.bias", 0.0)]);
        for path in [folder.join(name), folder] {
            let says = [file.as_str(), missing, "is missing", "left.over", "conv_in.bias", "has shape [1]"];
            unsound(&place, &path, &says);
        }
    }
}

#[test]
fn a_face_pack_is_loaded() {
    let place = Workplace::new();
    let pack = place.path("buffalo_l");
    crate::support::copy_folder(&golden("face_packs/buffalo_l"), &pack);
    let sound = models(&place, "verify", &pack, false).done().stdout;
    for says in ["the recogniser of the face pack buffalo_l", "--face-encoder", "2 of 2 files are sound"] {
        assert!(sound.contains(says), "\"{says}\" is not in: {sound}");
    }
    let recogniser = pack.join("w600k_r50.onnx");
    let bytes = fs::read(&recogniser).unwrap();
    // The graph stands before the weights, so that its outside still tells what it is.
    fs::write(&recogniser, &bytes[..bytes.len() - 100]).unwrap();
    unsound(&place, &pack, &["w600k_r50.onnx"]);
    fs::remove_file(&recogniser).unwrap();
    unsound(&place, &pack, &["buffalo_l", "no ArcFace recogniser"]);
}

#[test]
fn a_models_folder_is_read_whole() {
    let place = Workplace::new();
    let run = models(&place, "verify", &place.model(), false).done();
    assert!(run.stdout.contains("4 of 4 files are sound"), "{}", run.stdout);
    // By its name, where it lies among the models.
    let named =
        place.command().env("IMAGINE_MODELS", place.shelf()).args(["models", "verify", "tiny"]).output();
    assert!(crate::support::finish(named.unwrap()).done().stdout.contains("4 of 4 files are sound"));

    let unet = place.model().join("unet/diffusion_pytorch_model.safetensors");
    let bytes = fs::read(&unet).unwrap();
    fs::write(&unet, &bytes[..bytes.len() / 2]).unwrap();
    unsound(&place, &place.model(), &["unet/diffusion_pytorch_model.safetensors", "ends before"]);
    fs::write(&unet, bytes).unwrap();
    fs::remove_dir_all(place.model().join("tokenizer")).unwrap();
    unsound(&place, &place.model(), &["the folder tokenizer/ is missing"]);

    let sharded = place.path("vae_sharded");
    crate::support::copy_folder(&golden("weight_files/vae_sharded"), &sharded);
    models(&place, "verify", &sharded, true).done();
    let shard = fs::read_dir(&sharded).unwrap().flatten().map(|entry| entry.path());
    let shard = shard.filter(|path| path.extension().is_some_and(|end| end == "safetensors")).max().unwrap();
    fs::remove_file(&shard).unwrap();
    let name = shard.file_name().unwrap().to_string_lossy().into_owned();
    unsound(&place, &sharded, &[&name, "missing"]);
    // None of the shards is left, beside another part that is whole.
    let both = place.path("both");
    fs::create_dir_all(both.join("vae")).unwrap();
    let other = both.join("other.safetensors");
    fs::copy(golden("weight_files/vae/diffusion_pytorch_model.safetensors"), &other).unwrap();
    let index = "diffusion_pytorch_model.safetensors.index.json";
    fs::copy(golden("weight_files/vae_sharded").join(index), both.join("vae").join(index)).unwrap();
    unsound(&place, &both, &["vae/diffusion_pytorch_model.safetensors.index.json", "missing"]);
    fs::remove_file(other).unwrap();
    unsound(&place, &both, &["vae/diffusion_pytorch_model.safetensors.index.json", "missing"]);
    let emptied = Workplace::new();
    fs::remove_file(emptied.model().join("unet/diffusion_pytorch_model.safetensors")).unwrap();
    unsound(&emptied, &emptied.model(), &["unet", "diffusion_pytorch_model.safetensors"]);
    fs::create_dir(place.path("empty")).unwrap();
    models(&place, "verify", &place.path("empty"), false).refused(&["empty", "no files of weights"]);
    models(&place, "verify", Path::new("nowhere"), false).refused(&["nowhere", "has not been pulled"]);
}
