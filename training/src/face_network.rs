//! SFace with gradients: the recogniser's ONNX file run by tch, so that a loss on the embedding reaches
//! the pixels. ONNX Runtime, which measures, has no backward pass.

use std::path::Path;

use tch::{Device, Kind, Tensor};

use crate::error::TrainingError;
use crate::onnx::{Graph, Node};

/// One layer, its weights frozen.
enum Layer {
    Subtract(Tensor),
    Multiply(Tensor),
    Convolution {
        weight: Tensor,
        bias: Tensor,
        stride: Vec<i64>,
        padding: Vec<i64>,
        groups: i64,
    },
    /// Batch normalisation by stored statistics: x · scale + shift, one number a channel.
    Affine {
        scale: Tensor,
        shift: Tensor,
    },
    ParametricRelu(Tensor),
    Flatten,
    Linear {
        weight: Tensor,
        bias: Tensor,
    },
}

impl Layer {
    fn weights(&mut self) -> Vec<&mut Tensor> {
        match self {
            Self::Subtract(value) | Self::Multiply(value) | Self::ParametricRelu(value) => vec![value],
            Self::Convolution { weight, bias, .. } | Self::Linear { weight, bias } => vec![weight, bias],
            Self::Affine { scale, shift } => vec![scale, shift],
            Self::Flatten => Vec::new(),
        }
    }
}

/// A recogniser whose layers follow one another.
pub struct FaceNetwork {
    layers: Vec<Layer>,
    kind: Kind,
}

impl FaceNetwork {
    /// Reads an ONNX file, to compute in `kind`. Refuses what is not a chain of the layers above.
    pub fn read(path: &Path, device: Device, kind: Kind) -> Result<Self, TrainingError> {
        let graph = Graph::read(path)?;
        let fail = |reason: String| TrainingError::Network { path: path.into(), reason };
        let mut layers: Vec<Layer> = Vec::new();
        let mut last: Option<&str> = None;
        for node in &graph.nodes {
            let input = node.inputs.first().map(String::as_str);
            if last.is_some() && input != last {
                return Err(fail(format!("{} does not take what the layer before it gives", node.operation)));
            }
            last = node.outputs.first().map(String::as_str);
            let mut weights = Vec::new();
            for name in node.inputs.iter().skip(1) {
                let weight = graph.weights.get(name).ok_or_else(|| fail(format!("no weight {name}")))?;
                weights.push(weight.to_device(device));
            }
            let layer = layer(node, weights).ok_or_else(|| fail(format!("layer {}", node.operation)))?;
            match (layers.last_mut(), layer) {
                (_, None) => {}
                (Some(Layer::Convolution { weight, bias, .. }), Some(Layer::Affine { scale, shift })) => {
                    *bias = &*bias * &scale + shift;
                    *weight = &*weight * scale.view([-1, 1, 1, 1]);
                }
                (_, Some(layer)) => layers.push(layer),
            }
        }
        layers.iter_mut().flat_map(Layer::weights).for_each(|weight| *weight = weight.to_kind(kind));
        Ok(Self { layers, kind })
    }

    /// Embeddings as the network gives them, of aligned faces [N, 3, 112, 112], RGB, 0 to 255: [N, 128], f32
    pub fn forward(&self, faces: &Tensor) -> Result<Tensor, TrainingError> {
        let mut x = faces.to_kind(self.kind);
        for layer in &self.layers {
            x = match layer {
                Layer::Subtract(value) => x.f_sub(value)?,
                Layer::Multiply(value) => x.f_mul(value)?,
                Layer::Convolution { weight, bias, stride, padding, groups } => {
                    x.f_conv2d(weight, Some(bias), stride, padding, [1, 1], *groups)?
                }
                Layer::Affine { scale, shift } => {
                    let shape: &[i64] = if x.dim() == 4 { &[1, -1, 1, 1] } else { &[1, -1] };
                    x.f_mul(&scale.f_view(shape)?)?.f_add(&shift.f_view(shape)?)?
                }
                Layer::ParametricRelu(weight) => x.f_prelu(weight)?,
                Layer::Flatten => x.f_flatten(1, -1)?,
                Layer::Linear { weight, bias } => x.f_linear(weight, Some(bias))?,
            };
        }
        Ok(x.to_kind(Kind::Float))
    }
}

/// The layer that a node stands for; `Some(None)` for one that does nothing, `None` for one that is not known.
fn layer(node: &Node, weights: Vec<Tensor>) -> Option<Option<Layer>> {
    let mut weights = weights.into_iter();
    let mut next = || weights.next();
    Some(Some(match node.operation.as_str() {
        "Sub" => Layer::Subtract(next()?),
        "Mul" => Layer::Multiply(next()?),
        "Conv" => {
            let weight = next()?;
            let pads = node.ints("pads", &[0; 4]);
            let even = pads.len() == 4 && pads[..2] == pads[2..];
            if !even || node.ints("dilations", &[1, 1]) != [1, 1] {
                return None;
            }
            let channels = weight.size()[0];
            Layer::Convolution {
                bias: next().unwrap_or_else(|| Tensor::zeros([channels], (weight.kind(), weight.device()))),
                weight,
                stride: node.ints("strides", &[1, 1]),
                padding: pads[..2].to_vec(),
                groups: node.int("group", 1),
            }
        }
        "BatchNormalization" => {
            let (gamma, beta, mean, variance) = (next()?, next()?, next()?, next()?);
            let scale = gamma / (variance + f64::from(node.float("epsilon", 1e-5))).sqrt();
            Layer::Affine { shift: beta - mean * &scale, scale }
        }
        "PRelu" => Layer::ParametricRelu(next()?.flatten(0, -1)),
        "Flatten" if node.int("axis", 1) == 1 => Layer::Flatten,
        "Gemm" if node.int("transA", 0) == 0 && node.int("transB", 0) == 1 => {
            if node.float("alpha", 1.0) != 1.0 || node.float("beta", 1.0) != 1.0 {
                return None;
            }
            Layer::Linear { weight: next()?, bias: next()? }
        }
        "Dropout" => return Some(None),
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use image::RgbImage;
    use imagine_identity::FaceEmbedder;
    use imagine_identity::runtime::{SFACE_FILE, face_models};

    fn network(kind: Kind) -> FaceNetwork {
        FaceNetwork::read(&face_models().unwrap().join(SFACE_FILE), Device::Cpu, kind).unwrap()
    }

    /// Smooth colours that differ from seed to seed.
    fn picture(seed: u32) -> RgbImage {
        RgbImage::from_fn(112, 112, |x, y| {
            let wave =
                |a: u32, b: u32| (((x * a + y * b + seed * 37) as f32 / 40.0).sin() * 120.0 + 125.0) as u8;
            image::Rgb([wave(3 + seed, 1), wave(1, 4), wave(2, 5 + seed)])
        })
    }

    fn tensor(picture: &RgbImage) -> Tensor {
        let bytes = Tensor::from_data_size(picture.as_raw(), &[112, 112, 3], Kind::Uint8);
        bytes.permute([2, 0, 1]).unsqueeze(0).to_kind(Kind::Float) // [1, 3, 112, 112]
    }

    #[test]
    fn embeddings_equal_those_of_onnx_runtime() {
        let network = network(Kind::Float);
        let runtime = FaceEmbedder::open(&face_models().unwrap().join(SFACE_FILE)).unwrap();
        for seed in 0..3 {
            let picture = picture(seed);
            let wanted = Tensor::from_slice(&runtime.network_output(&picture).unwrap());
            let found = network.forward(&tensor(&picture)).unwrap().squeeze();
            let far = (&found - &wanted).abs().max() / wanted.abs().max();
            assert!(far.double_value(&[]) < 1e-4, "{}", far.double_value(&[]));
        }
    }

    #[test]
    fn bf16_points_the_same_way() {
        let pixels = tensor(&picture(2));
        let [wanted, found] =
            [Kind::Float, Kind::BFloat16].map(|kind| network(kind).forward(&pixels).unwrap());
        let cosine = (&wanted * &found).sum(Kind::Double) / (wanted.norm() * found.norm());
        assert!(cosine.double_value(&[]) > 0.99, "{}", cosine.double_value(&[]));
    }

    #[test]
    fn the_gradient_at_the_pixels_is_the_slope() {
        let network = network(Kind::Float);
        let pixels = tensor(&picture(1)).set_requires_grad(true);
        let towards = Tensor::ones([128], (Kind::Float, Device::Cpu));
        let value = |x: &Tensor| (network.forward(x).unwrap() * &towards).sum(Kind::Double);
        value(&pixels).backward();
        let gradient = pixels.grad();
        let direction = &gradient / gradient.norm();
        // the mean of both sides, because the slope changes at every rectifier
        let step = 0.5;
        let at = |sign: f64| value(&(&pixels.detach() + &direction * (sign * step))).double_value(&[]);
        let slope = (at(1.0) - at(-1.0)) / (2.0 * step);
        let norm = gradient.norm().double_value(&[]);
        assert!(norm > 1e-3 && (slope / norm - 1.0).abs() < 0.05, "{slope} against {norm}");
    }

    #[test]
    fn another_network_is_refused_by_name() {
        let file = face_models().unwrap().join(imagine_identity::runtime::YUNET_FILE);
        let error = FaceNetwork::read(&file, Device::Cpu, Kind::Float).err().unwrap().to_string();
        assert!(error.contains("yunet"), "{error}");
    }
}
