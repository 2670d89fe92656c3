//! People as the networks hear them: an adapter with the encoders that it needs, and the tokens, strength
//! and region of everyone in a request.

use std::collections::BTreeMap;
use std::path::Path;

use imagine_contract::{Identity, IdentityNeeds, Reference};
use imagine_identity::adapters::{
    Adapter, AdapterKind, AdapterOptions, FaceCondition, IdentityNet, PhotoMaker, ReferenceFeatures,
};
use imagine_unet::weights::TensorFiles;
use imagine_unet::{IdentityTokens, UNetConfig};
use tch::{Device, Kind, Tensor};

use crate::checkpoint::{Checkpoint, Family, Target};
use crate::edit::Size;
use crate::error::PipelineError;
use crate::identity_net;
use crate::image_encoder::ImageEncoder;
use crate::model::LoadOptions;
use crate::photo_maker::{self, PhotoMakerIdentity};
use crate::region::region_tensor;

/// Sides of the face crops that FaceID's adapters were trained on.
const fn face_side(family: Family) -> u32 {
    match family {
        Family::StableDiffusion => 224,
        Family::StableDiffusionXl => 256,
    }
}

/// An identity adapter, loaded and attached.
pub struct IdentityAdapter {
    adapter: Adapter,
    image_encoder: Option<ImageEncoder>,
    identity_net: Option<IdentityNet>,
    family: Family,
    device: Device,
}

/// The people of a request.
#[derive(Default)]
pub struct People {
    /// For each person those that are attended to together, the same number of groups for everyone.
    pub tokens: Vec<IdentityTokens>,
    /// For each person the strength of each group, which the person's own multiplies.
    pub group_scales: Vec<Vec<f64>>,
    /// What InstantID's ControlNet hears and sees: one for each, none with other adapters.
    pub control: Vec<ControlCondition>,
}

/// A ControlNet's condition for one person: constant through all steps of a request.
pub struct ControlCondition {
    /// For as many rows as the U-Net gets.
    pub face: FaceCondition,
    pub scale: f64,
    /// Where among several people this one is: [1, 1, H, W]
    pub region: Option<Tensor>,
}

/// Whatever a file makes of a person.
pub enum IdentityModel {
    /// Attention beside the text's.
    Adapter(Box<IdentityAdapter>),
    /// Words of the prompt.
    PhotoMaker(Box<PhotoMakerIdentity>),
}

impl IdentityModel {
    /// What it wants to know of every reference.
    pub fn needs(&self) -> IdentityNeeds {
        match self {
            Self::Adapter(adapter) => adapter.needs(),
            Self::PhotoMaker(maker) => maker.needs(),
        }
    }

    /// What looked at the photos rests until the next request: its weights need not be in memory.
    pub fn release_encoder(&self) {
        if let Self::Adapter(adapter) = self
            && let Some(encoder) = &adapter.image_encoder
        {
            encoder.release_pages();
        }
    }

    /// InstantID's ControlNet.
    pub fn identity_net(&self) -> Option<&IdentityNet> {
        match self {
            Self::Adapter(adapter) => adapter.identity_net.as_ref(),
            Self::PhotoMaker(_) => None,
        }
    }
}

/// Whether a file is PhotoMaker's: it has a vision network of its own.
pub fn is_photo_maker(file: &Path) -> Result<bool, PipelineError> {
    let files = TensorFiles::open(&[file.to_path_buf()])?;
    Ok(files.keys().iter().any(|key| key.starts_with("id_encoder.")))
}

/// What an adapter's file wants to know of every reference, without loading a model for it. How large a
/// face crop is depends on the model too: the larger one is named.
pub fn needs_of(file: &Path, kind: Option<AdapterKind>) -> Result<IdentityNeeds, PipelineError> {
    needs_for(file, kind, Family::StableDiffusionXl)
}

/// The same for a model of this family.
pub(crate) fn needs_for(
    file: &Path,
    kind: Option<AdapterKind>,
    family: Family,
) -> Result<IdentityNeeds, PipelineError> {
    let _no_grad = tch::no_grad_guard();
    let (device, dtype) = (Device::Cpu, Kind::Float);
    if is_photo_maker(file)? {
        return Ok(photo_maker::needs(&PhotoMaker::open(file, None, device, dtype)?));
    }
    let options = AdapterOptions { kind, ..AdapterOptions::default() };
    let adapter = Adapter::open(file, &options, device, dtype)?;
    Ok(needs(&adapter, family))
}

fn needs(adapter: &Adapter, family: Family) -> IdentityNeeds {
    let needs = adapter.needs();
    IdentityNeeds {
        kind: adapter.kind().name().into(),
        embedding_width: needs.embedding_width.map(|width| width as usize),
        raw_embedding: needs.raw_embedding,
        face_side: needs.clip_vision_width.map(|_| face_side(family)),
        key_points: adapter.kind() == AdapterKind::InstantId,
        regions: true,
        groups: adapter.group_names().iter().map(|&name| name.into()).collect(),
        trigger_word: None,
    }
}

impl IdentityAdapter {
    /// Loads what `adapter` needs beside itself.
    pub fn load(
        adapter: Adapter,
        checkpoint: &Checkpoint,
        unet: &UNetConfig,
        options: &LoadOptions,
        target: Target,
    ) -> Result<Self, PipelineError> {
        let named = options.image_encoder.as_deref();
        let beside = checkpoint.beside("image_encoder");
        let image_encoder = ImageEncoder::load(&adapter.needs(), named, adapter.file(), &beside, target)?;
        let identity_net = match adapter.kind() {
            AdapterKind::InstantId => {
                let net = identity_net::load(options.controlnet.as_deref(), adapter.file(), unet, target)?;
                net.check_base(unet)?;
                Some(net)
            }
            _ => None,
        };
        let (family, device) = (checkpoint.family(), target.device);
        Ok(Self { adapter, image_encoder, identity_net, family, device })
    }

    /// What it wants to know of every reference.
    pub fn needs(&self) -> IdentityNeeds {
        needs(&self.adapter, self.family)
    }

    /// Tokens of [nobody, the person] for everyone, with strength and region; of nobody alone where there
    /// are no people, which is how adapters were trained to draw anyone. Without `guided` the rows of
    /// nobody are left out. `cells` are the latents' height and width.
    pub fn people(
        &self,
        people: &[Identity],
        size: Size,
        cells: (i64, i64),
        guided: bool,
    ) -> Result<People, PipelineError> {
        if people.is_empty() {
            let nobody = self.nobody(1)?;
            let scales = self.group_scales(&BTreeMap::new());
            let tokens = self.rows(&nobody, &nobody, &scales, None, guided)?;
            return Ok(People { tokens, group_scales: vec![scales], control: Vec::new() });
        }
        let group_scales: Vec<Vec<f64>> =
            people.iter().map(|identity| self.group_scales(&identity.group_scales)).collect();
        let tokens = people.iter().zip(&group_scales).map(|(identity, groups)| {
            let features: Vec<ReferenceFeatures> =
                identity.references.iter().map(|r| self.features(r)).collect::<Result<_, _>>()?;
            let person = self.adapter.tokens(&features)?; // [1, T, C]
            let nobody = self.nobody(features.len())?; // [1, T, C]
            let region = identity.region.as_ref().map(|r| region_tensor(r, size)).transpose()?;
            let region = region.map(|r| r.f_to_device(self.device)).transpose()?;
            let scales: Vec<f64> = groups.iter().map(|group| group * identity.scale).collect();
            self.rows(&nobody, &person, &scales, region, guided)
        });
        let tokens: Vec<Vec<IdentityTokens>> = tokens.collect::<Result<_, PipelineError>>()?;
        let tokens: Vec<IdentityTokens> = tokens.into_iter().flatten().collect();
        let control = match &self.identity_net {
            Some(net) => Self::control(net, people, &tokens, size, cells)?,
            None => Vec::new(),
        };
        Ok(People { tokens, group_scales, control })
    }

    /// The ControlNet hears a face's tokens in place of the text and sees its key points, for each person by
    /// itself: heard together, faces would blend.
    fn control(
        net: &IdentityNet,
        people: &[Identity],
        tokens: &[IdentityTokens],
        size: Size,
        cells: (i64, i64),
    ) -> Result<Vec<ControlCondition>, PipelineError> {
        let several = people.len() > 1;
        let condition = |(person, heard): (&Identity, &IdentityTokens)| {
            let drawing = identity_net::draw_key_points(person, size)?;
            let face = net.condition(&heard.tokens, &drawing, cells)?;
            let region = heard.region.as_ref().filter(|_| several).map(Tensor::shallow_clone);
            Ok(ControlCondition { face, scale: person.scale, region })
        };
        people.iter().zip(tokens).map(condition).collect()
    }

    fn nobody(&self, references: usize) -> Result<Tensor, PipelineError> {
        let zero_pixels = self.image_encoder.as_ref().and_then(ImageEncoder::zero_pixels);
        Ok(self.adapter.unconditional(zero_pixels, references)?)
    }

    /// The strength of every group of tokens, in order; of the one group where there are no names.
    fn group_scales(&self, set: &BTreeMap<String, f64>) -> Vec<f64> {
        match self.adapter.group_names() {
            [] => vec![1.0],
            names => names.iter().map(|&name| set.get(name).copied().unwrap_or(1.0)).collect(),
        }
    }

    /// The rows of each group of tokens, with a strength for each.
    fn rows(
        &self,
        nobody: &Tensor,
        person: &Tensor,
        scales: &[f64],
        region: Option<Tensor>,
        guided: bool,
    ) -> Result<Vec<IdentityTokens>, PipelineError> {
        let all = if guided { Tensor::f_cat(&[nobody, person], 0)? } else { person.shallow_clone() }; // [B, T, C]
        let groups = match self.adapter.groups() {
            Some(sizes) => all.f_split_with_sizes(&sizes, 1)?, // [B, Tᵍ, C] each
            None => vec![all],
        };
        let group = |(tokens, &scale): (Tensor, &f64)| {
            let scale = Tensor::f_full([tokens.size()[0]], scale, (Kind::Float, self.device))?; // [B]
            Ok(IdentityTokens { tokens, scale, region: region.as_ref().map(Tensor::shallow_clone) })
        };
        groups.into_iter().zip(scales).map(group).collect()
    }

    fn features(&self, reference: &Reference) -> Result<ReferenceFeatures, PipelineError> {
        let width = reference.embedding.len() as i64;
        let mut features = ReferenceFeatures::default();
        if width > 0 {
            self.adapter.check_embedding(width)?;
            let embedding = Tensor::f_from_slice(&reference.embedding)?.f_view([1, width])?;
            let embedding = embedding.f_to_device(self.device)?;
            features.raw_embedding = Some(&embedding * f64::from(reference.norm));
            features.embedding = Some(embedding);
        }
        if let (Some(encoder), Some(face)) = (&self.image_encoder, &reference.face) {
            features.clip = Some(encoder.encode(face)?);
        }
        Ok(features)
    }
}
