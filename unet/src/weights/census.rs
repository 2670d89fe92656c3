//! Looking at whole files: which types their tensors have, and whether every one of them can be read.

use std::collections::BTreeMap;

use tch::{Device, Kind};

use super::error::WeightsError;
use super::files::TensorFiles;
use super::pages::MappedPages;
use super::stored::{StoredTensor, StoredType};

/// Tensors of one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeShare {
    /// As safetensors names it in lower case (`f32`, `f16`, `bf16`, `f8_e4m3`); of types that are no weights, as the
    /// file does.
    pub name: String,
    pub tensors: usize,
    /// Numbers in them.
    pub elements: u64,
}

fn type_name(dtype: &StoredType) -> String {
    match dtype {
        StoredType::Weight(Kind::Double) => "f64".into(),
        StoredType::Weight(Kind::Float) => "f32".into(),
        StoredType::Weight(Kind::Half) => "f16".into(),
        StoredType::Weight(Kind::BFloat16) => "bf16".into(),
        StoredType::Weight(Kind::Float8e4m3fn) => "f8_e4m3".into(),
        StoredType::Weight(Kind::Float8e5m2) => "f8_e5m2".into(),
        StoredType::Weight(other) => format!("{other:?}").to_lowercase(),
        StoredType::Other(name) => name.to_lowercase(),
    }
}

/// What training programs save beside the weights: OpenCLIP's mask, infinite where nothing is to be seen, and the constants
/// of the noise schedule, infinite where it ends in pure noise. No model reads them.
fn is_constant(key: &str) -> bool {
    key.ends_with("attn_mask") || !key.contains('.')
}

fn elements(tensor: &StoredTensor) -> u64 {
    tensor.shape().iter().fold(1, |n: u64, &d| n.saturating_mul(d.unsigned_abs()))
}

impl TensorFiles {
    /// The types of the tensors, those with most numbers first.
    pub fn types(&self) -> Vec<TypeShare> {
        let mut shares: BTreeMap<String, (usize, u64)> = BTreeMap::new();
        for tensor in self.tensors().values() {
            let (tensors, numbers) = shares.entry(type_name(tensor.dtype())).or_default();
            *tensors += 1;
            *numbers = numbers.saturating_add(elements(tensor));
        }
        let mut types: Vec<TypeShare> = shares
            .into_iter()
            .map(|(name, (tensors, elements))| TypeShare { name, tensors, elements })
            .collect();
        types.sort_by_key(|share| std::cmp::Reverse(share.elements));
        types
    }

    /// Reads every tensor once, in the order of their keys: the errors of those that cannot be used (NaN, infinite
    /// values, a file that has become shorter). Passed over is what is no weight, by its type or its key. `go_on` is asked before each;
    /// nothing more is read once it says no.
    pub fn check_all(&self, go_on: &mut dyn FnMut() -> bool) -> Vec<WeightsError> {
        let mut errors = Vec::new();
        for key in self.keys() {
            if !go_on() {
                break;
            }
            if is_constant(&key) {
                continue;
            }
            let Some(tensor) = self.tensors().get(&key) else { continue };
            let kind = match tensor.dtype() {
                StoredType::Other(_) => continue,
                // In its own type, so that nothing is copied, where that can hold a scaled weight.
                StoredType::Weight(kind @ (Kind::Double | Kind::Float | Kind::Half | Kind::BFloat16)) => {
                    *kind
                }
                StoredType::Weight(_) => Kind::Float,
            };
            let mut pages = MappedPages::default();
            if let Err(error) = self.read(&key, tensor, Device::Cpu, kind, true, &mut pages) {
                errors.push(error);
            }
            pages.release();
        }
        errors
    }
}
