//! How far a batch's file has been handed in, beside it: what makes a run that was interrupted go on, and a file
//! that grows be worked off line by line.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// A part of the file that a server has as a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The batch's id.
    pub id: String,
    /// Bytes of the file up to the part's end.
    pub end: usize,
    /// SHA-256 of those bytes, in hexadecimal: an earlier line that was changed is noticed.
    pub sha256: String,
    /// Its pictures are in the folder.
    pub fetched: bool,
    /// How many lines it has, once the server has said so.
    #[serde(default)]
    pub lines: Option<u64>,
    /// How many of them failed or were cancelled: a run that finds nothing to do says so as the first one did.
    #[serde(default)]
    pub failed: u64,
}

/// What was handed in of one file, to one server.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProgressFile {
    pub server: String,
    pub parts: Vec<Part>,
}

impl ProgressFile {
    /// Beside `file`.
    pub fn path(file: &Path) -> PathBuf {
        let mut name = file.file_name().unwrap_or_default().to_os_string();
        name.push(".batches.json");
        file.with_file_name(name)
    }

    /// What was handed in to `server` of a file that has these bytes now; nothing, if there is no such record.
    ///
    /// # Errors
    /// The record cannot be read; lines that were handed in have changed.
    pub fn read(path: &Path, server: &str, bytes: &[u8]) -> Result<Self, Failure> {
        let fresh = Self { server: server.into(), parts: Vec::new() };
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(fresh),
            Err(e) => return Err(Failure::input(format!("{}: {e}", path.display()))),
        };
        let wrong = |e| Failure::input(format!("{}: {e}", path.display()));
        let known: Self = serde_json::from_str(&text).map_err(wrong)?;
        if known.server != server {
            return Ok(fresh);
        }
        match known.parts.iter().all(|part| bytes.get(..part.end).is_some_and(|b| sha256(b) == part.sha256)) {
            true => Ok(known),
            false => Err(Failure::input("lines that were handed in before have changed")
                .hint(format!("delete {} to hand in all lines again, as new pictures", path.display()))),
        }
    }

    /// Where the lines begin that were not handed in.
    pub fn end(&self) -> usize {
        self.parts.last().map_or(0, |part| part.end)
    }

    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self).map_err(Failure::failed)?;
        // Whole or not at all.
        let next = path.with_extension("json.new");
        let written = std::fs::write(&next, text).and_then(|()| std::fs::rename(&next, path));
        written.map_err(|e| Failure::failed(format!("{}: {e}", path.display())))
    }
}

/// In hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_file_that_grew_goes_on_and_one_that_changed_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = ProgressFile::path(&folder.path().join("ideas.jsonl"));
        assert!(path.ends_with("ideas.jsonl.batches.json"));
        let read = |bytes: &[u8]| ProgressFile::read(&path, "http://a", bytes).map_err(|e| e.to_string());
        assert_eq!(read(b"one\n").unwrap().end(), 0);
        let part = Part {
            id: "batch_1".into(),
            end: 4,
            sha256: sha256(b"one\n"),
            fetched: true,
            lines: Some(1),
            failed: 0,
        };
        let known = ProgressFile { server: "http://a".into(), parts: vec![part] };
        known.write(&path).unwrap();
        assert_eq!(read(b"one\ntwo\n").unwrap(), known);
        assert!(read(b"One\ntwo\n").unwrap_err().contains("have changed"));
        assert!(read(b"on").unwrap_err().contains("have changed"));
        assert!(ProgressFile::read(&path, "http://b", b"one\n").unwrap().parts.is_empty());
    }
}
