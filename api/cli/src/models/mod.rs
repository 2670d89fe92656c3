//! `imagine models`: which models there are, here and to be had; fetching, checking and removing them.
//!
//! The only room of the program that speaks HTTP, and only to the Hub that the person's settings name.

mod bar;
pub mod command;
mod digest;
mod download;
mod error;
mod hub;
pub mod installed;
mod list;
pub mod lock;
mod lone;
mod pull;
pub mod registry;
mod remove;
mod settings;
mod show;
pub mod table;
mod verify;

use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;

use imagine_contract::CancelFlag;
use indicatif::DecimalBytes;
use serde::Serialize;

use self::command::{ModelsArgs, ModelsCommand};
use self::error::ModelsError;
use self::installed::Kind;
use self::lock::Lock;
use self::registry::{Registry, Role};
use self::settings::HubSettings;
use crate::failure::Failure;
use crate::model_lookup::models_folder;

/// What all commands need.
struct Context {
    registry: Registry,
    settings: HubSettings,
    /// Where the lock file lies.
    models: PathBuf,
}

impl Context {
    fn load() -> Result<Self, ModelsError> {
        let registry = Registry::load(settings::own_registry().as_deref())?;
        let models = models_folder().ok_or(ModelsError::NoHome { what: "the models folder" })?;
        Ok(Self { registry, settings: HubSettings::from_env()?, models })
    }
}

/// Runs one of the commands.
pub fn run(args: &ModelsArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let context = Context::load()?;
    match &args.command {
        ModelsCommand::List(args) => list::run(&context, args.json),
        ModelsCommand::Pull(args) => pull::run(&context, args, cancel),
        ModelsCommand::Verify(args) => verify::run(&context, args, cancel),
        ModelsCommand::Show(args) => show::run(&context, args, cancel),
        ModelsCommand::Rm(args) => remove::run(&context, args),
    }
}

/// How a combination that can be pulled would be fetched, for messages elsewhere; `None` if there is none of that
/// name.
pub fn pull_hint(name: &str) -> Option<String> {
    let registry = Registry::load(settings::own_registry().as_deref()).ok()?;
    let combination = registry.combination(name).ok()?;
    Some(format!("`imagine models pull {name}` fetches {}", combination.title))
}

/// The combinations that are here whole, with the kind of their base model.
pub fn pulled() -> Vec<(String, Kind)> {
    let lock = models_folder().and_then(|folder| Lock::read(&folder).ok()).unwrap_or_default();
    let whole = lock.combinations.iter().filter(|(_, combination)| lock.is_complete(combination));
    whole
        .map(|(name, combination)| {
            let base = lock.parts_of(combination).find(|(_, part)| part.role == Role::Base);
            (name.clone(), base.map_or(Kind::Unknown, |(_, part)| Kind::of(&part.entry())))
        })
        .collect()
}

/// The Hugging Face cache, where the settings say where it is.
pub fn cache_folder() -> Option<PathBuf> {
    HubSettings::from_env().ok().map(|settings| settings.cache)
}

/// The checkpoint that a repository `owner/name` has in the Hugging Face cache.
pub fn cached_checkpoint(repository: &str) -> Option<PathBuf> {
    installed::cached_checkpoint(&cache_folder()?, repository)
}

/// A size for people; a plus behind it where a large file's size is not known beforehand.
fn size_in_words((bytes, exact): (u64, bool)) -> String {
    match (bytes, exact) {
        (0, false) => "size not stated".into(),
        (bytes, true) => DecimalBytes(bytes).to_string(),
        (bytes, false) => format!("{}+", DecimalBytes(bytes)),
    }
}

/// Writes an object or lines to stdout.
fn print(json: bool, object: &impl Serialize, lines: impl FnOnce() -> Vec<String>) -> Result<(), Failure> {
    let text = if json {
        serde_json::to_string_pretty(object).map_err(Failure::failed)?
    } else {
        lines().join("\n")
    };
    print_line(&text)
}

/// Writes a line to stdout. A reader who has left early is no failure.
pub fn print_line(text: &str) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{text}") {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}
