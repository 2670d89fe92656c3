//! Glasses, long hair, hat: linear probes on the cells of a window, trained on renders by training/card/gates.py
//! and kept with the mean head in weights/card.safetensors. Probes for beards and bald heads were tried and did
//! not carry over to photos; see docs/measurements/identity-card.md. Sex and age: probes on the descriptor, trained
//! on photos by training/card/traits.py.

use imagine_unet::WeightsError;

use super::cells::{EYES, HEAD, Window};
use super::descriptor::DESCRIPTOR_WIDTH;
use super::landmarks::POINTS;
use super::packed::PackedWeights;
use super::pose::MeanShape;

const FILE: &str = "card.safetensors";
static WEIGHTS: &[u8] = include_bytes!("../../weights/card.safetensors");
const MEAN: &str = "descriptor.mean";

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
        self.value(numbers).map_or(0.5, |score| 1.0 / (1.0 + (-score).exp()))
    }

    /// The weighted sum itself; `None` where the numbers are not its own.
    pub fn value(&self, numbers: &[f32]) -> Option<f32> {
        let sum = || self.weight.iter().zip(numbers).map(|(w, v)| w * v).sum::<f32>();
        (numbers.len() == self.weight.len()).then(|| sum() + self.bias)
    }
}

/// What was learnt from renders: the mean head and the probes, in the order of [`PROBES`]. From photos: the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    pub shape: MeanShape,
    pub probes: [Probe; 3],
    /// Whether a descriptor is a woman's.
    pub woman: Probe,
    /// Its [`Probe::value`] is an age in years.
    pub years: Probe,
}

impl Judge {
    /// The one that belongs to this crate.
    ///
    /// # Errors
    /// Weights that do not fit: a damaged build.
    pub fn built_in() -> Result<Self, WeightsError> {
        Self::from_bytes(FILE, WEIGHTS)
    }

    /// From the bytes of a file like `weights/card.safetensors`: `shape` [68, 3], `NAME.weight` [numbers of
    /// the window], `NAME.bias` [1] of every probe, and `descriptor.mean` [128], which [`descriptor_mean`] reads.
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
        let probe = |name: &str, width: usize| -> Result<Probe, WeightsError> {
            let weight = numbers(&format!("{name}.weight"), &[width as i64])?;
            let bias = numbers(&format!("{name}.bias"), &[1])?.first().copied().unwrap_or(0.0);
            Ok(Probe { weight, bias })
        };
        let of_window = |n: usize| probe(PROBES[n].0, PROBES[n].1.width());
        let probes = [of_window(0)?, of_window(1)?, of_window(2)?];
        let (woman, years) = (probe("woman", DESCRIPTOR_WIDTH)?, probe("years", DESCRIPTOR_WIDTH)?);
        numbers(MEAN, &[DESCRIPTOR_WIDTH as i64])?;
        weights.finish()?;
        Ok(Self { shape, probes, woman, years })
    }
}

/// The mean descriptor of photos, from which a card's numbers count.
///
/// # Errors
/// As [`Judge::built_in`].
pub fn descriptor_mean() -> Result<Vec<f32>, WeightsError> {
    let tensor = PackedWeights::read(FILE, WEIGHTS)?.get(MEAN, &[DESCRIPTOR_WIDTH as i64])?;
    Vec::try_from(tensor).map_err(|source| WeightsError::Tensor { key: MEAN.to_owned(), source })
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
