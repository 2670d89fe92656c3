//! A reader of Python pickles that makes plain values and runs nothing: of all the names that a pickle can
//! call, it knows the handful with which `torch.save` describes tensors. Every other is foreign: it is kept as
//! a name, nothing is made by it, and whoever meets it among the weights refuses the file. Names of modules that
//! run programs are refused at once.
//!
//! Pickles come from strangers. Memory is bounded by the pickle's own length and by [`MOST_NODES`];
//! nothing here recurses.

mod machine;
mod names;

use std::sync::Arc;

use tch::Kind;

use super::stored::StoredType;
use machine::Machine;

/// Bytes of a pickle: those of the largest checkpoints have one or two megabytes.
pub(super) const LONGEST: usize = 16 << 20;
/// Values in a pickle: about 25 for each tensor.
const MOST_NODES: usize = 1 << 21;

/// Why a pickle was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum PickleError {
    Malformed(String),
    /// It asks for this name.
    Global(String),
}

type Result<T> = std::result::Result<T, PickleError>;

fn malformed<T>(reason: impl Into<String>) -> Result<T> {
    Err(PickleError::Malformed(reason.into()))
}

/// Index of a value: containers may be shared and filled later.
pub(super) type Id = usize;

/// The names that are known.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    RebuildTensor,
    /// With the type of the elements beside a storage of bytes.
    RebuildTyped,
    RebuildParameter,
    /// A storage of bytes.
    Untyped,
    Type(Kind),
    /// A storage of such elements, and the bytes of one.
    Storage(StoredType, usize),
}

/// Elements in a row, of which tensors are views.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Storage {
    pub key: String,
    pub dtype: StoredType,
    /// Bytes of one element.
    pub size: usize,
    pub count: i64,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct PickledTensor {
    pub storage: Storage,
    /// Index of the first element.
    pub first: i64,
    pub shape: Vec<i64>,
    pub strides: Vec<i64>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number beyond 64 bits, or bytes: allowed to stand there, of no use.
    Opaque,
    Float(f64),
    Text(String),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A set: it may stand there, its values are of no use.
    Set,
    Global(Global),
    /// A name that is not known, or whatever would be made by it.
    Foreign(Arc<str>),
    Storage(Storage),
    Tensor(Box<PickledTensor>),
}

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    nodes: Vec<Node>,
    pub root: Id,
    /// Its length in bytes.
    pub length: usize,
}

impl Pickle {
    pub(super) fn node(&self, id: Id) -> &Node {
        self.nodes.get(id).unwrap_or(&Node::None)
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The value of a text key in a dictionary.
    pub(super) fn entry(&self, dict: Id, key: &str) -> Option<Id> {
        let Node::Dict(entries) = self.node(dict) else { return None };
        let is_key = |id: Id| matches!(self.node(id), Node::Text(text) if text == key);
        entries.iter().rfind(|(k, _)| is_key(*k)).map(|(_, value)| *value)
    }
}

/// Reads one pickle from the start of `bytes`.
pub(super) fn load(bytes: &[u8]) -> Result<Pickle> {
    let bytes = bytes.get(..LONGEST).unwrap_or(bytes);
    Machine::new(bytes).run()
}

#[cfg(test)]
mod tests;
