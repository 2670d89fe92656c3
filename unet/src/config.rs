//! `config.json` of a U-Net, read in full: no number of the architecture is assumed.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::resnet::TimeShift;

/// Bound of every count and width, far above any model's: a damaged file must not make sums overflow.
const LARGEST: i64 = 1 << 20;

/// Why a configuration could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{file}: cannot be read: {source}")]
    Open { file: PathBuf, source: std::io::Error },
    #[error("{file}: {source}")]
    Json { file: PathBuf, source: serde_json::Error },
    #[error("{key} = {value} is not supported: {reason}")]
    Unsupported { key: String, value: String, reason: String },
}

impl ConfigError {
    /// An error about one key.
    pub fn unsupported(key: &str, value: impl std::fmt::Display, reason: &str) -> Self {
        Self::Unsupported { key: key.into(), value: value.to_string(), reason: reason.into() }
    }
}

/// Reads a JSON object into `T`; the error names the file, and line and column.
pub fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T, ConfigError> {
    let open = |source| ConfigError::Open { file: file.to_path_buf(), source };
    let wrong = |source| ConfigError::Json { file: file.to_path_buf(), source };
    let text = std::fs::read_to_string(file).map_err(open)?;
    let value = serde_json::from_str(&text).map_err(wrong)?;
    // serde also fills a struct from a list, and one of defaults from an empty list.
    if text.trim_start().starts_with('{') {
        Ok(value)
    } else {
        Err(wrong(serde::de::Error::custom("expected an object in braces")))
    }
}

/// A number for all blocks, or one for each.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum PerBlock {
    All(i64),
    Each(Vec<i64>),
}

impl PerBlock {
    fn expand(&self, key: &str, blocks: usize) -> Result<Vec<i64>, ConfigError> {
        match self {
            Self::All(n) => Ok(vec![*n; blocks]),
            Self::Each(list) if list.len() == blocks => Ok(list.clone()),
            Self::Each(list) => {
                let reason = format!("one number or {blocks}, one for each block");
                Err(ConfigError::unsupported(key, format!("{list:?}"), &reason))
            }
        }
    }
}

/// The keys of a diffusers `UNet2DConditionModel` config, with diffusers' defaults.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct UNetConfig {
    /// Height and width of the latents that the model was trained on.
    pub sample_size: Option<i64>,
    pub in_channels: i64,
    pub out_channels: i64,
    pub center_input_sample: bool,
    pub flip_sin_to_cos: bool,
    pub freq_shift: f64,
    pub down_block_types: Vec<String>,
    pub mid_block_type: Option<String>,
    pub up_block_types: Vec<String>,
    pub only_cross_attention: Value,
    pub mid_block_only_cross_attention: Option<bool>,
    pub block_out_channels: Vec<i64>,
    pub layers_per_block: PerBlock,
    pub downsample_padding: i64,
    pub mid_block_scale_factor: f64,
    pub act_fn: String,
    pub norm_num_groups: Option<i64>,
    pub norm_eps: f64,
    pub cross_attention_dim: PerBlock,
    pub transformer_layers_per_block: PerBlock,
    pub reverse_transformer_layers_per_block: Value,
    /// In diffusers' files this is the *number* of heads unless `num_attention_heads` stands too.
    pub attention_head_dim: PerBlock,
    pub num_attention_heads: Option<PerBlock>,
    pub dual_cross_attention: bool,
    pub use_linear_projection: bool,
    pub class_embed_type: Option<String>,
    pub addition_embed_type: Option<String>,
    pub addition_time_embed_dim: Option<i64>,
    pub projection_class_embeddings_input_dim: Option<i64>,
    pub num_class_embeds: Option<i64>,
    /// Asks for scores in f32; fused attention always has them so. SDXL's files say null.
    pub upcast_attention: Option<bool>,
    pub resnet_time_scale_shift: String,
    pub resnet_skip_time_act: bool,
    pub resnet_out_scale_factor: f64,
    pub time_embedding_type: String,
    pub time_embedding_dim: Option<i64>,
    pub time_embedding_act_fn: Option<String>,
    pub timestep_post_act: Option<String>,
    /// Width of the embedded guidance that the U-Net takes beside the timestep, where it was distilled so.
    pub time_cond_proj_dim: Option<i64>,
    pub conv_in_kernel: i64,
    pub conv_out_kernel: i64,
    pub encoder_hid_dim: Option<i64>,
    pub encoder_hid_dim_type: Option<String>,
    pub cross_attention_norm: Option<String>,
    pub attention_type: String,
    pub class_embeddings_concat: bool,
}

impl Default for UNetConfig {
    fn default() -> Self {
        let names = |list: &[&str]| list.iter().map(|s| s.to_string()).collect::<Vec<_>>();
        let cross_down = "CrossAttnDownBlock2D";
        let cross_up = "CrossAttnUpBlock2D";
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            center_input_sample: false,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            down_block_types: names(&[cross_down, cross_down, cross_down, "DownBlock2D"]),
            mid_block_type: Some("UNetMidBlock2DCrossAttn".into()),
            up_block_types: names(&["UpBlock2D", cross_up, cross_up, cross_up]),
            only_cross_attention: Value::Bool(false),
            mid_block_only_cross_attention: None,
            block_out_channels: vec![320, 640, 1280, 1280],
            layers_per_block: PerBlock::All(2),
            downsample_padding: 1,
            mid_block_scale_factor: 1.0,
            act_fn: "silu".into(),
            norm_num_groups: Some(32),
            norm_eps: 1e-5,
            cross_attention_dim: PerBlock::All(1280),
            transformer_layers_per_block: PerBlock::All(1),
            reverse_transformer_layers_per_block: Value::Null,
            attention_head_dim: PerBlock::All(8),
            num_attention_heads: None,
            dual_cross_attention: false,
            use_linear_projection: false,
            class_embed_type: None,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            num_class_embeds: None,
            upcast_attention: None,
            resnet_time_scale_shift: "default".into(),
            resnet_skip_time_act: false,
            resnet_out_scale_factor: 1.0,
            time_embedding_type: "positional".into(),
            time_embedding_dim: None,
            time_embedding_act_fn: None,
            timestep_post_act: None,
            time_cond_proj_dim: None,
            conv_in_kernel: 3,
            conv_out_kernel: 3,
            encoder_hid_dim: None,
            encoder_hid_dim_type: None,
            cross_attention_norm: None,
            attention_type: "default".into(),
            class_embeddings_concat: false,
        }
    }
}

/// One resolution of the U-Net, after the per-block keys have been resolved.
#[derive(Clone, Debug)]
pub struct BlockPlan {
    pub channels: i64,
    pub layers: i64,
    pub heads: i64,
    /// Transformer blocks in each attention; 0 where the block has none.
    pub transformer_layers: i64,
    pub cross_dim: i64,
}

impl UNetConfig {
    /// Reads and checks a `config.json`.
    pub fn from_file(file: &Path) -> Result<Self, ConfigError> {
        let config: Self = read_json(file)?;
        config.check()?;
        Ok(config)
    }

    /// Refuses what this implementation does not do, naming key and value.
    pub fn check(&self) -> Result<(), ConfigError> {
        let number = |value: Option<i64>| value.map(|n| n.to_string());
        let reversed = &self.reverse_transformer_layers_per_block;
        for (key, value) in [
            ("class_embed_type", self.class_embed_type.clone()),
            ("num_class_embeds", number(self.num_class_embeds)),
            ("encoder_hid_dim_type", self.encoder_hid_dim_type.clone()),
            ("encoder_hid_dim", number(self.encoder_hid_dim)),
            ("time_embedding_act_fn", self.time_embedding_act_fn.clone()),
            ("timestep_post_act", self.timestep_post_act.clone()),
            ("cross_attention_norm", self.cross_attention_norm.clone()),
            ("reverse_transformer_layers_per_block", (!reversed.is_null()).then(|| reversed.to_string())),
        ] {
            if let Some(value) = value {
                return Err(ConfigError::unsupported(key, value, "only null is supported"));
            }
        }
        if let Some(v) = &self.addition_embed_type
            && v != "text_time"
        {
            return Err(ConfigError::unsupported("addition_embed_type", v, "null or text_time"));
        }
        for (key, value) in [
            ("dual_cross_attention", self.dual_cross_attention),
            ("resnet_skip_time_act", self.resnet_skip_time_act),
            ("class_embeddings_concat", self.class_embeddings_concat),
            ("mid_block_only_cross_attention", self.mid_block_only_cross_attention.unwrap_or(false)),
        ] {
            if value {
                return Err(ConfigError::unsupported(key, value, "only false is supported"));
            }
        }
        let off = |value: &Value| matches!(value, Value::Bool(false) | Value::Null);
        let only_cross = &self.only_cross_attention;
        if !(off(only_cross) || only_cross.as_array().is_some_and(|blocks| blocks.iter().all(off))) {
            return Err(ConfigError::unsupported("only_cross_attention", only_cross, "false"));
        }
        if !matches!(self.act_fn.as_str(), "silu" | "swish") {
            return Err(ConfigError::unsupported("act_fn", &self.act_fn, "silu"));
        }
        if self.time_embedding_type != "positional" {
            return Err(ConfigError::unsupported(
                "time_embedding_type",
                &self.time_embedding_type,
                "positional",
            ));
        }
        if self.attention_type != "default" {
            return Err(ConfigError::unsupported("attention_type", &self.attention_type, "default"));
        }
        for (key, kernel) in
            [("conv_in_kernel", self.conv_in_kernel), ("conv_out_kernel", self.conv_out_kernel)]
        {
            if kernel < 1 || kernel % 2 == 0 {
                return Err(ConfigError::unsupported(key, kernel, "an odd number"));
            }
        }
        for (key, value, least) in [
            ("in_channels", self.in_channels, 1),
            ("out_channels", self.out_channels, 1),
            ("downsample_padding", self.downsample_padding, 0),
            ("sample_size", self.sample_size.unwrap_or(1), 1),
            ("time_embedding_dim", self.time_embedding_dim.unwrap_or(1), 1),
            ("addition_time_embed_dim", self.addition_time_embed_dim.unwrap_or(1), 1),
            ("time_cond_proj_dim", self.time_cond_proj_dim.unwrap_or(2), 2),
        ] {
            if value < least || value > LARGEST {
                return Err(ConfigError::unsupported(key, value, &format!("{least} to {LARGEST}")));
            }
        }
        for (key, value) in
            [("norm_eps", self.norm_eps), ("mid_block_scale_factor", self.mid_block_scale_factor)]
        {
            if !(value.is_finite() && value > 0.0) {
                return Err(ConfigError::unsupported(key, value, "a positive number"));
            }
        }
        if self.resnet_out_scale_factor != 1.0 {
            return Err(ConfigError::unsupported(
                "resnet_out_scale_factor",
                self.resnet_out_scale_factor,
                "1.0",
            ));
        }
        let blocks = self.block_out_channels.len();
        if blocks == 0 || self.down_block_types.len() != blocks || self.up_block_types.len() != blocks {
            let found = format!("{}/{}", self.down_block_types.len(), self.up_block_types.len());
            return Err(ConfigError::unsupported(
                "down_block_types/up_block_types",
                found,
                "as many as block_out_channels",
            ));
        }
        for (key, kinds, known) in [
            ("down_block_types", &self.down_block_types, ["DownBlock2D", "CrossAttnDownBlock2D"]),
            ("up_block_types", &self.up_block_types, ["UpBlock2D", "CrossAttnUpBlock2D"]),
        ] {
            if let Some(kind) = kinds.iter().find(|k| !known.contains(&k.as_str())) {
                return Err(ConfigError::unsupported(key, kind, &known.join(" or ")));
            }
        }
        if let Some(kind) = &self.mid_block_type
            && !matches!(kind.as_str(), "UNetMidBlock2DCrossAttn" | "UNetMidBlock2D")
        {
            return Err(ConfigError::unsupported(
                "mid_block_type",
                kind,
                "UNetMidBlock2DCrossAttn, UNetMidBlock2D or null",
            ));
        }
        let groups = self.groups()?;
        for (&channels, plan) in self.block_out_channels.iter().zip(self.plans()?) {
            for (key, value) in [
                ("layers_per_block", plan.layers),
                ("transformer_layers_per_block", plan.transformer_layers),
                ("cross_attention_dim", plan.cross_dim),
            ] {
                if !(1..=LARGEST).contains(&value) {
                    return Err(ConfigError::unsupported(key, value, &format!("1 to {LARGEST}")));
                }
            }
            if !(1..=LARGEST).contains(&channels) || channels % groups != 0 {
                return Err(ConfigError::unsupported(
                    "block_out_channels",
                    channels,
                    &format!("a multiple of norm_num_groups = {groups}"),
                ));
            }
            if plan.heads <= 0 || channels % plan.heads != 0 {
                return Err(ConfigError::unsupported(
                    "attention_head_dim",
                    plan.heads,
                    &format!("a divisor of {channels} channels"),
                ));
            }
        }
        self.time_shift()?;
        Ok(())
    }

    /// Groups of every group normalisation.
    pub fn groups(&self) -> Result<i64, ConfigError> {
        match self.norm_num_groups {
            Some(n) if n > 0 => Ok(n),
            other => {
                Err(ConfigError::unsupported("norm_num_groups", format!("{other:?}"), "a positive number"))
            }
        }
    }

    /// Channels of the first resolution; there is one in every checked configuration.
    pub fn first_channels(&self) -> i64 {
        self.block_out_channels.first().copied().unwrap_or(0)
    }

    /// Width of the time embedding.
    pub fn time_dim(&self) -> i64 {
        self.time_embedding_dim.unwrap_or(self.first_channels() * 4)
    }

    pub fn time_shift(&self) -> Result<TimeShift, ConfigError> {
        match self.resnet_time_scale_shift.as_str() {
            "default" => Ok(TimeShift::Default),
            "scale_shift" => Ok(TimeShift::ScaleShift),
            other => {
                Err(ConfigError::unsupported("resnet_time_scale_shift", other, "default or scale_shift"))
            }
        }
    }

    /// Width of the text condition, the same for all blocks of the supported kinds.
    pub fn cross_dim(&self) -> Result<i64, ConfigError> {
        let each = self.cross_attention_dim.expand("cross_attention_dim", self.block_out_channels.len())?;
        if each.iter().any(|d| *d != each[0]) {
            return Err(ConfigError::unsupported(
                "cross_attention_dim",
                format!("{each:?}"),
                "one width for all",
            ));
        }
        Ok(each[0])
    }

    /// The resolutions from the first (largest) to the last.
    pub fn plans(&self) -> Result<Vec<BlockPlan>, ConfigError> {
        let blocks = self.block_out_channels.len();
        let heads = match &self.num_attention_heads {
            Some(heads) => heads.expand("num_attention_heads", blocks)?,
            None => self.attention_head_dim.expand("attention_head_dim", blocks)?,
        };
        let layers = self.layers_per_block.expand("layers_per_block", blocks)?;
        let depths = self.transformer_layers_per_block.expand("transformer_layers_per_block", blocks)?;
        let cross_dim = self.cross_dim()?;
        Ok((0..blocks)
            .map(|i| BlockPlan {
                channels: self.block_out_channels[i],
                layers: layers[i],
                heads: heads[i],
                transformer_layers: depths[i],
                cross_dim,
            })
            .collect())
    }
}
