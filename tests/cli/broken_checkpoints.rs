//! Checkpoints and adapters that are not what they should be. Each is a copy of the tiny checkpoint with
//! one thing wrong.

use std::fs;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::support::{Workplace, embedding, embedding_width, npy};

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";
const VAE: &str = "vae/diffusion_pytorch_model.safetensors";
const ADAPTER: &str = "ip-adapter-faceid_tiny.safetensors";
const TEXT: &str = "text_encoder/model.safetensors";

struct Named {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    data: Vec<u8>,
}

/// Rewrites a safetensors file with its tensors changed.
fn edit(file: &Path, change: impl FnOnce(&mut Vec<Named>)) {
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Vec<Named> = tensors
        .iter()
        .map(|(name, view)| Named {
            name: name.into(),
            dtype: view.dtype(),
            shape: view.shape().to_vec(),
            data: view.data().to_vec(),
        })
        .collect();
    change(&mut all);
    let views = all.iter().map(|t| (&t.name, TensorView::new(t.dtype, t.shape.clone(), &t.data).unwrap()));
    fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn find<'a>(all: &'a mut [Named], name: &str) -> &'a mut Named {
    all.iter_mut().find(|t| t.name.ends_with(name)).unwrap_or_else(|| panic!("the fixture has no {name}"))
}

/// A tensor of each part that every checkpoint has; the text encoder's may carry a prefix.
const PARTS: [(&str, &str); 3] =
    [(UNET, "conv_in.weight"), (VAE, "decoder.conv_out.bias"), (TEXT, "final_layer_norm.weight")];

/// Runs on the checkpoint with one file changed; the error must hold all of `says`.
fn refused_after(change: impl FnOnce(&Path), says: &[&str]) {
    let place = Workplace::new();
    change(&place.model());
    place.generate(["--out", "pictures"]).refused(says);
    assert!(place.names("").is_empty(), "nothing is left behind");
}

#[test]
fn a_tensor_is_missing() {
    for (file, tensor) in PARTS {
        let drop = |all: &mut Vec<Named>| {
            find(all, tensor);
            all.retain(|t| !t.name.ends_with(tensor));
        };
        refused_after(|model| edit(&model.join(file), drop), &[file, tensor]);
    }
}

#[test]
fn a_tensor_nobody_knows() {
    let add = |all: &mut Vec<Named>| {
        let (dtype, data) = (Dtype::F32, vec![0; 4]);
        all.push(Named { name: "surplus.weight".into(), dtype, shape: vec![1], data });
    };
    refused_after(|model| edit(&model.join(UNET), add), &["unet", "surplus.weight"]);
}

#[test]
fn a_tensor_has_the_wrong_shape() {
    for (file, tensor) in PARTS {
        // the same values in another shape: only the shape can give it away
        let reshape = |all: &mut Vec<Named>| find(all, tensor).shape.insert(0, 1);
        refused_after(|model| edit(&model.join(file), reshape), &[file, tensor, "[1, "]);
    }
}

#[test]
fn a_weight_is_not_a_number() {
    for (file, tensor) in PARTS {
        let spoil = |all: &mut Vec<Named>| {
            // all bits set are a NaN in every float type
            find(all, tensor).data.iter_mut().rev().take(4).for_each(|byte| *byte = 0xff);
        };
        refused_after(|model| edit(&model.join(file), spoil), &[file, tensor, "NaN"]);
    }
}

#[test]
fn a_weights_file_is_cut_short() {
    let cut = |model: &Path| {
        let bytes = fs::read(model.join(UNET)).unwrap();
        fs::write(model.join(UNET), &bytes[..bytes.len() - 100]).unwrap();
    };
    refused_after(cut, &[UNET]);
    refused_after(|model| fs::write(model.join(VAE), b"<html>404</html>").unwrap(), &[VAE]);
    refused_after(|model| fs::write(model.join(TEXT), b"").unwrap(), &[TEXT]);
}

#[test]
fn a_file_or_folder_is_missing() {
    for file in [UNET, "vae/config.json", "unet/config.json", "scheduler/scheduler_config.json"] {
        let folder = file.split('/').next().unwrap();
        refused_after(|model| fs::remove_file(model.join(file)).unwrap(), &[folder]);
    }
    refused_after(|model| fs::remove_dir_all(model.join("tokenizer")).unwrap(), &["tokenizer"]);
}

#[test]
fn a_configuration_is_not_json_or_names_something_else() {
    let write = |file: &'static str, text: &'static str| {
        move |model: &Path| fs::write(model.join(file), text).unwrap()
    };
    refused_after(write("unet/config.json", "{"), &["unet/config.json"]);
    refused_after(write("model_index.json", "[]"), &["model_index.json"]);
    let flux = r#"{"_class_name": "FluxPipeline"}"#;
    refused_after(write("model_index.json", flux), &["FluxPipeline"]);
    let unknown = r#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#;
    refused_after(write("scheduler/scheduler_config.json", unknown), &["FlowMatchEulerDiscreteScheduler"]);
}

#[test]
fn an_adapter_is_not_what_it_should_be() {
    const KEY: &str = "ip_adapter.1.to_k_ip.weight";
    let refused = |change: fn(&mut Vec<Named>), says: &str| {
        let place = Workplace::new();
        edit(&place.model().join(ADAPTER), change);
        let person = place.file("person.npy", &npy(&embedding(embedding_width())));
        let run = place.generate(["--identity-embedding", &person.display().to_string()]);
        run.refused(&[ADAPTER, says]);
    };
    refused(|all| all.retain(|t| t.name != KEY), KEY);
    refused(|all| find(all, KEY).shape.reverse(), KEY);
    refused(|all| find(all, KEY).data.fill(0xff), "NaN");
    // an adapter for a model whose text condition has another width
    refused(
        |all| {
            let tokens = find(all, "image_proj.norm.weight");
            (tokens.shape, tokens.data) = (vec![8], tokens.data[..tokens.data.len() / 2].to_vec());
            let bias = find(all, "image_proj.norm.bias");
            (bias.shape, bias.data) = (vec![8], bias.data[..bias.data.len() / 2].to_vec());
        },
        "belongs to another base model",
    );
}
