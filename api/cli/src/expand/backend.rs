//! Which backend answers: what is named, else the best there is.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use imagine_contract::Expander;
use imagine_expansion::{Cached, Grounding, Knowledge, Remote, RemoteOptions, Template, WithFallback};

use super::args::{Backend, ExpandOptions};
use crate::failure::Failure;

/// Expansions that are remembered.
const REMEMBERED: usize = 1000;
/// For a web search.
const SEARCH: Duration = Duration::from_secs(5);

/// Seconds for the whole answer of a language server.
const PATIENCE_VARIABLE: &str = "IMAGINE_LLM_SECONDS";

/// Names a model file.
const MODEL_VARIABLE: &str = "IMAGINE_LLAMA";
/// Names the folder that set-up fills.
const DEPS_VARIABLE: &str = "IMAGINE_DEPS";

/// Whether somebody has named a model.
pub fn has_model() -> bool {
    server().is_some() || (cfg!(feature = "llama") && named_file().is_some())
}

/// Opens the backend that the options name. By itself it takes a server, then a model file that is named and good
/// enough to write, then the template: models that only choose do no better than that (docs/expansion.md). What fails
/// while it runs falls back to the template, unless a backend was asked for by name.
///
/// # Errors
/// Wrong input where a named backend is not there; a failure where it cannot be loaded.
pub fn open(options: &ExpandOptions) -> Result<Box<dyn Expander>, Failure> {
    open_with(options, grounding(options)?)
}

/// The same with a search server, or without one.
///
/// # Errors
/// As [`open`].
pub fn open_with(
    options: &ExpandOptions,
    grounding: Option<Arc<Grounding>>,
) -> Result<Box<dyn Expander>, Failure> {
    let knowledge = Arc::new(Knowledge::built_in().map_err(Failure::failed)?);
    let template = Template::new(knowledge.clone()).grounded(grounding.clone());
    let best = match options.backend {
        Backend::Template => return Ok(Box::new(template)),
        Backend::Auto if server().is_some() => Backend::Server,
        Backend::Auto if cfg!(feature = "llama") && named_file().is_some() => Backend::Local,
        Backend::Auto => return Ok(Box::new(template)),
        named => named,
    };
    let is_named = options.backend == best;
    if best == Backend::Server {
        let server = server().ok_or_else(|| {
            Failure::input("no server is named").hint("set IMAGINE_LLM_URL (up to /v1) and IMAGINE_LLM_MODEL")
        })?;
        let remote = Remote::new(
            knowledge,
            RemoteOptions { grounding, timeout: patience()?.unwrap_or(server.timeout), ..server },
        );
        return Ok(match is_named {
            true => Box::new(Cached::new(remote, REMEMBERED)),
            false => Box::new(Cached::new(WithFallback::new(remote, template), REMEMBERED)),
        });
    }
    let file = model_file().ok_or_else(|| {
        Failure::input("there is no language model")
            .hint(format!("`cargo xtask setup` fetches a small one; {MODEL_VARIABLE} names a GGUF file"))
    })?;
    local(&file, knowledge, grounding, template, is_named)
}

#[cfg(feature = "llama")]
fn local(
    file: &Path,
    knowledge: Arc<Knowledge>,
    grounding: Option<Arc<Grounding>>,
    template: Template,
    is_named: bool,
) -> Result<Box<dyn Expander>, Failure> {
    use imagine_contract::Mode;
    use imagine_expansion::{Llama, LlamaOptions};
    let options =
        LlamaOptions { file: file.to_path_buf(), cache: cache(), grounding, ..LlamaOptions::default() };
    match Llama::load(knowledge, &options) {
        Ok(llama) if is_named => Ok(Box::new(Cached::new(llama, REMEMBERED))),
        Ok(llama) if llama.mode() == Mode::Write => {
            Ok(Box::new(Cached::new(WithFallback::new(llama, template), REMEMBERED)))
        }
        Ok(llama) => {
            tracing::warn!("{} can choose but not write: the template expands prompts", llama.name());
            Ok(Box::new(template))
        }
        Err(error) if is_named => Err(super::failure(error)),
        Err(error) => {
            tracing::warn!(%error, "the template expands prompts");
            Ok(Box::new(template))
        }
    }
}

#[cfg(not(feature = "llama"))]
fn local(
    file: &Path,
    _: Arc<Knowledge>,
    _: Option<Arc<Grounding>>,
    _: Template,
    _: bool,
) -> Result<Box<dyn Expander>, Failure> {
    let message = format!("{} cannot be run: this program was built without llama.cpp", file.display());
    Err(Failure::input(message).hint("--backend server or template"))
}

fn text(variable: &str) -> Option<String> {
    env::var(variable).ok().filter(|value| !value.is_empty())
}

fn server() -> Option<RemoteOptions> {
    let options = RemoteOptions::new(&text("IMAGINE_LLM_URL")?, &text("IMAGINE_LLM_MODEL")?);
    Some(RemoteOptions { key: text("IMAGINE_LLM_KEY"), ..options })
}

/// How long an answer may take: a large model without a GPU needs more than the usual half a minute.
fn patience() -> Result<Option<Duration>, Failure> {
    let Some(said) = text(PATIENCE_VARIABLE) else { return Ok(None) };
    let seconds =
        said.parse::<u64>().ok().filter(|seconds| (1..=3600).contains(seconds)).ok_or_else(|| {
            Failure::input(format!("{PATIENCE_VARIABLE} is {said:?}: seconds from 1 to 3600 are needed"))
        })?;
    Ok(Some(Duration::from_secs(seconds)))
}

fn grounding(options: &ExpandOptions) -> Result<Option<Arc<Grounding>>, Failure> {
    if !options.ground {
        return Ok(None);
    }
    let url = text("IMAGINE_SEARCH_URL").ok_or_else(|| {
        Failure::input("--ground needs a search server")
            .hint("set IMAGINE_SEARCH_URL, and IMAGINE_SEARCH_KEY for an API like Brave's")
    })?;
    Ok(Some(search(&url, text("IMAGINE_SEARCH_KEY"))))
}

/// A search server.
pub fn search(url: &str, key: Option<String>) -> Arc<Grounding> {
    Arc::new(Grounding::new(url, key, SEARCH))
}

fn named_file() -> Option<PathBuf> {
    env::var_os(MODEL_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The model file that is named, or the one that set-up has fetched: in the folder that `IMAGINE_DEPS` names, or in
/// `.deps` around the program.
fn model_file() -> Option<PathBuf> {
    if let Some(named) = named_file() {
        return Some(named);
    }
    let named = env::var_os(DEPS_VARIABLE).filter(|value| !value.is_empty()).map(PathBuf::from);
    let program = env::current_exe().ok();
    let around = program.iter().flat_map(|program| program.ancestors().map(|dir| dir.join(".deps")));
    named.into_iter().chain(around).find_map(|deps| first_gguf(&deps.join("llama")))
}

fn first_gguf(folder: &Path) -> Option<PathBuf> {
    let files = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path());
    files.filter(|path| path.extension().is_some_and(|ending| ending == "gguf")).min()
}

/// Where a model's self-test is remembered.
#[cfg(feature = "llama")]
fn cache() -> Option<PathBuf> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or(home);
    cache.map(|cache| cache.join("imagine/llama"))
}
