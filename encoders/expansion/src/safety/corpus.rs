//! The wishes that the classifier is taught with: `data/refusals/*.txt`. A block begins with `== KIND` and holds ways
//! to say much the same, in several languages; `(a|b)` stands for either, `{person}` for one of a list of fillers, and
//! `20x ` before a line for as many wishes of it.

use std::collections::BTreeMap;

use super::classifier::HARMLESS;
use super::rules::Rules;
use crate::data::{DataError, lines};
use crate::seed::Seeded;

/// One wish.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    pub kind: String,
    pub text: String,
    /// Which block it is from: what stands in one is never on both sides of a split.
    pub block: usize,
    /// How much it counts: lines that stand for several wishes count little more than others.
    pub weight: f32,
}

const FILES: [(&str, &str); 2] = [
    ("refusals/refused.txt", include_str!("../../data/refusals/refused.txt")),
    ("refusals/harmless.txt", include_str!("../../data/refusals/harmless.txt")),
];

/// Wishes that are made of one line at most.
const MOST: usize = 5;

/// One of so many wishes is typed without capitals.
const TYPED_LOW: usize = 6;

/// All wishes, always the same ones.
///
/// # Errors
/// [`DataError`] names the line.
pub fn wishes(rules: &Rules, known: &[&str]) -> Result<Vec<Wish>, DataError> {
    let fillers = fillers(rules)?;
    let mut wishes = Vec::new();
    let mut block = 0;
    for (file, text) in FILES {
        let mut kind = String::new();
        for (number, line) in lines(text) {
            let wrong = |reason: String| DataError::new(file, format!("line {number}: {reason}"));
            if let Some(name) = line.strip_prefix("==") {
                name.trim().clone_into(&mut kind);
                if !known.contains(&kind.as_str()) {
                    return Err(wrong(format!("there is no kind {kind:?}")));
                }
                block += 1;
                continue;
            }
            if kind.is_empty() {
                return Err(wrong("a block begins with == and its kind".into()));
            }
            let made = spoken(line, &fillers).map_err(wrong)?;
            let weight = 1.0 / (made.len() as f32).sqrt();
            let wish = |text| Wish { kind: kind.clone(), text, block, weight };
            wishes.extend(made.into_iter().map(wish));
        }
    }
    // What places and light sound like, where nobody says "me".
    for (_, line) in lines(include_str!("../../data/bank.txt")) {
        match line.split_once(": ") {
            Some((_, phrase)) => {
                wishes.push(Wish { kind: HARMLESS.to_owned(), text: phrase.to_owned(), block, weight: 0.7 });
            }
            None => block += 1,
        }
    }
    wishes.extend(long(&wishes));
    Ok(wishes)
}

/// Harmless wishes of one block after each other, as long as people write who say everything: by their many words alone
/// they are no worse.
fn long(wishes: &[Wish]) -> Vec<Wish> {
    let harmless: Vec<&Wish> = wishes.iter().filter(|wish| wish.kind == HARMLESS).collect();
    let of_block = harmless.chunk_by(|a, b| a.block == b.block);
    let joined = of_block.flat_map(|block| {
        block.chunks(3).filter(|some| some.len() == 3).map(|some| {
            let text = some.iter().map(|wish| wish.text.as_str()).collect::<Vec<_>>().join(", ");
            Wish { text, weight: 0.2, ..some[0].clone() }
        })
    });
    joined.collect()
}

type Fillers = BTreeMap<String, Vec<String>>;

fn fillers(rules: &Rules) -> Result<Fillers, DataError> {
    let file = "refusals/fillers.tsv";
    let mut fillers = Fillers::new();
    for (number, line) in lines(include_str!("../../data/refusals/fillers.tsv")) {
        let (name, list) =
            line.split_once('\t').ok_or_else(|| DataError::new(file, format!("line {number} has no tab")))?;
        fillers.insert(name.to_owned(), choices(list).into_iter().map(str::to_owned).collect());
    }
    // Names as people type them.
    let mut famous = Vec::new();
    rules.famous().each(|name| {
        let capitals = name.split(' ').map(|word| {
            let mut letters = word.chars();
            let little = ["von", "der", "de", "van", "den", "bin", "al", "zu"].contains(&word);
            match letters.next().filter(|_| !little) {
                Some(first) => first.to_uppercase().chain(letters).collect(),
                None => word.to_owned(),
            }
        });
        if name.contains(' ') && !rules.infamous().any(&crate::words::keys(name)) {
            famous.push(capitals.collect::<Vec<String>>().join(" "));
        }
    });
    famous.sort();
    fillers.insert("famous".into(), famous);
    let bank = lines(include_str!("../../data/bank.txt")).filter_map(|(_, line)| line.split_once(": "));
    fillers.insert("bank".into(), bank.map(|(_, phrase)| phrase.to_owned()).collect());
    // Words of the lexicon by language and kind, in German with their capital.
    for (language, kind, word) in crate::lexicon::Lexicon::words() {
        fillers.entry(format!("{language}:{kind}")).or_default().push(word.to_owned());
        let mut letters = word.chars();
        let capital = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>());
        fillers.entry(format!("{language}:{}", kind.to_uppercase())).or_default().extend(capital);
    }
    Ok(fillers)
}

/// What a line stands for, [`MOST`] of them at most.
fn spoken(line: &str, fillers: &Fillers) -> Result<Vec<String>, String> {
    let many = line.split_once("x ").and_then(|(many, rest)| Some((many.parse().ok()?, rest)));
    let (tries, line) = match many {
        Some(many) => many,
        None if line.contains(['(', '{']) => (MOST, line),
        None => (1, line),
    };
    let mut dice = Seeded::new(1, line);
    let mut made: Vec<String> = Vec::new();
    for _ in 0..tries {
        let text = said(line, fillers, &mut dice)?;
        let low = dice.below(TYPED_LOW) == 0;
        let text = if low { text.to_lowercase() } else { text };
        if !made.contains(&text) {
            made.push(text);
        }
    }
    Ok(made)
}

/// One way to say a line.
fn said(line: &str, fillers: &Fillers, dice: &mut Seeded) -> Result<String, String> {
    let mut text = String::new();
    let mut rest = line;
    while let Some(at) = rest.find(['(', '{']) {
        let (before, choice) = rest.split_at(at);
        text.push_str(before);
        let (inside, after) =
            bracketed(choice).ok_or_else(|| format!("a bracket is not closed: {choice}"))?;
        let chosen = if choice.starts_with('(') {
            let list = choices(inside);
            let one = list.get(dice.below(list.len())).copied();
            said(one.unwrap_or_default(), fillers, dice)?
        } else {
            let list = fillers.get(inside).ok_or_else(|| format!("there is no filler {inside:?}"))?;
            let one = list.get(dice.below(list.len()));
            said(one.map_or("", String::as_str), fillers, dice)?
        };
        text.push_str(&chosen);
        rest = after;
    }
    text.push_str(rest);
    // A choice may be nothing.
    Ok(text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ","))
}

/// What stands in the bracket that a text begins with, and what behind it.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return Some((text.get(1..at)?, text.get(at + 1..)?));
        }
    }
    None
}

/// The parts between bars that stand in no bracket.
fn choices(text: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let bar = move |c: char| {
        match c {
            '(' | '{' => depth += 1,
            ')' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == '|' && depth == 0
    };
    text.split(bar).collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_line_stands_for_several_wishes() {
        let fillers = Fillers::from([("pet".into(), vec!["cat".into(), "(big|small) dog".into()])]);
        let made = spoken("me and my {pet} (|at home)", &fillers).unwrap();
        assert!(made.len() > 1 && made.len() <= MOST, "{made:?}");
        assert!(made.iter().all(|text| text.to_lowercase().starts_with("me and my ")), "{made:?}");
        assert!(made.iter().all(|text| !text.contains(['(', '{', '|']) && !text.ends_with(' ')), "{made:?}");
        assert_eq!(made, spoken("me and my {pet} (|at home)", &fillers).unwrap(), "always the same");
        assert_eq!(spoken("me", &fillers).unwrap().len(), 1);
    }

    #[test]
    fn what_is_written_wrongly_is_named() {
        let none = Fillers::new();
        assert!(spoken("me and {pet}", &none).unwrap_err().contains("no filler \"pet\""));
        assert!(spoken("me (at home", &none).unwrap_err().contains("not closed"));
    }
}
