//! Which clauses of a text a model with a small vocabulary understands. Such a model is spoken to in whole clauses: words
//! left over from a broken one would draw something else.

use crate::dialect::Vocabulary;

/// Words between clauses: what follows one stands or falls together.
const OPENERS: [&str; 22] = [
    "in", "on", "at", "with", "wearing", "as", "under", "over", "near", "behind", "beside", "inside",
    "among", "through", "into", "from", "of", "during", "and", "like", "dressed", "by",
];
/// Words that say nothing alone.
const LITTLE: [&str; 14] =
    ["a", "an", "the", "my", "their", "and", "of", "in", "on", "at", "with", "as", "very", "is"];
const ARTICLES: [&str; 3] = ["a", "an", "the"];
const NUMBERS: [&str; 5] = ["two", "three", "four", "five", "both"];
/// Somebody: a clause ends behind such a word, so that "me" stays where "me hiking" cannot.
const SOMEBODY: [&str; 7] = ["me", "i", "myself", "person", "someone", "man", "woman"];

/// A text in the model's words, and the clauses that it lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Clauses {
    pub kept: Vec<String>,
    pub dropped: Vec<String>,
}

impl Clauses {
    /// What is kept, as one text.
    pub fn text(&self) -> String {
        let text = self.kept.join(" ");
        let text = text.strip_prefix("and ").unwrap_or(&text);
        text.trim_matches(|c: char| ",.;: ".contains(c)).to_owned()
    }
}

/// Whether a word says nothing without others: an article, a preposition.
pub fn is_little(word: &str) -> bool {
    LITTLE.contains(&word) || OPENERS.contains(&word)
}

/// Whether a clause speaks of somebody.
pub fn is_somebody(clause: &str) -> bool {
    clause.split_whitespace().any(|word| SOMEBODY.contains(&bare(word).as_str()))
}

/// The clauses of an English text whose telling words the model all knows, "as pirates" in the singular if it knows that alone.
pub fn known_clauses(text: &str, vocabulary: &Vocabulary) -> Clauses {
    let mut found = Clauses::default();
    // Whether the last clause that was kept is one that "of" may take back.
    let mut before_of = false;
    for clause in split(text) {
        let opener = clause.first().map(|word| bare(word)).unwrap_or_default();
        let kept = in_words_of(&clause, vocabulary);
        let said = clause.join(" ");
        match kept {
            Some(kept) => found.kept.push(kept),
            None => {
                // "with the face of a lion" is no face, "at the beach of Rimini" is a beach
                let whole = (opener == "of" && before_of).then(|| found.kept.pop()).flatten();
                let whole = whole.map_or(said.clone(), |start| format!("{start} {said}"));
                found.dropped.push(whole.trim_end_matches(',').to_owned());
            }
        }
        before_of = opener == "with";
    }
    found
}

fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

fn split(text: &str) -> Vec<Vec<&str>> {
    let mut clauses: Vec<Vec<&str>> = vec![Vec::new()];
    for word in text.split_whitespace() {
        let opens = OPENERS.contains(&bare(word).as_str());
        let last = clauses.last().and_then(|clause| clause.last()).copied().unwrap_or_default();
        let ended = last.ends_with([',', '.', ';']) || SOMEBODY.contains(&bare(last).as_str());
        // "dressed as a king": one clause
        let all_open = clauses
            .last()
            .is_some_and(|c| c.iter().all(|w| OPENERS.contains(&bare(w).as_str())) && !c.is_empty());
        if ended || (opens && !all_open) {
            clauses.push(Vec::new());
        }
        if let Some(clause) = clauses.last_mut() {
            clause.push(word);
        }
    }
    clauses.retain(|clause| !clause.is_empty());
    clauses
}

/// A clause as the model may hear it; none where it would not say the same.
fn in_words_of(clause: &[&str], vocabulary: &Vocabulary) -> Option<String> {
    let is_role = clause.iter().any(|word| bare(word) == "as");
    let ends = clause.last().is_some_and(|word| word.ends_with(','));
    let mut words: Vec<String> = Vec::new();
    let mut says = false;
    let mut singular = false;
    for (i, raw) in clause.iter().enumerate() {
        let word = bare(raw);
        let is_last = i + 1 == clause.len();
        if vocabulary.knows(&word) {
            says |= !is_little(&word);
            words.push(word);
        } else if let Some(one) = singular_of(&word).filter(|one| is_role && vocabulary.knows(one)) {
            (says, singular) = (true, true);
            words.push(one);
        } else if !is_role && vocabulary.knows(&format!("{word}s")) && word.len() > 2 {
            // "a mountain" where "mountains" is known
            says = true;
            if words.last().is_some_and(|word| ["a", "an"].contains(&word.as_str())) {
                words.pop();
            }
            words.push(format!("{word}s"));
        } else if LITTLE.contains(&word.as_str()) || word.is_empty() {
        } else if is_role && !is_last && !OPENERS.contains(&word.as_str()) {
            // "as a brave knight" is as a knight, "as two knights" too
            singular |= NUMBERS.contains(&word.as_str());
        } else {
            return None;
        }
    }
    if singular && !words.iter().any(|word| ARTICLES.contains(&word.as_str())) {
        let behind = words.iter().rposition(|word| word == "as").map_or(0, |at| at + 1);
        words.insert(behind, "a".to_owned());
    }
    while words.last().is_some_and(|word| is_little(word)) {
        words.pop();
    }
    for i in 1..words.len() {
        let vowel = words.get(i).is_some_and(|word| word.starts_with(['a', 'e', 'i', 'o', 'u']));
        if let Some(article) = words.get_mut(i - 1).filter(|word| ["a", "an"].contains(&word.as_str())) {
            let fitting = if vowel { "an" } else { "a" };
            if vocabulary.knows(fitting) {
                *article = fitting.to_owned();
            }
        }
    }
    says.then(|| words.join(" ") + if ends { "," } else { "" })
}

/// One of what a word says several of.
pub fn singular_of(word: &str) -> Option<String> {
    if let Some(stem) = word.strip_suffix("men") {
        return Some(format!("{stem}man"));
    }
    if let Some(stem) = word.strip_suffix("ies") {
        return Some(format!("{stem}y"));
    }
    let stem = word.strip_suffix('s')?;
    let longer = ["ches", "shes", "sses", "xes"].iter().any(|end| word.ends_with(end));
    Some(if longer { stem.strip_suffix('e').unwrap_or(stem) } else { stem }.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary() -> Vocabulary {
        let words = "me a an the my and as an astronaut with red hat in on forest wearing smiling kitchen chef at pirate face man \
                     beach witch i king brown vest mountains";
        Vocabulary { words: words.split_whitespace().map(Into::into).collect(), phrases: Default::default() }
    }

    #[test]
    fn clauses_with_unknown_words_go_as_a_whole() {
        for (text, kept) in [
            ("me hiking in the Dolomites", "me"),
            ("me as an astronaut on the moon", "me as an astronaut"),
            ("me as an astronaut, smiling", "me as an astronaut, smiling"),
            ("me wearing a red hat in the forest", "me wearing a red hat in the forest"),
            ("me in a blue dress with a red hat", "me with a red hat"),
            ("me as a chef and my dog", "me as a chef"),
            ("a naked mole-rat and me", "me"),
            ("me with the face of a lion", "me"),
            ("me at the beach of Rimini", "me at the beach"),
            ("a person on the moon with a dog", ""),
            ("wearing green trousers and a red hat", "a red hat"),
            ("me with their hat", "me with hat"),
            ("me wearing", "me"),
            ("me with a mountain", "me with mountains"),
            ("a mountain", "mountains"),
        ] {
            assert_eq!(known_clauses(text, &vocabulary()).text(), kept, "{text}");
        }
    }

    #[test]
    fn what_is_lost_is_named_by_the_clause() {
        let made = known_clauses("me on the moon with a dog", &vocabulary());
        assert_eq!(made.dropped, ["on the moon", "with a dog"]);
        assert_eq!(
            known_clauses("me with the face of a lion", &vocabulary()).dropped,
            ["with the face of a lion"]
        );
    }

    #[test]
    fn roles_are_kept_in_the_singular_and_without_unknown_adjectives() {
        for (text, kept) in [
            ("me and my brother as pirates", "me as a pirate"),
            ("me as two witches", "me as a witch"),
            ("me dressed as pirates", "me"),
            ("me as a brave astronaut", "me as an astronaut"),
            ("me as a pirate accountant", "me"),
            ("me as beekeepers", "me"),
        ] {
            assert_eq!(known_clauses(text, &vocabulary()).text(), kept, "{text}");
        }
    }
}
