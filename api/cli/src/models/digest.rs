//! Checksums of files on disk.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use imagine_contract::CancelFlag;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::error::ModelsError;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// What the bytes of a file hash to, in hexadecimal.
#[derive(Debug, PartialEq)]
pub struct Digests {
    pub sha256: String,
    /// The object id that git gives the content: SHA-1 of `blob <bytes>\0` and the bytes. The Hub names small
    /// files by it.
    pub git_blob: String,
}

/// Reads a file once; `on_bytes` is told how many bytes each step took.
///
/// # Errors
/// What cannot be read; [`ModelsError::Canceled`].
pub fn digests(
    path: &Path,
    cancel: &CancelFlag,
    on_bytes: &mut dyn FnMut(u64),
) -> Result<Digests, ModelsError> {
    let at = |e| ModelsError::io(path, e);
    let mut file = File::open(path).map_err(at)?;
    let size = file.metadata().map_err(at)?.len();
    let mut sha256 = Sha256::new();
    // only files that git holds itself are named by it, and those are small
    let mut git = (size <= 64 << 20).then(|| Sha1::new_with_prefix(format!("blob {size}\0")));
    let mut chunk = vec![0; CHUNK];
    loop {
        if cancel.is_canceled() {
            return Err(ModelsError::Canceled);
        }
        let n = file.read(&mut chunk).map_err(at)?;
        let Some(read) = chunk.get(..n).filter(|read| !read.is_empty()) else { break };
        sha256.update(read);
        if let Some(git) = &mut git {
            git.update(read);
        }
        on_bytes(n as u64);
    }
    Ok(Digests {
        sha256: hex(&sha256.finalize()),
        git_blob: git.map_or_else(String::new, |git| hex(&git.finalize())),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn both_sums_are_the_usual_ones() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hello\n").unwrap();
        let mut bytes = 0;
        let found = digests(file.path(), &CancelFlag::default(), &mut |n| bytes += n).unwrap();
        // `sha256sum` and `git hash-object` of the same file
        assert_eq!(found.sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(found.git_blob, "ce013625030ba8dba906f756967f9e9ca394464a");
        assert_eq!(bytes, 6);
        let cancel = CancelFlag::default();
        cancel.cancel();
        assert!(matches!(digests(file.path(), &cancel, &mut |_| ()), Err(ModelsError::Canceled)));
    }
}
