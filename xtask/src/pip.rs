//! Python's package installer: where its settings say packages come from, and the second way to fetch a
//! wheel when the direct one does not work (odd proxies, indexes that ask for a password).

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::error::{At, Error, Result};
use crate::manifest::Wheel;

/// The index that pip uses when nothing else is set.
const PYPI: &str = "https://pypi.org/simple";

/// Names under which Python 3 may be found.
const PYTHONS: [&str; 2] = ["python3", "python"];

/// What pip's environment variables and configuration files say about fetching.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Root of the simple repository API, without a slash at the end.
    pub index: String,
    /// PEM file with the certificate authorities to trust.
    pub cert: Option<PathBuf>,
    pub proxy: Option<String>,
}

impl Settings {
    /// Reads pip's settings; its defaults where there is no pip.
    pub fn find() -> Self {
        let list = python().ok().and_then(|python| {
            let output = Command::new(python).args(["-m", "pip", "config", "list"]).output().ok()?;
            Some(String::from_utf8_lossy(&output.stdout).into_owned())
        });
        let list = list.unwrap_or_else(|| {
            // without pip its variables still count
            let of = |name: &str| env::var(format!("PIP_{name}")).unwrap_or_default();
            format!(
                ":env:.index-url='{}'\n:env:.cert='{}'\n:env:.proxy='{}'",
                of("INDEX_URL"),
                of("CERT"),
                of("PROXY")
            )
        });
        Self::parse(&list)
    }

    /// Reads the lines `<section>.<key>='<value>'` of `pip config list`.
    fn parse(list: &str) -> Self {
        let value_of = |key: &str| {
            // a variable beats pip's download section, which beats its global one
            [":env:", "download", "global"].iter().find_map(|section| {
                let prefix = format!("{section}.{key}=");
                let value = list.lines().find_map(|line| line.trim().strip_prefix(&prefix))?;
                let value = value.trim_matches(['\'', '"']);
                (!value.is_empty()).then(|| value.to_owned())
            })
        };
        Self {
            index: without_password(value_of("index-url").as_deref().unwrap_or(PYPI).trim_end_matches('/')),
            cert: value_of("cert").map(PathBuf::from),
            proxy: value_of("proxy"),
        }
    }
}

/// Leaves the user's name and password out of an address: they must not show up in a message. An index that
/// asks for them is left to pip, which has them.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}{path}")
}

/// The Python 3 on the search path.
///
/// # Errors
/// [`Error::NoPython`].
pub fn python() -> Result<&'static str> {
    let is_python3 = |name: &&&str| {
        let version = Command::new(name).arg("--version").stderr(Stdio::null()).output();
        version.is_ok_and(|v| v.status.success() && v.stdout.starts_with(b"Python 3"))
    };
    let [first, _] = PYTHONS;
    PYTHONS.iter().find(is_python3).copied().ok_or_else(|| Error::NoPython { tried: first.to_owned() })
}

/// A Python 3 that has pip.
///
/// # Errors
/// [`Error::NoPython`], [`Error::NoPip`].
pub fn python_with_pip() -> Result<&'static str> {
    let python = python()?;
    let pip = Command::new(python).args(["-m", "pip", "--version"]).output();
    match pip {
        Ok(output) if output.status.success() => Ok(python),
        _ => Err(Error::NoPip { python: python.to_owned() }),
    }
}

/// Lets pip fetch `wheel`, whole, into `dir`; returns its path. pip draws its own progress bar.
///
/// # Errors
/// [`Error::NoPython`], [`Error::NoPip`], or [`Error::Pip`] with the last thing pip said.
pub fn download(wheel: &Wheel, dir: &Path) -> Result<PathBuf> {
    let python = python_with_pip()?;
    fs::create_dir_all(dir).at(dir)?;
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
        ])
        .args(["--retries", "1", "--timeout", "20", "--only-binary", ":all:"])
        .args(tags(&wheel.file))
        .arg("--dest")
        .arg(dir)
        .arg(format!("{}=={}", wheel.project, wheel.version));
    // what pip says on its error stream is shortened to its last line below
    let output =
        command.stdout(Stdio::inherit()).stderr(Stdio::piped()).spawn().and_then(|c| c.wait_with_output());
    let failed = |reason: String| Error::Pip { file: wheel.file.clone(), reason };
    let output = output.map_err(|e| failed(e.to_string()))?;
    let path = dir.join(&wheel.file);
    if output.status.success() && path.is_file() {
        return Ok(path);
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last =
        said.lines().rfind(|line| line.starts_with("ERROR:")).map(|line| line.trim_start_matches("ERROR: "));
    Err(failed(last.unwrap_or("it gave another file").to_owned()))
}

/// pip's options that select the wheel named `file`, whatever Python runs pip.
///
/// A wheel's name ends in `-<python>-<abi>-<platforms>.whl`, several platforms joined by dots.
fn tags(file: &str) -> Vec<String> {
    let mut parts = file.trim_end_matches(".whl").rsplit('-');
    let (platforms, abi, python) = (parts.next(), parts.next(), parts.next());
    let mut options = Vec::new();
    for platform in platforms.unwrap_or_default().split('.') {
        options.extend(["--platform".to_owned(), platform.to_owned()]);
    }
    // `py3` wheels do for any version; `cp311` means CPython 3.11
    let version = python.and_then(|tag| tag.strip_prefix("cp3")).unwrap_or("11");
    options.extend(["--python-version".to_owned(), format!("3.{version}")]);
    options.extend(["--implementation".to_owned(), "cp".to_owned()]);
    for abi in [abi.unwrap_or("none"), "none"] {
        options.extend(["--abi".to_owned(), abi.to_owned()]);
    }
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_come_from_variables_before_files() {
        let list = "global.index-url='https://mirror.example/simple/'\nglobal.cert='/a.pem'\n\
                    :env:.index-url='http://127.0.0.1:1/simple'\n";
        let settings = Settings::parse(list);
        assert_eq!(settings.index, "http://127.0.0.1:1/simple");
        assert_eq!(settings.cert, Some(PathBuf::from("/a.pem")));
        assert_eq!(settings.proxy, None);
    }

    #[test]
    fn without_settings_the_index_is_pypi() {
        assert_eq!(Settings::parse(":env:.cert=''\n").index, PYPI);
    }

    #[test]
    fn passwords_are_left_out() {
        let index = |url: &str| Settings::parse(&format!("global.index-url='{url}'\n")).index;
        assert_eq!(index("https://me:p%40ss@mirror.example/simple"), "https://mirror.example/simple");
        assert_eq!(index("https://mirror.example/a@b/simple/"), "https://mirror.example/a@b/simple");
    }

    #[test]
    fn tags_follow_the_wheel_s_name() {
        let options = tags("torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl").join(" ");
        assert_eq!(
            options,
            "--platform manylinux_2_28_x86_64 --python-version 3.11 --implementation cp --abi cp311 --abi none"
        );
        let options = tags("a-1-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl").join(" ");
        assert!(options.starts_with("--platform manylinux2014_x86_64 --platform manylinux_2_17_x86_64 "));
    }
}
