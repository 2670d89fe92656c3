//! Common words of ideas in five languages, and what they are in English.

use imagine_contract::Language;

use crate::data::{DataError, lines};
use crate::rewording::Rewording;
use crate::words::Phrases;

/// What a word is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that a person can be.
    Role,
    /// Several of them.
    Roles,
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
    mended: Rewording,
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
        let mended = Rewording::parse("mended.tsv", include_str!("../data/mended.tsv"))?;
        Ok(Self { english, italian, spanish, french, german, mended })
    }

    /// Every word of the file, with the code of its language and the letter of its kind.
    pub fn words() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
        lines(include_str!("../data/lexicon.tsv")).flat_map(|(_, line)| {
            let mut fields = line.split('\t');
            let kind = fields.next().unwrap_or_default();
            let columns = Language::ALL.into_iter().zip(fields);
            columns.flat_map(move |(language, field)| {
                field.split('|').map(move |word| (language.code(), kind, word))
            })
        })
    }

    /// English that was put together word by word, as it is said.
    pub fn mended(&self, english: &str) -> String {
        self.mended.apply(english)
    }

    /// The longest entry that folded words of a language begin with, and how many words it has.
    pub fn find(&self, language: Language, words: &[String]) -> Option<(usize, &Entry)> {
        self.column(language).longest(words)
    }

    /// What words begin with in each of the languages that know it.
    pub fn meanings<'a>(&'a self, words: &[String]) -> impl Iterator<Item = (usize, &'a Entry)> {
        Language::ALL.into_iter().filter_map(|language| self.find(language, words))
    }

    fn column(&self, language: Language) -> &Phrases<Entry> {
        match language {
            Language::English => &self.english,
            Language::Italian => &self.italian,
            Language::Spanish => &self.spanish,
            Language::French => &self.french,
            Language::German => &self.german,
        }
    }

    /// What a folded word means that is the plural of a role or noun, in the English plural.
    pub fn several(&self, language: Language, word: &str) -> Option<Entry> {
        let singular = |(plural, single): &(&str, &str)| {
            let stem = word.strip_suffix(plural).filter(|stem| word.len() >= 4 && stem.len() >= 2)?;
            let (length, entry) = self.column(language).longest(&[format!("{stem}{single}")])?;
            let kind = match entry.kind {
                Kind::Role => Kind::Roles,
                Kind::Noun => Kind::Noun,
                _ => return None,
            };
            (length == 1).then(|| Entry { kind, english: plural_of(&entry.english) })
        };
        plurals(language).iter().find_map(singular)
    }
}

/// Endings of several, and of one.
fn plurals(language: Language) -> &'static [(&'static str, &'static str)] {
    match language {
        Language::English => &[],
        Language::Italian => &[
            ("chi", "co"),
            ("ghi", "go"),
            ("che", "ca"),
            ("ghe", "ga"),
            ("i", "o"),
            ("i", "e"),
            ("i", "a"),
            ("i", "io"),
            ("e", "a"),
        ],
        Language::Spanish => &[("ces", "z"), ("es", ""), ("s", "")],
        Language::French => &[("aux", "al"), ("x", ""), ("s", "")],
        Language::German => &[("innen", "in"), ("en", ""), ("er", ""), ("e", ""), ("n", ""), ("s", "")],
    }
}

/// The English plural of a word or of the last of several.
fn plural_of(english: &str) -> String {
    let ends = |all: &[&str]| all.iter().any(|end| english.ends_with(end));
    let cut = |letters: usize| english.get(..english.len() - letters).unwrap_or_default();
    if ends(&["man"]) {
        return format!("{}men", cut(3));
    }
    if ends(&["s", "fish", "sheep", "armour"]) {
        return english.to_owned();
    }
    if ends(&["y"]) && !ends(&["ay", "ey", "oy"]) {
        return format!("{}ies", cut(1));
    }
    if english == "wolf" {
        return "wolves".to_owned();
    }
    if ends(&["ch", "sh", "x", "hero"]) { format!("{english}es") } else { format!("{english}s") }
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
    fn plurals_are_found_by_their_singular() {
        let lexicon = Lexicon::built_in().unwrap();
        let several = |language, word: &str| lexicon.several(language, word).map(|entry| entry.english);
        for (language, word, english) in [
            (Language::Italian, "pirati", "pirates"),
            (Language::Italian, "maghi", "wizards"),
            (Language::Spanish, "reyes", "kings"),
            (Language::French, "chevaux", "horses"),
            (Language::German, "hexen", "witches"),
            (Language::German, "pilotinnen", "pilots"),
            (Language::French, "pompiers", "firefighters"),
        ] {
            assert_eq!(several(language, word).as_deref(), Some(english), "{word}");
        }
        assert_eq!(several(Language::German, "einen"), None);
        assert_eq!(several(Language::French, "vous"), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let message = Lexicon::parse("# x\nn\ta\tb").unwrap_err().to_string();
        assert_eq!(message, "lexicon.tsv: line 2 has 3 fields, not 6");
        assert!(Lexicon::parse("z\ta\tb\tc\td\te").unwrap_err().to_string().contains("unknown kind \"z\""));
    }
}
