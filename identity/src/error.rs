//! The one error type of this crate's networks and of building a person; decoding has its own.

use std::path::PathBuf;

use imagine_unet::WeightsError;

use crate::card::CardError;
use crate::licences::Licence;
use crate::npy::NpyError;
use crate::photo::PhotoError;
use crate::quality::Problem;
use crate::runtime::RuntimeError;

/// What can go wrong between a photo and an identity embedding.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// The photo could not be read or decoded.
    #[error(transparent)]
    Photo(#[from] PhotoError),
    /// The embedding file could not be read or written.
    #[error(transparent)]
    Npy(#[from] NpyError),
    /// ONNX Runtime is missing or does not load.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A face network's file is not there.
    #[error("{}: the face model is not there: run `cargo xtask setup`", .path.display())]
    ModelMissing { path: PathBuf },
    /// A face network's file does not load, or is not the network it should be.
    #[error("{}: {reason}: run `cargo xtask setup` to fetch the face models again", .path.display())]
    Model { path: PathBuf, reason: String },
    /// A face encoder asked for by name or path is not there.
    #[error("there is no face encoder \"{name}\" (no {})", places(.tried))]
    PackMissing { name: String, tried: Vec<PathBuf> },
    /// A folder that is no InsightFace pack, or a file in it that is not usable.
    #[error("{}: not a usable InsightFace model pack: {reason}", .path.display())]
    PackModel { path: PathBuf, reason: String },
    /// No installed face encoder makes embeddings of the width that an adapter was trained with.
    #[error("{reason}")]
    NoEncoder { width: usize, reason: String },
    /// An encoder whose licence must be accepted first.
    #[error(
        "the licence of the face encoder {encoder} has not been accepted: {} ({}); if you keep to it, say so once \
         with --accept-licence {}", .licence.terms, .licence.source, .licence.name
    )]
    LicenceNotAccepted { encoder: String, licence: Licence },
    /// A licence was accepted that the encoder does not have.
    #[error("{name} is no licence of the face encoder {encoder}: {}", licence_hint(.licence))]
    OtherLicence { name: String, encoder: String, licence: Licence },
    /// The file of accepted licences cannot be used.
    #[error("{}: {reason}", .path.display())]
    LicenceFile { path: PathBuf, reason: String },
    /// Weights of the identity card's networks that do not fit.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// An identity card, or a change of one, that cannot be used.
    #[error(transparent)]
    Card(#[from] CardError),
    /// A face network failed while running.
    #[error("{network} failed: {reason}")]
    Inference { network: &'static str, reason: String },
    /// A picture handed to a network or to the aligner has the wrong size.
    #[error("{what} must be {wanted}×{wanted} pixels, not {width}×{height}")]
    PictureSize { what: &'static str, wanted: u32, width: u32, height: u32 },
    /// The five landmarks do not span a face, so no transform can be computed from them.
    #[error("the five face landmarks coincide or are not finite: the face cannot be aligned")]
    Landmarks,
    /// A person was asked for without any photo.
    #[error("at least one photo is needed")]
    NoPhotos,
    /// One or more photos cannot be used at all.
    #[error("{}", list(.photos))]
    Unusable {
        /// Name of each unusable photo and what is wrong with it.
        photos: Vec<(String, Problem)>,
    },
    /// The face asked for by number is not there.
    #[error("{photo}: face {index} was asked for, but {} (numbered from 0, largest first)", count(*.faces))]
    NoSuchFace { photo: String, index: usize, faces: usize },
    /// An embedding with no values, values that are not finite, or no length.
    #[error("{what}: not an identity embedding: {reason}")]
    Embedding { what: String, reason: &'static str },
    /// Two embeddings of different networks were compared or averaged.
    #[error("embeddings of {left} and {right} values come from different networks and cannot be compared")]
    Widths { left: usize, right: usize },
}

impl IdentityError {
    /// The same for a network of a person's own pack, which set-up cannot mend.
    pub(crate) fn in_pack(self) -> Self {
        match self {
            Self::Model { path, reason } => Self::PackModel { path, reason },
            Self::ModelMissing { path } => {
                Self::PackModel { path, reason: "the file is not there".to_owned() }
            }
            other => other,
        }
    }

    /// True when the person who sent the input can mend it (another photo, another number); false when the
    /// installation is at fault.
    pub fn is_input(&self) -> bool {
        match self {
            Self::Photo(_) | Self::Npy(_) | Self::NoPhotos | Self::Unusable { .. } => true,
            Self::NoSuchFace { .. } | Self::Embedding { .. } | Self::Widths { .. } => true,
            Self::PackMissing { .. } | Self::PackModel { .. } | Self::NoEncoder { .. } => true,
            Self::LicenceNotAccepted { .. } | Self::OtherLicence { .. } | Self::LicenceFile { .. } => true,
            Self::Runtime(_) | Self::ModelMissing { .. } | Self::Model { .. } | Self::Inference { .. } => {
                false
            }
            Self::Card(_) => true,
            Self::PictureSize { .. } | Self::Landmarks | Self::Weights(_) => false,
        }
    }
}

fn licence_hint(licence: &Licence) -> String {
    match licence.must_be_accepted {
        true => format!("its licence is called {}", licence.name),
        false => format!("it needs no acceptance ({})", licence.terms),
    }
}

fn places(tried: &[PathBuf]) -> String {
    let places: Vec<String> = tried.iter().map(|path| path.display().to_string()).collect();
    places.join(", no ")
}

fn list(photos: &[(String, Problem)]) -> String {
    let lines: Vec<String> = photos.iter().map(|(name, problem)| format!("{name}: {problem}")).collect();
    lines.join("; ")
}

fn count(faces: usize) -> String {
    match faces {
        0 => "no face was found".to_owned(),
        1 => "only one face was found".to_owned(),
        n => format!("only {n} faces were found"),
    }
}
