//! SHA-256 of files and of whole folders.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::error::{At, Result};

/// Bytes moved at a time when hashing or copying.
pub const CHUNK: usize = 1 << 18;

/// Lower-case hexadecimal of a finished hash.
pub fn hex(hasher: Sha256) -> String {
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 of a file.
///
/// # Errors
/// When the file cannot be read.
pub fn file(path: &Path) -> Result<String> {
    let mut reader = File::open(path).at(path)?;
    let mut hasher = Sha256::new();
    copy(&mut reader, |chunk| {
        hasher.update(chunk);
        Ok(())
    })
    .at(path)?;
    Ok(hex(hasher))
}

/// Hands everything that `reader` gives to `sink`, in pieces of at most [`CHUNK`] bytes.
pub fn copy(reader: &mut impl Read, mut sink: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut total = 0;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(total),
            Ok(n) => {
                sink(buffer.get(..n).unwrap_or_default())?;
                total += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// The regular files below `dir`, sorted by their path, each with its path relative to `dir`.
///
/// # Errors
/// When a folder cannot be read.
pub fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        let folder = dir.join(&relative);
        for entry in fs::read_dir(&folder).at(&folder)? {
            let entry = entry.at(&folder)?;
            let path = relative.join(entry.file_name());
            if entry.file_type().at(&folder)?.is_dir() {
                open.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// SHA-256 of the listing `<sha256>  <path>\n` of all files below `dir`, sorted by path: changes when a
/// file changes, appears, vanishes or moves.
///
/// # Errors
/// When a file or folder cannot be read.
pub fn tree(dir: &Path) -> Result<String> {
    let mut listing = Sha256::new();
    for path in files(dir)? {
        listing.update(format!("{}  {}\n", file(&dir.join(&path))?, path.display()));
    }
    Ok(hex(listing))
}

/// Like [`tree`], of sizes and times of change instead of contents: quick, and enough to see that nothing
/// has been touched since [`tree`] was last computed.
///
/// # Errors
/// When a file or folder cannot be read.
pub fn quick(path: &Path) -> Result<String> {
    let stat = |path: &Path| -> Result<String> {
        use std::os::unix::fs::MetadataExt;
        let m = fs::metadata(path).at(path)?;
        Ok(format!("{} {}.{:09}", m.size(), m.mtime(), m.mtime_nsec()))
    };
    if !path.is_dir() {
        return stat(path);
    }
    let mut listing = Sha256::new();
    for file in files(path)? {
        listing.update(format!("{}  {}\n", stat(&path.join(&file))?, file.display()));
    }
    Ok(hex(listing))
}
