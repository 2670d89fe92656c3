//! Attention: self-attention, and cross-attention to several conditions in parallel.
//!
//! Parallel attention as in "Imagine yourself" (arXiv 2409.13346) and IP-Adapter (arXiv 2308.06721):
//! text and identities share the query of the spatial features; each has keys and values of its own;
//! the outputs are added, an identity's with its scale and only in its region. Keys and values depend on the conditions
//! alone, so they are computed once a request, not once a step.

use tch::Tensor;

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
    fn repeat_rows(&self, count: i64) -> Self {
        let repeat = |t: &Tensor| t.repeat_interleave_self_int(count, 0, None);
        Self { key: repeat(&self.key), value: repeat(&self.value) } // [B·count, heads, S, D]
    }

    fn shallow_clone(&self) -> Self {
        Self { key: self.key.shallow_clone(), value: self.value.shallow_clone() }
    }
}

/// What one cross-attention layer attends to.
pub struct LayerKv {
    pub text: KeyValue,
    /// One for each identity; none where the layer has no adapter.
    pub identities: Vec<KeyValue>,
}

impl LayerKv {
    /// Every row `count` times in turn.
    pub fn repeat_rows(&self, count: i64) -> Self {
        Self {
            text: self.text.repeat_rows(count),
            identities: self.identities.iter().map(|kv| kv.repeat_rows(count)).collect(),
        }
    }

    /// The same tensors once more.
    pub fn shallow_clone(&self) -> Self {
        Self {
            text: self.text.shallow_clone(),
            identities: self.identities.iter().map(KeyValue::shallow_clone).collect(),
        }
    }
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

    /// [B, N, dim] → [B, N, dim]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let q = split_heads(&self.to_q.forward(x), self.heads);
        let k = split_heads(&self.to_k.forward(x), self.heads);
        let v = split_heads(&self.to_v.forward(x), self.heads);
        self.to_out.forward(&merge_heads(&attend(&q, &k, &v)))
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
    pub fn key_values(&self, text: &Tensor, identities: &[Tensor]) -> LayerKv {
        let project = |k: &Linear, v: &Linear, x: &Tensor| KeyValue {
            key: split_heads(&k.forward(x), self.heads),
            value: split_heads(&v.forward(x), self.heads),
        };
        LayerKv {
            text: project(&self.to_k, &self.to_v, text),
            identities: match &self.identity {
                Some(p) => identities.iter().map(|tokens| project(&p.to_k, &p.to_v, tokens)).collect(),
                None => Vec::new(),
            },
        }
    }

    /// x [B, N, dim] → [B, N, dim]. `strengths` weighs the output of each identity, [B, 1, 1] or
    /// [B, N, 1]; those without one are left out.
    pub fn forward(&self, x: &Tensor, kv: &LayerKv, strengths: &[Option<Tensor>]) -> Tensor {
        let q = split_heads(&self.to_q.forward(x), self.heads);
        let text = merge_heads(&attend(&q, &kv.text.key, &kv.text.value)); // [B, N, dim]
        let out =
            kv.identities.iter().zip(strengths).fold(text, |out, (identity, strength)| match strength {
                // Not in place: training needs the attention's own output for its gradient.
                Some(strength) => out + merge_heads(&attend(&q, &identity.key, &identity.value)) * strength,
                None => out,
            });
        self.to_out.forward(&out)
    }
}
