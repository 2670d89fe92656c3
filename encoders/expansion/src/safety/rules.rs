//! Rules of words as data (`data/safety.toml`), read here.

use std::collections::BTreeMap;

use imagine_contract::ExpandError;
use serde::Deserialize;

use crate::data::{DataError, lines};
use crate::words::{Phrases, Token, fold, tokens};

const FILE: &str = "safety.toml";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    groups: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    unions: BTreeMap<String, Vec<String>>,
    negative: Option<Entry>,
    rule: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    reason: String,
    #[serde(default)]
    all: Vec<String>,
    #[serde(default)]
    any: Vec<String>,
    #[serde(default)]
    unless: Vec<String>,
    at_most: Option<usize>,
}

/// What stands somewhere in a text.
#[derive(Clone, Debug)]
enum Item {
    Group(String),
    Famous,
    /// A name known for crimes.
    Infamous,
    /// A famous name, or two capitalised words.
    Person,
    /// A famous name that something belongs to: "Messi's".
    Owner,
    /// One word that is of none of these groups.
    Not(Vec<String>),
}

/// Items in a row with little words at most between them.
type Chain = Vec<Item>;

/// What one part of a rule looks for: any one of these.
type Part = Vec<Chain>;

#[derive(Clone, Debug)]
struct Rule {
    name: String,
    reason: String,
    all: Vec<Part>,
    any: Vec<Part>,
    /// Phrases and chains that look like what the rule is about, and are taken away first.
    unless: Phrases<()>,
    unless_chains: Vec<Chain>,
    /// How many of these chains may excuse one text.
    at_most: usize,
}

/// The rules.
#[derive(Clone, Debug)]
pub struct Rules {
    groups: BTreeMap<String, Phrases<()>>,
    famous: Phrases<()>,
    infamous: Phrases<()>,
    rules: Vec<Rule>,
    /// What a negative prompt may not take away.
    negative: Option<Rule>,
}

/// The group of words that may stand between the items of a chain, and how many of them at most.
const BETWEEN: &str = "between";
const LONGEST_GAP: usize = 4;

impl Rules {
    /// The rules that are built in.
    ///
    /// # Errors
    /// [`DataError`] names what is wrong.
    pub fn built_in() -> Result<Self, DataError> {
        let (famous, infamous) =
            (include_str!("../../data/famous.txt"), include_str!("../../data/infamous.txt"));
        Self::parse(include_str!("../../data/safety.toml"), famous, infamous)
    }

    fn parse(rules: &str, famous: &str, infamous: &str) -> Result<Self, DataError> {
        let file: File = toml::from_str(rules).map_err(|e| DataError::new(FILE, e))?;
        let phrases = |list: &[String]| {
            let mut phrases = Phrases::new();
            list.iter().for_each(|phrase| phrases.add(phrase, ()));
            phrases
        };
        let groups: BTreeMap<String, Phrases<()>> =
            file.groups.iter().map(|(name, list)| (name.clone(), phrases(list))).collect();
        let no_group = |name: &str| DataError::new(FILE, format!("there is no group {name:?}"));
        let group_of = |name: &str| file.groups.get(name).ok_or_else(|| no_group(name));
        let item = |text: &str| match text {
            "@famous" => Ok(Item::Famous),
            "@infamous" => Ok(Item::Infamous),
            "@person" => Ok(Item::Person),
            "@owner" => Ok(Item::Owner),
            others if others.starts_with('!') => {
                let names = others.trim_start_matches('!').split('|');
                let known = |name: &str| match groups.contains_key(name) {
                    true => Ok(name.to_owned()),
                    false => Err(no_group(name)),
                };
                names.map(known).collect::<Result<_, _>>().map(Item::Not)
            }
            group if groups.contains_key(group) => Ok(Item::Group(group.to_owned())),
            group => Err(no_group(group)),
        };
        let chain = |text: &String| text.split('+').map(item).collect::<Result<Chain, _>>();
        let mut unions: BTreeMap<&str, Part> = BTreeMap::new();
        // A union may name one that stands before it in the alphabet.
        for (name, list) in &file.unions {
            let mut part = Part::new();
            for text in list {
                match unions.get(text.as_str()) {
                    Some(other) => part.extend(other.clone()),
                    None => part.push(chain(text)?),
                }
            }
            unions.insert(name, part);
        }
        let part = |text: &String| match unions.get(text.as_str()) {
            Some(part) => Ok(part.clone()),
            None => Ok(vec![chain(text)?]),
        };
        let rule = |entry: Entry| {
            let is_chain = |text: &String| text.contains(['+', '@']);
            let (chains, phrased): (Vec<String>, Vec<String>) = entry.unless.into_iter().partition(is_chain);
            let mut excused = Vec::new();
            for text in phrased {
                match text.strip_prefix('=') {
                    Some(group) => excused.extend(group_of(group)?.iter().cloned()),
                    None => excused.push(text),
                }
            }
            Ok(Rule {
                all: entry.all.iter().map(part).collect::<Result<_, _>>()?,
                any: entry.any.iter().map(part).collect::<Result<_, _>>()?,
                unless: phrases(&excused),
                unless_chains: chains.iter().map(chain).collect::<Result<_, _>>()?,
                at_most: entry.at_most.unwrap_or(usize::MAX),
                name: entry.name,
                reason: entry.reason,
            })
        };
        let negative = file.negative.map(rule).transpose()?;
        let rules = file.rule.into_iter().map(rule).collect::<Result<_, _>>()?;
        // Words are parted at apostrophes, and so are names: "Shaquille O'Neal".
        let named = |text| phrases(&lines(text).map(|(_, line)| line.replace('\'', " ")).collect::<Vec<_>>());
        Ok(Self { groups, famous: named(famous), infamous: named(infamous), rules, negative })
    }

    /// The groups of words by name.
    pub fn groups(&self) -> &BTreeMap<String, Phrases<()>> {
        &self.groups
    }

    pub fn group(&self, name: &str) -> Option<&Phrases<()>> {
        self.groups.get(name)
    }

    pub fn famous(&self) -> &Phrases<()> {
        &self.famous
    }

    pub fn infamous(&self) -> &Phrases<()> {
        &self.infamous
    }

    /// What looks like what the rules are about and is not.
    pub fn excused_phrases(&self) -> impl Iterator<Item = &Phrases<()>> {
        self.rules.iter().map(|rule| &rule.unless)
    }

    /// Whether a text names somebody of our time.
    pub fn names_somebody(&self, text: &str) -> bool {
        self.famous.any(&words(text).1)
    }

    /// Checks a text.
    ///
    /// # Errors
    /// [`ExpandError::Refused`] by the first rule that applies.
    pub fn check(&self, text: &str) -> Result<(), ExpandError> {
        let (tokens, keys) = words(text);
        self.rules.iter().try_for_each(|rule| self.apply(rule, &tokens, &keys, &mut rule.at_most.clone()))
    }

    /// Checks a negative prompt. Words of undressing are welcome there; words for clothes are not, since a picture
    /// without them is one of somebody undressed. Which clothes ("modern clothes") may be said.
    ///
    /// # Errors
    /// [`ExpandError::Refused`].
    pub fn check_negative(&self, text: &str) -> Result<(), ExpandError> {
        let Some(rule) = &self.negative else { return Ok(()) };
        // "clothes, modern buildings" says nothing of which clothes: each entry of the list by itself.
        let mut left = rule.at_most;
        text.split([',', ';', '\n']).try_for_each(|entry| {
            let (tokens, keys) = words(entry);
            self.apply(rule, &tokens, &keys, &mut left)
        })
    }

    /// Refuses words that a rule is about. `left` is how many chains may still excuse them.
    fn apply(
        &self,
        rule: &Rule,
        tokens: &[Token],
        keys: &[String],
        left: &mut usize,
    ) -> Result<(), ExpandError> {
        let (tokens, keys) = without(&rule.unless, tokens, keys);
        let (tokens, keys) = self.excused(rule, &tokens, &keys, left);
        let holds = |part: &Part| part.iter().any(|chain| self.anywhere(chain, &tokens, &keys));
        let all = !rule.all.is_empty() && rule.all.iter().all(holds);
        if all || rule.any.iter().any(holds) {
            return Err(ExpandError::Refused { rule: rule.name.clone(), reason: rule.reason.clone() });
        }
        Ok(())
    }

    /// The words without the chains that the rule excuses, `left` of them at most.
    fn excused(
        &self,
        rule: &Rule,
        tokens: &[Token],
        keys: &[String],
        left: &mut usize,
    ) -> (Vec<Token>, Vec<String>) {
        let mut kept = (Vec::new(), Vec::new());
        let mut at = 0;
        while let (Some(token), Some(key)) = (tokens.get(at), keys.get(at)) {
            let ends = rule.unless_chains.iter().filter_map(|chain| self.chain_end(chain, at, tokens, keys));
            if let Some(end) = ends.max().filter(|_| *left > 0) {
                *left -= 1;
                at = end;
                continue;
            }
            kept.0.push(token.clone());
            kept.1.push(key.clone());
            at += 1;
        }
        kept
    }

    fn anywhere(&self, chain: &[Item], tokens: &[Token], keys: &[String]) -> bool {
        (0..keys.len()).any(|at| self.chain_at(chain, at, tokens, keys))
    }

    /// Whether a chain begins right at a word.
    fn chain_at(&self, chain: &[Item], at: usize, tokens: &[Token], keys: &[String]) -> bool {
        self.chain_end(chain, at, tokens, keys).is_some()
    }

    /// Where the words of a chain end that begins right at a word.
    fn chain_end(&self, chain: &[Item], at: usize, tokens: &[Token], keys: &[String]) -> Option<usize> {
        let [first, rest @ ..] = chain else { return Some(at) };
        // Each phrase that fits here is tried: "dressed in" and "dressed in nothing" go on differently.
        self.lengths(first, at, tokens, keys).into_iter().find_map(|length| {
            let start = at + length;
            if rest.is_empty() {
                return Some(start);
            }
            for next in start..=start + LONGEST_GAP {
                if let Some(end) = self.chain_end(rest, next, tokens, keys) {
                    return Some(end);
                }
                if !self.is_between(keys.get(next)) {
                    return None;
                }
            }
            None
        })
    }

    fn is_between(&self, key: Option<&String>) -> bool {
        let little = self.groups.get(BETWEEN);
        key.is_some_and(|key| little.is_some_and(|little| little.any(std::slice::from_ref(key))))
    }

    /// How many words an item may take at a place.
    fn lengths(&self, item: &Item, at: usize, tokens: &[Token], keys: &[String]) -> Vec<usize> {
        let rest = keys.get(at..).unwrap_or_default();
        match item {
            Item::Group(name) => self.groups.get(name).map(|group| group.lengths(rest)).unwrap_or_default(),
            Item::Famous => self.famous.lengths(rest),
            Item::Infamous => self.infamous.lengths(rest),
            Item::Owner => self.owners(at, tokens, rest),
            Item::Not(names) => {
                let one_of = |name: &String| self.groups.get(name).is_some_and(|g| g.longest(rest).is_some());
                let other = !rest.is_empty() && !names.iter().any(one_of);
                Vec::from_iter(other.then_some(1))
            }
            Item::Person => {
                let capital =
                    |token: Option<&Token>| token.is_some_and(|t| t.is_capital() && t.raw.len() > 1);
                let pair = at > 0 && capital(tokens.get(at)) && capital(tokens.get(at + 1));
                let mut lengths = self.famous.lengths(rest);
                lengths.extend(pair.then_some(2));
                lengths
            }
        }
    }
}

impl Rules {
    /// Famous names that something belongs to: "Messi's", "Messis", "Serena Williams'".
    fn owners(&self, at: usize, tokens: &[Token], rest: &[String]) -> Vec<usize> {
        let owns = |length: &usize| tokens.get(at + length - 1).is_some_and(is_owner);
        let mut lengths: Vec<usize> = self.famous.lengths(rest).into_iter().filter(owns).collect();
        for length in 1..=LONGEST_NAME.min(rest.len()) {
            let Some((last, before)) = rest.get(..length).and_then(<[String]>::split_last) else { continue };
            let Some(stem) = last.strip_suffix('s') else { continue };
            let known = |end: &str| {
                let name = [before, &[end.to_owned()]].concat();
                self.famous.lengths(&name).contains(&length)
            };
            if known(stem) || known(last) {
                lengths.push(length);
            }
        }
        lengths
    }
}

/// Words of a name that the list has.
const LONGEST_NAME: usize = 4;

/// What a word ends with that something belongs to.
const OWN: &str = "'s";

/// Whether something belongs to whom a word names.
fn is_owner(token: &Token) -> bool {
    token.raw.ends_with(OWN)
}

/// Words and their folded forms with disguises undone: "n4ked", "n.u.d.e", "pørn".
pub fn words(text: &str) -> (Vec<Token>, Vec<String>) {
    let joined = spelled_out(text);
    let tokens: Vec<Token> = tokens(&joined, false).into_iter().filter(Token::is_word).collect();
    // "Trump's" is about Trump, "naked-ish" about naked
    let parts = tokens.iter().flat_map(|token| {
        let own = token.raw.strip_suffix(OWN).or_else(|| token.raw.strip_suffix("'S"));
        let parts =
            own.unwrap_or(&token.raw).split(['-', '_', '\'']).filter(|part| !part.is_empty() && *part != "s");
        let mut parts = parts.flat_map(|part| crate::words::tokens(part, false)).collect::<Vec<_>>();
        if let Some(last) = parts.last_mut().filter(|_| own.is_some()) {
            last.raw.push_str(OWN);
        }
        parts
    });
    let parts: Vec<Token> = parts.collect();
    let keys = parts.iter().map(|token| undisguised(&token.key)).collect();
    (parts, keys)
}

/// Digits and signs back to the letters that they stand for, in words that have letters too.
fn undisguised(key: &str) -> String {
    if !key.chars().any(char::is_alphabetic) {
        return key.to_owned();
    }
    let letter = |c: char| match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    fold(key).chars().map(letter).collect()
}

/// "n a k e d" and "n.a.k.e.d" as one word: runs of four single letters or more.
fn spelled_out(text: &str) -> String {
    let text: String = text.replace(['@', '$', '*'], "a");
    let seen = text.chars().filter(|c| !('\u{200b}'..='\u{200f}').contains(c) && *c != '\u{ad}');
    let spaced: String = seen.map(|c| if ".·•|/".contains(c) { ' ' } else { c }).collect();
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut out: Vec<String> = Vec::new();
    let mut at = 0;
    while at < words.len() {
        let single = |word: &&&str| word.chars().count() == 1 && word.chars().all(char::is_alphanumeric);
        let run = words.get(at..).unwrap_or_default().iter().take_while(single).count();
        if run >= 4 {
            out.push(words.get(at..at + run).unwrap_or_default().concat());
            at += run;
        } else {
            out.push(words.get(at).copied().unwrap_or_default().to_owned());
            at += 1;
        }
    }
    out.join(" ")
}

/// The words without those of an exception.
fn without(unless: &Phrases<()>, tokens: &[Token], keys: &[String]) -> (Vec<Token>, Vec<String>) {
    let mut kept = (Vec::new(), Vec::new());
    let mut at = 0;
    while let (Some(token), Some(key)) = (tokens.get(at), keys.get(at)) {
        if let Some((length, ())) = unless.longest(keys.get(at..).unwrap_or_default()) {
            at += length;
            continue;
        }
        kept.0.push(token.clone());
        kept.1.push(key.clone());
        at += 1;
    }
    kept
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn rule(text: &str) -> Option<String> {
        match Rules::built_in().unwrap().check(text) {
            Err(ExpandError::Refused { rule, reason }) => {
                assert!(reason.ends_with('.'), "{reason}");
                Some(rule)
            }
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn what_is_forbidden_is_refused_by_its_rule() {
        let lines = include_str!("../../tests/refused.tsv").lines().filter(|line| !line.starts_with('#'));
        let cases = lines.map(|line| line.split_once('\t').unwrap());
        let wrong = cases.map(|(name, text)| (name, rule(text), text));
        let wrong: Vec<_> = wrong.filter(|(name, found, _)| found.as_deref() != Some(*name)).collect();
        assert!(wrong.is_empty(), "expected, found: {wrong:#?}");
    }

    #[test]
    fn who_is_known_for_crimes_is_known_as_a_person() {
        let famous = Rules::built_in().unwrap();
        for (_, name) in lines(include_str!("../../data/infamous.txt")) {
            assert!(famous.names_somebody(name), "{name} is missing in famous.txt");
        }
    }

    #[test]
    fn harmless_look_alikes_pass() {
        let lines = include_str!("../../tests/harmless.txt").lines().filter(|line| !line.starts_with('#'));
        let wrong: Vec<_> = lines.filter_map(|text| rule(text).map(|rule| (rule, text))).collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    #[test]
    fn a_negative_prompt_takes_no_clothes_away() {
        let safety = Rules::built_in().unwrap();
        for text in include_str!("../../tests/negative.tsv").lines().filter(|line| !line.starts_with('#')) {
            let (kind, text) = text.split_once('\t').unwrap();
            assert_eq!(safety.check_negative(text).is_err(), kind == "refused", "{text}");
        }
        let bank = crate::bank::Bank::built_in(&crate::topics::Topics::built_in().unwrap()).unwrap();
        for own in [&bank.negative_tags, &bank.negative_sentences] {
            assert_eq!(safety.check_negative(own), Ok(()), "{own}");
        }
    }

    #[test]
    fn chains_bridge_little_words_alone() {
        let text = "[groups]\nbetween = [\"my\"]\nno = [\"no\"]\nhat = [\"hat\", \"straw hat\"]\n[[rule]]\nname = \"x\"\n\
                    reason = \"y\"\nall = [\"no+hat+@famous\"]\n";
        let safety = Rules::parse(text, "ada", "bad bob").unwrap();
        for (text, fits) in [
            ("no hat ada", true),
            ("no my straw hat, my Ada", true),
            ("no hat", false),
            ("no red hat ada", false),
            ("hat no ada", false),
        ] {
            assert_eq!(safety.check(text).is_err(), fits, "{text}");
        }
    }

    #[test]
    fn disguises_are_seen_through() {
        for text in ["me n4ked", "me n.a.k.e.d", "me n a k e d", "me NÄKED", "me n@ked", "me na\u{200b}ked"]
        {
            assert_eq!(rule(text).as_deref(), Some("undressed"), "{text}");
        }
    }

    #[test]
    fn a_rule_about_a_missing_group_is_an_error() {
        let text = "[groups]\n[[rule]]\nname = \"x\"\nreason = \"y\"\nall = [\"z\"]\n";
        let message = Rules::parse(text, "", "").unwrap_err().to_string();
        assert!(message.contains("no group \"z\""), "{message}");
    }
}
