//! The safetensors format: a JSON header with types, shapes and byte ranges, then the data.

use safetensors::{Dtype, SafeTensorError, SafeTensors};
use tch::Kind;

use super::files::Contents;
use super::stored::{StoredTensor, StoredType};

fn stored_type(dtype: Dtype) -> StoredType {
    match dtype {
        Dtype::F64 => StoredType::Weight(Kind::Double),
        Dtype::F32 => StoredType::Weight(Kind::Float),
        Dtype::F16 => StoredType::Weight(Kind::Half),
        Dtype::BF16 => StoredType::Weight(Kind::BFloat16),
        Dtype::F8_E4M3 => StoredType::Weight(Kind::Float8e4m3fn),
        Dtype::F8_E5M2 => StoredType::Weight(Kind::Float8e5m2),
        other => StoredType::Other(format!("{other:?}")),
    }
}

/// The format's errors in words for the person who has the file.
fn reason(error: &SafeTensorError) -> String {
    match error {
        SafeTensorError::HeaderTooSmall
        | SafeTensorError::HeaderTooLarge
        | SafeTensorError::InvalidHeaderLength => {
            format!("it is no safetensors file, or cut off in its header ({error:?})")
        }
        SafeTensorError::InvalidHeader(_)
        | SafeTensorError::InvalidHeaderStart
        | SafeTensorError::InvalidHeaderDeserialization(_) => {
            format!("it is no safetensors file, or damaged ({error:?})")
        }
        SafeTensorError::MetadataIncompleteBuffer => {
            format!(
                "it ends before its tensors do, as a download that was cut off, or goes on behind them ({error:?})"
            )
        }
        other => format!("{other:?}"),
    }
}

/// Reads the header of the file number `file`; the error says what is wrong with it.
pub(super) fn read(bytes: &[u8], file: usize) -> Result<Contents, String> {
    if bytes.starts_with(b"version https://git-lfs") {
        return Err("it is a Git LFS pointer, not the file itself".into());
    }
    // This checks every range against the file's length.
    let (header, metadata) = SafeTensors::read_metadata(bytes).map_err(|e| reason(&e))?;
    let data = size_of::<u64>() + header;
    let mut contents = Contents::default();
    for (key, info) in metadata.tensors() {
        let shape = info.shape.iter().map(|&d| d as i64).collect();
        let (start, end) = info.data_offsets;
        let storage = data + start..data + end;
        let tensor = StoredTensor::new(file, stored_type(info.dtype), shape, None, storage, 0)
            .map_err(|reason| format!("tensor \"{key}\": {reason}"))?;
        contents.tensors.push((key, tensor));
    }
    contents.metadata = metadata.metadata().clone().unwrap_or_default();
    Ok(contents)
}
