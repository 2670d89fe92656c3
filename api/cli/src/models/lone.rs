//! One file of weights, whoever put it there: what it is, and whether every tensor in it can be read.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use imagine_contract::CancelFlag;
use imagine_pipeline::fit::fit;
use imagine_pipeline::inspect::{
    Inspected, ReadAll, TensorFiles, TypeShare, has_weight_name, inspect, read_all,
};
use indicatif::DecimalBytes;
use serde::Serialize;

use super::bar::Bar;
use super::digest::digests;
use super::download::Watcher;
use super::error::ModelsError;
use super::installed::bytes_of;

/// What is known of a file.
#[derive(Clone, Debug, Serialize)]
pub struct LoneFile {
    pub path: PathBuf,
    /// Which part of a model it holds; `None` if that is not known here.
    pub what: Option<String>,
    /// The base that it is or goes with.
    pub base: Option<String>,
    /// The option that names it to `generate`.
    pub option: Option<&'static str>,
    /// The recipe that belongs to it.
    pub preset: Option<&'static str>,
    /// Types of its tensors, the largest share first.
    pub precision: Vec<Share>,
    pub tensors: usize,
    /// Tensors that were read; none where only its header was looked at.
    #[serde(skip)]
    pub read: usize,
    /// Numbers in its tensors.
    pub parameters: u64,
    pub bytes: u64,
    pub sha256: String,
    /// The model that its keys and shapes were compared with; `None` where they were not, or none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<String>,
    /// What is wrong with it, each with file, key and reason; empty where nothing is.
    pub problems: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Share {
    #[serde(rename = "type")]
    pub name: String,
    pub tensors: usize,
    pub parameters: u64,
}

/// Whether a name means a file of weights on this machine.
pub fn is_weight_file(path: &Path) -> bool {
    has_weight_name(path) && path.is_file()
}

/// What makes up models below a folder, each sorted.
#[derive(Debug, Default, PartialEq)]
pub struct ModelFiles {
    pub weights: Vec<PathBuf>,
    /// Lists of shards, `*.index.json` and `*.index.fp16.json`.
    pub indices: Vec<PathBuf>,
}

impl ModelFiles {
    /// Looks through a folder and those below it.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn below(folder: &Path) -> Result<Self, ModelsError> {
        let mut found = Self::default();
        found.add(folder)?;
        found.weights.sort();
        found.indices.sort();
        Ok(found)
    }

    fn add(&mut self, folder: &Path) -> Result<(), ModelsError> {
        let at = |e| ModelsError::io(folder, e);
        for entry in fs::read_dir(folder).map_err(at)? {
            let path = entry.map_err(at)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() {
                self.add(&path)?;
            } else if has_weight_name(&path) {
                self.weights.push(path);
            } else if name.contains(".index.") && name.ends_with(".json") {
                self.indices.push(path);
            }
        }
        Ok(())
    }
}

/// How closely a file is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Its header and its checksum.
    Header,
    /// Every tensor as well.
    Whole,
    /// The same, of a file that need not make sense alone, as one of several shards.
    Part,
}

impl Look {
    /// Bytes of a file that are read.
    pub fn bytes(self, path: &Path) -> u64 {
        bytes_of(path) * if self == Self::Header { 1 } else { 2 }
    }
}

impl LoneFile {
    /// Reads a file: once for its checksum and, but for [`Look::Header`], again tensor by tensor. The bar moves by
    /// [`Look::bytes`].
    ///
    /// # Errors
    /// It cannot be read at all, or the person stopped it. What is wrong with its content is in
    /// [`LoneFile::problems`].
    pub fn read(path: &Path, look: Look, cancel: &CancelFlag, bar: &mut Bar) -> Result<Self, ModelsError> {
        let bytes = bytes_of(path);
        bar.file("reading", &path.to_string_lossy(), bytes, 0);
        let sha256 = digests(path, cancel, &mut |n| bar.checked(n))?.sha256;
        let mut problems = Vec::new();
        let mut problem = |error: String| {
            if !problems.contains(&error) {
                problems.push(error);
            }
        };
        let files = TensorFiles::open(&[path.to_path_buf()]).map(Arc::new);
        let files = files.map_err(|error| problem(error.to_string())).ok();
        let mut all = ReadAll::default();
        if let Some(files) = files.as_ref().filter(|_| look != Look::Header) {
            all = read_all(files, &mut |n| {
                bar.checked(n);
                !cancel.is_canceled()
            });
            if cancel.is_canceled() {
                return Err(ModelsError::Canceled);
            }
            all.errors.iter().for_each(|error| problem(error.to_string()));
        }
        bar.done(look.bytes(path));
        let types = files.as_ref().map(|files| files.types()).unwrap_or_default();
        let (mut inspected, mut compared_with) = (None, None);
        if let Some(files) = &files {
            match inspect(path, files) {
                Ok(found) => {
                    // Networks of a folder may lie in several files.
                    let whole = match look {
                        Look::Header => false,
                        Look::Whole => true,
                        Look::Part => found.part.is_one_file(),
                    };
                    if whole {
                        let fit = fit(path, files, &found);
                        fit.problems.into_iter().for_each(&mut problem);
                        compared_with = fit.with;
                    }
                    inspected = Some(found);
                }
                Err(error) if look != Look::Part => problem(error.to_string()),
                Err(_) => {}
            }
        }
        let (what, base, option, preset) = match inspected {
            Some(Inspected { what, base, option, preset, .. }) => (Some(what), base, option, preset),
            None => (None, None, None, None),
        };
        let share =
            |TypeShare { name, tensors, elements }: TypeShare| Share { name, tensors, parameters: elements };
        let precision: Vec<Share> = types.into_iter().map(share).collect();
        Ok(Self {
            path: path.to_path_buf(),
            what,
            base,
            option,
            preset,
            read: all.read,
            tensors: precision.iter().map(|share| share.tensors).sum(),
            parameters: precision.iter().map(|share| share.parameters).sum(),
            precision,
            bytes,
            sha256,
            compared_with,
            problems,
        })
    }

    /// A network of a face pack, which has been loaded: its checksum is computed besides.
    ///
    /// # Errors
    /// As [`LoneFile::read`].
    pub fn of_pack(
        path: &Path,
        what: String,
        problem: Option<String>,
        cancel: &CancelFlag,
        bar: &mut Bar,
    ) -> Result<Self, ModelsError> {
        let bytes = bytes_of(path);
        bar.file("reading", &path.to_string_lossy(), bytes, 0);
        let sha256 = digests(path, cancel, &mut |n| bar.checked(n))?.sha256;
        bar.done(bytes);
        Ok(Self {
            path: path.to_path_buf(),
            what: Some(what),
            base: None,
            option: Some("--face-encoder"),
            preset: None,
            precision: Vec::new(),
            tensors: 0,
            read: 0,
            parameters: 0,
            bytes,
            sha256,
            compared_with: None,
            problems: problem.into_iter().collect(),
        })
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let what = self.what.as_deref().unwrap_or("no part of a model that can be used");
        let mut lines = vec![format!("{}: {what}", self.path.display())];
        if let Some(base) = &self.base {
            lines.push(format!("  base {base}"));
        }
        let shares: Vec<String> = self
            .precision
            .iter()
            .map(|share| format!("{} ({} of {} tensors)", share.name, share.tensors, self.tensors))
            .collect();
        if !shares.is_empty() {
            lines.push(format!("  precision {}; {} parameters", shares.join(", "), count(self.parameters)));
        }
        lines.push(format!("  size {}, sha256 {}", DecimalBytes(self.bytes), self.sha256));
        if let Some(option) = self.option {
            let preset = self.preset.map(|preset| format!("; it is drawn by the preset {preset}"));
            lines.push(format!("  named by {option}{}", preset.unwrap_or_default()));
        }
        if let Some(model) = &self.compared_with {
            lines.push(format!("  keys and shapes compared with {model}"));
        }
        lines.extend(some_of(&self.problems).map(|problem| format!("  problem: {problem}")));
        lines
    }
}

/// The first problems, and how many more there are: of a file for another model every tensor is one.
pub fn some_of(problems: &[String]) -> impl Iterator<Item = String> {
    const SHOWN: usize = 20;
    let more = problems.len().saturating_sub(SHOWN);
    let more = (more > 0).then(|| format!("and {more} more, which --json lists"));
    problems.iter().take(SHOWN).cloned().chain(more)
}

/// A count in millions or thousands.
fn count(n: u64) -> String {
    match n {
        1_000_000.. => format!("{:.1} million", n as f64 / 1e6),
        1_000.. => format!("{:.1} thousand", n as f64 / 1e3),
        _ => n.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn files_of_weights_are_found_below_a_folder() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("of.index.json");
        fs::create_dir_all(folder.join("unet")).unwrap();
        let index = "unet/model.safetensors.index.fp16.json";
        for name in ["unet/b.safetensors", "a.CKPT", "config.json", "unet/x.onnx", "unet/index.json", index] {
            fs::write(folder.join(name), "").unwrap();
        }
        let found = ModelFiles::below(&folder).unwrap();
        assert_eq!(found.weights, [folder.join("a.CKPT"), folder.join("unet/b.safetensors")]);
        assert_eq!(found.indices, [folder.join(index)]);
        assert!(!is_weight_file(&folder.join("none.safetensors")));
        let message = ModelFiles::below(&folder.join("none")).unwrap_err().to_string();
        assert!(message.contains("none"), "{message}");
    }

    #[test]
    fn counts_are_readable() {
        assert_eq!([count(859_520_964), count(1_500), count(7)], ["859.5 million", "1.5 thousand", "7"]);
    }
}
