//! Weights of eight bits with a scale beside them, as ComfyUI writes them: the tensor `x.weight` is to be multiplied
//! by `x.scale_weight` (in newer files `x.weight_scale`), one number or one for each row of the weight. torchao's
//! files have the same as `x._weight_qdata` and `x._weight_scale`.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use super::error::WeightsError;
use super::stored::{StoredTensor, StoredType};

/// Ends of the keys of a weight's scale.
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];
/// Ends of torchao's keys of a weight and its scale.
const TORCHAO: (&str, &str) = ("._weight_qdata", "._weight_scale");
/// Scales of a layer's inputs, for processors that multiply in eight bits: here the weights are converted first.
const INPUT_SCALES: [&str; 2] = [".scale_input", ".input_scale"];
/// Says that a file has scales; holds nothing.
const MARKER: &str = "scaled_fp8";
/// Says in JSON how a weight is packed.
const FORMAT: &str = ".comfy_quant";
const FORMATS: [&str; 3] = ["float8_e4m3fn", "float8_e4m3fn_rowwise", "float8_e5m2"];

/// The files' tensors, and what is known of them.
pub(super) struct Files<'a> {
    /// The file in which a tensor lies.
    pub path_of: &'a dyn Fn(&StoredTensor) -> PathBuf,
    /// The bytes of a dense tensor.
    pub bytes_of: &'a dyn Fn(&StoredTensor) -> Option<Vec<u8>>,
}

/// Puts each scale to its weight, and takes keys out that are no weights: scales, markers, formats.
///
/// # Errors
/// A scale that fits no weight; a packing that is not known.
pub(super) fn attach(tensors: &mut HashMap<String, StoredTensor>, files: &Files) -> Result<(), WeightsError> {
    rename_torchao(tensors, files)?;
    let weight_of = |key: &str, ends: &[&str]| {
        let stem = ends.iter().find_map(|end| key.strip_suffix(end))?;
        let weight = format!("{stem}.weight");
        tensors.contains_key(&weight).then_some(weight)
    };
    let (mut scales, mut spare) = (Vec::new(), Vec::new());
    for (key, tensor) in tensors.iter() {
        if let Some(weight) = weight_of(key, &SCALES) {
            scales.push((key.clone(), weight));
        } else if weight_of(key, &INPUT_SCALES).is_some() || is_marker(key) {
            spare.push(key.clone());
        } else if weight_of(key, &[FORMAT]).is_some() {
            check_format(key, tensor, files)?;
            spare.push(key.clone());
        }
    }
    for (key, weight) in scales {
        let Some(scale) = tensors.remove(&key) else { continue };
        let Some(weight) = tensors.get_mut(&weight) else { continue };
        let file = (files.path_of)(&scale);
        if let StoredType::Other(found) = scale.dtype() {
            return Err(WeightsError::Type { file, key, found: found.clone() });
        }
        let Some(fitted) = scale.for_rows_of(weight) else {
            let (found, weight) = (scale.shape().to_vec(), weight.shape().to_vec());
            return Err(WeightsError::Scale { file, key, found, weight });
        };
        weight.scale = Some(Box::new(fitted));
    }
    spare.iter().for_each(|key| drop(tensors.remove(key)));
    Ok(())
}

/// Gives torchao's weights that have a scale the names that others have.
fn rename_torchao(tensors: &mut HashMap<String, StoredTensor>, files: &Files) -> Result<(), WeightsError> {
    let (data_end, scale_end) = TORCHAO;
    let stems: Vec<String> =
        tensors.keys().filter_map(|key| key.strip_suffix(data_end).map(str::to_owned)).collect();
    for stem in stems {
        let (data, scale) = (format!("{stem}{data_end}"), format!("{stem}{scale_end}"));
        if !tensors.contains_key(&scale) {
            continue;
        }
        for (from, to) in [(data, format!("{stem}.weight")), (scale, format!("{stem}{}", SCALES[1]))] {
            let Some(tensor) = tensors.remove(&from) else { continue };
            if let Some(other) = tensors.insert(to.clone(), tensor) {
                return Err(WeightsError::Twice { file: (files.path_of)(&other), key: to });
            }
        }
    }
    Ok(())
}

fn is_marker(key: &str) -> bool {
    key.strip_suffix(MARKER).is_some_and(|start| start.is_empty() || start.ends_with('.'))
}

fn check_format(key: &str, tensor: &StoredTensor, files: &Files) -> Result<(), WeightsError> {
    let json = (files.bytes_of)(tensor).and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
    let format = json.as_ref().and_then(|json| json.get("format")?.as_str()).unwrap_or("no format");
    if FORMATS.contains(&format) {
        return Ok(());
    }
    let found: String = format.chars().filter(|c| !c.is_control()).take(60).collect();
    Err(WeightsError::Packing {
        file: (files.path_of)(tensor),
        key: key.to_string(),
        found,
        known: FORMATS.join(", "),
    })
}
