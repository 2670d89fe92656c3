//! What the keys and shapes of a file say, and the gathering of a part's keys from them.

use std::path::PathBuf;
use std::sync::Arc;

use imagine_unet::WeightsError;
use imagine_unet::weights::{Change, KeyMap, Source, TensorFiles};

use super::error::SingleFileError;

/// The keys and shapes of a file.
pub(super) struct Layout {
    pub files: Arc<TensorFiles>,
    /// Sorted.
    pub keys: Vec<String>,
}

impl Layout {
    pub(super) fn new(files: impl Into<Arc<TensorFiles>>) -> Self {
        let files = files.into();
        let keys = files.keys();
        Self { files, keys }
    }

    pub(super) fn file(&self) -> PathBuf {
        self.files.path()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.files.shape(key).is_some()
    }

    /// Whether a key starts so.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        let at = self.keys.partition_point(|key| key.as_str() < prefix);
        self.keys.get(at).is_some_and(|key| key.starts_with(prefix))
    }

    /// The shape of a tensor that has to be there.
    pub(super) fn shape(&self, key: &str) -> Result<&[i64], SingleFileError> {
        let missing = || WeightsError::Missing { file: self.file(), key: key.to_string() };
        Ok(self.files.shape(key).ok_or_else(missing)?)
    }

    /// One dimension of a tensor that has to be there.
    pub(super) fn dim(&self, key: &str, axis: usize) -> Result<i64, SingleFileError> {
        let shape = self.shape(key)?;
        shape.get(axis).copied().ok_or_else(|| self.wrong(key, format!("its shape is {shape:?}")))
    }

    pub(super) fn wrong(&self, key: &str, reason: impl Into<String>) -> SingleFileError {
        SingleFileError::Layout { file: self.file(), key: key.to_string(), reason: reason.into() }
    }
}

/// Collects the keys of a part: each of the model's keys with the key in the file.
pub(super) struct Keys<'a> {
    pub layout: &'a Layout,
    prefix: &'a str,
    pub map: KeyMap,
}

impl<'a> Keys<'a> {
    /// For the part whose keys start with `prefix` in the file.
    pub(super) fn new(layout: &'a Layout, prefix: &'a str) -> Self {
        Self { layout, prefix, map: KeyMap::new() }
    }

    /// The whole key in the file.
    pub(super) fn stored(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Whether any key of this part starts so.
    pub(super) fn has_prefix(&self, prefix: &str) -> bool {
        self.layout.has_prefix(&self.stored(prefix))
    }

    pub(super) fn shape(&self, key: &str) -> Result<&'a [i64], SingleFileError> {
        self.layout.shape(&self.stored(key))
    }

    pub(super) fn dim(&self, key: &str, axis: usize) -> Result<i64, SingleFileError> {
        self.layout.dim(&self.stored(key), axis)
    }

    /// How many of the places `prefix(0)`, `prefix(1)`, … there are in a row. A place counts if it holds any
    /// key at all, so that one which is missing there is told by its name.
    pub(super) fn count(&self, prefix: impl Fn(usize) -> String) -> usize {
        (0..).take_while(|&n| self.has_prefix(&prefix(n))).count()
    }

    pub(super) fn add_changed(&mut self, model: impl Into<String>, stored: &str, change: Change) {
        let stored = self.stored(stored);
        self.map.insert(model.into(), Source { stored, change });
    }

    pub(super) fn add(&mut self, model: impl Into<String>, stored: &str) {
        self.add_changed(model, stored, Change::Whole);
    }

    /// Weight and bias of a layer.
    pub(super) fn layer(&mut self, model: &str, stored: &str) {
        for end in ["weight", "bias"] {
            self.add(format!("{model}.{end}"), &format!("{stored}.{end}"));
        }
    }
}
