//! `imagine batch run`: a file of wishes in, a folder of pictures out.

use std::collections::HashSet;
use std::fs;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use imagine_contract::CancelFlag;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;

use super::progress_file::{Part, ProgressFile, sha256};
use super::{Server, ServerArgs, text};
use crate::failure::Failure;

const EXAMPLES: &str = "\
Examples:
  imagine batch run ideas.csv
  imagine batch run ideas.jsonl --out pictures --watch

A line of CSV or JSONL is a job: person (name or id), prompt, seed, size, n, and what else `POST /v1/jobs` takes.
It asks the server that `imagine serve` runs. Interrupted, the same command goes on where it was: what was handed in
stands in FILE.batches.json. results.jsonl in the folder has a line for every line, counted from 0, and pictures are
called LINE-INDEX.png. With --watch a server that cannot be reached is waited for.";

/// How often the server is asked.
const LOOK: Duration = Duration::from_millis(500);
/// How long a server that cannot be reached is left alone; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BatchArgs {
    #[command(subcommand)]
    command: BatchCommand,
}

#[derive(Debug, Subcommand)]
enum BatchCommand {
    /// Draw what a file asks for, line by line
    Run(RunArgs),
}

#[derive(Debug, Args)]
struct RunArgs {
    /// CSV with a header, or JSONL
    file: PathBuf,

    /// Folder for the pictures [default: the file's name without its ending]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// When all is done, wait for lines that are added to the file, until Ctrl-C
    #[arg(long)]
    watch: bool,

    #[command(flatten)]
    server: ServerArgs,
}

pub fn run(args: &BatchArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let BatchCommand::Run(args) = &args.command;
    let run = Run {
        server: Server::new(&args.server),
        record: ProgressFile::path(&args.file),
        out: args.out.clone().unwrap_or_else(|| args.file.with_extension("")),
        file: &args.file,
        csv: args.file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")),
        cancel,
    };
    if run.out == args.file {
        return Err(
            Failure::input("a file without an ending needs a folder for its pictures").hint("--out DIR")
        );
    }
    fs::create_dir_all(&run.out).map_err(|e| Failure::failed(format!("{}: {e}", run.out.display())))?;
    let (mut failed, mut pause) = (0, FIRST_PAUSE);
    loop {
        match run.once(!args.watch) {
            Ok(found) if !args.watch => {
                failed = found;
                break;
            }
            Ok(found) => {
                (failed, pause) = (found, FIRST_PAUSE);
                std::thread::sleep(LOOK);
            }
            Err(failure) if args.watch && failure.is_passing() => {
                let (why, wait) = (failure.message(), pause.as_secs());
                // A closed stderr leaves nobody to tell.
                let _ = writeln!(std::io::stderr(), "note: {why}; trying again in {wait} s");
                run.sleep(pause);
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
            Err(failure) => return Err(failure),
        }
        if cancel.is_canceled() {
            break;
        }
    }
    match failed {
        0 => Ok(()),
        failed => Err(Failure::failed(format!("lines that failed: {failed}"))
            .hint(format!("{} says why", run.out.join("results.jsonl").display()))),
    }
}

struct Run<'a> {
    server: Server,
    file: &'a Path,
    csv: bool,
    record: PathBuf,
    out: PathBuf,
    cancel: &'a CancelFlag,
}

impl Run<'_> {
    /// Hands in what is new, waits, and fetches what is done; how many lines of the file have failed by now. A last
    /// line without its end counts only where `whole` says that nobody is writing it.
    fn once(&self, whole: bool) -> Result<u64, Failure> {
        let named = |e: std::io::Error| Failure::input(format!("{}: {e}", self.file.display()));
        let bytes = fs::read(self.file).map_err(named)?;
        let mut known = ProgressFile::read(&self.record, self.server.address(), &bytes)?;
        if let Some((part, body)) = new_lines(&bytes, known.end(), self.csv, whole) {
            let kind = if self.csv { "text/csv" } else { "application/jsonl" };
            // The same lines are the same batch, even if the answer is lost on the way.
            let once = sha256(format!("{} {}", self.file.display(), part.sha256).as_bytes());
            let batch = self.server.post("/v1/batches", kind, &body, Some(&once))?;
            known.parts.push(Part { id: text(&batch, "id").to_owned(), ..part });
            known.write(&self.record)?;
        }
        let mut first = 0;
        for at in 0..known.parts.len() {
            let part = &known.parts[at];
            let lines = match part.lines.filter(|_| part.fetched) {
                Some(lines) => lines,
                None if part.fetched => {
                    count(&self.server.get(&format!("/v1/batches/{}", part.id))?, "total")
                }
                None => {
                    let done = self.follow(&part.id, first)?;
                    known.parts[at].failed = count(&done, "failed") + count(&done, "canceled");
                    count(&done, "total")
                }
            };
            first += lines;
            let part = &mut known.parts[at];
            if !part.fetched || part.lines.is_none() {
                (part.fetched, part.lines) = (true, Some(lines));
                known.write(&self.record)?;
            }
        }
        Ok(known.parts.iter().map(|part| part.failed).sum())
    }

    fn sleep(&self, time: Duration) {
        let end = std::time::Instant::now() + time;
        while std::time::Instant::now() < end && !self.cancel.is_canceled() {
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for a batch and fetches its pictures; `first` is its first line's number in the file. The batch, when
    /// it is through.
    fn follow(&self, id: &str, first: u64) -> Result<Value, Failure> {
        let bar = bar();
        let path = format!("/v1/batches/{id}");
        loop {
            if self.cancel.is_canceled() {
                return Err(Failure::canceled().hint("the same command goes on with it"));
            }
            let batch = self.server.get(&path)?;
            let done: u64 = ["succeeded", "failed", "canceled"].map(|key| count(&batch, key)).iter().sum();
            bar.set_length(count(&batch, "total"));
            bar.set_position(done);
            if !matches!(text(&batch, "status"), "queued" | "running") {
                bar.finish_and_clear();
                self.fetch(&path, first)?;
                return Ok(batch);
            }
            std::thread::sleep(LOOK);
        }
    }

    /// A result line for every line, by its number in the file, and the pictures that they name.
    fn fetch(&self, path: &str, first: u64) -> Result<(), Failure> {
        let answer = self.server.bytes(&format!("{path}/results"))?;
        let answer = String::from_utf8(answer).map_err(Failure::failed)?;
        let mut results = String::new();
        for line in answer.lines().filter(|line| !line.trim().is_empty()) {
            let mut result: Value = serde_json::from_str(line).map_err(Failure::failed)?;
            let number = first + result.get("line").and_then(Value::as_u64).unwrap_or(0);
            if let Some(place) = result.get_mut("line") {
                *place = number.into();
            }
            for output in outputs(&mut result) {
                let name = self.picture(number, output)?;
                if let Some(output) = output.as_object_mut() {
                    output.insert("file".into(), name.into());
                }
            }
            results.push_str(&format!("{result}\n"));
        }
        let file = self.out.join("results.jsonl");
        let wrong = |e: std::io::Error| Failure::failed(format!("{}: {e}", file.display()));
        let before = match fs::read_to_string(&file) {
            Err(e) if e.kind() == ErrorKind::NotFound => String::new(),
            read => read.map_err(wrong)?,
        };
        crate::output::write(&file, with_new(before, &results).as_bytes())
    }

    /// Fetches a picture of a line; the name of its file.
    fn picture(&self, line: u64, output: &Value) -> Result<String, Failure> {
        let id = text(output, "id");
        let ending = match text(output, "format") {
            "jpeg" => "jpg",
            "webp" => "webp",
            _ => "png",
        };
        // The name comes from the server: nothing but an id may stand in a path.
        if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(Failure::failed("the server named a picture in a way that is no id"));
        }
        let index = output.get("index").and_then(Value::as_u64).unwrap_or(0);
        let bytes = self.server.bytes(&format!("/v1/images/{id}"))?;
        let mut name = format!("{line:05}-{index}.{ending}");
        // A picture of an earlier run, or of another file, stays.
        if fs::read(self.out.join(&name)).is_ok_and(|there| there != bytes) {
            name = format!("{line:05}-{index}-{id}.{ending}");
        }
        let file = self.out.join(&name);
        crate::output::write(&file, &bytes)?;
        println!("{}", file.display());
        Ok(name)
    }
}

/// Lines behind those of before, each once: a run that was killed after it wrote them writes them again.
fn with_new(mut before: String, results: &str) -> String {
    // Half a line is one that was cut off.
    before.truncate(before.rfind('\n').map_or(0, |at| at + 1));
    let there: HashSet<String> = before.lines().map(str::to_owned).collect();
    for line in results.lines().filter(|line| !there.contains(*line)) {
        before.push_str(line);
        before.push('\n');
    }
    before
}

/// The pictures of a result line.
fn outputs(result: &mut Value) -> impl Iterator<Item = &mut Value> {
    result.get_mut("output").and_then(Value::as_array_mut).into_iter().flatten()
}

/// How many lines of a batch are so far.
fn count(batch: &Value, key: &str) -> u64 {
    batch.get("counts").and_then(|counts| counts.get(key)).and_then(Value::as_u64).unwrap_or(0)
}

/// The part of a file behind `begin` that has something in it, and what the server is sent: for CSV with the
/// header again.
fn new_lines(bytes: &[u8], begin: usize, csv: bool, whole: bool) -> Option<(Part, Vec<u8>)> {
    let end = match whole {
        true => bytes.len(),
        false => bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1),
    };
    let header = bytes.iter().position(|&byte| byte == b'\n').map_or(bytes.len(), |at| at + 1);
    let lines = bytes.get(if csv { begin.max(header) } else { begin }..end)?;
    if lines.iter().all(u8::is_ascii_whitespace) {
        return None;
    }
    let mut body = if csv { bytes[..header].to_vec() } else { Vec::new() };
    body.extend(lines);
    Some((
        Part {
            id: String::new(),
            end,
            sha256: sha256(&bytes[..end]),
            fetched: false,
            lines: None,
            failed: 0,
        },
        body,
    ))
}

fn bar() -> ProgressBar {
    let seen = std::io::stderr().is_terminal();
    let target = if seen { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(
        "drawing {bar:32} {pos}/{len} lines, {elapsed} so far, about {eta} left",
    );
    let bar = ProgressBar::with_draw_target(None, target);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_that_are_fetched_again_are_there_once() {
        let all = with_new("a\nb\n".into(), "b\nc\n");
        assert_eq!(all, "a\nb\nc\n");
        assert_eq!(with_new("a\nb".into(), "b\n"), "a\nb\n", "the rest was cut off");
        assert_eq!(with_new(String::new(), "a\na\n"), "a\na\n");
    }

    #[test]
    fn what_is_new_in_a_file() {
        let of = |bytes: &str, begin, csv, whole| {
            let found = new_lines(bytes.as_bytes(), begin, csv, whole);
            found.map(|(part, body)| (part.end, String::from_utf8_lossy(&body).into_owned()))
        };
        assert_eq!(of("a\nb", 0, false, true), Some((3, "a\nb".into())));
        assert_eq!(of("a\nb", 0, false, false), Some((2, "a\n".into())), "b is being written");
        assert_eq!(of("a\nb\n", 2, false, false), Some((4, "b\n".into())));
        assert_eq!(of("a\n", 2, false, true), None);
        assert_eq!(of("a\n \n", 2, false, true), None);
        assert_eq!(of("prompt,n\nhat,1\n", 0, true, true), Some((15, "prompt,n\nhat,1\n".into())));
        assert_eq!(of("prompt,n\nhat,1\nfog,2\n", 15, true, true), Some((21, "prompt,n\nfog,2\n".into())));
        assert_eq!(of("prompt,n\n", 0, true, true), None);
        assert_eq!(of("prompt", 0, true, false), None);
    }
}
