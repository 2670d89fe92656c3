//! `models.lock.json` in the models folder: what has been pulled, from which commit, and the SHA-256 of every
//! byte of it. `verify`, `show`, `rm` and `generate` work from this file alone, without a network.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ModelsError;
use super::registry::Role;

/// Its name in the models folder.
pub const LOCK_FILE: &str = "models.lock.json";

const VERSION: u32 = 1;

/// What has been pulled.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    #[serde(default)]
    pub parts: BTreeMap<String, LockedPart>,
    #[serde(default)]
    pub combinations: BTreeMap<String, LockedCombination>,
}

/// A part at the commit that was fetched.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LockedPart {
    pub role: Role,
    pub repo: String,
    /// As the registry named it.
    pub revision: String,
    pub commit: String,
    pub licence: String,
    /// The repository's folder in the Hugging Face cache.
    pub folder: PathBuf,
    pub entry: String,
    pub files: BTreeMap<String, LockedFile>,
}

/// One file.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LockedFile {
    /// Bytes.
    pub size: u64,
    /// Name of its content in the cache: the SHA-256 of a large file, the git object id of a small one.
    pub blob: String,
    /// Of the bytes on disk, once they have been checked; null while the file is being fetched.
    pub sha256: Option<String>,
    /// Whether this program fetched it; what was in the cache before stays there after `rm`.
    pub fetched: bool,
}

/// Parts that make a model.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct LockedCombination {
    pub title: String,
    pub parts: Vec<String>,
    pub preset: Option<String>,
}

impl Default for Lock {
    fn default() -> Self {
        Self { version: VERSION, parts: BTreeMap::new(), combinations: BTreeMap::new() }
    }
}

impl LockedPart {
    /// Where the repository's files of that commit lie.
    pub fn snapshot(&self) -> PathBuf {
        self.folder.join("snapshots").join(&self.commit)
    }

    /// What is loaded.
    pub fn entry(&self) -> PathBuf {
        if self.entry.is_empty() { self.snapshot() } else { self.snapshot().join(&self.entry) }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }

    /// The files that are not there, or not as long as they should be, or were never checked.
    pub fn missing(&self) -> Vec<&str> {
        let snapshot = self.snapshot();
        let is_there = |path: &str, file: &LockedFile| {
            file.sha256.is_some()
                && fs::metadata(snapshot.join(path)).is_ok_and(|m| m.is_file() && m.len() == file.size)
        };
        self.files
            .iter()
            .filter(|(path, file)| !is_there(path, file))
            .map(|(path, _)| path.as_str())
            .collect()
    }
}

impl Lock {
    /// Reads the lock file of a models folder; empty if there is none.
    ///
    /// # Errors
    /// [`ModelsError::Lock`] where it is damaged or of another version.
    pub fn read(models: &Path) -> Result<Self, ModelsError> {
        let file = models.join(LOCK_FILE);
        let refuse = |reason: String| ModelsError::Lock { file: file.clone(), reason };
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(e) => return Err(ModelsError::io(&file, e)),
        };
        let lock: Self = serde_json::from_str(&text).map_err(|e| refuse(e.to_string()))?;
        if lock.version != VERSION {
            return Err(refuse(format!("version {}, this program knows {VERSION}", lock.version)));
        }
        Ok(lock)
    }

    /// Reads, changes and writes the lock file while no other program does.
    ///
    /// # Errors
    /// As [`Lock::read`]; what cannot be written.
    pub fn update<T>(models: &Path, change: impl FnOnce(&mut Self) -> T) -> Result<T, ModelsError> {
        fs::create_dir_all(models).map_err(|e| ModelsError::io(models, e))?;
        let guard = models.join(".models.lock");
        let held = File::create(&guard).map_err(|e| ModelsError::io(&guard, e))?;
        held.lock().map_err(|e| ModelsError::io(&guard, e))?;
        let mut lock = Self::read(models)?;
        let result = change(&mut lock);
        let file = models.join(LOCK_FILE);
        let mut text = serde_json::to_string_pretty(&lock).map_err(|e| ModelsError::io(&file, e.into()))?;
        text.push('\n');
        write_whole(models, &file, text.as_bytes()).map_err(|e| ModelsError::io(&file, e))?;
        Ok(result)
    }

    /// The parts of a combination with their names; those the file does not know are left out.
    pub fn parts_of<'a>(
        &'a self,
        combination: &'a LockedCombination,
    ) -> impl Iterator<Item = (&'a str, &'a LockedPart)> {
        combination.parts.iter().filter_map(|name| Some((name.as_str(), self.parts.get(name)?)))
    }

    /// Whether every file of it is there.
    pub fn is_complete(&self, combination: &LockedCombination) -> bool {
        combination.parts.iter().all(|part| self.parts.get(part).is_some_and(|p| p.missing().is_empty()))
    }

    /// The combination of that name.
    ///
    /// # Errors
    /// [`ModelsError::NotPulled`] with the names there are.
    pub fn combination(&self, name: &str) -> Result<&LockedCombination, ModelsError> {
        self.combinations.get(name).ok_or_else(|| ModelsError::NotPulled {
            name: name.into(),
            pulled: self.combinations.keys().cloned().collect(),
        })
    }
}

/// Writes a file that is either the old one or the new one, never half of it.
fn write_whole(folder: &Path, file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".models-").suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // as far as the umask lets others read
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut new = builder.tempfile_in(folder)?;
    new.write_all(bytes)?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn part(folder: &Path) -> LockedPart {
        let file = |size, sha256: Option<&str>| LockedFile {
            size,
            blob: "b".into(),
            sha256: sha256.map(Into::into),
            fetched: true,
        };
        LockedPart {
            role: Role::Base,
            repo: "a/b".into(),
            revision: "main".into(),
            commit: "c".into(),
            licence: "x".into(),
            folder: folder.to_path_buf(),
            entry: String::new(),
            files: [("a".to_string(), file(2, Some("h"))), ("b".to_string(), file(2, None))].into(),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let models = folder.path().join("models");
        assert!(Lock::read(&models).unwrap().parts.is_empty());
        Lock::update(&models, |lock| lock.parts.insert("p".into(), part(folder.path()))).unwrap();
        let parts = Lock::update(&models, |lock| lock.parts.len()).unwrap();
        assert_eq!(parts, 1);
        assert_eq!(Lock::read(&models).unwrap().parts["p"], part(folder.path()));
    }

    #[test]
    fn files_that_are_short_or_unchecked_are_missing() {
        let folder = tempfile::tempdir().unwrap();
        let part = part(folder.path());
        fs::create_dir_all(part.snapshot()).unwrap();
        assert_eq!(part.missing(), ["a", "b"]);
        fs::write(part.snapshot().join("a"), "12").unwrap();
        fs::write(part.snapshot().join("b"), "12").unwrap();
        assert_eq!(part.missing(), ["b"]);
        fs::write(part.snapshot().join("a"), "1").unwrap();
        assert_eq!(part.missing(), ["a", "b"]);
    }

    #[test]
    fn a_damaged_or_newer_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for (text, says) in
            [("{", LOCK_FILE), ("{\"version\": 9}", "version 9"), ("{\"versions\": 1}", "versions")]
        {
            fs::write(folder.path().join(LOCK_FILE), text).unwrap();
            let message = Lock::read(folder.path()).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
