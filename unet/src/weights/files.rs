//! Weight files of any format mapped into memory, and where in them each tensor lies.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::{MmapMut, MmapOptions, UncheckedAdvice};
use tch::{Device, Kind, TchError, Tensor};

use super::error::WeightsError;
use super::pages::{self, MappedPages, MappedTensor};
use super::stored::{StoredTensor, StoredType};
use super::{safetensors_file, scaled, sharded, torch_legacy, torch_pickle, torch_zip};

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub tensors: Vec<(String, StoredTensor)>,
    /// Plain numbers beside the tensors of a pickle, such as `global_step`.
    pub numbers: BTreeMap<String, f64>,
    /// The text entries of a safetensors header (`__metadata__`).
    pub metadata: HashMap<String, String>,
}

struct MappedFile {
    path: PathBuf,
    /// Private to this process: nothing that is written to a tensor in it reaches the file.
    map: Arc<MmapMut>,
}

impl MappedFile {
    /// The tensor where it lies, without a copy: memory then holds the weights once, and only as pages that
    /// the system can drop and read again.
    fn in_place(&self, stored: &StoredTensor, kind: Kind) -> Option<Result<Tensor, TchError>> {
        // SAFETY: the map is given up for lost below, so the bytes stay for as long as the process lives.
        let tensor = unsafe { stored.in_place(&self.map, kind)? };
        // A tensor cannot own a map. What is lost when a model is dropped is address space, not memory.
        std::mem::forget(Arc::clone(&self.map));
        Some(tensor)
    }

    /// Lets the system take back the pages of a tensor that has been copied.
    fn forget_pages(&self, stored: &StoredTensor, kind: Kind) {
        let range = stored.range(kind);
        // SAFETY: no page of the map is ever written, so a dropped page is read again from the file with
        // the same content. Advice that is not taken costs nothing.
        let _ =
            unsafe { self.map.unchecked_advise_range(UncheckedAdvice::DontNeed, range.start, range.len()) };
    }
}

/// Tensors of one or several weight files: safetensors, or the zip and the older container of
/// `torch.save`, told apart by content. Files are mapped into memory; no tensor is read before it is
/// asked for.
pub struct TensorFiles {
    files: Vec<MappedFile>,
    tensors: HashMap<String, StoredTensor>,
    numbers: BTreeMap<String, f64>,
    metadata: HashMap<String, String>,
}

impl TensorFiles {
    /// Maps files. A path that ends in `.json` is taken for an index of shards.
    pub fn open(paths: &[PathBuf]) -> Result<Self, WeightsError> {
        let mut all = Self {
            files: Vec::with_capacity(paths.len()),
            tensors: HashMap::new(),
            numbers: BTreeMap::new(),
            metadata: HashMap::new(),
        };
        for path in paths {
            if path.extension().is_some_and(|end| end == "json") {
                let index = sharded::ShardIndex::read(path)?;
                for shard in index.files()? {
                    all.add(&shard)?;
                }
                index.check(|key| Some(all.path_of(all.tensors.get(key)?)))?;
            } else {
                all.add(path)?;
            }
        }
        all.attach_scales()?;
        Ok(all)
    }

    /// Puts the scales of weights of eight bits to their weights.
    fn attach_scales(&mut self) -> Result<(), WeightsError> {
        let files = &self.files;
        let path_of =
            |tensor: &StoredTensor| files.get(tensor.file).map(|f| f.path.clone()).unwrap_or_default();
        let bytes_of = |tensor: &StoredTensor| {
            let start = tensor.start();
            let length = usize::try_from(tensor.shape().iter().product::<i64>()).ok()?;
            let end = start.checked_add(length)?;
            files.get(tensor.file)?.map.get(start..end).map(<[u8]>::to_vec)
        };
        scaled::attach(&mut self.tensors, &scaled::Files { path_of: &path_of, bytes_of: &bytes_of })
    }

    /// Maps the weights of a model folder of a diffusers or transformers checkpoint: safetensors before
    /// pickles, full precision before a half-precision variant, one file before shards.
    pub fn open_folder(dir: &Path) -> Result<Self, WeightsError> {
        Self::open(&[sharded::find_in_folder(dir)?])
    }

    fn add(&mut self, path: &Path) -> Result<(), WeightsError> {
        let map = map_file(path)?;
        let contents = read_contents(path, &map, self.files.len())?;
        for (key, tensor) in contents.tensors {
            if self.tensors.insert(key.clone(), tensor).is_some() {
                return Err(WeightsError::Twice { file: path.to_path_buf(), key });
            }
        }
        self.numbers.extend(contents.numbers);
        self.metadata.extend(contents.metadata);
        self.files.push(MappedFile { path: path.to_path_buf(), map: Arc::new(map) });
        Ok(())
    }

    /// The first of the files, to name them all in an error.
    pub fn path(&self) -> PathBuf {
        self.files.first().map(|f| f.path.clone()).unwrap_or_default()
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = self.tensors.keys().cloned().collect();
        keys.sort();
        keys
    }

    /// The shape of a tensor, if the files hold it.
    pub fn shape(&self, key: &str) -> Option<&[i64]> {
        self.tensors.get(key).map(StoredTensor::shape)
    }

    /// A plain number that stands beside the tensors in a pickle, such as `global_step`.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.numbers.get(key).copied()
    }

    /// An entry of the safetensors header's `__metadata__`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    pub(super) fn tensors(&self) -> &HashMap<String, StoredTensor> {
        &self.tensors
    }

    /// The file in which a tensor lies.
    pub(super) fn path_of(&self, tensor: &StoredTensor) -> PathBuf {
        self.files.get(tensor.file).map(|f| f.path.clone()).unwrap_or_default()
    }

    /// The tensor in `kind` on `device`; an error if it holds NaN or infinite values, for which `check_mapped`
    /// looks at tensors that stay where they lie. `key` is for errors; `pages` gets those that the tensor lies
    /// in, if it is not a copy.
    pub(super) fn read(
        &self,
        key: &str,
        stored: &StoredTensor,
        device: Device,
        kind: Kind,
        check_mapped: bool,
        pages: &mut MappedPages,
    ) -> Result<Tensor, WeightsError> {
        let of = |source| WeightsError::tensor(key, source);
        let file = || self.path_of(stored);
        let from = match stored.dtype() {
            StoredType::Weight(from) => *from,
            StoredType::Other(found) => {
                let (file, key, found) = (file(), key.to_string(), found.clone());
                return Err(WeightsError::Type { file, key, found });
            }
        };
        let Some(mapped) = self.files.get(stored.file) else {
            return Err(WeightsError::Missing { file: file(), key: key.to_string() });
        };
        let as_it_lies =
            if from == kind && device == Device::Cpu { mapped.in_place(stored, kind) } else { None };
        if let Some(tensor) = as_it_lies {
            let tensor = tensor.map_err(of)?;
            if check_mapped {
                pages::check_finite(&tensor, &file(), key)?;
            }
            let (map, range) = (Arc::clone(&mapped.map), stored.range(kind));
            pages.add(MappedTensor {
                map,
                range,
                file: file(),
                key: key.into(),
                tensor: tensor.shallow_clone(),
            });
            return Ok(tensor);
        }
        // A scale is multiplied in f32: in the half types it would be rounded twice.
        let read_in = if stored.scale.is_some() { Kind::Float } else { kind };
        let mut tensor = Tensor::f_empty(stored.shape(), (read_in, device)).map_err(of)?;
        stored.copy_into(&mapped.map, from, &mut tensor).map_err(of)?;
        mapped.forget_pages(stored, from);
        if let Some(scale) = &stored.scale {
            let scale = self.read(key, scale, device, Kind::Float, true, &mut MappedPages::default())?;
            let scaled = tensor.f_mul(&scale);
            tensor = scaled.and_then(|scaled| scaled.f_to_kind(kind)).map_err(of)?;
        }
        pages::check_finite(&tensor, &file(), key)?;
        Ok(tensor)
    }
}

fn map_file(path: &Path) -> Result<MmapMut, WeightsError> {
    let open = |source| WeightsError::Open { file: path.to_path_buf(), source };
    let file = File::open(path).map_err(open)?;
    // SAFETY: a file that another process truncates meanwhile would fault; weight files are written whole
    // and renamed into place, as every loader that maps them assumes.
    unsafe { MmapOptions::new().map_copy(&file) }.map_err(open)
}

/// Names of files that `torch.save` writes.
fn has_torch_name(path: &Path) -> bool {
    matches!(ending(path).as_str(), "bin" | "pt" | "pth" | "ckpt" | "pkl")
}

/// Whether a file is called as files of weights are: `.safetensors`, or as `torch.save` writes them.
pub fn has_weight_name(path: &Path) -> bool {
    ending(path) == "safetensors" || has_torch_name(path)
}

fn ending(path: &Path) -> String {
    path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase()
}

fn read_contents(path: &Path, bytes: &[u8], file: usize) -> Result<Contents, WeightsError> {
    let pickled = |error: torch_pickle::TorchError| error.in_file(path);
    if torch_zip::is_zip(bytes) {
        return torch_zip::read(bytes, file).map_err(pickled);
    }
    if torch_legacy::is_legacy(bytes) {
        return torch_legacy::read(bytes, file).map_err(pickled);
    }
    let looks_like_safetensors = bytes.get(8) == Some(&b'{');
    if has_torch_name(path) && !looks_like_safetensors {
        let reason = if bytes.starts_with(b"version https://git-lfs") {
            "it is a Git LFS pointer, not the file itself".to_string()
        } else {
            "neither the zip container of torch.save nor its older format".to_string()
        };
        return Err(WeightsError::Torch { file: path.to_path_buf(), reason });
    }
    safetensors_file::read(bytes, file)
        .map_err(|reason| WeightsError::Format { file: path.to_path_buf(), reason })
}
