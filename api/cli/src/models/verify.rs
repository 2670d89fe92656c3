//! `imagine models verify`: every byte that was pulled is read and compared with the lock file; of other models and
//! single files, whose checksums nobody has noted, every tensor is read. No network.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use imagine_contract::CancelFlag;
use imagine_identity::{ArcFace, Pack, Scrfd};
use imagine_pipeline::checkpoint::Checkpoint;
use imagine_pipeline::fit::fit_folder;
use imagine_pipeline::inspect::TensorFiles;
use serde::Serialize;

use super::bar::Bar;
use super::command::VerifyArgs;
use super::digest::digests;
use super::download::Watcher;
use super::error::ModelsError;
use super::installed::{bytes_of, installed};
use super::lock::{Lock, LockedFile, LockedPart};
use super::lone::{LoneFile, Look, ModelFiles, is_weight_file, some_of};
use super::{Context, print};
use crate::failure::Failure;
use crate::model_lookup::{INDEX, places};

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
    if let Some(path) = args.name.as_deref().and_then(|name| unlocked(context, &lock, name)) {
        return verify_files(&path, args.json, cancel);
    }
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

/// What a name means that is no combination: a file or folder, else an installed model.
fn unlocked(context: &Context, lock: &Lock, name: &str) -> Option<PathBuf> {
    let path = Path::new(name);
    if is_weight_file(path) || (path.is_dir() && !lock.combinations.contains_key(name)) {
        return Some(path.to_path_buf());
    }
    if lock.combinations.contains_key(name) {
        return None;
    }
    installed(&places(), &context.settings.cache).into_iter().find(|model| model.name == name).map(|m| m.path)
}

/// The files that were read, for people and programs.
#[derive(Serialize)]
struct FilesReport {
    ok: bool,
    files: Vec<LoneFile>,
    /// What is wrong with indices of shards and other files around them.
    problems: Vec<String>,
}

/// Networks of a model's folder, by the names of theirs.
const NETWORKS: [&str; 4] = ["text_encoder", "text_encoder_2", "unet", "vae"];

/// Reads every tensor of a file, or of all files of a model's folder.
fn verify_files(path: &Path, json: bool, cancel: &CancelFlag) -> Result<(), Failure> {
    let (found, look) = if path.is_dir() {
        (ModelFiles::below(path)?, Look::Part)
    } else {
        (ModelFiles { weights: vec![path.to_path_buf()], indices: Vec::new() }, Look::Whole)
    };
    if found == ModelFiles::default() {
        if path.is_dir() && holds_onnx(path) {
            return verify_pack(path, json, cancel);
        }
        return Err(Failure::input(format!(
            "{}: there are no files of weights in this folder",
            path.display()
        )));
    }
    let mut bar = Bar::new(!json, found.weights.iter().map(|path| look.bytes(path)).sum());
    let mut files = Vec::new();
    for path in &found.weights {
        files.push(LoneFile::read(path, look, cancel, &mut bar)?);
    }
    drop(bar);
    let mut problems = if path.is_dir() { problems_of_folder(path, &found) } else { Vec::new() };
    problems.retain(|problem| !files.iter().any(|file| file.problems.contains(problem)));
    report(path, FilesReport { ok: false, files, problems }, json)
}

/// Prints what was found; an error if anything is wrong.
fn report(path: &Path, report: FilesReport, json: bool) -> Result<(), Failure> {
    let ok = report.problems.is_empty() && report.files.iter().all(|file| file.problems.is_empty());
    let report = FilesReport { ok, ..report };
    print(json, &report, || report.lines())?;
    if report.ok {
        return Ok(());
    }
    let bad = report.files.iter().filter(|file| !file.problems.is_empty()).count();
    let all = report.files.len();
    let message = match (bad, all) {
        (0, _) => format!("{} is not whole", path.display()),
        (_, 1) => format!("{} is damaged or cannot be used", path.display()),
        _ => format!("{bad} of {all} files are damaged or cannot be used"),
    };
    Err(Failure::failed(message).hint("a damaged file is fetched anew; it cannot be mended"))
}

fn holds_onnx(folder: &Path) -> bool {
    let inner = folder.join(folder.file_name().unwrap_or_default());
    let entries = [folder, &inner].into_iter().filter_map(|dir| dir.read_dir().ok()).flatten().flatten();
    entries.into_iter().any(|entry| entry.path().extension().is_some_and(|end| end == "onnx"))
}

/// Loads both networks of a face pack, as a run would: ONNX Runtime refuses what is cut off or does not fit.
fn verify_pack(path: &Path, json: bool, cancel: &CancelFlag) -> Result<(), Failure> {
    let (mut files, mut problems) = (Vec::new(), Vec::new());
    match Pack::open(path) {
        Ok(pack) => {
            let networks = [
                ("detector", &pack.detector, Scrfd::open(&pack.detector).map(drop)),
                ("recogniser", &pack.recogniser, ArcFace::open(&pack.recogniser).map(drop)),
            ];
            let mut bar = Bar::new(!json, networks.iter().map(|(_, file, _)| bytes_of(file)).sum());
            for (role, file, opened) in networks {
                let what = format!("the {role} of the face pack {}", pack.name);
                let problem = opened.err().map(|error| error.to_string());
                files.push(LoneFile::of_pack(file, what, problem, cancel, &mut bar)?);
            }
        }
        Err(error) => problems.push(error.to_string()),
    }
    report(path, FilesReport { ok: false, files, problems }, json)
}

/// What no file that is there can tell: files that are missing, and what networks miss whose weights may lie in several.
fn problems_of_folder(path: &Path, found: &ModelFiles) -> Vec<String> {
    let mut problems = Vec::new();
    if path.join(INDEX).is_file() {
        problems.extend(Checkpoint::open(path).err().map(|error| error.to_string()));
        let networks = NETWORKS.map(|name| path.join(name)).into_iter().filter(|folder| folder.is_dir());
        problems
            .extend(networks.filter_map(|folder| Some(TensorFiles::open_folder(&folder).err()?.to_string())));
    }
    let folders: BTreeSet<&Path> = found.weights.iter().filter_map(|file| file.parent()).collect();
    problems.extend(folders.into_iter().filter_map(fit_folder).flat_map(|fit| fit.problems));
    let shards =
        found.indices.iter().filter_map(|index| TensorFiles::open(std::slice::from_ref(index)).err());
    for problem in shards.map(|error| error.to_string()) {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}

impl FilesReport {
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.files.iter().flat_map(LoneFile::lines).collect();
        lines.extend(some_of(&self.problems).map(|problem| format!("problem: {problem}")));
        let good = self.files.iter().filter(|file| file.problems.is_empty()).count();
        let tensors: usize = self.files.iter().map(|file| file.read).sum();
        let read = if tensors > 0 { format!(", {tensors} tensors read") } else { String::new() };
        lines.push(format!("{good} of {} files are sound{read}", self.files.len()));
        lines
    }
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
