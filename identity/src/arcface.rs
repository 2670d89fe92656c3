//! Identity embeddings with ArcFace (Deng et al. 2019, arXiv 1801.07698), the recogniser of InsightFace's model
//! packs, on faces that [`crate::align::align`] cut out as InsightFace's `norm_crop` does.

use std::path::Path;

use image::RgbImage;

use crate::IdentityError;
use crate::align::FACE_SIZE;
use crate::embed::Embedding;
use crate::onnx_graph::GraphSummary;
use crate::runtime::{Network, default_threads};

/// Values of an ArcFace embedding.
pub const ARCFACE_WIDTH: usize = 512;
/// Above this cosine InsightFace's own tools take two real photos for one person when they sort faces
/// (`minimum_cluster_similarity` in insightface 2.1).
pub const SAME_PERSON: f32 = 0.35;

const NAME: &str = "the face recogniser";
const INPUT: [i64; 4] = [1, 3, FACE_SIZE as i64, FACE_SIZE as i64];

/// An ArcFace network, such as `w600k_r50.onnx` or `glintr100.onnx`. Can be shared by threads.
pub struct ArcFace {
    network: Network,
    output: String,
    mean: f32,
    deviation: f32,
}

impl ArcFace {
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
    /// As [`ArcFace::open`].
    pub fn open_with_threads(model: &Path, threads: usize) -> Result<Self, IdentityError> {
        let wrong = |reason: String| IdentityError::PackModel { path: model.to_owned(), reason };
        let graph = GraphSummary::read(model).map_err(wrong)?;
        let [output] = &graph.outputs[..] else {
            return Err(wrong(format!("it has {} outputs; ArcFace has one", graph.outputs.len())));
        };
        let network =
            Network::open(NAME, model, threads, INPUT, &[&output.name]).map_err(IdentityError::in_pack)?;
        let (mean, deviation) = normalisation(&graph.first_nodes);
        Ok(Self { network, output: output.name.clone(), mean, deviation })
    }

    /// The embedding of a face aligned to 112×112 pixels. Its direction is InsightFace's `normed_embedding`,
    /// its direction times its norm `embedding`.
    ///
    /// # Errors
    /// Another size, [`IdentityError::Inference`], or an output that is no embedding.
    pub fn embed(&self, aligned: &RgbImage) -> Result<Embedding, IdentityError> {
        Embedding::from_raw("the face recogniser's output", self.network_output(aligned)?)
    }

    /// The network's 512 raw values: InsightFace's `ArcFaceONNX.get_feat`.
    ///
    /// # Errors
    /// Another size, [`IdentityError::Inference`].
    pub fn network_output(&self, aligned: &RgbImage) -> Result<Vec<f32>, IdentityError> {
        let (width, height) = aligned.dimensions();
        if (width, height) != (FACE_SIZE, FACE_SIZE) {
            let what = "an aligned face";
            return Err(IdentityError::PictureSize { what, wanted: FACE_SIZE, width, height });
        }
        let mut outputs = self.network.run(INPUT, self.planes(aligned), &[&self.output])?;
        let values = outputs.pop().unwrap_or_default();
        if values.len() != ARCFACE_WIDTH {
            let reason = format!("{} values, expected {ARCFACE_WIDTH}", values.len());
            return Err(IdentityError::Inference { network: NAME, reason });
        }
        Ok(values)
    }

    /// [3, height, width] in the order red, green, blue
    fn planes(&self, image: &RgbImage) -> Vec<f32> {
        let samples = image.as_raw();
        let normalised = |&v: &u8| (f32::from(v) - self.mean) / self.deviation;
        (0..3).flat_map(|c| samples.iter().skip(c).step_by(3).map(normalised)).collect()
    }
}

/// Mean and deviation of the samples by InsightFace's rule: networks that came from MXNet do it themselves, which
/// shows in a `Sub` and a `Mul` among the first nodes.
fn normalisation(first_nodes: &[String]) -> (f32, f32) {
    let any =
        |names: [&str; 2]| first_nodes.iter().any(|node| names.iter().any(|name| node.starts_with(name)));
    if any(["Sub", "_minus"]) && any(["Mul", "_mul"]) { (0.0, 1.0) } else { (127.5, 127.5) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_that_normalises_itself_is_told_by_its_first_nodes() {
        let rule = |names: &[&str]| normalisation(&names.iter().map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(rule(&["Conv_0", "PRelu_1"]), (127.5, 127.5));
        assert_eq!(rule(&["Sub_0", "Conv_2"]), (127.5, 127.5));
        assert_eq!(rule(&["Sub_0", "Mul_1", "Conv_2"]), (0.0, 1.0));
        assert_eq!(rule(&["_minusscalar0", "_mulscalar0", "conv0"]), (0.0, 1.0));
    }
}
