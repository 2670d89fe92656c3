//! `imagine models rm`: frees what nobody else needs. A file stays where another combination uses it, where
//! another commit in the cache uses its content, and where this program did not fetch it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;
use serde::Serialize;

use super::command::NameArgs;
use super::error::ModelsError;
use super::hub::remove;
use super::lock::{Lock, LockedPart};
use super::{Context, print};
use crate::failure::Failure;
use crate::model_lookup::places;

#[derive(Default, Serialize)]
struct Report {
    name: String,
    freed_bytes: u64,
    removed_files: usize,
    /// Parts that another combination uses.
    kept_parts: Vec<String>,
    /// Files that were in the cache before.
    kept_files: Vec<String>,
}

pub fn run(context: &Context, args: &NameArgs) -> Result<(), Failure> {
    let name = &args.name;
    let lock = Lock::read(&context.models)?;
    let combination = match lock.combination(name) {
        Ok(combination) => combination.clone(),
        Err(error) => {
            let folder = places().into_iter().map(|place| place.path.join(name)).find(|path| path.exists());
            return Err(match folder {
                Some(folder) => Failure::input(format!("\"{name}\" was not pulled by this program"))
                    .hint(format!("it lies in {}; remove that yourself", folder.display())),
                None => error.into(),
            });
        }
    };
    let others: BTreeSet<&String> =
        lock.combinations.iter().filter(|(other, _)| *other != name).flat_map(|(_, c)| &c.parts).collect();
    let mut report = Report { name: name.clone(), ..Report::default() };
    let mut gone = Vec::new();
    for (part_name, part) in lock.parts_of(&combination) {
        if others.contains(&part_name.to_string()) {
            report.kept_parts.push(part_name.into());
        } else {
            remove_part(&lock, part_name, part, &mut report)?;
            gone.push(part_name.to_string());
        }
    }
    Lock::update(&context.models, |lock| {
        lock.combinations.remove(name);
        lock.parts.retain(|part, _| !gone.contains(part));
    })?;
    print(args.json, &report, || report.lines())
}

fn remove_part(lock: &Lock, name: &str, part: &LockedPart, report: &mut Report) -> Result<(), ModelsError> {
    let snapshot = part.snapshot();
    for (path, file) in &part.files {
        // the same file of the same commit may belong to another part, too
        let shared = lock
            .parts
            .iter()
            .any(|(other, p)| other != name && p.snapshot() == snapshot && p.files.contains_key(path));
        let blob = part.folder.join("blobs").join(&file.blob);
        remove(&blob.with_extension("part"))?;
        remove(&blob.with_extension("lock"))?;
        let pointer = snapshot.join(path);
        if !file.fetched {
            report.kept_files.push(format!("{}: {path}", part.repo));
            continue;
        }
        if shared || fs::symlink_metadata(&pointer).is_err() {
            continue;
        }
        remove(&pointer)?;
        report.removed_files += 1;
        if is_used(&part.folder, &blob) {
            continue;
        }
        let bytes = fs::metadata(&blob).map_or(0, |m| m.len());
        remove(&blob)?;
        report.freed_bytes += bytes;
    }
    tidy(part);
    Ok(())
}

/// Whether a name in any snapshot of the repository still leads to this content.
fn is_used(folder: &Path, blob: &Path) -> bool {
    let Ok(blob) = blob.canonicalize() else { return false };
    let mut folders: Vec<PathBuf> = vec![folder.join("snapshots")];
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
            match fs::symlink_metadata(&path) {
                Ok(found) if found.is_dir() => folders.push(path),
                _ if path.canonicalize().is_ok_and(|target| target == blob) => return true,
                _ => {}
            }
        }
    }
    false
}

/// Removes folders that have become empty; of a repository without content, its notes too.
fn tidy(part: &LockedPart) {
    let mut inner: Vec<PathBuf> = Vec::new();
    for path in part.files.keys() {
        let file = part.snapshot().join(path);
        inner.extend(file.ancestors().skip(1).take(path.split('/').count()).map(Path::to_path_buf));
    }
    inner.sort_by_key(|path| std::cmp::Reverse(path.components().count()));
    inner.extend(["snapshots", "blobs"].map(|name| part.folder.join(name)));
    for folder in inner {
        // fails, and should, where something is left in it
        let _ = fs::remove_dir(folder);
    }
    if !part.folder.join("snapshots").exists() && !part.folder.join("blobs").exists() {
        let _ = fs::remove_dir_all(part.folder.join("refs"));
        let _ = fs::remove_dir(&part.folder);
    }
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "removed {}: {} files, {} free again",
            self.name,
            self.removed_files,
            DecimalBytes(self.freed_bytes)
        )];
        if !self.kept_parts.is_empty() {
            lines.push(format!("kept, other combinations use them: {}", self.kept_parts.join(", ")));
        }
        if !self.kept_files.is_empty() {
            lines.push(format!(
                "kept, they were in the Hugging Face cache before: {} files",
                self.kept_files.len()
            ));
        }
        lines
    }
}
