use std::fs;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{BlobError, BlobInfo, BlobKey, Blobs};

/// A folder. Files are written beside their place, synced and renamed into it.
#[derive(Clone, Debug)]
pub struct LocalBlobs {
    root: PathBuf,
}

impl LocalBlobs {
    /// Makes the folder where there is none, readable by its owner alone.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, BlobError> {
        let root = root.into();
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let failed =
            |e: io::Error| BlobError::Failed { key: root.display().to_string(), problem: e.to_string() };
        builder.create(&root).map_err(failed)?;
        Ok(Self { root })
    }

    fn path(&self, key: &BlobKey) -> PathBuf {
        self.root.join(key.as_str())
    }

    /// Files are read and written on threads that may wait.
    async fn blocking<T: Send + 'static>(
        &self,
        key: &str,
        work: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let root = self.root.clone();
        let done = tokio::task::spawn_blocking(move || work(&root)).await;
        match done {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(e)) if e.kind() == ErrorKind::NotFound => Err(BlobError::NotFound(key.into())),
            Ok(Err(e)) => Err(BlobError::Failed { key: key.into(), problem: e.to_string() }),
            Err(e) => Err(BlobError::Failed { key: key.into(), problem: e.to_string() }),
        }
    }
}

#[async_trait]
impl Blobs for LocalBlobs {
    async fn put(&self, key: &BlobKey, bytes: Bytes, _content_type: &str) -> Result<(), BlobError> {
        let path = self.path(key);
        self.blocking(key.as_str(), move |root| write(root, &path, &bytes)).await
    }

    async fn get(&self, key: &BlobKey) -> Result<Bytes, BlobError> {
        let path = self.path(key);
        self.blocking(key.as_str(), move |_| fs::read(path).map(Bytes::from)).await
    }

    async fn range(&self, key: &BlobKey, range: Range<u64>) -> Result<Bytes, BlobError> {
        let path = self.path(key);
        let read = move |_: &Path| {
            let mut file = fs::File::open(path)?;
            file.seek(SeekFrom::Start(range.start))?;
            let mut bytes = Vec::new();
            file.take(range.end.saturating_sub(range.start)).read_to_end(&mut bytes)?;
            Ok(Bytes::from(bytes))
        };
        self.blocking(key.as_str(), read).await
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobInfo>, BlobError> {
        let path = self.path(key);
        match self.blocking(key.as_str(), move |_| fs::metadata(path)).await {
            Ok(data) => Ok(data.is_file().then_some(BlobInfo { bytes: data.len() })),
            Err(BlobError::NotFound(_)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), BlobError> {
        let path = self.path(key);
        let remove = move |root: &Path| {
            fs::remove_file(&path)?;
            // Folders that are empty now go too; another write may have filled them meanwhile.
            let inside = |folder: &&Path| folder.starts_with(root) && *folder != root;
            for folder in path.ancestors().skip(1).take_while(inside) {
                if fs::remove_dir(folder).is_err() {
                    break;
                }
            }
            Ok(())
        };
        match self.blocking(key.as_str(), remove).await {
            Err(BlobError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<BlobKey>, BlobError> {
        let (wanted, after) = (prefix.to_owned(), after.map(str::to_owned));
        let mut keys = self
            .blocking(prefix, move |root| {
                let mut keys = Vec::new();
                // Only the folder that the prefix leads to is walked.
                let folder = wanted.rsplit_once('/').map_or("", |(folder, _)| folder);
                let start: Option<BlobKey> = folder.parse().ok();
                let from = start.map_or_else(|| root.to_path_buf(), |key| root.join(key.as_str()));
                walk(root, &from, &mut keys)?;
                keys.retain(|key: &BlobKey| key.as_str().starts_with(&wanted));
                if let Some(after) = after {
                    keys.retain(|key| key.as_str() > after.as_str());
                }
                Ok(keys)
            })
            .await?;
        keys.sort();
        keys.truncate(limit);
        Ok(keys)
    }

    async fn presigned(&self, _key: &BlobKey, _time: Duration) -> Result<Option<String>, BlobError> {
        Ok(None)
    }

    async fn check(&self) -> Result<(), BlobError> {
        // With bytes in it: an empty file can be made where there is no room any more.
        let write = |root: &Path| {
            let mut file = tempfile::NamedTempFile::with_prefix_in(".check-", root)?;
            file.write_all(b"ok")
        };
        self.blocking("check", write).await
    }
}

fn write(root: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(root);
    // A deletion may take the empty folder away between these two: once more then.
    let mut file = match create_beside(folder) {
        Err(e) if e.kind() == ErrorKind::NotFound => create_beside(folder)?,
        other => other?,
    };
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The name is safe only when the folder is.
    #[cfg(unix)]
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}

fn create_beside(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    fs::create_dir_all(folder)?;
    tempfile::Builder::new().prefix(".put-").tempfile_in(folder)
}

fn walk(root: &Path, folder: &Path, keys: &mut Vec<BlobKey>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(root, &entry.path(), keys)?;
        } else if let Ok(inside) = entry.path().strip_prefix(root) {
            // What is being written has no valid key.
            let key = inside.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/");
            keys.extend(key.parse::<BlobKey>());
        }
    }
    Ok(())
}
