//! From a pickle's values to named tensors: nested dictionaries and lists are flattened, their keys joined
//! by dots, as in `image_proj.norm.weight` of an IP-Adapter's `{"image_proj": {"norm.weight": …}}`.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;

use super::error::WeightsError;
use super::files::Contents;
use super::pickle::{self, Id, Node, Pickle, PickleError, PickledTensor};
use super::stored::StoredTensor;

/// How deep dictionaries may lie in each other; published files have two levels.
const DEEPEST: usize = 16;
/// Bytes of one flattened key.
const LONGEST_KEY: usize = 512;
const MOST_TENSORS: usize = 1 << 18;
/// Values visited: shared containers are visited each time that they are met.
const MOST_VISITS: usize = 1 << 21;

/// Why a file of `torch.save` was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum TorchError {
    Malformed(String),
    Global(String),
}

impl TorchError {
    pub(super) fn malformed(reason: impl Into<String>) -> Self {
        Self::Malformed(reason.into())
    }

    pub(super) fn in_file(self, path: &Path) -> WeightsError {
        let file = path.to_path_buf();
        match self {
            Self::Malformed(reason) => WeightsError::Torch { file, reason },
            Self::Global(global) => WeightsError::Global { file, global },
        }
    }
}

impl From<PickleError> for TorchError {
    fn from(error: PickleError) -> Self {
        match error {
            PickleError::Malformed(reason) => Self::Malformed(reason),
            PickleError::Global(global) => Self::Global(global),
        }
    }
}

pub(super) fn load(bytes: &[u8]) -> Result<Pickle, TorchError> {
    Ok(pickle::load(bytes)?)
}

/// The tensors of a pickle by flattened key. `storage` gives the bytes of a storage in the file.
///
/// Where the dictionary has an entry `state_dict` (training checkpoints), only that one counts, and the
/// plain numbers beside it: foreign objects there, such as the callbacks of the training, are passed over.
///
/// # Errors
/// A foreign name among what counts, by its name; tensors that do not lie in the file.
pub(super) fn contents(
    pickle: &Pickle,
    file: usize,
    storage: impl Fn(&str) -> Option<Range<usize>>,
) -> Result<Contents, TorchError> {
    let mut contents = Contents { numbers: numbers(pickle, pickle.root), ..Contents::default() };
    let mut root = pickle.root;
    for _ in 0..DEEPEST {
        match pickle.entry(root, "state_dict") {
            Some(inner) if matches!(pickle.node(inner), Node::Dict(_)) => root = inner,
            _ => break,
        }
    }
    match pickle.node(root) {
        Node::Dict(_) | Node::List(_) | Node::Tuple(_) => {}
        Node::Foreign(name) => return Err(TorchError::Global(name.to_string())),
        _ => return Err(TorchError::malformed("it holds no dictionary of tensors")),
    }
    let mut walk = Walk { pickle, found: Vec::new(), visits: 0 };
    walk.visit(root, &mut String::new(), 0)?;
    let mut keys = HashSet::with_capacity(walk.found.len());
    for (key, tensor) in walk.found {
        if !keys.insert(key.clone()) {
            return Err(TorchError::Malformed(format!("two tensors are called \"{key}\"")));
        }
        let stored = place(tensor, file, &storage)
            .map_err(|reason| TorchError::Malformed(format!("tensor \"{key}\": {reason}")))?;
        contents.tensors.push((key, stored));
    }
    Ok(contents)
}

fn place(
    tensor: &PickledTensor,
    file: usize,
    storage: impl Fn(&str) -> Option<Range<usize>>,
) -> Result<StoredTensor, String> {
    let (key, count) = (&tensor.storage.key, tensor.storage.count);
    let range = storage(key).ok_or_else(|| format!("its storage \"{key}\" is not in the file"))?;
    let bytes = usize::try_from(count).ok().and_then(|n| n.checked_mul(tensor.storage.size));
    match bytes {
        Some(bytes) if bytes <= range.len() => StoredTensor::new(
            file,
            tensor.storage.dtype.clone(),
            tensor.shape.clone(),
            Some(tensor.strides.clone()),
            range.start..range.start + bytes,
            tensor.first,
        ),
        _ => Err(format!("its storage \"{key}\" of {count} elements has only {} bytes", range.len())),
    }
}

/// The plain numbers of a dictionary.
fn numbers(pickle: &Pickle, dict: Id) -> BTreeMap<String, f64> {
    let Node::Dict(entries) = pickle.node(dict) else { return BTreeMap::new() };
    let number = |&(key, value): &(Id, Id)| match (pickle.node(key), pickle.node(value)) {
        (Node::Text(key), Node::Int(n)) if key.len() <= LONGEST_KEY => Some((key.clone(), *n as f64)),
        (Node::Text(key), Node::Float(n)) if key.len() <= LONGEST_KEY => Some((key.clone(), *n)),
        _ => None,
    };
    entries.iter().filter_map(number).collect()
}

struct Walk<'a> {
    pickle: &'a Pickle,
    found: Vec<(String, &'a PickledTensor)>,
    visits: usize,
}

impl Walk<'_> {
    fn visit(&mut self, id: Id, path: &mut String, depth: usize) -> Result<(), TorchError> {
        self.visits += 1;
        if self.visits > MOST_VISITS || self.found.len() > MOST_TENSORS {
            return Err(TorchError::malformed("it holds too many values"));
        }
        let pickle = self.pickle;
        match pickle.node(id) {
            Node::Tensor(tensor) => self.found.push((path.clone(), tensor)),
            Node::Dict(entries) => {
                for &(key, value) in entries {
                    let key = match pickle.node(key) {
                        Node::Text(text) => text.clone(),
                        Node::Int(number) => number.to_string(),
                        Node::Foreign(name) => return Err(TorchError::Global(name.to_string())),
                        _ => return Err(TorchError::malformed("a key that is neither text nor number")),
                    };
                    self.visit_below(&key, value, path, depth)?;
                }
            }
            Node::List(items) | Node::Tuple(items) => {
                for (index, &item) in items.iter().enumerate() {
                    self.visit_below(&index.to_string(), item, path, depth)?;
                }
            }
            Node::Foreign(name) => return Err(TorchError::Global(name.to_string())),
            // Plain values beside tensors say nothing about weights.
            _ => {}
        }
        Ok(())
    }

    fn visit_below(
        &mut self,
        key: &str,
        value: Id,
        path: &mut String,
        depth: usize,
    ) -> Result<(), TorchError> {
        if depth >= DEEPEST {
            return Err(TorchError::malformed(format!("its dictionaries are more than {DEEPEST} deep")));
        }
        let length = path.len();
        if length + 1 + key.len() > LONGEST_KEY {
            return Err(TorchError::malformed(format!("a key is longer than {LONGEST_KEY} bytes")));
        }
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key);
        let result = self.visit(value, path, depth + 1);
        path.truncate(length);
        result
    }
}
