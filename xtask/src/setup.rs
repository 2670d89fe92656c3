//! `cargo xtask setup`: fills `.deps`. Fetches what is missing, checks it, fetches nothing twice.

use std::env;
use std::fs::{self, File};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::fs::FlockOperation;

use crate::download::{self, Source};
use crate::error::{At, Error, Result};
use crate::http::{Http, Patience};
use crate::manifest::{Manifest, Set, Wheel};
use crate::state::{self, Verified};
use crate::wheel::{self, Missing};
use crate::{digest, index, pip, preflight};

/// What to install.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// The CUDA libraries too.
    pub cuda: bool,
    /// Hash everything that is there, even if it looks untouched.
    pub verify: bool,
}

/// Room left over on the disk, bytes.
const SLACK: u64 = 50_000_000;

/// Installs what is missing into `<root>/.deps`.
///
/// # Errors
/// Each says what to do; running the command again goes on where it stopped.
pub fn run(root: &Path, options: Options) -> Result<()> {
    let own = own_libtorch(root);
    if let Some(own) = &own {
        eprintln!("LIBTORCH is set: using the libtorch in {} (it has to be 2.11.0)", own.display());
    } else {
        preflight::platform()?;
    }
    let manifest = Manifest::load()?;
    let setup = Setup {
        manifest: &manifest,
        sets: if options.cuda { &[Set::Cpu, Set::Cuda] } else { &[Set::Cpu] },
        skip: own.is_some().then_some("libtorch"),
        deps: &root.join(".deps"),
        patience: Patience::default(),
        pip: &pip::download,
    };
    setup.run(options.verify, pip::Settings::find)
}

/// The user's own libtorch, where the environment names one.
pub fn own_libtorch(root: &Path) -> Option<PathBuf> {
    let named = PathBuf::from(env::var_os("LIBTORCH").filter(|value| !value.is_empty())?);
    (!is_ours(&named, root)).then_some(named)
}

/// Whether `libtorch` is the one in `<root>/.deps`: cargo sets LIBTORCH to that for every command unless the
/// user has set it. The user may have reached the checkout by a symbolic link.
fn is_ours(libtorch: &Path, root: &Path) -> bool {
    let checkout = libtorch.ancestors().nth(2).and_then(|dir| dir.canonicalize().ok());
    libtorch.ends_with(".deps/libtorch") && checkout.is_some() && checkout == root.canonicalize().ok()
}

/// One run, with everything that tests want to choose.
pub struct Setup<'a> {
    pub manifest: &'a Manifest,
    pub sets: &'a [Set],
    /// A folder below `.deps` that is not wanted.
    pub skip: Option<&'a str>,
    pub deps: &'a Path,
    pub patience: Patience,
    /// The second way to fetch a wheel into a folder.
    pub pip: &'a dyn Fn(&Wheel, &Path) -> Result<PathBuf>,
}

impl Setup<'_> {
    /// Installs what is missing. `settings` is only asked when something has to be fetched.
    ///
    /// # Errors
    /// As [`run`].
    pub fn run(&self, verify: bool, settings: impl FnOnce() -> pip::Settings) -> Result<()> {
        fs::create_dir_all(self.deps).at(self.deps)?;
        let _lock = self.lock()?;
        let mut verified = Verified::load(self.deps);
        if verify {
            verified.forget();
        }
        self.write_texts()?;
        let missing = state::missing(self.manifest, self.sets, self.skip, self.deps, &mut verified)?;
        verified.save()?;
        if missing.is_empty() {
            eprintln!(".deps is complete: nothing to fetch");
            return Ok(());
        }
        let start = Instant::now();
        self.check_space(&missing)?;
        let downloads = self.downloads();
        let kept = |m: &Missing| m.packed().min(download::kept(m.wheel, &downloads));
        let to_fetch: u64 = missing.iter().map(|m| m.packed() - kept(m)).sum();
        eprintln!("fetching {} into .deps", DecimalBytes(to_fetch));
        let settings = settings();
        let http = Http::new(&settings, self.patience)?;
        for part in &missing {
            self.install(part, &http, &settings)?;
            for to in part.destinations() {
                self.remember(to, &mut verified)?;
            }
            verified.save()?;
        }
        self.clean_up()?;
        eprintln!(".deps is complete after {:.0} s", start.elapsed().as_secs_f64());
        Ok(())
    }

    /// One set-up at a time in a folder; a second one waits.
    fn lock(&self) -> Result<File> {
        let path = self.deps.join(".lock");
        let file = File::create(&path).at(&path)?;
        if rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            eprintln!("another `cargo xtask` is filling .deps: waiting for it");
            rustix::fs::flock(&file, FlockOperation::LockExclusive)
                .map_err(|e| Error::io(&path, e.into()))?;
        }
        Ok(file)
    }

    fn write_texts(&self) -> Result<()> {
        for text in self.manifest.text.iter().filter(|t| self.sets.contains(&t.set)) {
            let path = self.deps.join(&text.to);
            let wanted = self.skip.is_none_or(|folder| !Path::new(&text.to).starts_with(folder));
            if wanted && fs::read(&path).ok().as_deref() != Some(text.content.as_bytes()) {
                if let Some(parent) = path.parent() {
                    fs::create_dir_all(parent).at(parent)?;
                }
                fs::write(&path, &text.content).at(&path)?;
            }
        }
        Ok(())
    }

    /// Room for everything unpacked, and for the largest wheel while it is being fetched.
    fn check_space(&self, missing: &[Missing]) -> Result<()> {
        let downloads = self.downloads();
        let unpacked: u64 = missing.iter().map(Missing::size).sum();
        let kept: u64 = missing.iter().map(|m| download::kept(m.wheel, &downloads)).sum();
        let largest = missing.iter().map(Missing::packed).max().unwrap_or_default();
        preflight::space(self.deps, unpacked + largest.saturating_sub(kept) + SLACK, "the set-up")
    }

    fn downloads(&self) -> PathBuf {
        self.deps.join("download")
    }

    /// Fetches and unpacks one wheel. Leftovers of an earlier run that turn out to be damaged are fetched
    /// again, once.
    fn install(&self, missing: &Missing, http: &Http, settings: &pip::Settings) -> Result<()> {
        let downloads = self.downloads();
        fs::create_dir_all(&downloads).at(&downloads)?;
        let mut leftovers = download::kept(missing.wheel, &downloads) > 0;
        loop {
            let bar = progress_bar(missing);
            let result = self.fetch_and_unpack(missing, http, settings, &bar);
            match result {
                Ok(()) => {
                    bar.finish_with_message("done");
                    return download::discard(missing.wheel, &downloads);
                }
                Err(error) => {
                    bar.abandon();
                    let damaged = matches!(error, Error::WrongHash { .. } | Error::Archive { .. });
                    if damaged {
                        download::discard(missing.wheel, &downloads)?;
                    }
                    if !damaged || !leftovers {
                        return Err(error);
                    }
                    leftovers = false;
                }
            }
        }
    }

    fn fetch_and_unpack(
        &self,
        missing: &Missing,
        http: &Http,
        settings: &pip::Settings,
        bar: &ProgressBar,
    ) -> Result<()> {
        let (wheel, downloads) = (missing.wheel, self.downloads());
        let path = downloads.join(&wheel.file);
        let direct = if path.is_file() {
            // put there by hand, or fetched whole by a run that was interrupted while unpacking
            whole(&path, wheel).map(Source::Whole)
        } else {
            index::locate(http, &settings.index, wheel)
                .and_then(|url| Source::fetch(http, url, wheel, &downloads, bar))
        };
        let result = direct.and_then(|mut source| wheel::unpack(&mut source, missing, self.deps, bar));
        match result {
            Err(direct) if direct.is_about_the_way() => {
                bar.suspend(|| self.by_pip(missing, direct))?;
                let mut source = Source::Whole(whole(&path, wheel)?);
                wheel::unpack(&mut source, missing, self.deps, bar)
            }
            other => other,
        }
    }

    /// The second way. If it fails too, `direct` says why.
    fn by_pip(&self, missing: &Missing, direct: Error) -> Result<()> {
        let direct = Box::new(direct);
        match (self.pip)(missing.wheel, &self.downloads()) {
            Ok(_) => Ok(()),
            Err(Error::Pip { reason, .. }) => {
                // which is what pip says when it reaches nothing
                let nothing_new = reason.starts_with("No matching distribution");
                let reason = if nothing_new { String::new() } else { format!(" ({reason})") };
                let pip = format!(", and pip fails too{reason}");
                Err(Error::NoNetwork { direct, pip, hint: String::new() })
            }
            Err(absent) => {
                Err(Error::NoNetwork { direct, pip: String::new(), hint: format!(". Besides, {absent}") })
            }
        }
    }

    /// Records that `to` has just been checked.
    fn remember(&self, to: &str, verified: &mut Verified) -> Result<()> {
        let members = self.manifest.wheel.iter().flat_map(|w| &w.member).map(|m| (&m.to, &m.sha256));
        let trees = self.manifest.wheel.iter().flat_map(|w| &w.tree).map(|t| (&t.to, &t.sha256));
        match members.chain(trees).find(|(known, _)| *known == to) {
            Some((_, sha256)) => verified.remember(self.deps, to, sha256),
            None => Ok(()),
        }
    }

    /// Removes the folder of downloads unless there is something in it.
    fn clean_up(&self) -> Result<()> {
        let downloads = self.downloads();
        let empty = fs::read_dir(&downloads).is_ok_and(|mut entries| entries.next().is_none());
        if empty { fs::remove_dir(&downloads).at(&downloads) } else { Ok(()) }
    }
}

/// Opens a wheel that is on disk as a whole, if it is the right one.
fn whole(path: &Path, wheel: &Wheel) -> Result<File> {
    let found = digest::file(path)?;
    if found != wheel.sha256 {
        return Err(Error::WrongHash { what: wheel.file.clone(), expected: wheel.sha256.clone(), found });
    }
    File::open(path).at(path)
}

fn progress_bar(missing: &Missing) -> ProgressBar {
    let wheel = missing.wheel;
    let title = format!("{} {}", wheel.title, wheel.version);
    if !std::io::stderr().is_terminal() {
        // a log has no use for a bar that moves
        eprintln!("  {title} ({})", DecimalBytes(missing.packed()));
        return ProgressBar::with_draw_target(Some(missing.packed()), ProgressDrawTarget::hidden());
    }
    let template = "  {prefix:28} [{bar:28}] {decimal_bytes:>10} of {decimal_total_bytes:<10} {decimal_bytes_per_sec:>12} {eta:>4} {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(missing.packed()).with_style(style.progress_chars("=> ")).with_prefix(title)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checkout_s_libtorch_is_told_from_others() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let (root, link, other) =
            (dir.path().join("root"), dir.path().join("link"), dir.path().join("other"));
        fs::create_dir(&root).expect("a checkout");
        fs::create_dir(&other).expect("another one");
        std::os::unix::fs::symlink(&root, &link).expect("a link to it");
        assert!(is_ours(&root.join(".deps/libtorch"), &root));
        assert!(is_ours(&link.join(".deps/libtorch"), &root));
        assert!(!is_ours(&other.join(".deps/libtorch"), &root));
        assert!(!is_ours(Path::new("/opt/libtorch"), &root));
    }
}
