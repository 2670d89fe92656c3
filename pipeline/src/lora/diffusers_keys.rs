//! Layers named with dots, as diffusers and PEFT name them, in all the forms that were ever saved.

use super::{Network, TextEncoderSlot};

/// The network and the layer, as a model of diffusers or transformers names it, that a file means by
/// `layer` (a key without its part); `None` if it is of another kind.
///
/// Files hold `unet.`, `text_encoder.` and `text_encoder_2.` in front; files of a U-Net alone may hold
/// nothing there, PEFT's own `base_model.model.`, or `diffusion_model.`
pub(super) fn parse(layer: &str) -> Option<(Network, String)> {
    const PREFIXES: [(&str, Network); 5] = [
        ("unet.", Network::UNet),
        ("text_encoder.", Network::TextEncoder(TextEncoderSlot::First)),
        ("text_encoder_2.", Network::TextEncoder(TextEncoderSlot::Second)),
        (PEFT_PREFIX, Network::UNet),
        ("diffusion_model.", Network::UNet),
    ];
    let prefixed =
        PREFIXES.iter().find_map(|(prefix, network)| Some((*network, layer.strip_prefix(prefix)?)));
    let bare = || starts_as_unet(layer).then_some((Network::UNet, layer));
    let (network, layer) = prefixed.or_else(bare)?;
    Some((network, current_name(network, layer)))
}

/// What PEFT itself puts in front of every layer.
pub(super) const PEFT_PREFIX: &str = "base_model.model.";

fn starts_as_unet(layer: &str) -> bool {
    const FIRST: [&str; 7] =
        ["down_blocks", "mid_block", "up_blocks", "conv_in", "conv_out", "time_embedding", "add_embedding"];
    layer.split('.').next().is_some_and(|first| FIRST.contains(&first))
}

/// The layer under today's name: attention processors held the LoRA of the layers beside them, and text
/// encoders were given the U-Net's names for their projections.
fn current_name(network: Network, layer: &str) -> String {
    let layer = layer.replace(".processor.", ".");
    let Some((stem, last)) = layer.rsplit_once('.') else { return layer };
    let renamed = match (network, last) {
        (Network::UNet, "to_out") => "to_out.0",
        (Network::TextEncoder(_), "to_q") => "q_proj",
        (Network::TextEncoder(_), "to_k") => "k_proj",
        (Network::TextEncoder(_), "to_v") => "v_proj",
        (Network::TextEncoder(_), "to_out") => "out_proj",
        _ => return layer,
    };
    format!("{stem}.{renamed}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: Network = Network::TextEncoder(TextEncoderSlot::First);

    #[test]
    fn every_form_means_the_same_layer() {
        let attention = "down_blocks.0.attentions.0.transformer_blocks.0.attn1";
        let expected = Some((Network::UNet, format!("{attention}.to_out.0")));
        for form in [
            format!("unet.{attention}.to_out.0"),
            format!("unet.{attention}.processor.to_out"),
            format!("{attention}.processor.to_out"),
            format!("base_model.model.{attention}.to_out.0"),
        ] {
            assert_eq!(parse(&form), expected, "{form}");
        }
        let layer = "text_model.encoder.layers.1.self_attn";
        for (form, name) in [("to_q", "q_proj"), ("q_proj", "q_proj"), ("to_out", "out_proj")] {
            let found = parse(&format!("text_encoder.{layer}.{form}"));
            assert_eq!(found, Some((TEXT, format!("{layer}.{name}"))));
        }
        assert_eq!(parse("transformer.single_blocks.0.to_q"), None);
    }
}
