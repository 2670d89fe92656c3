//! What is asked of a search server where no model words it: the idea without the person. A stranger's server learns no
//! more than it needs, and "me" finds nothing.

use imagine_contract::{Idea, Language};

use crate::knowledge::Knowledge;
use crate::language::split;
use crate::subject::{lead, longest_of};

/// The words to search for.
pub fn of(idea: &Idea, knowledge: &Knowledge) -> String {
    let text = idea.text.trim();
    let language = idea.language.unwrap_or_else(|| knowledge.languages.guess(text));
    let Some(words) = knowledge.languages.of(language) else { return text.to_owned() };
    let all = split(text, language);
    let (mut at, _) = lead(&all, words);
    let mut kept: Vec<&str> = Vec::new();
    let mut after_me = false;
    while let Some(rest) = all.get(at..).filter(|rest| !rest.is_empty()) {
        let me = longest_of(rest, &words.me).map(|(length, _)| length);
        let me =
            me.or_else(|| rest.first().filter(|word| after_me && words.am.contains(&word.lower)).map(|_| 1));
        if let Some(length) = me {
            after_me = true;
            at += length;
            continue;
        }
        after_me = false;
        kept.extend(rest.first().filter(|token| token.is_word()).map(|token| token.raw.as_str()));
        at += 1;
    }
    // "dell' Arancia" was one word
    let query = kept.join(" ").replace("' ", "'");
    if query.is_empty() { text.to_owned() } else { query }
}

/// Whether an idea names something that the lexicon does not know: a small model says of such things too that it
/// knows them. German has capitals everywhere, so there nobody can tell.
#[cfg_attr(not(any(feature = "llama", test)), expect(dead_code, reason = "only a local model is asked"))]
pub fn names_the_unknown(idea: &Idea, knowledge: &Knowledge) -> bool {
    let language = idea.language.unwrap_or_else(|| knowledge.languages.guess(&idea.text));
    let words = split(&idea.text, language);
    let known = |at: usize| {
        let keys: Vec<String> = words.iter().skip(at).take(5).map(|token| token.key.clone()).collect();
        let me = knowledge.languages.of(language).is_some_and(|words| words.me.contains(&keys.join(" ")));
        let first = keys.first().map(String::as_str).unwrap_or_default();
        me || first.len() < 3 || knowledge.lexicon.find(language, &keys).is_some()
    };
    let named = |at: usize| words.get(at).is_some_and(|token| token.is_capital());
    language != Language::German && (1..words.len()).any(|at| named(at) && !known(at))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_person_is_not_searched_for() {
        let knowledge = Knowledge::built_in().unwrap();
        for (text, query) in [
            ("me at the Battle of the Oranges in Ivrea", "at the Battle of the Oranges in Ivrea"),
            ("Imagine me at the Palio di Siena!", "at the Palio di Siena"),
            ("I'm at the Up Helly Aa", "at the Up Helly Aa"),
            ("io sono alla Battaglia dell’Arancia", "alla Battaglia dell'Arancia"),
            ("yo en las Fallas de Valencia", "en las Fallas de Valencia"),
            ("je suis au carnaval de Dunkerque", "au carnaval de Dunkerque"),
            ("ich bin beim Schäfflertanz", "beim Schäfflertanz"),
            ("me", "me"),
        ] {
            assert_eq!(of(&Idea::new(text, 0), &knowledge), query, "{text}");
        }
    }

    #[test]
    fn names_that_no_lexicon_has_are_looked_up() {
        let knowledge = Knowledge::built_in().unwrap();
        for (text, unknown) in [
            ("me at the Battle of the Oranges in Ivrea", true),
            ("io al Palio di Asti", true),
            ("me in a red hat", false),
            ("me and I in Paris", false),
            ("Me as a knight", false),
            ("ich mit einem Fernrohr", false),
        ] {
            assert_eq!(names_the_unknown(&Idea::new(text, 0), &knowledge), unknown, "{text}");
        }
    }
}
