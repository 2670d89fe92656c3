//! `cargo xtask …`: the tasks around the code: set-up, demo, tests, golden fixtures.
//!
//! Nothing here may need libtorch, because this is what fetches it; and nothing of the product may live
//! here.

mod checks;
mod command;
mod compare;
mod demo;
mod digest;
mod download;
mod error;
mod goldens;
mod http;
mod index;
mod manifest;
mod outside;
mod pin;
mod pip;
mod preflight;
mod setup;
mod state;
mod wheel;

#[cfg(test)]
mod setup_tests;
#[cfg(test)]
mod stub_index;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::error::Result;

/// Tasks around the code.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Set up, build, and make four pictures of the bundled portrait
    ///
    /// Example: cargo xtask demo -- --prompt "me as a pirate" --seed 7
    Demo {
        /// Options of `imagine generate`, in place of the demo's own or besides them
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Check the formatting, run clippy with warnings denied, run every test
    ///
    /// Example: cargo xtask test -- --package imagine-unet
    Test {
        /// Options of `cargo test`
        #[arg(last = true)]
        args: Vec<String>,
    },
    /// Fetch what is missing into .deps: libtorch, ONNX Runtime, the face and language models, build tools
    Setup {
        /// The CUDA libraries too (2 GB to fetch, 3 GB on disk)
        #[arg(long)]
        cuda: bool,
        /// Hash everything that is there already, even if it looks untouched
        #[arg(long)]
        verify: bool,
    },
    /// Make the golden fixtures anew with Python (into .deps/python: 5 GB)
    Goldens {
        /// Do not replace the fixtures: compare them with what the scripts make
        #[arg(long)]
        check: bool,
        /// A Python that has the packages of requirements.txt, in place of .deps/python
        #[arg(long, value_name = "FILE")]
        python: Option<PathBuf>,
        /// Scripts to run, without `.py`; all of them if left out
        subjects: Vec<String>,
    },
    /// Install what `test` needs beside Rust: the page's test packages (npm) and the Python clients
    ///
    /// Chromium and PostgreSQL are the system's: on Debian and Ubuntu, apt install chromium postgresql
    Clients,
    /// Recompute entries of xtask/deps.toml from wheels on disk, after a change of version
    Pin {
        #[arg(required = true, value_name = "WHEEL")]
        wheels: Vec<PathBuf>,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(task: Task) -> Result<()> {
    let root = root();
    match task {
        Task::Demo { args } => demo::demo(&root, &args),
        Task::Test { args } => checks::test(&root, &args),
        Task::Setup { cuda, verify } => setup::run(&root, setup::Options { cuda, verify }),
        Task::Goldens { check, python, subjects } => goldens::run(&root, check, python.as_deref(), &subjects),
        Task::Clients => outside::prepare(&root),
        Task::Pin { wheels } => pin::run(&wheels),
    }
}

/// The repository's root: the folder above this crate's.
fn root() -> PathBuf {
    // cargo sets the variable at run time too, which stays right when the checkout is moved
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let manifest = manifest.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    manifest.parent().unwrap_or(Path::new(".")).to_owned()
}
