//! Layer by layer through the U-Net, the autoencoder and the text encoders, as their configurations have them.

use imagine_encoders::ClipTextConfig;
use imagine_unet::{AutoencoderKlConfig, ConfigError, UNetConfig};

use super::layers::{Tally, count};

/// The U-Net for one row of latents.
pub(super) fn unet_tally(c: &UNetConfig, width: u64, height: u64) -> Result<Tally, ConfigError> {
    /// Tokens of CLIP's text.
    const TEXT: u64 = 77;
    let plans = c.plans()?;
    let time_dim = count(c.time_dim());
    let time = Some((time_dim, if c.resnet_time_scale_shift == "scale_shift" { 2 } else { 1 }));
    let first = plans.first().map_or(0, |plan| count(plan.channels));
    // as a convolution with stride 2 rounds
    let area = |level: usize| {
        let side = |side: u64| side.div_ceil(1 << level).max(1);
        side(width) * side(height)
    };
    let mut t = Tally::default();
    t.linear(first, time_dim, true, 1);
    t.linear(time_dim, time_dim, true, 1);
    if let Some(width) = c.time_cond_proj_dim {
        t.linear(count(width), first, false, 1);
    }
    if let Some(width) = c.projection_class_embeddings_input_dim.filter(|_| c.addition_embed_type.is_some()) {
        t.linear(count(width), time_dim, true, 1);
        t.linear(time_dim, time_dim, true, 1);
    }
    t.convolution(count(c.in_channels), first, count(c.conv_in_kernel), area(0));
    let mut kept = vec![first * area(0)];
    t.kept = first * area(0);
    let mut keep = |t: &mut Tally, elements: u64| {
        t.kept += elements;
        kept.push(elements);
    };
    let mut before = first;
    for (level, (plan, kind)) in plans.iter().zip(&c.down_block_types).enumerate() {
        let channels = count(plan.channels);
        for _ in 0..plan.layers {
            t.resnet(before, channels, time, area(level));
            if kind.starts_with("CrossAttn") {
                let (cross, layers) = (count(plan.cross_dim), count(plan.transformer_layers));
                t.transformer(channels, cross, layers, area(level), TEXT);
            }
            keep(&mut t, channels * area(level));
            before = channels;
        }
        if level + 1 < plans.len() {
            t.convolution(channels, channels, 3, area(level + 1));
            keep(&mut t, channels * area(level + 1));
        }
    }
    if let Some(plan) = plans.last() {
        let (channels, area) = (count(plan.channels), area(plans.len() - 1));
        t.resnet(channels, channels, time, area);
        if c.mid_block_type.as_deref() == Some("UNetMidBlock2DCrossAttn") {
            t.transformer(channels, count(plan.cross_dim), count(plan.transformer_layers), area, TEXT);
            t.resnet(channels, channels, time, area);
        }
    }
    for (index, (plan, kind)) in plans.iter().rev().zip(&c.up_block_types).enumerate() {
        let level = plans.len() - 1 - index;
        let channels = count(plan.channels);
        let lower = plans.get(level.saturating_sub(1)).map_or(channels, |plan| count(plan.channels));
        for layer in 0..=plan.layers {
            let skip = if layer == plan.layers { lower } else { channels };
            t.kept -= kept.pop().unwrap_or(0);
            t.resnet(before + skip, channels, time, area(level));
            if kind.starts_with("CrossAttn") {
                let (cross, layers) = (count(plan.cross_dim), count(plan.transformer_layers));
                t.transformer(channels, cross, layers, area(level), TEXT);
            }
            before = channels;
        }
        if level > 0 {
            t.convolution(channels, channels, 3, area(level - 1));
        }
    }
    t.norm(first);
    t.convolution(first, count(c.out_channels), count(c.conv_out_kernel), area(0));
    Ok(t)
}

/// The attention in the middle of the autoencoder.
fn vae_middle(t: &mut Tally, c: &AutoencoderKlConfig, channels: u64, area: u64) {
    t.resnet(channels, channels, None, area);
    if c.mid_block_add_attention {
        t.norm(channels);
        for _ in 0..4 {
            t.linear(channels, channels, true, area);
        }
        t.products += 2 * area * area * channels;
    }
    t.resnet(channels, channels, None, area);
}

/// Latents of that many cells to pixels.
pub(super) fn decoder_tally(c: &AutoencoderKlConfig, width: u64, height: u64) -> Tally {
    let mut t = Tally::default();
    let widths: Vec<u64> = c.block_out_channels.iter().rev().map(|&w| count(w)).collect();
    let (Some(&deepest), Some(&last)) = (widths.first(), widths.last()) else { return t };
    let mut area = width * height;
    if c.use_post_quant_conv {
        t.convolution(count(c.latent_channels), count(c.latent_channels), 1, area);
    }
    t.convolution(count(c.latent_channels), deepest, 3, area);
    vae_middle(&mut t, c, deepest, area);
    let mut before = deepest;
    for (level, &channels) in widths.iter().enumerate() {
        for _ in 0..=c.layers_per_block {
            t.resnet(before, channels, None, area);
            before = channels;
        }
        if level + 1 < widths.len() {
            area *= 4;
            t.convolution(channels, channels, 3, area);
        }
    }
    t.norm(last);
    t.convolution(last, count(c.out_channels), 3, area);
    t
}

pub(super) fn vae_parameters(c: &AutoencoderKlConfig) -> u64 {
    let mut t = Tally::default();
    let widths: Vec<u64> = c.block_out_channels.iter().map(|&w| count(w)).collect();
    let (Some(&first), Some(&deepest)) = (widths.first(), widths.last()) else { return 0 };
    let moments = 2 * count(c.latent_channels);
    t.convolution(count(c.in_channels), first, 3, 0);
    let mut before = first;
    for (level, &channels) in widths.iter().enumerate() {
        for _ in 0..c.layers_per_block {
            t.resnet(before, channels, None, 0);
            before = channels;
        }
        if level + 1 < widths.len() {
            t.convolution(channels, channels, 3, 0);
        }
    }
    vae_middle(&mut t, c, deepest, 0);
    t.norm(deepest);
    t.convolution(deepest, moments, 3, 0);
    if c.use_quant_conv {
        t.convolution(moments, moments, 1, 0);
    }
    t.parameters + decoder_tally(c, 0, 0).parameters
}

pub(super) fn text_parameters(c: &ClipTextConfig) -> u64 {
    let mut t = Tally::default();
    let (width, inner) = (count(c.hidden_size), count(c.intermediate_size));
    t.parameters += (count(c.vocab_size) + count(c.max_position_embeddings)) * width;
    for _ in 0..c.num_hidden_layers {
        for _ in 0..4 {
            t.linear(width, width, true, 0);
        }
        t.linear(width, inner, true, 0);
        t.linear(inner, width, true, 0);
        t.norm(width);
        t.norm(width);
    }
    t.norm(width);
    let projects = c.architectures.iter().any(|name| name == "CLIPTextModelWithProjection");
    if let Some(projection) = c.projection_dim.filter(|_| projects) {
        t.linear(width, count(projection), false, 0);
    }
    t.parameters
}
