//! Everything that is known without a model: languages, lexicon, topics, phrases, styles and rules.

use std::collections::BTreeMap;

use imagine_contract::{Dialect, ExpandError, Idea, Language, Slot};

use crate::bank::Bank;
use crate::data::DataError;
use crate::guard::Guard;
use crate::language::Languages;
use crate::lexicon::Lexicon;
use crate::rewording::Rewording;
use crate::roles::Roles;
use crate::safety::Safety;
use crate::subject::{Subject, SubjectMaker};
use crate::topics::Topics;

/// What the background is called that is no place.
const PLAIN: &str = "plain ";

/// The data files, read once.
#[derive(Clone, Debug)]
pub struct Knowledge {
    pub languages: Languages,
    pub lexicon: Lexicon,
    pub topics: Topics,
    pub bank: Bank,
    pub safety: Safety,
    pub guard: Guard,
    pub styles: BTreeMap<String, String>,
    pub roles: Roles,
    synonyms: Rewording,
}

/// A look to choose by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preset {
    pub id: String,
    /// The part that it fills.
    pub slot: Slot,
    pub text: String,
}

/// An idea that has been checked and understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Understood {
    pub language: Language,
    pub subject: Subject,
    /// The subject in everyday English, whatever the dialect: what topics and models read.
    pub english: String,
    /// What the preset says, and of which part, if one was named.
    pub style: Option<(Slot, String)>,
    /// Words of the idea that the image model does not know.
    pub unknown: Vec<String>,
}

impl Knowledge {
    /// What is built in.
    ///
    /// # Errors
    /// [`DataError`] names the file.
    pub fn built_in() -> Result<Self, DataError> {
        let topics = Topics::built_in()?;
        let file = "styles.toml";
        let styles =
            toml::from_str(include_str!("../data/styles.toml")).map_err(|e| DataError::new(file, e))?;
        Ok(Self {
            languages: Languages::built_in()?,
            lexicon: Lexicon::built_in()?,
            bank: Bank::built_in(&topics)?,
            topics,
            safety: Safety::built_in()?,
            guard: Guard::built_in()?,
            roles: Roles::built_in()?,
            synonyms: Rewording::parse("synonyms.tsv", include_str!("../data/synonyms.tsv"))?,
            styles,
        })
    }

    /// What is refused, whoever expands: by the rules or by what was learned.
    ///
    /// # Errors
    /// [`ExpandError::Refused`].
    pub fn check(&self, text: &str) -> Result<(), ExpandError> {
        self.safety.check(text)
    }

    /// The safety rules for what a picture is not to show.
    ///
    /// # Errors
    /// [`ExpandError::Refused`].
    pub fn check_negative(&self, text: &str) -> Result<(), ExpandError> {
        self.safety.check_negative(text)
    }

    /// Checks an idea by the safety rules and reads it.
    ///
    /// # Errors
    /// [`ExpandError::Empty`], [`ExpandError::TooLong`], [`ExpandError::Refused`], [`ExpandError::UnknownStyle`].
    pub fn understand(&self, idea: &Idea) -> Result<Understood, ExpandError> {
        let text = idea.text.trim();
        Idea::check(text)?;
        self.safety.check(text)?;
        let style = idea.style.as_ref().map(|name| self.preset(name, &idea.dialect)).transpose()?;
        let language = idea.language.unwrap_or_else(|| self.languages.guess(text));
        let maker = SubjectMaker { languages: &self.languages, lexicon: &self.lexicon };
        let english = maker.make(text, language, &Dialect::Tags, idea.person);
        let mut subject = match idea.dialect {
            Dialect::Vocabulary(_) => maker.make(text, language, &idea.dialect, idea.person),
            _ => english.clone(),
        };
        // A translation must not hide what the rules are about. The classifier has read the wish itself; word by word
        // put into English it is a mixture that nobody writes.
        self.safety.check_words(&english.text)?;
        let mut unknown = Vec::new();
        if let Dialect::Vocabulary(vocabulary) = &idea.dialect {
            subject.text = self.synonyms.in_words_of(&subject.text, vocabulary);
            unknown = crate::dialects::unknown_words(&subject.text, vocabulary);
            let somebody = subject.people > 0;
            subject.text = crate::dialects::in_own_words(&subject.text, vocabulary, somebody).prompt;
            // "pirates" is not left out where "as a pirate" is said
            let said = crate::words::keys(&subject.text);
            let kept = |word: &String| {
                imagine_contract::clauses::singular_of(word).is_some_and(|one| said.contains(&one))
            };
            unknown.retain(|word| !kept(word));
        }
        if let Some(word) = &idea.trigger_word {
            subject.text = crate::dialects::with_trigger(&subject.text, word);
        }
        Ok(Understood { language, subject, english: english.text, style, unknown })
    }

    /// The presets for a dialect: styles, or for a model that knows nothing but its own words the places among them.
    pub fn presets(&self, dialect: &Dialect) -> Vec<Preset> {
        match dialect {
            Dialect::Vocabulary(vocabulary) => {
                let places = vocabulary.phrases.get(&Slot::Setting).into_iter().flatten();
                let preset = |text: &String| Preset {
                    id: text.replace(' ', "-"),
                    slot: Slot::Setting,
                    text: text.clone(),
                };
                places.filter(|text| !text.starts_with(PLAIN)).map(preset).collect()
            }
            _ => {
                let preset = |(id, text): (&String, &String)| Preset {
                    id: id.clone(),
                    slot: Slot::Style,
                    text: text.clone(),
                };
                self.styles.iter().map(preset).collect()
            }
        }
    }

    /// A style that the model has no words for is taken too: its text is then among what is dropped.
    fn preset(&self, name: &str, dialect: &Dialect) -> Result<(Slot, String), ExpandError> {
        let presets = self.presets(dialect);
        let own = presets.iter().find(|preset| preset.id == name).map(|p| (p.slot, p.text.clone()));
        let any = || self.styles.get(name).map(|text| (Slot::Style, text.clone()));
        own.or_else(any).ok_or_else(|| ExpandError::UnknownStyle {
            name: name.to_owned(),
            known: presets.into_iter().map(|preset| preset.id).collect::<Vec<_>>().join(", "),
        })
    }

    /// What a picture in this dialect should not show.
    pub fn negative(&self, dialect: &Dialect) -> String {
        match dialect {
            Dialect::Tags => self.bank.negative_tags.clone(),
            Dialect::Sentences => self.bank.negative_sentences.clone(),
            Dialect::Vocabulary(_) => String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_contract::{CancelFlag, Expander, Vocabulary};

    use super::*;
    use crate::template::Template;

    /// The words of a model that was taught few, and of the shipped one.
    fn vocabularies() -> [Vocabulary; 2] {
        let small = include_str!("../tests/small_vocabulary.json");
        let larger = include_str!("../../../models/starter/vocabulary.json");
        [small, larger].map(|text| serde_json::from_str(text).unwrap())
    }

    fn subject(template: &Template, text: &str, vocabulary: &Vocabulary) -> (String, String) {
        let idea = Idea { dialect: Dialect::Vocabulary(vocabulary.clone()), ..Idea::new(text, 3) };
        let made = template.expand(&idea, &mut |_| (), &CancelFlag::default()).unwrap();
        (made.parts.subject, made.dropped.join(" "))
    }

    #[test]
    fn everyday_ideas_read_well_in_a_small_models_words() {
        let template = Template::new(std::sync::Arc::new(Knowledge::built_in().unwrap()));
        let lines = include_str!("../tests/everyday.tsv").lines().filter(|line| !line.starts_with('#'));
        let mut wrong = Vec::new();
        for line in lines {
            let [text, small, larger, dropped] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            for (vocabulary, wanted) in vocabularies().into_iter().zip([small, larger]) {
                let (made, unsaid) = subject(&template, text, &vocabulary);
                // What the larger model knows, the smaller one may have to leave out.
                if made != wanted || (unsaid != dropped && small == larger) {
                    wrong.push(format!("{text}: {made:?}, without {unsaid:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn roles_wear_their_own_and_are_where_they_belong() {
        let template = Template::new(std::sync::Arc::new(Knowledge::built_in().unwrap()));
        let [small, larger] = vocabularies();
        for (vocabulary, text, wardrobe, setting) in [
            (&small, "me as a king", "royal robe|gold crown", "castle hall"),
            (&larger, "me as a king", "royal robe|gold crown", "castle hall"),
            (&larger, "me as a knight", "steel", "castle hall"),
            (&larger, "io come samurai", "samurai", "cherry blossoms"),
            (&larger, "me as a superhero", "hero suit", "city skyline"),
            (&larger, "me as a doctor", "scrubs|surgical", "hospital"),
            (&small, "me as a pirate", "pirate|tricorne|bandana", "open sea"),
            (&small, "moi en astronaute sur la lune", "space", "starry space"),
            (&small, "ich als Koch am Strand", "chef", "beach"),
        ] {
            for seed in 0..12 {
                let idea = Idea { dialect: Dialect::Vocabulary(vocabulary.clone()), ..Idea::new(text, seed) };
                let made = template.expand(&idea, &mut |_| (), &CancelFlag::default()).unwrap().parts;
                assert!(wardrobe.split('|').any(|word| made.wardrobe.contains(word)), "{text}: {made:?}");
                assert_eq!(made.setting, setting, "{text}");
            }
        }
    }
}
