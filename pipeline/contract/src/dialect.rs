//! How a checkpoint wants to be spoken to, and the one place where an expansion's parts become a prompt.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clauses::known_clauses;
use crate::expansion::{Parts, Slot};

/// How a checkpoint wants to be spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Dialect {
    /// Phrases between commas, as SD 1.x and 2.x were taught; one CLIP window of 77 tokens.
    #[default]
    Tags,
    /// Whole sentences, as SDXL follows better; its windows are of the same length.
    Sentences,
    /// Only words that the model knows.
    Vocabulary(Vocabulary),
}

impl Dialect {
    /// The dialect of a model whose identity adapter wants `trigger` in the prompt: a vocabulary knows that word too, so that
    /// [`assemble`] does not drop it. Others take every word as it is.
    #[must_use]
    pub fn with_trigger(self, trigger: Option<&str>) -> Self {
        match (self, trigger) {
            (Self::Vocabulary(mut vocabulary), Some(word)) if !vocabulary.knows(word) => {
                vocabulary.words.push(word.to_lowercase());
                Self::Vocabulary(vocabulary)
            }
            (dialect, _) => dialect,
        }
    }
}

/// The words of a small model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Every word, in lower case.
    pub words: Vec<String>,
    /// Phrases that it was taught, by what they say.
    #[serde(default)]
    pub phrases: BTreeMap<Slot, Vec<String>>,
}

impl Vocabulary {
    pub fn knows(&self, word: &str) -> bool {
        self.words.iter().any(|known| known.eq_ignore_ascii_case(word))
    }
}

/// A prompt, and what was left out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assembled {
    pub prompt: String,
    /// Parts that did not fit the window, clauses with words that the model does not know.
    pub dropped: Vec<String>,
}

/// Tokens of a CLIP window without its two ends.
pub const WINDOW: usize = 75;

/// Slots in the order in which they are given up where the window is full: the last first.
const BY_WEIGHT: [Slot; 7] =
    [Slot::Setting, Slot::Wardrobe, Slot::Style, Slot::Expression, Slot::Light, Slot::Pose, Slot::Camera];

/// The text for the model: the subject first, then as many parts as fit the text encoder's window. Pure: the
/// API calls it again whenever a person has changed a part.
pub fn assemble(parts: &Parts, dialect: &Dialect) -> Assembled {
    let mut dropped = Vec::new();
    let known = |text: &str, dropped: &mut Vec<String>| match dialect {
        Dialect::Vocabulary(vocabulary) => only_known(text, vocabulary, dropped),
        _ => tidy(text),
    };
    let mut kept = Parts { subject: known(&parts.subject, &mut dropped), ..Parts::default() };
    for slot in BY_WEIGHT {
        let text = known(parts.get(slot), &mut dropped);
        if text.is_empty() {
            continue;
        }
        let before = kept.get(slot).to_owned();
        kept.set(slot, text.clone());
        if token_bound(&join(&kept, dialect)) > WINDOW {
            kept.set(slot, before);
            dropped.push(text);
        }
    }
    Assembled { prompt: join(&kept, dialect), dropped }
}

/// About so many CLIP tokens a text takes, rather too many: it needs no vocabulary. CLIP's common words are one
/// token each; longer and rarer ones fall apart, so a word counts one for every five letters begun, and every
/// byte outside ASCII counts by itself.
pub fn token_bound(text: &str) -> usize {
    let mut tokens = 0;
    let mut letters = 0usize;
    for c in text.chars() {
        if c.is_alphabetic() {
            letters += if c.is_ascii() { 1 } else { 5 };
            continue;
        }
        tokens += letters.div_ceil(5);
        letters = 0;
        tokens += usize::from(!c.is_whitespace()) * c.len_utf8();
    }
    tokens + letters.div_ceil(5)
}

/// One line, single spaces, no stray punctuation at the ends.
fn tidy(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_matches(|c: char| ",.;: ".contains(c)).to_owned()
}

/// The text without clauses that the vocabulary has no words for; they are added to `dropped`.
fn only_known(text: &str, vocabulary: &Vocabulary, dropped: &mut Vec<String>) -> String {
    let clauses = known_clauses(text, vocabulary);
    let kept = clauses.text();
    dropped.extend(clauses.dropped);
    tidy(&kept)
}

fn join(parts: &Parts, dialect: &Dialect) -> String {
    match dialect {
        Dialect::Tags => tags(parts),
        Dialect::Sentences => sentences(parts),
        Dialect::Vocabulary(_) => captions(parts),
    }
}

/// "a person hiking in the Dolomites, wearing …, at golden hour, …"
fn tags(parts: &Parts) -> String {
    let order = [
        &parts.subject,
        &parts.wardrobe,
        &parts.expression,
        &parts.pose,
        &parts.setting,
        &parts.light,
        &parts.camera,
        &parts.style,
    ];
    let said: Vec<&str> = order.into_iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    said.join(", ")
}

/// "A person hiking in the Dolomites, wearing …, smiling. The setting is …. Lit by …."
fn sentences(parts: &Parts) -> String {
    let list = |texts: &[&String]| {
        let said: Vec<&str> = texts.iter().map(|t| t.as_str()).filter(|text| !text.is_empty()).collect();
        said.join(", ")
    };
    let groups = [
        list(&[&parts.subject, &parts.wardrobe, &parts.expression, &parts.pose]),
        list(&[&parts.setting, &parts.light]),
        list(&[&parts.style, &parts.camera]),
    ];
    let said: Vec<String> =
        groups.iter().filter(|text| !text.is_empty()).map(|text| sentence(text)).collect();
    said.join(" ")
}

fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

/// In the order of the captions that the small model was taught with.
fn captions(parts: &Parts) -> String {
    let order = [
        &parts.subject,
        &parts.wardrobe,
        &parts.expression,
        &parts.pose,
        &parts.light,
        &parts.setting,
        &parts.style,
        &parts.camera,
    ];
    let said: Vec<&str> = order.into_iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        Parts {
            subject: "a person hiking in the Dolomites".into(),
            style: "travel photograph".into(),
            setting: "limestone peaks".into(),
            wardrobe: "wearing a red jacket".into(),
            light: "golden hour light".into(),
            camera: "35 mm lens".into(),
            expression: "smiling".into(),
            pose: "facing the camera".into(),
        }
    }

    #[test]
    fn every_dialect_says_each_part_once_and_the_subject_first() {
        let tags = assemble(&parts(), &Dialect::Tags);
        assert_eq!(
            tags.prompt,
            "a person hiking in the Dolomites, wearing a red jacket, smiling, facing the camera, \
             limestone peaks, golden hour light, 35 mm lens, travel photograph"
        );
        assert!(tags.dropped.is_empty());
        assert_eq!(
            assemble(&parts(), &Dialect::Sentences).prompt,
            "A person hiking in the Dolomites, wearing a red jacket, smiling, facing the camera. \
             Limestone peaks, golden hour light. Travel photograph, 35 mm lens."
        );
    }

    #[test]
    fn empty_parts_leave_no_gap() {
        let parts = Parts { subject: " me ,".into(), light: "\n".into(), ..Parts::default() };
        assert_eq!(assemble(&parts, &Dialect::Tags).prompt, "me");
        assert_eq!(assemble(&parts, &Dialect::Sentences).prompt, "Me.");
        assert_eq!(assemble(&Parts::default(), &Dialect::Sentences).prompt, "");
    }

    #[test]
    fn a_full_window_gives_up_the_least_important_parts() {
        let long = |word: &str| vec![word; 20].join(" ");
        let full = Parts { setting: long("sea"), light: long("sun"), camera: long("lens"), ..parts() };
        let made = assemble(&full, &Dialect::Tags);
        assert!(token_bound(&made.prompt) <= WINDOW, "{}", made.prompt);
        assert!(made.prompt.contains("Dolomites") && made.prompt.contains(&long("sea")));
        assert!(made.dropped.contains(&long("lens")), "{:?}", made.dropped);
    }

    #[test]
    fn a_vocabulary_keeps_what_it_knows_and_names_what_it_drops() {
        let words = ["me", "as", "an", "astronaut", "smiling", "t-shirt", "red", "wearing", "a"];
        let vocabulary = Vocabulary { words: words.map(Into::into).to_vec(), phrases: BTreeMap::default() };
        let parts = Parts {
            subject: "Me as an ASTRONAUT in Ivrea".into(),
            wardrobe: "wearing a red t-shirt".into(),
            expression: "smiling".into(),
            light: "moonlight".into(),
            ..Parts::default()
        };
        let made = assemble(&parts, &Dialect::Vocabulary(vocabulary));
        assert_eq!(made.prompt, "me as an astronaut, wearing a red t-shirt, smiling");
        assert_eq!(made.dropped, ["in Ivrea", "moonlight"]);
    }

    #[test]
    fn the_bound_counts_words_punctuation_and_other_scripts() {
        for (text, tokens) in
            [("", 0), ("a cat", 2), ("cat, dog", 3), ("astronaut", 2), ("café", 2), ("猫", 1)]
        {
            assert_eq!(token_bound(text), tokens, "{text}");
        }
    }
}
