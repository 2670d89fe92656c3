//! Checks with tools that Cargo does not bring: the page in Chromium, Python clients against the running
//! server. A check whose tools are missing is left out, loudly; in CI that is a failure.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::run;
use crate::error::{Error, Result};

/// Where the page's tests and their packages lie.
const BROWSER: &str = "tests/browser";
/// The Python clients' tests.
const CLIENTS: &str = "tests/api/python";
/// The environment that `cargo xtask clients` makes for them.
const ENVIRONMENT: &str = ".deps/clients";

/// One check: what it needs, and how it is run.
struct Check {
    name: &'static str,
    /// What is missing, in words; none where everything is there.
    missing: fn(&Path) -> Option<String>,
    command: fn(&Path) -> Command,
}

const CHECKS: [Check; 4] = [
    Check { name: "the page's types", missing: no_packages, command: |root| npm(root, "typecheck") },
    Check { name: "the page in Chromium", missing: no_browser, command: |root| npm(root, "test") },
    Check { name: "the page on the real server", missing: no_browser, command: page_on_server },
    Check { name: "Python clients", missing: no_clients, command: python_clients },
];

/// Runs every check whose tools are there and gives those that were left out, with the reason.
///
/// # Errors
/// The exit status of the first check that fails; in CI, a missing tool.
pub fn check(root: &Path) -> Result<Vec<String>> {
    let mut left_out = Vec::new();
    for Check { name, missing, command } in &CHECKS {
        match missing(root) {
            None => {
                eprintln!("--- {name}");
                run(&mut command(root), name)?;
            }
            Some(what) if in_ci() => return Err(Error::NoTool { check: name, what }),
            Some(what) => left_out.push(format!("{name}: {what}")),
        }
    }
    Ok(left_out)
}

/// Installs what the checks need and a package registry has: the page's test packages, the Python clients.
///
/// # Errors
/// The exit status of npm or pip.
pub fn prepare(root: &Path) -> Result<()> {
    run(npm_in(root).args(["ci", "--no-audit", "--no-fund"]), "npm ci")?;
    let environment = root.join(ENVIRONMENT);
    if !environment.join("bin/python").is_file() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&environment), "python3 -m venv")?;
    }
    let mut pip = Command::new(environment.join("bin/python"));
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"]);
    run(pip.arg(root.join(CLIENTS).join("requirements.txt")), "pip install")
}

fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// The program, as the tests' build leaves it.
fn program(root: &Path) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("debug/imagine")
}

fn npm_in(root: &Path) -> Command {
    let mut npm = Command::new("npm");
    npm.arg("--prefix").arg(root.join(BROWSER));
    npm
}

fn npm(root: &Path, script: &str) -> Command {
    let mut npm = npm_in(root);
    npm.args(["run", "--silent", script]);
    if let Some(browser) = browser() {
        npm.env("CHROMIUM", browser);
    }
    npm
}

fn page_on_server(root: &Path) -> Command {
    let mut npm = npm(root, "test:server");
    npm.env("IMAGINE_BIN", program(root));
    npm
}

fn python_clients(root: &Path) -> Command {
    let mut python = Command::new(root.join(ENVIRONMENT).join("bin/python"));
    python.args(["-m", "pytest", "-q"]).arg(root.join(CLIENTS)).env("IMAGINE_BIN", program(root));
    python
}

/// The browser named by `CHROMIUM`, else the first in the usual places.
fn browser() -> Option<PathBuf> {
    let named = env::var_os("CHROMIUM").map(PathBuf::from);
    let usual =
        ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].map(PathBuf::from);
    named.into_iter().chain(usual).find(|path| path.is_file())
}

fn no_packages(root: &Path) -> Option<String> {
    let packages = root.join(BROWSER).join("node_modules");
    (!packages.is_dir())
        .then(|| "its packages are missing: cargo xtask clients (needs Node.js and npm)".into())
}

fn no_browser(root: &Path) -> Option<String> {
    let none =
        || "no Chromium: install it (Debian, Ubuntu: apt install chromium) or name it in CHROMIUM".into();
    no_packages(root).or_else(|| browser().is_none().then(none))
}

fn no_clients(root: &Path) -> Option<String> {
    let python = root.join(ENVIRONMENT).join("bin/pytest");
    (!python.is_file()).then(|| "its packages are missing: cargo xtask clients".into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_missing_tool_is_named_with_what_to_do() {
        let empty = tempfile::tempdir().unwrap();
        for missing in [no_packages, no_browser, no_clients] {
            assert!(missing(empty.path()).unwrap().contains("cargo xtask clients"));
        }
        let here = empty.path().join(BROWSER).join("node_modules");
        std::fs::create_dir_all(here).unwrap();
        assert_eq!(no_packages(empty.path()), None);
    }
}
