//! What a dialect asks of a subject: only known words, the adapter's trigger word.

use imagine_contract::clauses::{is_little, is_somebody, known_clauses};
use imagine_contract::{Assembled, Vocabulary};

use crate::words::fold;

/// A subject in a model's own words. Where somebody is to be drawn, the text begins with them and says them once: "us at
/// the beach" is "me at the beach".
pub fn in_own_words(text: &str, vocabulary: &Vocabulary, somebody: bool) -> Assembled {
    let mut clauses = known_clauses(text, vocabulary);
    if somebody {
        let people: Vec<String> = clauses.kept.iter().filter(|clause| is_somebody(clause)).cloned().collect();
        let mut first = people.first().map_or("me", |clause| clause.as_str()).to_owned();
        for word in ["and ", "with ", "of ", "like ", "by "] {
            first = first.strip_prefix(word).unwrap_or(&first).to_owned();
        }
        clauses.kept.retain(|clause| !is_somebody(clause));
        // "me in the forest", but "me, a castle"
        let next = clauses.kept.first().and_then(|clause| clause.split(' ').next()).unwrap_or_default();
        let told_of_it = next.ends_with("ing") || next.ends_with("ing,") || is_little(next);
        if (!told_of_it || ["a", "an", "the", "my"].contains(&next))
            && !next.is_empty()
            && !first.ends_with(',')
        {
            first.push(',');
        }
        clauses.kept.insert(0, first);
    }
    Assembled { prompt: clauses.text(), dropped: clauses.dropped }
}

/// The telling words of a text that a model does not know.
pub fn unknown_words(text: &str, vocabulary: &Vocabulary) -> Vec<String> {
    let words = text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    words
        .filter(|word| !word.is_empty() && !vocabulary.knows(word) && !is_little(word))
        .map(str::to_owned)
        .collect()
}

/// Nouns that a trigger word may stand behind.
const NOUNS: [&str; 12] = [
    "person",
    "man",
    "woman",
    "boy",
    "girl",
    "people",
    "someone",
    "me",
    "guy",
    "lady",
    "gentleman",
    "portrait",
];

/// The text with the adapter's word behind the word for the person, unless it is there already.
pub fn with_trigger(text: &str, word: &str) -> String {
    if text.split_whitespace().any(|said| said.trim_matches(',') == word) {
        return text.to_owned();
    }
    let mut out = Vec::new();
    let mut put = false;
    for said in text.split_whitespace() {
        let bare = said.trim_end_matches(',');
        let comma = if bare.len() < said.len() { "," } else { "" };
        if !put && NOUNS.contains(&fold(bare).as_str()) {
            put = true;
            out.push(format!("{bare} {word}{comma}"));
        } else {
            out.push(said.to_owned());
        }
    }
    let text = out.join(" ");
    if put { text } else { format!("a person {word}, {text}").trim_end_matches(", ").to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_person_stands_first_and_once() {
        let words = "me as an astronaut with a red hat in the forest smiling at beach castle and man";
        let vocabulary =
            Vocabulary { words: words.split(' ').map(Into::into).collect(), phrases: Default::default() };
        for (text, said) in [
            ("two people at the beach", "me at the beach"),
            ("a naked mole-rat and me", "me"),
            ("a castle and me", "me, a castle"),
            ("in the forest with me", "me in the forest"),
            ("me and me as astronauts", "me as an astronaut"),
            ("a man in the forest", "a man in the forest"),
            ("me smiling, with a red hat", "me smiling, with a red hat"),
            ("me, smiling", "me, smiling"),
            ("a lighthouse", "me"),
        ] {
            assert_eq!(in_own_words(text, &vocabulary, true).prompt, said, "{text}");
        }
        assert_eq!(in_own_words("a castle", &vocabulary, false).prompt, "a castle");
    }

    #[test]
    fn the_trigger_stands_once_behind_the_person() {
        for (text, with) in [
            ("a person in the snow", "a person img in the snow"),
            ("a man img in the snow", "a man img in the snow"),
            ("a person, a castle and a person", "a person img, a castle and a person"),
            ("a lighthouse", "a person img, a lighthouse"),
        ] {
            assert_eq!(with_trigger(text, "img"), with);
        }
    }
}
