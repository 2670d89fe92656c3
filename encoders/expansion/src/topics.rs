//! What an idea is about, and which parts it speaks of itself.

use std::collections::BTreeMap;

use imagine_contract::Slot;

use crate::data::DataError;
use crate::words::{Phrases, parts};

/// `data/topics.toml` and `data/mentions.toml`.
#[derive(Clone, Debug)]
pub struct Topics {
    names: Vec<String>,
    words: Phrases<usize>,
    mentions: BTreeMap<Slot, Phrases<()>>,
    /// By topic, and by "" where an idea has none: a word that a fitting light says.
    lights: BTreeMap<String, String>,
}

/// A topic, and which word of the text speaks of it, from 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<'a> {
    pub topic: &'a str,
    pub word: usize,
}

impl Topics {
    /// The topics that are built in.
    ///
    /// # Errors
    /// [`DataError`] names the file.
    pub fn built_in() -> Result<Self, DataError> {
        let file = "topics.toml";
        let table: BTreeMap<String, Vec<String>> =
            toml::from_str(include_str!("../data/topics.toml")).map_err(|e| DataError::new(file, e))?;
        let mut words = Phrases::new();
        let mut names = Vec::new();
        for (name, list) in table {
            for word in list {
                // a keyword of several words is written with hyphens
                words.add(&word.replace('-', " "), names.len());
            }
            names.push(name);
        }
        let file = "mentions.toml";
        let table: BTreeMap<Slot, Vec<String>> =
            toml::from_str(include_str!("../data/mentions.toml")).map_err(|e| DataError::new(file, e))?;
        let mentions = table.into_iter().map(|(slot, list)| {
            let mut phrases = Phrases::new();
            list.iter().for_each(|word| phrases.add(&word.replace('-', " "), ()));
            (slot, phrases)
        });
        let table: BTreeMap<String, Vec<String>> = toml::from_str(include_str!("../data/lights.toml"))
            .map_err(|e| DataError::new("lights.toml", e))?;
        let mut lights = BTreeMap::new();
        for (word, about) in table {
            lights.extend(about.into_iter().map(|topic| (topic, word.clone())));
        }
        Ok(Self { names, words, mentions: mentions.collect(), lights })
    }

    /// The names of all topics, in alphabetical order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The topics of an English text in the order of its words, each once.
    pub fn find(&self, text: &str) -> Vec<Found<'_>> {
        let words = parts(text);
        let mut found: Vec<Found> = Vec::new();
        let mut word = 0;
        while word < words.len() {
            let rest = words.get(word..).unwrap_or_default();
            let Some((length, &index)) = self.words.longest(rest) else {
                word += 1;
                continue;
            };
            if let Some(topic) = self.names.get(index)
                && !found.iter().any(|known| known.topic == topic)
            {
                found.push(Found { topic, word });
            }
            word += length;
        }
        found
    }

    /// The word that a light has to say to suit a topic, or no topic at all; none where every light does.
    pub fn light(&self, topic: Option<&str>) -> Option<&str> {
        self.lights.get(topic.unwrap_or_default()).map(String::as_str)
    }

    /// Whether an English text speaks of a part itself.
    pub fn mentions(&self, slot: Slot, text: &str) -> bool {
        self.mentions.get(&slot).is_some_and(|phrases| phrases.any(&parts(text)))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn topics_come_in_the_order_of_the_words() {
        let topics = Topics::built_in().unwrap();
        let find = |text: &str| topics.find(text).into_iter().map(|f| f.topic.to_owned()).collect::<Vec<_>>();
        assert_eq!(find("a person as a chef on the moon"), ["kitchen", "space"]);
        assert_eq!(find("hiking in the Dolomites"), ["mountain"]);
        assert_eq!(find("in a hot-air balloon"), ["sky"]);
        assert_eq!(find("in a hot air balloon"), ["sky"]);
        assert!(find("at a table").is_empty());
        assert_eq!(find("as a stormtrooper, a rock star"), ["space", "music"]);
        for look_alike in [
            "in a skirt",
            "with Lionel",
            "a diverse group",
            "a red beard",
            "a diva",
            "in Singapore",
            "Oliver on a campaign",
        ] {
            assert_eq!(find(look_alike), [""; 0], "{look_alike}");
        }
    }

    #[test]
    fn lights_are_about_topics_that_there_are() {
        let topics = Topics::built_in().unwrap();
        assert!(topics.lights.len() > 20);
        for topic in topics.lights.keys().filter(|topic| !topic.is_empty()) {
            assert!(topics.names.contains(topic), "{topic}");
        }
    }

    #[test]
    fn what_an_idea_says_itself_is_noticed() {
        let topics = Topics::built_in().unwrap();
        assert!(topics.mentions(Slot::Wardrobe, "a person with a red hat"));
        assert!(topics.mentions(Slot::Light, "Paris at night"));
        assert!(topics.mentions(Slot::Expression, "a person smiling"));
        assert!(!topics.mentions(Slot::Setting, "a person in Paris"));
    }
}
