//! `cargo xtask test`: everything that has to pass before a change is taken.

use std::path::Path;
use std::process::Stdio;
use std::time::Instant;

use crate::command::{cargo, run};
use crate::error::{Error, Result};
use crate::outside;
use crate::preflight;
use crate::setup::{self, Options};

/// Room that a debug build with tests takes, bytes.
const BUILD: u64 = 4_000_000_000;

/// The stages: a name, and the arguments to cargo.
const STAGES: [(&str, &[&str]); 3] = [
    ("formatting", &["fmt", "--all", "--check"]),
    ("clippy", &["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]),
    ("tests", &["test", "--workspace"]),
];

/// Sets up, then runs the stages and stops at the first that fails. `args` are added to `cargo test`.
///
/// # Errors
/// What set-up fails with, a missing component of the toolchain, or the exit status of a stage.
pub fn test(root: &Path, args: &[String]) -> Result<()> {
    let start = Instant::now();
    preflight::compiler()?;
    component(root, "fmt", "rustfmt")?;
    component(root, "clippy", "clippy")?;
    setup::run(root, Options::default())?;
    let target = root.join("target");
    if !target.join("debug/deps").exists() {
        preflight::space(&target, BUILD, "the build")?;
    }
    let mut times = Vec::new();
    for (number, (name, stage)) in STAGES.iter().enumerate() {
        let started = Instant::now();
        let mut command = cargo(root);
        command.args(*stage);
        if *name == "tests" {
            command.args(args);
        }
        eprintln!("\n=== {}/{} {name}: cargo {}", number + 1, STAGES.len() + 1, stage.join(" "));
        run(&mut command, name)?;
        times.push(format!("{name} {:.0} s", started.elapsed().as_secs_f64()));
    }
    if args.is_empty() {
        let started = Instant::now();
        eprintln!("\n=== {0}/{0} with outside tools", STAGES.len() + 1);
        let left_out = outside::check(root)?;
        times.push(format!("outside tools {:.0} s", started.elapsed().as_secs_f64()));
        for check in &left_out {
            eprintln!("LEFT OUT: {check}");
        }
    }
    eprintln!("\nall passed in {:.0} s ({})", start.elapsed().as_secs_f64(), times.join(", "));
    Ok(())
}

/// Checks that `cargo <command>` is there: minimal toolchains lack some.
fn component(root: &Path, command: &'static str, component: &'static str) -> Result<()> {
    let mut version = cargo(root);
    version.args([command, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    match version.status() {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::NoComponent { command, component }),
    }
}
