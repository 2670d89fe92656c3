//! The text encoders of the original layout: OpenAI's CLIP under transformers' own names, OpenCLIP's under
//! its own, with query, key and value in one matrix and the projection transposed. Reference for the names:
//! `convert_open_clip_checkpoint` of diffusers.

use imagine_encoders::ClipTextConfig;
use imagine_unet::weights::{Change, KeyMap};

use super::error::SingleFileError;
use super::layout::{Keys, Layout};

/// SD 1.x; below it `text_model.` and the rest.
pub(super) const SD1: &str = "cond_stage_model.transformer.";
/// SD 2.x: OpenCLIP ViT-H.
pub(super) const SD2: &str = "cond_stage_model.model.";
/// SDXL's first, CLIP ViT-L.
pub(super) const SDXL_1: &str = "conditioner.embedders.0.transformer.";
/// SDXL's second, OpenCLIP bigG.
pub(super) const SDXL_2: &str = "conditioner.embedders.1.model.";

/// Layers of OpenCLIP ViT-H that SD 2.x uses: its file has 24, and the model attends to the last but one,
/// so the published folder has 23 and takes the last.
const SD2_LAYERS: usize = 23;

type Part = (ClipTextConfig, KeyMap);

/// Every published model has heads of 64 channels.
fn heads(hidden: i64) -> i64 {
    (hidden / 64).max(1)
}

fn checked(layout: &Layout, config: ClipTextConfig, keys: Keys) -> Result<Part, SingleFileError> {
    config.check().map_err(|source| SingleFileError::Config { file: layout.file(), source })?;
    Ok((config, keys.map))
}

/// What both kinds have in common: the end token is the highest id, as in the published configurations.
fn config(hidden: i64, hidden_act: &str) -> ClipTextConfig {
    ClipTextConfig {
        architectures: vec!["CLIPTextModel".into()],
        hidden_size: hidden,
        num_attention_heads: heads(hidden),
        hidden_act: hidden_act.into(),
        projection_dim: Some(hidden),
        bos_token_id: Some(0),
        eos_token_id: 2,
        ..ClipTextConfig::default()
    }
}

/// OpenAI's CLIP below `prefix`. Files from before transformers 4.0 leave `text_model.` out.
pub(super) fn clip(layout: &Layout, prefix: &str) -> Result<Part, SingleFileError> {
    let mut keys = Keys::new(layout, prefix);
    let bare = keys.has_prefix("embeddings.");
    let root = if bare { "" } else { "text_model." };
    let stored = |name: &str| format!("{root}{name}");
    let tokens = stored("embeddings.token_embedding.weight");
    let positions = stored("embeddings.position_embedding.weight");
    let layer = |n: usize| stored(&format!("encoder.layers.{n}"));
    let layers = keys.count(|n| format!("{}.", layer(n)));
    let config = ClipTextConfig {
        vocab_size: keys.dim(&tokens, 0)?,
        max_position_embeddings: keys.dim(&positions, 0)?,
        intermediate_size: keys.dim(&format!("{}.mlp.fc1.weight", layer(0)), 0)?,
        num_hidden_layers: layers as i64,
        ..config(keys.dim(&tokens, 1)?, "quick_gelu")
    };
    for name in ["embeddings.token_embedding.weight", "embeddings.position_embedding.weight"] {
        keys.add(format!("text_model.{name}"), &stored(name));
    }
    keys.layer("text_model.final_layer_norm", &stored("final_layer_norm"));
    for n in 0..layers {
        let model = format!("text_model.encoder.layers.{n}");
        for name in [
            "layer_norm1",
            "layer_norm2",
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.out_proj",
            "mlp.fc1",
            "mlp.fc2",
        ] {
            keys.layer(&format!("{model}.{name}"), &format!("{}.{name}", layer(n)));
        }
    }
    checked(layout, config, keys)
}

/// OpenCLIP below `prefix`: SDXL's, with its projection.
pub(super) fn open_clip_with_projection(layout: &Layout, prefix: &str) -> Result<Part, SingleFileError> {
    let (mut config, mut keys) = open_clip(layout, prefix, usize::MAX)?;
    // OpenCLIP multiplies from the other side.
    config.projection_dim = Some(keys.dim("text_projection", 1)?);
    config.architectures = vec!["CLIPTextModelWithProjection".into()];
    keys.add_changed("text_projection.weight", "text_projection", Change::Transposed);
    checked(layout, config, keys)
}

/// OpenCLIP below `prefix`: SD 2.x's, without the last layer and without the projection.
pub(super) fn open_clip_penultimate(layout: &Layout, prefix: &str) -> Result<Part, SingleFileError> {
    let (config, keys) = open_clip(layout, prefix, SD2_LAYERS)?;
    checked(layout, config, keys)
}

fn open_clip<'a>(
    layout: &'a Layout,
    prefix: &'a str,
    most_layers: usize,
) -> Result<(ClipTextConfig, Keys<'a>), SingleFileError> {
    let mut keys = Keys::new(layout, prefix);
    let block = |n: usize| format!("transformer.resblocks.{n}");
    let layers = keys.count(|n| format!("{}.", block(n))).min(most_layers);
    let config = ClipTextConfig {
        vocab_size: keys.dim("token_embedding.weight", 0)?,
        max_position_embeddings: keys.dim("positional_embedding", 0)?,
        intermediate_size: keys.dim(&format!("{}.mlp.c_fc.weight", block(0)), 0)?,
        num_hidden_layers: layers as i64,
        ..config(keys.dim("token_embedding.weight", 1)?, "gelu")
    };
    keys.add("text_model.embeddings.token_embedding.weight", "token_embedding.weight");
    keys.add("text_model.embeddings.position_embedding.weight", "positional_embedding");
    keys.layer("text_model.final_layer_norm", "ln_final");
    for n in 0..layers {
        let (model, stored) = (format!("text_model.encoder.layers.{n}"), block(n));
        for (name, other) in [
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("self_attn.out_proj", "attn.out_proj"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ] {
            keys.layer(&format!("{model}.{name}"), &format!("{stored}.{other}"));
        }
        for (part, name) in (0..).zip(["q_proj", "k_proj", "v_proj"]) {
            for end in ["weight", "bias"] {
                let change = Change::Rows { part, of: 3 };
                let model = format!("{model}.self_attn.{name}.{end}");
                keys.add_changed(model, &format!("{stored}.attn.in_proj_{end}"), change);
            }
        }
    }
    Ok((config, keys))
}
