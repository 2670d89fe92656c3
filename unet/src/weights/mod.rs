//! The strict weight loader.
//!
//! A model asks for each tensor by its path and shape; when it has been built, [`Weights::finish`]
//! refuses whatever the files hold beyond that. So a checkpoint either fits exactly or is refused
//! with the file, the key and the shapes, and nothing is left random or silently ignored.
//!
//! Files may be safetensors, shards of it with an index, or what `torch.save` wrote; they are mapped
//! into memory, and nothing in them is ever run.

mod census;
mod error;
mod files;
mod outline;
mod pages;
mod pickle;
mod remap;
mod safetensors_file;
mod scaled;
mod sharded;
mod stored;
mod torch_legacy;
mod torch_pickle;
mod torch_zip;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tch::{Device, Kind, TchError, Tensor};

pub use census::{ReadAll, TypeShare};
pub use error::WeightsError;
pub use files::{TensorFiles, has_weight_name};
pub use pages::MappedPages;
pub use remap::{Change, KeyMap, Source};
use stored::StoredTensor;

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

/// A tensor of the model: where it lies, and its key in the file.
struct Entry {
    stored_key: String,
    stored: StoredTensor,
}

impl Entry {
    /// The tensor under a model's key, which must have this shape.
    fn fitting<'a>(
        files: &TensorFiles,
        entries: &'a HashMap<String, Self>,
        key: &str,
        shape: &[i64],
    ) -> Result<&'a Self, WeightsError> {
        let missing = || WeightsError::Missing { file: files.path(), key: key.to_string() };
        let entry = entries.get(key).ok_or_else(missing)?;
        if entry.stored.shape() == shape {
            return Ok(entry);
        }
        Err(WeightsError::Shape {
            file: files.path_of(&entry.stored),
            key: entry.stored_key.clone(),
            expected: shape.to_vec(),
            found: entry.stored.shape().to_vec(),
        })
    }
}

enum Origin {
    Files { files: Arc<TensorFiles>, entries: HashMap<String, Entry> },
    Fresh { parameters: RefCell<BTreeMap<String, Tensor>> },
}

/// Weights of one model: files mapped into memory, or fresh ones for training.
pub struct Weights {
    origin: Origin,
    device: Device,
    kind: Kind,
    used: RefCell<BTreeSet<String>>,
    pages: RefCell<MappedPages>,
    /// Tensors that are used where they lie are looked at for NaN when they are asked for.
    check_mapped: bool,
    /// What does not fit, where that is noted and not refused ([`Weights::outline`]).
    outline: Option<RefCell<Vec<WeightsError>>>,
    changes: RefCell<HashMap<String, Vec<WeightChange>>>,
}

/// What a LoRA does to one tensor: from the weight as it is in the files, and the weight with the changes
/// before this one, to the changed weight. Both f32, on the model's device.
pub type WeightChange = Box<dyn FnOnce(&Tensor, &Tensor) -> Result<Tensor, TchError> + Send>;

impl Weights {
    /// Maps files of any format that [`TensorFiles`] knows, shards by their index among them; every
    /// tensor asked for is converted to `kind` on `device`.
    pub fn open(paths: &[PathBuf], device: Device, kind: Kind) -> Result<Self, WeightsError> {
        Ok(Self::from_files(&Arc::new(TensorFiles::open(paths)?), device, kind))
    }

    /// Maps the weights of a model folder of a diffusers or transformers checkpoint: safetensors before
    /// pickles, full precision before a half-precision variant, one file before shards.
    pub fn open_folder(dir: &Path, device: Device, kind: Kind) -> Result<Self, WeightsError> {
        Ok(Self::from_files(&Arc::new(TensorFiles::open_folder(dir)?), device, kind))
    }

    /// Everything that open files hold, under its own keys.
    pub fn from_files(files: &Arc<TensorFiles>, device: Device, kind: Kind) -> Self {
        let entry = |(key, stored): (&String, &StoredTensor)| {
            (key.clone(), Entry { stored_key: key.clone(), stored: stored.clone() })
        };
        let entries = files.tensors().iter().map(entry).collect();
        Self::new(Origin::Files { files: Arc::clone(files), entries }, device, kind)
    }

    /// A part of open files under a model's own keys. An error if a source is not in the files or its
    /// shape does not allow the change. [`Weights::finish`] then refuses keys of `map` that the model
    /// does not ask for; what the map leaves out is its maker's business.
    pub fn remapped(
        files: &Arc<TensorFiles>,
        map: &KeyMap,
        device: Device,
        kind: Kind,
    ) -> Result<Self, WeightsError> {
        let entry = |(key, source): (&String, &Source)| {
            let stored = remap::resolve(files, source)?;
            Ok((key.clone(), Entry { stored_key: source.stored.clone(), stored }))
        };
        let entries = map.iter().map(entry).collect::<Result<_, WeightsError>>()?;
        Ok(Self::new(Origin::Files { files: Arc::clone(files), entries }, device, kind))
    }

    /// Maps files whose keys `map` translates: from a stored key and its shape to the model's keys that
    /// are made of it. A stored key of which nothing is made is left out.
    pub fn open_mapped(
        paths: &[PathBuf],
        device: Device,
        kind: Kind,
        map: impl Fn(&str, &[i64]) -> Vec<(String, Change)>,
    ) -> Result<Self, WeightsError> {
        let files = Arc::new(TensorFiles::open(paths)?);
        let mut keys = KeyMap::new();
        for (stored, tensor) in files.tensors() {
            for (key, change) in map(stored, tensor.shape()) {
                let source = Source { stored: stored.clone(), change };
                if keys.insert(key.clone(), source).is_some() {
                    return Err(WeightsError::Twice { file: files.path_of(tensor), key });
                }
            }
        }
        Self::remapped(&files, &keys, device, kind)
    }

    /// Weights made on demand for training: leaves that require gradients, seeded by
    /// [`tch::manual_seed`].
    pub fn fresh(device: Device, kind: Kind) -> Self {
        Self::new(Origin::Fresh { parameters: RefCell::default() }, device, kind)
    }

    fn new(origin: Origin, device: Device, kind: Kind) -> Self {
        Self {
            origin,
            device,
            kind,
            used: RefCell::default(),
            pages: RefCell::default(),
            check_mapped: true,
            outline: None,
            changes: RefCell::default(),
        }
    }

    /// Tensors that are used where they lie in a mapped file are not read until they are used, so that a large
    /// model starts at once. Whoever asks for this calls [`MappedPages::check_finite`] when a result is not finite.
    pub fn unread(self) -> Self {
        Self { check_mapped: false, ..self }
    }

    /// The pages of the files in which the tensors lie that were asked for; nothing of those that are copies.
    pub fn pages(&self) -> MappedPages {
        self.pages.borrow().clone()
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

    /// Changes the tensor `key` when it is asked for: how a LoRA is merged at load. Nothing is computed
    /// before, so that changes of all weights never lie in memory at once. Several changes of one key are
    /// made in the order of these calls.
    pub fn add_change(&self, key: &str, change: WeightChange) {
        self.changes.borrow_mut().entry(key.to_string()).or_default().push(change);
    }

    /// Adds `delta` to the tensor `key` when it is asked for.
    pub fn add_delta(&self, key: &str, delta: Tensor) {
        let add = move |_: &Tensor, changed: &Tensor| changed.f_add(&delta.f_to_device(changed.device())?);
        self.add_change(key, Box::new(add));
    }

    /// The shape of a tensor in the files, if they hold it.
    pub fn shape(&self, key: &str) -> Option<Vec<i64>> {
        match &self.origin {
            Origin::Files { entries, .. } => entries.get(key).map(|e| e.stored.shape().to_vec()),
            Origin::Fresh { parameters } => parameters.borrow().get(key).map(Tensor::size),
        }
    }

    /// All keys, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> = match &self.origin {
            Origin::Files { entries, .. } => entries.keys().cloned().collect(),
            Origin::Fresh { parameters } => parameters.borrow().keys().cloned().collect(),
        };
        keys.sort();
        keys
    }

    /// The trainable leaves by key; empty for weights from files.
    pub fn parameters(&self) -> BTreeMap<String, Tensor> {
        match &self.origin {
            Origin::Files { .. } => BTreeMap::new(),
            Origin::Fresh { parameters } => {
                parameters.borrow().iter().map(|(k, t)| (k.clone(), t.shallow_clone())).collect()
            }
        }
    }

    /// Ends the loading: an error if the files hold tensors that nobody asked for (other than
    /// `ignored`, which match a key's end) or if a delta found no tensor.
    pub fn finish(&self, ignored: &[&str]) -> Result<(), WeightsError> {
        if let Some(key) = self.changes.borrow().keys().min() {
            return Err(WeightsError::UnusedDelta { key: key.clone() });
        }
        let Origin::Files { files, entries } = &self.origin else { return Ok(()) };
        let used = self.used.borrow();
        let mut extra: Vec<&String> = entries
            .keys()
            .filter(|key| !used.contains(*key) && !ignored.iter().any(|end| key.ends_with(end)))
            .collect();
        extra.sort();
        if let Some(noted) = &self.outline {
            let spare = |key: &String| {
                let Entry { stored, stored_key } = entries.get(key)?;
                Some(WeightsError::Spare { file: files.path_of(stored), key: stored_key.clone() })
            };
            noted.borrow_mut().extend(extra.into_iter().filter_map(spare));
            return Ok(());
        }
        match extra.first().and_then(|first| entries.get(*first)) {
            None => Ok(()),
            Some(first) => Err(WeightsError::Unexpected {
                file: files.path_of(&first.stored),
                count: extra.len(),
                first: first.stored_key.clone(),
            }),
        }
    }

    fn get(&self, key: &str, shape: &[i64], init: Init) -> Result<Tensor, WeightsError> {
        if let Some(noted) = &self.outline {
            return self.get_outline(noted, key, shape);
        }
        let tensor = match &self.origin {
            Origin::Files { files, entries } => {
                let entry = Entry::fitting(files, entries, key, shape)?;
                let pages = &mut self.pages.borrow_mut();
                // A changed weight is a copy, which nobody looks at again.
                let check = self.check_mapped || self.changes.borrow().contains_key(key);
                files.read(&entry.stored_key, &entry.stored, self.device, self.kind, check, pages)?
            }
            Origin::Fresh { parameters } => {
                if let Some(existing) = parameters.borrow().get(key) {
                    return Ok(existing.shallow_clone());
                }
                let leaf = initial(shape, init, self.device).to_kind(self.kind).set_requires_grad(true);
                parameters.borrow_mut().insert(key.to_string(), leaf.shallow_clone());
                leaf
            }
        };
        self.used.borrow_mut().insert(key.to_string());
        let Some(changes) = self.changes.borrow_mut().remove(key) else { return Ok(tensor) };
        // In f32: a small LoRA would vanish in the rounding of half types.
        let plain = tensor.to_kind(Kind::Float);
        let mut changed = plain.shallow_clone();
        for change in changes {
            changed = change(&plain, &changed).map_err(|source| WeightsError::tensor(key, source))?;
        }
        Ok(changed.to_kind(self.kind))
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
