//! Weights of eight bits with a scale beside them, as ComfyUI writes them: the tensor `x.weight` is to be multiplied
//! by the one number `x.scale_weight` (in newer files `x.weight_scale`).

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use super::error::WeightsError;
use super::stored::{StoredTensor, StoredType};

/// Ends of the keys of a weight's scale.
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];
/// Scales of a layer's inputs, for processors that multiply in eight bits: here the weights are converted first.
const INPUT_SCALES: [&str; 2] = [".scale_input", ".input_scale"];
/// Says that a file has scales; holds nothing.
const MARKER: &str = "scaled_fp8";
/// Says in JSON how a weight is packed.
const FORMAT: &str = ".comfy_quant";
const FORMATS: [&str; 2] = ["float8_e4m3fn", "float8_e5m2"];

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
/// A scale of several numbers; a packing that is not known.
pub(super) fn attach(tensors: &mut HashMap<String, StoredTensor>, files: &Files) -> Result<(), WeightsError> {
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
        let one = scale.shape().iter().product::<i64>() == 1;
        if !one || !matches!(scale.dtype(), StoredType::Weight(_)) {
            let (file, found) = ((files.path_of)(&scale), scale.shape().to_vec());
            let expected = "one number, the only scale of a weight that is read";
            return Err(WeightsError::Layout { file, key, found, expected });
        }
        if let Some(weight) = tensors.get_mut(&weight) {
            weight.scale = Some(Box::new(scale));
        }
    }
    spare.iter().for_each(|key| drop(tensors.remove(key)));
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
