//! `cargo xtask pin`: recomputes the entries of `deps.toml` from wheels on disk, for whoever changes a version.

use std::path::{Path, PathBuf};

use crate::digest;
use crate::error::{At, Error, Result};
use crate::manifest::{Manifest, Wheel};
use crate::wheel;

/// What the file begins with.
const HEADER: &str = "\
# What `cargo xtask setup` installs into .deps: members of wheels from a Python package index, each pinned by
# the SHA-256 of the unpacked file. A folder's (`tree`) is that of its listing, see src/digest.rs. The `cuda`
# set is installed by `cargo xtask setup --cuda` only. After a change of version, edit `from` and `to` and let
# `cargo xtask pin WHEEL...` recompute the rest; it prints this whole file.
";

/// Prints the manifest with each entry that belongs to one of `wheels` recomputed: the version and tags from
/// its name, sizes and SHA-256 from its content. `from` and `to` stay as they are.
///
/// # Errors
/// When a wheel cannot be read or lacks a member that the manifest names.
pub fn run(wheels: &[PathBuf]) -> Result<()> {
    let mut manifest = Manifest::load()?;
    for path in wheels {
        let file = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_owned();
        let mut known = false;
        for entry in manifest.wheel.iter_mut().filter(|entry| is_of(entry, &file)) {
            known = true;
            eprintln!("{file}: {} member(s), {} folder(s)", entry.member.len(), entry.tree.len());
            repin(entry, path, &file)?;
        }
        if !known {
            return Err(Error::Manifest(format!("no entry belongs to {file}")));
        }
    }
    print!("{}", print(&manifest));
    Ok(())
}

/// Whether a wheel named `file` is of the entry's project. File names have `_` where projects may have `-`.
fn is_of(entry: &Wheel, file: &str) -> bool {
    file.split('-').next() == Some(entry.project.replace('-', "_").as_str())
}

fn repin(entry: &mut Wheel, path: &Path, file: &str) -> Result<()> {
    entry.version = file.split('-').nth(1).unwrap_or_default().to_owned();
    entry.file = file.to_owned();
    entry.size = path.metadata().at(path)?.len();
    entry.sha256 = digest::file(path)?;
    for member in &mut entry.member {
        *member = wheel::measure(path, member)?;
    }
    for tree in &mut entry.tree {
        let scratch = std::env::temp_dir().join(format!("imagine-xtask-pin-{}", std::process::id()));
        *tree = wheel::measure_tree(path, tree, &scratch)?;
    }
    Ok(())
}

/// The manifest in the layout of `deps.toml`.
pub fn print(manifest: &Manifest) -> String {
    let mut out = HEADER.to_owned();
    let mut line = |line: String| {
        out.push_str(&line);
        out.push('\n');
    };
    for w in &manifest.wheel {
        line("\n[[wheel]]".to_owned());
        line(format!("set = {:?}", format!("{:?}", w.set).to_lowercase()));
        line(format!("title = {:?}", w.title));
        line(format!("project = {:?}\nversion = {:?}\nfile = {:?}", w.project, w.version, w.file));
        line(format!("size = {}\nsha256 = {:?}", w.size, w.sha256));
        for m in &w.member {
            line("[[wheel.member]]".to_owned());
            line(format!("from = {:?}\nto = {:?}", m.from, m.to));
            line(format!("size = {}\npacked = {}\nsha256 = {:?}", m.size, m.packed, m.sha256));
        }
        for t in &w.tree {
            line("[[wheel.tree]]".to_owned());
            line(format!("from = {:?}\nto = {:?}\nfiles = {}", t.from, t.to, t.files));
            line(format!("size = {}\npacked = {}\nsha256 = {:?}", t.size, t.packed, t.sha256));
        }
    }
    for t in &manifest.text {
        line("\n[[text]]".to_owned());
        line(format!("set = {:?}", format!("{:?}", t.set).to_lowercase()));
        line(format!("to = {:?}\ncontent = {:?}", t.to, t.content));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_the_file_itself() -> Result<()> {
        assert_eq!(print(&Manifest::load()?), include_str!("../deps.toml"));
        Ok(())
    }

    #[test]
    fn a_wheel_belongs_to_its_project_only() -> Result<()> {
        let manifest = Manifest::load()?;
        let of = |file| manifest.wheel.iter().filter(|w| is_of(w, file)).map(|w| w.project.clone()).collect();
        let found: Vec<String> = of("nvidia_cusparse-1-py3-none-any.whl");
        assert_eq!(found, ["nvidia-cusparse"]);
        Ok(())
    }
}
