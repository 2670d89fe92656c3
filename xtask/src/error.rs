//! Every way a task can fail, worded for the person who typed the command: what is wrong and what to do next.

use std::io;
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;

/// Result of every fallible function of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Ends every message about an interrupted fetch: nothing has to be started over.
const KEPT: &str = "then run the same command again (what was fetched is kept)";

/// A failed task; `Display` gives the one line that is printed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error(
        "the disk is full: {} could not be written; free some space, or make .deps a symbolic link to a folder on a larger disk, {KEPT}",
        path.display()
    )]
    DiskFull { path: PathBuf },

    #[error(
        "not enough disk space: {what} needs {} in {} and {} are free; free some space, or make that folder a symbolic link to one on a larger disk, {KEPT}",
        DecimalBytes(*need), dir.display(), DecimalBytes(*free)
    )]
    NotEnoughSpace { what: &'static str, dir: PathBuf, need: u64, free: u64 },

    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: String, reason: String },

    #[error("{url} answered with HTTP status {status}")]
    Status { url: String, status: u16 },

    #[error("{url}: {reason}")]
    Answer { url: String, reason: String },

    #[error("the package index {index} does not offer {file}")]
    NotOffered { index: String, file: String },

    #[error(
        "{direct}{pip}. Check the network and the proxy (HTTPS_PROXY, or pip's own settings), {KEPT}{hint}"
    )]
    NoNetwork { direct: Box<Error>, pip: String, hint: String },

    #[error(
        "{what} is not the file that xtask/deps.toml names: SHA-256 {expected} expected, {found} found; nothing of it was kept, run the same command again, and if that does not help, check the package index or proxy in use"
    )]
    WrongHash { what: String, expected: String, found: String },

    #[error("{file} cannot be unpacked: {reason}")]
    Archive { file: String, reason: String },

    #[error("{file} holds no {member}, though xtask/deps.toml names it")]
    NoMember { file: String, member: String },

    #[error("xtask/deps.toml: {0}")]
    Manifest(String),

    #[error(
        "this machine is {found}; the libtorch that is fetched needs {needs}. Elsewhere, set LIBTORCH to a libtorch 2.11.0 of your own"
    )]
    Platform { found: String, needs: &'static str },

    #[error(
        "no C++ compiler: `{tried}` cannot be run. Install one (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; Arch: pacman -S gcc) or name one you have, as in CXX=clang++"
    )]
    NoCompiler { tried: String },

    #[error(
        "Python 3 is missing: `{tried}` cannot be run. Install it with pip (Debian, Ubuntu: apt install python3-pip python3-venv; Fedora: dnf install python3-pip)"
    )]
    NoPython { tried: String },

    #[error(
        "pip is missing: `{python} -m pip` cannot be run. Install it (Debian, Ubuntu: apt install python3-pip; Fedora: dnf install python3-pip; without root: {python} -m ensurepip --user)"
    )]
    NoPip { python: String },

    #[error("pip could not fetch {file}: {reason}")]
    Pip { file: String, reason: String },

    #[error("`cargo {command}` is missing: rustup component add {component}")]
    NoComponent { command: &'static str, component: &'static str },

    #[error("{check} cannot be run: {what}")]
    NoTool { check: &'static str, what: String },

    #[error("{what} failed")]
    Failed { what: String, code: i32 },

    #[error("{0} golden fixture(s) differ from what the scripts make today")]
    GoldensDiffer(usize),
}

impl Error {
    /// Wraps an [`io::Error`], telling a full disk from the rest.
    pub fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Error::DiskFull { path: path.to_owned() }
            }
            _ => Error::Io { path: path.to_owned(), source },
        }
    }

    /// The process's exit status: a failed command's own, 1 for the rest.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Failed { code, .. } => u8::try_from(*code).unwrap_or(1).max(1),
            _ => 1,
        }
    }

    /// Whether another way of fetching (pip) may succeed where this one failed.
    pub fn is_about_the_way(&self) -> bool {
        matches!(
            self,
            Error::Unreachable { .. }
                | Error::Status { .. }
                | Error::Answer { .. }
                | Error::NotOffered { .. }
        )
    }
}

/// `.at(path)` on an [`io::Result`], so that every message names its file.
pub trait At<T> {
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|source| Error::io(path, source))
    }
}
