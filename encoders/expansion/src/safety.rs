//! What is refused before anything is computed: rules as data (`data/safety.toml`), read here.

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
}

/// What one part of a rule looks for.
#[derive(Clone, Debug)]
enum Part {
    Group(String),
    /// A phrase of the group right before a famous name.
    BeforeFamous(String),
    Famous,
    /// A famous name, or two capitalised words.
    Person,
}

#[derive(Clone, Debug)]
struct Rule {
    name: String,
    reason: String,
    all: Vec<Part>,
    any: Vec<Part>,
    unless: Phrases<()>,
}

/// The rules.
#[derive(Clone, Debug)]
pub struct Safety {
    groups: BTreeMap<String, Phrases<()>>,
    famous: Phrases<()>,
    rules: Vec<Rule>,
}

/// Words between "as" and a name.
const ARTICLES: [&str; 12] =
    ["a", "the", "young", "un", "una", "il", "la", "el", "le", "der", "die", "president"];

impl Safety {
    /// The rules that are built in.
    ///
    /// # Errors
    /// [`DataError`] names what is wrong.
    pub fn built_in() -> Result<Self, DataError> {
        Self::parse(include_str!("../data/safety.toml"), include_str!("../data/famous.txt"))
    }

    fn parse(rules: &str, names: &str) -> Result<Self, DataError> {
        let file: File = toml::from_str(rules).map_err(|e| DataError::new(FILE, e))?;
        let phrases = |list: &[String]| {
            let mut phrases = Phrases::new();
            list.iter().for_each(|phrase| phrases.add(phrase, ()));
            phrases
        };
        let groups: BTreeMap<String, Phrases<()>> =
            file.groups.iter().map(|(name, list)| (name.clone(), phrases(list))).collect();
        let part = |text: &String| {
            let (group, part) = match text.as_str() {
                "@famous" => return Ok(Part::Famous),
                "@person" => return Ok(Part::Person),
                other => match other.strip_suffix("+@famous") {
                    Some(group) => (group, Part::BeforeFamous(group.to_owned())),
                    None => (other, Part::Group(other.to_owned())),
                },
            };
            match groups.contains_key(group) {
                true => Ok(part),
                false => Err(DataError::new(FILE, format!("there is no group {group:?}"))),
            }
        };
        let rule = |entry: Entry| {
            Ok(Rule {
                all: entry.all.iter().map(part).collect::<Result<_, _>>()?,
                any: entry.any.iter().map(part).collect::<Result<_, _>>()?,
                unless: phrases(&entry.unless),
                name: entry.name,
                reason: entry.reason,
            })
        };
        let rules = file.rule.into_iter().map(rule).collect::<Result<_, _>>()?;
        let names: Vec<String> = lines(names).map(|(_, line)| line.to_owned()).collect();
        let famous = phrases(&names);
        Ok(Self { groups, famous, rules })
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
        for rule in &self.rules {
            let (tokens, keys) = without(&rule.unless, &tokens, &keys);
            let holds = |part: &Part| self.holds(part, &tokens, &keys);
            let all = !rule.all.is_empty() && rule.all.iter().all(holds);
            if all || rule.any.iter().any(holds) {
                return Err(ExpandError::Refused { rule: rule.name.clone(), reason: rule.reason.clone() });
            }
        }
        Ok(())
    }

    fn holds(&self, part: &Part, tokens: &[Token], keys: &[String]) -> bool {
        let group = |name: &str| self.groups.get(name);
        match part {
            Part::Group(name) => group(name).is_some_and(|phrases| phrases.any(keys)),
            Part::Famous => self.famous.any(keys),
            Part::Person => {
                let capital =
                    |token: Option<&Token>| token.is_some_and(|t| t.is_capital() && t.raw.len() > 1);
                let pair = |i: usize| i > 0 && capital(tokens.get(i)) && capital(tokens.get(i + 1));
                self.famous.any(keys) || (0..tokens.len()).any(pair)
            }
            Part::BeforeFamous(name) => group(name).is_some_and(|phrases| {
                (0..keys.len()).any(|at| {
                    let rest = keys.get(at..).unwrap_or_default();
                    let Some((length, ())) = phrases.longest(rest) else { return false };
                    let mut after = rest.get(length..).unwrap_or_default();
                    while after.first().is_some_and(|word| ARTICLES.contains(&word.as_str())) {
                        after = after.get(1..).unwrap_or_default();
                    }
                    self.famous.longest(after).is_some()
                })
            }),
        }
    }
}

/// Words and their folded forms with disguises undone: "n4ked", "n.u.d.e", "pørn".
fn words(text: &str) -> (Vec<Token>, Vec<String>) {
    let joined = spelled_out(text);
    let tokens: Vec<Token> = tokens(&joined, false).into_iter().filter(Token::is_word).collect();
    // "Trump's" is about Trump, "naked-ish" about naked
    let parts = tokens.iter().flat_map(|token| {
        let parts = token.raw.split(['-', '_', '\'']).filter(|part| !part.is_empty() && *part != "s");
        parts.flat_map(|part| crate::words::tokens(part, false)).collect::<Vec<_>>()
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
        match Safety::built_in().unwrap().check(text) {
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
        for line in include_str!("../tests/refused.tsv").lines().filter(|line| !line.starts_with('#')) {
            let (name, text) = line.split_once('\t').unwrap();
            assert_eq!(rule(text).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn harmless_look_alikes_pass() {
        for text in include_str!("../tests/harmless.txt").lines().filter(|line| !line.starts_with('#')) {
            assert_eq!(rule(text), None, "{text}");
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
        let message = Safety::parse(text, "").unwrap_err().to_string();
        assert!(message.contains("no group \"z\""), "{message}");
    }
}
