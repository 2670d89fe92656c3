//! What is fetched: `deps.toml`, parsed and checked. Every file is pinned by its SHA-256.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The manifest compiled into the binary.
const DEPS: &str = include_str!("../deps.toml");

/// Which set a wheel belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Set {
    /// What every build and run needs.
    Cpu,
    /// CUDA kernels and libraries, loaded at run time (`cargo xtask setup --cuda`).
    Cuda,
}

/// All that `cargo xtask setup` may install.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Wheels of a Python package index, of which some members are taken.
    pub wheel: Vec<Wheel>,
    /// Small files written from here.
    pub text: Vec<Text>,
}

/// One wheel and the members that are taken from it.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    pub set: Set,
    /// What a person calls it, for the progress bar.
    pub title: String,
    /// Project name in the package index.
    pub project: String,
    pub version: String,
    /// Exact name of the wheel.
    pub file: String,
    /// Bytes of the whole wheel.
    pub size: u64,
    /// Of the whole wheel: checked when the whole of it was fetched.
    pub sha256: String,
    #[serde(default)]
    pub member: Vec<Member>,
    #[serde(default)]
    pub tree: Vec<Tree>,
}

/// A file inside a wheel.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Path inside the wheel.
    pub from: String,
    /// Path below `.deps`.
    pub to: String,
    /// Bytes once unpacked.
    pub size: u64,
    /// Bytes inside the wheel.
    pub packed: u64,
    /// Of the unpacked file.
    pub sha256: String,
}

/// A folder inside a wheel.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tree {
    /// Folder inside the wheel, ending in `/`.
    pub from: String,
    /// Folder below `.deps`.
    pub to: String,
    /// Number of files.
    pub files: u64,
    /// Bytes once unpacked.
    pub size: u64,
    /// Bytes inside the wheel.
    pub packed: u64,
    /// Of the listing that [`crate::digest::tree`] makes of the unpacked folder.
    pub sha256: String,
}

/// A small file whose content is given here.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Text {
    pub set: Set,
    /// Path below `.deps`.
    pub to: String,
    pub content: String,
}

impl Manifest {
    /// The manifest of this repository.
    ///
    /// # Errors
    /// [`Error::Manifest`] if `deps.toml` is not valid.
    pub fn load() -> Result<Self> {
        Self::parse(DEPS)
    }

    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// [`Error::Manifest`] names the entry and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self> {
        let manifest: Self = toml::from_str(text).map_err(|e| Error::Manifest(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<()> {
        let mut destinations = BTreeSet::new();
        let mut check = |to: &str, sha256: Option<&str>| {
            let plain = Path::new(to).components().all(|c| matches!(c, Component::Normal(_)));
            if to.is_empty() || !plain {
                return Err(Error::Manifest(format!("`to = {to:?}` is not a path inside .deps")));
            }
            if let Some(sha256) = sha256
                && (sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit()))
            {
                return Err(Error::Manifest(format!("`{to}`: sha256 is not 64 hexadecimal digits")));
            }
            if !destinations.insert(to.to_owned()) {
                return Err(Error::Manifest(format!("`{to}` is written twice")));
            }
            Ok(())
        };
        for wheel in &self.wheel {
            for member in &wheel.member {
                check(&member.to, Some(&member.sha256))?;
            }
            for tree in &wheel.tree {
                check(&tree.to, Some(&tree.sha256))?;
                if !tree.from.ends_with('/') {
                    return Err(Error::Manifest(format!("`from = {:?}` does not end in /", tree.from)));
                }
            }
        }
        self.text.iter().try_for_each(|text| check(&text.to, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_s_manifest_is_valid() -> Result<()> {
        let manifest = Manifest::load()?;
        assert!(manifest.wheel.iter().any(|w| w.set == Set::Cpu && w.project == "torch"));
        assert!(manifest.wheel.iter().any(|w| w.set == Set::Cuda));
        Ok(())
    }

    #[test]
    fn a_destination_outside_deps_is_refused() {
        for to in ["../x", "/etc/x", "a/../../x", ""] {
            let text = format!("wheel = []\n[[text]]\nset = \"cpu\"\nto = {to:?}\ncontent = \"\"\n");
            let error = Manifest::parse(&text).expect_err(to);
            assert!(error.to_string().contains("not a path inside .deps"), "{error}");
        }
    }

    #[test]
    fn a_destination_written_twice_is_refused() {
        let entry = "[[text]]\nset = \"cpu\"\nto = \"a\"\ncontent = \"\"\n";
        let error = Manifest::parse(&format!("wheel = []\n{entry}{entry}")).expect_err("twice");
        assert!(error.to_string().contains("written twice"), "{error}");
    }
}
