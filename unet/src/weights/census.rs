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

/// What came of reading every tensor.
#[derive(Debug, Default)]
pub struct ReadAll {
    /// Tensors that were read.
    pub read: usize,
    /// Those that cannot be used.
    pub errors: Vec<WeightsError>,
}

fn elements(tensor: &StoredTensor) -> u64 {
    tensor.shape().iter().fold(1, |n: u64, &d| n.saturating_mul(d.unsigned_abs()))
}

/// In the file.
fn bytes(tensor: &StoredTensor) -> u64 {
    match tensor.dtype() {
        StoredType::Weight(kind) => elements(tensor).saturating_mul(kind.elt_size_in_bytes() as u64),
        StoredType::Other(_) => 0,
    }
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

    /// Reads every tensor once, in the order of their keys, and tells those that cannot be used (NaN, infinite
    /// values, a file that has become shorter). Passed over is what is no weight, by its type or, as `passed_over` says,
    /// by its key. `go_on` is asked before each, with the bytes of the one before; nothing more is read once it says no.
    pub fn read_all(
        &self,
        passed_over: &dyn Fn(&str) -> bool,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> ReadAll {
        let mut all = ReadAll::default();
        let mut before = 0;
        for key in self.keys() {
            if !go_on(before) {
                break;
            }
            let Some(tensor) = self.tensors().get(&key) else { continue };
            before = bytes(tensor);
            if passed_over(&key) {
                continue;
            }
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
                all.errors.push(error);
            }
            all.read += 1;
            pages.release();
        }
        all
    }
}
