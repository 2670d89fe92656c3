//! How likely phrases are after an idea that says nothing: the same for every idea, so it is kept on disk. Phrases of
//! the bank alone stand in it, nothing that a person has typed.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

/// Weights by context and phrase.
pub struct Weights {
    file: Option<PathBuf>,
    known: HashMap<String, f64>,
    changed: bool,
}

fn key(context: &str, phrase: &str) -> String {
    // Contexts begin alike; what they end in and how long they are tells them apart.
    let end: String = context.chars().skip(context.chars().count().saturating_sub(40)).collect();
    format!("{}|{end}|{phrase}", context.len())
}

impl Weights {
    /// Those that a file holds; an unreadable one counts as empty.
    pub fn new(file: Option<PathBuf>) -> Self {
        let text = file.as_ref().and_then(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        Self { file, known: serde_json::from_str(&text).unwrap_or_default(), changed: false }
    }

    pub fn get(&self, context: &str, phrase: &str) -> Option<f64> {
        self.known.get(&key(context, phrase)).copied()
    }

    pub fn add(&mut self, context: &str, phrases: &[String], weights: &[f64]) {
        self.known.extend(phrases.iter().map(|phrase| key(context, phrase)).zip(weights.iter().copied()));
        self.changed = true;
    }

    /// Writes the file where there is something new. What cannot be kept is computed again.
    pub fn save(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.changed) else { return };
        let Ok(text) = serde_json::to_string(&self.known) else { return };
        let unfinished = file.with_extension(format!("{}.tmp", std::process::id()));
        let folder = file.parent().map(fs::create_dir_all);
        if matches!(folder, Some(Ok(()))) && fs::write(&unfinished, text).is_ok() {
            self.changed = fs::rename(&unfinished, file).is_err();
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn weights_are_kept_and_damage_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("deep/weights.json");
        let mut weights = Weights::new(Some(file.clone()));
        weights.add("Idea: x\nLight:", &["soft".into()], &[-2.5]);
        weights.save();
        let again = Weights::new(Some(file.clone()));
        assert_eq!(again.get("Idea: x\nLight:", "soft"), Some(-2.5));
        assert_eq!(again.get("Idea: x\nPose:", "soft"), None);
        fs::write(&file, "{").unwrap();
        assert_eq!(Weights::new(Some(file)).get("Idea: x\nLight:", "soft"), None);
    }
}
