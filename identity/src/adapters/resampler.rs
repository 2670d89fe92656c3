//! The perceiver resampler of IP-Adapter: a few queries read any number of picture tokens.
//!
//! Source: IP-Adapter-Plus (arXiv 2308.06721; `Resampler` there, `IPAdapterPlusImageProjection` in
//! diffusers), after Flamingo's perceiver (arXiv 2204.14198). Three adapters are built on it: IP-Adapter-Plus
//! over CLIP patch tokens, InstantID over a face embedding, and FaceID-Plus, whose queries are made from the
//! face embedding instead of being learned.

use std::collections::BTreeSet;

use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::{Init, Vs, Weights, WeightsError};
use tch::{Device, Kind, Tensor};

/// Width of one attention head in every published resampler. No shape shows it.
const HEAD_DIM: i64 = 64;

/// The norms' epsilon, PyTorch's default.
const EPS: f64 = 1e-5;

/// Sizes of a resampler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResamplerSizes {
    /// Width E of the tokens that are read.
    pub inputs: i64,
    /// Width of the queries.
    pub dim: i64,
    /// Width of all attention heads together.
    pub inner: i64,
    pub heads: i64,
    /// Width of the feed-forward networks.
    pub feed_forward: i64,
    pub depth: i64,
    /// Width C of the tokens that come out.
    pub outputs: i64,
    /// Learned queries Q; 0 where the caller gives the queries.
    pub queries: i64,
}

impl ResamplerSizes {
    /// Reads the sizes off the shapes below `prefix`, e.g. `image_proj`.
    ///
    /// # Errors
    /// What is missing or does not fit, as a sentence to follow the file's name.
    pub fn of(weights: &Weights, prefix: &str) -> Result<Self, String> {
        let matrix = |name: &str| {
            let key = format!("{prefix}.{name}");
            match weights.shape(&key).as_deref() {
                Some(&[rows, columns]) if rows > 0 && columns > 0 => Ok([rows, columns]),
                Some(shape) => Err(format!("\"{key}\" has shape {shape:?}, which is not a matrix")),
                None => Err(format!("it has no \"{key}\"")),
            }
        };
        let [dim, inputs] = matrix("proj_in.weight")?;
        let [outputs, _] = matrix("proj_out.weight")?;
        let [inner, _] = matrix("layers.0.0.to_q.weight")?;
        let [feed_forward, _] = matrix("layers.0.1.1.weight")?;
        let key = format!("{prefix}.latents");
        let queries = match weights.shape(&key).as_deref() {
            None => 0,
            Some(&[1, queries, width]) if queries > 0 && width == dim => queries,
            Some(shape) => {
                return Err(format!("\"{key}\" has shape {shape:?}, expected [1, queries, {dim}]"));
            }
        };
        if inner % HEAD_DIM != 0 {
            return Err(format!(
                "\"{prefix}.layers.0.0.to_q.weight\" has {inner} rows, which do not make heads of {HEAD_DIM}"
            ));
        }
        let layers = format!("{prefix}.layers.");
        let numbers: BTreeSet<i64> = weights
            .keys()
            .iter()
            .filter_map(|key| key.strip_prefix(&layers)?.split_once('.')?.0.parse().ok())
            .collect();
        // A gap in the numbers shows as a missing key when the layers are read.
        let depth = numbers.last().map_or(0, |last| last.saturating_add(1)).min(numbers.len() as i64 + 1);
        let heads = inner / HEAD_DIM;
        Ok(Self { inputs, dim, inner, heads, feed_forward, depth, outputs, queries })
    }
}

/// `[B, S, heads·D]` → `[B, heads, S, D]`
fn split_heads(x: &Tensor, heads: i64) -> Tensor {
    let (b, s, c) = (x.size()[0], x.size()[1], x.size()[2]);
    x.view([b, s, heads, c / heads]).transpose(1, 2)
}

/// The queries read the tokens and each other.
struct PerceiverAttention {
    norm1: LayerNorm,
    norm2: LayerNorm,
    to_q: Linear,
    to_kv: Linear,
    to_out: Linear,
    heads: i64,
}

impl PerceiverAttention {
    fn new(vs: &Vs, sizes: &ResamplerSizes) -> Result<Self, WeightsError> {
        let ResamplerSizes { dim, inner, heads, .. } = *sizes;
        Ok(Self {
            norm1: LayerNorm::new(&(vs / "norm1"), dim, EPS)?,
            norm2: LayerNorm::new(&(vs / "norm2"), dim, EPS)?,
            to_q: Linear::new(&(vs / "to_q"), dim, inner, false)?,
            to_kv: Linear::new(&(vs / "to_kv"), dim, 2 * inner, false)?,
            to_out: Linear::new(&(vs / "to_out"), inner, dim, false)?,
            heads,
        })
    }

    /// x [B, S, dim], queries [B, Q, dim] → [B, Q, dim]
    fn forward(&self, x: &Tensor, queries: &Tensor) -> Tensor {
        let queries = self.norm2.forward(queries);
        let context = Tensor::cat(&[&self.norm1.forward(x), &queries], 1); // [B, S + Q, dim]
        let kv = self.to_kv.forward(&context).chunk(2, -1); // keys, then values: [B, S + Q, inner] each
        let q = split_heads(&self.to_q.forward(&queries), self.heads); // [B, heads, Q, D]
        let [k, v] = [0, 1].map(|i| split_heads(&kv[i], self.heads)); // [B, heads, S + Q, D]
        let out = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, false, None, false);
        // [B, heads, Q, D] → [B, Q, heads·D]
        self.to_out.forward(&out.transpose(1, 2).flatten(2, 3))
    }
}

struct Layer {
    attention: PerceiverAttention,
    norm: LayerNorm,
    wide: Linear,
    narrow: Linear,
}

impl Layer {
    fn new(vs: &Vs, sizes: &ResamplerSizes) -> Result<Self, WeightsError> {
        let feed_forward = vs / 1;
        Ok(Self {
            attention: PerceiverAttention::new(&(vs / 0), sizes)?,
            norm: LayerNorm::new(&(&feed_forward / 0), sizes.dim, EPS)?,
            wide: Linear::new(&(&feed_forward / 1), sizes.dim, sizes.feed_forward, false)?,
            narrow: Linear::new(&(&feed_forward / 3), sizes.feed_forward, sizes.dim, false)?,
        })
    }

    fn forward(&self, x: &Tensor, queries: &Tensor) -> Tensor {
        let queries = queries + self.attention.forward(x, queries);
        let wide = self.wide.forward(&self.norm.forward(&queries)).gelu("none"); // [B, Q, feed_forward]
        queries + self.narrow.forward(&wide)
    }
}

/// A resampler whose queries the caller gives.
pub struct Perceiver {
    proj_in: Linear,
    layers: Vec<Layer>,
    proj_out: Linear,
    norm_out: LayerNorm,
}

impl Perceiver {
    /// Weights below `vs`: `proj_in`, `layers.N.0.{norm1,norm2,to_q,to_kv,to_out}`, `layers.N.1.{0,1,3}`,
    /// `proj_out`, `norm_out`.
    pub fn new(vs: &Vs, sizes: &ResamplerSizes) -> Result<Self, WeightsError> {
        let layers = vs / "layers";
        Ok(Self {
            proj_in: Linear::new(&(vs / "proj_in"), sizes.inputs, sizes.dim, true)?,
            layers: (0..sizes.depth).map(|i| Layer::new(&(&layers / i), sizes)).collect::<Result<_, _>>()?,
            proj_out: Linear::new(&(vs / "proj_out"), sizes.dim, sizes.outputs, true)?,
            norm_out: LayerNorm::new(&(vs / "norm_out"), sizes.outputs, EPS)?,
        })
    }

    /// Queries [B, Q, dim] read x [B, S, E] → [B, Q, C]
    pub fn forward(&self, queries: &Tensor, x: &Tensor) -> Tensor {
        let x = self.proj_in.forward(x); // [B, S, dim]
        let read =
            self.layers.iter().fold(queries.shallow_clone(), |queries, layer| layer.forward(&x, &queries));
        self.norm_out.forward(&self.proj_out.forward(&read))
    }
}

/// A resampler with learned queries.
pub struct Resampler {
    latents: Tensor,
    perceiver: Perceiver,
    sizes: ResamplerSizes,
    kind: Kind,
    device: Device,
}

impl Resampler {
    /// Weights below `vs`: `latents` [1, Q, dim] and those of [`Perceiver::new`]. Sizes of a file come from
    /// [`ResamplerSizes::of`].
    pub fn new(vs: &Vs, sizes: ResamplerSizes) -> Result<Self, WeightsError> {
        let start = Init::Normal((sizes.dim as f64).powf(-0.5));
        Ok(Self {
            latents: vs.get("latents", &[1, sizes.queries, sizes.dim], start)?,
            perceiver: Perceiver::new(vs, &sizes)?,
            sizes,
            kind: vs.kind(),
            device: vs.device(),
        })
    }

    pub fn sizes(&self) -> ResamplerSizes {
        self.sizes
    }

    /// Tokens [B, S, E] → [B, Q, C]
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = x.to_device(self.device).to_kind(self.kind);
        let queries = self.latents.expand([x.size()[0], -1, -1], false); // [B, Q, dim]
        self.perceiver.forward(&queries, &x)
    }
}
