//! `imagine models show`: everything about one combination, one installed model or one file of weights.

use std::path::{Path, PathBuf};

use imagine_contract::CancelFlag;
use indicatif::DecimalBytes;
use serde::Serialize;

use super::bar::Bar;
use super::command::ShowArgs;
use super::error::ModelsError;
use super::installed::{Installed, installed};
use super::lock::{Lock, LockedPart};
use super::lone::{LoneFile, Look, is_weight_file};
use super::registry::{Part, Role, Use, is_configuration};
use super::{Context, print, size_in_words, table};
use crate::failure::Failure;
use crate::model_lookup::places;

#[derive(Serialize)]
#[serde(untagged)]
enum Shown {
    Combination(Shape),
    Model(Installed),
    /// A file of weights by its path, or a model that is one.
    File(Box<LoneFile>),
}

/// A combination, pulled or not.
#[derive(Serialize)]
struct Shape {
    name: String,
    title: String,
    about: String,
    preset: Option<String>,
    complete: bool,
    /// Of the files whose size is known.
    bytes: u64,
    /// False where the size of a large file is not known before it is pulled.
    bytes_known: bool,
    parts: Vec<ShownPart>,
}

#[derive(Serialize)]
struct ShownPart {
    name: String,
    role: Role,
    purpose: String,
    repo: String,
    revision: String,
    /// Once it has been pulled.
    commit: Option<String>,
    licence: String,
    licence_link: String,
    #[serde(rename = "use")]
    allowed: Option<Use>,
    /// What is loaded, where it is here.
    path: Option<PathBuf>,
    files: Vec<ShownFile>,
}

#[derive(Serialize)]
struct ShownFile {
    path: String,
    bytes: Option<u64>,
    sha256: Option<String>,
    here: bool,
}

pub fn run(context: &Context, args: &ShowArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let path = Path::new(&args.name);
    let shown = if is_weight_file(path) {
        Shown::File(Box::new(read(path, args.json, cancel)?))
    } else {
        match find(context, &args.name)? {
            Shown::Model(model) if model.path.is_file() => {
                Shown::File(Box::new(read(&model.path, args.json, cancel)?))
            }
            shown => shown,
        }
    };
    print(args.json, &shown, || match &shown {
        Shown::Combination(shape) => shape.lines(),
        Shown::Model(model) => model_lines(model),
        Shown::File(file) => file.lines(),
    })
}

fn read(path: &Path, json: bool, cancel: &CancelFlag) -> Result<LoneFile, ModelsError> {
    let mut bar = Bar::new(!json, Look::Header.bytes(path));
    LoneFile::read(path, Look::Header, cancel, &mut bar)
}

fn find(context: &Context, name: &str) -> Result<Shown, ModelsError> {
    let lock = Lock::read(&context.models)?;
    let unknown = match context.registry.combination(name) {
        Ok(combination) => {
            let parts: Vec<ShownPart> = context
                .registry
                .parts(combination)
                .map(|(name, part)| shown_part(context, name, part, lock.parts.get(name)))
                .collect();
            let files = || parts.iter().flat_map(|part| &part.files);
            let bytes = files().filter_map(|file| file.bytes).sum();
            let bytes_known = files().all(|file| file.bytes.is_some() || is_configuration(&file.path));
            return Ok(Shown::Combination(Shape {
                name: name.into(),
                title: combination.title.clone(),
                about: combination.about.clone(),
                preset: combination.preset.clone(),
                complete: parts.iter().flat_map(|p| &p.files).all(|file| file.here),
                bytes,
                bytes_known,
                parts,
            }));
        }
        Err(unknown) => unknown,
    };
    let models = installed(&places(), &context.settings.cache);
    match models.iter().find(|model| model.name == name) {
        Some(model) => Ok(Shown::Model(model.clone())),
        None => Err(match unknown {
            ModelsError::Unknown { name, mut known } => {
                known.extend(models.into_iter().map(|model| model.name));
                ModelsError::Unknown { name, known }
            }
            other => other,
        }),
    }
}

fn shown_part(context: &Context, name: &str, part: &Part, locked: Option<&LockedPart>) -> ShownPart {
    let missing = locked.map(LockedPart::missing).unwrap_or_default();
    let file = |file: &super::registry::PartFile| {
        let known = locked.and_then(|locked| locked.files.get(&file.path));
        ShownFile {
            path: file.path.clone(),
            bytes: known.map(|known| known.size).or(file.size),
            sha256: known.and_then(|known| known.sha256.clone()).or_else(|| file.sha256.clone()),
            here: known.is_some() && !missing.contains(&file.path.as_str()),
        }
    };
    let licence = context.registry.licence.get(&part.licence);
    ShownPart {
        name: name.into(),
        role: part.role,
        purpose: part.purpose.clone(),
        repo: part.repo.clone(),
        revision: part.revision.clone(),
        commit: locked.map(|locked| locked.commit.clone()),
        licence: licence.map_or_else(|| part.licence.clone(), |l| l.title.clone()),
        licence_link: licence.map(|l| l.link.clone()).unwrap_or_default(),
        allowed: licence.map(|l| l.allowed),
        path: locked.filter(|_| missing.is_empty()).map(LockedPart::entry),
        files: part.files.iter().map(file).collect(),
    }
}

impl Shape {
    fn lines(&self) -> Vec<String> {
        let state = if self.complete { "is here" } else { "not here, or not all of it" };
        let mut lines = vec![format!(
            "{}: {}; {}; {}; {state}",
            self.name,
            self.title,
            self.about,
            size_in_words((self.bytes, self.bytes_known))
        )];
        if let Some(preset) = &self.preset {
            lines.push(format!("preset {preset}"));
        }
        for part in &self.parts {
            lines.push(format!("{}: {}", part.name, part.purpose));
            let at = part.commit.as_ref().unwrap_or(&part.revision);
            lines.push(format!("  from {} at {at}", part.repo));
            lines.push(format!("  licence {}, {}", part.licence, part.licence_link));
            if let Some(path) = &part.path {
                lines.push(format!("  loaded from {}", path.display()));
            }
            let rows: Vec<[String; 4]> = part.files.iter().map(ShownFile::row).collect();
            lines.extend(table::lines(&rows));
        }
        lines
    }
}

impl ShownFile {
    fn row(&self) -> [String; 4] {
        let size = self.bytes.map_or_else(String::new, |bytes| DecimalBytes(bytes).to_string());
        let here = if self.here { "here" } else { "-" };
        [here.into(), size, self.path.clone(), self.sha256.clone().unwrap_or_default()]
    }
}

fn model_lines(model: &Installed) -> Vec<String> {
    vec![
        format!("{}: {}, {}", model.name, model.kind.name(), DecimalBytes(model.bytes)),
        format!("  {}: {}", model.place, model.path.display()),
        format!("  licence {}", model.licence.as_deref().unwrap_or("not stated")),
    ]
}
