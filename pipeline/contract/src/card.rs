//! The identity card as the service sees it: what a face reader measured, what the person says of it, and what
//! both make of it to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// A card as its reader wrote it; nobody else looks into it. Biometric data.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedCard(pub String);

impl fmt::Debug for SealedCard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedCard(…)")
    }
}

/// What a person says of their card, part by part. What was measured stays beside it, so that every change can be
/// taken back.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardChanges {
    /// Values by the parts' names, in the reader's words, e.g. `glasses`: `no`.
    pub set: BTreeMap<String, String>,
    /// Parts that are left out.
    pub without: BTreeSet<String>,
}

impl CardChanges {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.without.is_empty()
    }

    /// Adds later changes; each part keeps the last thing that was said of it.
    pub fn merge(&mut self, later: &Self) {
        for (part, value) in &later.set {
            self.without.remove(part);
            self.set.insert(part.clone(), value.clone());
        }
        for part in &later.without {
            self.set.remove(part);
            self.without.insert(part.clone());
        }
    }

    /// Takes back what was said of a part.
    pub fn reset(&mut self, part: &str) {
        self.set.remove(part);
        self.without.remove(part);
    }
}

impl fmt::Debug for CardChanges {
    /// Never what is said: it describes a face.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardChanges({} set, {} left out)", self.set.len(), self.without.len())
    }
}

/// Where the value of a part comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartSource {
    Measured,
    /// The person said it.
    Corrected,
    /// The person does not want it used.
    LeftOut,
    /// It could not be told from the photos.
    Unknown,
}

/// How a part can be corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartInput {
    /// Not in words; it can be left out.
    Nothing,
    /// `#rrggbb`, or one of the choices if there are any.
    Colour,
    /// One of the choices.
    Choice,
    Years,
}

/// A part of a card, to be looked at.
#[derive(Clone, PartialEq)]
pub struct CardPart {
    /// E.g. `hair-colour`.
    pub name: String,
    pub source: PartSource,
    /// What drawing hears, in words that can be said back; none for what is only numbers, unknown or left out.
    pub value: Option<String>,
    /// What the photos tell, whatever the person says.
    pub measured: Option<String>,
    /// Numbers that were measured, 0 where none were.
    pub numbers: usize,
    /// How sure the reader was of what it measured, 0 to 1.
    pub confidence: Option<f32>,
    pub input: PartInput,
    pub choices: Vec<String>,
}

impl fmt::Debug for CardPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CardPart({}, {:?})", self.name, self.source)
    }
}

/// Why a card cannot be shown or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardRefused {
    #[error("the face encoder {0} makes no identity cards, and the model draws by none")]
    NoCards(String),
    /// Another version's, or one that was never made.
    #[error("the person's card cannot be read: {0}; enrol them again")]
    Unreadable(String),
    /// What is said cannot be said of a card.
    #[error("{0}")]
    Change(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changes(set: &[(&str, &str)], without: &[&str]) -> CardChanges {
        let set = set.iter().map(|(part, value)| ((*part).to_owned(), (*value).to_owned())).collect();
        CardChanges { set, without: without.iter().map(|part| (*part).to_owned()).collect() }
    }

    #[test]
    fn the_last_word_on_a_part_counts_and_can_be_taken_back() {
        let mut said = changes(&[("glasses", "yes"), ("age", "40")], &["skin"]);
        said.merge(&changes(&[("skin", "#aabbcc"), ("age", "41")], &["glasses"]));
        assert_eq!(said, changes(&[("skin", "#aabbcc"), ("age", "41")], &["glasses"]));
        for part in ["glasses", "skin", "age", "pose"] {
            said.reset(part);
        }
        assert!(said.is_empty());
    }

    #[test]
    fn nothing_of_a_face_is_shown_by_debug() {
        let shown = format!("{:?} {:?}", changes(&[("age", "40")], &[]), SealedCard("40".into()));
        assert!(!shown.contains("40"), "{shown}");
    }
}
