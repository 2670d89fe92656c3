//! `ControlNetModel`: a copy of the U-Net's way down that sees a condition picture, and whose features are
//! added to the U-Net's own (Zhang et al., arXiv 2302.05543; reference implementation: diffusers).

use tch::{Kind, Tensor};

use crate::blocks::{ModelError, in_forward_order};
use crate::condition::{AddedCondition, Condition, CrossKv};
use crate::controlnet_config::{ChannelOrder, ControlNetConfig};
use crate::down_path::DownPath;
use crate::layers::Conv2d;
use crate::weights::{Vs, WeightsError};

/// A condition picture does not fit the latents.
#[derive(Debug, thiserror::Error)]
#[error(
    "the condition picture has shape {found:?}, but latents of {height} × {width} need \
     [rows, {channels}, {picture_height}, {picture_width}]"
)]
pub struct ConditionPictureError {
    pub found: Vec<i64>,
    /// Of the latents, in cells.
    pub height: i64,
    pub width: i64,
    pub channels: i64,
    /// Of the picture, in pixels.
    pub picture_height: i64,
    pub picture_width: i64,
}

/// What a ControlNet adds to a U-Net's features.
pub struct ControlResiduals {
    /// One for each feature map that the way down keeps, in order: [B, C, h, w]
    pub down: Vec<Tensor>,
    /// [B, C, h, w] behind the middle
    pub mid: Tensor,
}

impl ControlResiduals {
    /// The part in a region [B or 1, 1, h, w] in 0 to 1 (as large as the latents, or larger), with its mean
    /// over each cell of the feature maps: for several people with a ControlNet's evaluation each.
    pub fn within(&self, region: &Tensor) -> Self {
        let cut = |x: &Tensor| {
            let cells = &x.size()[2..];
            x * region.to_kind(Kind::Float).adaptive_avg_pool2d(cells).to_kind(x.kind()) // [B, C, h, w]
        };
        Self { down: self.down.iter().map(cut).collect(), mid: cut(&self.mid) }
    }

    /// The sum with those of another ControlNet, or of another person.
    pub fn plus(&self, other: &Self) -> Self {
        let down = self.down.iter().zip(&other.down).map(|(a, b)| a + b);
        Self { down: down.collect(), mid: &self.mid + &other.mid }
    }

    /// For `rows` rows to which nothing is added: zeros in the shape of these.
    pub fn nothing(&self, rows: i64) -> Self {
        let zeros = |x: &Tensor| {
            let mut shape = x.size();
            shape[0] = rows;
            x.new_zeros(shape, (x.kind(), x.device()))
        };
        Self { down: self.down.iter().map(zeros).collect(), mid: zeros(&self.mid) }
    }

    /// Rows of all, one after the other.
    pub fn join(all: &[&Self]) -> Self {
        let maps = all.first().map_or(0, |one| one.down.len());
        let down = |i: usize| Tensor::cat(&all.iter().map(|one| &one.down[i]).collect::<Vec<_>>(), 0);
        let mid: Vec<&Tensor> = all.iter().map(|one| &one.mid).collect();
        Self { down: (0..maps).map(down).collect(), mid: Tensor::cat(&mid, 0) }
    }
}

/// Convolutions from the condition picture to features of the latents' size.
struct PictureEmbedding {
    conv_in: Conv2d,
    /// In pairs: one that keeps the size, one that halves it.
    blocks: Vec<Conv2d>,
    conv_out: Conv2d,
}

impl PictureEmbedding {
    fn new(vs: &Vs, config: &ControlNetConfig, outputs: i64) -> Result<Self, WeightsError> {
        let widths = &config.conditioning_embedding_out_channels;
        let (first, last) =
            (widths.first().copied().unwrap_or(outputs), widths.last().copied().unwrap_or(outputs));
        let mut blocks = Vec::with_capacity(2 * widths.len());
        for (i, pair) in widths.windows(2).enumerate() {
            blocks.push(Conv2d::new(&(vs / "blocks" / (2 * i)), pair[0], pair[0], 3, 1, 1)?);
            blocks.push(Conv2d::new(&(vs / "blocks" / (2 * i + 1)), pair[0], pair[1], 3, 2, 1)?);
        }
        Ok(Self {
            conv_in: Conv2d::new(&(vs / "conv_in"), config.conditioning_channels, first, 3, 1, 1)?,
            blocks,
            conv_out: Conv2d::new(&(vs / "conv_out"), last, outputs, 3, 1, 1)?,
        })
    }

    fn forward(&self, picture: &Tensor) -> Tensor {
        let mut x = self.conv_in.forward(picture).silu();
        for block in &self.blocks {
            x = block.forward(&x).silu();
        }
        self.conv_out.forward(&x)
    }
}

/// A ControlNet of Stable Diffusion 1.x, 2.x or XL.
pub struct ControlNetModel {
    path: DownPath,
    picture_embedding: PictureEmbedding,
    /// 1 × 1, one for each kept feature map.
    down_convs: Vec<Conv2d>,
    mid_conv: Conv2d,
    channel_order: ChannelOrder,
    config: ControlNetConfig,
}

impl ControlNetModel {
    /// Builds the model with the weights below `vs`. Errors name the key of the configuration or the
    /// file and tensor at fault.
    pub fn new(vs: &Vs, config: &ControlNetConfig) -> Result<Self, ModelError> {
        config.check()?;
        let network = &config.network;
        let mut kept = vec![network.first_channels()];
        let mut deepest = network.first_channels();
        let plans = network.plans()?;
        for (i, plan) in plans.iter().enumerate() {
            let resampled = i64::from(i + 1 < plans.len());
            kept.extend((0..plan.layers + resampled).map(|_| plan.channels));
            deepest = plan.channels;
        }
        let one_by_one = |vs: &Vs, channels| Conv2d::new(vs, channels, channels, 1, 1, 0);
        let down_convs = kept
            .iter()
            .enumerate()
            .map(|(i, &channels)| one_by_one(&(vs / "controlnet_down_blocks" / i), channels))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            path: DownPath::new(vs, network)?,
            picture_embedding: PictureEmbedding::new(
                &(vs / "controlnet_cond_embedding"),
                config,
                network.first_channels(),
            )?,
            down_convs,
            mid_conv: one_by_one(&(vs / "controlnet_mid_block"), deepest)?,
            channel_order: config.channel_order()?,
            config: config.clone(),
        })
    }

    pub fn config(&self) -> &ControlNetConfig {
        &self.config
    }

    /// The type of the weights, in which the model computes.
    pub fn kind(&self) -> Kind {
        self.path.kind()
    }

    /// Keys and values of a condition for this model's layers: once a request. A ControlNet has
    /// projections of its own, so a U-Net's [`CrossKv`] does not serve it. InstantID's ControlNet is given
    /// the face's tokens in place of the text.
    pub fn cross_kv(&self, condition: &Condition) -> CrossKv {
        let layers = in_forward_order(&self.path.down_blocks, self.path.mid_block.as_ref(), &[]);
        CrossKv::new(layers, condition, self.kind())
    }

    /// Features of the condition picture: once a request.
    ///
    /// `picture` [B or 1, conditioning_channels, H, W], RGB in 0 to 1; `latents` (h, w) in cells
    /// → [B or 1, C, h, w].
    ///
    /// # Errors
    /// A picture of another size than the one that the latents are decoded to.
    pub fn embed_picture(
        &self,
        picture: &Tensor,
        latents: (i64, i64),
    ) -> Result<Tensor, ConditionPictureError> {
        let (height, width) = latents;
        let scale = self.config.downscale();
        let (picture_height, picture_width) = (height * scale, width * scale);
        let channels = self.config.conditioning_channels;
        let found = picture.size();
        if !matches!(found.as_slice(), &[rows, c, h, w]
            if rows > 0 && c == channels && h == picture_height && w == picture_width)
        {
            return Err(ConditionPictureError {
                found,
                height,
                width,
                channels,
                picture_height,
                picture_width,
            });
        }
        let picture = picture.to_kind(self.kind());
        Ok(self.picture_embedding.forward(&match self.channel_order {
            ChannelOrder::Rgb => picture,
            ChannelOrder::Bgr => picture.flip([1]),
        }))
    }

    /// One evaluation: what is to be added to the U-Net's features, times `scale`.
    ///
    /// `sample` [B, in_channels, h, w], `timesteps` [B], `cross` of this model's own [`Self::cross_kv`],
    /// `added` for the models that ask for it, `picture` from [`Self::embed_picture`].
    pub fn forward(
        &self,
        sample: &Tensor,
        timesteps: &Tensor,
        cross: &CrossKv,
        added: Option<&AddedCondition>,
        picture: &Tensor,
        scale: f64,
    ) -> ControlResiduals {
        let time = self.path.embed_time(timesteps, None, added);
        let mut kv = cross.cursor();
        let x = self.path.enter(sample) + picture;
        let (x, kept) = self.path.descend(x, &time, &mut kv);
        let x = self.path.middle(x, &time, &mut kv);
        let scaled = |t: Tensor| if scale == 1.0 { t } else { t * scale };
        ControlResiduals {
            down: kept.iter().zip(&self.down_convs).map(|(x, conv)| scaled(conv.forward(x))).collect(),
            mid: scaled(self.mid_conv.forward(&x)),
        }
    }
}
