//! The tensors of a file that together change one layer.

use std::collections::BTreeMap;

use imagine_unet::lora::{Change, Factors, Product};
use imagine_unet::{Init, Weights};
use tch::{TchError, Tensor};

use super::header::Header;
use super::parts::Part;
use super::{LoraError, Network};

/// One layer's change.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) network: Network,
    /// The layer as it is to be looked up among those of the model.
    pub(super) name: String,
    /// The keys of its tensors.
    pub(super) parts: BTreeMap<Part, String>,
}

/// How a change is made of its tensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Algorithm {
    Lora,
    Loha,
    Lokr,
}

/// The tensors of a file, with what is known of it.
pub(super) struct Tensors<'a> {
    pub(super) weights: &'a Weights,
    pub(super) header: &'a Header,
    pub(super) file: &'a std::path::Path,
}

impl Tensors<'_> {
    fn get(&self, key: &str) -> Result<Tensor, LoraError> {
        let shape = self.weights.shape(key).unwrap_or_default();
        Ok(self.weights.root().get(key, &shape, Init::Zeros)?)
    }

    /// The one number that a tensor holds.
    fn number(&self, key: &str) -> Result<f64, LoraError> {
        if let Some(number) = self.header.integers.get(key) {
            return Ok(*number);
        }
        let tensor = self.get(key)?;
        match tensor.numel() {
            1 => Ok(tensor.flatten(0, -1).double_value(&[0])),
            _ => {
                Err(self
                    .unsupported(key, format!("an alpha of shape {:?}, expected one number", tensor.size())))
            }
        }
    }

    fn unsupported(&self, key: &str, reason: String) -> LoraError {
        LoraError::Unsupported { file: self.file.to_path_buf(), key: key.to_string(), reason }
    }
}

impl Entry {
    /// A key of the entry, for messages.
    pub(super) fn key(&self) -> &str {
        self.parts.values().next().map_or(&self.name, String::as_str)
    }

    pub(super) fn algorithm(&self) -> Algorithm {
        let has = |part: Part| self.parts.contains_key(&part);
        if [Part::Hada1A, Part::Hada1B, Part::Hada2A, Part::Hada2B].into_iter().any(has) {
            Algorithm::Loha
        } else if [Part::Lokr1, Part::Lokr1A, Part::Lokr2, Part::Lokr2A].into_iter().any(has) {
            Algorithm::Lokr
        } else {
            Algorithm::Lora
        }
    }

    pub(super) fn has_magnitude(&self) -> bool {
        self.parts.contains_key(&Part::Magnitude)
    }

    /// The rank, read off the shapes; `None` for two whole factors of LoKr.
    pub(super) fn rank(&self, weights: &Weights) -> Option<i64> {
        let parts = match self.algorithm() {
            Algorithm::Lora => [Part::Down, Part::Down],
            Algorithm::Loha => [Part::Hada1B, Part::Hada1B],
            Algorithm::Lokr => [Part::Lokr2B, Part::Lokr1B],
        };
        let key = parts.iter().find_map(|part| self.parts.get(part))?;
        weights.shape(key)?.first().copied()
    }

    /// Refuses an entry with tensors missing or of two kinds.
    pub(super) fn check(&self, tensors: &Tensors) -> Result<(), LoraError> {
        let (needed, may): (&[&[Part]], &[Part]) = match self.algorithm() {
            Algorithm::Lora => (&[&[Part::Down], &[Part::Up]], &[Part::Mid]),
            Algorithm::Loha => (
                &[&[Part::Hada1A], &[Part::Hada1B], &[Part::Hada2A], &[Part::Hada2B]],
                &[Part::Hada1Core, Part::Hada2Core],
            ),
            Algorithm::Lokr => (
                // Whole, or both of the pair.
                &[
                    &[Part::Lokr1, Part::Lokr1A],
                    &[Part::Lokr1, Part::Lokr1B],
                    &[Part::Lokr2, Part::Lokr2A],
                    &[Part::Lokr2, Part::Lokr2B],
                ],
                &[Part::Lokr2Core],
            ),
        };
        for ways in needed {
            if !ways.iter().any(|part| self.parts.contains_key(part)) {
                return Err(LoraError::Incomplete {
                    file: tensors.file.to_path_buf(),
                    key: self.key().to_string(),
                    missing: ways.last().map_or_else(String::new, |part| format!("{part:?}").to_lowercase()),
                });
            }
        }
        let known = |part: &Part| {
            matches!(part, Part::Alpha | Part::Magnitude)
                || may.contains(part)
                || needed.iter().any(|ways| ways.contains(part))
        };
        match self.parts.iter().find(|(part, _)| !known(part)) {
            None => Ok(()),
            Some((_, key)) => {
                Err(tensors.unsupported(key, format!("it stands beside \"{}\", of another kind", self.key())))
            }
        }
    }

    /// The change, `weight` times as strong, for a layer that the model calls `layer`. Its factors stay in
    /// the type of the file.
    pub(super) fn change(&self, tensors: &Tensors, layer: &str, weight: f64) -> Result<Change, LoraError> {
        let get = |part: Part| match self.parts.get(&part) {
            Some(key) => tensors.get(key).map(Some),
            None => Ok(None),
        };
        let need = |part: Part| {
            get(part)?.ok_or_else(|| LoraError::Incomplete {
                file: tensors.file.to_path_buf(),
                key: self.key().to_string(),
                missing: format!("{part:?}").to_lowercase(),
            })
        };
        let pair = |a: Part, b: Part, core: Part| -> Result<Product, LoraError> {
            let (a, b) = (need(a)?, need(b)?);
            Ok(match get(core)? {
                Some(core) => Product::Tucker { core, a, b },
                None => Product::Pair { a, b },
            })
        };
        let factors = match self.algorithm() {
            Algorithm::Lora => {
                let (a, b) = (need(Part::Up)?, need(Part::Down)?);
                Factors::Low(match get(Part::Mid)? {
                    // [out, r, 1, 1] → [r, out]
                    Some(core) => Product::Tucker { core, a: self.turned(tensors, &a)?, b },
                    None => Product::Pair { a, b },
                })
            }
            Algorithm::Loha => Factors::Hadamard(
                pair(Part::Hada1A, Part::Hada1B, Part::Hada1Core)?,
                pair(Part::Hada2A, Part::Hada2B, Part::Hada2Core)?,
            ),
            Algorithm::Lokr => Factors::Kronecker(
                match get(Part::Lokr1)? {
                    Some(whole) => Product::Whole(whole),
                    None => Product::Pair { a: need(Part::Lokr1A)?, b: need(Part::Lokr1B)? },
                },
                match get(Part::Lokr2)? {
                    Some(whole) => Product::Whole(whole),
                    None => pair(Part::Lokr2A, Part::Lokr2B, Part::Lokr2Core)?,
                },
            ),
        };
        let scale = self.scale(tensors, layer)? * weight;
        Ok(Change { factors, scale, magnitude: get(Part::Magnitude)? })
    }

    fn turned(&self, tensors: &Tensors, up: &Tensor) -> Result<Tensor, LoraError> {
        let turn = || -> Result<Tensor, TchError> { up.f_flatten(1, -1)?.f_transpose(0, 1) };
        turn().map_err(|source| LoraError::Tensor {
            file: tensors.file.to_path_buf(),
            key: self.key().to_string(),
            source,
        })
    }

    /// Alpha over rank; 1 where the file says nothing. LoKr of two whole factors knows no rank and no scale.
    fn scale(&self, tensors: &Tensors, layer: &str) -> Result<f64, LoraError> {
        let Some(rank) = self.rank(tensors.weights) else { return Ok(1.0) };
        match self.parts.get(&Part::Alpha) {
            Some(key) => Ok(tensors.number(key)? / rank as f64),
            None => {
                let scales = tensors.header.scales.as_ref();
                Ok(scales.and_then(|scales| scales.of(self.network, layer, rank)).unwrap_or(1.0))
            }
        }
    }

    /// The shape of the weight that the change is for: (outputs, all other dimensions); those of a
    /// convolution may be known as their product alone.
    pub(super) fn target(&self, weights: &Weights) -> Option<(i64, Vec<i64>)> {
        let shape = |part: Part| weights.shape(self.parts.get(&part)?);
        let at = |shape: &Vec<i64>, i: usize| shape.get(i).copied();
        let kernel =
            |shape: Option<Vec<i64>>| shape.map_or_else(Vec::new, |s| s.get(2..).unwrap_or(&[]).to_vec());
        let tail = |shape: Vec<i64>| shape.get(1..).map(<[i64]>::to_vec);
        match self.algorithm() {
            Algorithm::Lora => {
                let out = at(&shape(Part::Up)?, 0)?;
                let down = shape(Part::Down)?;
                match shape(Part::Mid) {
                    Some(core) => Some((out, [vec![at(&down, 1)?], kernel(Some(core))].concat())),
                    None => Some((out, tail(down)?)),
                }
            }
            Algorithm::Loha => {
                let (a, b) = (shape(Part::Hada1A)?, shape(Part::Hada1B)?);
                match shape(Part::Hada1Core) {
                    Some(core) => Some((at(&a, 1)?, [vec![at(&b, 1)?], kernel(Some(core))].concat())),
                    None => Some((at(&a, 0)?, tail(b)?)),
                }
            }
            Algorithm::Lokr => {
                let (out1, in1) = match shape(Part::Lokr1) {
                    Some(whole) => (at(&whole, 0)?, at(&whole, 1)?),
                    None => (at(&shape(Part::Lokr1A)?, 0)?, at(&shape(Part::Lokr1B)?, 1)?),
                };
                let (out2, in2, rest) = match (shape(Part::Lokr2), shape(Part::Lokr2Core)) {
                    (Some(whole), _) => (at(&whole, 0)?, at(&whole, 1)?, kernel(Some(whole))),
                    (None, Some(core)) => {
                        (at(&shape(Part::Lokr2A)?, 1)?, at(&shape(Part::Lokr2B)?, 1)?, kernel(Some(core)))
                    }
                    (None, None) => {
                        (at(&shape(Part::Lokr2A)?, 0)?, at(&shape(Part::Lokr2B)?, 1)?, Vec::new())
                    }
                };
                Some((out1.checked_mul(out2)?, [vec![in1.checked_mul(in2)?], rest].concat()))
            }
        }
    }
}
