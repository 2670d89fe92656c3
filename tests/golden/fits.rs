//! Files held against the models that they are for: of the published sizes by diffusers' and transformers' own lists of
//! keys and shapes (fixtures by `generate/published.py`), others by the `config.json` beside them.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use imagine_pipeline::fit::{Fit, fit, fit_folder};
use imagine_pipeline::inspect::{FilePart, TensorFiles, inspect};
use imagine_tests::fixtures;
use serde_json::json;
use tempfile::TempDir;

use crate::broken_files::{Stored, read_safetensors, write_safetensors};

type Shapes = BTreeMap<String, Vec<i64>>;

fn published(name: &str) -> Shapes {
    let packed = fs::read(fixtures("published").join("shapes.json.gz")).expect("the fixture");
    let mut text = String::new();
    GzDecoder::new(&packed[..]).read_to_string(&mut text).expect("a gzip file");
    let mut all: BTreeMap<String, Shapes> = serde_json::from_str(&text).expect("JSON");
    all.remove(name).unwrap_or_else(|| panic!("no network {name}"))
}

/// Files of these shapes, full of zeros that take no space.
struct Sparse {
    dir: TempDir,
}

impl Sparse {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a temporary folder") }
    }

    fn write(&self, name: &str, shapes: &Shapes) -> PathBuf {
        let mut end = 0;
        let mut header = serde_json::Map::new();
        for (key, shape) in shapes {
            let start = end;
            end += 2 * shape.iter().product::<i64>();
            header.insert(key.clone(), json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]}));
        }
        let header = serde_json::Value::Object(header).to_string();
        let path = self.dir.path().join(name);
        let mut file = fs::File::create(&path).expect("a file");
        file.write_all(&(header.len() as u64).to_le_bytes()).expect("the length");
        file.write_all(header.as_bytes()).expect("the header");
        file.set_len(8 + header.len() as u64 + end as u64).expect("a sparse file");
        path
    }
}

fn looked_at(path: &Path) -> (FilePart, Fit) {
    let files = Arc::new(TensorFiles::open(&[path.to_path_buf()]).unwrap_or_else(|e| panic!("{e}")));
    let found = inspect(path, &files).unwrap_or_else(|e| panic!("{e}"));
    (found.part, fit(path, &files, &found))
}

/// The file is whole; and with one tensor less, one more and one turned, each of the three is told.
fn assert_told(name: &str, part: FilePart, with: &str, shapes: &Shapes) {
    let sparse = Sparse::new();
    let whole = sparse.write(name, shapes);
    let fit = Fit { with: Some(with.into()), problems: Vec::new() };
    assert_eq!(looked_at(&whole), (part, fit), "{name}");
    // Neither the first nor the last: by those the kind is told.
    // A LoRA's first half says its rank, by which the second is judged.
    let plain = |(key, shape): &(&String, &Vec<i64>)| {
        shape.len() == 2 && shape[0] != shape[1] && !key.contains("_lora.down.")
    };
    let mut middle = shapes.iter().filter(plain).map(|(key, _)| key.clone()).skip(shapes.len() / 12);
    let (gone, turned) = (middle.next().expect("a matrix"), middle.next().expect("another"));
    let mut broken = shapes.clone();
    broken.remove(&gone);
    broken.get_mut(&turned).expect("the matrix").reverse();
    let spare = match part {
        FilePart::Adapter => "ip_adapter.999.to_k_ip.weight",
        _ => "left.over",
    };
    broken.insert(spare.into(), vec![3]);
    let file = format!("broken-{name}");
    let (_, fit) = looked_at(&sparse.write(&file, &broken));
    for (key, what) in [(gone.as_str(), "missing"), (&turned, "has shape"), (spare, "does not belong")] {
        let key = format!("\"{key}\"");
        let told = fit.problems.iter().any(|p| p.contains(&file) && p.contains(&key) && p.contains(what));
        assert!(told, "{name}: {key} {what} is not in {:?}", fit.problems);
    }
    assert_eq!(fit.problems.len(), 3, "{name}: {:?}", fit.problems);
}

#[test]
fn networks_of_the_published_sizes() {
    for (name, with) in
        [("sd15", "SD 1.5"), ("sd15_inpainting", "SD 1.5"), ("sd21", "SD 2.1"), ("sdxl", "SDXL")]
    {
        assert_told(&format!("{name}.safetensors"), FilePart::UNet, with, &published(name));
    }
    for (name, with) in
        [("vit_l", "CLIP ViT-L/14"), ("vit_h", "OpenCLIP ViT-H/14"), ("vit_big_g", "OpenCLIP ViT-bigG/14")]
    {
        let shapes = published(name);
        assert_told(&format!("{name}.safetensors"), FilePart::TextEncoder, with, &shapes);
        // As transformers saved it before version 5.
        let older = |(key, shape): (&String, &Vec<i64>)| match key.starts_with("text_") {
            true => (key.clone(), shape.clone()),
            false => (format!("text_model.{key}"), shape.clone()),
        };
        let shapes = shapes.iter().map(older).collect();
        assert_told(&format!("{name}-4.safetensors"), FilePart::TextEncoder, with, &shapes);
    }
    let with = "the published image encoder of its width";
    assert_told("vit_h.safetensors", FilePart::ImageEncoder, with, &published("vit_h_vision"));
}

/// Numbers of the attention layers in the order of adapters, with their width and whether they attend to the text.
fn attentions(unet: &Shapes) -> Vec<(i64, bool)> {
    let queries = |start: &str| {
        let found = unet.iter().filter(|(key, _)| key.starts_with(start) && key.ends_with(".to_q.weight"));
        let mut found: Vec<(&String, i64)> = found.map(|(key, shape)| (key, shape[0])).collect();
        let number = |part: &str| part.trim_start_matches("attn").parse::<u32>().unwrap_or(0);
        found.sort_by_key(|(key, _)| key.split('.').map(number).collect::<Vec<_>>());
        found.into_iter().map(|(key, width)| (width, key.contains(".attn2."))).collect::<Vec<_>>()
    };
    [queries("down_blocks."), queries("up_blocks."), queries("mid_block.")].concat()
}

fn with_layers(mut shapes: Shapes, unet: &str, cross: i64, rank: Option<i64>) -> Shapes {
    for (n, (width, is_cross)) in attentions(&published(unet)).into_iter().enumerate() {
        let inputs = if is_cross { cross } else { width };
        let mut add = |name: &str, shape: [i64; 2]| {
            shapes.insert(format!("ip_adapter.{n}.{name}.weight"), shape.to_vec())
        };
        if is_cross {
            add("to_k_ip", [width, cross]);
            add("to_v_ip", [width, cross]);
        }
        for (name, inputs) in [("q", width), ("k", inputs), ("v", inputs), ("out", width)] {
            if let Some(rank) = rank {
                add(&format!("to_{name}_lora.down"), [rank, inputs]);
                add(&format!("to_{name}_lora.up"), [width, rank]);
            }
        }
    }
    shapes
}

fn linear(shapes: &mut Shapes, name: &str, outputs: i64, inputs: i64) {
    shapes.insert(format!("image_proj.{name}.weight"), vec![outputs, inputs]);
    shapes.insert(format!("image_proj.{name}.bias"), vec![outputs]);
}

fn norm(shapes: &mut Shapes, name: &str, width: i64) {
    for part in ["weight", "bias"] {
        shapes.insert(format!("image_proj.{name}.{part}"), vec![width]);
    }
}

fn face_id(cross: i64) -> Shapes {
    let mut shapes = Shapes::new();
    let inner = 1024;
    linear(&mut shapes, "proj.0", inner, 512);
    linear(&mut shapes, "proj.2", 4 * cross, inner);
    norm(&mut shapes, "norm", cross);
    shapes
}

#[test]
fn adapters_of_the_published_sizes() {
    for (unet, cross, with) in [("sd15", 768, "SD 1.5"), ("sdxl", 2048, "SDXL")] {
        let name = format!("ip-adapter-faceid_{unet}.safetensors");
        let shapes = with_layers(face_id(cross), unet, cross, Some(128));
        assert_told(&name, FilePart::Adapter, with, &shapes);
        // One for the other base, as by its width alone.
        let other = if unet == "sd15" { "sdxl" } else { "sd15" };
        let wrong = with_layers(face_id(cross), other, cross, Some(128));
        let (_, fit) = looked_at(&Sparse::new().write(&name, &wrong));
        assert!(fit.problems[0].contains("cross-attention layers"), "{:?}", fit.problems);
    }
    let mut plain = Shapes::new();
    linear(&mut plain, "proj", 4 * 768, 1024);
    norm(&mut plain, "norm", 768);
    let shapes = with_layers(plain, "sd15", 768, None);
    assert_told("ip-adapter_sd15.safetensors", FilePart::Adapter, "SD 1.5", &shapes);
}

#[test]
fn loras_of_the_published_sizes() {
    let unet = published("sdxl");
    let layers = unet.iter().filter(|(key, _)| key.contains(".attn2.to_") || key.contains(".attn1.to_"));
    let mut shapes = Shapes::new();
    for (key, shape) in layers.filter(|(key, _)| key.ends_with(".weight")) {
        let layer = key.trim_end_matches(".weight").replace('.', "_");
        shapes.insert(format!("lora_unet_{layer}.lora_down.weight"), vec![8, shape[1]]);
        shapes.insert(format!("lora_unet_{layer}.lora_up.weight"), vec![shape[0], 8]);
        shapes.insert(format!("lora_unet_{layer}.alpha"), vec![]);
    }
    let text = "lora_te2_text_model_encoder_layers_31_mlp_fc1";
    shapes.insert(format!("{text}.lora_down.weight"), vec![8, 1280]);
    shapes.insert(format!("{text}.lora_up.weight"), vec![5120, 8]);
    let sparse = Sparse::new();
    let told = |name: &str, shapes: &Shapes| looked_at(&sparse.write(name, shapes));
    let fit = Fit { with: Some("SDXL".into()), problems: Vec::new() };
    assert_eq!(told("style.safetensors", &shapes), (FilePart::Lora, fit));
    let up = format!("{text}.lora_up.weight");
    shapes.insert(up.clone(), vec![5121, 8]);
    let (_, fit) = told("wide.safetensors", &shapes);
    assert!(fit.problems[0].contains("wide.safetensors") && fit.problems[0].contains("5121"), "{fit:?}");
    let moved = |part: &str| (format!("{text}.{part}"), format!("{}.{part}", text.replace("_31_", "_32_")));
    for part in ["lora_down.weight", "lora_up.weight"] {
        let (from, to) = moved(part);
        let shape = shapes.remove(&from).expect("the text encoder's");
        shapes.insert(to, shape);
    }
    let (_, fit) = told("layers.safetensors", &shapes);
    assert!(fit.problems[0].contains("layers_32") && fit.problems[0].contains("does not have"), "{fit:?}");
}

/// A copy of a folder of fixtures.
fn copied(folder: &Path) -> TempDir {
    let dir = tempfile::tempdir().expect("a temporary folder");
    for entry in fs::read_dir(folder).expect("the fixture").flatten() {
        fs::copy(entry.path(), dir.path().join(entry.file_name())).expect("a copy");
    }
    dir
}

#[test]
fn networks_of_any_size_with_their_configuration() {
    let folders = [
        ("controlnet/sd1/controlnet", "diffusion_pytorch_model.safetensors"),
        ("controlnet/sdxl/unet", "diffusion_pytorch_model.safetensors"),
        ("instant_id/ControlNetModel", "diffusion_pytorch_model.safetensors"),
        ("pipeline/checkpoint/vae", "diffusion_pytorch_model.safetensors"),
        ("sdxl/checkpoint/text_encoder_2", "model.safetensors"),
        ("ip_adapters/image_encoder", "model.safetensors"),
    ];
    for (folder, name) in folders {
        let dir = copied(&fixtures(folder));
        let file = dir.path().join(name);
        let with = Some("the config.json beside it".to_string());
        let whole = Fit { with: with.clone(), problems: Vec::new() };
        assert_eq!(fit_folder(dir.path()), Some(whole.clone()), "{folder}");
        assert_eq!(looked_at(&file).1, whole, "{folder}");
        let mut tensors = read_safetensors(&file);
        let matrices = tensors.iter().filter(|(_, t)| t.shape.len() > 1 && t.shape[0] != t.shape[1]);
        let mut keys = matrices.map(|(key, _)| key.clone());
        let (gone, turned) = (keys.next_back().expect("a matrix"), keys.next_back().expect("another"));
        tensors.remove(&gone);
        tensors.get_mut(&turned).expect("the matrix").shape.reverse();
        tensors.insert("left.over".into(), Stored::zeros(&[1]));
        write_safetensors(&file, &tensors);
        let fit = fit_folder(dir.path()).expect("a network");
        for (key, what) in
            [(gone.as_str(), "missing"), (&turned, "has shape"), ("left.over", "does not belong")]
        {
            let told = fit.problems.iter().any(|p| p.contains(name) && p.contains(key) && p.contains(what));
            assert!(told, "{folder}: {key} {what} is not in {:?}", fit.problems);
        }
        assert_eq!((fit.problems.len(), &fit.with), (3, &with), "{folder}: {:?}", fit.problems);
        assert_eq!(looked_at(&file).1, fit, "{folder}");
    }
    // No network that is known here.
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("config.json"), r#"{"architectures": ["StableDiffusionSafetyChecker"]}"#)
        .expect("a file");
    assert_eq!(fit_folder(dir.path()), None);
}

#[test]
fn a_whole_checkpoint_with_a_tensor_of_another_shape() {
    let (dir, file, _) = crate::checkpoint_files::unpacked("sd1.safetensors");
    assert_eq!(looked_at(&file).1, Fit { with: Some("its own shapes".into()), problems: Vec::new() });
    let mut tensors = read_safetensors(&file);
    let key = "model.diffusion_model.time_embed.2.bias";
    tensors.insert(key.into(), Stored::zeros(&[3]));
    let broken = dir.path().join("broken.safetensors");
    write_safetensors(&broken, &tensors);
    let (_, fit) = looked_at(&broken);
    assert_eq!(fit.problems.len(), 1, "{fit:?}");
    for says in ["broken.safetensors", key, "[3]"] {
        assert!(fit.problems[0].contains(says), "{fit:?}");
    }
}
