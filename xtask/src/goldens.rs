//! `cargo xtask goldens`: makes the golden fixtures anew with the Python packages that the Rust code is
//! compared with, or checks that the committed ones are what the scripts make.
//!
//! The scripts write to `../fixtures/<subject>`, seen from where they lie, and may read what lies there. They are
//! run in a copy, so that what they make can be compared before anything is replaced.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::run as run_command;
use crate::compare;
use crate::digest;
use crate::error::{At, Error, Result};
use crate::pip;

/// The scripts, seen from the root.
const SCRIPTS: &str = "tests/golden/generate";
const FIXTURES: &str = "tests/golden/fixtures";

/// Folders of the repository that scripts may read from.
const READABLE: [&str; 4] = [".deps", "assets", "models", "training"];

/// Settings under which the scripts give the same on every machine, quietly: nothing downloaded, no GPU, sums
/// in one order, no progress bars.
const SAME_EVERYWHERE: [(&str, &str); 5] = [
    ("HF_HUB_OFFLINE", "1"),
    ("CUDA_VISIBLE_DEVICES", ""),
    ("OMP_NUM_THREADS", "1"),
    ("PYTHONHASHSEED", "0"),
    ("TQDM_DISABLE", "1"),
];

/// Runs the scripts named `subjects` (all if empty) and takes their fixtures over, or compares them.
///
/// # Errors
/// [`Error::GoldensDiffer`], a script's failure, a Python without pip or venv.
pub fn run(root: &Path, check: bool, python: Option<&Path>, subjects: &[String]) -> Result<()> {
    let scratch = root.join(".deps/goldens");
    if scratch.exists() {
        fs::remove_dir_all(&scratch).at(&scratch)?;
    }
    let scripts = scripts(&root.join(SCRIPTS), subjects)?;
    let python = match python {
        Some(python) => std::path::absolute(python).at(python)?,
        None => environment(root)?,
    };
    for folder in [SCRIPTS, FIXTURES] {
        copy_tree(&root.join(folder), &scratch.join(folder))?;
    }
    for folder in READABLE {
        std::os::unix::fs::symlink(root.join(folder), scratch.join(folder)).at(&scratch)?;
    }
    let before = times(&scratch.join(FIXTURES))?;
    for script in &scripts {
        eprintln!("=== {SCRIPTS}/{script}");
        let mut command = Command::new(&python);
        command.arg(script).current_dir(scratch.join(SCRIPTS)).envs(SAME_EVERYWHERE);
        command.env("IMAGINE_DEPS", root.join(".deps"));
        run_command(&mut command, script)?;
    }
    let changes = Changes::between(&before, &times(&scratch.join(FIXTURES))?);
    let (committed, made) = (root.join(FIXTURES), scratch.join(FIXTURES));
    let result =
        if check { changes.compare(&committed, &made) } else { changes.take_over(&committed, &made) };
    fs::remove_dir_all(&scratch).at(&scratch)?;
    result
}

/// Sizes and times of change of all files below `dir`.
fn times(dir: &Path) -> Result<BTreeMap<PathBuf, String>> {
    digest::files(dir)?.into_iter().map(|path| Ok((path.clone(), digest::quick(&dir.join(&path))?))).collect()
}

/// The names of the scripts to run: those that can be, as opposed to helpers of theirs.
fn scripts(dir: &Path, subjects: &[String]) -> Result<Vec<String>> {
    if !subjects.is_empty() {
        return Ok(subjects.iter().map(|subject| format!("{subject}.py")).collect());
    }
    let mut scripts = Vec::new();
    for path in digest::files(dir)? {
        let Some(name) = path.to_str().filter(|name| name.ends_with(".py") && !name.contains('/')) else {
            continue;
        };
        let file = dir.join(name);
        if fs::read_to_string(&file).at(&file)?.contains("__main__") {
            scripts.push(name.to_owned());
        }
    }
    Ok(scripts)
}

/// The Python of `.deps/python`, which has the packages of requirements.txt; made if it is not there.
fn environment(root: &Path) -> Result<PathBuf> {
    let dir = root.join(".deps/python");
    let python = dir.join("bin/python");
    let wanted = root.join(SCRIPTS).join("requirements.txt");
    let installed = dir.join("requirements.txt");
    let wanted_text = fs::read(&wanted).at(&wanted)?;
    if fs::read(&installed).ok().as_deref() == Some(&wanted_text) {
        return Ok(python);
    }
    let system = pip::python()?;
    let what = format!("`{system} -m venv .deps/python` (Debian, Ubuntu: apt install python3-venv)");
    run_command(Command::new(system).args(["-m", "venv"]).arg(&dir), &what)?;
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"]).arg(&wanted);
    run_command(&mut install, "installing the packages of requirements.txt")?;
    fs::write(&installed, wanted_text).at(&installed)?;
    Ok(python)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    for path in digest::files(from)? {
        copy_file(&from.join(&path), &to.join(&path))?;
    }
    Ok(())
}

fn copy_file(from: &Path, to: &Path) -> Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent).at(parent)?;
    }
    fs::copy(from, to).map(drop).at(from)
}

/// What the scripts have done to the fixtures.
#[derive(Debug, PartialEq, Eq)]
struct Changes {
    written: Vec<PathBuf>,
    removed: Vec<PathBuf>,
}

impl Changes {
    fn between(before: &BTreeMap<PathBuf, String>, after: &BTreeMap<PathBuf, String>) -> Self {
        let written = after.iter().filter(|(path, time)| before.get(*path) != Some(time));
        let removed = before.keys().filter(|path| !after.contains_key(*path));
        Self { written: written.map(|(path, _)| path.clone()).collect(), removed: removed.cloned().collect() }
    }

    /// Puts what is in `made` in place of what is `committed`.
    fn take_over(&self, committed: &Path, made: &Path) -> Result<()> {
        for path in &self.written {
            copy_file(&made.join(path), &committed.join(path))?;
        }
        for path in &self.removed {
            let path = committed.join(path);
            fs::remove_file(&path).at(&path)?;
        }
        let (written, removed) = (self.written.len(), self.removed.len());
        eprintln!(
            "{written} fixtures written, {removed} removed; `git diff --stat {FIXTURES}` shows what changed"
        );
        Ok(())
    }

    /// Compares what is in `made` with what is `committed`.
    fn compare(&self, committed: &Path, made: &Path) -> Result<()> {
        let mut differing = 0;
        let mut differs = |path: &Path, why: &str| {
            eprintln!("{FIXTURES}/{}: {why}", path.display());
            differing += 1;
        };
        for path in &self.written {
            if !committed.join(path).exists() {
                differs(path, "made by a script, but not committed");
            } else if let Some(why) = compare::files(&committed.join(path), &made.join(path))? {
                differs(path, &why);
            }
        }
        for path in &self.removed {
            differs(path, "committed, but its script does not make it any more");
        }
        match differing {
            0 => {
                eprintln!("{} fixtures are what the scripts make", self.written.len());
                Ok(())
            }
            n => Err(Error::GoldensDiffer(n)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn helpers_and_other_files_are_not_run() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        let main = "if __name__ == \"__main__\":\n    pass\n";
        for (name, text) in
            [("b.py", main), ("a.py", main), ("seeded.py", "x = 1\n"), ("requirements.txt", main)]
        {
            fs::write(dir.path().join(name), text).expect("a file in it");
        }
        assert_eq!(scripts(dir.path(), &[]).expect("a readable folder"), ["a.py", "b.py"]);
        assert_eq!(scripts(dir.path(), &["x".to_owned()]).expect("no look"), ["x.py"]);
    }

    #[test]
    fn differences_are_counted_and_taken_over() {
        let dirs = tempfile::tempdir().expect("a folder for the test");
        let (committed, made) = (dirs.path().join("committed"), dirs.path().join("made"));
        let write = |dir: &Path, name: &str, text: &str| {
            fs::create_dir_all(dir).expect("a folder");
            fs::write(dir.join(name), text).expect("a fixture");
        };
        for dir in [&committed, &made] {
            write(dir, "input.png", "untouched");
            write(dir, "same.json", "[1.0]");
            write(dir, "changed.json", "[1.0]");
            write(dir, "gone.json", "[]");
        }
        let before = times(&made).expect("readable");
        fs::remove_file(made.join("gone.json")).expect("there");
        std::thread::sleep(std::time::Duration::from_millis(20));
        write(&made, "same.json", "[1.00001]");
        write(&made, "changed.json", "[2.0]");
        write(&made, "new.json", "[]");
        let changes = Changes::between(&before, &times(&made).expect("readable"));
        assert_eq!(changes.written, ["changed.json", "new.json", "same.json"].map(PathBuf::from));

        let error = changes.compare(&committed, &made).expect_err("one changed, one new, one gone");
        assert!(matches!(error, Error::GoldensDiffer(3)), "{error}");
        changes.take_over(&committed, &made).expect("replaced");
        changes.compare(&committed, &made).expect_err("the removed one is still listed as removed");
        let again =
            Changes::between(&times(&committed).expect("readable"), &times(&committed).expect("readable"));
        assert_eq!(again, Changes { written: vec![], removed: vec![] });
        assert_eq!(digest::files(&committed).expect("readable"), digest::files(&made).expect("readable"));
    }
}
