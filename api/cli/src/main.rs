//! The binary `imagine`: reads the command line, ties the faces of `identity` to the engine of
//! `pipeline`, writes files, and turns what went wrong into a line and an exit code.
//!
//! What may enter: arguments, paths, files, the terminal. What may not: tensors,
//! networks; HTTP but for `models`, which fetches from the Hub, and what `serve` ties together.

mod args;
mod bench;
mod card;
mod card_file;
mod client;
mod contact_sheet;
mod doctor;
mod edit;
mod expand;
mod face_cards;
mod face_encoder;
mod faces;
mod failure;
mod generate;
mod generate_args;
mod keys;
mod leave;
mod model_choice;
mod model_lookup;
mod models;
mod output;
mod person;
mod person_spec;
mod process_settings;
mod progress;
mod report;
mod serve;
mod storage;
mod strengths;

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::process::ExitCode;
use std::sync::Mutex;

use clap::Parser;
use imagine_contract::CancelFlag;
use tracing_subscriber::EnvFilter;

use crate::args::{Cli, Command};
use crate::failure::Failure;

fn main() -> ExitCode {
    no_telemetry();
    // clap answers --help and --version with exit code 0, wrong usage with 2
    let cli = Cli::parse();
    let result = match &cli.command {
        // These have logs and signals of their own, and threads that may outlast them.
        Command::Serve(args) => end(without_panic(|| serve::serve(args))),
        Command::Worker(args) => end(without_panic(|| serve::work(args))),
        _ => {
            log_to_stderr();
            let cancel = CancelFlag::default();
            cancel_on_signal(&cancel).and_then(|()| without_panic(|| run(cli, &cancel)))
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The end of a process that may have threads at work still.
fn end(result: Result<(), Failure>) -> ! {
    leave::at_once(result.map_or_else(|failure| failure.report_code(), |()| 0))
}

/// ONNX Runtime (1.32) keeps a device id and a telemetry database below the home folder from the moment it
/// is loaded, before its own switch in the API can be reached. This variable stops both.
fn no_telemetry() {
    let variable = "ORT_DISABLE_TELEMETRY";
    if std::env::var_os(variable).is_none() {
        // SAFETY: the first thing that the program does; no other thread reads the environment yet.
        unsafe { std::env::set_var(variable, "1") };
    }
}

fn run(cli: Cli, cancel: &CancelFlag) -> Result<(), Failure> {
    match cli.command {
        Command::Generate(args) => generate::run(&args, cancel),
        Command::Expand(args) => expand::run(&args, cancel),
        Command::Serve(args) => serve::serve(&args),
        Command::Worker(args) => serve::work(&args),
        Command::People(args) => client::people::run(&args),
        Command::Batch(args) => client::batch::run(&args, cancel),
        Command::Keys(args) => keys::run(&args),
        Command::Storage(args) => storage::run(&args),
        Command::Models(args) => models::run(&args, cancel),
        Command::Doctor(args) => doctor::run(&args),
        Command::Bench(args) => bench::run(&args, cancel),
    }
}

/// `IMAGINE_LOG=debug` shows what libraries and crates have to say; without it only their errors.
fn log_to_stderr() {
    let filter = EnvFilter::try_from_env("IMAGINE_LOG").unwrap_or_else(|_| EnvFilter::new("error"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).without_time().init();
}

/// The first Ctrl-C (or a request to terminate) lets the current step end; the second ends at once.
fn cancel_on_signal(cancel: &CancelFlag) -> Result<(), Failure> {
    let cancel = cancel.clone();
    let handler = move || {
        if cancel.is_canceled() {
            leave::at_once(1);
        }
        cancel.cancel();
    };
    ctrlc::set_handler(handler).map_err(|e| Failure::failed(format!("cannot listen for Ctrl-C: {e}")))
}

/// A panic becomes a failure line instead of a stack trace.
fn without_panic(work: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    static WHERE: Mutex<String> = Mutex::new(String::new());
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |at| format!(" ({}:{})", at.file(), at.line()));
        let payload = info.payload();
        let said = payload.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("unknown");
        let said = said.lines().next().unwrap_or_default();
        tracing::debug!("{info}");
        if let Ok(mut text) = WHERE.lock() {
            *text = format!("internal error: {said}{place}");
        }
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    let _ = panic::take_hook();
    result.unwrap_or_else(|_| {
        let text = WHERE.lock().map_or_else(|_| "internal error".into(), |text| text.clone());
        Err(Failure::failed(text).hint("this is a defect of the program; IMAGINE_LOG=debug shows more"))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_panic_becomes_a_line() {
        let failure = without_panic(|| panic!("lost\nframe 1")).unwrap_err().to_string();
        assert!(
            failure.starts_with("error: internal error: lost (") && failure.contains("main.rs:"),
            "{failure}"
        );
        assert!(without_panic(|| Ok(())).is_ok());
    }
}
