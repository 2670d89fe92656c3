//! Tensors and JSON to and from disk, written whole or not at all.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use tch::{Device, Kind, Tensor};

use crate::error::TrainingError;

fn bytes_of(tensor: &Tensor) -> Result<(Dtype, Vec<usize>, Vec<u8>), TrainingError> {
    let dtype = match tensor.kind() {
        Kind::Half => Dtype::F16,
        Kind::Int64 => Dtype::I64,
        _ => Dtype::F32,
    };
    let kind = match dtype {
        Dtype::F16 => Kind::Half,
        Dtype::I64 => Kind::Int64,
        _ => Kind::Float,
    };
    let tensor = tensor.detach().to_kind(kind).to_device(Device::Cpu).contiguous();
    let count = tensor.numel();
    // Numbers lie as they do in the file: every machine that libtorch runs on is little-endian.
    let mut bytes = vec![0u8; count * kind.elt_size_in_bytes()];
    tensor.f_copy_data_u8(&mut bytes, count)?;
    Ok((dtype, tensor.size().iter().map(|&d| d as usize).collect(), bytes))
}

/// Copies the files of a folder into another, which is made.
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), TrainingError> {
    fs::create_dir_all(to).map_err(TrainingError::io(to))?;
    for entry in fs::read_dir(from).map_err(TrainingError::io(from))? {
        let path = entry.map_err(TrainingError::io(from))?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name)).map_err(TrainingError::io(&path))?;
        }
    }
    Ok(())
}

/// Writes a safetensors file.
pub fn write_tensors(path: &Path, tensors: &[(String, Tensor)]) -> Result<(), TrainingError> {
    let fail = |e: safetensors::SafeTensorError| TrainingError::Safetensors {
        path: path.into(),
        reason: format!("{e:?}"),
    };
    let mut stored = Vec::with_capacity(tensors.len());
    for (key, tensor) in tensors {
        stored.push((key, bytes_of(tensor)?));
    }
    let mut views = BTreeMap::new();
    for (key, (dtype, shape, bytes)) in &stored {
        views.insert(key.as_str(), TensorView::new(*dtype, shape.clone(), bytes).map_err(fail)?);
    }
    let metadata = Some([("format".to_string(), "pt".to_string())].into());
    let bytes = safetensors::serialize(views, metadata).map_err(fail)?;
    write_whole(path, &bytes)
}

/// Reads all tensors of a safetensors file (f32, f16 and i64).
pub fn read_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, TrainingError> {
    let fail = |reason: String| TrainingError::Safetensors { path: path.into(), reason };
    let bytes = fs::read(path).map_err(TrainingError::io(path))?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| fail(format!("{e:?}")))?;
    let mut tensors = BTreeMap::new();
    for (key, view) in file.tensors() {
        let kind = match view.dtype() {
            Dtype::F32 => Kind::Float,
            Dtype::F16 => Kind::Half,
            Dtype::I64 => Kind::Int64,
            other => return Err(fail(format!("{key}: type {other:?}"))),
        };
        let shape: Vec<i64> = view.shape().iter().map(|&d| d as i64).collect();
        tensors.insert(key, Tensor::f_from_data_size(view.data(), &shape, kind)?);
    }
    Ok(tensors)
}

/// Writes JSON, indented.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TrainingError> {
    let mut text = serde_json::to_string_pretty(value)
        .map_err(|source| TrainingError::Json { path: path.into(), source })?;
    text.push('\n');
    write_whole(path, text.as_bytes())
}

/// Writes beside the target and renames, making the folder if need be.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), TrainingError> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(TrainingError::io(folder))?;
    }
    let temporary = path.with_extension("part");
    fs::write(&temporary, bytes).map_err(TrainingError::io(&temporary))?;
    fs::rename(&temporary, path).map_err(TrainingError::io(path))
}

/// The pictures in a folder, by name.
pub fn photos_in(folder: &Path) -> Result<Vec<PathBuf>, TrainingError> {
    let entries = fs::read_dir(folder).map_err(TrainingError::io(folder))?;
    let mut files: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|file| file.extension().is_some_and(|end| end == "jpg" || end == "png"));
    files.sort();
    Ok(files)
}
