//! 68 points of a face, in the order of the iBUG 300-W set: jaw 0–16, brows 17–26, nose 27–35, eyes 36–47,
//! mouth 48–67. The network is face-api 1.7.15's `FaceLandmark68Net` with its weights of 8 bits.

use imagine_unet::WeightsError;
use tch::{Kind, TchError, Tensor};

use super::input::{Cut, normalised};
use super::packed::PackedWeights;

/// Side of the network's input, pixels.
pub const LANDMARKS_INPUT: u32 = 112;
/// Points of a face.
pub const POINTS: usize = 68;

/// Points in pixels of a picture, in iBUG's order.
pub type Points68 = [[f32; 2]; POINTS];

const FILE: &str = "face_landmarks_68.safetensors";
static WEIGHTS: &[u8] = include_bytes!("../../weights/face_landmarks_68.safetensors");

/// A depthwise 3×3 convolution and the 1×1 convolution that follows it.
struct Separable {
    depthwise: Tensor,
    pointwise: Tensor,
    bias: Tensor,
}

impl Separable {
    fn new(weights: &PackedWeights, path: &str, [out, inputs]: [i64; 2]) -> Result<Self, WeightsError> {
        Ok(Self {
            depthwise: weights.get(&format!("{path}.depthwise_filter"), &[inputs, 1, 3, 3])?,
            pointwise: weights.get(&format!("{path}.pointwise_filter"), &[out, inputs, 1, 1])?,
            bias: weights.get(&format!("{path}.bias"), &[out])?,
        })
    }

    fn forward(&self, x: &Tensor, stride: i64) -> Result<Tensor, TchError> {
        let deep = same(x, &self.depthwise, None, stride, x.size()[1])?;
        deep.f_conv2d(&self.pointwise, Some(&self.bias), [1, 1], [0, 0], [1, 1], 1)
    }
}

/// A 3×3 convolution padded as TensorFlow's "same" pads pictures of even sides: at both edges with stride 1,
/// at the right and below only with stride 2.
fn same(
    x: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    stride: i64,
    groups: i64,
) -> Result<Tensor, TchError> {
    let before = if stride == 1 { 1 } else { 0 };
    x.f_constant_pad_nd([before, 1, before, 1])?.f_conv2d(
        weight,
        bias,
        [stride, stride],
        [0, 0],
        [1, 1],
        groups,
    )
}

enum First {
    Plain { weight: Tensor, bias: Tensor },
    Separable(Separable),
}

/// Four convolutions, each of which takes the sum of what those before it gave.
struct Dense {
    first: First,
    others: [Separable; 3],
}

impl Dense {
    fn new(weights: &PackedWeights, path: &str, [out, inputs]: [i64; 2]) -> Result<Self, WeightsError> {
        let first = match inputs {
            3 => First::Plain {
                weight: weights.get(&format!("{path}.conv0.filters"), &[out, 3, 3, 3])?,
                bias: weights.get(&format!("{path}.conv0.bias"), &[out])?,
            },
            _ => First::Separable(Separable::new(weights, &format!("{path}.conv0"), [out, inputs])?),
        };
        let other = |n: usize| Separable::new(weights, &format!("{path}.conv{n}"), [out, out]);
        Ok(Self { first, others: [other(1)?, other(2)?, other(3)?] })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TchError> {
        let first = match &self.first {
            First::Plain { weight, bias } => same(x, weight, Some(bias), 2, 1)?,
            First::Separable(layer) => layer.forward(x, 2)?,
        };
        let first = first.f_relu()?;
        let mut sum = first.shallow_clone();
        for layer in &self.others {
            // what goes in is rectified, what is added up is not
            let out = layer.forward(&sum.f_relu()?, 1)?;
            sum = sum.f_add(&out)?;
        }
        sum.f_relu()
    }
}

/// The network. Can be shared by threads.
pub struct LandmarkNetwork {
    blocks: Vec<Dense>,
    weight: Tensor,
    bias: Tensor,
}

impl LandmarkNetwork {
    /// The network with the weights that belong to this crate.
    ///
    /// # Errors
    /// Weights that do not fit: a damaged build.
    pub fn built_in() -> Result<Self, WeightsError> {
        Self::from_bytes(FILE, WEIGHTS)
    }

    /// The network from the bytes of a file like `weights/face_landmarks_68.safetensors`.
    ///
    /// # Errors
    /// As [`PackedWeights::get`], and tensors that do not belong here.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        let weights = PackedWeights::read(file, bytes)?;
        let (mut inputs, mut blocks) = (3, Vec::new());
        for (n, out) in [32, 64, 128, 256].into_iter().enumerate() {
            blocks.push(Dense::new(&weights, &format!("dense{n}"), [out, inputs])?);
            inputs = out;
        }
        let outputs = 2 * POINTS as i64;
        let (weight, bias) =
            (weights.get("fc.weights", &[outputs, inputs])?, weights.get("fc.bias", &[outputs])?);
        weights.finish()?;
        Ok(Self { blocks, weight, bias })
    }

    /// Faces [N, 3, 112, 112], RGB, 0 to 255 → x and y of each point in turn, shares of the input's side: [N, 136]
    ///
    /// # Errors
    /// Another shape; no memory.
    pub fn forward(&self, faces: &Tensor) -> Result<Tensor, TchError> {
        let mut x = normalised(faces)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        let x = x.f_mean_dim([2i64, 3].as_slice(), false, Kind::Float)?; // [N, 256, 7, 7] -> [N, 256]
        x.f_linear(&self.weight, Some(&self.bias))
    }

    /// The points of the face in a cut of a picture, in pixels of the picture.
    ///
    /// # Errors
    /// As [`LandmarkNetwork::forward`].
    pub fn points(&self, cut: &Cut) -> Result<Points68, TchError> {
        let shares: Vec<f32> = Vec::try_from(self.forward(&cut.input(LANDMARKS_INPUT)?)?.flatten(0, -1))?;
        let mut points = [[0.0; 2]; POINTS];
        for (point, share) in points.iter_mut().zip(shares.chunks_exact(2)) {
            *point = cut.place([share[0], share[1]]);
        }
        Ok(points)
    }
}
