//! How a person speaks of themselves in each language, and which language an idea is written in.

use std::collections::{BTreeMap, BTreeSet};

use imagine_contract::Language;
use serde::Deserialize;

use crate::data::DataError;
use crate::words::{Token, tokens};

/// The words of one language; `data/languages`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// By which the language is known.
    pub markers: BTreeSet<String>,
    /// Beginnings that say nothing about the picture.
    pub lead: Vec<String>,
    /// Those of them in which the person is named.
    pub lead_me: Vec<String>,
    pub me: Vec<String>,
    pub am: Vec<String>,
    pub we: Vec<String>,
    /// "my" in all its forms.
    pub mine: Vec<String>,
    pub and: Vec<String>,
    /// Function words and what they mean in English.
    pub words: BTreeMap<String, String>,
    /// People that stand behind "my".
    pub people: BTreeMap<String, String>,
    /// Several of them, and how many they are where no number says it.
    pub groups: BTreeMap<String, (String, u32)>,
    pub numbers: BTreeMap<String, u32>,
    /// Prepositions that mean "as" before a role.
    pub before_role: BTreeMap<String, String>,
}

/// All languages.
#[derive(Clone, Debug)]
pub struct Languages(BTreeMap<Language, Words>);

impl Languages {
    /// Those that are built in.
    ///
    /// # Errors
    /// [`DataError`] names the file.
    pub fn built_in() -> Result<Self, DataError> {
        let files = [
            (Language::English, "languages/en.toml", include_str!("../data/languages/en.toml")),
            (Language::Italian, "languages/it.toml", include_str!("../data/languages/it.toml")),
            (Language::Spanish, "languages/es.toml", include_str!("../data/languages/es.toml")),
            (Language::French, "languages/fr.toml", include_str!("../data/languages/fr.toml")),
            (Language::German, "languages/de.toml", include_str!("../data/languages/de.toml")),
        ];
        let parse = |(language, file, text): (Language, &'static str, &str)| {
            toml::from_str(text).map(|words| (language, words)).map_err(|e| DataError::new(file, e))
        };
        files.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }

    /// The words of a language; every language has some.
    pub fn of(&self, language: Language) -> Option<&Words> {
        self.0.get(&language)
    }

    /// The language most of whose marker words an idea has; English where none has more.
    pub fn guess(&self, text: &str) -> Language {
        let score = |(language, words): (&Language, &Words)| {
            let tokens = tokens(text, has_elisions(*language));
            let hits = tokens.iter().filter(|token| words.markers.contains(&token.lower)).count();
            let english = *language == Language::English;
            (hits, english, *language)
        };
        self.0.iter().map(score).max().map_or(Language::English, |(_, _, language)| language)
    }
}

/// Whether a vowel may be left out before an apostrophe.
pub fn has_elisions(language: Language) -> bool {
    matches!(language, Language::Italian | Language::French)
}

/// Words of an idea in its language.
pub fn split(text: &str, language: Language) -> Vec<Token> {
    tokens(text, has_elisions(language))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn languages_are_told_apart() {
        let languages = Languages::built_in().unwrap();
        for (text, language) in [
            ("me hiking in the Dolomites", Language::English),
            ("io come astronauta", Language::Italian),
            ("yo como astronauta en la luna", Language::Spanish),
            ("moi en pirate sur un bateau", Language::French),
            ("ich als Ritter auf einem Pferd", Language::German),
            ("un ritratto di me nella foresta", Language::Italian),
            ("mi hermano y yo en la playa", Language::Spanish),
            ("mon frère et moi à la plage", Language::French),
            ("astronaut", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(languages.guess(text), language, "{text}");
        }
    }
}
