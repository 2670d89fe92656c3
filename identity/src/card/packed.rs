//! Weights kept in 8 bits: `KEY` holds bytes, `KEY.range` a scale and a least value, and the number is
//! byte · scale + least, as TensorFlow.js computes it (in f64, then rounded to f32). Tensors without a range
//! are plain f32.
//!
//! As strict as [`imagine_unet::Weights`]: a network asks for each tensor by key and shape, and what is left
//! over at the end is refused.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;

use imagine_unet::WeightsError;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tch::{Kind, Tensor};

/// A safetensors file of packed weights, in memory.
pub struct PackedWeights<'a> {
    file: PathBuf,
    tensors: SafeTensors<'a>,
    used: RefCell<BTreeSet<String>>,
}

impl<'a> PackedWeights<'a> {
    /// Reads the header; `file` names the bytes in errors.
    ///
    /// # Errors
    /// [`WeightsError::Format`].
    pub fn read(file: impl Into<PathBuf>, bytes: &'a [u8]) -> Result<Self, WeightsError> {
        let file = file.into();
        match SafeTensors::deserialize(bytes) {
            Ok(tensors) => Ok(Self { file, tensors, used: RefCell::default() }),
            Err(error) => Err(WeightsError::Format { file, reason: format!("{error:?}") }),
        }
    }

    /// The tensor `key`, of exactly this shape, f32 on the CPU.
    ///
    /// # Errors
    /// A key that is missing, another shape or type, a number that is not finite.
    pub fn get(&self, key: &str, shape: &[i64]) -> Result<Tensor, WeightsError> {
        let view = self.view(key, shape)?;
        let tensor = match view.dtype() {
            Dtype::F32 => Tensor::f_from_data_size(view.data(), shape, Kind::Float),
            Dtype::U8 => {
                let range = format!("{key}.range");
                let [scale, least] = self.range(&range)?;
                Tensor::f_from_data_size(view.data(), shape, Kind::Uint8)
                    .and_then(|bytes| bytes.to_kind(Kind::Double).f_mul_scalar(scale)?.f_add_scalar(least))
                    .map(|values| values.to_kind(Kind::Float))
            }
            other => {
                let (file, key) = (self.file.clone(), key.to_owned());
                return Err(WeightsError::Type { file, key, found: format!("{other:?}") });
            }
        };
        let tensor = tensor.map_err(|source| WeightsError::Tensor { key: key.to_owned(), source })?;
        if tensor.isfinite().all().int64_value(&[]) == 0 {
            return Err(WeightsError::NotFinite { file: self.file.clone(), key: key.to_owned() });
        }
        Ok(tensor)
    }

    /// Refuses tensors that nobody has asked for.
    ///
    /// # Errors
    /// [`WeightsError::Unexpected`].
    pub fn finish(&self) -> Result<(), WeightsError> {
        let used = self.used.borrow();
        let mut extra: Vec<&str> =
            self.tensors.names().into_iter().filter(|&name| !used.contains(name)).collect();
        extra.sort_unstable();
        match extra.first() {
            None => Ok(()),
            Some(&first) => Err(WeightsError::Unexpected {
                file: self.file.clone(),
                count: extra.len(),
                first: first.to_owned(),
            }),
        }
    }

    /// The bytes of a tensor whose shape has been checked.
    fn view(&self, key: &str, shape: &[i64]) -> Result<TensorView<'_>, WeightsError> {
        let missing = || WeightsError::Missing { file: self.file.clone(), key: key.to_owned() };
        let view = self.tensors.tensor(key).map_err(|_| missing())?;
        let found: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        if found != shape {
            let (file, key, expected) = (self.file.clone(), key.to_owned(), shape.to_vec());
            return Err(WeightsError::Shape { file, key, expected, found });
        }
        self.used.borrow_mut().insert(key.to_owned());
        Ok(view)
    }

    /// Scale and least value.
    fn range(&self, key: &str) -> Result<[f64; 2], WeightsError> {
        let view = self.view(key, &[2])?;
        let numbers: Vec<f64> = match view.dtype() {
            Dtype::F64 => view
                .data()
                .chunks_exact(8)
                .filter_map(|b| Some(f64::from_le_bytes(b.try_into().ok()?)))
                .collect(),
            other => {
                let (file, key) = (self.file.clone(), key.to_owned());
                return Err(WeightsError::Type { file, key, found: format!("{other:?}") });
            }
        };
        match numbers[..] {
            [scale, least] if scale.is_finite() && least.is_finite() => Ok([scale, least]),
            _ => Err(WeightsError::NotFinite { file: self.file.clone(), key: key.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn file(parts: &[(&str, Dtype, Vec<usize>, Vec<u8>)]) -> Vec<u8> {
        let views = parts
            .iter()
            .map(|(key, dtype, shape, data)| (*key, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn range(scale: f64, least: f64) -> Vec<u8> {
        [scale, least].iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn bytes_become_numbers() {
        let bytes = file(&[
            ("a", Dtype::U8, vec![3], vec![0, 1, 255]),
            ("a.range", Dtype::F64, vec![2], range(0.5, -2.0)),
            ("b", Dtype::F32, vec![1], 7f32.to_le_bytes().to_vec()),
        ]);
        let weights = PackedWeights::read("w", &bytes).unwrap();
        let numbers: Vec<f32> = weights.get("a", &[3]).unwrap().try_into().unwrap();
        assert_eq!(numbers, [-2.0, -1.5, 125.5]);
        let error = weights.finish().unwrap_err().to_string();
        assert!(error.contains('w') && error.contains("\"b\""), "{error}");
        assert_eq!(weights.get("b", &[1]).unwrap().double_value(&[0]), 7.0);
        weights.finish().unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let bytes = file(&[
            ("a", Dtype::U8, vec![3], vec![0, 1, 255]),
            ("a.range", Dtype::F64, vec![2], range(f64::NAN, 0.0)),
            ("b", Dtype::U8, vec![1], vec![9]),
            ("c", Dtype::I64, vec![1], vec![0; 8]),
            ("d", Dtype::F32, vec![1], f32::INFINITY.to_le_bytes().to_vec()),
        ]);
        let weights = PackedWeights::read("the.file", &bytes).unwrap();
        let error = |key, shape: &[i64]| weights.get(key, shape).unwrap_err().to_string();
        for (key, shape, words) in [
            ("a", [3].as_slice(), "\"a.range\" holds NaN"),
            ("a", &[4], "\"a\" has shape [3], expected [4]"),
            ("b", &[1], "\"b.range\" is missing"),
            ("c", &[1], "\"c\" has type I64"),
            ("d", &[1], "\"d\" holds NaN or infinite"),
            ("e", &[1], "\"e\" is missing"),
        ] {
            let found = error(key, shape);
            assert!(found.contains("the.file") && found.contains(words), "{found}");
        }
        for end in [0, 7, 20, bytes.len() - 1] {
            assert!(matches!(PackedWeights::read("w", &bytes[..end]), Err(WeightsError::Format { .. })));
        }
    }
}
