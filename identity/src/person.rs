//! From photos to a person: in each photo find the faces, choose one, look again for exact landmarks,
//! align, judge, embed; then average over the photos.

use std::fmt;
use std::path::Path;

use image::RgbImage;
use serde::Serialize;

use crate::IdentityError;
use crate::align::{FACE_SIZE, align_smooth};
use crate::card::{CardVectors, IdentityCard};
use crate::detect::Face;
use crate::embed::Embedding;
use crate::licences::{CARD_NETWORKS, INSIGHTFACE, Licence, LicenceStore, OPENCV_ZOO};
use crate::networks::Networks;
use crate::packs::Pack;
use crate::photo::Photo;
use crate::quality::{Problem, Verdict, judge, rivals};
use crate::runtime::{default_threads, face_models};

/// Name of the encoder made of YuNet and SFace.
pub const SFACE_NAME: &str = "sface";
/// Name of the encoder made of YuNet and the identity card.
pub const CARD_NAME: &str = "card";

/// Which of the faces in a photo is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FaceChoice {
    /// The one with the largest box.
    #[default]
    Largest,
    /// The one of this number, counted from 0, largest first, as [`Encoder::faces`] lists them.
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

/// What one usable photo holds for the adapters.
#[derive(Clone, PartialEq)]
pub struct FaceReference {
    /// Its direction is what FaceID adapters take; [`Embedding::raw`], the direction times the norm, is what
    /// InstantID takes. The card encoder's is the card's vector.
    pub embedding: Embedding,
    /// What the embedding was made of, by the card encoder.
    pub card: Option<IdentityCard>,
    /// Eyes, nose tip and mouth corners in pixels of the photo, in the order of [`Face::landmarks`].
    pub landmarks: [[f32; 2]; 5],
    /// Width and height of the upright photo, pixels.
    pub photo_size: [u32; 2],
    /// The face aligned to 112×112 pixels, which the recogniser saw.
    pub crop_112: RgbImage,
    /// The same at 224×224, for CLIP vision encoders: InsightFace's `norm_crop(image_size=224)`.
    pub crop_224: RgbImage,
    /// The same at 256×256, where the template leaves a margin at the sides.
    pub crop_256: RgbImage,
}

impl fmt::Debug for FaceReference {
    /// Never the values or the pixels: they are biometric data and have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaceReference({:?})", self.embedding)
    }
}

/// One photo looked at.
#[derive(Debug, Clone)]
pub struct Examined {
    pub report: PhotoReport,
    /// The chosen face; `None` without a face or where a problem blocks.
    pub reference: Option<FaceReference>,
}

/// A person: the mean of the photos' embeddings, and what was found in each.
#[derive(Debug, Clone)]
pub struct PersonEmbedding {
    /// Length 1.
    pub embedding: Embedding,
    /// In the order of the photos.
    pub reports: Vec<PhotoReport>,
    /// One for each photo, in the same order, for adapters that take several references or pictures.
    pub references: Vec<FaceReference>,
}

/// Detector and recogniser together, under the name and the licence they are known by.
pub struct Encoder {
    name: String,
    licence: Licence,
    networks: Networks,
}

impl Encoder {
    /// Opens YuNet and SFace from a folder that holds [`crate::runtime::YUNET_FILE`] and
    /// [`crate::runtime::SFACE_FILE`].
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
        let networks = Networks::open_cv(models, threads)?;
        Ok(Self { name: SFACE_NAME.to_owned(), licence: OPENCV_ZOO, networks })
    }

    /// Opens the networks that set-up put into `.deps`.
    ///
    /// # Errors
    /// As [`Encoder::open`].
    pub fn installed() -> Result<Self, IdentityError> {
        Self::open(&face_models()?)
    }

    /// Opens YuNet, which set-up put into `.deps`, and the identity card's own networks.
    ///
    /// # Errors
    /// As [`Encoder::open`].
    pub fn card() -> Result<Self, IdentityError> {
        let networks = Networks::card(&face_models()?, default_threads())?;
        Ok(Self { name: CARD_NAME.to_owned(), licence: CARD_NETWORKS, networks })
    }

    /// Opens an InsightFace pack by its folder's path or its name, if this person has accepted its licence.
    ///
    /// # Errors
    /// [`IdentityError::PackMissing`], [`IdentityError::PackModel`], [`IdentityError::LicenceNotAccepted`], or
    /// ONNX Runtime missing.
    pub fn open_pack(folder_or_name: &Path) -> Result<Self, IdentityError> {
        Self::of_pack(&Pack::find(folder_or_name)?, &LicenceStore::of_this_person()?)
    }

    /// Opens a pack if its licence stands in `store`.
    ///
    /// # Errors
    /// As [`Encoder::open_pack`].
    pub fn of_pack(pack: &Pack, store: &LicenceStore) -> Result<Self, IdentityError> {
        store.check(&pack.name, INSIGHTFACE)?;
        let networks = Networks::insight_face(pack, default_threads())?;
        Ok(Self { name: pack.name.clone(), licence: INSIGHTFACE, networks })
    }

    /// `sface`, `card`, or the pack's name, such as `buffalo_l`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the networks may be used for.
    pub fn licence(&self) -> Licence {
        self.licence
    }

    /// Values of an embedding: 128 for SFace, 149 for the card, 512 for packs.
    pub fn embedding_width(&self) -> usize {
        self.networks.embedding_width()
    }

    /// Above this cosine two real photos are taken to show one person.
    pub fn same_person(&self) -> f32 {
        self.networks.same_person()
    }

    /// All faces of a picture, largest first.
    ///
    /// # Errors
    /// [`IdentityError::Inference`].
    pub fn faces(&self, picture: &RgbImage) -> Result<Vec<Face>, IdentityError> {
        self.networks.detect(picture)
    }

    /// Looks at one photo; a photo that cannot be used is a finding in the report, not an error.
    ///
    /// # Errors
    /// A face number that the photo does not have; a network that fails.
    pub fn examine(&self, photo: &Photo, choice: FaceChoice) -> Result<Examined, IdentityError> {
        let faces = self.networks.detect(photo.pixels())?;
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
            return Ok(Examined { report, reference: None });
        };
        let count = rivals(&faces);
        if count > 1 && choice == FaceChoice::Largest {
            problems.push(Problem::SeveralFaces { count });
        }
        let face = self.networks.refine(photo.pixels(), found)?;
        // the thresholds were measured on filtered crops
        problems.extend(judge(&face, &align_smooth(photo.pixels(), &face.landmarks, FACE_SIZE)?));
        let mut verdict = Verdict { problems };
        let reference = match verdict.blocking() {
            Some(_) => None,
            None => self.reference(photo.pixels(), &face)?,
        };
        if reference.is_none() && verdict.blocking().is_none() {
            verdict.problems.push(Problem::NoFace);
        }
        let mut faces = faces;
        if let Some(place) = faces.get_mut(index) {
            *place = face;
        }
        let report = PhotoReport { photo: photo.name().to_owned(), faces, chosen: Some(index), verdict };
        Ok(Examined { report, reference })
    }

    /// `None` where what the detector found is no face to the card.
    fn reference(&self, picture: &RgbImage, face: &Face) -> Result<Option<FaceReference>, IdentityError> {
        let crop = |size| self.networks.crop(picture, &face.landmarks, size);
        let crop_112 = crop(FACE_SIZE)?;
        let Some(known) = self.networks.know(picture, face, &crop_112)? else { return Ok(None) };
        Ok(Some(FaceReference {
            embedding: known.embedding,
            card: known.card,
            landmarks: face.landmarks,
            photo_size: [picture.width(), picture.height()],
            crop_112,
            crop_224: crop(2 * FACE_SIZE)?,
            crop_256: crop(256)?,
        }))
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
        let (mut reports, mut references, mut unusable) = (Vec::new(), Vec::new(), Vec::new());
        for photo in photos {
            let examined = self.examine(photo, choice)?;
            if let Some(problem) = examined.report.verdict.blocking() {
                unusable.push((photo.name().to_owned(), problem));
            }
            reports.push(examined.report);
            references.extend(examined.reference);
        }
        if !unusable.is_empty() {
            return Err(IdentityError::Unusable { photos: unusable });
        }
        let embeddings: Vec<&Embedding> = references.iter().map(|reference| &reference.embedding).collect();
        let embedding = Embedding::mean(embeddings.iter().copied())?;
        for (at, report) in reports.iter_mut().enumerate() {
            if let Some(best) = self.best_match(&embeddings, at)?
                && best < self.same_person()
            {
                report.verdict.problems.push(Problem::Unlike { likeness: best });
            }
        }
        Ok(PersonEmbedding { embedding, reports, references })
    }

    /// The embedding of a picture's largest face whatever its quality, for scoring generated pictures;
    /// `None` where no face is found.
    ///
    /// # Errors
    /// A network that fails.
    pub fn embed(&self, picture: &RgbImage) -> Result<Option<Embedding>, IdentityError> {
        let Some(found) = self.networks.detect(picture)?.into_iter().next() else { return Ok(None) };
        let face = self.networks.refine(picture, &found)?;
        let aligned = self.networks.crop(picture, &face.landmarks, FACE_SIZE)?;
        Ok(self.networks.know(picture, &face, &aligned)?.map(|known| known.embedding))
    }

    /// How much a picture's largest face looks like a person: the cosine, or `None` without a face.
    ///
    /// # Errors
    /// A network that fails; an embedding of another network.
    pub fn likeness(&self, person: &Embedding, picture: &RgbImage) -> Result<Option<f32>, IdentityError> {
        match self.embed(picture)? {
            Some(face) => self.networks.likeness(person, &face),
            None => Ok(None),
        }
    }

    /// How much two faces are alike: the cosine of their embeddings, of cards that of their descriptors; none
    /// where a card has no descriptor.
    ///
    /// # Errors
    /// Embeddings of another network.
    pub fn alike(&self, left: &Embedding, right: &Embedding) -> Result<Option<f32>, IdentityError> {
        self.networks.likeness(left, right)
    }

    /// Makes numbers of corrected cards; none where embeddings are not made of cards.
    pub fn card_vectors(&self) -> Option<&CardVectors> {
        self.networks.card_vectors()
    }

    /// Highest likeness of one embedding to any of the others.
    fn best_match(&self, embeddings: &[&Embedding], at: usize) -> Result<Option<f32>, IdentityError> {
        let Some(one) = embeddings.get(at) else { return Ok(None) };
        let others = embeddings.iter().enumerate().filter(|(n, _)| *n != at);
        let scores = others.map(|(_, other)| self.networks.likeness(one, other));
        let scores: Vec<Option<f32>> = scores.collect::<Result<_, _>>()?;
        Ok(scores.into_iter().flatten().reduce(f32::max))
    }
}
