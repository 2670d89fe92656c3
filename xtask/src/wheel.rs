//! Unpacking: the wanted members of a wheel, each checked against its SHA-256 and put in place in one step.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use zip::ZipArchive;
use zip::result::ZipError;

use crate::digest::{self, copy};
use crate::download::Source;
use crate::error::{At, Error, Result};
use crate::manifest::{Member, Tree, Wheel};

/// The parts of a wheel that are not installed yet.
#[derive(Debug)]
pub struct Missing<'m> {
    pub wheel: &'m Wheel,
    pub members: Vec<&'m Member>,
    pub trees: Vec<&'m Tree>,
}

impl Missing<'_> {
    /// Bytes to fetch, roughly.
    pub fn packed(&self) -> u64 {
        self.members.iter().map(|m| m.packed).sum::<u64>() + self.trees.iter().map(|t| t.packed).sum::<u64>()
    }

    /// Bytes they take once unpacked.
    pub fn size(&self) -> u64 {
        self.members.iter().map(|m| m.size).sum::<u64>() + self.trees.iter().map(|t| t.size).sum::<u64>()
    }

    /// Paths below `.deps` that they go to.
    pub fn destinations(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|m| m.to.as_str()).chain(self.trees.iter().map(|t| t.to.as_str()))
    }
}

/// Where an entry of the wheel goes.
enum Target<'m> {
    Member(&'m Member),
    /// The path is below the unfinished copy of the folder.
    InTree(PathBuf),
}

/// Fetches and unpacks what is `missing` into `deps`.
///
/// # Errors
/// [`Error::WrongHash`], [`Error::Archive`], [`Error::NoMember`]; a full disk; what fetching fails with.
pub fn unpack(source: &mut Source, missing: &Missing, deps: &Path, bar: &ProgressBar) -> Result<()> {
    let file = &missing.wheel.file;
    let unpacked = plan(&mut *source, missing, deps).and_then(|Plan { targets, spans }| {
        source.prefetch(&spans)?;
        bar.set_message("unpacking");
        let mut archive = ZipArchive::new(&mut *source).map_err(|e| broken(file, &e))?;
        for tree in &missing.trees {
            make_empty(&unfinished(&deps.join(&tree.to)))?;
        }
        for (index, target) in targets {
            let mut entry = archive.by_index(index).map_err(|e| broken(file, &e))?;
            match target {
                Target::Member(member) => {
                    let is_program = entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0);
                    install(&mut entry, is_program, member, file, deps)?;
                }
                Target::InTree(path) => drop(write(&mut entry, &path, file)?),
            }
        }
        missing.trees.iter().try_for_each(|tree| put_in_place(tree, file, deps))
    });
    // the library reports a failed fetch as a failed read; the cause says more
    unpacked.map_err(|error| source.take_failure().unwrap_or(error))
}

/// What a wheel's directory says about the wanted entries.
struct Plan<'m> {
    /// Their indices in the directory.
    targets: Vec<(usize, Target<'m>)>,
    /// The bytes of the wheel that hold them and the directory.
    spans: Vec<Range<u64>>,
}

/// Reads the wheel's directory.
fn plan<'m>(source: impl Read + Seek, missing: &Missing<'m>, deps: &Path) -> Result<Plan<'m>> {
    let file = &missing.wheel.file;
    let archive = ZipArchive::new(source).map_err(|e| broken(file, &e))?;
    let mut targets = Vec::new();
    let mut starts = Vec::new();
    for index in 0..archive.len() {
        let entry = archive.by_index_data(index).map_err(|e| broken(file, &e))?;
        starts.push(entry.header_start());
        let name = entry.name().map_err(|e| broken(file, &e))?;
        if let Some(member) = missing.members.iter().find(|m| m.from == name) {
            targets.push((index, Target::Member(member)));
        }
        for tree in &missing.trees {
            if entry.is_file() && name.starts_with(&tree.from) {
                // never a path that leaves the folder
                let path = entry.enclosed_name();
                let path = path.as_deref().and_then(|p| p.strip_prefix(&tree.from).ok());
                let path = path.ok_or_else(|| broken(file, &format!("unsafe path {name}")))?;
                targets.push((index, Target::InTree(unfinished(&deps.join(&tree.to)).join(path))));
            }
        }
    }
    for member in &missing.members {
        if !targets.iter().any(|(_, t)| matches!(t, Target::Member(m) if m.from == member.from)) {
            return Err(Error::NoMember { file: file.clone(), member: member.from.clone() });
        }
    }
    // an entry's bytes end where the next one's begin
    let wanted: Vec<u64> = targets.iter().filter_map(|(index, _)| starts.get(*index).copied()).collect();
    starts.push(archive.central_directory_start());
    starts.sort_unstable();
    let span = |start: u64| {
        let next = starts.partition_point(|&other| other <= start);
        start..starts.get(next).copied().unwrap_or(start)
    };
    let mut spans: Vec<Range<u64>> = wanted.into_iter().map(span).collect();
    spans.push(archive.central_directory_start()..missing.wheel.size);
    Ok(Plan { targets, spans })
}

fn broken(file: &str, reason: &dyn ToString) -> Error {
    Error::Archive { file: file.to_owned(), reason: reason.to_string() }
}

/// The name under which a file or folder is written before it is complete.
fn unfinished(path: &Path) -> PathBuf {
    with_suffix(path, ".tmp")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn make_empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).at(dir)?;
    }
    fs::create_dir_all(dir).at(dir)
}

/// Writes a member beside its place, checks it, and moves it there.
fn install(entry: &mut impl Read, is_program: bool, member: &Member, file: &str, deps: &Path) -> Result<()> {
    let path = deps.join(&member.to);
    let unfinished = unfinished(&path);
    let found = write(entry, &unfinished, file)?;
    if found != member.sha256 {
        fs::remove_file(&unfinished).at(&unfinished)?;
        let what = format!("{} in {file}", member.from);
        return Err(Error::WrongHash { what, expected: member.sha256.clone(), found });
    }
    if is_program {
        fs::set_permissions(&unfinished, Permissions::from_mode(0o755)).at(&unfinished)?;
    }
    fs::rename(&unfinished, &path).at(&path)
}

/// Checks an unpacked folder and puts it in place of an older one.
fn put_in_place(tree: &Tree, file: &str, deps: &Path) -> Result<()> {
    let path = deps.join(&tree.to);
    let unfinished = unfinished(&path);
    let found = digest::tree(&unfinished)?;
    if found != tree.sha256 {
        fs::remove_dir_all(&unfinished).at(&unfinished)?;
        let what = format!("{} in {file}", tree.from);
        return Err(Error::WrongHash { what, expected: tree.sha256.clone(), found });
    }
    let old = with_suffix(&path, ".old");
    if path.exists() {
        fs::rename(&path, &old).at(&path)?;
    }
    fs::rename(&unfinished, &path).at(&path)?;
    if old.exists() {
        fs::remove_dir_all(&old).at(&old)?;
    }
    Ok(())
}

/// Writes all of `entry` to `path`, with the folders that takes, and returns its SHA-256.
fn write(entry: &mut impl Read, path: &Path, file: &str) -> Result<String> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).at(parent)?;
    }
    let mut out = File::create(path).at(path)?;
    let mut hasher = Sha256::new();
    let mut unwritten = None;
    let read = copy(entry, |chunk| {
        hasher.update(chunk);
        out.write_all(chunk).map_err(|e| {
            unwritten = Some(e);
            io::ErrorKind::Other.into()
        })
    });
    let result = match (unwritten, read) {
        (Some(error), _) => Err(Error::io(path, error)),
        (None, Err(error)) => Err(broken(file, &error)),
        (None, Ok(_)) => Ok(digest::hex(hasher)),
    };
    if result.is_err() {
        // half a file is of no use, and on a full disk it is in the way; the first error is the one to report
        fs::remove_file(path).ok();
    }
    result
}

/// What [`crate::pin`] needs to know of a member: sizes, packed and unpacked, and SHA-256.
///
/// # Errors
/// [`Error::Archive`] or [`Error::NoMember`].
pub fn measure(path: &Path, member: &Member) -> Result<Member> {
    let file = path.display().to_string();
    let mut archive = ZipArchive::new(File::open(path).at(path)?).map_err(|e| broken(&file, &e))?;
    let mut entry = archive.by_name(&member.from).map_err(|e| match e {
        ZipError::FileNotFound => Error::NoMember { file: file.clone(), member: member.from.clone() },
        other => broken(&file, &other),
    })?;
    let mut hasher = Sha256::new();
    let (size, packed) = (entry.size(), entry.compressed_size());
    copy(&mut entry, |chunk| {
        hasher.update(chunk);
        Ok(())
    })
    .map_err(|e| broken(&file, &e))?;
    Ok(Member { size, packed, sha256: digest::hex(hasher), ..member.clone() })
}

/// As [`measure`], of a folder; unpacks it into `scratch`.
///
/// # Errors
/// [`Error::Archive`]; a full disk.
pub fn measure_tree(path: &Path, tree: &Tree, scratch: &Path) -> Result<Tree> {
    let file = path.display().to_string();
    let mut archive = ZipArchive::new(File::open(path).at(path)?).map_err(|e| broken(&file, &e))?;
    let mut measured = Tree { files: 0, size: 0, packed: 0, ..tree.clone() };
    make_empty(scratch)?;
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).map_err(|e| broken(&file, &e))?;
        let name = entry.enclosed_name().unwrap_or_default();
        if let Ok(path) = name.strip_prefix(&tree.from)
            && entry.is_file()
        {
            measured.files += 1;
            measured.size += entry.size();
            measured.packed += entry.compressed_size();
            write(&mut entry, &scratch.join(path), &file)?;
        }
    }
    measured.sha256 = digest::tree(scratch)?;
    fs::remove_dir_all(scratch).at(scratch)?;
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_a_broken_wheel() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let path = dir.path().join("thing.so");
        // the device answers every write with "no space left"; the link is what gets removed
        std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
        let error = write(&mut io::repeat(0).take(1 << 20), &path, "x.whl").expect_err("no space");
        assert!(matches!(error, Error::DiskFull { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.starts_with("the disk is full: ") && message.contains("thing.so could not be written")
        );
        assert!(message.contains("free some space"), "{message}");
        assert!(!path.is_symlink());
    }
}
