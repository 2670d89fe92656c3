//! Where pictures go, and how they get there whole or not at all.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use tempfile::{Builder, NamedTempFile};

use crate::failure::Failure;

/// What `--out` stands for.
#[derive(Debug, PartialEq)]
pub enum Destination {
    Folder(PathBuf),
    File(PathBuf),
}

impl Destination {
    /// A name that ends in `.png` and is no folder is a file; anything else is a folder, made when the
    /// first picture is written. Fails before any work is done where nothing could be written.
    pub fn prepare(out: &Path, count: u32) -> Result<Self, Failure> {
        let png = out.extension().is_some_and(|e| e.eq_ignore_ascii_case("png"));
        let destination = if png && !out.is_dir() {
            Self::File(out.to_path_buf())
        } else {
            Self::Folder(out.to_path_buf())
        };
        if count > 1 && matches!(destination, Self::File(_)) {
            return Err(Failure::input(format!(
                "--out {} is one file, --n asks for {count} pictures",
                out.display()
            ))
            .hint("name a folder"));
        }
        let folder = destination.folder();
        let refuse =
            |reason: String| Failure::input(format!("cannot write to {}: {reason}", folder.display()));
        let existing = first_existing(&folder).map_err(|e| refuse(e.to_string()))?;
        if !existing.is_dir() {
            return Err(refuse(format!("{} is not a folder", existing.display())));
        }
        temporary(&existing).map_err(|e| refuse(reason(&e)))?;
        Ok(destination)
    }

    /// The file of the picture of that seed.
    pub fn picture(&self, seed: u64) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.join(format!("imagine-{seed}.png")),
            Self::File(file) => file.clone(),
        }
    }

    /// The file of all pictures on one sheet; a single file has none.
    pub fn contact_sheet(&self) -> Option<PathBuf> {
        match self {
            Self::Folder(folder) => Some(folder.join("contact-sheet.png")),
            Self::File(_) => None,
        }
    }

    fn folder(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => or_here(folder),
            Self::File(file) => or_here(file.parent().unwrap_or(Path::new(""))),
        }
    }
}

/// Writes a file that is either whole or not there: into a temporary file beside it, then renamed.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let folder = or_here(path.parent().unwrap_or(Path::new("")));
    let written = || -> io::Result<()> {
        fs::create_dir_all(&folder)?;
        let mut file = temporary(&folder)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        Ok(())
    };
    written().map_err(|e| Failure::failed(format!("cannot write {}: {}", path.display(), reason(&e))))
}

/// A file in `folder` that is removed again unless it is renamed. Readable as far as the person's
/// umask says, like any other file they make.
fn temporary(folder: &Path) -> io::Result<NamedTempFile> {
    let mut builder = Builder::new();
    builder.prefix(".imagine-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(folder)
}

/// The system's reason without the name of the temporary file.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied".into(),
        ErrorKind::StorageFull => "the disk is full".into(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only".into(),
        ErrorKind::NotFound => "no such folder".into(),
        _ => error.to_string(),
    }
}

fn or_here(folder: &Path) -> PathBuf {
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_path_buf() }
}

fn first_existing(folder: &Path) -> io::Result<PathBuf> {
    for ancestor in folder.ancestors() {
        let ancestor = or_here(ancestor);
        match fs::metadata(&ancestor) {
            Ok(_) => return Ok(ancestor),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
            Err(e) => return Err(e),
        }
    }
    Err(ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_name_decides_between_file_and_folder() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        assert_eq!(Destination::prepare(&at("me.PNG"), 1).unwrap(), Destination::File(at("me.PNG")));
        assert_eq!(Destination::prepare(&at("new/deep"), 3).unwrap(), Destination::Folder(at("new/deep")));
        assert!(Destination::prepare(&at("me.png"), 2).unwrap_err().to_string().contains("2 pictures"));
        fs::create_dir(at("odd.png")).unwrap();
        let odd = Destination::prepare(&at("odd.png"), 2).unwrap();
        assert_eq!(odd.picture(7), at("odd.png/imagine-7.png"));
        // looking leaves nothing behind
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("taken"), "").unwrap();
        let message = Destination::prepare(&dir.path().join("taken/out"), 1).unwrap_err().to_string();
        assert!(message.contains("taken is not a folder"), "{message}");
    }

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/me.png");
        write(&path, b"old and long").unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert!(write(&path.join("below"), b"x").is_err());
    }
}
