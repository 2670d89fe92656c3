//! Fetching one file: `hf-hub` transfers it into the shared cache and goes on with what has arrived; added here are
//! the checksum, patience with broken connections, an eye on silent ones, and Ctrl-C.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hf_hub::api::Progress;
use hf_hub::api::sync::ApiError;
use imagine_contract::CancelFlag;

use super::digest::{Digests, digests};
use super::error::ModelsError;
use super::hub::{Hub, Target, remove};

/// How often is tried.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Failures in a row, none of which brought a byte, before giving up.
    pub attempts: u32,
    /// Pause after the first failure; doubled after each further one.
    pub pause: Duration,
    /// Longest silence of a server.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 4, pause: Duration::from_millis(500), silence: Duration::from_secs(60) }
    }
}

/// How much of a file is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// Under its name.
    Named,
    /// Its content, fetched for another commit.
    Content,
    /// So many bytes of it.
    Partial(u64),
    Nothing,
}

/// Looks at the cache, reads no content.
pub fn presence(target: &Target) -> Presence {
    let length = |path: PathBuf| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|m| m.len());
    if length(target.pointer()) == Some(target.file.size) {
        Presence::Named
    } else if length(target.blob()) == Some(target.file.size) {
        Presence::Content
    } else {
        match length(target.partial()) {
            Some(bytes) if bytes > 0 && bytes <= target.file.size => Presence::Partial(bytes),
            _ => Presence::Nothing,
        }
    }
}

/// What is told about the file while it is fetched and checked.
pub trait Watcher {
    /// So many bytes of it are here, of those that have to be fetched.
    fn fetched(&mut self, bytes: u64);
    /// So many more bytes of it were read again to check them.
    fn checked(&mut self, bytes: u64);
}

/// Makes sure that the file is in the cache and is what it should be; returns its SHA-256.
///
/// # Errors
/// Whatever the network, the Hub and the disk come up with; [`ModelsError::WrongFile`] where the bytes are not
/// those expected, twice in a row; [`ModelsError::Canceled`].
pub fn fetch(
    hub: &Hub,
    target: &Target,
    patience: Patience,
    cancel: &CancelFlag,
    watcher: &mut dyn Watcher,
) -> Result<String, ModelsError> {
    let mut wrong = None;
    for _ in 0..2 {
        match presence(target) {
            Presence::Named => {}
            Presence::Content => name(target)?,
            Presence::Partial(_) | Presence::Nothing => {
                // a link to nowhere would be in the way
                remove(&target.pointer())?;
                transfer(hub, target, patience, cancel, watcher)?;
            }
        }
        let found = digests(&target.pointer(), cancel, &mut |n| watcher.checked(n))?;
        match check(target, &found) {
            Ok(()) => {
                target.note_revision()?;
                return Ok(found.sha256);
            }
            Err(error) => {
                // damaged on the way or on this disk: fetched anew, once
                remove(&target.pointer())?;
                remove(&target.blob())?;
                wrong = Some(error);
            }
        }
    }
    Err(wrong.unwrap_or(ModelsError::Canceled))
}

/// Compares what was read with what the Hub and the registry say.
fn check(target: &Target, found: &Digests) -> Result<(), ModelsError> {
    let wrong = |kind: &str, expected: &str, found: &str| {
        Err(ModelsError::WrongFile {
            what: format!("{} of {}", target.path, target.repo),
            expected: format!("{kind} {expected}"),
            found: found.to_string(),
        })
    };
    match &target.sha256 {
        Some(expected) if *expected != found.sha256 => return wrong("sha256", expected, &found.sha256),
        _ => {}
    }
    let blob = &target.file.blob;
    if target.is_large() && *blob != found.sha256 {
        return wrong("sha256", blob, &found.sha256);
    }
    if !target.is_large() && *blob != found.git_blob {
        return wrong("git object", blob, &found.git_blob);
    }
    Ok(())
}

/// Fetches what is missing, again and again while it gets on.
fn transfer(
    hub: &Hub,
    target: &Target,
    patience: Patience,
    cancel: &CancelFlag,
    watcher: &mut dyn Watcher,
) -> Result<(), ModelsError> {
    let size = target.file.size;
    let mut failures = 0;
    loop {
        let partial = target.partial();
        let before = fs::metadata(&partial).map_or(0, |m| m.len());
        if before > size {
            // more than there is: of another file, or appended by a server that ignores ranges
            remove(&partial)?;
        } else if before == size {
            // all of it, but the program ended before it had its name
            rename(partial, target.blob())?;
            return name(target);
        }
        match transfer_once(hub, target, patience, cancel, watcher) {
            Ok(()) => {
                if fs::metadata(target.pointer()).is_ok_and(|m| m.len() >= size) {
                    return Ok(());
                }
                // a closed connection was taken for the end of the file; what came is kept
                remove(&target.pointer())?;
                if target.blob().is_file() {
                    rename(target.blob(), target.partial())?;
                }
            }
            Err(error) if error.is_passing() => {
                let now = fs::metadata(&partial).map_or(0, |m| m.len());
                failures = if now > before { 1 } else { failures + 1 };
                if failures >= patience.attempts {
                    return Err(error);
                }
                wait(patience.pause * 2_u32.saturating_pow(failures - 1), cancel)?;
                continue;
            }
            Err(error) => return Err(error),
        }
        let now = fs::metadata(&partial).map_or(0, |m| m.len());
        failures = if now > before { 1 } else { failures + 1 };
        if failures >= patience.attempts {
            let host = hub.settings.endpoint.clone();
            return Err(ModelsError::Unreachable {
                host,
                reason: "the connection is cut again and again".into(),
            });
        }
        wait(patience.pause, cancel)?;
    }
}

/// Tells the thread that waits how far the transfer is.
struct Meter {
    position: Arc<AtomicU64>,
}

impl Progress for Meter {
    fn init(&mut self, _size: usize, _file: &str) {
        self.position.store(0, Ordering::Relaxed);
    }

    fn update(&mut self, bytes: usize) {
        self.position.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn finish(&mut self) {}
}

/// One attempt, on a thread of its own: hf-hub waits for a silent server for ever, and cannot be told to stop.
/// If it is left behind, the program is about to end.
fn transfer_once(
    hub: &Hub,
    target: &Target,
    patience: Patience,
    cancel: &CancelFlag,
    watcher: &mut dyn Watcher,
) -> Result<(), ModelsError> {
    let position = Arc::new(AtomicU64::new(0));
    let meter = Meter { position: Arc::clone(&position) };
    let (api, repo, path) = (hub.api().clone(), target.hub_repo(), target.path.clone());
    let work = thread::spawn(move || -> Result<(), ApiError> {
        api.repo(repo).download_with_progress(&path, meter).map(|_| ())
    });
    let (mut last, mut heard) = (0, Instant::now());
    while !work.is_finished() {
        thread::sleep(Duration::from_millis(20));
        let now = position.load(Ordering::Relaxed);
        if now != last {
            (last, heard) = (now, Instant::now());
            watcher.fetched(now.min(target.file.size));
        }
        if cancel.is_canceled() {
            return Err(ModelsError::Canceled);
        }
        if heard.elapsed() > patience.silence {
            let (host, file) = (hub.settings.endpoint.clone(), target.path.clone());
            return Err(ModelsError::Silent { host, file, seconds: patience.silence.as_secs() });
        }
    }
    watcher.fetched(position.load(Ordering::Relaxed).min(target.file.size));
    match work.join() {
        Ok(result) => result.map_err(|e| hub.download_error(target, e)),
        Err(_) => Err(ModelsError::Answer {
            url: hub.settings.endpoint.clone(),
            reason: format!("the answer for {} makes no sense", target.path),
        }),
    }
}

fn wait(pause: Duration, cancel: &CancelFlag) -> Result<(), ModelsError> {
    let end = Instant::now() + pause;
    while Instant::now() < end {
        if cancel.is_canceled() {
            return Err(ModelsError::Canceled);
        }
        thread::sleep(Duration::from_millis(20).min(pause));
    }
    Ok(())
}

/// Gives the content its name: a relative link, as hf-hub and `huggingface_hub` make it.
fn name(target: &Target) -> Result<(), ModelsError> {
    let pointer = target.pointer();
    if let Some(folder) = pointer.parent() {
        fs::create_dir_all(folder).map_err(|e| ModelsError::io(folder, e))?;
    }
    // a link to nowhere, or a file that is too short
    remove(&pointer)?;
    let up = "../".repeat(target.path.split('/').count() + 1);
    let content = PathBuf::from(format!("{up}blobs/{}", target.file.blob));
    #[cfg(unix)]
    std::os::unix::fs::symlink(&content, &pointer).map_err(|e| ModelsError::io(&pointer, e))?;
    #[cfg(not(unix))]
    fs::rename(target.blob(), &pointer).map_err(|e| ModelsError::io(&pointer, e))?;
    Ok(())
}

fn rename(from: PathBuf, to: PathBuf) -> Result<(), ModelsError> {
    fs::rename(&from, &to).map_err(|e| ModelsError::io(&to, e))
}
