//! A face detector and a recogniser that belong together: YuNet with SFace, or the two of an InsightFace pack.

use std::path::Path;

use image::RgbImage;

use crate::IdentityError;
use crate::align::{align, align_smooth};
use crate::arcface::{self, ARCFACE_WIDTH, ArcFace};
use crate::detect::{Face, FaceDetector};
use crate::embed::{self, Embedding, FaceEmbedder, SFACE_WIDTH};
use crate::packs::Pack;
use crate::runtime::{SFACE_FILE, YUNET_FILE};
use crate::scrfd::Scrfd;

/// How faces are found, cut out and known.
pub(crate) enum Networks {
    OpenCv { detector: FaceDetector, embedder: FaceEmbedder },
    InsightFace { detector: Scrfd, recogniser: ArcFace },
}

impl Networks {
    /// YuNet and SFace from one folder.
    pub(crate) fn open_cv(models: &Path, threads: usize) -> Result<Self, IdentityError> {
        Ok(Self::OpenCv {
            detector: FaceDetector::open_with_threads(&models.join(YUNET_FILE), threads)?,
            embedder: FaceEmbedder::open_with_threads(&models.join(SFACE_FILE), threads)?,
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
            Self::OpenCv { detector, .. } => detector.detect(picture),
            Self::InsightFace { detector, .. } => detector.detect(picture),
        }
    }

    /// The face with the most exact landmarks to be had. A pack's stay as InsightFace finds them.
    pub(crate) fn refine(&self, picture: &RgbImage, face: &Face) -> Result<Face, IdentityError> {
        match self {
            Self::OpenCv { detector, .. } => detector.refine(picture, face),
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
            Self::OpenCv { .. } => align_smooth(picture, landmarks, size),
            Self::InsightFace { .. } => align(picture, landmarks, size),
        }
    }

    /// The embedding of a face aligned to 112×112 pixels.
    pub(crate) fn embed(&self, aligned: &RgbImage) -> Result<Embedding, IdentityError> {
        match self {
            Self::OpenCv { embedder, .. } => embedder.embed(aligned),
            Self::InsightFace { recogniser, .. } => recogniser.embed(aligned),
        }
    }

    /// Values of an embedding.
    pub(crate) fn embedding_width(&self) -> usize {
        match self {
            Self::OpenCv { .. } => SFACE_WIDTH,
            Self::InsightFace { .. } => ARCFACE_WIDTH,
        }
    }

    /// The cosine above which two real photos show one person.
    pub(crate) fn same_person(&self) -> f32 {
        match self {
            Self::OpenCv { .. } => embed::SAME_PERSON,
            Self::InsightFace { .. } => arcface::SAME_PERSON,
        }
    }
}
