//! The transformer that CLIP's text and vision towers share (Radford et al. 2021, arXiv 2103.00020;
//! `CLIPEncoder` in transformers): pre-norm self-attention and a two-layer MLP, each added to its
//! input.

use imagine_unet::config::ConfigError;
use imagine_unet::layers::{LayerNorm, Linear};
use imagine_unet::weights::{Init, Vs, WeightsError};
use tch::Tensor;

/// The nonlinearity of the MLP (`hidden_act`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// x·σ(1.702·x), of OpenAI's models.
    QuickGelu,
    /// The exact GELU, of OpenCLIP's models.
    Gelu,
}

impl Activation {
    /// The activation of that name in a `config.json`.
    pub fn from_name(name: &str) -> Result<Self, ConfigError> {
        match name {
            "quick_gelu" => Ok(Self::QuickGelu),
            "gelu" => Ok(Self::Gelu),
            other => Err(ConfigError::unsupported("hidden_act", other, "quick_gelu or gelu")),
        }
    }

    fn forward(self, x: &Tensor) -> Tensor {
        match self {
            Self::QuickGelu => x * (x * 1.702).sigmoid(),
            Self::Gelu => x.gelu("none"),
        }
    }
}

/// The measures of one tower.
#[derive(Clone, Copy, Debug)]
pub struct ClipEncoderShape {
    pub hidden: i64,
    pub intermediate: i64,
    pub heads: i64,
    pub layers: i64,
    pub activation: Activation,
    pub eps: f64,
    /// Scales the deviation of fresh weights (`initializer_factor`).
    pub init_factor: f64,
}

impl ClipEncoderShape {
    /// Start of weights that read the residual stream, as in OpenAI's CLIP.
    fn read_init(&self) -> Init {
        Init::Normal(self.init_factor * (self.hidden as f64).powf(-0.5))
    }

    /// Start of weights that write into the residual stream: smaller with depth, so that the sum of
    /// all layers keeps its size.
    fn write_init(&self) -> Init {
        let depth = (2 * self.layers) as f64;
        Init::Normal(self.init_factor * (self.hidden as f64).powf(-0.5) * depth.powf(-0.5))
    }

    fn mlp_init(&self) -> Init {
        Init::Normal(self.init_factor * (2.0 * self.hidden as f64).powf(-0.5))
    }
}

struct Attention {
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    heads: i64,
}

impl Attention {
    fn new(vs: &Vs, shape: &ClipEncoderShape) -> Result<Self, WeightsError> {
        let d = shape.hidden;
        let read = |name: &str| Linear::with_init(&(vs / name), d, d, true, shape.read_init());
        Ok(Self {
            q: read("q_proj")?,
            k: read("k_proj")?,
            v: read("v_proj")?,
            out: Linear::with_init(&(vs / "out_proj"), d, d, true, shape.write_init())?,
            heads: shape.heads,
        })
    }

    fn forward(&self, x: &Tensor, causal: bool) -> Tensor {
        let (b, s, d) = (x.size()[0], x.size()[1], x.size()[2]);
        // [B, S, D] → [B, heads, S, D / heads]
        let split = |t: Tensor| t.view([b, s, self.heads, d / self.heads]).transpose(1, 2);
        let (q, k, v) = (split(self.q.forward(x)), split(self.k.forward(x)), split(self.v.forward(x)));
        let out = Tensor::scaled_dot_product_attention(&q, &k, &v, None::<&Tensor>, 0.0, causal, None, false);
        // [B, heads, S, D / heads] → [B, S, D]
        self.out.forward(&out.transpose(1, 2).reshape([b, s, d]))
    }
}

struct Layer {
    norm1: LayerNorm,
    attention: Attention,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: Activation,
}

impl Layer {
    fn new(vs: &Vs, shape: &ClipEncoderShape) -> Result<Self, WeightsError> {
        let (d, wide) = (shape.hidden, shape.intermediate);
        Ok(Self {
            norm1: LayerNorm::new(&(vs / "layer_norm1"), d, shape.eps)?,
            attention: Attention::new(&(vs / "self_attn"), shape)?,
            norm2: LayerNorm::new(&(vs / "layer_norm2"), d, shape.eps)?,
            fc1: Linear::with_init(&(vs / "mlp.fc1"), d, wide, true, shape.mlp_init())?,
            fc2: Linear::with_init(&(vs / "mlp.fc2"), wide, d, true, shape.write_init())?,
            activation: shape.activation,
        })
    }

    fn forward(&self, x: &Tensor, causal: bool) -> Tensor {
        let x = x + self.attention.forward(&self.norm1.forward(x), causal);
        let wide = self.activation.forward(&self.fc1.forward(&self.norm2.forward(&x)));
        x + self.fc2.forward(&wide)
    }
}

/// The layers of one tower, without embeddings before and norms after them.
pub struct ClipEncoder {
    layers: Vec<Layer>,
}

impl ClipEncoder {
    /// Weights under `layers.N` below `vs`.
    pub fn new(vs: &Vs, shape: &ClipEncoderShape) -> Result<Self, WeightsError> {
        let layers = vs / "layers";
        let layers =
            (0..shape.layers).map(|i| Layer::new(&(&layers / i), shape)).collect::<Result<_, _>>()?;
        Ok(Self { layers })
    }

    /// Runs all layers on x [B, S, D] and returns the last output [B, S, D]. With `causal` each
    /// position sees only itself and those before it. `seen` is called with the input and then with
    /// each layer's output.
    pub fn forward(&self, x: &Tensor, causal: bool, mut seen: impl FnMut(&Tensor)) -> Tensor {
        seen(x);
        self.layers.iter().fold(x.shallow_clone(), |x, layer| {
            let x = layer.forward(&x, causal);
            seen(&x);
            x
        })
    }
}
