//! dlib's face descriptor: a residual network of 29 convolutions that turns a face of 150×150 pixels into 128
//! numbers; two photos of one person lie less than about 0.6 apart. As face-api 1.7.15 computes it
//! (`FaceRecognitionNet`), with its weights of 8 bits.

use std::fmt;

use imagine_unet::WeightsError;
use serde::{Deserialize, Serialize};
use tch::{Kind, TchError, Tensor};

use super::input::normalised;
use super::packed::PackedWeights;

/// Side of the network's input, pixels.
pub const DESCRIPTOR_INPUT: u32 = 150;
/// Numbers of a descriptor.
pub const DESCRIPTOR_WIDTH: usize = 128;

const FILE: &str = "face_descriptor.safetensors";
static WEIGHTS: &[u8] = include_bytes!("../../weights/face_descriptor.safetensors");

/// Residual blocks, their channels, and whether they halve the picture.
const BLOCKS: [(&str, i64, bool); 14] = [
    ("conv32_1", 32, false),
    ("conv32_2", 32, false),
    ("conv32_3", 32, false),
    ("conv64_down", 64, true),
    ("conv64_1", 64, false),
    ("conv64_2", 64, false),
    ("conv64_3", 64, false),
    ("conv128_down", 128, true),
    ("conv128_1", 128, false),
    ("conv128_2", 128, false),
    ("conv256_down", 256, true),
    ("conv256_1", 256, false),
    ("conv256_2", 256, false),
    ("conv256_down_out", 256, true),
];

/// What the network says of a face: biometric data.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Descriptor(pub(super) Vec<f32>);

impl Descriptor {
    /// Of numbers that were kept; `None` unless there are [`DESCRIPTOR_WIDTH`] finite ones.
    pub fn from_values(values: Vec<f32>) -> Option<Self> {
        (values.len() == DESCRIPTOR_WIDTH && values.iter().all(|v| v.is_finite())).then_some(Self(values))
    }

    /// The 128 numbers.
    pub fn values(&self) -> &[f32] {
        &self.0
    }

    /// How far apart two faces are; dlib takes less than 0.6 for one person.
    pub fn distance(&self, other: &Self) -> f32 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt()
    }
}

impl fmt::Debug for Descriptor {
    /// Never the values: they are biometric data and have no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Descriptor({} values)", self.0.len())
    }
}

/// A convolution with the per-channel scale that follows it.
struct Convolution {
    weight: Tensor,
    bias: Tensor,
}

impl Convolution {
    fn new(weights: &PackedWeights, path: &str, shape: [i64; 4]) -> Result<Self, WeightsError> {
        let out = [shape[0]];
        let scale = weights.get(&format!("{path}.scale.weights"), &out)?;
        let shift = weights.get(&format!("{path}.scale.biases"), &out)?;
        let weight = weights.get(&format!("{path}.conv.filters"), &shape)?;
        let bias = weights.get(&format!("{path}.conv.bias"), &out)?;
        Ok(Self { weight: weight * scale.view([-1, 1, 1, 1]), bias: bias * scale + shift })
    }

    fn forward(&self, x: &Tensor, stride: i64, padding: i64) -> Result<Tensor, TchError> {
        x.f_conv2d(&self.weight, Some(&self.bias), [stride, stride], [padding, padding], [1, 1], 1)
    }
}

struct Residual {
    first: Convolution,
    second: Convolution,
    halves: bool,
}

impl Residual {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let (stride, padding) = if self.halves { (2, 0) } else { (1, 1) };
        let inner = self.second.forward(&self.first.forward(x, stride, padding)?.f_relu()?, 1, 1)?;
        if !self.halves {
            return (inner + x).f_relu();
        }
        // The way past the convolutions: half the size, and zeros for channels and edges that only one has.
        let past = x.f_avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None::<i64>)?;
        let wide = inner.size()[1] - past.size()[1];
        let past = past.f_constant_pad_nd([0, 0, 0, 0, 0, wide])?;
        let (tall, inner_tall) = (past.size()[2], inner.size()[2]);
        let inner = inner.f_constant_pad_nd([0, tall - inner_tall, 0, tall - inner_tall])?;
        (inner + past).f_relu()
    }
}

/// The network. Can be shared by threads.
pub struct DescriptorNetwork {
    first: Convolution,
    blocks: Vec<Residual>,
    last: Tensor,
}

impl DescriptorNetwork {
    /// The network with the weights that belong to this crate.
    ///
    /// # Errors
    /// Weights that do not fit: a damaged build.
    pub fn built_in() -> Result<Self, WeightsError> {
        Self::from_bytes(FILE, WEIGHTS)
    }

    /// The network from the bytes of a file like `weights/face_descriptor.safetensors`.
    ///
    /// # Errors
    /// As [`PackedWeights::get`], and tensors that do not belong here.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        let weights = PackedWeights::read(file, bytes)?;
        let first = Convolution::new(&weights, "conv32_down", [32, 3, 7, 7])?;
        let (mut channels, mut blocks) = (32, Vec::with_capacity(BLOCKS.len()));
        for (path, out, halves) in BLOCKS {
            blocks.push(Residual {
                first: Convolution::new(&weights, &format!("{path}.conv1"), [out, channels, 3, 3])?,
                second: Convolution::new(&weights, &format!("{path}.conv2"), [out, out, 3, 3])?,
                halves,
            });
            channels = out;
        }
        let last = weights.get("fc", &[DESCRIPTOR_WIDTH as i64, channels])?;
        weights.finish()?;
        Ok(Self { first, blocks, last })
    }

    /// Faces [N, 3, 150, 150], RGB, 0 to 255, as [`super::input::square_input`] cuts them → [N, 128]
    ///
    /// # Errors
    /// Another shape; no memory.
    pub fn forward(&self, faces: &Tensor) -> Result<Tensor, TchError> {
        let x = self.first.forward(&normalised(faces)?, 2, 0)?.f_relu()?; // [N, 32, 72, 72]
        let mut x = x.f_max_pool2d([3, 3], [2, 2], [0, 0], [1, 1], false)?; // [N, 32, 35, 35]
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        // [N, 256, 2, 2] -> [N, 256] -> [N, 128]
        x.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)?.f_linear(&self.last, None::<Tensor>)
    }
}
