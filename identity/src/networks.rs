//! A face detector and what knows a face that belong together: YuNet with SFace or with the identity card, or the
//! two networks of an InsightFace pack.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use image::RgbImage;

use crate::IdentityError;
use crate::align::{align, align_smooth};
use crate::arcface::{self, ARCFACE_WIDTH, ArcFace};
use crate::card::{self, CARD_WIDTH, CardReader, CardVectors, IdentityCard};
use crate::detect::{Face, FaceDetector};
use crate::embed::{self, Embedding, FaceEmbedder, SFACE_WIDTH};
use crate::packs::Pack;
use crate::runtime::{SFACE_FILE, YUNET_FILE};
use crate::scrfd::Scrfd;

/// How faces are found, cut out and known.
pub(crate) enum Networks {
    OpenCv {
        detector: FaceDetector,
        embedder: FaceEmbedder,
    },
    InsightFace {
        detector: Scrfd,
        recogniser: ArcFace,
    },
    /// The reader is one thread's at a time.
    Card {
        detector: FaceDetector,
        reader: Mutex<Box<CardReader>>,
        vectors: CardVectors,
    },
}

/// What is known of one face.
pub(crate) struct KnownFace {
    pub(crate) embedding: Embedding,
    /// What the embedding was made of, if it is a card's.
    pub(crate) card: Option<IdentityCard>,
}

impl Networks {
    /// YuNet and SFace from one folder.
    pub(crate) fn open_cv(models: &Path, threads: usize) -> Result<Self, IdentityError> {
        Ok(Self::OpenCv {
            detector: FaceDetector::open_with_threads(&models.join(YUNET_FILE), threads)?,
            embedder: FaceEmbedder::open_with_threads(&models.join(SFACE_FILE), threads)?,
        })
    }

    /// YuNet from a folder, and the card's own networks.
    pub(crate) fn card(models: &Path, threads: usize) -> Result<Self, IdentityError> {
        Ok(Self::Card {
            detector: FaceDetector::open_with_threads(&models.join(YUNET_FILE), threads)?,
            reader: Mutex::new(Box::new(CardReader::built_in()?)),
            vectors: CardVectors::built_in()?,
        })
    }

    /// Both networks of a pack.
    pub(crate) fn insight_face(pack: &Pack, threads: usize) -> Result<Self, IdentityError> {
        Ok(Self::InsightFace {
            detector: Scrfd::open_with_threads(&pack.detector, threads)?,
            recogniser: ArcFace::open_with_threads(&pack.recogniser, threads)?,
        })
    }

    /// All faces, largest first.
    pub(crate) fn detect(&self, picture: &RgbImage) -> Result<Vec<Face>, IdentityError> {
        match self {
            Self::OpenCv { detector, .. } | Self::Card { detector, .. } => detector.detect(picture),
            Self::InsightFace { detector, .. } => detector.detect(picture),
        }
    }

    /// The face with the most exact landmarks to be had. A pack's stay as InsightFace finds them.
    pub(crate) fn refine(&self, picture: &RgbImage, face: &Face) -> Result<Face, IdentityError> {
        match self {
            Self::OpenCv { detector, .. } | Self::Card { detector, .. } => detector.refine(picture, face),
            Self::InsightFace { .. } => Ok(*face),
        }
    }

    /// The aligned face, `size`×`size` pixels. A pack's is InsightFace's `norm_crop`, without a filter when
    /// shrinking, because the adapters that packs are used with were trained on those.
    pub(crate) fn crop(
        &self,
        picture: &RgbImage,
        landmarks: &[[f32; 2]; 5],
        size: u32,
    ) -> Result<RgbImage, IdentityError> {
        match self {
            Self::OpenCv { .. } | Self::Card { .. } => align_smooth(picture, landmarks, size),
            Self::InsightFace { .. } => align(picture, landmarks, size),
        }
    }

    /// What is known of a face of a picture; `aligned` is its crop of 112×112 pixels. `None` where the card's
    /// points are those of no face.
    pub(crate) fn know(
        &self,
        picture: &RgbImage,
        face: &Face,
        aligned: &RgbImage,
    ) -> Result<Option<KnownFace>, IdentityError> {
        let embedding = match self {
            Self::OpenCv { embedder, .. } => embedder.embed(aligned)?,
            Self::InsightFace { recogniser, .. } => recogniser.embed(aligned)?,
            Self::Card { reader, vectors, .. } => {
                let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(card) = reader.read(picture, face)? else { return Ok(None) };
                let embedding = Embedding::from_raw("the identity card", vectors.vector(&card))?;
                return Ok(Some(KnownFace { embedding, card: Some(card) }));
            }
        };
        Ok(Some(KnownFace { embedding, card: None }))
    }

    /// Likeness of two faces, −1 to 1: the cosine of their embeddings, of cards that of their descriptors. None
    /// where a card has no descriptor.
    pub(crate) fn likeness(&self, left: &Embedding, right: &Embedding) -> Result<Option<f32>, IdentityError> {
        match self {
            Self::Card { .. } if left.width() == right.width() => {
                Ok(CardVectors::likeness(left.vector(), right.vector()))
            }
            _ => embed::likeness(left, right).map(Some),
        }
    }

    /// Makes numbers of cards, where embeddings are cards.
    pub(crate) fn card_vectors(&self) -> Option<&CardVectors> {
        match self {
            Self::Card { vectors, .. } => Some(vectors),
            Self::OpenCv { .. } | Self::InsightFace { .. } => None,
        }
    }

    /// Values of an embedding.
    pub(crate) fn embedding_width(&self) -> usize {
        match self {
            Self::OpenCv { .. } => SFACE_WIDTH,
            Self::InsightFace { .. } => ARCFACE_WIDTH,
            Self::Card { .. } => CARD_WIDTH,
        }
    }

    /// The likeness above which two real photos show one person.
    pub(crate) fn same_person(&self) -> f32 {
        match self {
            Self::OpenCv { .. } => embed::SAME_PERSON,
            Self::InsightFace { .. } => arcface::SAME_PERSON,
            Self::Card { .. } => card::SAME_PERSON,
        }
    }
}
