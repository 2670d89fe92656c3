//! `imagine models list`: what is here, and what can be had.

use std::path::PathBuf;

use indicatif::DecimalBytes;
use serde::Serialize;

use super::installed::{Installed, Kind, installed};
use super::lock::{Lock, LockedPart};
use super::registry::Role;
use super::{Context, print, size_in_words, table};
use crate::failure::Failure;
use crate::model_lookup::places;

#[derive(Serialize)]
struct Listing {
    /// Where the lock file lies.
    models_folder: PathBuf,
    hugging_face_cache: PathBuf,
    pulled: Vec<Pulled>,
    installed: Vec<Installed>,
    available: Vec<Available>,
}

/// A combination that was pulled, whole or not.
#[derive(Serialize)]
struct Pulled {
    name: String,
    title: String,
    kind: Kind,
    bytes: u64,
    licences: Vec<String>,
    complete: bool,
    missing_files: usize,
    /// The base model.
    path: Option<PathBuf>,
}

/// A combination of the registry that was not pulled.
#[derive(Serialize)]
struct Available {
    name: String,
    title: String,
    about: String,
    /// Of the files whose size is known beforehand.
    bytes: u64,
    /// False where more is fetched than `bytes`: the size of a large file is not in the registry.
    bytes_known: bool,
    licences: Vec<String>,
}

pub fn run(context: &Context, json: bool) -> Result<(), Failure> {
    let lock = Lock::read(&context.models)?;
    let listing = Listing {
        models_folder: context.models.clone(),
        hugging_face_cache: context.settings.cache.clone(),
        pulled: pulled(context, &lock),
        installed: installed(&places(), &context.settings.cache),
        available: available(context, &lock),
    };
    print(json, &listing, || listing.lines())
}

fn pulled(context: &Context, lock: &Lock) -> Vec<Pulled> {
    let one = |(name, combination): (&String, &super::lock::LockedCombination)| {
        let parts: Vec<&LockedPart> = lock.parts_of(combination).map(|(_, part)| part).collect();
        let base = parts.iter().find(|part| part.role == Role::Base).map(|part| part.entry());
        let mut licences: Vec<String> = Vec::new();
        for part in &parts {
            let title = context.registry.licence.get(&part.licence).map_or(&part.licence, |l| &l.title);
            if !licences.contains(title) {
                licences.push(title.clone());
            }
        }
        Pulled {
            name: name.clone(),
            title: combination.title.clone(),
            kind: base.as_deref().map_or(Kind::Unknown, Kind::of),
            bytes: parts.iter().map(|part| part.bytes()).sum(),
            licences,
            complete: lock.is_complete(combination),
            missing_files: parts.iter().map(|part| part.missing().len()).sum(),
            path: base,
        }
    };
    lock.combinations.iter().map(one).collect()
}

fn available(context: &Context, lock: &Lock) -> Vec<Available> {
    let registry = &context.registry;
    let rest = registry.combination.iter().filter(|(name, _)| !lock.combinations.contains_key(*name));
    rest.map(|(name, combination)| Available {
        name: name.clone(),
        title: combination.title.clone(),
        about: combination.about.clone(),
        bytes: registry.known_bytes(combination).0,
        bytes_known: registry.known_bytes(combination).1,
        licences: registry.licences(combination).into_iter().map(|(_, l)| l.title.clone()).collect(),
    })
    .collect()
}

impl Listing {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec!["Installed:".to_string()];
        let mut rows: Vec<[String; 5]> = Vec::new();
        for model in &self.pulled {
            let state = if model.complete {
                "pulled".into()
            } else {
                format!("{} files missing: imagine models pull {}", model.missing_files, model.name)
            };
            let size = DecimalBytes(model.bytes).to_string();
            rows.push([model.name.clone(), model.kind.name().into(), size, model.licences.join("; "), state]);
        }
        for model in &self.installed {
            let size = DecimalBytes(model.bytes).to_string();
            let licence = model.licence.clone().unwrap_or_else(|| "licence not stated".into());
            let place = format!("{}: {}", model.place, model.path.display());
            rows.push([model.name.clone(), model.kind.name().into(), size, licence, place]);
        }
        if rows.is_empty() {
            lines.push("  nothing".into());
        }
        lines.extend(table::lines(&rows));
        lines.push("Can be pulled:".into());
        let rows: Vec<[String; 4]> = self
            .available
            .iter()
            .map(|a| {
                let size = size_in_words((a.bytes, a.bytes_known));
                [a.name.clone(), size, a.title.clone(), a.licences.join("; ")]
            })
            .collect();
        if rows.is_empty() {
            lines.push("  nothing that is not here already".into());
        }
        lines.extend(table::lines(&rows));
        lines
    }
}
