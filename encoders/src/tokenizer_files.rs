//! The files of a CLIP tokenizer folder, in both forms: `vocab.json` with `merges.txt`, or the
//! `tokenizer.json` that newer saves hold alone; and the special tokens, which stand in up to four
//! places. Which place wins follows `from_pretrained` of transformers 5.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use imagine_unet::config::read_json;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;
use tokenizers::models::bpe::{Merges, Vocab};

use crate::tokenizer::{END_OF_TEXT, START_OF_TEXT, TokenizerError, WORD_END};
use crate::vocabulary::Vocabulary;

/// Transformers writes 10³⁰ where a tokenizer has no limit.
const NO_LIMIT: f64 = 1e9;

/// The special tokens in the order in which transformers adds them, with CLIP's defaults.
const NAMED_TOKENS: [(&str, Option<&str>); 7] = [
    ("bos_token", Some(START_OF_TEXT)),
    ("eos_token", Some(END_OF_TEXT)),
    ("unk_token", Some(END_OF_TEXT)),
    ("sep_token", None),
    ("pad_token", Some(END_OF_TEXT)),
    ("cls_token", None),
    ("mask_token", None),
];

/// All that a tokenizer folder says.
pub(crate) struct TokenizerFiles {
    /// The file that holds the vocabulary.
    pub vocab_file: PathBuf,
    pub vocab: Vocab,
    pub merges: Merges,
    /// Tokens that are found before the text is split, in the order in which they are added.
    pub added: Vec<AddedToken>,
    pub bos: String,
    pub eos: String,
    pub unk: String,
    pub pad: String,
    pub settings_file: PathBuf,
    /// Length to which prompts are padded and cut.
    pub model_max_length: Option<usize>,
    /// Whether special tokens in a text count as plain text.
    pub split_special_tokens: bool,
}

/// A token as transformers keeps it in JSON.
#[derive(Clone, Debug, Deserialize)]
struct TokenEntry {
    content: String,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    normalized: Option<bool>,
    #[serde(default)]
    special: bool,
}

impl TokenEntry {
    fn special(content: &str) -> Self {
        Self {
            content: content.into(),
            single_word: false,
            lstrip: false,
            rstrip: false,
            normalized: None,
            special: true,
        }
    }

    fn into_added(self) -> AddedToken {
        let token = AddedToken::from(self.content, self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip);
        match self.normalized {
            Some(normalized) => token.normalized(normalized),
            None => token,
        }
    }
}

/// A special token before it is added: a bare string, or with its flags.
#[derive(Clone, Debug)]
enum NamedToken {
    Text(String),
    Entry(TokenEntry),
}

impl NamedToken {
    fn content(&self) -> &str {
        match self {
            Self::Text(content) => content,
            Self::Entry(entry) => &entry.content,
        }
    }
}

#[derive(Deserialize)]
struct SavedTokenizer {
    #[serde(default)]
    added_tokens: Vec<SavedToken>,
    model: SavedModel,
}

#[derive(Deserialize)]
struct SavedToken {
    id: u32,
    #[serde(flatten)]
    entry: TokenEntry,
}

#[derive(Deserialize)]
struct SavedModel {
    #[serde(rename = "type")]
    kind: Option<String>,
    end_of_word_suffix: Option<String>,
    vocab: HashMap<String, u32>,
    merges: Vec<SavedMerge>,
}

/// `"a b"` in older files, `["a", "b"]` in newer ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum SavedMerge {
    Line(String),
    Pair(String, String),
}

/// One setting and the file that it comes from.
type Settings = BTreeMap<String, (Value, PathBuf)>;

/// Reads a tokenizer folder.
pub(crate) fn read(dir: &Path) -> Result<TokenizerFiles, TokenizerError> {
    let saved_file = dir.join("tokenizer.json");
    let (vocab_file, vocab, merges, saved_tokens) = if saved_file.is_file() {
        let (vocab, merges, tokens) = read_saved(&saved_file)?;
        (saved_file, vocab, merges, tokens)
    } else {
        let (vocab_file, merges_file) = (dir.join("vocab.json"), dir.join("merges.txt"));
        if !vocab_file.is_file() && !merges_file.is_file() {
            return Err(TokenizerError::NoFiles { dir: dir.to_path_buf() });
        }
        let vocab: HashMap<String, u32> = read_json(&vocab_file)?;
        let merges = read_merges(&merges_file)?;
        (vocab_file, vocab.into_iter().collect(), merges, Vec::new())
    };

    let settings_file = dir.join("tokenizer_config.json");
    let mut settings = read_settings(&settings_file)?;
    let mut tokens = BTreeMap::new();
    if let Some((value, file)) = settings.get("added_tokens_decoder") {
        let listed: BTreeMap<u32, TokenEntry> = typed(value, "added_tokens_decoder", file)?;
        tokens.extend(listed);
    } else {
        settings.extend(read_settings(&dir.join("special_tokens_map.json"))?);
        tokens.extend(read_legacy_added(&dir.join("added_tokens.json"), &settings)?);
        tokens.extend(saved_tokens);
    }

    let named = named_tokens(&settings, &tokens)?;
    let name = |key: &str| {
        let found = named.iter().find(|(k, _)| *k == key).map(|(_, token)| token.content().to_string());
        found.ok_or_else(|| TokenizerError::key(&settings_file, key, "null, but CLIP needs this token"))
    };
    Ok(TokenizerFiles {
        bos: name("bos_token")?,
        eos: name("eos_token")?,
        unk: name("unk_token")?,
        pad: name("pad_token")?,
        added: added_in_order(&named, tokens, &settings)?,
        model_max_length: max_length(&settings)?,
        split_special_tokens: truth(&settings, "split_special_tokens")?,
        vocab_file,
        vocab,
        merges,
        settings_file,
    })
}

/// What a folder would say that holds this vocabulary and CLIP's special tokens.
pub(crate) fn of_vocabulary(vocabulary: &Vocabulary, pad: &str, model_max_length: usize) -> TokenizerFiles {
    let built_in = PathBuf::from("built-in tokenizer");
    let special = |token: &str| TokenEntry::special(token).into_added();
    let mut added = vec![special(START_OF_TEXT), special(END_OF_TEXT)];
    if pad != START_OF_TEXT && pad != END_OF_TEXT && vocabulary.tokens.iter().any(|token| token == pad) {
        added.push(special(pad));
    }
    TokenizerFiles {
        vocab_file: built_in.clone(),
        vocab: (0..).zip(&vocabulary.tokens).map(|(id, token)| (token.clone(), id)).collect(),
        merges: vocabulary.merges.clone(),
        added,
        bos: START_OF_TEXT.into(),
        eos: END_OF_TEXT.into(),
        unk: END_OF_TEXT.into(),
        pad: pad.into(),
        settings_file: built_in,
        model_max_length: Some(model_max_length),
        split_special_tokens: false,
    }
}

type Saved = (Vocab, Merges, Vec<(u32, TokenEntry)>);

fn read_saved(file: &Path) -> Result<Saved, TokenizerError> {
    let saved: SavedTokenizer = read_json(file)?;
    let model = saved.model;
    // Files of older versions do not name the kind.
    if let Some(kind) = model.kind
        && kind != "BPE"
    {
        return Err(TokenizerError::key(file, "model.type", format!("\"{kind}\", expected \"BPE\"")));
    }
    let suffix = model.end_of_word_suffix.unwrap_or_default();
    if suffix != WORD_END {
        let reason = format!("\"{suffix}\", expected \"{WORD_END}\": not a CLIP tokenizer");
        return Err(TokenizerError::key(file, "model.end_of_word_suffix", reason));
    }
    let merges = model.merges.into_iter().enumerate().map(|(index, merge)| match merge {
        SavedMerge::Pair(a, b) => Ok((a, b)),
        SavedMerge::Line(line) => split_merge(&line).ok_or_else(|| {
            let reason = format!("\"{line}\" is not two tokens with a space between them");
            TokenizerError::key(file, format!("model.merges[{index}]"), reason)
        }),
    });
    let merges = merges.collect::<Result<_, _>>()?;
    let tokens = saved.added_tokens.into_iter().map(|t| (t.id, t.entry)).collect();
    Ok((model.vocab.into_iter().collect(), merges, tokens))
}

fn read_merges(file: &Path) -> Result<Merges, TokenizerError> {
    let text = fs::read_to_string(file)
        .map_err(|source| TokenizerError::Open { file: file.to_path_buf(), source })?;
    let lines = text.lines().enumerate();
    lines
        .filter(|(_, line)| !line.starts_with("#version") && !line.is_empty())
        .map(|(index, line)| {
            split_merge(line).ok_or_else(|| TokenizerError::Merge {
                file: file.to_path_buf(),
                line: index + 1,
                found: line.to_string(),
            })
        })
        .collect()
}

fn split_merge(line: &str) -> Option<(String, String)> {
    let (a, b) = line.split_once(' ')?;
    let whole = !a.is_empty() && !b.is_empty() && !b.contains(' ');
    whole.then(|| (a.to_string(), b.to_string()))
}

/// The keys of a JSON object, each with its file; none if there is no such file.
fn read_settings(file: &Path) -> Result<Settings, TokenizerError> {
    if !file.is_file() {
        return Ok(Settings::new());
    }
    let map: Map<String, Value> = read_json(file)?;
    Ok(map.into_iter().map(|(key, value)| (key, (value, file.to_path_buf()))).collect())
}

fn typed<T: serde::de::DeserializeOwned>(value: &Value, key: &str, file: &Path) -> Result<T, TokenizerError> {
    T::deserialize(value).map_err(|e| TokenizerError::key(file, key, e.to_string()))
}

/// `added_tokens.json` of transformers 4: token to id.
fn read_legacy_added(file: &Path, settings: &Settings) -> Result<Vec<(u32, TokenEntry)>, TokenizerError> {
    let mut special = Vec::new();
    for (key, _) in NAMED_TOKENS {
        special.extend(named_token(settings, key)?.map(|token| token.content().to_string()));
    }
    special.extend(extra_tokens(settings)?.iter().map(|token| token.content().to_string()));
    let mut entries = Vec::new();
    for (content, (value, file)) in read_settings(file)? {
        let id: u32 = typed(&value, &content, &file)?;
        let is_special = special.contains(&content);
        let entry = TokenEntry {
            normalized: Some(!is_special),
            special: is_special,
            ..TokenEntry::special(&content)
        };
        entries.push((id, entry));
    }
    Ok(entries)
}

/// The token under `key`, if it is set: a string, or an object with flags.
fn named_token(settings: &Settings, key: &str) -> Result<Option<NamedToken>, TokenizerError> {
    match settings.get(key) {
        None | Some((Value::Null, _)) => Ok(None),
        Some((value, file)) => token_from(value, key, file).map(Some),
    }
}

fn token_from(value: &Value, key: &str, file: &Path) -> Result<NamedToken, TokenizerError> {
    match value {
        Value::String(content) => Ok(NamedToken::Text(content.clone())),
        // Flags that are not given are those of a special token.
        other => {
            let entry: TokenEntry = typed(other, key, file)?;
            Ok(NamedToken::Entry(TokenEntry { special: true, ..entry }))
        }
    }
}

fn extra_tokens(settings: &Settings) -> Result<Vec<NamedToken>, TokenizerError> {
    let keys = ["extra_special_tokens", "additional_special_tokens"];
    let Some((key, (value, file))) = keys.iter().find_map(|k| Some((*k, settings.get(*k)?))) else {
        return Ok(Vec::new());
    };
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(list) => list.iter().map(|token| token_from(token, key, file)).collect(),
        Value::Object(map) => map.values().map(|token| token_from(token, key, file)).collect(),
        _ => Err(TokenizerError::key(file, key, "expected a list of tokens")),
    }
}

/// The named special tokens, with the flags of the added token of the same text where there is one.
fn named_tokens(
    settings: &Settings,
    tokens: &BTreeMap<u32, TokenEntry>,
) -> Result<Vec<(&'static str, NamedToken)>, TokenizerError> {
    let mut named = Vec::new();
    for (key, default) in NAMED_TOKENS {
        let token = match (named_token(settings, key)?, default) {
            (Some(token), _) => {
                let listed = tokens.values().rfind(|entry| entry.content == token.content());
                listed.map_or(token, |entry| NamedToken::Entry(entry.clone()))
            }
            // A key that is there and null switches the token off.
            (None, Some(default)) if !settings.contains_key(key) => NamedToken::Text(default.into()),
            _ => continue,
        };
        named.push((key, token));
    }
    Ok(named)
}

/// Added tokens by id, then the special tokens that are not among them. Where the same text comes twice
/// with different flags (old settings give flags to the end token and none to the padding), the later
/// counts.
fn added_in_order(
    named: &[(&'static str, NamedToken)],
    tokens: BTreeMap<u32, TokenEntry>,
    settings: &Settings,
) -> Result<Vec<AddedToken>, TokenizerError> {
    let listed: Vec<String> = tokens.values().map(|entry| entry.content.clone()).collect();
    let is_named = |content: &str| named.iter().any(|(_, token)| token.content() == content);
    let entry_to_added = |mut entry: TokenEntry| {
        entry.special |= is_named(&entry.content);
        entry.into_added()
    };
    let mut all: Vec<AddedToken> = tokens.into_values().map(entry_to_added).collect();
    let extra = extra_tokens(settings)?;
    for token in named.iter().map(|(_, token)| token).chain(&extra) {
        if listed.iter().any(|content| content == token.content()) {
            continue;
        }
        let token = match token {
            NamedToken::Text(content) => TokenEntry::special(content).into_added(),
            NamedToken::Entry(entry) => entry.clone().into_added(),
        };
        if !all.contains(&token) {
            all.push(token);
        }
    }
    let mut added: Vec<AddedToken> = Vec::with_capacity(all.len());
    for token in all {
        match added.iter_mut().find(|earlier| earlier.content == token.content) {
            Some(earlier) => *earlier = token,
            None => added.push(token),
        }
    }
    Ok(added)
}

fn max_length(settings: &Settings) -> Result<Option<usize>, TokenizerError> {
    let key = "model_max_length";
    let Some((value, file)) = settings.get(key).filter(|(value, _)| !value.is_null()) else {
        return Ok(None);
    };
    let number: f64 = typed(value, key, file)?;
    if number >= NO_LIMIT {
        return Ok(None);
    }
    // The start and the end token alone need two places.
    if number < 2.0 || number.fract() != 0.0 {
        return Err(TokenizerError::key(file, key, format!("{number}, expected a whole number from 2")));
    }
    Ok(Some(number as usize))
}

fn truth(settings: &Settings, key: &str) -> Result<bool, TokenizerError> {
    match settings.get(key) {
        None | Some((Value::Null, _)) => Ok(false),
        Some((value, file)) => typed(value, key, file),
    }
}
