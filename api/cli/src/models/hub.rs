//! The Hub over `hf-hub`: what a repository holds at a revision, with sizes and checksums, and where each file
//! belongs in the cache that Python programs share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};
use serde::Deserialize;
use ureq::http::Response;
use ureq::{Body, Error as HttpError};

use super::error::ModelsError;
use super::registry::is_hex;
use super::settings::HubSettings;

/// Largest description of a repository that is read, bytes.
const DESCRIPTION_LIMIT: u64 = 64 << 20;
/// How long the Hub may take to describe a repository.
const PATIENCE: Duration = Duration::from_secs(60);

/// The Hub and the cache on this machine.
#[derive(Clone)]
pub struct Hub {
    pub settings: HubSettings,
    api: Api,
}

/// A repository at one commit.
#[derive(Debug)]
pub struct Description {
    pub commit: String,
    pub files: BTreeMap<String, RemoteFile>,
}

/// A file as the Hub describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct RemoteFile {
    /// Bytes.
    pub size: u64,
    /// SHA-256 of a large file, git object id of a small one; its name in the cache.
    pub blob: String,
}

/// One file to be fetched, and its place in the cache.
#[derive(Clone, Debug)]
pub struct Target {
    pub repo: String,
    pub revision: String,
    pub commit: String,
    pub path: String,
    pub file: RemoteFile,
    /// From the registry, if it says so.
    pub sha256: Option<String>,
    cache: Cache,
}

// The Hub's answer; what is not used here is passed over.
#[derive(Deserialize)]
struct RepoAnswer {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Hub {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// A client that cannot be built.
    pub fn new(settings: HubSettings) -> Result<Self, ModelsError> {
        let api = ApiBuilder::from_cache(Cache::new(settings.cache.clone()))
            .with_endpoint(settings.endpoint.clone())
            .with_token(settings.token.clone())
            .with_progress(false)
            .with_user_agent("imagine", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|e| ModelsError::Answer { url: settings.endpoint.clone(), reason: e.to_string() })?;
        Ok(Self { settings, api })
    }

    pub fn api(&self) -> &Api {
        &self.api
    }

    /// Asks for the files of a repository at a revision, with sizes and checksums.
    ///
    /// # Errors
    /// No network, a repository that is gated, private or not there, an answer that makes no sense.
    pub fn describe(&self, repo: &str, revision: &str) -> Result<Description, ModelsError> {
        let endpoint = &self.settings.endpoint;
        let url = format!("{endpoint}/api/models/{repo}/revision/{revision}");
        let handle = self.api.repo(repo_at(repo, revision));
        let request = handle.info_request().query("blobs", "true");
        let request = request.config().http_status_as_error(false).timeout_global(Some(PATIENCE)).build();
        let mut response = request.call().map_err(|e| self.http_error(&url, e))?;
        if !response.status().is_success() {
            return Err(self.refusal(repo, &format!("{repo} at {revision}"), &url, &response));
        }
        let wrong = |reason: String| ModelsError::Answer { url: url.clone(), reason };
        let body = response.body_mut().with_config().limit(DESCRIPTION_LIMIT).read_to_string();
        let body = body.map_err(|e| self.http_error(&url, e))?;
        let answer: RepoAnswer =
            serde_json::from_str(&body).map_err(|e| wrong(format!("not the Hub's answer: {e}")))?;
        // both become names of files
        if !is_hex(&answer.sha, 40) {
            return Err(wrong(format!("\"{}\" is not a commit", answer.sha)));
        }
        let described = |sibling: Sibling| {
            let (blob, size) = match sibling.lfs {
                Some(lfs) => (lfs.sha256, lfs.size),
                None => (sibling.blob_id?, sibling.size?),
            };
            (is_hex(&blob, 64) || is_hex(&blob, 40)).then_some((sibling.rfilename, RemoteFile { size, blob }))
        };
        let files = answer.siblings.into_iter().filter_map(described).collect();
        Ok(Description { commit: answer.sha, files })
    }

    /// The folder of a repository in the cache.
    pub fn folder(&self, repo: &str) -> PathBuf {
        self.settings.cache.join(repo_at(repo, "main").folder_name())
    }

    /// A file of a described repository.
    pub fn target(
        &self,
        repo: &str,
        revision: &str,
        commit: &str,
        path: &str,
        file: RemoteFile,
        sha256: Option<String>,
    ) -> Target {
        let cache = Cache::new(self.settings.cache.clone());
        let own = |text: &str| text.to_string();
        Target {
            repo: own(repo),
            revision: own(revision),
            commit: own(commit),
            path: own(path),
            file,
            sha256,
            cache,
        }
    }

    /// The status of an answer as an error. The Hub says in a header of its own what it means.
    fn refusal(&self, repo: &str, what: &str, url: &str, response: &Response<Body>) -> ModelsError {
        let code = response.headers().get("x-error-code").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let (endpoint, with_token) = (self.settings.endpoint.clone(), self.settings.token.is_some());
        let (status, repo) = (response.status().as_u16(), repo.to_string());
        match (status, code) {
            (401 | 403, "GatedRepo") => ModelsError::Gated { repo, endpoint, status, with_token },
            (404, _) => ModelsError::NotThere { endpoint, what: what.to_string() },
            (401, _) => ModelsError::Unauthorized { repo, endpoint, with_token },
            (403, _) => ModelsError::Gated { repo, endpoint, status, with_token },
            _ => ModelsError::Status { url: url.to_string(), status },
        }
    }

    /// What made a request fail, in plain words.
    pub fn http_error(&self, url: &str, error: HttpError) -> ModelsError {
        let host = host(url).to_string();
        let unreachable = |reason: String| ModelsError::Unreachable { host, reason };
        match error {
            HttpError::StatusCode(status) => ModelsError::Status { url: url.to_string(), status },
            HttpError::HostNotFound => unreachable("its name cannot be resolved".into()),
            HttpError::Io(e) if e.to_string().contains("lookup address") => {
                unreachable("its name cannot be resolved".into())
            }
            HttpError::Io(e) => unreachable(e.to_string()),
            HttpError::Timeout(_) => unreachable("it does not answer".into()),
            HttpError::ConnectionFailed => unreachable("no connection".into()),
            HttpError::Tls(reason) => unreachable(reason.to_string()),
            other => ModelsError::Answer { url: url.to_string(), reason: other.to_string() },
        }
    }

    /// What made hf-hub's download of a file fail.
    pub fn download_error(&self, target: &Target, error: ApiError) -> ModelsError {
        let url =
            format!("{}/{}/resolve/{}/{}", self.settings.endpoint, target.repo, target.commit, target.path);
        let (endpoint, with_token) = (self.settings.endpoint.clone(), self.settings.token.is_some());
        let repo = target.repo.clone();
        match error {
            ApiError::RequestError(e) => match *e {
                HttpError::StatusCode(401) => ModelsError::Unauthorized { repo, endpoint, with_token },
                HttpError::StatusCode(403) => ModelsError::Gated { repo, endpoint, status: 403, with_token },
                HttpError::StatusCode(404) => ModelsError::NotThere {
                    endpoint,
                    what: format!("{} in {repo} at {}", target.path, target.revision),
                },
                other => self.http_error(&url, other),
            },
            // both the disk and the connection fail this way
            ApiError::IoError(e) if is_of_the_disk(&e) => ModelsError::io(&target.blob(), e),
            ApiError::IoError(e) => {
                ModelsError::Unreachable { host: host(&url).into(), reason: e.to_string() }
            }
            ApiError::LockAcquisition(_) => ModelsError::Busy { file: target.path.clone() },
            other => ModelsError::Answer { url, reason: other.to_string() },
        }
    }
}

impl Target {
    fn repo_cache(&self) -> hf_hub::CacheRepo {
        self.cache.repo(repo_at(&self.repo, &self.commit))
    }

    /// The name under which programs find it, a link to its content.
    pub fn pointer(&self) -> PathBuf {
        self.repo_cache().pointer_path(&self.commit).join(&self.path)
    }

    /// Its content.
    pub fn blob(&self) -> PathBuf {
        self.repo_cache().blob_path(&self.file.blob)
    }

    /// What has arrived of it so far; hf-hub goes on from there.
    pub fn partial(&self) -> PathBuf {
        self.blob().with_extension("part")
    }

    /// For hf-hub: the commit and not the branch, which may have moved on since it was described.
    pub fn hub_repo(&self) -> Repo {
        repo_at(&self.repo, &self.commit)
    }

    /// Whether the blob's name is the SHA-256 of its content.
    pub fn is_large(&self) -> bool {
        self.file.blob.len() == 64
    }

    /// Notes which commit the branch stands for, as `huggingface_hub` does, so that its users find the files
    /// offline. A revision that is a commit has no note.
    ///
    /// # Errors
    /// What cannot be written.
    pub fn note_revision(&self) -> Result<(), ModelsError> {
        if self.revision == self.commit {
            return Ok(());
        }
        let repo = self.cache.repo(repo_at(&self.repo, &self.revision));
        repo.create_ref(&self.commit).map_err(|e| ModelsError::io(&self.blob(), e))
    }
}

fn repo_at(repo: &str, revision: &str) -> Repo {
    Repo::with_revision(repo.to_string(), RepoType::Model, revision.to_string())
}

/// `https://host:port` of an address.
fn host(url: &str) -> &str {
    let after = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(after..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| after + at);
    url.get(..end).unwrap_or(url)
}

fn is_of_the_disk(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::StorageFull
            | Kind::QuotaExceeded
            | Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::NotFound
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::AlreadyExists
    )
}

/// Removes a file if it is there.
///
/// # Errors
/// What is there and cannot be removed.
pub fn remove(path: &Path) -> Result<(), ModelsError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(ModelsError::io(path, e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_an_address() {
        assert_eq!(host("https://huggingface.co/a/b"), "https://huggingface.co");
        assert_eq!(host("http://127.0.0.1:80"), "http://127.0.0.1:80");
    }
}
