//! The CLIP tokenizer: lower-cased byte-level BPE with an end-of-word mark (Radford et al. 2021,
//! arXiv 2103.00020), equal to `CLIPTokenizer` of transformers 5.

use std::path::{Path, PathBuf};

use imagine_unet::config::ConfigError;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, NFC, NormalizerWrapper, Replace, Sequence as Normalizers};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{Encoding, SplitDelimiterBehavior, Tokenizer};

use crate::tokenizer_files::{self, TokenizerFiles};
use crate::vocabulary::Vocabulary;

/// CLIP's start token.
pub const START_OF_TEXT: &str = "<|startoftext|>";
/// CLIP's end token, in OpenAI's models also the padding.
pub const END_OF_TEXT: &str = "<|endoftext|>";
/// Mark of a token that ends a word.
pub const WORD_END: &str = "</w>";

/// What counts as one word before BPE: the special tokens, English contractions, runs of letters,
/// single digits, runs of anything else that is not space.
const WORDS: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Why a tokenizer could not be made or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error("{dir}: no tokenizer found (looked for tokenizer.json, and vocab.json with merges.txt)")]
    NoFiles { dir: PathBuf },
    #[error("{file}: cannot be read: {source}")]
    Open { file: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Json(#[from] ConfigError),
    #[error("{file}, line {line}: \"{found}\" is not two tokens with a space between them")]
    Merge { file: PathBuf, line: usize, found: String },
    #[error("{file}: {key}: {reason}")]
    Key { file: PathBuf, key: String, reason: String },
    #[error("{file}: the vocabulary cannot be used: {reason}")]
    Vocabulary { file: PathBuf, reason: String },
    #[error("a prompt cannot be tokenized: {reason}")]
    Encode { reason: String },
}

impl TokenizerError {
    pub(crate) fn key(file: &Path, key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Key { file: file.to_path_buf(), key: key.into(), reason: reason.into() }
    }
}

/// A prompt as the text encoder takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenizedPrompt {
    /// Start token, text, end token, padding: `model_max_length` ids in all.
    pub ids: Vec<i64>,
    /// How many of the ids are not padding.
    pub length: usize,
    /// The end of the prompt that did not fit, from the first word that was cut.
    pub truncated_text: Option<String>,
}

/// A CLIP tokenizer of one checkpoint.
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    bos: u32,
    eos: u32,
    pad: u32,
    model_max_length: Option<usize>,
    settings_file: PathBuf,
}

impl ClipTokenizer {
    /// Reads the `tokenizer` folder of a checkpoint: `tokenizer.json`, or `vocab.json` with
    /// `merges.txt`; and, where they are there, `tokenizer_config.json`, `special_tokens_map.json`
    /// and `added_tokens.json`.
    pub fn from_folder(dir: &Path) -> Result<Self, TokenizerError> {
        Self::from_files(tokenizer_files::read(dir)?)
    }

    /// A tokenizer of a vocabulary without files, with CLIP's start and end token: prompts are
    /// `model_max_length` tokens long, at least 2, and filled with the token `pad`.
    pub fn from_vocabulary(
        vocabulary: &Vocabulary,
        pad: &str,
        model_max_length: usize,
    ) -> Result<Self, TokenizerError> {
        Self::from_files(tokenizer_files::of_vocabulary(vocabulary, pad, model_max_length.max(2)))
    }

    fn from_files(files: TokenizerFiles) -> Result<Self, TokenizerError> {
        let TokenizerFiles { vocab_file, settings_file, .. } = files;
        let unusable = |e: tokenizers::Error| TokenizerError::Vocabulary {
            file: vocab_file.clone(),
            reason: e.to_string(),
        };
        let bpe = BPE::builder()
            .vocab_and_merges(files.vocab, files.merges)
            .unk_token(files.unk)
            .end_of_word_suffix(WORD_END.into())
            .build()
            .map_err(unusable)?;
        let mut tokenizer = Tokenizer::new(bpe);
        tokenizer.with_normalizer(Some(normalizer().map_err(unusable)?));
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer().map_err(unusable)?));
        tokenizer.add_tokens(&files.added);
        tokenizer.set_encode_special_tokens(files.split_special_tokens);
        let id = |key: &str, token: &str| {
            let missing = || {
                let reason = format!("\"{token}\" is not in the vocabulary");
                TokenizerError::key(&settings_file, key, reason)
            };
            tokenizer.token_to_id(token).ok_or_else(missing)
        };
        let (bos, eos) = (id("bos_token", &files.bos)?, id("eos_token", &files.eos)?);
        let pad = id("pad_token", &files.pad)?;
        let model_max_length = files.model_max_length;
        Ok(Self { tokenizer, bos, eos, pad, model_max_length, settings_file })
    }

    /// The same tokenizer with another length of its prompts, at least 2: for folders that do not
    /// say it, where the text encoder's `max_position_embeddings` is the limit.
    pub fn with_model_max_length(mut self, length: usize) -> Self {
        self.model_max_length = Some(length.max(2));
        self
    }

    /// Length of every encoded prompt, if the folder says it.
    pub fn model_max_length(&self) -> Option<usize> {
        self.model_max_length
    }

    /// The id of the start token.
    pub fn bos_id(&self) -> i64 {
        self.bos.into()
    }

    /// The id of the end token.
    pub fn eos_id(&self) -> i64 {
        self.eos.into()
    }

    /// The id of the padding.
    pub fn pad_id(&self) -> i64 {
        self.pad.into()
    }

    /// One more than the highest id, added tokens included: what the text encoder's `vocab_size` must
    /// not be below.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab(true).values().max().map_or(0, |&id| id as usize + 1)
    }

    /// The id of one token, written as in the vocabulary ("cat</w>").
    pub fn token_id(&self, token: &str) -> Option<i64> {
        self.tokenizer.token_to_id(token).map(i64::from)
    }

    /// The ids of a text alone: no start, end or padding, and nothing cut.
    pub fn text_ids(&self, text: &str) -> Result<Vec<i64>, TokenizerError> {
        Ok(self.tokenize(text)?.get_ids().iter().map(|&id| i64::from(id)).collect())
    }

    /// A prompt with start and end token, cut and padded to [`ClipTokenizer::model_max_length`]: the
    /// end token stays, and what did not fit is told.
    pub fn encode(&self, text: &str) -> Result<TokenizedPrompt, TokenizerError> {
        let max = self.model_max_length.ok_or_else(|| {
            TokenizerError::key(
                &self.settings_file,
                "model_max_length",
                "is missing, so the length of prompts is not known",
            )
        })?;
        let encoding = self.tokenize(text)?;
        let room = max.saturating_sub(2);
        let mut ids = Vec::with_capacity(max);
        ids.push(self.bos);
        ids.extend(encoding.get_ids().iter().take(room));
        ids.push(self.eos);
        let length = ids.len();
        ids.resize(max.max(length), self.pad);
        Ok(TokenizedPrompt {
            ids: ids.into_iter().map(i64::from).collect(),
            length,
            truncated_text: cut_from(&encoding, room).map(|start| text_from(text, start)),
        })
    }

    fn tokenize(&self, text: &str) -> Result<Encoding, TokenizerError> {
        self.tokenizer.encode(text, false).map_err(|e| TokenizerError::Encode { reason: e.to_string() })
    }
}

/// Where in the text the word of the token `room` begins, in bytes; none if there are not so many.
fn cut_from(encoding: &Encoding, room: usize) -> Option<usize> {
    let words = encoding.get_word_ids();
    let cut = words.get(room)?;
    let first = words.iter().position(|word| word == cut).unwrap_or(room);
    encoding.get_offsets().get(first).map(|(start, _)| *start)
}

fn text_from(text: &str, start: usize) -> String {
    // Offsets of byte tokens may point into a character; the whole character was cut.
    let start = (0..=start.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    text[start..].trim().to_string()
}

/// NFC, runs of white space made one space, lower case.
fn normalizer() -> tokenizers::Result<NormalizerWrapper> {
    let spaces = Replace::new(ReplacePattern::Regex(r"\s+".into()), " ")?;
    Ok(Normalizers::new(vec![NFC.into(), spaces.into(), Lowercase.into()]).into())
}

/// CLIP's words, each written in the byte alphabet.
fn pre_tokenizer() -> tokenizers::Result<PreTokenizerWrapper> {
    let words = Split::new(SplitPattern::Regex(WORDS.into()), SplitDelimiterBehavior::Removed, true)?;
    let bytes = ByteLevel::default().add_prefix_space(false);
    Ok(PreTokenizers::new(vec![words.into(), bytes.into()]).into())
}

/// Splits texts into words as the tokenizer does before BPE, written in the byte alphabet.
pub(crate) struct WordSplitter {
    normalizer: NormalizerWrapper,
    pre_tokenizer: PreTokenizerWrapper,
}

impl WordSplitter {
    pub(crate) fn new() -> tokenizers::Result<Self> {
        Ok(Self { normalizer: normalizer()?, pre_tokenizer: pre_tokenizer()? })
    }

    pub(crate) fn split(&self, text: &str) -> tokenizers::Result<Vec<String>> {
        use tokenizers::{
            NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer,
        };
        let mut normalized = NormalizedString::from(text);
        self.normalizer.normalize(&mut normalized)?;
        let mut pieces = PreTokenizedString::from(normalized);
        self.pre_tokenizer.pre_tokenize(&mut pieces)?;
        let splits = pieces.get_splits(OffsetReferential::Original, OffsetType::Byte);
        Ok(splits.into_iter().map(|(word, _, _)| word.to_string()).collect())
    }
}
