//! What can go wrong with models on disk and on the Hub, each with what to do about it.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use indicatif::DecimalBytes;

use crate::failure::Failure;

/// Why a model could not be fetched, checked or removed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelsError {
    #[error("{}: {reason}", .file.display())]
    Registry { file: PathBuf, reason: String },
    #[error("{}: {reason}", .file.display())]
    Lock { file: PathBuf, reason: String },
    #[error("there is no combination \"{name}\" in the registry")]
    Unknown { name: String, known: Vec<String> },
    #[error("there is no licence \"{name}\" in the registry, so it cannot be accepted")]
    UnknownLicence { name: String, known: Vec<String> },
    #[error("\"{name}\" has not been pulled")]
    NotPulled { name: String, pulled: Vec<String> },
    #[error("{what} may be used for research only: {licences}")]
    Licence { what: String, licences: String, accept: String },
    #[error("{0}")]
    Licences(String),
    #[error("{variable} = \"{value}\" is not an address that starts with http:// or https://")]
    Endpoint { variable: &'static str, value: String },
    #[error("there is no home folder, so it is not known where {what} belongs")]
    NoHome { what: &'static str },
    #[error("{variable} is set, so nothing is fetched")]
    Offline { variable: &'static str },
    #[error("{host} cannot be reached: {reason}")]
    Unreachable { host: String, reason: String },
    #[error("{host} sent nothing for {seconds} seconds, in the middle of {file}")]
    Silent { host: String, file: String, seconds: u64 },
    #[error("{repo} does not exist on {endpoint}, or wants to know who asks (HTTP 401)")]
    Unauthorized { repo: String, endpoint: String, with_token: bool },
    #[error("{repo} is gated: its makers want their terms accepted first (HTTP {status})")]
    Gated { repo: String, endpoint: String, status: u16, with_token: bool },
    #[error("{endpoint} has no {what} (HTTP 404)")]
    NotThere { endpoint: String, what: String },
    #[error("{url} answers with HTTP {status}")]
    Status { url: String, status: u16 },
    #[error("{url}: {reason}")]
    Answer { url: String, reason: String },
    #[error("{what} is not the file that is expected: {expected}, found {found}")]
    WrongFile { what: String, expected: String, found: String },
    #[error("another program is fetching {file}")]
    Busy { file: String },
    #[error("not enough room in {}: {need} more needed, {free} free", .dir.display(),
            need = DecimalBytes(*.need), free = DecimalBytes(*.free))]
    NoRoom { dir: PathBuf, need: u64, free: u64 },
    #[error("{}: the disk is full", .path.display())]
    DiskFull { path: PathBuf },
    #[error("{}: {reason}", .path.display())]
    Io { path: PathBuf, reason: String },
    #[error("canceled")]
    Canceled,
}

impl ModelsError {
    pub fn io(path: &Path, error: io::Error) -> Self {
        let path = path.to_path_buf();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::DiskFull { path },
            ErrorKind::PermissionDenied => Self::Io { path, reason: "permission denied".into() },
            ErrorKind::ReadOnlyFilesystem => Self::Io { path, reason: "the file system is read-only".into() },
            _ => Self::Io { path, reason: error.to_string() },
        }
    }

    /// Whether the same request may succeed a moment later.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => *status == 429 || *status >= 500,
            _ => false,
        }
    }

    /// Whether the command line or a file named by it is at fault.
    fn is_input(&self) -> bool {
        matches!(
            self,
            Self::Registry { .. }
                | Self::Unknown { .. }
                | Self::UnknownLicence { .. }
                | Self::NotPulled { .. }
                | Self::Licence { .. }
                | Self::Endpoint { .. }
        )
    }

    /// What to do about it.
    fn hint(&self) -> Option<String> {
        let again = "what has arrived is kept: the same command goes on from there";
        let token = |endpoint: &str| {
            format!("make a token at {endpoint}/settings/tokens and set HF_TOKEN, or run `hf auth login`")
        };
        Some(match self {
            Self::Unknown { known, .. } | Self::UnknownLicence { known, .. } => {
                format!("known: {}", known.join(", "))
            }
            Self::NotPulled { pulled, .. } if pulled.is_empty() => "nothing has been pulled yet".into(),
            Self::NotPulled { pulled, .. } => format!("pulled: {}", pulled.join(", ")),
            Self::Licence { accept, .. } => format!("if your use is of that kind, say so once: {accept}"),
            Self::Offline { variable } => format!("unset {variable} to fetch models"),
            Self::Unreachable { .. } => format!(
                "check the network, or set HF_ENDPOINT to a mirror or HTTPS_PROXY to a proxy; {again}"
            ),
            Self::Silent { .. } | Self::Canceled => again.into(),
            Self::Status { status: 429, .. } => format!("too many requests: wait a few minutes; {again}"),
            Self::Status { .. } => format!("the trouble is there, not here: try later; {again}"),
            Self::Unauthorized { with_token: true, .. } => {
                "the token that was sent is not valid for it: check HF_TOKEN".into()
            }
            Self::Unauthorized { endpoint, .. } => token(endpoint),
            Self::Gated { endpoint, repo, with_token: true, .. } => {
                format!("accept them at {endpoint}/{repo} with the account of the token")
            }
            Self::Gated { endpoint, repo, .. } => {
                format!("accept them at {endpoint}/{repo}, then {}", token(endpoint))
            }
            Self::NotThere { .. } => {
                "it may have been moved or removed; a registry file of your own can name another".into()
            }
            Self::WrongFile { .. } => "it was not kept; if this comes again, the mirror or a proxy \
                                       changes files, or the registry is out of date"
                .into(),
            Self::Busy { .. } => "wait until it is done, then run this again".into(),
            Self::NoRoom { .. } => {
                "free some, or set HF_HOME to a folder on another disk (imagine models rm frees some, too)"
                    .into()
            }
            Self::DiskFull { .. } => format!("free some room; {again}"),
            Self::Lock { .. } => "remove that file and pull again; no model is fetched twice".into(),
            _ => return None,
        })
    }
}

impl From<ModelsError> for Failure {
    fn from(error: ModelsError) -> Self {
        let hint = error.hint();
        let failure = if error.is_input() { Self::input(error) } else { Self::failed(error) };
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
