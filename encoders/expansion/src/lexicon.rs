//! Common words of ideas in five languages, and what they are in English.

use imagine_contract::Language;

use crate::data::{DataError, lines};
use crate::words::Phrases;

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that a person can be.
    Role,
    Noun,
    /// The name of a place or a feast.
    Name,
    Adjective,
    /// A form of a verb: "riding".
    Verb,
    /// Somebody.
    Person,
    Other,
}

/// A word in English.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    pub english: String,
}

/// `data/lexicon.tsv`.
#[derive(Clone, Debug)]
pub struct Lexicon {
    english: Phrases<Entry>,
    italian: Phrases<Entry>,
    spanish: Phrases<Entry>,
    french: Phrases<Entry>,
    german: Phrases<Entry>,
}

const FILE: &str = "lexicon.tsv";

impl Lexicon {
    /// The one that is built in.
    ///
    /// # Errors
    /// [`DataError`] names the line.
    pub fn built_in() -> Result<Self, DataError> {
        Self::parse(include_str!("../data/lexicon.tsv"))
    }

    fn parse(text: &str) -> Result<Self, DataError> {
        let mut columns: [Phrases<Entry>; 5] = std::array::from_fn(|_| Phrases::new());
        for (number, line) in lines(text) {
            let fields: Vec<&str> = line.split('\t').collect();
            let [kind, rest @ ..] = fields.as_slice() else { continue };
            if rest.len() != columns.len() {
                return Err(DataError::new(
                    FILE,
                    format!("line {number} has {} fields, not 6", fields.len()),
                ));
            }
            let kind = match *kind {
                "r" => Kind::Role,
                "n" => Kind::Noun,
                "m" => Kind::Name,
                "a" => Kind::Adjective,
                "v" => Kind::Verb,
                "p" => Kind::Person,
                "o" => Kind::Other,
                other => return Err(DataError::new(FILE, format!("line {number}: unknown kind {other:?}"))),
            };
            let english = rest.first().copied().unwrap_or_default();
            for (column, field) in columns.iter_mut().zip(rest) {
                for form in field.split('|') {
                    column.add(form, Entry { kind, english: english.to_owned() });
                }
            }
        }
        let [english, italian, spanish, french, german] = columns;
        Ok(Self { english, italian, spanish, french, german })
    }

    /// The longest entry that folded words of a language begin with, and how many words it has.
    pub fn find(&self, language: Language, words: &[String]) -> Option<(usize, &Entry)> {
        let column = match language {
            Language::English => &self.english,
            Language::Italian => &self.italian,
            Language::Spanish => &self.spanish,
            Language::French => &self.french,
            Language::German => &self.german,
        };
        column.longest(words)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::words::keys;

    #[test]
    fn words_are_found_in_their_language_alone() {
        let lexicon = Lexicon::built_in().unwrap();
        let find = |language, text: &str| {
            lexicon.find(language, &keys(text)).map(|(length, entry)| (length, entry.english.clone()))
        };
        assert_eq!(find(Language::Italian, "barriera corallina"), Some((2, "coral reef".into())));
        assert_eq!(find(Language::German, "König"), Some((1, "king".into())));
        assert_eq!(find(Language::Spanish, "nave espacial roja"), Some((2, "spaceship".into())));
        assert_eq!(find(Language::English, "astronauta"), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let message = Lexicon::parse("# x\nn\ta\tb").unwrap_err().to_string();
        assert_eq!(message, "lexicon.tsv: line 2 has 3 fields, not 6");
        assert!(Lexicon::parse("z\ta\tb\tc\td\te").unwrap_err().to_string().contains("unknown kind \"z\""));
    }
}
