//! The published base models, by the width of the text that they attend to: for files of weights that say nothing of
//! their configuration.

use imagine_encoders::ClipTextConfig;
use imagine_unet::UNetConfig;
use imagine_unet::config::PerBlock;

use crate::footprint::Shape;
use crate::presets::Base;
use crate::single_file::BaseModel;

/// The configurations of one of them.
pub(crate) struct Published {
    base: Base,
    pub unet: UNetConfig,
    pub texts: Vec<ClipTextConfig>,
}

impl Published {
    /// The one whose text is so wide.
    pub fn of_width(width: i64) -> Option<Self> {
        Some(match Base::of_width(width)? {
            Base::Sd15 => Self::of(Base::Sd15, &Shape::sd15()),
            Base::Sd21 => Self::sd21(),
            Base::Sdxl => Self::sdxl(),
        })
    }

    pub fn sdxl() -> Self {
        Self::of(Base::Sdxl, &Shape::sdxl())
    }

    /// As SD 1.5 but for the text, the heads, and linear layers around the transformers.
    fn sd21() -> Self {
        let Self { unet, texts, .. } = Self::of(Base::Sd21, &Shape::sd15());
        let unet = UNetConfig {
            cross_attention_dim: PerBlock::All(1024),
            attention_head_dim: PerBlock::Each(vec![5, 10, 20, 20]),
            use_linear_projection: true,
            ..unet
        };
        Self { base: Base::Sd21, unet, texts: texts.into_iter().map(vit_h).collect() }
    }

    fn of(base: Base, shape: &Shape) -> Self {
        Self { base, unet: shape.unet().clone(), texts: shape.texts().to_vec() }
    }

    /// The text encoder of this width, and what it is called.
    pub fn text_encoder(width: i64) -> Option<(ClipTextConfig, String)> {
        let (name, mut texts) = match width {
            768 => ("CLIP ViT-L/14", Self::of(Base::Sd15, &Shape::sd15()).texts),
            1024 => ("OpenCLIP ViT-H/14", Self::sd21().texts),
            1280 => ("OpenCLIP ViT-bigG/14", Self::sdxl().texts),
            _ => return None,
        };
        Some((texts.pop()?, name.into()))
    }

    pub fn name(&self) -> String {
        self.base.name().into()
    }

    /// How a file in the original layout is read.
    pub fn family(&self) -> BaseModel {
        match self.base {
            Base::Sd15 => BaseModel::Sd1,
            Base::Sd21 => BaseModel::Sd2,
            Base::Sdxl => BaseModel::Sdxl,
        }
    }

    /// Width of SDXL's pooled text.
    pub fn pooled_width(&self) -> Option<i64> {
        self.texts.get(1).and_then(|text| text.projection_dim)
    }
}

/// SD 2.x's encoder, without the last of its layers, as diffusers' folders have it.
fn vit_h(vit_l: ClipTextConfig) -> ClipTextConfig {
    ClipTextConfig {
        hidden_size: 1024,
        intermediate_size: 4096,
        num_attention_heads: 16,
        num_hidden_layers: 23,
        hidden_act: "gelu".into(),
        projection_dim: Some(1024),
        ..vit_l
    }
}
