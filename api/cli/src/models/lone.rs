//! One file of weights, whoever put it there: what it is, and whether every tensor in it can be read.

use std::fs;
use std::path::{Path, PathBuf};

use imagine_contract::CancelFlag;
use imagine_pipeline::inspect::{Inspected, TensorFiles, TypeShare, inspect};
use indicatif::DecimalBytes;
use serde::Serialize;

use super::bar::Bar;
use super::digest::digests;
use super::download::Watcher;
use super::error::ModelsError;
use super::installed::bytes_of;

/// Endings of files of weights.
const ENDINGS: [&str; 5] = ["safetensors", "bin", "ckpt", "pt", "pth"];

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
    /// Numbers in its tensors.
    pub parameters: u64,
    pub bytes: u64,
    pub sha256: String,
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
    let end = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    ENDINGS.contains(&end.as_str()) && path.is_file()
}

/// The files of weights in a folder and those below it, sorted.
pub fn weight_files(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    let mut found = Vec::new();
    for path in entries {
        if path.is_dir() {
            found.extend(weight_files(&path));
        } else if is_weight_file(&path) {
            found.push(path);
        }
    }
    found
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

impl LoneFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read at all, or the person stopped it. What is wrong with its content is in
    /// [`LoneFile::problems`].
    pub fn read(path: &Path, look: Look, cancel: &CancelFlag, bar: &mut Bar) -> Result<Self, ModelsError> {
        let bytes = bytes_of(path);
        bar.file("reading", &path.to_string_lossy(), bytes, 0);
        let sha256 = digests(path, cancel, &mut |n| bar.checked(n))?.sha256;
        bar.done(bytes);
        let mut problems = Vec::new();
        let mut problem = |error: String| {
            if !problems.contains(&error) {
                problems.push(error);
            }
        };
        let files = TensorFiles::open(&[path.to_path_buf()]);
        let types = files.as_ref().map(TensorFiles::types).unwrap_or_default();
        match &files {
            Err(error) => problem(error.to_string()),
            Ok(files) if look != Look::Header => {
                let errors = files.check_all(&mut || !cancel.is_canceled());
                if cancel.is_canceled() {
                    return Err(ModelsError::Canceled);
                }
                errors.iter().for_each(|error| problem(error.to_string()));
            }
            Ok(_) => {}
        }
        let inspected = match (&files, inspect(path)) {
            (Err(_), _) => None,
            (Ok(_), Ok(inspected)) => Some(inspected),
            (Ok(_), Err(error)) => {
                if look != Look::Part {
                    problem(error.to_string());
                }
                None
            }
        };
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
            tensors: precision.iter().map(|share| share.tensors).sum(),
            parameters: precision.iter().map(|share| share.parameters).sum(),
            precision,
            bytes,
            sha256,
            problems,
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
        lines.extend(self.problems.iter().map(|problem| format!("  problem: {problem}")));
        lines
    }
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
        fs::create_dir(dir.path().join("unet")).unwrap();
        for name in ["unet/b.safetensors", "a.CKPT", "config.json", "unet/x.onnx"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names = weight_files(dir.path());
        assert_eq!(names, [dir.path().join("a.CKPT"), dir.path().join("unet/b.safetensors")]);
        assert!(!is_weight_file(&dir.path().join("none.safetensors")));
    }

    #[test]
    fn counts_are_readable() {
        assert_eq!([count(859_520_964), count(1_500), count(7)], ["859.5 million", "1.5 thousand", "7"]);
    }
}
