//! Text as words: split, folded to plain lower case, and patterns on them.

use std::collections::HashMap;

/// Lower case without accents: "Façade" and "FACADE" are one word.
pub fn fold(text: &str) -> String {
    let mut folded = String::with_capacity(text.len());
    for c in text.chars().flat_map(char::to_lowercase) {
        match c {
            'à' | 'á' | 'â' | 'ã' | 'ä' | 'å' => folded.push('a'),
            'è' | 'é' | 'ê' | 'ë' => folded.push('e'),
            'ì' | 'í' | 'î' | 'ï' => folded.push('i'),
            'ò' | 'ó' | 'ô' | 'õ' | 'ö' | 'ø' => folded.push('o'),
            'ù' | 'ú' | 'û' | 'ü' => folded.push('u'),
            'ñ' => folded.push('n'),
            'ç' => folded.push('c'),
            'ß' => folded.push_str("ss"),
            'œ' => folded.push_str("oe"),
            'æ' => folded.push_str("ae"),
            '’' | '‘' | 'ʼ' => folded.push('\''),
            // A combining accent belongs to the letter before it.
            '\u{300}'..='\u{36f}' | '\u{200b}'..='\u{200f}' | '\u{ad}' | '\u{feff}' => {}
            other => folded.push(other),
        }
    }
    folded
}

/// A word or a punctuation mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// As it was typed.
    pub raw: String,
    /// Lower case, accents kept.
    pub lower: String,
    /// [`fold`]ed.
    pub key: String,
}

impl Token {
    fn new(raw: &str) -> Self {
        let raw = raw.replace(['’', '‘', 'ʼ'], "'");
        Self { lower: raw.to_lowercase(), key: fold(&raw), raw }
    }

    pub fn is_word(&self) -> bool {
        self.raw.chars().any(char::is_alphanumeric)
    }

    /// Whether it begins with a capital letter.
    pub fn is_capital(&self) -> bool {
        self.raw.chars().next().is_some_and(char::is_uppercase)
    }
}

/// Words and marks in their order. Hyphens stay inside words, and so do apostrophes unless `elisions` says that
/// what stands before one is a word of its own ("l'eau", "dell'acqua").
pub fn tokens(text: &str, elisions: bool) -> Vec<Token> {
    let mut found = Vec::new();
    for chunk in text.split_whitespace() {
        let mut rest = chunk;
        while let Some(start) = rest.find(|c: char| c.is_alphanumeric()) {
            if let (Some(mark), true) = (rest.get(..start), start > 0) {
                found.extend(mark.chars().map(|c| Token::new(&c.to_string())));
            }
            let word = rest.get(start..).unwrap_or_default();
            let inside = |(i, c): (usize, char)| {
                let joins = "-'’‘ʼ_".contains(c);
                let more = word.get(i + c.len_utf8()..).and_then(|rest| rest.chars().next());
                let ends =
                    if joins { !more.is_some_and(char::is_alphanumeric) } else { !c.is_alphanumeric() };
                (ends && !is_mark(c)).then_some(i)
            };
            let end = word.char_indices().find_map(inside).unwrap_or(word.len());
            push_word(word.get(..end).unwrap_or_default(), elisions, &mut found);
            rest = word.get(end..).unwrap_or_default();
        }
        found.extend(rest.chars().map(|c| Token::new(&c.to_string())));
    }
    found
}

/// Accents that are written as characters of their own.
fn is_mark(c: char) -> bool {
    ('\u{300}'..='\u{36f}').contains(&c)
}

fn push_word(word: &str, elisions: bool, found: &mut Vec<Token>) {
    let split = word.char_indices().find(|(_, c)| "'’‘ʼ".contains(*c));
    match split {
        Some((at, c)) if elisions && word != "aujourd'hui" => {
            let (before, after) = word.split_at(at + c.len_utf8());
            found.push(Token::new(before));
            if !after.is_empty() {
                push_word(after, elisions, found);
            }
        }
        _ => found.push(Token::new(word)),
    }
}

/// Phrases of folded words, found by their first word; a trailing `*` on a word stands for any ending.
#[derive(Clone, Debug, Default)]
pub struct Phrases<T> {
    by_word: HashMap<String, Vec<(Vec<String>, T)>>,
    /// Those whose first word has an open end, by the letters that it begins with.
    open: HashMap<String, Vec<(Vec<String>, T)>>,
}

/// How many letters of a word with an open end are looked up.
const STEM: usize = 2;

/// The first letters of a word.
fn stem(word: &str) -> &str {
    word.char_indices().nth(STEM).map_or(word, |(end, _)| word.get(..end).unwrap_or(word))
}

impl<T> Phrases<T> {
    pub fn new() -> Self {
        Self { by_word: HashMap::new(), open: HashMap::new() }
    }

    /// Adds a phrase; it is folded here.
    pub fn add(&mut self, phrase: &str, value: T) {
        let words: Vec<String> = fold(phrase).split_whitespace().map(str::to_owned).collect();
        match words.first() {
            None => {}
            Some(first) if first.ends_with('*') => {
                let known = first.trim_end_matches('*');
                self.open.entry(stem(known).to_owned()).or_default().push((words, value));
            }
            Some(first) => self.by_word.entry(first.clone()).or_default().push((words, value)),
        }
    }

    /// Each phrase that `words` begin with: how many words it has, and its value.
    pub fn all<'a>(&'a self, words: &[String]) -> impl Iterator<Item = (usize, &'a T)> {
        let first = words.first().map(String::as_str).unwrap_or_default();
        let exact = self.by_word.get(first).into_iter().flatten();
        let open = self.open.get(stem(first)).into_iter().flatten();
        // A stem of one letter stands by itself.
        let short = first.chars().next().map_or(0, char::len_utf8);
        let short = first.get(..short).filter(|short| *short != stem(first));
        let open = open.chain(short.and_then(|short| self.open.get(short)).into_iter().flatten());
        let fitting = exact.chain(open).filter(move |(phrase, _)| begins(words, phrase));
        fitting.map(|(phrase, value)| (phrase.len(), value))
    }

    /// The longest phrase that `words` begin with: how many words it has, and its value.
    pub fn longest(&self, words: &[String]) -> Option<(usize, &T)> {
        self.all(words).max_by_key(|(length, _)| *length)
    }

    /// The phrases themselves, folded, in no order.
    pub fn each(&self, mut found: impl FnMut(&str)) {
        let all = self.by_word.values().chain(self.open.values()).flatten();
        all.for_each(|(words, _)| found(&words.join(" ")));
    }

    /// How many words each phrase has that `words` begin with.
    pub fn lengths(&self, words: &[String]) -> Vec<usize> {
        self.all(words).map(|(length, _)| length).collect()
    }

    /// Whether a phrase begins at some word.
    pub fn any(&self, words: &[String]) -> bool {
        (0..words.len()).any(|i| words.get(i..).is_some_and(|rest| self.longest(rest).is_some()))
    }
}

fn begins(words: &[String], phrase: &[String]) -> bool {
    words.len() >= phrase.len() && phrase.iter().zip(words).all(|(pattern, word)| matches(pattern, word))
}

/// Whether a folded word is what the pattern says.
pub fn matches(pattern: &str, word: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(stem) => word.starts_with(stem),
        None => word == pattern,
    }
}

/// The folded words of a text, without marks.
pub fn keys(text: &str) -> Vec<String> {
    tokens(text, false).into_iter().filter(Token::is_word).map(|token| token.key).collect()
}

/// The same with hyphens taken apart: "hot-air balloon" is three words.
pub fn parts(text: &str) -> Vec<String> {
    keys(&text.replace('-', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str, elisions: bool) -> Vec<String> {
        tokens(text, elisions).into_iter().map(|token| token.raw).collect()
    }

    #[test]
    fn words_marks_and_elisions() {
        assert_eq!(raw("me, in a t-shirt!", false), ["me", ",", "in", "a", "t-shirt", "!"]);
        assert_eq!(raw("sull’acqua d'oro", true), ["sull'", "acqua", "d'", "oro"]);
        assert_eq!(raw("I'm (not) here…", false), ["I'm", "(", "not", ")", "here", "…"]);
        assert_eq!(raw("--- 'quoted' ", false), ["-", "-", "-", "'", "quoted", "'"]);
        assert!(raw("", true).is_empty());
    }

    #[test]
    fn accents_and_case_do_not_count() {
        assert_eq!(fold("Façade KÖNIG Straße œuvre e\u{301}te\u{301}"), "facade konig strasse oeuvre ete");
    }

    #[test]
    fn the_longest_phrase_wins() {
        let mut phrases = Phrases::new();
        for (i, phrase) in ["new york", "new", "sail*", "sail* boat"].iter().enumerate() {
            phrases.add(phrase, i);
        }
        let find = |text: &str| phrases.longest(&keys(text)).map(|(length, value)| (length, *value));
        assert_eq!(find("New York"), Some((2, 0)));
        assert_eq!(find("new shoes"), Some((1, 1)));
        assert_eq!(find("sailing boat"), Some((2, 3)));
        assert_eq!(find("york"), None);
    }
}
