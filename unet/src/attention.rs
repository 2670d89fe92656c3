//! Attention: self-attention, and cross-attention to several conditions in parallel.
//!
//! Parallel attention as in "Imagine yourself" (arXiv 2409.13346) and IP-Adapter (arXiv 2308.06721):
//! text and identities share the query of the spatial features; each has keys and values of its own;
//! the outputs are added, an identity's with its scale and only in its region. Keys and values depend on the conditions
//! alone, so they are computed once a request, not once a step.

use tch::Tensor;

use crate::condition::Strengths;
use crate::fused_linear::Follow;
use crate::layers::Linear;
use crate::weights::{Init, Vs, WeightsError};

/// `[B, S, heads·D]` → `[B, heads, S, D]`
fn split_heads(x: &Tensor, heads: i64) -> Tensor {
    let (b, s, c) = (x.size()[0], x.size()[1], x.size()[2]);
    x.view([b, s, heads, c / heads]).transpose(1, 2)
}

/// `[B, heads, S, D]` → `[B, S, heads·D]`
fn merge_heads(x: &Tensor) -> Tensor {
    let s = x.size();
    x.transpose(1, 2).reshape([s[0], s[2], s[1] * s[3]])
}

fn attend(q: &Tensor, k: &Tensor, v: &Tensor) -> Tensor {
    Tensor::scaled_dot_product_attention(q, k, v, None::<&Tensor>, 0.0, false, None, false)
}

/// Keys and values of one condition in one layer, each [B, heads, S, D].
pub struct KeyValue {
    pub key: Tensor,
    pub value: Tensor,
}

impl KeyValue {
    fn shallow_clone(&self) -> Self {
        Self { key: self.key.shallow_clone(), value: self.value.shallow_clone() }
    }

    /// Rows of all, one after the other.
    fn joined(all: &[&Self]) -> Self {
        if let [one] = all {
            return one.shallow_clone();
        }
        let cat =
            |part: fn(&Self) -> &Tensor| Tensor::cat(&all.iter().map(|&kv| part(kv)).collect::<Vec<_>>(), 0);
        Self { key: cat(|kv| &kv.key), value: cat(|kv| &kv.value) } // [sum of B, heads, S, D]
    }
}

/// What some rows of a batch attend to in one cross-attention layer.
pub struct PartKv {
    pub text: KeyValue,
    /// One for each identity; none where the layer has no adapter.
    pub identities: Vec<KeyValue>,
}

impl PartKv {
    /// The same tensors once more.
    pub fn shallow_clone(&self) -> Self {
        Self {
            text: self.text.shallow_clone(),
            identities: self.identities.iter().map(KeyValue::shallow_clone).collect(),
        }
    }

    /// Rows of all, one after the other; they have as many identities and tokens as each other.
    pub fn joined(all: &[&Self]) -> Self {
        let identities = all.iter().map(|part| part.identities.len()).min().unwrap_or(0);
        let identity = |i: usize| KeyValue::joined(&all.iter().map(|p| &p.identities[i]).collect::<Vec<_>>());
        Self {
            text: KeyValue::joined(&all.iter().map(|part| &part.text).collect::<Vec<_>>()),
            identities: (0..identities).map(identity).collect(),
        }
    }

    /// Rows, B.
    fn rows(&self) -> i64 {
        self.text.key.size()[0]
    }
}

/// What one cross-attention layer attends to: the rows of a batch in parts, first to last. Rows with as many
/// tokens and identities make one part.
pub struct LayerKv {
    pub parts: Vec<PartKv>,
}

/// Self-attention over the spatial features.
pub struct SelfAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: i64,
}

impl SelfAttention {
    pub fn new(vs: &Vs, dim: i64, heads: i64) -> Result<Self, WeightsError> {
        Ok(Self {
            to_q: Linear::new(&(vs / "to_q"), dim, dim, false)?,
            to_k: Linear::new(&(vs / "to_k"), dim, dim, false)?,
            to_v: Linear::new(&(vs / "to_v"), dim, dim, false)?,
            to_out: Linear::new(&(vs / "to_out.0"), dim, dim, true)?,
            heads,
        })
    }

    /// [B, N, dim] → [B, N, dim], added to `onto` of the same shape.
    pub fn forward_onto(&self, x: &Tensor, onto: &Tensor) -> Tensor {
        let q = split_heads(&self.to_q.forward(x), self.heads);
        let k = split_heads(&self.to_k.forward(x), self.heads);
        let v = split_heads(&self.to_v.forward(x), self.heads);
        self.to_out.forward_then(&merge_heads(&attend(&q, &k, &v)), Follow::Add(onto))
    }
}

/// The identity adapter's projections of one cross-attention layer (`to_k_ip`, `to_v_ip`).
struct IdentityProjection {
    to_k: Linear,
    to_v: Linear,
}

/// Cross-attention to the text and, with an adapter, to the identity tokens beside it.
pub struct CrossAttention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    identity: Option<IdentityProjection>,
    heads: i64,
    dim: i64,
    cross_dim: i64,
}

impl CrossAttention {
    pub fn new(vs: &Vs, dim: i64, cross_dim: i64, heads: i64) -> Result<Self, WeightsError> {
        Ok(Self {
            to_q: Linear::new(&(vs / "to_q"), dim, dim, false)?,
            to_k: Linear::new(&(vs / "to_k"), cross_dim, dim, false)?,
            to_v: Linear::new(&(vs / "to_v"), cross_dim, dim, false)?,
            to_out: Linear::new(&(vs / "to_out.0"), dim, dim, true)?,
            identity: None,
            heads,
            dim,
            cross_dim,
        })
    }

    /// Gives the layer the adapter's projections: `to_k_ip.weight` and `to_v_ip.weight`
    /// [dim, cross_dim] below `vs`. A fresh value projection starts at zero, so that training begins
    /// at the base model.
    pub fn attach_identity(&mut self, vs: &Vs) -> Result<(), WeightsError> {
        let (dim, cross) = (self.dim, self.cross_dim);
        self.identity = Some(IdentityProjection {
            to_k: Linear::new(&(vs / "to_k_ip"), cross, dim, false)?,
            to_v: Linear::with_init(&(vs / "to_v_ip"), cross, dim, false, Init::Zeros)?,
        });
        Ok(())
    }

    /// Keys and values of the conditions: text [B, S, cross_dim] and the tokens of each identity
    /// [B, T, cross_dim], ignored where no adapter is attached.
    pub fn key_values(&self, text: &Tensor, identities: &[Tensor]) -> PartKv {
        let project = |k: &Linear, v: &Linear, x: &Tensor| KeyValue {
            key: split_heads(&k.forward(x), self.heads),
            value: split_heads(&v.forward(x), self.heads),
        };
        PartKv {
            text: project(&self.to_k, &self.to_v, text),
            identities: match &self.identity {
                Some(p) => identities.iter().map(|tokens| project(&p.to_k, &p.to_v, tokens)).collect(),
                None => Vec::new(),
            },
        }
    }

    /// x [B, N, dim] → [B, N, dim], added to `onto` of the same shape. `strengths` weighs the output of each
    /// identity in each part, [B, 1, 1] or [B, N, 1] with the part's rows; those without one are left out.
    pub fn forward_onto(&self, x: &Tensor, kv: &LayerKv, strengths: &[Strengths], onto: &Tensor) -> Tensor {
        let q = split_heads(&self.to_q.forward(x), self.heads);
        let mut begin = 0;
        let outputs = kv.parts.iter().zip(strengths).map(|(part, strengths)| {
            let rows = part.rows();
            let q = if kv.parts.len() == 1 { q.shallow_clone() } else { q.narrow(0, begin, rows) };
            begin += rows;
            Self::attend_part(&q, part, strengths)
        });
        let outputs: Vec<Tensor> = outputs.collect();
        match outputs.as_slice() {
            [one] => self.to_out.forward_then(one, Follow::Add(onto)),
            several => self.to_out.forward_then(&Tensor::cat(several, 0), Follow::Add(onto)), // [B, N, dim]
        }
    }

    /// q [B, heads, N, D] → [B, N, dim]
    fn attend_part(q: &Tensor, part: &PartKv, strengths: &Strengths) -> Tensor {
        let text = merge_heads(&attend(q, &part.text.key, &part.text.value)); // [B, N, dim]
        part.identities.iter().zip(strengths).fold(text, |out, (identity, strength)| match strength {
            // Not in place: training needs the attention's own output for its gradient.
            Some(strength) => out + merge_heads(&attend(q, &identity.key, &identity.value)) * strength,
            None => out,
        })
    }
}
