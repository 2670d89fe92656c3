//! What a LoRA file says beside its tensors: the type they are kept in, scales in the metadata, and alphas
//! saved as whole numbers.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use tch::Kind;

use super::diffusers_keys::PEFT_PREFIX;
use super::{LoraError, Network, TextEncoderSlot};

/// The largest header that the safetensors library itself reads.
const LARGEST: u64 = 100_000_000;

/// The first part of a safetensors file; empty for files of other kinds.
#[derive(Debug, Default)]
pub(super) struct Header {
    /// Scalars of an integer type: kohya's trainer saves an alpha that way if it was left at the rank.
    pub(super) integers: HashMap<String, f64>,
    /// Scales that diffusers or PEFT keeps as text.
    pub(super) scales: Option<Scales>,
    /// All tensors that are not scalars are kept in this half type.
    pub(super) half: Option<Kind>,
}

#[derive(Deserialize)]
struct TensorInfo {
    dtype: String,
    shape: Vec<i64>,
    data_offsets: (u64, u64),
}

impl Header {
    /// Reads the header of a safetensors file, and `adapter_config.json` beside a file of PEFT's own.
    pub(super) fn read(path: &Path, keys: &[String]) -> Result<Self, LoraError> {
        let failed = |source| LoraError::Read { file: path.to_path_buf(), source };
        let mut file = File::open(path).map_err(failed)?;
        let mut header = match json(&mut file).map_err(failed)? {
            Some(entries) => Self::from_entries(&mut file, path, entries)?,
            None => Self::default(),
        };
        if header.scales.is_none() && keys.iter().any(|key| key.starts_with(PEFT_PREFIX)) {
            header.scales = Some(Scales::beside(path)?);
        }
        Ok(header)
    }

    fn from_entries(
        file: &mut File,
        path: &Path,
        mut entries: Map<String, Value>,
    ) -> Result<Self, LoraError> {
        let failed = |source| LoraError::Read { file: path.to_path_buf(), source };
        let start = file.stream_position().map_err(failed)?;
        let mut header = Self::default();
        if let Some(metadata) = entries.remove("__metadata__") {
            header.scales = Scales::from_metadata(path, &metadata)?;
        }
        let mut types = Vec::new();
        for (key, value) in entries {
            // Anything odd about a tensor is found when the tensors are read.
            let Ok(info) = serde_json::from_value::<TensorInfo>(value) else { continue };
            let scalar = info.shape.iter().product::<i64>() == 1;
            if !scalar {
                types.push(info.dtype);
            } else if let Some(number) = integer(file, start, &info).map_err(failed)? {
                header.integers.insert(key, number);
            }
        }
        let all = |name: &str| !types.is_empty() && types.iter().all(|dtype| dtype == name);
        header.half = match () {
            () if all("F16") => Some(Kind::Half),
            () if all("BF16") => Some(Kind::BFloat16),
            () => None,
        };
        Ok(header)
    }
}

/// The JSON at the start of a safetensors file; `None` if the file is something else.
fn json(file: &mut File) -> std::io::Result<Option<Map<String, Value>>> {
    let mut length = [0; 8];
    if file.read_exact(&mut length).is_err() {
        return Ok(None);
    }
    let length = u64::from_le_bytes(length);
    if length > LARGEST || length + 8 > file.metadata()?.len() {
        return Ok(None);
    }
    let mut text = vec![0; length as usize];
    file.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text).ok())
}

/// A scalar of an integer type.
fn integer(file: &mut File, start: u64, info: &TensorInfo) -> std::io::Result<Option<f64>> {
    let width = match info.dtype.as_str() {
        "I64" | "U64" => 8,
        "I32" | "U32" => 4,
        "I16" | "U16" => 2,
        "I8" | "U8" => 1,
        _ => return Ok(None),
    };
    if info.data_offsets.1.checked_sub(info.data_offsets.0) != Some(width) {
        return Ok(None);
    }
    file.seek(SeekFrom::Start(start.saturating_add(info.data_offsets.0)))?;
    let mut bytes = [0; 8];
    let (read, rest) = bytes.split_at_mut(width as usize);
    file.read_exact(read)?;
    // The sign goes on through the bytes above.
    if info.dtype.starts_with('I') && read.last().is_some_and(|high| high & 0x80 != 0) {
        rest.fill(0xff);
    }
    Ok(Some(match info.dtype.as_str() {
        "U64" => u64::from_le_bytes(bytes) as f64,
        _ => i64::from_le_bytes(bytes) as f64,
    }))
}

/// The numbers of PEFT's `LoraConfig`, for each network.
#[derive(Debug, Default)]
pub(super) struct Scales(Vec<(Network, Config)>);

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    lora_alpha: Option<f64>,
    alpha_pattern: HashMap<String, f64>,
    use_rslora: bool,
    fan_in_fan_out: bool,
}

impl Scales {
    /// From the `__metadata__` of a file saved by diffusers: a JSON text under `lora_adapter_metadata`, with
    /// the network's name before each key.
    fn from_metadata(path: &Path, metadata: &Value) -> Result<Option<Self>, LoraError> {
        const KEY: &str = "lora_adapter_metadata";
        const NETWORKS: [(&str, Network); 3] = [
            ("unet.", Network::UNet),
            ("text_encoder.", Network::TextEncoder(TextEncoderSlot::First)),
            ("text_encoder_2.", Network::TextEncoder(TextEncoderSlot::Second)),
        ];
        let Some(text) = metadata.get(KEY).and_then(Value::as_str) else { return Ok(None) };
        let wrong = |reason: serde_json::Error| LoraError::Metadata {
            file: path.to_path_buf(),
            what: KEY.into(),
            reason: reason.to_string(),
        };
        let keys: Map<String, Value> = serde_json::from_str(text).map_err(wrong)?;
        let mut scales = Vec::new();
        for (prefix, network) in NETWORKS {
            let own: Map<String, Value> = keys
                .iter()
                .filter_map(|(key, value)| Some((key.strip_prefix(prefix)?.to_string(), value.clone())))
                .collect();
            if !own.is_empty() {
                scales.push((network, serde_json::from_value(own.into()).map_err(wrong)?));
            }
        }
        Self(scales).checked(path, KEY).map(Some)
    }

    /// From the `adapter_config.json` that PEFT saves beside its weights, without which their scale is not
    /// known.
    fn beside(path: &Path) -> Result<Self, LoraError> {
        const NAME: &str = "adapter_config.json";
        let file = path.with_file_name(NAME);
        let wrong = |reason: String| LoraError::Metadata { file: file.clone(), what: NAME.into(), reason };
        let text = std::fs::read_to_string(&file)
            .map_err(|e| wrong(format!("PEFT keeps the scale of its weights here: {e}")))?;
        let config = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
        Self(vec![(Network::UNet, config)]).checked(&file, NAME)
    }

    fn checked(self, file: &Path, what: &str) -> Result<Self, LoraError> {
        let wrong = |reason: &str| {
            Err(LoraError::Metadata { file: file.into(), what: what.into(), reason: reason.into() })
        };
        for (_, config) in &self.0 {
            if config.fan_in_fan_out {
                return wrong("fan_in_fan_out is true, which no layer of these models is");
            }
            // The keys are regular expressions to PEFT; those that are saved are plain names.
            let plain =
                |key: &String| !key.contains(['*', '+', '?', '(', ')', '[', ']', '{', '}', '|', '\\']);
            if !config.alpha_pattern.keys().all(plain) {
                return wrong("alpha_pattern holds a regular expression, only names of layers are supported");
            }
        }
        Ok(self)
    }

    /// The scale of a layer's change of this rank; `None` where the file says nothing of the network.
    pub(super) fn of(&self, network: Network, layer: &str, rank: i64) -> Option<f64> {
        let (_, config) = self.0.iter().find(|(other, _)| *other == network)?;
        let names = |key: &str| {
            let name = key.trim_start_matches('^').trim_end_matches('$');
            layer == name || (!key.starts_with('^') && layer.ends_with(&format!(".{name}")))
        };
        // The longest name is the most exact one.
        let pattern =
            config.alpha_pattern.iter().filter(|(key, _)| names(key)).max_by_key(|(key, _)| key.len());
        let alpha = pattern.map(|(_, alpha)| *alpha).or(config.lora_alpha)?;
        let rank = rank as f64;
        Some(alpha / if config.use_rslora { rank.sqrt() } else { rank })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn scales(config: &str) -> Result<Option<Scales>, LoraError> {
        let metadata = serde_json::json!({ "lora_adapter_metadata": config });
        Scales::from_metadata(Path::new("x.safetensors"), &metadata)
    }

    #[test]
    fn scales_are_those_of_the_network_and_of_the_layer() {
        let text = r#"{"unet.r": 4, "unet.lora_alpha": 2, "unet.alpha_pattern": {"attn1.to_q": 8, "^conv_in": 4},
                       "text_encoder.lora_alpha": 9, "text_encoder.use_rslora": true}"#;
        let scales = scales(text).unwrap().unwrap();
        assert_eq!(scales.of(Network::UNet, "mid.attn2.to_q", 4), Some(0.5));
        assert_eq!(scales.of(Network::UNet, "mid.attn1.to_q", 4), Some(2.0));
        assert_eq!(scales.of(Network::UNet, "conv_in", 4), Some(1.0));
        assert_eq!(scales.of(Network::UNet, "x.conv_in", 4), Some(0.5));
        let text = Network::TextEncoder(TextEncoderSlot::First);
        assert_eq!(scales.of(text, "q_proj", 9), Some(3.0));
        assert_eq!(scales.of(Network::TextEncoder(TextEncoderSlot::Second), "q_proj", 9), None);
    }

    #[test]
    fn bad_metadata_is_named() {
        let message = |text: &str| scales(text).unwrap_err().to_string();
        assert!(message("[1").starts_with("x.safetensors: lora_adapter_metadata: "));
        assert!(message(r#"{"unet.lora_alpha": "much"}"#).contains("much"));
        assert!(message(r#"{"unet.alpha_pattern": {".*to_q": 1}}"#).contains("regular expression"));
        assert!(scales("{}").unwrap().unwrap().of(Network::UNet, "x", 1).is_none());
    }
}
