//! Weight files in every format, written by torch.save, safetensors, diffusers and transformers (fixtures by
//! `generate/weight_files.py`): the same tensors from all; and those that must be refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imagine_tests::{Golden, fixtures};
use imagine_unet::weights::{Change, Init, TensorFiles};
use imagine_unet::{Weights, WeightsError};
use tch::{Device, Kind, Tensor};

const CPU: Device = Device::Cpu;

fn fixture(inner: &str) -> PathBuf {
    fixtures("weight_files").join(inner)
}

fn open(file: &Path) -> Result<Weights, WeightsError> {
    Weights::open(&[file.to_path_buf()], CPU, Kind::Float)
}

fn get(weights: &Weights, key: &str) -> Result<Tensor, WeightsError> {
    weights.root().get(key, &weights.shape(key).unwrap_or_default(), Init::Zeros)
}

/// Every tensor of `weights` equals the golden one, and nothing is missing or left.
fn assert_same(what: &str, weights: &Weights, golden: &Golden) {
    let mut names = golden.names();
    names.sort();
    assert_eq!(weights.keys(), names, "{what}");
    for name in names {
        let tensor = get(weights, &name).unwrap_or_else(|e| panic!("{what}: {e}"));
        let expected = golden.get(&name).to_kind(Kind::Float);
        assert!(tensor.is_contiguous() && tensor.equal(&expected), "{what}: {name} differs");
    }
    weights.finish(&[]).unwrap_or_else(|e| panic!("{what}: {e}"));
}

#[test]
fn pickles_hold_the_tensors_that_torch_saved() {
    let golden = Golden::read("weight_files", "adapter.safetensors");
    assert!(golden.names().contains(&"image_proj.norm.weight".into()));
    for name in ["adapter.bin", "zip64.bin", "protocol4.pt", "legacy.bin", "adapter.safetensors"] {
        let weights = open(&fixture(name)).unwrap_or_else(|e| panic!("{e}"));
        assert_same(name, &weights, &golden);
    }
}

#[test]
fn the_format_is_told_by_content() {
    let golden = Golden::read("weight_files", "adapter.safetensors");
    let dir = tempfile::tempdir().expect("a temporary folder");
    for (name, other) in
        [("adapter.bin", "a.safetensors"), ("legacy.bin", "b.ckpt"), ("adapter.safetensors", "c.bin")]
    {
        let copy = dir.path().join(other);
        fs::copy(fixture(name), &copy).expect("a copy");
        assert_same(other, &open(&copy).unwrap_or_else(|e| panic!("{e}")), &golden);
    }
}

#[test]
fn of_a_training_checkpoint_only_the_weights_count() {
    let golden = Golden::read("weight_files", "training.safetensors");
    assert_same("training.ckpt", &open(&fixture("training.ckpt")).expect("it opens"), &golden);
    let files = TensorFiles::open(&[fixture("training.ckpt")]).expect("it opens");
    assert_eq!(files.number("global_step"), Some(875_000.0));
    assert_eq!((files.number("state_dict"), files.number("pytorch-lightning_version")), (None, None));
}

/// Objects beside the weights, made by classes that are not looked up: passed over, whatever they are.
#[test]
fn what_a_training_leaves_beside_its_weights_is_passed_over() {
    let golden = Golden::read("weight_files", "training.safetensors");
    for name in ["callbacks.ckpt", "objects.ckpt", "objects_legacy.ckpt", "objects_4.ckpt"] {
        let weights = open(&fixture(name)).unwrap_or_else(|e| panic!("{e}"));
        assert_same(name, &weights, &golden);
        let files = TensorFiles::open(&[fixture(name)]).expect("it opens");
        assert_eq!(files.number("global_step"), Some(875_000.0), "{name}");
    }
}

#[test]
fn integers_may_stand_beside_weights_but_are_none() {
    let weights = open(&fixture("integers.bin")).expect("it opens");
    assert!(get(&weights, "weight").expect("ones").equal(&Tensor::ones([2], (Kind::Float, CPU))));
    for (key, name) in [("int64", "I64"), ("int32", "I32"), ("uint8", "U8"), ("bool", "BOOL")] {
        let message = get(&weights, key).expect_err(key).to_string();
        assert!(message.contains(&format!("\"{key}\" has type {name}")), "{message}");
    }
}

#[test]
fn folders_in_every_naming() {
    let dir = fixtures("weight_files");
    let vae = Golden::read("weight_files", "vae/diffusion_pytorch_model.safetensors");
    let text = Golden::read("weight_files", "text/model.safetensors");
    for (folder, golden) in [
        ("vae", &vae),
        ("vae_sharded", &vae),
        ("vae_sharded_fp16", &vae),
        ("text", &text),
        ("text_sharded", &text),
        ("text_bin", &text),
    ] {
        let weights = Weights::open_folder(&dir.join(folder), CPU, Kind::Float);
        assert_same(folder, &weights.unwrap_or_else(|e| panic!("{folder}: {e}")), golden);
    }
    let index = fixture("vae_sharded/diffusion_pytorch_model.safetensors.index.json");
    assert_same("an index by its path", &open(&index).unwrap_or_else(|e| panic!("{e}")), &vae);
}

/// A copy of a folder of the fixtures.
fn copied(folder: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(fixture(folder)).expect("the fixture") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, dir.path().join(path.file_name().expect("a name"))).expect("a copy");
    }
    dir
}

fn refused(dir: &Path) -> String {
    let opened = Weights::open_folder(dir, CPU, Kind::Float);
    opened.map(drop).expect_err("it must be refused").to_string()
}

/// A folder with one good file under the one name and a damaged one under the other: which is taken?
#[test]
fn full_precision_comes_first_and_pickles_last() {
    let vae = fixture("vae/diffusion_pytorch_model.safetensors");
    let text = fixture("text_bin/pytorch_model.bin");
    for (file, good, damaged) in [
        (&vae, "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
        (&vae, "diffusion_pytorch_model.fp16.safetensors", "diffusion_pytorch_model.bin"),
        (&vae, "model.safetensors", "model.fp16.safetensors"),
        (&vae, "model.fp16.safetensors", "pytorch_model.bin"),
        (&vae, "model.bf16.safetensors", "pytorch_model.bin"),
        (&text, "diffusion_pytorch_model.bin", "diffusion_pytorch_model.fp16.bin"),
    ] {
        let dir = tempfile::tempdir().expect("a temporary folder");
        fs::write(dir.path().join(damaged), "damaged").expect("a file");
        assert!(refused(dir.path()).contains(damaged));
        fs::copy(file, dir.path().join(good)).expect("a copy");
        let opened = Weights::open_folder(dir.path(), CPU, Kind::Float);
        assert!(!opened.unwrap_or_else(|e| panic!("{good}: {e}")).keys().is_empty());
    }
}

#[test]
fn shards_that_do_not_fit_their_index() {
    const INDEX: &str = "diffusion_pytorch_model.safetensors.index.json";
    let shard = |n: usize| format!("diffusion_pytorch_model-0000{n}-of-00002.safetensors");
    let dir = copied("vae_sharded");
    fs::remove_file(dir.path().join(shard(2))).expect("a shard");
    let message = refused(dir.path());
    assert!(
        message.contains(INDEX) && message.contains(&shard(2)) && message.contains("missing"),
        "{message}"
    );

    // The index says one key more, one key in the wrong shard.
    let text = fs::read_to_string(fixture("vae_sharded").join(INDEX)).expect("the index");
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let map = json["weight_map"].as_object().expect("a map");
    let (key, _) = map.iter().find(|(_, file)| **file == *shard(1)).expect("a key of the first shard");
    for (key, file) in [("one.more", shard(1)), (key, shard(2))] {
        let dir = copied("vae_sharded");
        let mut json = json.clone();
        json["weight_map"][key] = file.clone().into();
        fs::write(dir.path().join(INDEX), json.to_string()).expect("the index");
        let message = refused(dir.path());
        assert!(message.contains(&file) && message.contains(key) && message.contains(INDEX), "{message}");
    }
    // The index says one key less: it is the model's business whether that is one too many.
    let dir = copied("vae_sharded");
    let mut fewer = json.clone();
    fewer["weight_map"].as_object_mut().expect("a map").remove(key);
    fs::write(dir.path().join(INDEX), fewer.to_string()).expect("the index");
    let weights = Weights::open_folder(dir.path(), CPU, Kind::Float).expect("it opens");
    assert!(weights.finish(&[]).is_err() && weights.keys().contains(key));

    for (text, says) in [
        ("{", "line 1"),
        ("[]", "weight_map"),
        ("{}", "weight_map"),
        (r#"{"weight_map": {"a": "../other.safetensors"}}"#, "../other.safetensors"),
        (r#"{"weight_map": {"a": "/etc/passwd"}}"#, "/etc/passwd"),
        (r#"{"weight_map": {"a": "x\\y"}}"#, "not the name"),
        (r#"{"weight_map": {"a": ""}}"#, "not the name"),
        (r#"{"weight_map": {"a": ".."}}"#, "not the name"),
        (r#"{"weight_map": {"a": "diffusion_pytorch_model.safetensors.index.json"}}"#, "an index itself"),
    ] {
        fs::write(dir.path().join(INDEX), text).expect("the index");
        let message = refused(dir.path());
        assert!(message.contains(INDEX) && message.contains(says), "{message}");
    }
    // An index that names no shard holds nothing.
    fs::write(dir.path().join(INDEX), r#"{"weight_map": {}}"#).expect("the index");
    assert!(Weights::open_folder(dir.path(), CPU, Kind::Float).expect("empty").keys().is_empty());
}

#[test]
fn nothing_in_a_pickle_is_run_and_its_wish_is_named() {
    for (name, says) in [
        ("command.bin", "posix.system"),
        ("command_legacy.bin", "posix.system"),
        ("command_outside.ckpt", "posix.system"),
        ("object_inside.ckpt", "ldm.modules.ema.LitEma"),
        ("module.pt", "torch.nn.modules.linear.Linear"),
        ("sparse.pt", "torch._utils._rebuild_sparse_tensor"),
    ] {
        let error = open(&fixture("refused").join(name)).map(drop).expect_err(name);
        assert!(matches!(&error, WeightsError::Global { global, .. } if global == says), "{name}: {error}");
        let message = error.to_string();
        assert!(message.contains(name) && message.contains(says), "{message}");
    }
    assert!(!Path::new("imagine-was-here").exists());
    for (name, says) in [
        ("tensor.pt", "no dictionary"),
        ("key.pt", "neither text nor number"),
        ("expanded.pt", "does not fit"),
        ("compressed.bin", "compressed"),
    ] {
        let message = open(&fixture("refused").join(name)).map(drop).expect_err(name).to_string();
        assert!(message.contains(name) && message.contains(says), "{message}");
    }
}

/// Whatever stands at `from` in a file, replaced by as many bytes.
fn patched(name: &str, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut bytes = fs::read(fixture(name)).expect("the fixture");
    let at: Vec<usize> = (0..=bytes.len() - from.len()).filter(|&at| bytes[at..].starts_with(from)).collect();
    assert!(!at.is_empty() && from.len() == to.len(), "{name}");
    for at in at {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
    bytes
}

#[test]
fn damaged_torch_files_are_refused() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("weights.bin");
    let refused = |bytes: &[u8], says: &str| {
        fs::write(&file, bytes).expect("a file");
        let message = open(&file).map(drop).expect_err(says).to_string();
        assert!(message.contains("weights.bin") && message.contains(says), "\"{says}\" is not in: {message}");
    };
    refused(&patched("adapter.bin", b"little", b"bigend"), "byte order");
    refused(&patched("adapter.bin", b"/data.pkl", b"/code.pkl"), "data.pkl");
    refused(&patched("adapter.bin", b"/data/3", b"/date/3"), "storage \"3\" is not in the file");
    refused(&patched("adapter.bin", b"adapter/data/2", b"adapter/data/3"), "stands twice");
    refused(&patched("adapter.bin", b"HalfStorage", b"HackStorage"), "torch.HackStorage");
    refused(&patched("legacy.bin", b"little_endian\x71", b"little_indian\x71"), "byte order");
    refused(b"", "weights.bin");
    refused(b"PK\x03\x04", "damaged");
    refused(b"\x80\x02}q\0.", "torch.save");
    refused(b"<!DOCTYPE html>", "torch.save");
    refused(b"version https://git-lfs.github.com/spec/v1\n", "Git LFS");
    for name in ["adapter.bin", "legacy.bin", "zip64.bin"] {
        let whole = fs::read(fixture(name)).expect("the fixture");
        for length in (1..whole.len()).step_by(7) {
            fs::write(&file, &whole[..length]).expect("a file");
            assert!(open(&file).is_err(), "{name} cut to {length}");
        }
    }
}

/// Any single byte may be wrong: the file is refused or read, and nothing panics, hangs or reads beyond it.
#[test]
fn no_byte_can_do_harm() {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("weights.bin");
    let mut read = 0;
    for name in ["adapter.bin", "legacy.bin", "zip64.bin", "objects.ckpt"] {
        let whole = fs::read(fixture(name)).expect("the fixture");
        for at in 0..whole.len() {
            let flips: &[u8] = if at % 8 == 0 { &[0x01, 0x80, 0xff] } else { &[0xff] };
            for flip in flips {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                fs::write(&file, &bytes).expect("a file");
                if let Ok(weights) = open(&file) {
                    for key in weights.keys() {
                        let elements: i64 = weights.shape(&key).unwrap_or_default().iter().product();
                        assert!(elements <= 64, "{name}: {at}: {key} has {elements} elements");
                        drop(get(&weights, &key));
                    }
                    read += 1;
                }
            }
        }
    }
    assert!(read > 1000, "flips in the data leave the file readable: {read}");
}

/// Dictionaries that hold the one before again and again: few bytes, a great many values.
fn nested(levels: u8, width: u8) -> Vec<u8> {
    let mut pickle = b"\x80\x02}q\0".to_vec();
    for level in 1..=levels {
        pickle.extend([b'}', b'q', level, b'(']);
        for key in 0..width {
            pickle.extend([b'K', key, b'h', level - 1]);
        }
        pickle.push(b'u');
    }
    pickle.push(b'.');
    pickle
}

#[test]
fn dictionaries_that_explode_are_refused() {
    // Written as torch.save's older format, whose first pickles are those of the fixture.
    let legacy = fs::read(fixture("legacy.bin")).expect("the fixture");
    let head = &legacy[..head_length(&legacy)];
    let dir = tempfile::tempdir().expect("a temporary folder");
    let file = dir.path().join("bomb.bin");
    let write = |object: &[u8]| fs::write(&file, [head, object, b"\x80\x02]q\0."].concat()).expect("a file");
    write(&nested(8, 2));
    assert!(open(&file).expect("a few values").keys().is_empty());
    for (object, says) in [
        (nested(30, 2), "deep"),
        (nested(10, 16), "too many values"),
        // A dictionary in itself.
        (b"\x80\x02}q\0X\x01\0\0\0ah\0s.".to_vec(), "deep"),
        (b"\x80\x02}q\0X\x0a\0\0\0state_dicth\0s.".to_vec(), "deep"),
    ] {
        write(&object);
        let message = open(&file).map(drop).expect_err(says).to_string();
        assert!(message.contains("bomb.bin") && message.contains(says), "{message}");
    }
}

/// Bytes before the object's pickle in the older format: three pickles.
fn head_length(bytes: &[u8]) -> usize {
    let mut at = 15;
    for _ in 0..2 {
        at += bytes[at..].iter().position(|&b| b == b'.').expect("a pickle's end") + 1;
    }
    at
}

#[test]
fn keys_can_be_renamed_split_and_turned() {
    let file = fixture("adapter.safetensors");
    let golden = Golden::read("weight_files", "adapter.safetensors");
    let whole = golden.get("ip_adapter.3.to_k_ip.weight"); // [4, 6]
    let map = |key: &str, shape: &[i64]| match key {
        "ip_adapter.3.to_k_ip.weight" => {
            assert_eq!(shape, [4, 6]);
            let part = |part| Change::Rows { part, of: 2 };
            let parts = [("top", part(0)), ("bottom", part(1)), ("turned", Change::Transposed)];
            parts.map(|(name, change)| (name.to_string(), change)).to_vec()
        }
        "image_proj.norm.weight" => vec![("norm.weight".into(), Change::Whole)],
        _ => Vec::new(),
    };
    let weights = Weights::open_mapped(std::slice::from_ref(&file), CPU, Kind::Float, map).expect("it opens");
    assert_eq!(weights.keys(), ["bottom", "norm.weight", "top", "turned"]);
    assert_eq!(weights.shape("turned"), Some(vec![6, 4]));
    weights.add_delta("top", Tensor::ones([2, 6], (Kind::Float, CPU)));
    assert!(get(&weights, "top").expect("rows").equal(&(whole.narrow(0, 0, 2) + 1.0)));
    assert!(get(&weights, "bottom").expect("rows").equal(&whole.narrow(0, 2, 2)));
    assert!(get(&weights, "turned").expect("a matrix").equal(&whole.tr().contiguous()));
    // Keys that the model does not ask for are told under the file's name.
    let message = weights.finish(&[]).expect_err("norm.weight is left").to_string();
    assert!(message.contains("\"image_proj.norm.weight\""), "{message}");
    let message = weights.root().get("norm.weight", &[7], Init::Zeros).expect_err("a shape").to_string();
    assert!(message.contains("image_proj.norm.weight") && message.contains("[7]"), "{message}");

    for change in [Change::Rows { part: 0, of: 3 }, Change::Transposed, Change::Matrix] {
        let map = |key: &str, _: &[i64]| {
            (key == "image_proj.norm.weight").then(|| ("x".to_string(), change)).into_iter().collect()
        };
        let error = Weights::open_mapped(std::slice::from_ref(&file), CPU, Kind::Float, map)
            .map(drop)
            .expect_err("a shape");
        assert!(error.to_string().contains("image_proj.norm.weight") && error.to_string().contains("[4]"));
    }
    let twice = |_: &str, _: &[i64]| vec![("x".to_string(), Change::Whole)];
    let error = Weights::open_mapped(std::slice::from_ref(&file), CPU, Kind::Float, twice)
        .map(drop)
        .expect_err("twice");
    assert!(matches!(error, WeightsError::Twice { .. }), "{error}");
    let files = Arc::new(TensorFiles::open(&[file]).expect("it opens"));
    assert_same("unchanged", &Weights::from_files(&files, CPU, Kind::Float), &golden);
}
