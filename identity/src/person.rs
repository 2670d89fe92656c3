//! From photos to a person: in each photo find the faces, choose one, look again for exact landmarks,
//! align, judge, embed; then average over the photos.

use std::path::Path;

use image::RgbImage;
use serde::Serialize;

use crate::IdentityError;
use crate::align::{FACE_SIZE, align_smooth};
use crate::detect::{Face, FaceDetector};
use crate::embed::{Embedding, FaceEmbedder, SAME_PERSON, likeness};
use crate::photo::Photo;
use crate::quality::{Problem, Verdict, judge, rivals};
use crate::runtime::{SFACE_FILE, YUNET_FILE, default_threads, face_models};

/// Which of the faces in a photo is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FaceChoice {
    /// The one with the largest box.
    #[default]
    Largest,
    /// The one of this number, counted from 0, largest first, as [`FaceDetector::detect`] lists them.
    Index(usize),
}

/// What was seen in one photo and how good it is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhotoReport {
    /// The photo's name.
    pub photo: String,
    /// All faces, largest first, pixels of the upright photo.
    pub faces: Vec<Face>,
    /// Which of them was taken; `None` where there is none.
    pub chosen: Option<usize>,
    /// What is wrong, if anything.
    pub verdict: Verdict,
}

/// One photo looked at.
#[derive(Debug, Clone)]
pub struct Examined {
    pub report: PhotoReport,
    /// The chosen face aligned to 112×112 pixels; `None` without a face.
    pub aligned: Option<RgbImage>,
    /// Its embedding; `None` where a problem blocks.
    pub embedding: Option<Embedding>,
}

/// A person: the mean of the photos' embeddings, and what was found in each.
#[derive(Debug, Clone)]
pub struct PersonEmbedding {
    /// Length 1.
    pub embedding: Embedding,
    /// In the order of the photos.
    pub reports: Vec<PhotoReport>,
}

/// Detector and recogniser together.
pub struct Encoder {
    detector: FaceDetector,
    embedder: FaceEmbedder,
}

impl Encoder {
    /// Opens both networks from a folder that holds [`YUNET_FILE`] and [`SFACE_FILE`].
    ///
    /// # Errors
    /// ONNX Runtime or a model missing or damaged; the message says to run set-up.
    pub fn open(models: &Path) -> Result<Self, IdentityError> {
        Self::open_with_threads(models, default_threads())
    }

    /// Opens both networks; each uses `threads` threads for one picture.
    ///
    /// # Errors
    /// As [`Encoder::open`].
    pub fn open_with_threads(models: &Path, threads: usize) -> Result<Self, IdentityError> {
        Ok(Self {
            detector: FaceDetector::open_with_threads(&models.join(YUNET_FILE), threads)?,
            embedder: FaceEmbedder::open_with_threads(&models.join(SFACE_FILE), threads)?,
        })
    }

    /// Opens the networks that set-up put into `.deps`.
    ///
    /// # Errors
    /// As [`Encoder::open`].
    pub fn installed() -> Result<Self, IdentityError> {
        Self::open(&face_models()?)
    }

    /// All faces of a picture, largest first.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn faces(&self, picture: &RgbImage) -> Result<Vec<Face>, IdentityError> {
        self.detector.detect(picture)
    }

    /// Looks at one photo; a photo that cannot be used is a finding in the report, not an error.
    ///
    /// # Errors
    /// A face number that the photo does not have; a network that fails.
    pub fn examine(&self, photo: &Photo, choice: FaceChoice) -> Result<Examined, IdentityError> {
        let faces = self.detector.detect(photo.pixels())?;
        let index = match choice {
            FaceChoice::Largest => 0,
            FaceChoice::Index(index) => index,
        };
        let mut problems = Vec::new();
        let Some(found) = faces.get(index) else {
            if !faces.is_empty() {
                let photo = photo.name().to_owned();
                return Err(IdentityError::NoSuchFace { photo, index, faces: faces.len() });
            }
            problems.push(Problem::NoFace);
            let verdict = Verdict { problems };
            let report = PhotoReport { photo: photo.name().to_owned(), faces, chosen: None, verdict };
            return Ok(Examined { report, aligned: None, embedding: None });
        };
        let count = rivals(&faces);
        if count > 1 && choice == FaceChoice::Largest {
            problems.push(Problem::SeveralFaces { count });
        }
        let face = self.detector.refine(photo.pixels(), found)?;
        let aligned = align_smooth(photo.pixels(), &face.landmarks, FACE_SIZE)?;
        problems.extend(judge(&face, &aligned));
        let verdict = Verdict { problems };
        let embedding = match verdict.blocking() {
            Some(_) => None,
            None => Some(self.embedder.embed(&aligned)?),
        };
        let mut faces = faces;
        if let Some(place) = faces.get_mut(index) {
            *place = face;
        }
        let report = PhotoReport { photo: photo.name().to_owned(), faces, chosen: Some(index), verdict };
        Ok(Examined { report, aligned: Some(aligned), embedding })
    }

    /// A person from one or several photos; each photo counts the same.
    ///
    /// Warnings (several faces, blurred, turned away, dark, small, unlike the others) are left in the
    /// reports; a photo that cannot be used at all is an error, because leaving it out in silence would
    /// make a different person than was asked for.
    ///
    /// # Errors
    /// [`IdentityError::Unusable`] with every photo that blocks, [`IdentityError::NoPhotos`], and those of
    /// [`Encoder::examine`].
    pub fn person(&self, photos: &[Photo], choice: FaceChoice) -> Result<PersonEmbedding, IdentityError> {
        let (mut reports, mut embeddings, mut unusable) = (Vec::new(), Vec::new(), Vec::new());
        for photo in photos {
            let examined = self.examine(photo, choice)?;
            if let Some(problem) = examined.report.verdict.blocking() {
                unusable.push((photo.name().to_owned(), problem));
            }
            reports.push(examined.report);
            embeddings.extend(examined.embedding);
        }
        if !unusable.is_empty() {
            return Err(IdentityError::Unusable { photos: unusable });
        }
        let embedding = Embedding::mean(&embeddings)?;
        for (at, report) in reports.iter_mut().enumerate() {
            if let Some(best) = best_match(&embeddings, at)?
                && best < SAME_PERSON
            {
                report.verdict.problems.push(Problem::Unlike { likeness: best });
            }
        }
        Ok(PersonEmbedding { embedding, reports })
    }

    /// The embedding of a picture's largest face whatever its quality, for scoring generated pictures;
    /// `None` where no face is found.
    ///
    /// # Errors
    /// A network that fails.
    pub fn embed(&self, picture: &RgbImage) -> Result<Option<Embedding>, IdentityError> {
        let Some(found) = self.detector.detect(picture)?.into_iter().next() else { return Ok(None) };
        let face = self.detector.refine(picture, &found)?;
        let aligned = align_smooth(picture, &face.landmarks, FACE_SIZE)?;
        Ok(Some(self.embedder.embed(&aligned)?))
    }

    /// How much a picture's largest face looks like a person: the cosine, or `None` without a face.
    ///
    /// # Errors
    /// A network that fails; an embedding of another network.
    pub fn likeness(&self, person: &Embedding, picture: &RgbImage) -> Result<Option<f32>, IdentityError> {
        self.embed(picture)?.map(|face| likeness(person, &face)).transpose()
    }
}

/// Highest likeness of one embedding to any of the others.
fn best_match(embeddings: &[Embedding], at: usize) -> Result<Option<f32>, IdentityError> {
    let Some(one) = embeddings.get(at) else { return Ok(None) };
    let others = embeddings.iter().enumerate().filter(|(n, _)| *n != at);
    let scores: Vec<f32> = others.map(|(_, other)| likeness(one, other)).collect::<Result<_, _>>()?;
    Ok(scores.into_iter().reduce(f32::max))
}
