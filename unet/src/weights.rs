//! The strict weight loader.
//!
//! A model asks for each tensor by its path and shape; when it has been built, [`Weights::finish`]
//! refuses whatever the files hold beyond that. So a checkpoint either fits exactly or is refused
//! with the file, the key and the shapes, and nothing is left random or silently ignored.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, TchError, Tensor};

/// Why weights could not be used.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error("{file}: cannot be read: {source}")]
    Open { file: PathBuf, source: std::io::Error },
    #[error("{file}: not a valid safetensors file: {reason}")]
    Format { file: PathBuf, reason: String },
    #[error("{dir}: no weights found (looked for {looked_for})")]
    NoFile { dir: PathBuf, looked_for: String },
    #[error("{file}: tensor \"{key}\" is missing")]
    Missing { file: PathBuf, key: String },
    #[error("{file}: tensor \"{key}\" has shape {found:?}, expected {expected:?}")]
    Shape { file: PathBuf, key: String, expected: Vec<i64>, found: Vec<i64> },
    #[error("{file}: tensor \"{key}\" has type {found}, which is not a weight type")]
    Type { file: PathBuf, key: String, found: String },
    #[error("{file}: tensor \"{key}\" holds NaN or infinite values")]
    NotFinite { file: PathBuf, key: String },
    #[error("{file}: {count} tensors do not belong to this model, first \"{first}\"")]
    Unexpected { file: PathBuf, count: usize, first: String },
    #[error("{file}: \"{key}\" stands in two files")]
    Twice { file: PathBuf, key: String },
    #[error("a LoRA changes \"{key}\", which this model does not have")]
    UnusedDelta { key: String },
    #[error("\"{key}\": {source}")]
    Tensor { key: String, source: TchError },
}

/// How a tensor starts when a model is made fresh for training.
#[derive(Clone, Copy, Debug)]
pub enum Init {
    Zeros,
    Ones,
    /// Uniform in ±1/√fan_in, where fan_in is the product of all dimensions but the first
    /// (PyTorch's default for linear and convolution layers).
    FanIn,
    /// Normal with this standard deviation.
    Normal(f64),
}

struct Entry {
    file: usize,
    dtype: Dtype,
    shape: Vec<i64>,
    /// Byte range in the file.
    range: std::ops::Range<usize>,
}

struct MappedFile {
    path: PathBuf,
    map: Mmap,
}

enum Source {
    Files { files: Vec<MappedFile>, entries: HashMap<String, Entry> },
    Fresh { parameters: RefCell<BTreeMap<String, Tensor>> },
}

/// Weights of one model: safetensors files mapped into memory, or fresh ones for training.
pub struct Weights {
    source: Source,
    device: Device,
    kind: Kind,
    used: RefCell<BTreeSet<String>>,
    deltas: RefCell<HashMap<String, Tensor>>,
}

impl Weights {
    /// Maps safetensors files; every tensor asked for is converted to `kind` on `device`.
    pub fn open(paths: &[PathBuf], device: Device, kind: Kind) -> Result<Self, WeightsError> {
        let mut files = Vec::with_capacity(paths.len());
        let mut entries = HashMap::new();
        for (index, path) in paths.iter().enumerate() {
            let map = map_file(path)?;
            for (key, entry) in read_entries(path, &map, index)? {
                if entries.insert(key.clone(), entry).is_some() {
                    return Err(WeightsError::Twice { file: path.clone(), key });
                }
            }
            files.push(MappedFile { path: path.clone(), map });
        }
        Ok(Self::new(Source::Files { files, entries }, device, kind))
    }

    /// Maps the weights of a model folder of a diffusers or transformers checkpoint.
    pub fn open_folder(dir: &Path, device: Device, kind: Kind) -> Result<Self, WeightsError> {
        const NAMES: [&str; 4] = [
            "diffusion_pytorch_model.safetensors",
            "model.safetensors",
            "diffusion_pytorch_model.fp16.safetensors",
            "model.fp16.safetensors",
        ];
        match NAMES.iter().map(|n| dir.join(n)).find(|p| p.is_file()) {
            Some(path) => Self::open(&[path], device, kind),
            None => Err(WeightsError::NoFile { dir: dir.to_path_buf(), looked_for: NAMES.join(", ") }),
        }
    }

    /// Weights made on demand for training: leaves that require gradients, seeded by
    /// [`tch::manual_seed`].
    pub fn fresh(device: Device, kind: Kind) -> Self {
        Self::new(Source::Fresh { parameters: RefCell::default() }, device, kind)
    }

    fn new(source: Source, device: Device, kind: Kind) -> Self {
        Self { source, device, kind, used: RefCell::default(), deltas: RefCell::default() }
    }

    /// The path at which a model starts to ask.
    pub fn root(&self) -> Vs<'_> {
        Vs { weights: self, prefix: String::new() }
    }

    pub fn device(&self) -> Device {
        self.device
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Adds `delta` to the tensor `key` when it is asked for: how a LoRA is merged at load. Several
    /// deltas of one key add up.
    pub fn add_delta(&self, key: &str, delta: Tensor) -> Result<(), WeightsError> {
        let mut deltas = self.deltas.borrow_mut();
        let sum = match deltas.remove(key) {
            Some(earlier) => earlier.f_add(&delta).map_err(|source| tensor_error(key, source))?,
            None => delta,
        };
        deltas.insert(key.to_string(), sum);
        Ok(())
    }

    /// The shape of a tensor in the files, if they hold it.
    pub fn shape(&self, key: &str) -> Option<Vec<i64>> {
        match &self.source {
            Source::Files { entries, .. } => entries.get(key).map(|e| e.shape.clone()),
            Source::Fresh { parameters } => parameters.borrow().get(key).map(Tensor::size),
        }
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = match &self.source {
            Source::Files { entries, .. } => entries.keys().cloned().collect(),
            Source::Fresh { parameters } => parameters.borrow().keys().cloned().collect(),
        };
        keys.sort();
        keys
    }

    /// The trainable leaves by key; empty for weights from files.
    pub fn parameters(&self) -> BTreeMap<String, Tensor> {
        match &self.source {
            Source::Files { .. } => BTreeMap::new(),
            Source::Fresh { parameters } => {
                parameters.borrow().iter().map(|(k, t)| (k.clone(), t.shallow_clone())).collect()
            }
        }
    }

    /// Ends the loading: an error if the files hold tensors that nobody asked for (other than
    /// `ignored`, which match a key's end) or if a delta found no tensor.
    pub fn finish(&self, ignored: &[&str]) -> Result<(), WeightsError> {
        if let Some(key) = self.deltas.borrow().keys().min() {
            return Err(WeightsError::UnusedDelta { key: key.clone() });
        }
        let Source::Files { files, entries } = &self.source else { return Ok(()) };
        let used = self.used.borrow();
        let mut extra: Vec<&String> = entries
            .keys()
            .filter(|key| !used.contains(*key) && !ignored.iter().any(|end| key.ends_with(end)))
            .collect();
        extra.sort();
        match extra.first() {
            None => Ok(()),
            Some(first) => Err(WeightsError::Unexpected {
                file: files[entries[*first].file].path.clone(),
                count: extra.len(),
                first: first.to_string(),
            }),
        }
    }

    fn get(&self, key: &str, shape: &[i64], init: Init) -> Result<Tensor, WeightsError> {
        let tensor = match &self.source {
            Source::Files { files, entries } => {
                let first = || files.first().map(|f| f.path.clone()).unwrap_or_default();
                let entry = entries
                    .get(key)
                    .ok_or_else(|| WeightsError::Missing { file: first(), key: key.to_string() })?;
                let file = &files[entry.file];
                if entry.shape != shape {
                    return Err(WeightsError::Shape {
                        file: file.path.clone(),
                        key: key.to_string(),
                        expected: shape.to_vec(),
                        found: entry.shape.clone(),
                    });
                }
                read_tensor(file, key, entry, self.device, self.kind)?
            }
            Source::Fresh { parameters } => {
                if let Some(existing) = parameters.borrow().get(key) {
                    return Ok(existing.shallow_clone());
                }
                let leaf = initial(shape, init, self.device).to_kind(self.kind).set_requires_grad(true);
                parameters.borrow_mut().insert(key.to_string(), leaf.shallow_clone());
                leaf
            }
        };
        self.used.borrow_mut().insert(key.to_string());
        match self.deltas.borrow_mut().remove(key) {
            None => Ok(tensor),
            Some(delta) => {
                // Added in f32: a small LoRA would vanish in the rounding of half types.
                let sum = tensor
                    .to_kind(Kind::Float)
                    .f_add(&delta.to_device(self.device).to_kind(Kind::Float))
                    .map_err(|source| tensor_error(key, source))?;
                Ok(sum.to_kind(self.kind))
            }
        }
    }
}

/// A path into [`Weights`]: `&vs / "conv_in"` goes deeper, `get` asks for a tensor.
#[derive(Clone)]
pub struct Vs<'a> {
    weights: &'a Weights,
    prefix: String,
}

impl<'a> Vs<'a> {
    /// The tensor `name` below this path, of exactly this shape.
    pub fn get(&self, name: &str, shape: &[i64], init: Init) -> Result<Tensor, WeightsError> {
        self.weights.get(&self.key(name), shape, init)
    }

    /// Like [`Vs::get`], trying names in turn: for layers that were renamed between releases.
    pub fn get_any(&self, names: &[&str], shape: &[i64], init: Init) -> Result<Tensor, WeightsError> {
        let name = names.iter().find(|n| self.contains(n)).or(names.first()).copied().unwrap_or_default();
        self.get(name, shape, init)
    }

    /// Whether the files hold `name` below this path.
    pub fn contains(&self, name: &str) -> bool {
        self.weights.shape(&self.key(name)).is_some()
    }

    /// The full key of `name` below this path.
    pub fn key(&self, name: &str) -> String {
        if self.prefix.is_empty() { name.to_string() } else { format!("{}.{name}", self.prefix) }
    }

    pub fn device(&self) -> Device {
        self.weights.device
    }

    pub fn kind(&self) -> Kind {
        self.weights.kind
    }
}

impl<'a, T: std::fmt::Display> std::ops::Div<T> for &Vs<'a> {
    type Output = Vs<'a>;

    fn div(self, name: T) -> Vs<'a> {
        Vs { weights: self.weights, prefix: self.key(&name.to_string()) }
    }
}

impl<'a, T: std::fmt::Display> std::ops::Div<T> for Vs<'a> {
    type Output = Vs<'a>;

    fn div(self, name: T) -> Vs<'a> {
        &self / name
    }
}

fn tensor_error(key: &str, source: TchError) -> WeightsError {
    WeightsError::Tensor { key: key.to_string(), source }
}

fn map_file(path: &Path) -> Result<Mmap, WeightsError> {
    let open = |source| WeightsError::Open { file: path.to_path_buf(), source };
    let file = File::open(path).map_err(open)?;
    // SAFETY: the map is read only. A file that another process truncates meanwhile would fault;
    // weight files are written whole and renamed into place, as every loader that maps them assumes.
    unsafe { Mmap::map(&file) }.map_err(open)
}

fn read_entries(path: &Path, map: &Mmap, file: usize) -> Result<Vec<(String, Entry)>, WeightsError> {
    let format = |e: safetensors::SafeTensorError| WeightsError::Format {
        file: path.to_path_buf(),
        reason: format!("{e:?}"),
    };
    let tensors = SafeTensors::deserialize(map).map_err(format)?;
    let start = map.as_ptr() as usize;
    Ok(tensors
        .tensors()
        .into_iter()
        .map(|(key, view)| {
            let offset = view.data().as_ptr() as usize - start;
            let shape = view.shape().iter().map(|&d| d as i64).collect();
            (key, Entry { file, dtype: view.dtype(), shape, range: offset..offset + view.data().len() })
        })
        .collect())
}

fn read_tensor(
    file: &MappedFile,
    key: &str,
    entry: &Entry,
    device: Device,
    kind: Kind,
) -> Result<Tensor, WeightsError> {
    let stored = match entry.dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        other => {
            return Err(WeightsError::Type {
                file: file.path.clone(),
                key: key.to_string(),
                found: format!("{other:?}"),
            });
        }
    };
    let bytes = file.map.get(entry.range.clone()).unwrap_or_default();
    let tensor = Tensor::f_from_data_size(bytes, &entry.shape, stored)
        .and_then(|t| t.f_to_device(device))
        .and_then(|t| t.f_to_kind(kind))
        .map_err(|source| tensor_error(key, source))?;
    if tensor.numel() > 0 {
        // One pass without a temporary: NaN propagates into both, infinity shows in one.
        let (low, high) = tensor.f_aminmax(None, false).map_err(|source| tensor_error(key, source))?;
        if !(low.double_value(&[]).is_finite() && high.double_value(&[]).is_finite()) {
            return Err(WeightsError::NotFinite { file: file.path.clone(), key: key.to_string() });
        }
    }
    Ok(tensor)
}

fn initial(shape: &[i64], init: Init, device: Device) -> Tensor {
    let options = (Kind::Float, device);
    match init {
        Init::Zeros => Tensor::zeros(shape, options),
        Init::Ones => Tensor::ones(shape, options),
        Init::Normal(std) => Tensor::randn(shape, options) * std,
        Init::FanIn => {
            let fan_in: i64 = shape.iter().skip(1).product();
            let bound = 1.0 / (fan_in.max(1) as f64).sqrt();
            (Tensor::rand(shape, options) * 2.0 - 1.0) * bound
        }
    }
}
