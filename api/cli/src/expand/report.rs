//! An expansion on stdout: lines for a person or one JSON object for a program.

use std::io::{self, ErrorKind, Write};

use imagine_contract::{Expansion, Mode, Slot};
use serde::Serialize;

use crate::failure::Failure;

#[derive(Serialize)]
struct Report<'a> {
    seed: u64,
    #[serde(flatten)]
    expansion: &'a Expansion,
}

/// Prints it.
pub fn print(expansion: &Expansion, seed: u64, json: bool) -> Result<(), Failure> {
    let text = match json {
        true => serde_json::to_string_pretty(&Report { seed, expansion }).map_err(Failure::failed)?,
        false => lines(expansion, seed),
    };
    match writeln!(io::stdout(), "{text}") {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("cannot write to stdout: {e}")))
        }
        _ => Ok(()),
    }
}

fn lines(expansion: &Expansion, seed: u64) -> String {
    let mut lines = vec![expansion.prompt.clone(), String::new()];
    let mut line = |name: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("{name:12}{text}"));
        }
    };
    line("subject", &expansion.parts.subject);
    for slot in Slot::ALL {
        line(slot.name(), expansion.parts.get(slot));
    }
    line("not", &expansion.negative_prompt);
    line("left out", &expansion.dropped.join(", "));
    let how = match expansion.mode {
        Mode::Template => "by rules",
        Mode::Choose => "chosen",
        Mode::Write => "written",
    };
    let by = format!("{} ({how}), {}, seed {seed}", expansion.backend, expansion.language.code());
    line("by", &by);
    line("note", expansion.note.as_deref().unwrap_or_default());
    for source in &expansion.sources {
        line("source", &format!("{} <{}>: {}", source.title, source.url, source.snippet));
    }
    lines.join("\n")
}
