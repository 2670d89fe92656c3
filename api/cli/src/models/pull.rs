//! `imagine models pull`: from a name in the registry to checked files in the cache and lines in the lock file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;

use imagine_contract::CancelFlag;
use imagine_identity::{IdentityError, LicenceStore};
use indicatif::DecimalBytes;
use serde::Serialize;

use super::bar::Bar;
use super::command::PullArgs;
use super::digest::digests;
use super::download::{Patience, Presence, Watcher, fetch, presence};
use super::error::ModelsError;
use super::hub::{Description, Hub, Target};
use super::lock::{Lock, LockedCombination, LockedFile, LockedPart};
use super::registry::{Combination, Part, Use};
use super::{Context, print, print_line, size_in_words, table};
use crate::failure::Failure;

/// A part and its files on the Hub.
struct Planned<'a> {
    name: &'a str,
    part: &'a Part,
    files: Vec<Target>,
}

/// What was done.
#[derive(Serialize)]
struct Report {
    name: String,
    /// Of all files.
    bytes: u64,
    /// Of those, over the network.
    fetched_bytes: u64,
    files: Vec<FileReport>,
}

#[derive(Serialize)]
struct FileReport {
    part: String,
    path: String,
    bytes: u64,
    sha256: String,
}

pub fn run(context: &Context, args: &PullArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let name = args.name.as_str();
    let combination = context.registry.combination(name)?;
    if !args.json {
        for line in terms(context, combination) {
            print_line(&line)?;
        }
    }
    accept(context, combination, args)?;
    if let Some(report) = already_here(context, name, combination, cancel, args.json)? {
        return tell(&report, args.json);
    }
    context.settings.online()?;
    let hub = Hub::new(context.settings.clone())?;
    let planned = plan(context, combination, &hub, cancel)?;
    let report = carry_out(context, name, combination, &hub, &planned, cancel, args.json)?;
    tell(&report, args.json)
}

fn tell(report: &Report, json: bool) -> Result<(), Failure> {
    print(json, report, || {
        vec![format!(
            "{} is here: {}, of which {} fetched now; draw with `imagine generate --model {}`",
            report.name,
            DecimalBytes(report.bytes),
            DecimalBytes(report.fetched_bytes),
            report.name
        )]
    })
}

/// The parts with size and licence, shown before anything is fetched.
fn terms(context: &Context, combination: &Combination) -> Vec<String> {
    let registry = &context.registry;
    let row = |(_, part): (&str, &Part)| {
        let licence = registry.licence.get(&part.licence);
        let title = licence.map_or(part.licence.clone(), |l| l.title.clone());
        [part.repo.clone(), size_in_words(part.known_bytes()), title, part.purpose.clone()]
    };
    let rows: Vec<[String; 4]> = registry.parts(combination).map(row).collect();
    let mut lines = vec![combination.title.clone()];
    lines.extend(table::lines(&rows));
    lines.push("Licences:".into());
    let rows: Vec<[String; 2]> = registry
        .licences(combination)
        .iter()
        .map(|(_, licence)| [licence.title.clone(), licence.link.clone()])
        .collect();
    lines.extend(table::lines(&rows));
    lines
}

/// Remembers what the person accepts now, and refuses if a research-only part is not accepted.
fn accept(context: &Context, combination: &Combination, args: &PullArgs) -> Result<(), ModelsError> {
    let known = &context.registry.licence;
    if let Some(name) = args.accept_licence.iter().find(|name| !known.contains_key(*name)) {
        return Err(ModelsError::UnknownLicence {
            name: name.clone(),
            known: known.keys().cloned().collect(),
        });
    }
    // the same list that the face encoders look into before they are used
    let unusable = |e: IdentityError| ModelsError::Licences(e.to_string());
    let store = LicenceStore::of_this_person().map_err(unusable)?;
    for name in &args.accept_licence {
        store.accept(name).map_err(unusable)?;
    }
    let mut wanting = Vec::new();
    for (name, licence) in context.registry.licences(combination) {
        if licence.allowed == Use::Research && !store.is_accepted(name).map_err(unusable)? {
            wanting.push((name, licence));
        }
    }
    if wanting.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = wanting.iter().map(|(name, _)| *name).collect();
    let licences: Vec<String> = wanting.iter().map(|(_, l)| format!("{} ({})", l.title, l.link)).collect();
    Err(ModelsError::Licence {
        what: format!("{} has parts that", args.name),
        licences: licences.join("; "),
        accept: format!("imagine models pull {} --accept-licence {}", args.name, names.join(" ")),
    })
}

/// Reads what the lock file says is here and compares; `None` if something is missing, damaged or no longer what
/// the registry names. Needs no network.
fn already_here(
    context: &Context,
    name: &str,
    combination: &Combination,
    cancel: &CancelFlag,
    json: bool,
) -> Result<Option<Report>, ModelsError> {
    let lock = Lock::read(&context.models)?;
    let mut parts = Vec::new();
    for (part_name, part) in context.registry.parts(combination) {
        match lock.parts.get(part_name) {
            Some(locked)
                if (&locked.repo, &locked.revision) == (&part.repo, &part.revision)
                    && part.files.iter().all(|f| locked.files.contains_key(&f.path))
                    && locked.missing().is_empty() =>
            {
                parts.push((part_name, locked));
            }
            _ => return Ok(None),
        }
    }
    let bytes = parts.iter().map(|(_, part)| part.bytes()).sum();
    let mut bar = Bar::new(!json, bytes);
    let mut files = Vec::new();
    for (part_name, part) in parts {
        for (path, file) in &part.files {
            bar.file("checking", path, file.size, 0);
            let on_disk = part.snapshot().join(path);
            let found = digests(&on_disk, cancel, &mut |n| bar.checked(n))?;
            if file.sha256.as_ref() != Some(&found.sha256) {
                return Ok(None);
            }
            bar.done(file.size);
            files.push(FileReport {
                part: part_name.into(),
                path: path.clone(),
                bytes: file.size,
                sha256: found.sha256,
            });
        }
    }
    Lock::update(&context.models, |lock| {
        lock.combinations.insert(name.into(), locked(combination));
    })?;
    Ok(Some(Report { name: name.into(), bytes, fetched_bytes: 0, files }))
}

fn locked(combination: &Combination) -> LockedCombination {
    LockedCombination {
        title: combination.title.clone(),
        parts: combination.parts.clone(),
        preset: combination.preset.clone(),
    }
}

/// Asks the Hub about every repository, once each, and compares with the registry.
fn plan<'a>(
    context: &'a Context,
    combination: &'a Combination,
    hub: &Hub,
    cancel: &CancelFlag,
) -> Result<Vec<Planned<'a>>, ModelsError> {
    let mut described: BTreeMap<(&str, &str), Description> = BTreeMap::new();
    let mut planned = Vec::new();
    for (name, part) in context.registry.parts(combination) {
        if cancel.is_canceled() {
            return Err(ModelsError::Canceled);
        }
        let key = (part.repo.as_str(), part.revision.as_str());
        let description = match described.entry(key) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(hub.describe(&part.repo, &part.revision)?),
        };
        let files = part.files.iter().map(|file| {
            let what = || format!("{} in {} at {}", file.path, part.repo, part.revision);
            let not_there =
                || ModelsError::NotThere { endpoint: hub.settings.endpoint.clone(), what: what() };
            let remote = description.files.get(&file.path).ok_or_else(not_there)?;
            let wrong = |expected: String, found: String| {
                Err(ModelsError::WrongFile { what: what(), expected, found })
            };
            match &file.sha256 {
                Some(sha256) if remote.blob.len() == 64 && *sha256 != remote.blob => {
                    return wrong(
                        format!("sha256 {sha256} in the registry"),
                        format!("{} on the Hub", remote.blob),
                    );
                }
                _ => {}
            }
            match file.size {
                Some(size) if size != remote.size => {
                    return wrong(
                        format!("{size} bytes in the registry"),
                        format!("{} on the Hub", remote.size),
                    );
                }
                _ => {}
            }
            let commit = &description.commit;
            Ok(hub.target(
                &part.repo,
                &part.revision,
                commit,
                &file.path,
                remote.clone(),
                file.sha256.clone(),
            ))
        });
        planned.push(Planned { name, part, files: files.collect::<Result<_, _>>()? });
    }
    Ok(planned)
}

/// Fetches and checks, file by file; the lock file knows at every moment what is whole.
fn carry_out(
    context: &Context,
    name: &str,
    combination: &Combination,
    hub: &Hub,
    planned: &[Planned],
    cancel: &CancelFlag,
    json: bool,
) -> Result<Report, ModelsError> {
    let targets = || planned.iter().flat_map(|p| p.files.iter().map(move |target| (p.name, target)));
    let present = |target: &Target| match presence(target) {
        Presence::Named | Presence::Content => target.file.size,
        Presence::Partial(bytes) => bytes,
        Presence::Nothing => 0,
    };
    let bytes: u64 = targets().map(|(_, t)| t.file.size).sum();
    let mut fetched_bytes: u64 = targets().map(|(_, t)| t.file.size - present(t)).sum();
    check_room(&hub.settings.cache, fetched_bytes)?;
    Lock::update(&context.models, |lock| {
        for part in planned {
            note(lock, hub, part);
        }
        lock.combinations.insert(name.into(), locked(combination));
    })?;
    let mut bar = Bar::new(!json, bytes);
    let mut files = Vec::new();
    for (part, target) in targets() {
        let size = target.file.size;
        let here = present(target);
        bar.file(if here == size { "checking" } else { "fetching" }, &target.path, size, here % size.max(1));
        let sha256 = fetch(hub, target, Patience::default(), cancel, &mut bar)?;
        bar.done(size);
        // a file that looked whole and was damaged came over the network after all
        if here == size && bar.was_fetched() {
            fetched_bytes += size;
        }
        Lock::update(&context.models, |lock| {
            if let Some(file) = lock.parts.get_mut(part).and_then(|p| p.files.get_mut(&target.path)) {
                file.sha256 = Some(sha256.clone());
            }
        })?;
        files.push(FileReport { part: part.into(), path: target.path.clone(), bytes: size, sha256 });
    }
    Ok(Report { name: name.into(), bytes, fetched_bytes, files })
}

/// Writes into the lock file what is about to be fetched. A file of the same content that an earlier run fetched
/// stays this program's own.
fn note(lock: &mut Lock, hub: &Hub, planned: &Planned) {
    let Some(first) = planned.files.first() else { return };
    let old = lock.parts.get(planned.name).map(|part| part.files.clone()).unwrap_or_default();
    let file = |target: &Target| {
        let whole = matches!(presence(target), Presence::Named | Presence::Content);
        let known = old.get(&target.path).filter(|old| old.blob == target.file.blob);
        let locked = LockedFile {
            size: target.file.size,
            blob: target.file.blob.clone(),
            // checked in an earlier run, and about to be checked again
            sha256: known.filter(|_| whole).and_then(|old| old.sha256.clone()),
            fetched: known.map_or(!whole, |old| old.fetched || !whole),
        };
        (target.path.clone(), locked)
    };
    let part = LockedPart {
        role: planned.part.role,
        repo: planned.part.repo.clone(),
        revision: planned.part.revision.clone(),
        commit: first.commit.clone(),
        licence: planned.part.licence.clone(),
        folder: hub.folder(&planned.part.repo),
        entry: planned.part.entry.clone(),
        files: planned.files.iter().map(file).collect(),
    };
    lock.parts.insert(planned.name.into(), part);
}

/// Refuses to begin what the disk cannot hold.
fn check_room(dir: &Path, need: u64) -> Result<(), ModelsError> {
    let Some(existing) = dir.ancestors().find(|dir| dir.is_dir()) else { return Ok(()) };
    let free = free_bytes(existing)?;
    if free < need {
        return Err(ModelsError::NoRoom { dir: dir.to_path_buf(), need, free });
    }
    Ok(())
}

/// Bytes that this user may still write to the file system of a folder.
fn free_bytes(dir: &Path) -> Result<u64, ModelsError> {
    let stat = rustix::fs::statvfs(dir).map_err(|e| ModelsError::io(dir, e.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn room_is_looked_for_where_the_cache_will_be() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("not/yet/there");
        check_room(&cache, 1).unwrap();
        let error = check_room(&cache, u64::MAX).unwrap_err();
        let failure = Failure::from(error).to_string();
        assert!(failure.contains("not/yet/there: 18.45 EB more needed, "), "{failure}");
        assert!(failure.contains("hint: free some"), "{failure}");
    }
}
