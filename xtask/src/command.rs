//! Running other programs: cargo, and what it builds.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitStatus};

use crate::error::{Error, Result};
use crate::setup;

/// The cargo that runs this task, in the repository's root.
pub fn cargo(root: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root);
    if let Some(path) = library_path(root) {
        command.env("LD_LIBRARY_PATH", path);
    }
    command
}

/// The library search path, where what is built cannot find libtorch by itself: it looks for `.deps` from
/// `target`, so not when the user has another libtorch or another target folder.
fn library_path(root: &Path) -> Option<OsString> {
    let own = setup::own_libtorch(root);
    if own.is_none() && env::var_os("CARGO_TARGET_DIR").is_none() {
        return None;
    }
    let libtorch = own.unwrap_or_else(|| root.join(".deps/libtorch")).join("lib");
    let before = env::var_os("LD_LIBRARY_PATH").unwrap_or_default();
    env::join_paths([libtorch].into_iter().chain(env::split_paths(&before))).ok()
}

/// Runs `command` with this process's input and output.
///
/// # Errors
/// [`Error::Failed`] with its exit status.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let failed = |what: String, code| Err(Error::Failed { what, code });
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => failed(what.to_owned(), code_of(status)),
        Err(e) => failed(format!("{what} ({}: {e})", command.get_program().display()), 1),
    }
}

/// An exit status as a shell gives it: 128 + n for signal n.
fn code_of(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_s_exit_status_becomes_the_task_s() {
        for (script, code) in [("exit 7", 7), ("kill -9 $$", 137)] {
            let error = run(Command::new("sh").args(["-c", script]), "the script").expect_err(script);
            assert_eq!((error.exit_code(), error.to_string().as_str()), (code, "the script failed"));
        }
        let error = run(&mut Command::new("/no/such/program"), "the script").expect_err("nothing to run");
        assert_eq!(error.exit_code(), 1);
        assert!(error.to_string().contains("/no/such/program"), "{error}");
    }
}
