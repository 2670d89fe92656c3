//! The pages of weight files in which a model's tensors lie.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{MmapMut, UncheckedAdvice};
use tch::Tensor;

use super::error::WeightsError;

/// One tensor that lies in a mapped file, and where.
pub(super) struct MappedTensor {
    pub map: Arc<MmapMut>,
    pub range: Range<usize>,
    pub file: PathBuf,
    pub key: String,
    pub tensor: Tensor,
}

// SAFETY: the tensor is only ever read, and it lies in a mapping that is never written.
unsafe impl Sync for MappedTensor {}

/// Parts of mapped files that tensors are used in without a copy. While a network rests, its pages need not
/// count as this process's memory: they are read again from the file, or from the system's cache of it, where
/// a tensor is next used.
#[derive(Clone, Default)]
pub struct MappedPages {
    parts: Vec<Arc<MappedTensor>>,
}

impl MappedPages {
    pub(super) fn add(&mut self, part: MappedTensor) {
        self.parts.push(Arc::new(part));
    }

    /// Bytes of all parts together.
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|part| part.range.len()).sum()
    }

    /// Lets the system take the pages back. The tensors stay as they are.
    pub fn release(&self) {
        for part in &self.parts {
            let (start, length) = (part.range.start, part.range.len());
            // SAFETY: no page of a weight file's map is ever written, so a dropped page is read again from
            // the file with the same content. Advice that is not taken costs nothing.
            let _ = unsafe { part.map.unchecked_advise_range(UncheckedAdvice::DontNeed, start, length) };
        }
    }

    /// Looks at every value.
    ///
    /// # Errors
    /// [`WeightsError::NotFinite`] with the first tensor that holds NaN or infinite values.
    pub fn check_finite(&self) -> Result<(), WeightsError> {
        self.parts.iter().try_for_each(|part| check_finite(&part.tensor, &part.file, &part.key))
    }
}

pub(super) fn check_finite(tensor: &Tensor, file: &Path, key: &str) -> Result<(), WeightsError> {
    if tensor.numel() == 0 {
        return Ok(());
    }
    // One pass without a temporary: NaN propagates into both, infinity shows in one.
    let (low, high) = tensor.f_aminmax(None, false).map_err(|source| WeightsError::tensor(key, source))?;
    if low.double_value(&[]).is_finite() && high.double_value(&[]).is_finite() {
        return Ok(());
    }
    Err(WeightsError::NotFinite { file: file.to_path_buf(), key: key.to_string() })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use std::collections::HashMap;
    use std::fs;

    use safetensors::tensor::{Dtype, TensorView};
    use tch::{Device, Kind, Tensor};

    use crate::weights::{Init, Weights, WeightsError};

    /// Resident kilobytes of the mapping of that file.
    fn resident(file: &str) -> u64 {
        let maps = fs::read_to_string("/proc/self/smaps").unwrap();
        let mut lines = maps.lines().skip_while(|line| !line.ends_with(file));
        let rss = lines.find(|line| line.starts_with("Rss:")).unwrap();
        rss.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn released_pages_are_no_memory_and_their_tensors_stay() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pages.safetensors");
        let values: Vec<u8> = (0..1u32 << 20).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![1 << 20], &values).unwrap();
        safetensors::serialize_to_file(HashMap::from([("w", view)]), None, &file).unwrap();
        let name = file.to_str().unwrap();

        let weights = Weights::open(std::slice::from_ref(&file), Device::Cpu, Kind::Float).unwrap();
        let tensor = weights.root().get("w", &[1 << 20], Init::Zeros).unwrap();
        let pages = weights.pages();
        assert_eq!(pages.bytes(), 4 << 20);
        assert!(resident(name) >= 4 << 10, "read to be checked");
        pages.release();
        assert!(resident(name) < 1 << 10, "{} kB stay", resident(name));
        let expected = Tensor::arange(1i64 << 20, (Kind::Float, Device::Cpu));
        assert_eq!(tensor, expected);
        pages.check_finite().unwrap();

        // What is converted is a copy, which is no page of the file.
        let half = Weights::open(&[file], Device::Cpu, Kind::BFloat16).unwrap();
        let copy = half.root().get("w", &[1 << 20], Init::Zeros).unwrap();
        assert_eq!(copy.kind(), Kind::BFloat16);
        assert_eq!(half.pages().bytes(), 0);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn unread_tensors_are_looked_at_when_they_are_asked_to() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("unread.safetensors");
        let mut values = vec![0f32; 1 << 20];
        values[777_777] = f32::NAN;
        let values: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = TensorView::new(Dtype::F32, vec![1 << 20], &values).unwrap();
        safetensors::serialize_to_file(HashMap::from([("w", view)]), None, &file).unwrap();

        let open = || Weights::open(std::slice::from_ref(&file), Device::Cpu, Kind::Float).unwrap();
        let get = |weights: &Weights| weights.root().get("w", &[1 << 20], Init::Zeros).map(drop);
        assert!(matches!(get(&open()), Err(WeightsError::NotFinite { .. })));

        let unread = open().unread();
        get(&unread).unwrap();
        assert!(resident(file.to_str().unwrap()) < 1 << 10);
        let error = unread.pages().check_finite().unwrap_err().to_string();
        assert!(error.contains("unread.safetensors") && error.contains("\"w\""), "{error}");
    }
}
