//! The curated phrases that may be added to an idea.

use imagine_contract::{Slot, Vocabulary};

use crate::data::{DataError, lines};
use crate::topics::Topics;

/// A phrase for a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phrase {
    pub slot: Slot,
    pub text: String,
    /// What it belongs to; none where it fits every idea.
    pub topics: Vec<String>,
}

/// All phrases, and what pictures should not show.
#[derive(Clone, Debug, Default)]
pub struct Bank {
    phrases: Vec<Phrase>,
    pub negative_tags: String,
    pub negative_sentences: String,
}

const FILE: &str = "bank.txt";
/// Section of phrases that fit every idea.
const ANY: &str = "any";
const NEGATIVE: &str = "negative";

impl Bank {
    /// The one that is built in; its topics are among `topics`.
    ///
    /// # Errors
    /// [`DataError`] names the line.
    pub fn built_in(topics: &Topics) -> Result<Self, DataError> {
        Self::parse(include_str!("../data/bank.txt"), topics)
    }

    fn parse(text: &str, topics: &Topics) -> Result<Self, DataError> {
        let mut bank = Self::default();
        let mut section = "";
        for (number, line) in lines(text) {
            let wrong = |what: &str| DataError::new(FILE, format!("line {number}: {what}"));
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                if ![ANY, NEGATIVE].contains(&name) && !topics.names().iter().any(|topic| topic == name) {
                    return Err(wrong(&format!("{name:?} is no topic")));
                }
                section = name;
                continue;
            }
            let (key, text) = line.split_once(':').ok_or_else(|| wrong("no slot before a colon"))?;
            let text = text.trim().to_owned();
            match (section, key) {
                (NEGATIVE, "tags") => bank.negative_tags = text,
                (NEGATIVE, "sentences") => bank.negative_sentences = text,
                _ => {
                    let slot = Slot::ALL.into_iter().find(|slot| slot.name() == key);
                    let slot = slot.ok_or_else(|| wrong(&format!("{key:?} is no slot")))?;
                    let topics = if section == ANY { Vec::new() } else { vec![section.to_owned()] };
                    bank.phrases.push(Phrase { slot, text, topics });
                }
            }
        }
        Ok(bank)
    }

    /// The phrases that a small model was taught; of each, the topic is that of its first telling word: a "pointed hat
    /// with stars" is a wizard's.
    pub fn of_vocabulary(vocabulary: &Vocabulary, topics: &Topics) -> Self {
        let phrase = |slot: Slot, text: &String| {
            let found = topics.find(text).into_iter().take(1).map(|found| found.topic.to_owned()).collect();
            Phrase { slot, text: text.clone(), topics: found }
        };
        let phrases = vocabulary.phrases.iter();
        let phrases = phrases.flat_map(|(slot, texts)| texts.iter().map(move |text| phrase(*slot, text)));
        Self { phrases: phrases.collect(), ..Self::default() }
    }

    /// The phrases of a slot.
    pub fn of(&self, slot: Slot) -> impl Iterator<Item = &Phrase> {
        self.phrases.iter().filter(move |phrase| phrase.slot == slot)
    }

    /// Every phrase.
    pub fn all(&self) -> &[Phrase] {
        &self.phrases
    }

    /// The phrases of a slot that belong to a topic.
    pub fn about(&self, slot: Slot, topic: &str) -> Vec<&Phrase> {
        self.of(slot).filter(|phrase| phrase.topics.iter().any(|known| known == topic)).collect()
    }

    /// The phrases of a slot that fit every idea.
    pub fn general(&self, slot: Slot) -> Vec<&Phrase> {
        self.of(slot).filter(|phrase| phrase.topics.is_empty()).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_bank_has_phrases_for_every_topic_and_slot() {
        let topics = Topics::built_in().unwrap();
        let bank = Bank::built_in(&topics).unwrap();
        assert!(bank.all().len() >= 300, "{}", bank.all().len());
        for topic in topics.names() {
            assert!(!bank.about(Slot::Setting, topic).is_empty() || topic == "rain", "{topic}");
        }
        for slot in Slot::ALL {
            assert!(bank.general(slot).len() >= 2, "{slot:?}");
        }
        assert!(!bank.negative_tags.is_empty() && !bank.negative_sentences.is_empty());
    }

    #[test]
    fn bad_lines_are_named() {
        let topics = Topics::built_in().unwrap();
        for (text, says) in [
            ("[moonbase]", "line 1: \"moonbase\" is no topic"),
            ("[any]\nhat: red", "line 2: \"hat\" is no slot"),
            ("[any]\n\nnothing", "line 3: no slot before a colon"),
        ] {
            let message = Bank::parse(text, &topics).unwrap_err().to_string();
            assert!(message.contains(says), "{message}");
        }
    }
}
