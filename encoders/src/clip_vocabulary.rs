//! CLIP's own vocabulary, which ships with this program: single-file checkpoints hold no tokenizer, and all
//! of Stable Diffusion 1.x, 2.x and XL use this one. Source and licence: `encoders/data/README.md`.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::tokenizer::{END_OF_TEXT, START_OF_TEXT, WORD_END};
use crate::vocabulary::{Vocabulary, VocabularyError, byte_alphabet};

const MERGES: &[u8] = include_bytes!("../data/bpe_simple_vocab_16e6.txt.gz");
/// Tokens of the vocabulary; the file lists more merges than it uses.
const SIZE: usize = 49408;

impl Vocabulary {
    /// CLIP's vocabulary of 49408 tokens.
    pub fn clip() -> Result<Self, VocabularyError> {
        let damaged = |reason: String| VocabularyError::BuiltIn { reason };
        let mut text = String::new();
        GzDecoder::new(MERGES).read_to_string(&mut text).map_err(|e| damaged(e.to_string()))?;
        let bytes = byte_alphabet();
        let plain = bytes.iter().map(char::to_string);
        let mut tokens: Vec<String> = plain.chain(bytes.iter().map(|c| format!("{c}{WORD_END}"))).collect();
        // The first line is a heading.
        let count = SIZE - tokens.len() - 2;
        let mut merges = Vec::with_capacity(count);
        for line in text.lines().skip(1).take(count) {
            let (a, b) = line.split_once(' ').ok_or_else(|| damaged(format!("\"{line}\" is no merge")))?;
            tokens.push(format!("{a}{b}"));
            merges.push((a.to_string(), b.to_string()));
        }
        tokens.extend([START_OF_TEXT.to_string(), END_OF_TEXT.to_string()]);
        match tokens.len() {
            SIZE => Ok(Self { tokens, merges }),
            found => Err(damaged(format!("{found} tokens, expected {SIZE}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::tokenizer::ClipTokenizer;

    #[test]
    fn it_is_clips_vocabulary() {
        let vocabulary = Vocabulary::clip().unwrap();
        assert_eq!(vocabulary.tokens.len(), 49408);
        assert_eq!(vocabulary.merges.len(), 48894);
        for (id, token) in [
            (0, "!"),
            (256, "!</w>"),
            (320, "a</w>"),
            (1125, "photo</w>"),
            (2368, "cat</w>"),
            (49406, START_OF_TEXT),
            (49407, END_OF_TEXT),
        ] {
            assert_eq!(vocabulary.tokens[id], token);
        }
        let tokenizer = ClipTokenizer::from_vocabulary(&vocabulary, END_OF_TEXT, 77).unwrap();
        let prompt = tokenizer.encode("a photo of a cat").unwrap();
        assert_eq!(prompt.ids[..7], [49406, 320, 1125, 539, 320, 2368, 49407]);
        assert_eq!(prompt.ids[7..], [49407; 70]);
        assert_eq!((tokenizer.vocab_size(), tokenizer.pad_id()), (49408, 49407));
        // OpenCLIP's models pad with the first token.
        let tokenizer = ClipTokenizer::from_vocabulary(&vocabulary, "!", 77).unwrap();
        assert_eq!((tokenizer.pad_id(), tokenizer.eos_id(), tokenizer.vocab_size()), (0, 49407, 49408));
        assert!(ClipTokenizer::from_vocabulary(&vocabulary, "no such token", 77).is_err());
    }
}
