//! Phrases in place of phrases: English mended after a translation, other words for a model that knows few.

use imagine_contract::Vocabulary;
use imagine_contract::clauses::is_little;

use crate::data::{DataError, lines};
use crate::words::{Phrases, fold};

/// A table of phrases and what is said instead.
#[derive(Clone, Debug)]
pub struct Rewording {
    phrases: Phrases<(String, String)>,
}

impl Rewording {
    /// Reads lines of a phrase, a tab and what is said instead.
    ///
    /// # Errors
    /// [`DataError`] names the line.
    pub fn parse(file: &str, text: &str) -> Result<Self, DataError> {
        let mut phrases = Phrases::new();
        for (number, line) in lines(text) {
            let (from, to) = line
                .split_once('\t')
                .ok_or_else(|| DataError::new(file, format!("line {number} has no tab")))?;
            phrases.add(from, (from.to_owned(), to.to_owned()));
        }
        Ok(Self { phrases })
    }

    /// The text with every phrase said otherwise, the longest first.
    pub fn apply(&self, text: &str) -> String {
        self.apply_where(text, |_, _| true)
    }

    /// The text with words that a model knows in place of those that it does not.
    pub fn in_words_of(&self, text: &str, vocabulary: &Vocabulary) -> String {
        let knows_all = |phrase: &str| phrase.split(' ').all(|w| is_little(w) || vocabulary.knows(w));
        let knows_each = |phrase: &str| phrase.split(' ').all(|word| vocabulary.knows(word));
        self.apply_where(text, |from, to| !knows_each(from) && knows_all(to))
    }

    fn apply_where(&self, text: &str, counts: impl Fn(&str, &str) -> bool) -> String {
        let words: Vec<&str> = text.split_whitespace().collect();
        let bare = |word: &&str| fold(word.trim_end_matches([',', ';', '.']));
        let keys: Vec<String> = words.iter().map(bare).collect();
        let mut out: Vec<String> = Vec::with_capacity(words.len());
        let mut at = 0;
        while let Some(word) = words.get(at) {
            let rest = keys.get(at..).unwrap_or_default();
            let found = self.phrases.longest(rest).filter(|(length, (from, to))| {
                // A phrase does not go on behind a comma.
                let inner = words.get(at..at + length - 1).unwrap_or_default();
                counts(from, to) && !inner.iter().any(|word| word.ends_with([',', ';', '.']))
            });
            match found {
                Some((length, (_, to))) => {
                    let last = words.get(at + length - 1).copied().unwrap_or_default();
                    let mark: String = last.chars().filter(|c| ",;.".contains(*c)).collect();
                    out.push(format!("{to}{mark}"));
                    at += length;
                }
                None => {
                    out.push((*word).to_owned());
                    at += 1;
                }
            }
        }
        out.join(" ")
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_longest_phrase_is_said_otherwise_and_commas_stay() {
        let table = Rewording::parse("x", "in the beach\ton the beach\nbeach\tshore\n").unwrap();
        for (text, said) in [
            ("me in the beach, smiling", "me on the beach, smiling"),
            ("a Beach house", "a shore house"),
            ("me in, the beach", "me in, the shore"),
            ("", ""),
        ] {
            assert_eq!(table.apply(text), said, "{text}");
        }
        assert!(Rewording::parse("x", "a b").unwrap_err().to_string().contains("line 1 has no tab"));
    }

    #[test]
    fn a_model_is_told_only_words_that_it_knows() {
        let table = Rewording::parse("x", "woods\tforest\nlab\tlaboratory\n").unwrap();
        let words = |text: &str| Vocabulary {
            words: text.split(' ').map(Into::into).collect(),
            ..Vocabulary::default()
        };
        assert_eq!(table.in_words_of("me in the woods", &words("me forest")), "me in the forest");
        assert_eq!(table.in_words_of("me in the woods", &words("me sea")), "me in the woods");
        assert_eq!(table.in_words_of("me in a lab", &words("me lab laboratory")), "me in a lab");
    }
}
