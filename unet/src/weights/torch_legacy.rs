//! The format of `torch.save` before PyTorch 1.6, and of its `_use_new_zipfile_serialization=False`: five
//! pickles (a magic number, a version, facts about the machine, the object, the list of storages), then
//! each storage as a count of elements and the elements.

use std::collections::HashMap;
use std::ops::Range;

use super::files::Contents;
use super::pickle::{Node, Pickle};
use super::torch_pickle::{self, TorchError};

/// The pickle of the magic number 0x1950a86a20f9469cfc6c, from its protocol mark to its end.
const MAGIC: [u8; 15] = [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, b'.'];
const VERSION: i64 = 1001;

pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// Reads the file number `file`.
pub(super) fn read(bytes: &[u8], file: usize) -> Result<Contents, TorchError> {
    let mut at = MAGIC.len();
    let mut next = || -> Result<Pickle, TorchError> {
        let pickle = torch_pickle::load(bytes.get(at..).unwrap_or_default())?;
        at += pickle.length;
        Ok(pickle)
    };
    let (version, machine, object, keys) = (next()?, next()?, next()?, next()?);
    if *version.node(version.root) != Node::Int(VERSION) {
        return Err(TorchError::malformed(format!("its version is not {VERSION}")));
    }
    let little = machine.entry(machine.root, "little_endian").map(|id| machine.node(id));
    if little != Some(&Node::Bool(true)) {
        return Err(TorchError::malformed("its byte order is not little"));
    }
    let storages = places(bytes, at, &object, &keys)?;
    torch_pickle::contents(&object, file, |key| storages.get(key).cloned())
}

/// Where each storage lies.
fn places(
    bytes: &[u8],
    mut at: usize,
    object: &Pickle,
    keys: &Pickle,
) -> Result<HashMap<String, Range<usize>>, TorchError> {
    let mut sizes = HashMap::new();
    for node in object.nodes() {
        if let Node::Storage(storage) = node {
            sizes.insert(storage.key.as_str(), storage.size);
        }
    }
    let Node::List(list) = keys.node(keys.root) else {
        return Err(TorchError::malformed("the list of its storages is missing"));
    };
    let mut places = HashMap::new();
    for &id in list {
        let cut = || TorchError::malformed("the file ends within its storages");
        let Node::Text(key) = keys.node(id) else {
            return Err(TorchError::malformed("a storage whose key is not text"));
        };
        let Some(&size) = sizes.get(key.as_str()) else {
            return Err(TorchError::Malformed(format!("nothing says what the storage \"{key}\" is")));
        };
        let start = at.checked_add(size_of::<u64>()).ok_or_else(cut)?;
        let count: [u8; 8] = bytes.get(at..start).and_then(|b| b.try_into().ok()).ok_or_else(cut)?;
        let length = usize::try_from(u64::from_le_bytes(count)).ok().and_then(|n| n.checked_mul(size));
        let end = length.and_then(|n| start.checked_add(n)).filter(|&end| end <= bytes.len());
        at = end.ok_or_else(cut)?;
        places.insert(key.clone(), start..at);
    }
    Ok(places)
}
