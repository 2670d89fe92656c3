//! `config.json` of a CLIP text encoder, read in full: no number of the architecture is assumed.

use std::path::Path;

use imagine_unet::config::{ConfigError, read_json};
use serde::{Deserialize, Serialize};

use crate::clip_encoder::{Activation, ClipEncoderShape};

/// The keys of a transformers `CLIPTextConfig`, with transformers' defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// `CLIPTextModel` or `CLIPTextModelWithProjection`.
    pub architectures: Vec<String>,
    pub model_type: String,
    pub vocab_size: i64,
    pub hidden_size: i64,
    pub intermediate_size: i64,
    /// Width of the projected embedding, where there is a projection.
    pub projection_dim: Option<i64>,
    pub num_hidden_layers: i64,
    pub num_attention_heads: i64,
    pub max_position_embeddings: i64,
    pub hidden_act: String,
    pub layer_norm_eps: f64,
    pub initializer_factor: f64,
    pub pad_token_id: Option<i64>,
    pub bos_token_id: Option<i64>,
    /// The token whose state is the pooled output. 2 marks configurations from before transformers
    /// 4.31, whose tokenizer has another end token: there the highest id is taken.
    pub eos_token_id: i64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub use_attention_mask: bool,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            architectures: Vec::new(),
            model_type: "clip_text_model".into(),
            vocab_size: 49408,
            hidden_size: 512,
            intermediate_size: 2048,
            projection_dim: Some(512),
            num_hidden_layers: 12,
            num_attention_heads: 8,
            max_position_embeddings: 77,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            initializer_factor: 1.0,
            pad_token_id: Some(1),
            bos_token_id: Some(49406),
            eos_token_id: 49407,
            use_attention_mask: false,
        }
    }
}

impl ClipTextConfig {
    /// Reads and checks a `config.json`.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let config: Self = read_json(file)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what this implementation does not do, naming key and value.
    pub fn check(&self) -> Result<(), ConfigError> {
        // A whole CLIP keeps these keys one level deeper: read from here, all would be defaults.
        if self.model_type != "clip_text_model" {
            return Err(ConfigError::unsupported("model_type", &self.model_type, "clip_text_model"));
        }
        if self.use_attention_mask {
            return Err(ConfigError::unsupported("use_attention_mask", true, "only false is supported"));
        }
        for (key, value) in [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("max_position_embeddings", self.max_position_embeddings),
            ("projection_dim", self.projection_dim.unwrap_or(1)),
        ] {
            if !(1..=1 << 24).contains(&value) {
                return Err(ConfigError::unsupported(key, value, "a positive number"));
            }
        }
        if self.hidden_size % self.num_attention_heads != 0 {
            let reason = format!("a divisor of hidden_size = {}", self.hidden_size);
            return Err(ConfigError::unsupported("num_attention_heads", self.num_attention_heads, &reason));
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            return Err(ConfigError::unsupported("layer_norm_eps", self.layer_norm_eps, "a small number"));
        }
        Activation::from_name(&self.hidden_act)?;
        if self.has_projection() {
            self.projection()?;
        }
        Ok(())
    }

    /// Whether the configuration itself names the model with a projection.
    pub fn has_projection(&self) -> bool {
        self.architectures.iter().any(|name| name == "CLIPTextModelWithProjection")
    }

    /// Width of the projected embedding.
    pub fn projection(&self) -> Result<i64, ConfigError> {
        self.projection_dim
            .ok_or_else(|| ConfigError::unsupported("projection_dim", "null", "a model with a projection"))
    }

    /// The measures of the transformer.
    pub fn encoder_shape(&self) -> Result<ClipEncoderShape, ConfigError> {
        Ok(ClipEncoderShape {
            hidden: self.hidden_size,
            intermediate: self.intermediate_size,
            heads: self.num_attention_heads,
            layers: self.num_hidden_layers,
            activation: Activation::from_name(&self.hidden_act)?,
            eps: self.layer_norm_eps,
            init_factor: self.initializer_factor,
        })
    }
}
