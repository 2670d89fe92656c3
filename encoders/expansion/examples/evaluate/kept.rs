//! Expansions that are written down as they are made, so that a slow evaluation can be broken off and taken up again.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, create_dir_all, read_to_string};
use std::io::Write as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use imagine_contract::{CancelFlag, ExpandError, Expander, Expansion, Idea};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Line {
    idea: String,
    seed: u64,
    seconds: f64,
    expansion: Expansion,
}

/// An expander that asks `inner` only for what is not in its file.
pub struct Kept {
    inner: Box<dyn Expander>,
    known: BTreeMap<(String, u64), Expansion>,
    file: Mutex<File>,
}

impl Kept {
    /// Reads the file, if it is there. A line that was cut off is asked for again.
    pub fn open(inner: Box<dyn Expander>, path: &Path) -> std::io::Result<Self> {
        path.parent().map_or(Ok(()), create_dir_all)?;
        let text = read_to_string(path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
        let known = lines.map(|line| ((line.idea, line.seed), line.expansion)).collect();
        let file = Mutex::new(OpenOptions::new().create(true).append(true).open(path)?);
        Ok(Self { inner, known, file })
    }
}

impl Expander for Kept {
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Expansion, ExpandError> {
        if let Some(known) = self.known.get(&(idea.text.clone(), idea.seed)) {
            return Ok(known.clone());
        }
        let start = Instant::now();
        let expansion = self.inner.expand(idea, on_text, cancel)?;
        let seconds = start.elapsed().as_secs_f64();
        let line = Line { idea: idea.text.clone(), seed: idea.seed, seconds, expansion: expansion.clone() };
        let failed = |error: &dyn std::fmt::Display| ExpandError::Failed(format!("cannot be kept: {error}"));
        let text = serde_json::to_string(&line).map_err(|e| failed(&e))?;
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{text}").map_err(|e| failed(&e))?;
        Ok(expansion)
    }

    fn check(&self, text: &str) -> Result<(), ExpandError> {
        self.inner.check(text)
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}
