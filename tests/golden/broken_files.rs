//! Copies of fixtures with one thing broken.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use tempfile::TempDir;

/// One tensor as a safetensors file holds it.
#[derive(Clone)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

impl Stored {
    /// Zeros in f32.
    pub fn zeros(shape: &[usize]) -> Self {
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes: vec![0; 4 * shape.iter().product::<usize>()] }
    }
}

/// All tensors of a file by name.
pub fn read_safetensors(file: &Path) -> BTreeMap<String, Stored> {
    let bytes = fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let tensors = SafeTensors::deserialize(&bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let stored = |view: TensorView| Stored {
        dtype: view.dtype(),
        shape: view.shape().to_vec(),
        bytes: view.data().to_vec(),
    };
    tensors.tensors().into_iter().map(|(key, view)| (key, stored(view))).collect()
}

pub fn write_safetensors(file: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(key, t)| {
        let view = TensorView::new(t.dtype, t.shape.clone(), &t.bytes);
        (key, view.unwrap_or_else(|e| panic!("{key}: {e}")))
    });
    let bytes = safetensors::serialize(views, None).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    fs::write(file, bytes).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
}

/// A copy of the tiny checkpoint that goes away with this value.
pub struct CheckpointCopy {
    dir: TempDir,
}

impl CheckpointCopy {
    pub fn new() -> Self {
        Self::of(&imagine_tests::fixtures("pipeline").join("checkpoint"))
    }

    /// A copy of another checkpoint.
    pub fn of(checkpoint: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap_or_else(|e| panic!("a temporary folder: {e}"));
        copy(checkpoint, dir.path());
        Self { dir }
    }

    /// Copies a folder over it: files of the same name are replaced.
    pub fn lay_over(&self, folder: &Path) {
        copy(folder, self.dir.path());
    }

    /// A file or folder in it; the checkpoint itself for "".
    pub fn path(&self, inner: &str) -> PathBuf {
        self.dir.path().join(inner)
    }

    pub fn write(&self, inner: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(inner), bytes).unwrap_or_else(|e| panic!("{inner}: {e}"));
    }

    pub fn remove(&self, inner: &str) {
        let path = self.path(inner);
        let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
        removed.unwrap_or_else(|e| panic!("{inner}: {e}"));
    }

    /// Changes the tensors of one file.
    pub fn tensors(&self, inner: &str, change: impl FnOnce(&mut BTreeMap<String, Stored>)) {
        let file = self.path(inner);
        let mut tensors = read_safetensors(&file);
        change(&mut tensors);
        write_safetensors(&file, &tensors);
    }

    /// Changes one key of a JSON file.
    pub fn json(&self, inner: &str, key: &str, value: Value) {
        let text = fs::read_to_string(self.path(inner)).unwrap_or_else(|e| panic!("{inner}: {e}"));
        let mut json: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{inner}: {e}"));
        json[key] = value;
        self.write(inner, json.to_string());
    }
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let path = entry.unwrap_or_else(|e| panic!("{}: {e}", from.display())).path();
        let target = to.join(path.file_name().unwrap_or_default());
        let copied = if path.is_dir() {
            fs::create_dir_all(&target).map(|()| copy(&path, &target))
        } else {
            fs::copy(&path, &target).map(drop)
        };
        copied.unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    }
}
