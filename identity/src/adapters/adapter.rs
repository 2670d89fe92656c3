//! One type for every kind of IP-Adapter: what it needs of a reference photo, the tokens it makes of several,
//! and how it enters a U-Net.

use std::path::{Path, PathBuf};

use imagine_unet::config::UNetConfig;
use imagine_unet::{UNet2DConditionModel, Weights};
use tch::{Device, Kind, TchError, Tensor};

use super::card::{CARD_GROUP_NAMES, CardProjection};
use super::error::AdapterError;
use super::faceid::{FaceIdProjection, FaceIdSizes};
use super::faceid_plus::{FaceIdPlusProjection, FaceIdPlusSizes};
use super::ip_adapter::{FullFaceProjection, FullFaceSizes, ImageProjection, ImageProjectionSizes};
use super::kind::{AdapterKind, named_unnormalised};
use super::layers::AdapterLayers;
use super::resampler::{Resampler, ResamplerSizes};
use crate::card::CARD_WIDTH;

/// What to do with several references of one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// One set of tokens: of the mean of the face embeddings, brought back to unit length where they are
    /// normalised, and the mean over what was made of each picture.
    Average,
    /// The tokens of every reference side by side.
    Concatenate,
}

/// Choices at opening; the default leaves each to the file.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdapterOptions {
    /// Read off keys and name if left out.
    pub kind: Option<AdapterKind>,
    /// The way in which the kind was published if left out: pictures and portraits side by side, other
    /// face embeddings averaged.
    pub combine: Option<Combine>,
    /// FaceID-PlusV2's weight of the picture beside the embedding; 1 if left out.
    pub shortcut_scale: Option<f64>,
    /// Whether the adapter takes face embeddings as the recogniser gives them, not normalised. Left out:
    /// for InstantID, and where the file's name contains `unnorm`.
    pub raw_embedding: Option<bool>,
}

/// Which states of CLIP's vision tower an adapter reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipStates {
    /// The projected embedding, `image_embeds` [1, W].
    Projected,
    /// The output of the last layer but one, `hidden_states[-2]` [1, 1 + patches, W].
    LastButOne,
}

/// What an adapter wants to know of each reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Width of the face embedding.
    pub embedding_width: Option<i64>,
    /// Whether that is [`ReferenceFeatures::raw_embedding`] and not the normalised one.
    pub raw_embedding: bool,
    /// Width of CLIP's states. FaceID-Plus and plus-face were trained on aligned face crops, the others on
    /// whole pictures.
    pub clip_vision_width: Option<i64>,
    pub clip_states: Option<ClipStates>,
}

impl Needs {
    /// Whether [`Adapter::unconditional`] wants CLIP's states of a picture whose pixel values, after
    /// normalisation, are all zero.
    pub fn zero_pixels(&self) -> bool {
        self.clip_states == Some(ClipStates::LastButOne)
    }
}

/// What is known of one reference photo; [`Adapter::needs`] says which of it is used.
#[derive(Debug, Default)]
pub struct ReferenceFeatures {
    /// L2-normalised face embedding [1, E].
    pub embedding: Option<Tensor>,
    /// The same as the recogniser gave it [1, E].
    pub raw_embedding: Option<Tensor>,
    /// CLIP vision states, [1, W] or [1, S, W] by [`Needs::clip_states`].
    pub clip: Option<Tensor>,
}

enum Projection {
    Image(ImageProjection),
    FullFace(FullFaceProjection),
    Resampler(Resampler),
    FaceId(FaceIdProjection),
    FaceIdPlus(FaceIdPlusProjection),
    Card(CardProjection),
}

/// An adapter file of any kind of [`AdapterKind`].
///
/// In the order of loading: [`Adapter::open`], [`Adapter::merge_lora`] on the weights of the U-Net,
/// [`Adapter::attach`] on the U-Net built of them.
pub struct Adapter {
    file: PathBuf,
    weights: Weights,
    kind: AdapterKind,
    projection: Projection,
    combine: Combine,
    shortcut: Option<f64>,
    raw_embedding: bool,
}

impl Adapter {
    /// Opens an adapter in its published layout (`image_proj.*` and `ip_adapter.*`).
    ///
    /// # Errors
    /// A file that cannot be read, is no adapter or not of the kind that was asked for, and tensors that are
    /// missing or of the wrong shape, by file and key.
    pub fn open(
        file: &Path,
        options: &AdapterOptions,
        device: Device,
        kind: Kind,
    ) -> Result<Self, AdapterError> {
        Self::of_weights(Weights::open(&[file.to_path_buf()], device, kind)?, file, options)
    }

    /// The same of a file that is open already.
    ///
    /// # Errors
    /// As [`Adapter::open`].
    pub fn of_weights(weights: Weights, file: &Path, options: &AdapterOptions) -> Result<Self, AdapterError> {
        let adapter = AdapterKind::recognise(&weights, file, options.kind)?;
        let damaged = |reason: String| AdapterError::Damaged { file: file.to_path_buf(), reason };
        let vs = &weights.root() / "image_proj";
        let projection = match adapter {
            AdapterKind::IpAdapter => {
                let sizes = ImageProjectionSizes::of(&weights).map_err(damaged)?;
                Projection::Image(ImageProjection::new(&vs, sizes)?)
            }
            AdapterKind::IpAdapterFullFace => {
                let sizes = FullFaceSizes::of(&weights).map_err(damaged)?;
                Projection::FullFace(FullFaceProjection::new(&vs, sizes)?)
            }
            AdapterKind::IpAdapterPlus | AdapterKind::InstantId => {
                let sizes = ResamplerSizes::of(&weights, "image_proj").map_err(damaged)?;
                Projection::Resampler(Resampler::new(&vs, sizes)?)
            }
            AdapterKind::FaceId | AdapterKind::FaceIdPortrait => {
                let sizes = FaceIdSizes::of(&weights).map_err(damaged)?;
                Projection::FaceId(FaceIdProjection::new(&vs, sizes)?)
            }
            AdapterKind::FaceIdPlus | AdapterKind::FaceIdPlusV2 => {
                let sizes = FaceIdPlusSizes::of(&weights).map_err(damaged)?;
                Projection::FaceIdPlus(FaceIdPlusProjection::new(&vs, sizes)?)
            }
            AdapterKind::Card => {
                let sizes = CardProjection::sizes_of(&weights).map_err(damaged)?;
                Projection::Card(CardProjection::new(&vs, sizes)?)
            }
        };
        let is_v2 = adapter == AdapterKind::FaceIdPlusV2;
        let by_name = adapter == AdapterKind::InstantId || named_unnormalised(file);
        Ok(Self {
            file: file.to_path_buf(),
            weights,
            kind: adapter,
            projection,
            combine: options.combine.unwrap_or(usual_combination(adapter)),
            shortcut: is_v2.then(|| options.shortcut_scale.unwrap_or(1.0)),
            raw_embedding: options.raw_embedding.unwrap_or(by_name),
        })
    }

    /// The file's tensors alone.
    pub fn into_weights(self) -> Weights {
        self.weights
    }

    pub fn kind(&self) -> AdapterKind {
        self.kind
    }

    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What [`Adapter::tokens`] wants of each reference.
    pub fn needs(&self) -> Needs {
        let (face, clip) = match &self.projection {
            Projection::Image(p) => (None, Some((p.sizes().inputs, ClipStates::Projected))),
            Projection::FullFace(p) => (None, Some((p.sizes().inputs, ClipStates::LastButOne))),
            Projection::Resampler(p) if self.kind == AdapterKind::InstantId => (Some(p.sizes().inputs), None),
            Projection::Resampler(p) => (None, Some((p.sizes().inputs, ClipStates::LastButOne))),
            Projection::FaceId(p) => (Some(p.sizes().embedding), None),
            Projection::Card(_) => (Some(CARD_WIDTH as i64), None),
            Projection::FaceIdPlus(p) => {
                let sizes = p.sizes();
                (Some(sizes.embedding.embedding), Some((sizes.resampler.inputs, ClipStates::LastButOne)))
            }
        };
        Needs {
            embedding_width: face,
            raw_embedding: face.is_some() && self.raw_embedding,
            clip_vision_width: clip.map(|(width, _)| width),
            clip_states: clip.map(|(_, states)| states),
        }
    }

    /// How many of the tokens of [`Adapter::tokens`] belong together, if they are to be attended to in groups, each
    /// by itself: the card's. One group otherwise.
    pub fn groups(&self) -> Option<Vec<i64>> {
        match &self.projection {
            Projection::Card(p) => Some(p.tokens()),
            _ => None,
        }
    }

    /// Names of these groups, in order; none where all tokens are one group.
    pub fn group_names(&self) -> &'static [&'static str] {
        match &self.projection {
            Projection::Card(_) => &CARD_GROUP_NAMES,
            _ => &[],
        }
    }

    /// Width C of the tokens, that of the base model's text condition.
    pub fn cross_dim(&self) -> i64 {
        match &self.projection {
            Projection::Image(p) => p.sizes().cross_dim,
            Projection::FullFace(p) => p.sizes().cross_dim,
            Projection::Resampler(p) => p.sizes().outputs,
            Projection::FaceId(p) => p.sizes().cross_dim,
            Projection::FaceIdPlus(p) => p.sizes().embedding.cross_dim,
            Projection::Card(p) => p.cross_dim(),
        }
    }

    /// Merges the adapter's LoRA into the U-Net's weights before that is built. Kinds without LoRA change
    /// nothing.
    ///
    /// # Errors
    /// [`AdapterError::WrongBase`] and [`AdapterError::WrongLayers`]; a damaged file.
    pub fn merge_lora(&self, unet: &Weights, config: &UNetConfig) -> Result<(), AdapterError> {
        self.layers().merge_lora(unet, config)
    }

    /// Gives the U-Net the adapter's attention, then refuses keys that belong to nothing.
    ///
    /// # Errors
    /// As [`Adapter::merge_lora`].
    pub fn attach(&self, unet: &mut UNet2DConditionModel) -> Result<(), AdapterError> {
        self.layers().attach(unet)
    }

    fn layers(&self) -> AdapterLayers<'_> {
        AdapterLayers { file: &self.file, weights: &self.weights, cross_dim: self.cross_dim() }
    }

    /// The tokens of one person of one or more references: [1, T, C], where T grows with the references if
    /// they are concatenated.
    ///
    /// # Errors
    /// No reference at all; features that are missing or of another shape or width than
    /// [`Adapter::needs`] says.
    pub fn tokens(&self, references: &[ReferenceFeatures]) -> Result<Tensor, AdapterError> {
        let needs = self.needs();
        let nothing = "at least one reference";
        if references.is_empty() {
            return Err(self.lacks(nothing));
        }
        let faces = match needs.embedding_width {
            Some(width) => Some(self.faces(references, width)?), // [R, E]
            None => None,
        };
        let clip = match (needs.clip_vision_width, needs.clip_states) {
            (Some(width), Some(states)) => {
                let each = references.iter().map(|r| self.clip(r.clip.as_ref(), width, states));
                Some(self.cat(&each.collect::<Result<Vec<_>, _>>()?)?) // [R, W] or [R, S, W]
            }
            _ => None,
        };
        let each = self.project(faces.as_ref(), clip.as_ref())?; // [R, T, C]
        Ok(match self.combine {
            Combine::Average => each.mean_dim([0].as_slice(), true, None), // [1, T, C]
            Combine::Concatenate => each.flatten(0, 1).unsqueeze(0),       // [1, R·T, C]
        })
    }

    /// The tokens of nobody, for the unconditional branch, as many as [`Adapter::tokens`] makes of that
    /// number of references: [1, T, C].
    ///
    /// As the reference implementations make them: a zero face embedding, and for the plain adapter a zero
    /// CLIP embedding, go through the projection. `zero_pixels` is `hidden_states[-2]` [1, S, W] of pixel
    /// values that are all zero, for the adapters whose [`Needs::zero_pixels`] says so.
    ///
    /// # Errors
    /// `zero_pixels` missing or of another shape; no reference.
    pub fn unconditional(
        &self,
        zero_pixels: Option<&Tensor>,
        references: usize,
    ) -> Result<Tensor, AdapterError> {
        if references == 0 {
            return Err(self.lacks("at least one reference"));
        }
        let needs = self.needs();
        let zeros = |width: i64| Tensor::zeros([1, width], (Kind::Float, self.weights.device()));
        let face = needs.embedding_width.map(zeros); // [1, E]
        let clip = match (needs.clip_vision_width, needs.clip_states) {
            (Some(width), Some(ClipStates::Projected)) => Some(zeros(width)), // [1, W]
            (Some(width), Some(states)) => {
                let what = "the CLIP states of zero pixel values";
                let given = zero_pixels.ok_or_else(|| self.lacks(what))?;
                Some(self.clip(Some(given), width, states)?) // [1, S, W]
            }
            _ => None,
        };
        let tokens = self.project(face.as_ref(), clip.as_ref())?; // [1, T, C]
        Ok(match self.combine {
            Combine::Average => tokens,
            // The same keys and values several times give the same attention.
            Combine::Concatenate => tokens.repeat([1, references as i64, 1]), // [1, R·T, C]
        })
    }

    /// Refuses embeddings of another width than the adapter's; adapters without a face embedding take any.
    pub fn check_embedding(&self, found: i64) -> Result<(), AdapterError> {
        match self.needs().embedding_width {
            Some(adapter) if adapter != found => {
                Err(AdapterError::EmbeddingWidth { file: self.file.clone(), adapter, found })
            }
            _ => Ok(()),
        }
    }

    /// [B, E] and [B, W] or [B, S, W], whichever the kind needs → [B, T, C]
    fn project(&self, faces: Option<&Tensor>, clip: Option<&Tensor>) -> Result<Tensor, AdapterError> {
        let face = || faces.ok_or_else(|| self.lacks("a face embedding"));
        let clip = || clip.ok_or_else(|| self.lacks("CLIP vision states"));
        Ok(match &self.projection {
            Projection::Image(p) => p.forward(clip()?),
            Projection::FullFace(p) => p.forward(clip()?),
            Projection::Resampler(p) if self.kind == AdapterKind::InstantId => {
                p.forward(&face()?.unsqueeze(1)) // [B, 1, E] → [B, T, C]
            }
            Projection::Resampler(p) => p.forward(clip()?),
            Projection::FaceId(p) => p.forward(face()?),
            Projection::Card(p) => p.forward(face()?),
            Projection::FaceIdPlus(p) => p.forward(face()?, clip()?, self.shortcut),
        })
    }

    /// The face embeddings that are projected, one for each reference: [R, E]. Averaged, all are the mean.
    fn faces(&self, references: &[ReferenceFeatures], width: i64) -> Result<Tensor, AdapterError> {
        let mut each = Vec::with_capacity(references.len());
        for reference in references {
            let (given, what) = if self.raw_embedding {
                (&reference.raw_embedding, "the face embedding as the recogniser gives it, not normalised")
            } else {
                (&reference.embedding, "a face embedding")
            };
            let given = given.as_ref().ok_or_else(|| self.lacks(what))?;
            match *given.size().as_slice() {
                [1, found] if found == width => each.push(given.to_kind(Kind::Float)),
                [1, found] => {
                    let file = self.file.clone();
                    return Err(AdapterError::EmbeddingWidth { file, adapter: width, found });
                }
                _ => return Err(self.shape("a face embedding", given, "[1, width]")),
            }
        }
        let all = self.cat(&each)?; // [R, E]
        if self.combine == Combine::Concatenate || each.len() == 1 {
            return Ok(all);
        }
        let mut mean = all.mean_dim([0].as_slice(), true, None); // [1, E]
        if !self.raw_embedding {
            mean = &mean / mean.norm_scalaropt_dim(2.0, [-1].as_slice(), true).clamp_min(1e-12);
        }
        Ok(mean.expand_as(&all))
    }

    fn clip(&self, given: Option<&Tensor>, width: i64, states: ClipStates) -> Result<Tensor, AdapterError> {
        let (what, expected) = match states {
            ClipStates::Projected => ("the projected CLIP embedding", "[1, width]"),
            ClipStates::LastButOne => ("the CLIP hidden states", "[1, tokens, width]"),
        };
        let given = given.ok_or_else(|| self.lacks(what))?;
        let found = match (given.size().as_slice(), states) {
            (&[1, found], ClipStates::Projected) => found,
            (&[1, tokens, found], ClipStates::LastButOne) if tokens > 0 => found,
            _ => return Err(self.shape(what, given, expected)),
        };
        if found != width {
            return Err(AdapterError::ClipWidth { file: self.file.clone(), adapter: width, found });
        }
        Ok(given.shallow_clone())
    }

    fn cat(&self, tensors: &[Tensor]) -> Result<Tensor, AdapterError> {
        let failed = |source: TchError| AdapterError::Tensor { file: self.file.clone(), source };
        Tensor::f_cat(tensors, 0).map_err(failed)
    }

    fn lacks(&self, what: &'static str) -> AdapterError {
        AdapterError::Needs { file: self.file.clone(), kind: self.kind, what }
    }

    fn shape(&self, what: &'static str, found: &Tensor, expected: &'static str) -> AdapterError {
        AdapterError::Input { file: self.file.clone(), what, found: found.size(), expected }
    }
}

/// How several references of a kind are meant to be used.
fn usual_combination(kind: AdapterKind) -> Combine {
    match kind {
        AdapterKind::IpAdapter
        | AdapterKind::IpAdapterPlus
        | AdapterKind::IpAdapterFullFace
        | AdapterKind::FaceIdPortrait => Combine::Concatenate,
        AdapterKind::FaceId
        | AdapterKind::FaceIdPlus
        | AdapterKind::FaceIdPlusV2
        | AdapterKind::InstantId
        | AdapterKind::Card => Combine::Average,
    }
}
