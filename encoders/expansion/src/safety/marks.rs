//! A wish as the classifier sees it: words, names as one mark whoever is meant, ages, and what each word is about.

use std::collections::BTreeSet;

use super::rules::{Rules, words};
use crate::data::{DataError, lines};
use crate::lexicon::Lexicon;
use crate::words::{Phrases, Token};

const FILE: &str = "refusals/concepts.tsv";

/// A word, or several that stand for one thing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    pub word: String,
    /// What it is about, by number; sorted.
    pub concepts: Vec<u16>,
    /// What the lexicon has for it in English, by whichever language knows the word.
    pub meanings: Vec<String>,
}

impl Mark {
    /// Whether somebody is named here.
    pub fn is_name(&self) -> bool {
        self.concepts.contains(&(Special::Name as u16))
    }
}

/// Reads wishes.
#[derive(Clone, Debug)]
pub struct Marker {
    /// Famous names, names known for crimes, and names of places and stories.
    famous: Phrases<()>,
    infamous: Phrases<()>,
    elsewhere: Phrases<()>,
    /// First words of the famous names: given names, mostly.
    given: BTreeSet<String>,
    /// Phrases that look like what is refused and are not.
    idioms: Phrases<()>,
    concepts: Phrases<u16>,
    under_age: Phrases<()>,
    lexicon: Lexicon,
}

/// Concepts that are found otherwise than by a list of words; their numbers come first.
#[derive(Clone, Copy, Debug)]
enum Special {
    /// Somebody is named, in whatever way.
    Name,
    Famous,
    Infamous,
    /// A name that no list has: a given name and another word, or two capitals.
    Unlisted,
    /// One capital: a name perhaps.
    Capital,
    /// Something belongs to whom the word before names.
    Owner,
    /// A place, or somebody of a story.
    Elsewhere,
    UnderAge,
    GrownUp,
    Idiom,
    /// A place that the lexicon has.
    Place,
}

const SPECIAL: u16 = 11;

/// Little words inside a name: "Ursula von der Leyen".
const PARTICLES: [&str; 15] =
    ["von", "van", "de", "der", "di", "da", "del", "della", "la", "le", "bin", "el", "den", "d", "o"];

/// Words of a name at most.
const LONGEST_NAME: usize = 5;

impl Marker {
    /// The marks of the rules' groups and of the concepts that are built in.
    ///
    /// # Errors
    /// [`DataError`] names what is wrong.
    pub fn built_in(rules: &Rules) -> Result<Self, DataError> {
        let mut concepts = Phrases::new();
        let mut idioms = Phrases::new();
        let mut elsewhere = Phrases::new();
        let mut next = SPECIAL;
        for (name, group) in rules.groups() {
            match name.as_str() {
                "no_real_person" => group.each(|phrase| elsewhere.add(phrase, ())),
                "innocent" => group.each(|phrase| idioms.add(phrase, ())),
                _ => group.each(|phrase| concepts.add(phrase, next)),
            }
            next += 1;
        }
        rules.excused_phrases().for_each(|phrases| phrases.each(|phrase| idioms.add(phrase, ())));
        for (number, line) in lines(include_str!("../../data/refusals/concepts.tsv")) {
            let Some((name, list)) = line.split_once('\t') else {
                return Err(DataError::new(FILE, format!("line {number} has no tab")));
            };
            for phrase in list.split('|').map(str::trim) {
                match name {
                    "idiom" => idioms.add(phrase, ()),
                    "elsewhere" => elsewhere.add(phrase, ()),
                    _ => concepts.add(phrase, next),
                }
            }
            next += 1;
        }
        let lexicon = Lexicon::built_in()?;
        let mut given = BTreeSet::new();
        rules.famous().each(|name| {
            let words: Vec<&str> = name.split(' ').collect();
            if let [first, _, ..] = words.as_slice() {
                let common = lexicon.meanings(&[(*first).to_owned()]).next().is_some();
                let title = ["king", "queen", "prince", "princess", "papa", "lady", "pope", "kaiser", "bad"];
                if first.len() >= 3 && !common && !title.contains(first) && !PARTICLES.contains(first) {
                    given.insert((*first).to_owned());
                }
            }
        });
        let under_age = rules.group("under_age").cloned().unwrap_or_default();
        let (famous, infamous) = (rules.famous().clone(), rules.infamous().clone());
        Ok(Self { famous, infamous, elsewhere, given, idioms, concepts, under_age, lexicon })
    }

    /// The marks of a text, in their order.
    pub fn marks(&self, text: &str) -> Vec<Mark> {
        let (tokens, keys) = words(text);
        let mut marks = Vec::new();
        let mut at = 0;
        while at < keys.len() {
            let rest = keys.get(at..).unwrap_or_default();
            let name = self.name(at, &tokens, rest);
            let idiom = self.idioms.longest(rest).map_or(0, |(length, ())| length);
            let story = self.elsewhere.longest(rest).map_or(0, |(length, ())| length);
            if idiom > 0 && idiom >= name.0 {
                // Its words say nothing by themselves.
                let word = rest.get(..idiom).unwrap_or_default().join("_");
                marks.push(Mark { word, concepts: vec![Special::Idiom as u16], meanings: Vec::new() });
                at += idiom;
            } else if story > 0 && story >= name.0 {
                let concepts = vec![Special::Elsewhere as u16];
                marks.push(Mark { word: "<elsewhere>".into(), concepts, meanings: Vec::new() });
                at += story;
            } else if let (length @ 1.., kind) = name {
                let concepts = vec![Special::Name as u16, kind as u16];
                marks.push(Mark { word: "<name>".into(), concepts, meanings: Vec::new() });
                let last = tokens.get(at + length - 1);
                if last.is_some_and(|token| token.raw.ends_with("'s")) {
                    let concepts = vec![Special::Owner as u16];
                    marks.push(Mark { word: "<own>".into(), concepts, meanings: Vec::new() });
                }
                at += length;
            } else {
                marks.push(self.word(at, &tokens, rest));
                at += 1;
            }
        }
        marks
    }

    fn word(&self, at: usize, tokens: &[Token], rest: &[String]) -> Mark {
        let key = rest.first().map(String::as_str).unwrap_or_default();
        let mut concepts: Vec<u16> = self.concepts.all(rest).map(|(_, concept)| *concept).collect();
        let places = &mut false;
        let mut meanings: Vec<String> = Vec::new();
        for (_, entry) in self.lexicon.meanings(rest) {
            *places |= entry.kind == crate::lexicon::Kind::Name;
            meanings.push(entry.english.clone());
        }
        meanings.sort();
        meanings.dedup();
        let number = key.chars().all(|c| c.is_ascii_digit());
        let young = self.under_age.any(&[key.to_owned()]);
        if number {
            concepts.push(if young { Special::UnderAge } else { Special::GrownUp } as u16);
        }
        if *places {
            concepts.push(Special::Place as u16);
        }
        // In the middle, and nothing that is known: German writes nouns so as well.
        let capital = at > 0 && tokens.get(at).is_some_and(|t| t.is_capital() && t.raw.chars().count() > 1);
        if capital && concepts.is_empty() && meanings.is_empty() {
            concepts.push(Special::Capital as u16);
        }
        concepts.sort_unstable();
        concepts.dedup();
        let word = if number { "<number>".to_owned() } else { key.to_owned() };
        Mark { word, concepts, meanings }
    }

    /// How many words a name takes at a place, and how it is known.
    fn name(&self, at: usize, tokens: &[Token], rest: &[String]) -> (usize, Special) {
        let listed = |list: &Phrases<()>| list.longest(rest).map_or(0, |(length, ())| length);
        let (infamous, famous) = (listed(&self.infamous), listed(&self.famous));
        let own = |word: &String| word.strip_suffix('s').map(str::to_owned);
        if infamous > 0 && infamous >= famous {
            return (infamous, Special::Infamous);
        }
        // "Dwayne Johnsons Körper"
        let stripped = (2..=LONGEST_NAME.min(rest.len())).find(|length| {
            let Some((last, before)) = rest.get(..*length).and_then(<[String]>::split_last) else {
                return false;
            };
            own(last).is_some_and(|last| {
                let name = [before, &[last]].concat();
                self.famous.lengths(&name).contains(length)
            })
        });
        let unlisted = self.unlisted(at, tokens, rest);
        match stripped.unwrap_or(famous).max(famous) {
            0 => (unlisted, Special::Unlisted),
            length if unlisted > length => (unlisted, Special::Unlisted),
            length => (length, Special::Famous),
        }
    }

    /// Two capitals, or a given name and a capital, or a given name and a word that nothing knows.
    fn unlisted(&self, at: usize, tokens: &[Token], rest: &[String]) -> usize {
        let [first, ..] = rest else { return 0 };
        let given = self.given.contains(first);
        let capital = |at: usize| tokens.get(at).is_some_and(Token::is_capital);
        let known = |word: &String| {
            let one = std::slice::from_ref(word);
            self.concepts.all(one).next().is_some() || self.lexicon.meanings(one).next().is_some()
        };
        let mut length = 1;
        while length <= 2 && rest.get(length).is_some_and(|word| PARTICLES.contains(&word.as_str())) {
            length += 1;
        }
        let Some(last) = rest.get(length).filter(|word| word.len() > 1) else { return 0 };
        let long = first.len() > 1 || tokens.get(at).is_some_and(|t| t.raw.len() == 1);
        let fits = match (given, capital(at), capital(at + length)) {
            (true, true, true) => true,
            (true, false, false) => length == 1 && last.len() > 3 && !known(last),
            (false, true, true) => at > 0 && long && length == 1 && !known(first) && !known(last),
            _ => false,
        };
        if fits { length + 1 } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn names_are_one_mark_whoever_is_meant() {
        let marker = Marker::built_in(&Rules::built_in().unwrap()).unwrap();
        for (text, expected) in [
            ("me hitting Emma Watson", "me hitting <name>"),
            ("me and zoltan hargreaves", "me and zoltan hargreaves"),
            ("me and emma hargreaves", "me and <name>"),
            ("me and Zoltan Hargreaves", "me and <name>"),
            ("me in Shaquille O'Neal's car", "me in <name> <own> car"),
            ("ich mit Ursula von der Leyen", "ich mit <name>"),
            ("ich trete Dwayne Johnsons Auto", "ich trete <name> auto"),
            ("me as James Bond in New York", "me as james_bond in new_york"),
            ("me stealing the show, 14 times", "me stealing_the_show <number> times"),
        ] {
            let marks = marker.marks(text);
            let words: Vec<&str> = marks.iter().map(|mark| mark.word.as_str()).collect();
            assert_eq!(words.join(" "), expected);
        }
    }
}
