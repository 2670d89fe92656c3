//! What a dialect asks of a subject: only known words, the adapter's trigger word.

use imagine_contract::Vocabulary;

use crate::words::fold;

/// Words between clauses: what follows one stands or falls together.
const OPENERS: [&str; 22] = [
    "in", "on", "at", "with", "wearing", "as", "under", "over", "near", "behind", "beside", "inside",
    "among", "through", "into", "from", "of", "during", "and", "like", "dressed", "by",
];
/// Words that say nothing alone.
const LITTLE: [&str; 14] =
    ["a", "an", "the", "my", "their", "and", "of", "in", "on", "at", "with", "as", "very", "is"];

/// The clauses of a text that a model understands: those whose telling words it knows. The first one, the person, stays.
pub fn known_clauses(text: &str, vocabulary: &Vocabulary) -> String {
    let mut clauses: Vec<Vec<&str>> = vec![Vec::new()];
    for word in text.split_whitespace() {
        let opens = OPENERS.contains(&fold(word).as_str());
        let after_comma = clauses.last().and_then(|c| c.last()).is_some_and(|last| last.ends_with(','));
        // "dressed as a king": one clause
        let glued = clauses.last().is_some_and(|c| c.iter().all(|w| OPENERS.contains(w)) && !c.is_empty());
        if after_comma || (opens && !glued) {
            clauses.push(Vec::new());
        }
        if let Some(clause) = clauses.last_mut() {
            clause.push(word);
        }
    }
    let bare = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
    let mut kept: Vec<String> = Vec::new();
    for (i, clause) in clauses.iter().enumerate() {
        let telling: Vec<String> =
            clause.iter().map(|word| bare(word)).filter(|word| !LITTLE.contains(&word.as_str())).collect();
        let known = telling.iter().filter(|word| vocabulary.knows(word)).count();
        if i == 0 {
            let first: Vec<&str> =
                clause.iter().copied().filter(|word| vocabulary.knows(&bare(word))).collect();
            kept.push(first.join(" "));
        } else if known > 0 && known == telling.len() {
            kept.push(clause.join(" "));
        }
    }
    kept.retain(|clause| !clause.is_empty());
    let text = kept.join(" ");
    text.trim_matches(|c: char| ",.;: ".contains(c)).to_owned()
}

/// The telling words of a text that a model does not know.
pub fn unknown_words(text: &str, vocabulary: &Vocabulary) -> Vec<String> {
    let words = text.split_whitespace().map(|word| word.trim_matches(|c: char| !c.is_alphanumeric()));
    let little = |word: &str| LITTLE.contains(&word) || OPENERS.contains(&word);
    words
        .filter(|word| !word.is_empty() && !vocabulary.knows(word) && !little(word))
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
    fn clauses_with_unknown_words_go_as_a_whole() {
        let words = "me as an astronaut with a red hat in the forest wearing smiling kitchen chef and at";
        let vocabulary =
            Vocabulary { words: words.split(' ').map(Into::into).collect(), phrases: Default::default() };
        for (text, kept) in [
            ("me hiking in the Dolomites", "me"),
            ("me as an astronaut on the moon", "me as an astronaut"),
            ("me as an astronaut, smiling", "me as an astronaut, smiling"),
            ("me wearing a red hat in the forest", "me wearing a red hat in the forest"),
            ("me in a blue dress with a red hat", "me with a red hat"),
            ("me as a chef and my dog", "me as a chef"),
        ] {
            assert_eq!(known_clauses(text, &vocabulary), kept);
        }
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
