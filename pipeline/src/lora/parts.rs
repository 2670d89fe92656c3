//! What the last words of a key say: which part of a layer's change the tensor is.

/// One tensor of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Part {
    Down,
    Up,
    /// The core of a Tucker decomposition, between down and up (LoCon).
    Mid,
    Alpha,
    /// DoRA's lengths.
    Magnitude,
    /// LoHa: two pairs, each with its core if the layer is a convolution in Tucker form.
    Hada1A,
    Hada1B,
    Hada1Core,
    Hada2A,
    Hada2B,
    Hada2Core,
    /// LoKr: two factors, each whole or as a pair, the second perhaps with a core.
    Lokr1,
    Lokr1A,
    Lokr1B,
    Lokr2,
    Lokr2A,
    Lokr2B,
    Lokr2Core,
}

/// The names of parts, with what stands between them and the layer. The first that fits counts, so the
/// longer of two with the same end stands first.
const SUFFIXES: [(&str, Part); 31] = [
    // PEFT
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora_magnitude_vector.weight", Part::Magnitude),
    (".lora_magnitude_vector", Part::Magnitude),
    // diffusers, for text encoders, for layers, for attention processors
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    (".lora_linear_layer.alpha", Part::Alpha),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    (".lora.alpha", Part::Alpha),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    ("_lora.alpha", Part::Alpha),
    // kohya and LyCORIS
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".lora_mid.weight", Part::Mid),
    (".alpha", Part::Alpha),
    (".dora_scale", Part::Magnitude),
    (".hada_w1_a", Part::Hada1A),
    (".hada_w1_b", Part::Hada1B),
    (".hada_t1", Part::Hada1Core),
    (".hada_w2_a", Part::Hada2A),
    (".hada_w2_b", Part::Hada2B),
    (".hada_t2", Part::Hada2Core),
    (".lokr_w1", Part::Lokr1),
    (".lokr_w1_a", Part::Lokr1A),
    (".lokr_w1_b", Part::Lokr1B),
    (".lokr_w2", Part::Lokr2),
    (".lokr_w2_a", Part::Lokr2A),
    (".lokr_w2_b", Part::Lokr2B),
    (".lokr_t2", Part::Lokr2Core),
];

/// Ends of keys that LoRA files may hold and that are not merged, with the reason.
const UNSUPPORTED: [(&str, &str); 7] = [
    (".lora_B.bias", "a LoRA with biases"),
    (".lora_embedding_A", "a LoRA of an embedding"),
    (".lora_embedding_B", "a LoRA of an embedding"),
    (".diff", "a whole difference of weights (LyCORIS \"full\")"),
    (".diff_b", "a difference of biases (LyCORIS \"full\")"),
    (".w_norm", "a change of a normalisation (LyCORIS)"),
    (".b_norm", "a change of a normalisation (LyCORIS)"),
];

/// A key without its part: the layer as the file names it, and which part of its change this is.
pub(super) fn split(key: &str) -> Option<(&str, Part)> {
    SUFFIXES.iter().find_map(|(suffix, part)| Some((key.strip_suffix(suffix)?, *part)))
}

/// Why a key that is no known part is not supported, if it is known at all.
pub(super) fn unsupported(key: &str) -> Option<&'static str> {
    let oft = key.contains(".oft_") || key.contains(".boft_");
    // Words that were trained along with the LoRA, and that its pictures need.
    let word = key.starts_with("bundle_emb.") || key.starts_with("emb_params");
    if word {
        return Some(
            "it is the embedding of a word (textual inversion), which is not read; without it the LoRA \
                     would not draw what it was trained for",
        );
    }
    let listed = UNSUPPORTED.iter().find(|(suffix, _)| key.ends_with(suffix)).map(|(_, reason)| *reason);
    listed.or(oft.then_some("orthogonal fine-tuning (OFT) is not a low-rank change"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_of_two_ends_counts() {
        assert_eq!(split("a.to_q_lora.down.weight"), Some(("a.to_q", Part::Down)));
        assert_eq!(split("a.to_q.lora.down.weight"), Some(("a.to_q", Part::Down)));
        assert_eq!(split("a.fc1.lora_linear_layer.up.weight"), Some(("a.fc1", Part::Up)));
        assert_eq!(split("lora_unet_x.lora_mid.weight"), Some(("lora_unet_x", Part::Mid)));
        assert_eq!(split("x.lokr_w2_a"), Some(("x", Part::Lokr2A)));
        assert_eq!(split("x.lora_magnitude_vector"), Some(("x", Part::Magnitude)));
        assert_eq!(split("x.weight"), None);
        assert!(unsupported("x.lora_B.bias").is_some());
        assert!(unsupported("bundle_emb.someone.string_to_param.*").is_some_and(|why| why.contains("word")));
        assert!(unsupported("x.weight").is_none());
    }
}
