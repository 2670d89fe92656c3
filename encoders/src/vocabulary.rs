//! Building a small CLIP vocabulary for a text encoder that is trained from nothing: byte-pair
//! encoding (Sennrich et al. 2016, arXiv 1508.07909) learnt on a list of words until each of them is
//! one token. All bytes are tokens too, so that every other text falls into pieces and none is lost.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::tokenizer::{END_OF_TEXT, START_OF_TEXT, WORD_END, WordSplitter};

/// Why a vocabulary could not be built or written.
#[derive(Debug, thiserror::Error)]
pub enum VocabularyError {
    #[error("\"{word}\" is {count} words for the tokenizer, expected one")]
    NotOneWord { word: String, count: usize },
    #[error("\"{word}\" cannot be tokenized: {reason}")]
    Word { word: String, reason: String },
    #[error("{file}: cannot be written: {source}")]
    Write { file: PathBuf, source: std::io::Error },
    #[error("the vocabulary that ships with the program is damaged: {reason}")]
    BuiltIn { reason: String },
}

/// A vocabulary in CLIP's layout: 256 bytes, 256 bytes that end a word, the merged tokens in the order
/// of their merges, start token, end token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vocabulary {
    /// Tokens by id.
    pub tokens: Vec<String>,
    /// Pairs of tokens that become one, the first to be merged first.
    pub merges: Vec<(String, String)>,
}

/// Builds the vocabulary in which each of `words` is one token. Deterministic; the order and repetition
/// of the words do not matter. A word that the tokenizer takes for several ("t-shirt") is an error.
pub fn build(words: &[String]) -> Result<Vocabulary, VocabularyError> {
    let mut learner = Learner::new(words)?;
    while let Some(pair) = learner.most_frequent_pair() {
        learner.merge(pair);
    }
    Ok(learner.finish())
}

impl Vocabulary {
    /// The content of `vocab.json`: each token's id, in the order of the ids.
    pub fn vocab_json(&self) -> String {
        let entry = |(id, token): (usize, &String)| format!("{}: {id}", json!(token));
        let entries: Vec<String> = self.tokens.iter().enumerate().map(entry).collect();
        format!("{{{}}}", entries.join(", "))
    }

    /// The content of `merges.txt`.
    pub fn merges_txt(&self) -> String {
        let lines = self.merges.iter().map(|(a, b)| format!("{a} {b}\n"));
        format!("#version: 0.2\n{}", lines.collect::<String>())
    }

    /// Writes a tokenizer folder as Stable Diffusion checkpoints have it: `vocab.json`, `merges.txt`,
    /// `tokenizer_config.json`, `special_tokens_map.json`. Prompts are `model_max_length` tokens long
    /// and padded with the end token.
    pub fn save(&self, dir: &Path, model_max_length: usize) -> Result<(), VocabularyError> {
        let special = json!({
            "bos_token": START_OF_TEXT,
            "eos_token": END_OF_TEXT,
            "pad_token": END_OF_TEXT,
            "unk_token": END_OF_TEXT,
        });
        let mut settings = special.clone();
        settings["model_max_length"] = json!(model_max_length);
        settings["tokenizer_class"] = json!("CLIPTokenizer");
        write(dir, "vocab.json", &self.vocab_json())?;
        write(dir, "merges.txt", &self.merges_txt())?;
        write(dir, "tokenizer_config.json", &format!("{settings:#}\n"))?;
        write(dir, "special_tokens_map.json", &format!("{special:#}\n"))
    }
}

fn write(dir: &Path, name: &str, text: &str) -> Result<(), VocabularyError> {
    let file = dir.join(name);
    fs::create_dir_all(dir)
        .and_then(|()| fs::write(&file, text))
        .map_err(|source| VocabularyError::Write { file, source })
}

/// The character that stands for each byte, in CLIP's order: printable Latin-1 characters stand for
/// themselves, the others for characters from U+0100 on.
pub(crate) fn byte_alphabet() -> Vec<char> {
    let printable = |c: &char| matches!(c, '!'..='~' | '\u{a1}'..='\u{ac}' | '\u{ae}'..='\u{ff}');
    let latin = || (0..=u8::MAX).map(char::from);
    let others = latin().filter(|c| !printable(c)).count() as u32;
    let substitutes = (0x100..0x100 + others).filter_map(char::from_u32);
    latin().filter(printable).chain(substitutes).collect()
}

type Pair = (u32, u32);

struct Learner {
    tokens: Vec<String>,
    ids: HashMap<String, u32>,
    /// Rank and result of each merge.
    merges: HashMap<Pair, (usize, u32)>,
    order: Vec<Pair>,
    /// Each word as the merges so far leave it.
    words: Vec<Vec<u32>>,
    /// How often each pair stands in the words. Sorted, so that nothing depends on hashing.
    counts: BTreeMap<Pair, usize>,
}

impl Learner {
    fn new(words: &[String]) -> Result<Self, VocabularyError> {
        let bytes = byte_alphabet();
        let plain = bytes.iter().map(char::to_string);
        let tokens: Vec<String> = plain.chain(bytes.iter().map(|c| format!("{c}{WORD_END}"))).collect();
        let ids: HashMap<String, u32> = (0..).zip(&tokens).map(|(id, token)| (token.clone(), id)).collect();
        let mut learner = Self {
            tokens,
            ids,
            merges: HashMap::new(),
            order: Vec::new(),
            words: Vec::new(),
            counts: BTreeMap::new(),
        };
        let mut distinct: Vec<String> = split_all(words)?;
        distinct.sort();
        distinct.dedup();
        learner.words = distinct.iter().map(|word| learner.bytes_of(word)).collect();
        for word in &learner.words {
            count(&mut learner.counts, word);
        }
        Ok(learner)
    }

    /// A word in the byte alphabet as ids, the last with the mark of a word's end.
    fn bytes_of(&self, word: &str) -> Vec<u32> {
        let last = word.chars().count().saturating_sub(1);
        let token = |(i, c): (usize, char)| if i == last { format!("{c}{WORD_END}") } else { c.to_string() };
        word.chars().enumerate().filter_map(|entry| self.ids.get(&token(entry)).copied()).collect()
    }

    fn token(&self, id: u32) -> &str {
        self.tokens.get(id as usize).map_or("", String::as_str)
    }

    /// The pair to merge next: the most frequent, of equals the first by its tokens' text.
    fn most_frequent_pair(&self) -> Option<Pair> {
        let text = |pair: &Pair| (self.token(pair.0), self.token(pair.1));
        let best = self.counts.iter().max_by(|(a, n), (b, m)| n.cmp(m).then_with(|| text(b).cmp(&text(a))));
        best.map(|(pair, _)| *pair)
    }

    /// Adds a merge and applies it. As it ranks after all earlier ones, words that are one token
    /// already stay so.
    fn merge(&mut self, pair: Pair) {
        let merged = format!("{}{}", self.token(pair.0), self.token(pair.1));
        let next = self.tokens.len() as u32;
        // Two pairs may join to the same text: then they share one token.
        let id = *self.ids.entry(merged.clone()).or_insert(next);
        if id == next {
            self.tokens.push(merged);
        }
        self.merges.insert(pair, (self.order.len(), id));
        self.order.push(pair);
        for word in self.words.iter_mut().filter(|word| word.windows(2).any(|w| (w[0], w[1]) == pair)) {
            uncount(&mut self.counts, word);
            apply(&self.merges, word);
            count(&mut self.counts, word);
        }
    }

    fn finish(mut self) -> Vocabulary {
        let text = |(a, b): &Pair| (self.token(*a).to_string(), self.token(*b).to_string());
        let merges = self.order.iter().map(text).collect();
        self.tokens.extend([START_OF_TEXT.to_string(), END_OF_TEXT.to_string()]);
        Vocabulary { tokens: self.tokens, merges }
    }
}

/// The words as the tokenizer sees them, in the byte alphabet.
fn split_all(words: &[String]) -> Result<Vec<String>, VocabularyError> {
    let failed = |word: &str, e: tokenizers::Error| VocabularyError::Word {
        word: word.to_string(),
        reason: e.to_string(),
    };
    let splitter = WordSplitter::new().map_err(|e| failed("", e))?;
    let one = |word: &String| {
        let mut pieces = splitter.split(word).map_err(|e| failed(word, e))?;
        match (pieces.pop(), pieces.len()) {
            (Some(piece), 0) => Ok(piece),
            (piece, rest) => {
                let count = rest + usize::from(piece.is_some());
                Err(VocabularyError::NotOneWord { word: word.clone(), count })
            }
        }
    };
    words.iter().map(one).collect()
}

/// Applies merges as an encoder does: of those that fit the first by rank, then the leftmost, until
/// none fits.
fn apply(merges: &HashMap<Pair, (usize, u32)>, word: &mut Vec<u32>) {
    loop {
        let fitting = word.windows(2).enumerate().filter_map(|(at, w)| {
            let (rank, id) = merges.get(&(w[0], w[1]))?;
            Some((*rank, at, *id))
        });
        let Some((_, at, id)) = fitting.min() else { return };
        word.splice(at..at + 2, [id]);
    }
}

fn count(counts: &mut BTreeMap<Pair, usize>, word: &[u32]) {
    for w in word.windows(2) {
        *counts.entry((w[0], w[1])).or_default() += 1;
    }
}

fn uncount(counts: &mut BTreeMap<Pair, usize>, word: &[u32]) {
    for w in word.windows(2) {
        let pair = (w[0], w[1]);
        match counts.get_mut(&pair) {
            Some(n) if *n > 1 => *n -= 1,
            _ => {
                counts.remove(&pair);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::tokenizer::ClipTokenizer;

    fn words(list: &str) -> Vec<String> {
        list.split_whitespace().map(String::from).collect()
    }

    fn tokenizer(vocabulary: &Vocabulary) -> ClipTokenizer {
        let dir = tempfile::TempDir::new().unwrap();
        vocabulary.save(dir.path(), 16).unwrap();
        ClipTokenizer::from_folder(dir.path()).unwrap()
    }

    #[test]
    fn each_listed_word_is_one_token_and_others_are_pieces() {
        // Words inside words, repeated letters, accents, other scripts, signs, capitals.
        let list = words(
            "the other mother brother them then hen anna banana bananas aaa aaaa aaaaa mississippi café Straße \
             東京 улица 🙂 A photo photograph photographer graph Re 7 !!! , abc bc ab abcd bcd cd",
        );
        let vocabulary = build(&list).unwrap();
        let tokenizer = tokenizer(&vocabulary);
        for word in &list {
            assert_eq!(tokenizer.text_ids(word).unwrap().len(), 1, "{word}");
        }
        assert_eq!(tokenizer.text_ids(&list.join(" ")).unwrap().len(), list.len());
        for other in ["oth", "mothers", "aaaaaa", "xylophone", "東", "ω"] {
            assert!(tokenizer.text_ids(other).unwrap().len() > 1, "{other}");
        }
        assert_eq!(tokenizer.vocab_size(), vocabulary.tokens.len());
    }

    #[test]
    fn every_byte_has_a_token() {
        let tokenizer = tokenizer(&build(&[]).unwrap());
        assert_eq!(tokenizer.vocab_size(), 514);
        assert_eq!(tokenizer.token_id("!"), Some(0));
        assert_eq!((tokenizer.bos_id(), tokenizer.eos_id(), tokenizer.pad_id()), (512, 513, 513));
        for c in ('\u{1}'..='\u{2ff}').chain('\u{ff00}'..='\u{10100}').filter(|c| !c.is_whitespace()) {
            let ids = tokenizer.text_ids(&c.to_string()).unwrap();
            assert!(!ids.is_empty() && ids.iter().all(|id| *id < 512), "{c:?}: {ids:?}");
        }
    }

    #[test]
    fn order_and_repetition_of_the_words_do_not_matter() {
        let once = build(&words("red green blue greed breed")).unwrap();
        assert_eq!(once, build(&words("breed greed blue GREEN blue red red")).unwrap());
        assert_ne!(once, build(&words("red green blue greed")).unwrap());
    }

    #[test]
    fn what_is_not_one_word_is_refused() {
        for (word, count) in
            [("t-shirt", 3), ("two words", 2), ("don't", 2), ("42", 2), ("", 0), ("<|endoftext|>", 3)]
        {
            let message = build(&[word.to_string()]).unwrap_err().to_string();
            assert_eq!(message, format!("\"{word}\" is {count} words for the tokenizer, expected one"));
        }
    }
}
