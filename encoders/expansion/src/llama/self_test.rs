//! What a model is good for, measured when it is loaded: writing, choosing, or neither. The result is remembered by
//! the file's name, size and time, so that a model is tested once on a machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use imagine_contract::{CancelFlag, ExpandError, Mode};
use serde::{Deserialize, Serialize};

use super::LlamaOptions;
use super::context::Context;
use crate::choose::Notes;
use crate::data::lines;
use crate::knowledge::Knowledge;
use crate::words::keys;
use crate::write;

/// Part of the questions that a model which chooses must get right; guessing gets a quarter.
const CHOOSES: f64 = 0.75;
/// Part that a model must get right before it is let write at all.
const MAY_WRITE: f64 = 0.9;

/// Changes whenever the tests do.
const VERSION: u32 = 1;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Outcome {
    version: u32,
    /// Part of the questions that were answered right.
    chose: f64,
    /// Ideas of those tried that were written well.
    wrote: usize,
    tried: usize,
}

impl Outcome {
    fn mode(self) -> Option<Mode> {
        match self {
            Self { wrote, tried, .. } if tried > 0 && wrote == tried => Some(Mode::Write),
            Self { chose, .. } if chose >= CHOOSES => Some(Mode::Choose),
            _ => None,
        }
    }
}

/// How the model is to be used.
///
/// # Errors
/// [`ExpandError::Unavailable`] where it is good for nothing; what the model fails with.
pub fn mode(
    context: &mut Context,
    knowledge: &Knowledge,
    options: &LlamaOptions,
) -> Result<Mode, ExpandError> {
    let remembered = Remembered::of(options);
    let outcome = match remembered.as_ref().and_then(Remembered::read) {
        Some(outcome) => outcome,
        None => {
            let outcome = test(context, knowledge)?;
            if let Some(remembered) = &remembered {
                remembered.write(outcome);
            }
            outcome
        }
    };
    tracing::info!(?outcome, "the language model's self-test");
    outcome.mode().ok_or_else(|| {
        let name = super::name_of(&options.file);
        let right = (outcome.chose * 100.0).round();
        ExpandError::Unavailable(format!(
            "{name} is no help: it answers {right} % of the test questions right"
        ))
    })
}

fn test(context: &mut Context, knowledge: &Knowledge) -> Result<Outcome, ExpandError> {
    let mut right = 0;
    let mut asked = 0;
    for (_, line) in lines(include_str!("../../data/self_test.tsv")) {
        let mut fields = line.split('\t').map(str::to_owned);
        let (Some(idea), Some(label)) = (fields.next(), fields.next()) else { continue };
        let candidates: Vec<String> = fields.collect();
        let weights = Notes::about(&idea).weigh(context, &label, &candidates)?;
        let best = weights.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(i, _)| i);
        // The first one is right.
        right += usize::from(best == Some(0));
        asked += 1;
    }
    let chose = f64::from(right as u32) / f64::from(asked.max(1) as u32);
    let (mut wrote, mut tried) = (0, 0);
    if chose >= MAY_WRITE {
        for (_, line) in lines(include_str!("../../data/self_test_write.tsv")) {
            let Some((idea, nouns)) = line.split_once('\t') else { continue };
            tried += 1;
            if !writes_well(context, knowledge, idea, nouns)? {
                break;
            }
            wrote += 1;
        }
    }
    Ok(Outcome { version: VERSION, chose, wrote, tried })
}

/// Whether an answer keeps the person once and the idea's nouns, fills most parts, and invents nothing.
fn writes_well(
    context: &mut Context,
    knowledge: &Knowledge,
    idea: &str,
    nouns: &str,
) -> Result<bool, ExpandError> {
    let answer = context.write(idea, "", 1, &mut |_| {}, &CancelFlag::default())?;
    let Ok(parts) = write::parse(&answer) else { return Ok(false) };
    let said = keys(&parts.subject);
    let keeps = nouns.split(';').all(|noun| said.contains(&noun.to_owned()));
    let once = parts.subject.matches("a person").count() == 1;
    let slots = imagine_contract::Slot::ALL;
    let filled = slots.iter().filter(|slot| !parts.get(**slot).is_empty()).count();
    let clean = slots.iter().all(|slot| {
        knowledge.guard.findings(parts.get(*slot), &format!("{idea} {nouns}"), &knowledge.safety).is_empty()
    });
    let mut different: Vec<&str> = slots.iter().map(|slot| parts.get(*slot)).collect();
    different.sort_unstable();
    different.dedup();
    let well = keeps && once && filled >= 4 && clean && different.len() >= 4;
    if !well {
        tracing::info!(idea, answer, keeps, once, filled, clean, "not written well enough");
    }
    Ok(well)
}

/// What tells a model file from others: name, size and time.
pub fn key(file: &Path) -> Option<String> {
    let metadata = fs::metadata(file).ok()?;
    let time = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}/{}/{}", super::name_of(file), metadata.len(), time.as_secs()))
}

/// A file of outcomes.
struct Remembered {
    file: PathBuf,
    key: String,
}

impl Remembered {
    fn of(options: &LlamaOptions) -> Option<Self> {
        let key = key(&options.file)?;
        Some(Self { file: options.cache.as_ref()?.join("self-tests.json"), key })
    }

    fn all(&self) -> BTreeMap<String, Outcome> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn read(&self) -> Option<Outcome> {
        self.all().remove(&self.key).filter(|outcome| outcome.version == VERSION)
    }

    /// A result that cannot be kept is measured again next time.
    fn write(&self, outcome: Outcome) {
        let mut all = self.all();
        all.insert(self.key.clone(), outcome);
        let Ok(text) = serde_json::to_string_pretty(&all) else { return };
        let unfinished = self.file.with_extension(format!("{}.tmp", std::process::id()));
        let made = self.file.parent().map(fs::create_dir_all);
        if matches!(made, Some(Ok(()))) && fs::write(&unfinished, text).is_ok() {
            let _ = fs::rename(&unfinished, &self.file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_decides() {
        let outcome = |chose, wrote, tried| Outcome { version: VERSION, chose, wrote, tried }.mode();
        assert_eq!(outcome(1.0, 3, 3), Some(Mode::Write));
        assert_eq!(outcome(1.0, 1, 2), Some(Mode::Choose));
        assert_eq!(outcome(0.8, 0, 0), Some(Mode::Choose));
        assert_eq!(outcome(0.7, 0, 0), None);
    }
}
