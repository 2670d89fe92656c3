//! Identity embeddings: SFace (Zhong et al. 2021) on an aligned face, and likeness as the cosine of two
//! embeddings.

use std::fmt;
use std::path::Path;

use image::RgbImage;

use crate::IdentityError;
use crate::align::FACE_SIZE;
use crate::runtime::{Network, default_threads};

/// Values of an SFace embedding.
pub const SFACE_WIDTH: usize = 128;
/// Above this cosine OpenCV's face recognition sample takes two real photos for one person (SFace).
/// Renders and drawings of different people lie closer to one another than photos do.
pub const SAME_PERSON: f32 = 0.363;

const INPUT: [i64; 4] = [1, 3, FACE_SIZE as i64, FACE_SIZE as i64];
const OUTPUT: &str = "fc1";

/// What identifies a face: a direction in the recogniser's space, as a vector of length 1, and the length
/// it had when the network gave it (low for blurred and hidden faces).
#[derive(Clone, PartialEq)]
pub struct Embedding {
    vector: Vec<f32>,
    norm: f32,
}

impl fmt::Debug for Embedding {
    /// Never the values: they are biometric data and have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Embedding({} values)", self.vector.len())
    }
}

impl Embedding {
    /// Normalises what a network or a file gave; `what` names it in the error.
    ///
    /// # Errors
    /// [`IdentityError::Embedding`] for no values, values that are not finite, or a length of zero.
    pub fn from_raw(what: &str, values: Vec<f32>) -> Result<Self, IdentityError> {
        let wrong = |reason| IdentityError::Embedding { what: what.to_owned(), reason };
        if values.is_empty() {
            return Err(wrong("it has no values"));
        }
        if !values.iter().all(|v| v.is_finite()) {
            return Err(wrong("it holds values that are not finite"));
        }
        let norm = values.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>().sqrt();
        if norm < 1e-6 {
            return Err(wrong("all its values are zero"));
        }
        let vector = values.into_iter().map(|v| (f64::from(v) / norm) as f32).collect();
        Ok(Self { vector, norm: norm as f32 })
    }

    /// The direction: length 1.
    pub fn vector(&self) -> &[f32] {
        &self.vector
    }

    /// The length before normalisation.
    pub fn norm(&self) -> f32 {
        self.norm
    }

    /// The values as the network gave them: direction times norm.
    pub fn raw(&self) -> Vec<f32> {
        self.vector.iter().map(|v| v * self.norm).collect()
    }

    /// Number of values: 128 for SFace, 512 for ArcFace.
    pub fn width(&self) -> usize {
        self.vector.len()
    }

    /// The mean direction of several embeddings, normalised again.
    ///
    /// # Errors
    /// No embedding, different widths, or directions that cancel out.
    pub fn mean<'a>(embeddings: impl IntoIterator<Item = &'a Self>) -> Result<Self, IdentityError> {
        let mut all = embeddings.into_iter();
        let mut sum = all.next().ok_or(IdentityError::NoPhotos)?.vector.clone();
        let mut count = 1.0;
        for one in all {
            if one.width() != sum.len() {
                return Err(IdentityError::Widths { left: sum.len(), right: one.width() });
            }
            sum.iter_mut().zip(&one.vector).for_each(|(s, v)| *s += v);
            count += 1.0;
        }
        Self::from_raw("the mean of the photos", sum.into_iter().map(|s| s / count).collect())
    }
}

/// Likeness of two faces: the cosine of their embeddings, −1 to 1. Two real photos of one person score
/// about 0.5 to 0.8 with SFace, two people about 0; [`SAME_PERSON`] divides them.
///
/// # Errors
/// [`IdentityError::Widths`] where they come from different networks.
pub fn likeness(left: &Embedding, right: &Embedding) -> Result<f32, IdentityError> {
    if left.width() != right.width() {
        return Err(IdentityError::Widths { left: left.width(), right: right.width() });
    }
    let dot: f64 = left.vector.iter().zip(&right.vector).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    Ok(dot.clamp(-1.0, 1.0) as f32)
}

/// The SFace network, `face_recognition_sface_2021dec.onnx` of the OpenCV zoo. Can be shared by threads.
pub struct FaceEmbedder {
    network: Network,
}

impl FaceEmbedder {
    /// Loads the network with the default number of threads.
    ///
    /// # Errors
    /// ONNX Runtime or the file missing, or a file that is another model.
    pub fn open(model: &Path) -> Result<Self, IdentityError> {
        Self::open_with_threads(model, default_threads())
    }

    /// Loads the network; `threads` work on one face.
    ///
    /// # Errors
    /// As [`FaceEmbedder::open`].
    pub fn open_with_threads(model: &Path, threads: usize) -> Result<Self, IdentityError> {
        Ok(Self { network: Network::open("the face recogniser", model, threads, INPUT, &[OUTPUT])? })
    }

    /// The embedding of a face aligned to 112×112 pixels ([`crate::align::align_smooth`]).
    ///
    /// # Errors
    /// Another size, [`IdentityError::Inference`], or an output that is no embedding.
    pub fn embed(&self, aligned: &RgbImage) -> Result<Embedding, IdentityError> {
        Embedding::from_raw("the face recogniser's output", self.network_output(aligned)?)
    }

    /// The network's 128 raw values: what OpenCV's `FaceRecognizerSF.feature` returns.
    ///
    /// # Errors
    /// Another size, [`IdentityError::Inference`].
    pub fn network_output(&self, aligned: &RgbImage) -> Result<Vec<f32>, IdentityError> {
        let (width, height) = aligned.dimensions();
        if (width, height) != (FACE_SIZE, FACE_SIZE) {
            return Err(IdentityError::PictureSize {
                what: "an aligned face",
                wanted: FACE_SIZE,
                width,
                height,
            });
        }
        let mut outputs = self.network.run(INPUT, planes_rgb(aligned), &[OUTPUT])?;
        let values = outputs.pop().unwrap_or_default();
        if values.len() != SFACE_WIDTH {
            let reason = format!("{} values, expected {SFACE_WIDTH}", values.len());
            return Err(IdentityError::Inference { network: "the face recogniser", reason });
        }
        Ok(values)
    }
}

/// [3, height, width] in the order red, green, blue, values 0 to 255. OpenCV swaps its BGR pictures before
/// it runs SFace, so the network itself takes RGB, unlike YuNet.
fn planes_rgb(image: &RgbImage) -> Vec<f32> {
    let samples = image.as_raw();
    (0..3).flat_map(|c| samples.iter().skip(c).step_by(3).map(|&v| f32::from(v))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn embedding(values: &[f32]) -> Embedding {
        Embedding::from_raw("a test", values.to_vec()).expect("finite and not zero")
    }

    #[test]
    fn likeness_is_the_cosine() {
        let (x, y) = (embedding(&[3.0, 0.0]), embedding(&[5.0, 5.0]));
        assert!((likeness(&x, &y).expect("one width") - 0.5f32.sqrt()).abs() < 1e-6);
        assert_eq!(likeness(&x, &x).expect("one width"), 1.0);
        assert_eq!((x.vector(), x.norm()), (&[1.0, 0.0][..], 3.0));
        let other = likeness(&x, &embedding(&[1.0, 2.0, 3.0]));
        assert!(matches!(other, Err(IdentityError::Widths { left: 2, right: 3 })));
    }

    #[test]
    fn the_mean_gives_every_photo_one_vote() {
        let mean = Embedding::mean([&embedding(&[100.0, 0.0]), &embedding(&[0.0, 1.0])]).expect("a mean");
        assert!(mean.vector().iter().all(|v| (v - 0.5f32.sqrt()).abs() < 1e-6));
        let opposite = Embedding::mean([&embedding(&[1.0, 0.0]), &embedding(&[-1.0, 0.0])]);
        assert!(matches!(opposite, Err(IdentityError::Embedding { .. })));
        assert!(matches!(Embedding::mean([]), Err(IdentityError::NoPhotos)));
    }

    #[test]
    fn values_that_are_no_embedding_are_refused() {
        for bad in [vec![], vec![0.0; 4], vec![1.0, f32::NAN], vec![f32::INFINITY]] {
            assert!(Embedding::from_raw("x", bad).is_err());
        }
        // a debug print must not give the face away
        assert_eq!(format!("{:?}", embedding(&[0.25, 0.5])), "Embedding(2 values)");
    }
}
