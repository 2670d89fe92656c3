//! Which adapter a file holds: read off its keys and shapes, and off its name where two kinds have the same.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use imagine_unet::Weights;

use super::error::AdapterError;

/// Width of ArcFace embeddings, which InstantID reads. No CLIP vision tower is as narrow.
const ARCFACE_WIDTH: i64 = 512;

/// Tokens of FaceID-Portrait for each reference.
const PORTRAIT_TOKENS: i64 = 16;

/// The published kinds of IP-Adapter, and this project's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AdapterKind {
    /// The projected CLIP embedding of a picture: 4 tokens.
    IpAdapter,
    /// CLIP's patch tokens through a resampler; also the plus-face files.
    IpAdapterPlus,
    /// Every patch token through an MLP: 257 tokens.
    IpAdapterFullFace,
    /// A face embedding through an MLP, with a LoRA.
    FaceId,
    /// The same with 16 tokens a reference and no LoRA; several references stand side by side.
    FaceIdPortrait,
    /// Tokens of a face embedding that read CLIP's patch tokens of the face.
    FaceIdPlus,
    /// The same, added to the tokens of the embedding alone.
    FaceIdPlusV2,
    /// A face embedding that is not normalised through a resampler; goes with InstantID's IdentityNet.
    InstantId,
    /// The identity card in three groups of tokens: this project's own.
    Card,
}

impl AdapterKind {
    pub const ALL: [Self; 9] = [
        Self::IpAdapter,
        Self::IpAdapterPlus,
        Self::IpAdapterFullFace,
        Self::FaceId,
        Self::FaceIdPortrait,
        Self::FaceIdPlus,
        Self::FaceIdPlusV2,
        Self::InstantId,
        Self::Card,
    ];

    /// The name that people know and [`AdapterKind::from_str`] reads.
    pub fn name(self) -> &'static str {
        match self {
            Self::IpAdapter => "ip-adapter",
            Self::IpAdapterPlus => "ip-adapter-plus",
            Self::IpAdapterFullFace => "ip-adapter-full-face",
            Self::FaceId => "faceid",
            Self::FaceIdPortrait => "faceid-portrait",
            Self::FaceIdPlus => "faceid-plus",
            Self::FaceIdPlusV2 => "faceid-plusv2",
            Self::InstantId => "instantid",
            Self::Card => "card",
        }
    }

    /// Recognises the kind of a file's tensors. `wanted` decides between kinds of the same tensors.
    ///
    /// FaceID-Plus and its version 2 differ in nothing but the file's name, which has to contain `plusv2`.
    /// The portrait variant is told by 16 tokens and the lack of a LoRA.
    ///
    /// # Errors
    /// [`AdapterError::Unrecognised`] with what the file seems to be; [`AdapterError::OtherKind`] if the
    /// tensors cannot be of the kind that is wanted.
    pub fn recognise(weights: &Weights, file: &Path, wanted: Option<Self>) -> Result<Self, AdapterError> {
        let has = |name: &str| weights.shape(&format!("image_proj.{name}")).is_some();
        let columns = |name: &str| match weights.shape(&format!("image_proj.{name}")).as_deref() {
            Some(&[_, columns]) => Some(columns),
            _ => None,
        };
        let found = if has("descriptor.proj.0.weight") {
            Self::Card
        } else if has("perceiver_resampler.proj_in.weight") {
            if named_v2(file) { Self::FaceIdPlusV2 } else { Self::FaceIdPlus }
        } else if has("latents") {
            let face = columns("proj_in.weight") == Some(ARCFACE_WIDTH);
            if face { Self::InstantId } else { Self::IpAdapterPlus }
        } else if has("proj.weight") {
            Self::IpAdapter
        } else if has("proj.3.weight") {
            Self::IpAdapterFullFace
        } else if has("proj.0.weight") || has("proj.2.weight") {
            if is_portrait(weights) { Self::FaceIdPortrait } else { Self::FaceId }
        } else {
            return Err(AdapterError::Unrecognised { file: file.to_path_buf(), reason: what_else(weights) });
        };
        match wanted {
            Some(wanted) if wanted.tensors() == found.tensors() => Ok(wanted),
            Some(wanted) => Err(AdapterError::OtherKind { file: file.to_path_buf(), found, wanted }),
            None => Ok(found),
        }
    }

    /// The first of the kinds that have the same tensors.
    fn tensors(self) -> Self {
        match self {
            Self::FaceIdPortrait => Self::FaceId,
            Self::FaceIdPlusV2 => Self::FaceIdPlus,
            Self::InstantId => Self::IpAdapterPlus,
            other => other,
        }
    }
}

impl fmt::Display for AdapterKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for AdapterKind {
    type Err = String;

    /// Reads [`AdapterKind::name`]; the error lists all names.
    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or_else(|| {
            let names: Vec<&str> = Self::ALL.iter().map(|kind| kind.name()).collect();
            format!("\"{name}\" is not a kind of adapter; there are {}", names.join(", "))
        })
    }
}

/// The file's name in small letters.
fn lower_name(file: &Path) -> String {
    file.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default()
}

fn named_v2(file: &Path) -> bool {
    let name = lower_name(file).replace(['-', '_'], "");
    name.contains("plusv2")
}

/// Whether the name says that the adapter was trained on embeddings that are not normalised, as one
/// published portrait file.
pub(super) fn named_unnormalised(file: &Path) -> bool {
    lower_name(file).contains("unnorm")
}

fn is_portrait(weights: &Weights) -> bool {
    let rows = |key: &str| weights.shape(key).and_then(|shape| shape.first().copied());
    let tokens = match (rows("image_proj.proj.2.weight"), rows("image_proj.norm.weight")) {
        (Some(all), Some(width)) if width > 0 => all / width,
        _ => 0,
    };
    tokens == PORTRAIT_TOKENS && !weights.keys().iter().any(|key| key.contains("_lora."))
}

/// What a file seems to be that is no adapter, for the message.
fn what_else(weights: &Weights) -> String {
    let keys = weights.keys();
    let any = |part: &str| keys.iter().any(|key| key.contains(part));
    if any("id_encoder.") {
        "it holds \"id_encoder\": it is a PhotoMaker file".into()
    } else if any("lora_A.") || any("lora_down.") || any("_lora.down.") || any("lora.down.") {
        "it is a LoRA; an adapter beside it that is called the same without \"_lora\" holds it too".into()
    } else {
        "it has none of \"image_proj.proj\", \"image_proj.latents\" and \"image_proj.perceiver_resampler\""
            .into()
    }
}
