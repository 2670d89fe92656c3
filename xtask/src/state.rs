//! What is installed already. Hashing half a gigabyte takes a second or two, so that is done once per file:
//! afterwards its size and time of change stand for it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::digest;
use crate::error::{At, Error, Result};
use crate::manifest::{Manifest, Set};
use crate::wheel::Missing;

/// For each path below `.deps`: `<sha256> <quick>`, the hash it was found to have and its [`digest::quick`]
/// at that time.
pub struct Verified {
    path: PathBuf,
    known: BTreeMap<String, String>,
}

impl Verified {
    /// Reads the record in `deps`; an unreadable or missing one counts as empty.
    pub fn load(deps: &Path) -> Self {
        let path = deps.join(".verified.json");
        let known =
            fs::read(&path).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        Self { path, known }
    }

    /// Forgets everything, so that everything is hashed again.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// Whether the file or folder `to` below `deps` has SHA-256 `sha256`.
    ///
    /// # Errors
    /// When it is there and cannot be read.
    pub fn has(&mut self, deps: &Path, to: &str, sha256: &str) -> Result<bool> {
        let path = deps.join(to);
        if !path.exists() {
            self.known.remove(to);
            return Ok(false);
        }
        let record = format!("{sha256} {}", digest::quick(&path)?);
        if self.known.get(to) == Some(&record) {
            return Ok(true);
        }
        self.known.remove(to);
        let found = if path.is_dir() { digest::tree(&path)? } else { digest::file(&path)? };
        if found == sha256 {
            self.known.insert(to.to_owned(), record);
        }
        Ok(found == sha256)
    }

    /// Records that `to` has just been found to have SHA-256 `sha256`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn remember(&mut self, deps: &Path, to: &str, sha256: &str) -> Result<()> {
        let record = format!("{sha256} {}", digest::quick(&deps.join(to))?);
        self.known.insert(to.to_owned(), record);
        Ok(())
    }

    /// Writes the record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self) -> Result<()> {
        let text = serde_json::to_vec_pretty(&self.known).map_err(|e| Error::Manifest(e.to_string()))?;
        let unfinished = self.path.with_extension("tmp");
        fs::write(&unfinished, text).at(&unfinished)?;
        fs::rename(&unfinished, &self.path).at(&self.path)
    }
}

/// The wheels of `sets` of which something is missing or broken in `deps`. `skip` names a folder below
/// `.deps` that is not wanted.
///
/// # Errors
/// When something that is there cannot be read.
pub fn missing<'m>(
    manifest: &'m Manifest,
    sets: &[Set],
    skip: Option<&str>,
    deps: &Path,
    verified: &mut Verified,
) -> Result<Vec<Missing<'m>>> {
    let mut all = Vec::new();
    for wheel in manifest.wheel.iter().filter(|w| sets.contains(&w.set)) {
        let mut of_wheel = Missing { wheel, members: Vec::new(), trees: Vec::new() };
        let wanted = |to: &str| skip.is_none_or(|folder| !Path::new(to).starts_with(folder));
        for member in wheel.member.iter().filter(|m| wanted(&m.to)) {
            if !verified.has(deps, &member.to, &member.sha256)? {
                of_wheel.members.push(member);
            }
        }
        for tree in wheel.tree.iter().filter(|t| wanted(&t.to)) {
            if !verified.has(deps, &tree.to, &tree.sha256)? {
                of_wheel.trees.push(tree);
            }
        }
        if !of_wheel.members.is_empty() || !of_wheel.trees.is_empty() {
            all.push(of_wheel);
        }
    }
    Ok(all)
}
