//! What a U-Net is conditioned on, and what is computed of it once a request: keys and values for
//! every cross-attention layer, and how strongly and where each identity acts.

use std::cell::RefCell;
use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::attention::{CrossAttention, LayerKv};

/// The tokens of one identity in a batch.
pub struct IdentityTokens {
    /// [B, T, cross_dim]
    pub tokens: Tensor,
    /// Strength of the identity, one a row: [B]
    pub scale: Tensor,
    /// Where the identity acts: [B, 1, h, w] or [1, 1, h, w] in 0 to 1, as large as the latents (or the
    /// picture: every layer resamples it to its own feature map). Everywhere if left out.
    pub region: Option<Tensor>,
}

/// What the U-Net is conditioned on: constant through all steps of a request.
pub struct Condition {
    /// Hidden states of the text encoder: [B, S, cross_dim]
    pub text: Tensor,
    /// Every identity in the picture. Each is attended to by itself, through the same projections, and
    /// the outputs are added.
    pub identities: Vec<IdentityTokens>,
}

/// SDXL's added condition (`addition_embed_type: text_time`).
pub struct AddedCondition {
    /// Pooled text embedding: [B, P]
    pub text_embeds: Tensor,
    /// Original size, crop and target size: [B, 6]
    pub time_ids: Tensor,
}

/// Weights of each identity's attention over one feature map: [B, 1, 1] or [B, h·w, 1]; `None` for those
/// that are off.
pub type Strengths = Vec<Option<Tensor>>;

/// How strongly one identity acts, and where.
struct Strength {
    /// [B, 1, 1]
    scale: Tensor,
    /// [B, 1, h, w] or [1, 1, h, w], f32
    region: Option<Tensor>,
    /// The scale is zero in every row: the attention is not computed.
    off: bool,
}

impl Strength {
    fn new(identity: &IdentityTokens, kind: Kind) -> Self {
        let scale = identity.scale.to_kind(kind).view([-1, 1, 1]); // [B, 1, 1]
        // A scale that is being trained needs its gradient at zero too.
        let off = !scale.requires_grad() && scale.count_nonzero(None).int64_value(&[]) == 0;
        Self { scale, region: identity.region.as_ref().map(|r| r.to_kind(Kind::Float)), off }
    }

    /// The weights of the attention's output over a feature map of h × w: [B, 1, 1] or [B, h·w, 1].
    ///
    /// The region is resampled as diffusers' `IPAdapterMaskProcessor.downsample` does it (bicubic, not
    /// clamped); that one guesses the map's height from the number of its cells, here it is known.
    fn over(&self, h: i64, w: i64) -> Option<Tensor> {
        if self.off {
            return None;
        }
        Some(match &self.region {
            None => self.scale.shallow_clone(),
            Some(region) => {
                let small = region.upsample_bicubic2d([h, w], false, None, None); // [B, 1, h, w]
                &self.scale * small.flatten(1, 3).unsqueeze(-1).to_kind(self.scale.kind()) // [B, h·w, 1]
            }
        })
    }

    fn repeat_rows(&self, count: i64) -> Self {
        let repeat = |t: &Tensor| t.repeat_interleave_self_int(count, 0, None);
        let region = self.region.as_ref();
        let one_for_all = |r: &Tensor| r.size().first() == Some(&1);
        Self {
            scale: repeat(&self.scale), // [B·count, 1, 1]
            region: region.map(|r| if one_for_all(r) { r.shallow_clone() } else { repeat(r) }),
            off: self.off,
        }
    }

    fn shallow_clone(&self) -> Self {
        Self {
            scale: self.scale.shallow_clone(),
            region: self.region.as_ref().map(Tensor::shallow_clone),
            off: self.off,
        }
    }

    fn with_scale(&self, scale: f64) -> Self {
        Self { scale: self.scale.full_like(scale), off: scale == 0.0, ..self.shallow_clone() }
    }
}

/// Keys and values of a [`Condition`] for every cross-attention layer of one model, in forward order.
pub struct CrossKv {
    layers: Vec<LayerKv>,
    strengths: Vec<Strength>,
    /// Strengths over feature maps of a size: the same in many layers and in all steps.
    over: RefCell<HashMap<(i64, i64), Strengths>>,
}

impl CrossKv {
    /// Projects `condition` through `layers`, in the type `kind`.
    pub(crate) fn new<'a>(
        layers: impl Iterator<Item = &'a CrossAttention>,
        condition: &Condition,
        kind: Kind,
    ) -> Self {
        let text = condition.text.to_kind(kind);
        let tokens: Vec<Tensor> = condition.identities.iter().map(|i| i.tokens.to_kind(kind)).collect();
        Self {
            layers: layers.map(|layer| layer.key_values(&text, &tokens)).collect(),
            strengths: condition.identities.iter().map(|i| Strength::new(i, kind)).collect(),
            over: RefCell::default(),
        }
    }

    /// Every row `count` times in turn: rows [a, b] become [a, …, a, b, …, b]. For several pictures
    /// of one condition.
    pub fn repeat_rows(&self, count: i64) -> Self {
        Self {
            layers: self.layers.iter().map(|layer| layer.repeat_rows(count)).collect(),
            strengths: self.strengths.iter().map(|s| s.repeat_rows(count)).collect(),
            over: RefCell::default(),
        }
    }

    /// The same condition with these strengths in place of the identities' own, one for each in order
    /// and the same in all rows; identities beyond the list keep theirs. Keys and values are shared, not
    /// computed again, and an identity at 0 costs nothing in the steps. For a scale by range of steps.
    pub fn with_identity_scales(&self, scales: &[f64]) -> Self {
        let mut scales = scales.iter();
        let strengths = self.strengths.iter().map(|s| match scales.next() {
            Some(&scale) => s.with_scale(scale),
            None => s.shallow_clone(),
        });
        Self {
            layers: self.layers.iter().map(LayerKv::shallow_clone).collect(),
            strengths: strengths.collect(),
            over: RefCell::default(),
        }
    }

    /// Starts a forward pass.
    pub(crate) fn cursor(&self) -> KvCursor<'_> {
        KvCursor { layers: self.layers.iter(), cross: self }
    }
}

/// Hands the layers of a forward pass what each attends to, in turn.
pub struct KvCursor<'k> {
    layers: std::slice::Iter<'k, LayerKv>,
    cross: &'k CrossKv,
}

impl KvCursor<'_> {
    /// How strongly each identity acts over a feature map of h × w.
    pub fn strengths(&self, h: i64, w: i64) -> Strengths {
        let mut over = self.cross.over.borrow_mut();
        let known =
            over.entry((h, w)).or_insert_with(|| self.cross.strengths.iter().map(|s| s.over(h, w)).collect());
        known.iter().map(|t| t.as_ref().map(Tensor::shallow_clone)).collect()
    }
}

impl<'k> Iterator for KvCursor<'k> {
    type Item = &'k LayerKv;

    fn next(&mut self) -> Option<&'k LayerKv> {
        self.layers.next()
    }
}
