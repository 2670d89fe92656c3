//! Which file of a model folder holds the weights, and models that are split into shards: an index
//! (`*.safetensors.index.json`) says in which file each tensor lies, as transformers and diffusers
//! write it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::WeightsError;
use crate::config::{ConfigError, read_json};

/// Names of whole files and of indices, without variant: those of diffusers, then of transformers.
const SAFETENSORS: [&str; 2] = ["diffusion_pytorch_model.safetensors", "model.safetensors"];
const PICKLES: [&str; 2] = ["diffusion_pytorch_model.bin", "pytorch_model.bin"];
/// The first is full precision, which has no name.
const VARIANTS: [Option<&str>; 3] = [None, Some("fp16"), Some("bf16")];

/// All names that are looked for, the preferred first.
fn candidates() -> Vec<String> {
    let mut names = Vec::new();
    for whole in [SAFETENSORS, PICKLES] {
        for variant in VARIANTS {
            for name in whole {
                let (stem, end) = name.rsplit_once('.').unwrap_or((name, ""));
                match variant {
                    None => names.extend([name.to_string(), format!("{name}.index.json")]),
                    Some(v) => names.extend([format!("{stem}.{v}.{end}"), format!("{name}.index.{v}.json")]),
                }
            }
        }
    }
    names
}

/// The file or index to open in a model folder.
pub(super) fn find_in_folder(dir: &Path) -> Result<PathBuf, WeightsError> {
    let names = candidates();
    names.iter().map(|name| dir.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let looked_for = format!(
            "{} and {}, with .fp16 or .bf16 before the end, and as *.index.json",
            SAFETENSORS.join(", "),
            PICKLES.join(", ")
        );
        WeightsError::NoFile { dir: dir.to_path_buf(), looked_for }
    })
}

#[derive(Deserialize)]
#[serde(expecting = "an object with weight_map")]
struct IndexFile {
    weight_map: BTreeMap<String, String>,
}

/// An index of shards.
pub(super) struct ShardIndex {
    path: PathBuf,
    /// The file of each key.
    shards: BTreeMap<String, String>,
}

impl ShardIndex {
    pub(super) fn read(path: &Path) -> Result<Self, WeightsError> {
        let refuse = |reason: String| WeightsError::Index { file: path.to_path_buf(), reason };
        let index: IndexFile = read_json(path).map_err(|error| match error {
            ConfigError::Open { file, source } => WeightsError::Open { file, source },
            ConfigError::Json { source, .. } => refuse(source.to_string()),
            other => refuse(other.to_string()),
        })?;
        for shard in index.weight_map.values() {
            // Shards lie beside the index; a path could point anywhere.
            let plain = Path::new(shard).file_name().is_some_and(|name| name == shard.as_str());
            if !plain || shard.contains('\\') {
                return Err(refuse(format!("\"{shard}\" is not the name of a file beside it")));
            }
            if shard.ends_with(".json") {
                return Err(refuse(format!("the shard \"{shard}\" is an index itself")));
            }
        }
        Ok(Self { path: path.to_path_buf(), shards: index.weight_map })
    }

    fn shard(&self, name: &str) -> PathBuf {
        self.path.with_file_name(name)
    }

    /// The shards, each once; an error if one is not there.
    pub(super) fn files(&self) -> Result<Vec<PathBuf>, WeightsError> {
        let names: BTreeSet<&String> = self.shards.values().collect();
        let found = names.into_iter().map(|name| {
            let file = self.shard(name);
            let missing = || WeightsError::ShardMissing { index: self.path.clone(), shard: name.clone() };
            if file.is_file() { Ok(file) } else { Err(missing()) }
        });
        found.collect()
    }

    /// An error unless each key lies in the file that the index says. `file_of` tells where it lies.
    pub(super) fn check(&self, file_of: impl Fn(&str) -> Option<PathBuf>) -> Result<(), WeightsError> {
        for (key, shard) in &self.shards {
            let file = self.shard(shard);
            if file_of(key).is_none_or(|found| found != file) {
                return Err(WeightsError::ShardKey { index: self.path.clone(), file, key: key.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::candidates;

    #[test]
    fn whole_before_half_before_pickles() {
        let names = candidates();
        let at = |name: &str| {
            names.iter().position(|n| n == name).unwrap_or_else(|| panic!("{name} is not looked for"))
        };
        let order = [
            "diffusion_pytorch_model.safetensors",
            "diffusion_pytorch_model.safetensors.index.json",
            "model.safetensors",
            "model.safetensors.index.json",
            "diffusion_pytorch_model.fp16.safetensors",
            "diffusion_pytorch_model.safetensors.index.fp16.json",
            "model.fp16.safetensors",
            "model.safetensors.index.fp16.json",
            "diffusion_pytorch_model.bin",
            "pytorch_model.bin",
            "pytorch_model.bin.index.json",
            "pytorch_model.fp16.bin",
            "pytorch_model.bin.index.fp16.json",
        ];
        assert!(order.iter().map(|name| at(name)).is_sorted());
    }
}
