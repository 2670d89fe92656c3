//! What can be known before anything is fetched or compiled: the platform, the compiler, room on the disk.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::error::{At, Error, Result};

/// Oldest glibc that the fetched libtorch runs on (its wheel's tag: manylinux_2_28).
const GLIBC: (u32, u32) = (2, 28);

/// Checks that the fetched libraries can run here.
///
/// # Errors
/// [`Error::Platform`].
pub fn platform() -> Result<()> {
    const NEEDS: &str =
        "64-bit x86 Linux with glibc 2.28 or later (Debian 10, Ubuntu 20.04, RHEL 8 or later)";
    if !cfg!(all(target_os = "linux", target_arch = "x86_64", target_env = "gnu")) {
        let found = format!("{} on {}", env::consts::OS, env::consts::ARCH);
        return Err(Error::Platform { found, needs: NEEDS });
    }
    // without `getconf` this is found out soon enough
    let Ok(output) = Command::new("getconf").arg("GNU_LIBC_VERSION").output() else { return Ok(()) };
    let found = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match glibc(&found) {
        Some(version) if version < GLIBC => {
            Err(Error::Platform { found: format!("Linux with {found}"), needs: NEEDS })
        }
        _ => Ok(()),
    }
}

/// Reads `glibc 2.36`.
fn glibc(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.strip_prefix("glibc ")?.split_once('.')?;
    let minor = minor.split('.').next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Checks that there is a C++ compiler, for the bindings to libtorch: the one that the `cc` crate will call.
///
/// # Errors
/// [`Error::NoCompiler`].
pub fn compiler() -> Result<()> {
    let name = env::var("CXX").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "c++".to_owned());
    // CXX may hold a wrapper and options, as in `ccache g++`
    let mut words = name.split_whitespace();
    let runs = words.next().is_some_and(|program| {
        let mut command = Command::new(program);
        command.args(words).arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    });
    if runs { Ok(()) } else { Err(Error::NoCompiler { tried: name }) }
}

/// Checks that `dir`, made if it is not there, has room for `need` bytes.
///
/// # Errors
/// [`Error::NotEnoughSpace`] says how much is missing; `what` is for that message.
pub fn space(dir: &Path, need: u64, what: &'static str) -> Result<()> {
    fs::create_dir_all(dir).at(dir)?;
    let stat = rustix::fs::statvfs(dir).map_err(|e| Error::io(dir, e.into()))?;
    let free = stat.f_bavail * stat.f_frsize;
    if free < need {
        return Err(Error::NotEnoughSpace { what, dir: dir.to_owned(), need, free });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_versions_are_compared_as_numbers() {
        assert!(glibc("glibc 2.9") < Some(GLIBC));
        assert!(glibc("glibc 2.36") > Some(GLIBC));
        assert_eq!(glibc("musl 1.2"), None);
    }

    #[test]
    fn too_little_space_says_how_much_is_needed() {
        let dir = tempfile::tempdir().expect("a folder for the test");
        space(dir.path(), 1, "the test").expect("a byte is free");
        let error = space(dir.path(), u64::MAX, "the test").expect_err("no disk is that large");
        let message = error.to_string();
        assert!(message.starts_with("not enough disk space: the test needs 18.45 EB in "), "{message}");
    }
}
