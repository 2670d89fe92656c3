//! `imagine models verify`: every byte that was pulled is read and compared with the lock file. No network.

use std::collections::BTreeSet;

use imagine_contract::CancelFlag;
use serde::Serialize;

use super::bar::Bar;
use super::command::VerifyArgs;
use super::digest::digests;
use super::download::Watcher;
use super::error::ModelsError;
use super::lock::{Lock, LockedFile, LockedPart};
use super::{Context, print};
use crate::failure::Failure;

#[derive(Serialize)]
struct Report {
    ok: bool,
    combinations: Vec<String>,
    files: Vec<Checked>,
}

#[derive(Serialize)]
struct Checked {
    part: String,
    path: String,
    #[serde(flatten)]
    state: State,
}

/// What became of a file.
#[derive(Serialize, PartialEq)]
#[serde(rename_all = "lowercase", tag = "state")]
enum State {
    Ok,
    Missing,
    Unfinished,
    /// Other bytes than were fetched.
    Changed {
        found: String,
    },
}

pub fn run(context: &Context, args: &VerifyArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let lock = Lock::read(&context.models)?;
    let combinations: Vec<String> = match &args.name {
        Some(name) => {
            lock.combination(name)?;
            vec![name.clone()]
        }
        None => lock.combinations.keys().cloned().collect(),
    };
    let parts: BTreeSet<&String> =
        combinations.iter().filter_map(|name| lock.combinations.get(name)).flat_map(|c| &c.parts).collect();
    let parts: Vec<(&String, &LockedPart)> =
        parts.into_iter().filter_map(|name| lock.parts.get_key_value(name)).collect();
    let mut bar = Bar::new(!args.json, parts.iter().map(|(_, part)| part.bytes()).sum());
    let mut files = Vec::new();
    for (name, part) in parts {
        for (path, file) in &part.files {
            bar.file("checking", path, file.size, 0);
            let state = check(part, path, file, cancel, &mut bar)?;
            bar.done(file.size);
            files.push(Checked { part: name.clone(), path: path.clone(), state });
        }
    }
    drop(bar);
    let report = Report { ok: files.iter().all(|file| file.state == State::Ok), combinations, files };
    print(args.json, &report, || report.lines())?;
    if report.ok {
        return Ok(());
    }
    let bad = report.files.iter().filter(|file| file.state != State::Ok).count();
    let names: Vec<&str> = report
        .combinations
        .iter()
        .filter(|name| {
            lock.combinations.get(*name).is_some_and(|combination| {
                let is_bad =
                    |file: &Checked| file.state != State::Ok && combination.parts.contains(&file.part);
                report.files.iter().any(is_bad)
            })
        })
        .map(String::as_str)
        .collect();
    let mend: Vec<String> = names.iter().map(|name| format!("imagine models pull {name}")).collect();
    Err(Failure::failed(format!("{bad} of {} files are missing or damaged", report.files.len()))
        .hint(format!("fetched anew by: {}", mend.join("; "))))
}

fn check(
    part: &LockedPart,
    path: &str,
    file: &LockedFile,
    cancel: &CancelFlag,
    bar: &mut Bar,
) -> Result<State, ModelsError> {
    let on_disk = part.snapshot().join(path);
    if !on_disk.is_file() {
        return Ok(State::Missing);
    }
    let Some(expected) = &file.sha256 else { return Ok(State::Unfinished) };
    let found = digests(&on_disk, cancel, &mut |n| bar.checked(n))?.sha256;
    Ok(if found == *expected { State::Ok } else { State::Changed { found } })
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.files.iter().filter_map(Checked::line).collect();
        let good = self.files.iter().filter(|file| file.state == State::Ok).count();
        lines.push(match self.files.len() {
            0 => "nothing has been pulled".into(),
            all => format!("{good} of {all} files are as they were fetched"),
        });
        lines
    }
}

impl Checked {
    fn line(&self) -> Option<String> {
        let what = match &self.state {
            State::Ok => return None,
            State::Missing => "missing".into(),
            State::Unfinished => "never fetched to its end".into(),
            State::Changed { found } => format!("changed, its sha256 is {found}"),
        };
        Some(format!("{}: {}: {what}", self.part, self.path))
    }
}
