//! Where things are: the Hub's address, the token, the cache that Python programs use too, and the person's
//! own folders. All from the variables that `huggingface_hub` reads, so that one setting serves both.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use super::error::ModelsError;

/// The Hub as this machine is set up for it.
#[derive(Clone, Debug)]
pub struct HubSettings {
    /// Without a slash at the end.
    pub endpoint: String,
    pub token: Option<String>,
    /// The folder of `models--owner--name`.
    pub cache: PathBuf,
}

impl HubSettings {
    /// `HF_ENDPOINT`; `HF_TOKEN`, or the file that `hf auth login` writes; `HF_HUB_CACHE`, `HF_HOME`.
    ///
    /// # Errors
    /// An address that is none; no home folder.
    pub fn from_env() -> Result<Self, ModelsError> {
        let endpoint = text("HF_ENDPOINT").unwrap_or_else(|| "https://huggingface.co".into());
        let endpoint = endpoint.trim_end_matches('/').to_string();
        let host = endpoint.strip_prefix("https://").or_else(|| endpoint.strip_prefix("http://"));
        if host.is_none_or(|host| host.is_empty() || host.contains(char::is_whitespace)) {
            return Err(ModelsError::Endpoint { variable: "HF_ENDPOINT", value: endpoint });
        }
        let home = hub_home();
        let cache = path("HF_HUB_CACHE").or_else(|| path("HUGGINGFACE_HUB_CACHE"));
        let cache = cache.or_else(|| home.as_ref().map(|home| home.join("hub")));
        let token = text("HF_TOKEN").or_else(|| text("HUGGING_FACE_HUB_TOKEN")).or_else(|| {
            let file = path("HF_TOKEN_PATH").or_else(|| home.as_ref().map(|home| home.join("token")))?;
            fs::read_to_string(file).ok()
        });
        let token = token.map(|token| token.trim().to_string()).filter(|token| !token.is_empty());
        let cache = cache.ok_or(ModelsError::NoHome { what: "the Hugging Face cache" })?;
        Ok(Self { endpoint, token, cache: absolute(&cache) })
    }

    /// Refuses to go on where the person has switched the network off.
    ///
    /// # Errors
    /// [`ModelsError::Offline`].
    pub fn online(&self) -> Result<(), ModelsError> {
        let on = |name: &str| {
            text(name).is_some_and(|v| matches!(v.to_lowercase().as_str(), "1" | "true" | "yes" | "on"))
        };
        match ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| on(name)) {
            Some(variable) => Err(ModelsError::Offline { variable }),
            None => Ok(()),
        }
    }
}

fn hub_home() -> Option<PathBuf> {
    let cache = || path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
    path("HF_HOME").or_else(|| Some(cache()?.join("huggingface")))
}

/// The person's own registry file, in `~/.config/imagine` or below `$XDG_CONFIG_HOME`; it need not be there.
pub fn own_registry() -> Option<PathBuf> {
    let base = path("XDG_CONFIG_HOME").filter(|dir| dir.is_absolute());
    Some(base.or_else(|| Some(path("HOME")?.join(".config")))?.join("imagine/registry.toml"))
}

fn text(name: &str) -> Option<String> {
    env::var(name).ok().map(|value| value.trim().to_string()).filter(|value| !value.is_empty())
}

fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
