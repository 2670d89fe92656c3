//! Glasses, long hair, hat: linear probes on the cells of a window, trained on renders by training/card/gates.py
//! and kept with the mean head in weights/card.safetensors. Probes for beards and bald heads were tried and did
//! not carry over to photos; see docs/measurements/identity-card.md.

use imagine_unet::WeightsError;

use super::cells::{EYES, HEAD, Window};
use super::landmarks::POINTS;
use super::packed::PackedWeights;
use super::pose::MeanShape;

const FILE: &str = "card.safetensors";
static WEIGHTS: &[u8] = include_bytes!("../../weights/card.safetensors");

/// Names of the probes and the windows that they look through.
pub const PROBES: [(&str, Window); 3] = [("glasses", EYES), ("long_hair", HEAD), ("hat", HEAD)];

/// A linear probe.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub weight: Vec<f32>,
    pub bias: f32,
}

impl Probe {
    /// How likely it is, 0 to 1; a half where the numbers are not those of its window.
    pub fn chance(&self, numbers: &[f32]) -> f32 {
        if numbers.len() != self.weight.len() {
            return 0.5;
        }
        let score = self.weight.iter().zip(numbers).map(|(w, v)| w * v).sum::<f32>() + self.bias;
        1.0 / (1.0 + (-score).exp())
    }
}

/// What was learnt from renders: the mean head and the probes, in the order of [`PROBES`].
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    pub shape: MeanShape,
    pub probes: [Probe; 3],
}

impl Judge {
    /// The one that belongs to this crate.
    ///
    /// # Errors
    /// Weights that do not fit: a damaged build.
    pub fn built_in() -> Result<Self, WeightsError> {
        Self::from_bytes(FILE, WEIGHTS)
    }

    /// From the bytes of a file like `weights/card.safetensors`: `shape` [68, 3], and `NAME.weight` [numbers of
    /// the window], `NAME.bias` [1] of every probe.
    ///
    /// # Errors
    /// As [`PackedWeights::get`], and tensors that do not belong here.
    pub fn from_bytes(file: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        let weights = PackedWeights::read(file, bytes)?;
        let numbers = |key: &str, shape: &[i64]| -> Result<Vec<f32>, WeightsError> {
            let tensor = weights.get(key, shape)?.flatten(0, -1);
            Vec::try_from(tensor).map_err(|source| WeightsError::Tensor { key: key.to_owned(), source })
        };
        let flat = numbers("shape", &[POINTS as i64, 3])?;
        let mut shape = [[0.0; 3]; POINTS];
        for (point, values) in shape.iter_mut().zip(flat.chunks_exact(3)) {
            point.copy_from_slice(values);
        }
        let probe = |n: usize| -> Result<Probe, WeightsError> {
            let (name, window) = PROBES[n];
            let weight = numbers(&format!("{name}.weight"), &[window.width() as i64])?;
            let bias = numbers(&format!("{name}.bias"), &[1])?.first().copied().unwrap_or(0.0);
            Ok(Probe { weight, bias })
        };
        let probes = [probe(0)?, probe(1)?, probe(2)?];
        weights.finish()?;
        Ok(Self { shape, probes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_a_weighted_sum_and_says_nothing_of_other_numbers() {
        let probe = Probe { weight: vec![2.0, -1.0], bias: 0.5 };
        assert!((probe.chance(&[1.0, 2.5]) - 0.5).abs() < 1e-6);
        assert!(probe.chance(&[5.0, 0.0]) > 0.999 && probe.chance(&[0.0, 9.0]) < 0.001);
        assert_eq!((probe.chance(&[]), probe.chance(&[9.0; 3])), (0.5, 0.5));
    }
}
