//! `config.json` of a CLIP vision encoder, read in full: no number of the architecture is assumed.

use std::path::Path;

use imagine_unet::config::{ConfigError, read_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clip_encoder::{Activation, ClipEncoderShape};

/// The keys of a transformers `CLIPVisionConfig`, with transformers' defaults.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipVisionConfig {
    /// `CLIPVisionModel` or `CLIPVisionModelWithProjection`.
    pub architectures: Vec<String>,
    pub model_type: String,
    pub hidden_size: i64,
    pub intermediate_size: i64,
    /// Width of the projected embedding, where there is a projection.
    pub projection_dim: i64,
    pub num_hidden_layers: i64,
    pub num_attention_heads: i64,
    pub num_channels: i64,
    /// Side of the pictures, pixels.
    pub image_size: i64,
    /// Side of a patch, pixels.
    pub patch_size: i64,
    pub hidden_act: String,
    pub layer_norm_eps: f64,
    /// Deviation of fresh embeddings.
    pub initializer_range: f64,
    pub initializer_factor: f64,
}

impl Default for ClipVisionConfig {
    fn default() -> Self {
        Self {
            architectures: Vec::new(),
            model_type: "clip_vision_model".into(),
            hidden_size: 768,
            intermediate_size: 3072,
            projection_dim: 512,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            num_channels: 3,
            image_size: 224,
            patch_size: 32,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            initializer_range: 0.02,
            initializer_factor: 1.0,
        }
    }
}

impl ClipVisionConfig {
    /// OpenAI's ViT-L/14, for files that hold its weights without a configuration (PhotoMaker).
    pub fn vit_l_14() -> Self {
        Self {
            hidden_size: 1024,
            intermediate_size: 4096,
            projection_dim: 768,
            num_hidden_layers: 24,
            num_attention_heads: 16,
            patch_size: 14,
            ..Self::default()
        }
    }

    /// OpenCLIP's ViT-H/14, which most IP-Adapters look through.
    pub fn vit_h_14() -> Self {
        Self {
            hidden_size: 1280,
            intermediate_size: 5120,
            projection_dim: 1024,
            num_hidden_layers: 32,
            hidden_act: "gelu".into(),
            ..Self::vit_l_14()
        }
    }

    /// OpenCLIP's ViT-bigG/14, of the plain IP-Adapter for SDXL.
    pub fn vit_big_g_14() -> Self {
        Self {
            hidden_size: 1664,
            intermediate_size: 8192,
            projection_dim: 1280,
            num_hidden_layers: 48,
            ..Self::vit_h_14()
        }
    }

    /// The published encoder of this width, for files of weights without a configuration: heads and activation stand
    /// in no shape.
    ///
    /// # Errors
    /// None of the published ones is so wide.
    pub fn of_width(hidden_size: i64) -> Result<Self, ConfigError> {
        let known = [Self::vit_l_14(), Self::vit_h_14(), Self::vit_big_g_14()];
        known.into_iter().find(|config| config.hidden_size == hidden_size).ok_or_else(|| {
            let reason = "without a config.json only ViT-L/14 (1024), ViT-H/14 (1280) and ViT-bigG/14 (1664) are known: \
                          name the folder that has one";
            ConfigError::unsupported("hidden_size", hidden_size, reason)
        })
    }

    /// Reads and checks a `config.json` of a vision encoder, or the vision part of one of a whole CLIP.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let wrong = |source| ConfigError::Json { file: file.to_path_buf(), source };
        let mut json: Value = read_json(file)?;
        let whole = json.get("model_type").and_then(Value::as_str) == Some("clip");
        if whole {
            // The projection belongs to both towers, so its width stands outside.
            let width = json.get("projection_dim").cloned();
            let mut vision = json.get("vision_config").cloned().unwrap_or(Value::Null);
            if let (Some(keys), Some(width)) = (vision.as_object_mut(), width) {
                keys.insert("projection_dim".into(), width);
                keys.insert("model_type".into(), "clip_vision_model".into());
                keys.insert("architectures".into(), Value::from(vec!["CLIPVisionModelWithProjection"]));
            }
            json = vision;
        }
        let config: Self = serde_json::from_value(json).map_err(wrong)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what this implementation does not do, naming key and value.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.model_type != "clip_vision_model" {
            return Err(ConfigError::unsupported("model_type", &self.model_type, "clip_vision_model"));
        }
        for (key, value) in [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("projection_dim", self.projection_dim),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("image_size", self.image_size),
            ("patch_size", self.patch_size),
        ] {
            if !(1..=1 << 16).contains(&value) {
                return Err(ConfigError::unsupported(key, value, "a positive number"));
            }
        }
        if self.num_channels != 3 {
            return Err(ConfigError::unsupported("num_channels", self.num_channels, "pictures have 3"));
        }
        if self.hidden_size % self.num_attention_heads != 0 {
            let reason = format!("a divisor of hidden_size = {}", self.hidden_size);
            return Err(ConfigError::unsupported("num_attention_heads", self.num_attention_heads, &reason));
        }
        if self.patch_size > self.image_size {
            let reason = format!("at most image_size = {}", self.image_size);
            return Err(ConfigError::unsupported("patch_size", self.patch_size, &reason));
        }
        if !(self.layer_norm_eps.is_finite() && self.layer_norm_eps >= 0.0) {
            return Err(ConfigError::unsupported("layer_norm_eps", self.layer_norm_eps, "a small number"));
        }
        Activation::from_name(&self.hidden_act)?;
        Ok(())
    }

    /// Whether the configuration itself names the model with a projection.
    pub fn has_projection(&self) -> bool {
        self.architectures.iter().any(|name| name == "CLIPVisionModelWithProjection")
    }

    /// Tokens of a picture: one for the whole and one for each patch.
    pub fn positions(&self) -> i64 {
        let side = self.image_size / self.patch_size;
        side * side + 1
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
