//! The autoencoder of the original layout (`AutoencoderKL` of latent-diffusion): `down` counts from the
//! largest resolution, and so does `up`, which diffusers counts from the smallest. Reference for the names:
//! `convert_ldm_vae_checkpoint` of diffusers.

use imagine_unet::AutoencoderKlConfig;
use imagine_unet::weights::{Change, KeyMap};

use super::error::SingleFileError;
use super::infer::SingleFileKind;
use super::layout::{Keys, Layout};
use super::unet_keys::groups;

/// Names of the part, in original files and in some that were merged later.
pub(super) const PREFIXES: [&str; 2] = ["first_stage_model.", "vae."];

/// The start of the autoencoder's keys, if the file holds one.
pub(super) fn prefix(layout: &Layout) -> Option<&'static str> {
    PREFIXES.into_iter().find(|prefix| layout.has_prefix(prefix))
}

/// Channels of the latents, if the file holds an autoencoder.
pub(super) fn latent_channels(layout: &Layout) -> Result<Option<i64>, SingleFileError> {
    prefix(layout).map(|prefix| layout.dim(&format!("{prefix}decoder.conv_in.weight"), 1)).transpose()
}

/// Configuration and keys of the autoencoder, if there is one.
pub(super) fn read(
    layout: &Layout,
    kind: &SingleFileKind,
) -> Result<Option<(AutoencoderKlConfig, KeyMap)>, SingleFileError> {
    let read = |prefix| read_at(layout, prefix, kind.picture_size(), kind.scaling_factor());
    prefix(layout).map(read).transpose()
}

/// The same of keys that start so, with what no file says: the side of its pictures, and the scale of the latents.
pub(super) fn read_at(
    layout: &Layout,
    prefix: &str,
    picture_size: i64,
    scaling_factor: f64,
) -> Result<(AutoencoderKlConfig, KeyMap), SingleFileError> {
    let mut keys = Keys::new(layout, prefix);
    let levels = keys.count(|i| format!("encoder.down.{i}."));
    let layers = keys.count(|j| format!("encoder.down.0.block.{j}."));
    let widths = (0..levels).map(|i| keys.dim(&format!("encoder.down.{i}.block.0.conv1.weight"), 0));
    let widths = widths.collect::<Result<Vec<i64>, _>>()?;

    for half in ["encoder", "decoder"] {
        for (model, stored) in
            [("conv_in", "conv_in"), ("conv_norm_out", "norm_out"), ("conv_out", "conv_out")]
        {
            keys.layer(&format!("{half}.{model}"), &format!("{half}.{stored}"));
        }
        for block in [1, 2] {
            resnet(
                &mut keys,
                &format!("{half}.mid_block.resnets.{}", block - 1),
                &format!("{half}.mid.block_{block}"),
            )?;
        }
        if keys.has_prefix(&format!("{half}.mid.attn_1.")) {
            attention(&mut keys, &format!("{half}.mid_block.attentions.0"), &format!("{half}.mid.attn_1"));
        }
    }
    for i in 0..levels {
        for j in 0..layers {
            let stored = format!("encoder.down.{i}.block.{j}");
            resnet(&mut keys, &format!("encoder.down_blocks.{i}.resnets.{j}"), &stored)?;
        }
        for j in 0..=layers {
            let stored = format!("decoder.up.{i}.block.{j}");
            resnet(&mut keys, &format!("decoder.up_blocks.{}.resnets.{j}", levels - 1 - i), &stored)?;
        }
        if i + 1 < levels {
            let (model, stored) = (
                format!("encoder.down_blocks.{i}.downsamplers.0.conv"),
                format!("encoder.down.{i}.downsample.conv"),
            );
            keys.layer(&model, &stored);
        }
        if i > 0 {
            let model = format!("decoder.up_blocks.{}.upsamplers.0.conv", levels - 1 - i);
            keys.layer(&model, &format!("decoder.up.{i}.upsample.conv"));
        }
    }
    let (quant, post_quant) = (keys.has_prefix("quant_conv."), keys.has_prefix("post_quant_conv."));
    for (name, _) in [("quant_conv", quant), ("post_quant_conv", post_quant)].iter().filter(|(_, is)| *is) {
        keys.layer(name, name);
    }

    let attention = keys.has_prefix("encoder.mid.attn_1.");
    let config = config(&keys, widths, layers, attention, picture_size, scaling_factor)?;
    Ok((config, keys.map))
}

/// The same under diffusers' names, in which every key stands for itself.
pub(super) fn read_diffusers(
    layout: &Layout,
    picture_size: i64,
    scaling_factor: f64,
) -> Result<(AutoencoderKlConfig, KeyMap), SingleFileError> {
    let mut keys = Keys::new(layout, "");
    let levels = keys.count(|i| format!("encoder.down_blocks.{i}."));
    let layers = keys.count(|j| format!("encoder.down_blocks.0.resnets.{j}."));
    let widths = (0..levels).map(|i| keys.dim(&format!("encoder.down_blocks.{i}.resnets.0.conv1.weight"), 0));
    let widths = widths.collect::<Result<Vec<i64>, _>>()?;
    let attention = keys.has_prefix("encoder.mid_block.attentions.0.");
    let config = config(&keys, widths, layers, attention, picture_size, scaling_factor)?;
    for key in &layout.keys {
        keys.add(key, key);
    }
    Ok((config, keys.map))
}

/// What is alike under both names.
fn config(
    keys: &Keys,
    widths: Vec<i64>,
    layers: usize,
    attention: bool,
    picture_size: i64,
    scaling_factor: f64,
) -> Result<AutoencoderKlConfig, SingleFileError> {
    let config = AutoencoderKlConfig {
        in_channels: keys.dim("encoder.conv_in.weight", 1)?,
        out_channels: keys.dim("decoder.conv_out.weight", 0)?,
        down_block_types: vec!["DownEncoderBlock2D".into(); widths.len()],
        up_block_types: vec!["UpDecoderBlock2D".into(); widths.len()],
        norm_num_groups: groups(widths.iter().copied()),
        block_out_channels: widths,
        layers_per_block: layers as i64,
        latent_channels: keys.dim("decoder.conv_in.weight", 1)?,
        sample_size: picture_size,
        scaling_factor,
        // As in the published configurations; SDXL's own weights overflow in f16.
        force_upcast: true,
        use_quant_conv: keys.has_prefix("quant_conv."),
        use_post_quant_conv: keys.has_prefix("post_quant_conv."),
        mid_block_add_attention: attention,
        ..AutoencoderKlConfig::default()
    };
    let file = keys.layout.file();
    config.check().map_err(|source| SingleFileError::Config { file, source })?;
    Ok(config)
}

fn resnet(keys: &mut Keys, model: &str, stored: &str) -> Result<(), SingleFileError> {
    for name in ["norm1", "conv1", "norm2", "conv2"] {
        keys.layer(&format!("{model}.{name}"), &format!("{stored}.{name}"));
    }
    let conv = format!("{stored}.conv1.weight");
    if keys.dim(&conv, 0)? != keys.dim(&conv, 1)? {
        keys.layer(&format!("{model}.conv_shortcut"), &format!("{stored}.nin_shortcut"));
    }
    Ok(())
}

/// Here the projections are 1×1 convolutions.
fn attention(keys: &mut Keys, model: &str, stored: &str) {
    keys.layer(&format!("{model}.group_norm"), &format!("{stored}.norm"));
    for (name, short) in [("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")] {
        keys.add_changed(
            format!("{model}.{name}.weight"),
            &format!("{stored}.{short}.weight"),
            Change::Matrix,
        );
        keys.add(format!("{model}.{name}.bias"), &format!("{stored}.{short}.bias"));
    }
}
