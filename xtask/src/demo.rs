//! `cargo xtask demo`: from a fresh clone to four pictures of a person.

use std::path::Path;

use crate::command::{cargo, run};
use crate::error::Result;
use crate::preflight;
use crate::setup::{self, Options};

/// What the demo draws, unless its own arguments say otherwise.
const DEFAULTS: [(&str, &str); 5] = [
    ("--photo", "assets/portraits/astronaut.jpg"),
    ("--prompt", "me as an astronaut, smiling"),
    ("--n", "4"),
    ("--seed", "42"),
    ("--out", "out/demo"),
];

/// Room that a release build takes, bytes.
const BUILD: u64 = 2_000_000_000;

/// Sets up, builds in release and draws. `args` are options of `imagine generate`.
///
/// # Errors
/// What set-up fails with, or the exit status of the build or of `imagine`.
pub fn demo(root: &Path, args: &[String]) -> Result<()> {
    preflight::compiler()?;
    setup::run(root, Options::default())?;
    let target = root.join("target");
    if !target.join("release/imagine").exists() {
        preflight::space(&target, BUILD, "the build")?;
    }
    run(cargo(root).args(["build", "--release", "--package", "imagine"]), "the build")?;
    let args = generate_args(args);
    let shown: Vec<String> = args.iter().map(|arg| quoted(arg)).collect();
    eprintln!("\nimagine generate {}\n", shown.join(" "));
    let mut command = cargo(root);
    command.args(["run", "--quiet", "--release", "--package", "imagine", "--", "generate"]).args(args);
    run(&mut command, "imagine generate")
}

/// `args`, after the defaults that they do not replace.
fn generate_args(args: &[String]) -> Vec<String> {
    let given = |flag: &str| args.iter().any(|arg| arg.split('=').next() == Some(flag));
    let mut all = Vec::new();
    for (flag, value) in DEFAULTS {
        // a person is given by a photo or by an embedding
        let replaced = given(flag) || (flag == "--photo" && given("--identity-embedding"));
        if !replaced {
            all.extend([flag.to_owned(), value.to_owned()]);
        }
    }
    all.extend_from_slice(args);
    all
}

/// As one would type it.
fn quoted(arg: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,".contains(c);
    if !arg.is_empty() && arg.chars().all(plain) { arg.to_owned() } else { format!("{arg:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(given: &[&str]) -> String {
        generate_args(&given.iter().map(|&s| s.to_owned()).collect::<Vec<_>>()).join(" ")
    }

    #[test]
    fn defaults_give_way_to_arguments() {
        assert!(args(&[]).contains("--photo assets/portraits/astronaut.jpg --prompt me as an astronaut"));
        let changed = args(&["--prompt", "me as a pirate", "--n=2"]);
        assert_eq!(changed.matches("--prompt").count(), 1);
        assert_eq!(changed.matches("--n").count(), 1);
        assert!(changed.contains("--seed 42"));
        assert!(!args(&["--identity-embedding", "me.npy"]).contains("--photo"));
    }
}
