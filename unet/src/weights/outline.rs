//! Models without their weights: every tensor has its shape and no memory of its own. So a file is held against a
//! model without being read, and all that does not fit is told, not the first thing alone.

use std::cell::RefCell;

use tch::{Device, Kind, Tensor};

use super::error::WeightsError;
use super::{Entry, Origin, Weights};

impl Weights {
    /// Reads nothing, and notes what a model asks for that is missing or has another shape, and what
    /// [`Weights::finish`] finds left over, instead of refusing it. The models that are built are of no use.
    pub fn outline(self) -> Self {
        Self { outline: Some(RefCell::default()), ..self }
    }

    /// No files: whatever a model asks for is there, in outline. Afterwards its keys and shapes are known.
    pub fn of_model() -> Self {
        Self::fresh(Device::Cpu, Kind::Float).outline()
    }

    /// What has been noted, in the order in which it was found.
    pub fn take_noted(&self) -> Vec<WeightsError> {
        self.outline.as_ref().map(RefCell::take).unwrap_or_default()
    }

    pub(super) fn get_outline(
        &self,
        noted: &RefCell<Vec<WeightsError>>,
        key: &str,
        shape: &[i64],
    ) -> Result<Tensor, WeightsError> {
        let tensor =
            Tensor::f_zeros([1], (self.kind, self.device)).and_then(|zero| zero.f_expand(shape, false));
        let tensor = tensor.map_err(|source| WeightsError::tensor(key, source))?;
        match &self.origin {
            Origin::Files { files, entries } => {
                if let Err(error) = Entry::fitting(files, entries, key, shape) {
                    noted.borrow_mut().push(error);
                }
            }
            Origin::Fresh { parameters } => {
                parameters.borrow_mut().insert(key.to_string(), tensor.shallow_clone());
            }
        }
        self.used.borrow_mut().insert(key.to_string());
        Ok(tensor)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::*;
    use crate::weights::Init;

    #[test]
    fn all_that_does_not_fit_is_noted() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("some.safetensors");
        let nan = [f32::NAN; 6].map(f32::to_le_bytes).concat();
        let view = |shape: &[usize]| TensorView::new(Dtype::F32, shape.to_vec(), &nan).unwrap();
        let tensors =
            [("fits", view(&[2, 3])), ("turned", view(&[3, 2])), ("spare", view(&[6])), ("old", view(&[6]))];
        safetensors::serialize_to_file(tensors, None, &file).unwrap();
        let weights = Weights::open(&[file], Device::Cpu, Kind::Float).unwrap().outline();
        for name in ["fits", "turned", "gone", "gone.too"] {
            assert_eq!(weights.root().get(name, &[2, 3], Init::Zeros).unwrap().size(), [2, 3]);
        }
        weights.finish(&["old"]).unwrap();
        let noted: Vec<String> = weights.take_noted().iter().map(ToString::to_string).collect();
        let says = [
            ("turned", "[3, 2]"),
            ("gone", "missing"),
            ("gone.too", "missing"),
            ("spare", "does not belong"),
        ];
        assert_eq!(noted.len(), says.len(), "{noted:?}");
        for (line, (key, what)) in noted.iter().zip(says) {
            assert!(line.contains(&format!("\"{key}\"")) && line.contains(what), "{line}");
            assert!(line.contains("some.safetensors"), "{line}");
        }
        assert!(weights.take_noted().is_empty());
    }

    #[test]
    fn a_model_of_its_own_takes_no_memory() {
        let weights = Weights::of_model();
        let large = weights.root().get("large", &[1 << 30, 1 << 10], Init::FanIn).unwrap();
        assert_eq!((large.size(), large.is_contiguous()), (vec![1 << 30, 1 << 10], false));
        assert_eq!(weights.shape("large"), Some(vec![1 << 30, 1 << 10]));
        assert!(weights.take_noted().is_empty());
    }
}
