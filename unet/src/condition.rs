//! What a U-Net is conditioned on, and what is computed of it once a request: keys and values for
//! every cross-attention layer, and how strongly and where each identity acts.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tch::{Kind, Tensor};

use crate::attention::{CrossAttention, LayerKv, PartKv};

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

impl AddedCondition {
    /// Rows of all, one after the other.
    pub fn join(all: &[&Self]) -> Self {
        let cat =
            |part: fn(&Self) -> &Tensor| Tensor::cat(&all.iter().map(|&a| part(a)).collect::<Vec<_>>(), 0);
        Self { text_embeds: cat(|a| &a.text_embeds), time_ids: cat(|a| &a.time_ids) }
    }
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

    /// Rows of all, one after the other; either all have a region, or none, and all are off, or none.
    fn joined(all: &[&Self]) -> Self {
        let scales: Vec<&Tensor> = all.iter().map(|s| &s.scale).collect();
        let region = |s: &&Self| {
            let rows = s.scale.size()[0];
            s.region.as_ref().map(|r| r.expand([rows, -1, -1, -1], false)) // [B, 1, h, w]
        };
        let regions: Vec<Tensor> = all.iter().filter_map(region).collect();
        Self {
            scale: Tensor::cat(&scales, 0), // [sum of B, 1, 1]
            region: (!regions.is_empty()).then(|| Tensor::cat(&regions, 0)),
            off: all.iter().all(|s| s.off),
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

/// Keys and values of some rows of a batch for every cross-attention layer, in forward order.
struct Part {
    layers: Vec<PartKv>,
    strengths: Vec<Strength>,
}

/// Width and height, in cells or pixels.
type Size = (i64, i64);

/// Strengths over feature maps of a size.
type StrengthsBySize = HashMap<Size, Rc<[Strengths]>>;

/// What of one identity rows must have in common.
#[derive(PartialEq)]
struct IdentityShape {
    tokens: i64,
    /// Size of its region.
    region: Option<Size>,
    off: bool,
}

/// What rows must have in common to be attended to in one operation.
#[derive(PartialEq)]
struct Shape {
    /// Tokens of the text.
    text: i64,
    identities: Vec<IdentityShape>,
}

impl Part {
    fn shape(&self) -> Shape {
        let tokens = |key: &Tensor| key.size()[2];
        let Some(first) = self.layers.first() else { return Shape { text: 0, identities: Vec::new() } };
        let region = |s: &Strength| s.region.as_ref().map(|r| (r.size()[2], r.size()[3]));
        let identities = first.identities.iter().zip(&self.strengths);
        Shape {
            text: tokens(&first.text.key),
            identities: identities
                .map(|(kv, s)| IdentityShape { tokens: tokens(&kv.key), region: region(s), off: s.off })
                .collect(),
        }
    }

    fn joined(all: &[&Self]) -> Self {
        if let [one] = all {
            return one.shallow_clone();
        }
        let layers = all.first().map_or(0, |part| part.layers.len());
        let strengths = all.iter().map(|part| part.strengths.len()).min().unwrap_or(0);
        let layer = |i: usize| PartKv::joined(&all.iter().map(|part| &part.layers[i]).collect::<Vec<_>>());
        let strength = |i: usize| Strength::joined(&all.iter().map(|p| &p.strengths[i]).collect::<Vec<_>>());
        Self { layers: (0..layers).map(layer).collect(), strengths: (0..strengths).map(strength).collect() }
    }

    fn shallow_clone(&self) -> Self {
        Self {
            layers: self.layers.iter().map(PartKv::shallow_clone).collect(),
            strengths: self.strengths.iter().map(Strength::shallow_clone).collect(),
        }
    }
}

/// Keys and values of a [`Condition`], or of several one after the other, for every cross-attention layer of
/// one model.
pub struct CrossKv {
    /// In forward order.
    layers: Vec<LayerKv>,
    /// Of each part of the rows, of each identity.
    strengths: Vec<Vec<Strength>>,
    /// Strengths over feature maps of a size: the same in many layers and in all steps.
    over: RefCell<StrengthsBySize>,
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
        Self::of_parts(vec![Part {
            layers: layers.map(|layer| layer.key_values(&text, &tokens)).collect(),
            strengths: condition.identities.iter().map(|i| Strength::new(i, kind)).collect(),
        }])
    }

    fn of_parts(parts: Vec<Part>) -> Self {
        let layers = parts.first().map_or(0, |part| part.layers.len());
        let mut of_layer: Vec<LayerKv> = (0..layers).map(|_| LayerKv { parts: Vec::new() }).collect();
        let mut strengths = Vec::with_capacity(parts.len());
        for part in parts {
            for (layer, kv) in of_layer.iter_mut().zip(part.layers) {
                layer.parts.push(kv);
            }
            strengths.push(part.strengths);
        }
        Self { layers: of_layer, strengths, over: RefCell::default() }
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        self.strengths.iter().enumerate().map(|(i, strengths)| Part {
            layers: self.layers.iter().map(|layer| layer.parts[i].shallow_clone()).collect(),
            strengths: strengths.iter().map(Strength::shallow_clone).collect(),
        })
    }

    /// The rows of all conditions, one after the other, for pictures that are drawn together. Neighbours
    /// with as many tokens and identities are attended to in one operation, others part by part.
    pub fn join(all: &[&Self]) -> Self {
        let parts: Vec<Part> = all.iter().flat_map(|one| one.parts()).collect();
        let alike = parts.chunk_by(|a, b| a.shape() == b.shape());
        Self::of_parts(alike.map(|parts| Part::joined(&parts.iter().collect::<Vec<_>>())).collect())
    }

    /// The same condition with these strengths in place of the identities' own, one for each in order
    /// and the same in all rows; identities beyond the list keep theirs. Keys and values are shared, not
    /// computed again, and an identity at 0 costs nothing in the steps. For a scale by range of steps.
    pub fn with_identity_scales(&self, scales: &[f64]) -> Self {
        let rescaled = |mut part: Part| {
            for (strength, &scale) in part.strengths.iter_mut().zip(scales) {
                *strength = strength.with_scale(scale);
            }
            part
        };
        Self::of_parts(self.parts().map(rescaled).collect())
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
    /// How strongly each identity of each part acts over a feature map of h × w.
    pub fn strengths(&self, h: i64, w: i64) -> Rc<[Strengths]> {
        let over = |part: &Vec<Strength>| part.iter().map(|s| s.over(h, w)).collect();
        let mut known = self.cross.over.borrow_mut();
        let known = known.entry((h, w)).or_insert_with(|| self.cross.strengths.iter().map(over).collect());
        Rc::clone(known)
    }
}

impl<'k> Iterator for KvCursor<'k> {
    type Item = &'k LayerKv;

    fn next(&mut self) -> Option<&'k LayerKv> {
        self.layers.next()
    }
}
