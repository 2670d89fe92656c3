//! The CLIP tokenizer against transformers' `CLIPTokenizer`, over the forms in which checkpoints keep
//! it, and the vocabulary builder against the one in `generate/tokenizer.py`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use imagine_encoders::{ClipTokenizer, vocabulary};
use imagine_tests::fixtures;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tempfile::TempDir;

#[derive(Deserialize)]
struct Case {
    pad_id: i64,
    model_max_length: usize,
    /// Ids of each text without the padding.
    ids: Vec<Vec<i64>>,
}

fn json<T: DeserializeOwned>(file: &str) -> T {
    let path = fixtures("tokenizer").join(file);
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn copy_into(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap_or_else(|e| panic!("{}: {e}", from.display())) {
        let file = entry.expect("an entry of a fixture folder").path();
        let name = file.file_name().expect("a file in a folder has a name");
        fs::copy(&file, to.join(name)).expect("a fixture can be copied");
    }
}

/// A fixture folder, with the shared vocabulary where it has none of its own.
fn folder(case: &str) -> TempDir {
    let (from, dir) = (fixtures("tokenizer").join(case), TempDir::new().expect("a temporary folder"));
    if !from.join("tokenizer.json").exists() {
        copy_into(&fixtures("tokenizer").join("base"), dir.path());
    }
    copy_into(&from, dir.path());
    dir
}

fn load(case: &str) -> ClipTokenizer {
    ClipTokenizer::from_folder(folder(case).path()).unwrap_or_else(|e| panic!("{case}: {e}"))
}

/// The message of the error that a folder gives after a change.
fn refused(case: &str, change: impl FnOnce(&Path)) -> String {
    let dir = folder(case);
    change(dir.path());
    match ClipTokenizer::from_folder(dir.path()) {
        Ok(_) => panic!("{case}: loaded"),
        Err(e) => e.to_string(),
    }
}

fn compare(case: &str) {
    let texts: Vec<String> = json("texts.json");
    let mut cases: BTreeMap<String, Case> = json("cases.json");
    let expected = cases.remove(case).unwrap_or_else(|| panic!("no case {case}"));
    let tokenizer = load(case);
    assert_eq!(tokenizer.pad_id(), expected.pad_id, "padding");
    assert_eq!(tokenizer.model_max_length(), Some(expected.model_max_length));
    assert_eq!(texts.len(), expected.ids.len());
    for (text, ids) in texts.iter().zip(&expected.ids) {
        let found = tokenizer.encode(text).unwrap_or_else(|e| panic!("{case}: {text:?}: {e}"));
        assert_eq!(found.length, ids.len(), "{case}: length of {text:?}");
        let mut padded = ids.clone();
        padded.resize(expected.model_max_length, expected.pad_id);
        assert_eq!(found.ids, padded, "{case}: {text:?}");
        let whole = tokenizer.text_ids(text).unwrap_or_else(|e| panic!("{case}: {text:?}: {e}"));
        let cut = whole.len() > expected.model_max_length - 2;
        assert_eq!(found.truncated_text.is_some(), cut, "{case}: {text:?}");
    }
}

#[test]
fn vocab_and_merges_with_old_settings() {
    compare("openai");
}

#[test]
fn padding_of_openclip_from_the_special_tokens_map() {
    compare("openclip");
}

#[test]
fn listed_added_tokens_win_over_the_special_tokens_map() {
    compare("listed");
}

#[test]
fn vocab_and_merges_without_special_tokens_files() {
    compare("bare");
}

#[test]
fn added_tokens_of_textual_inversion() {
    compare("added");
}

#[test]
fn bytes_missing_from_the_vocabulary_become_unknown() {
    compare("few_bytes");
}

#[test]
fn tokenizer_json_alone() {
    compare("openai_saved");
}

#[test]
fn tokenizer_json_alone_with_padding_of_openclip() {
    compare("listed_saved");
}

#[test]
fn tokenizer_json_alone_with_added_tokens() {
    compare("added_saved");
}

#[test]
fn older_tokenizer_json_beside_settings() {
    compare("all_files");
}

#[test]
fn all_cases_are_compared() {
    let cases: BTreeMap<String, Case> = json("cases.json");
    assert_eq!(cases.len(), 10);
}

#[test]
fn the_built_vocabulary_is_the_one_of_the_script() {
    let words: Vec<String> = json("words.json");
    let built = vocabulary::build(&words).expect("every listed word is one word");
    let base = fixtures("tokenizer").join("base");
    let read = |name: &str| fs::read_to_string(base.join(name)).expect("a fixture can be read");
    assert_eq!(built.vocab_json(), read("vocab.json"));
    assert_eq!(built.merges_txt(), read("merges.txt"));
}

#[test]
fn broken_folders_are_refused_with_file_and_key() {
    let empty = TempDir::new().expect("a temporary folder");
    let message = ClipTokenizer::from_folder(empty.path()).map(drop).expect_err("empty").to_string();
    assert!(message.contains("no tokenizer found") && message.contains("merges.txt"), "{message}");

    let write = |dir: &Path, name: &str, text: &str| fs::write(dir.join(name), text).expect("written");
    let message = refused("bare", |dir| fs::remove_file(dir.join("merges.txt")).expect("removed"));
    assert!(message.contains("merges.txt: cannot be read"), "{message}");
    let message = refused("bare", |dir| write(dir, "merges.txt", "#version: 0.2\na b\na b c\n"));
    assert!(message.contains("merges.txt, line 3: \"a b c\""), "{message}");
    let message = refused("bare", |dir| write(dir, "merges.txt", "zz zz</w>\n"));
    assert!(message.contains("vocab.json") && message.contains("zz"), "{message}");
    let message = refused("bare", |dir| write(dir, "vocab.json", "{\"a\": -1}"));
    assert!(message.contains("vocab.json") && message.contains("line 1"), "{message}");
    let message = refused("bare", |dir| write(dir, "tokenizer_config.json", "{\"model_max_length\": 1}"));
    assert!(message.contains("tokenizer_config.json: model_max_length: 1"), "{message}");
    let message = refused("bare", |dir| write(dir, "tokenizer_config.json", "{\"pad_token\": null}"));
    assert!(message.contains("tokenizer_config.json: pad_token: null"), "{message}");
    let message = refused("bare", |dir| write(dir, "special_tokens_map.json", "{\"bos_token\": 7}"));
    assert!(message.contains("special_tokens_map.json: bos_token"), "{message}");
    let message = refused("openai_saved", |dir| {
        let file = dir.join("tokenizer.json");
        let text = fs::read_to_string(&file).expect("read").replace("\"</w>\",", "\"\",");
        fs::write(file, text).expect("written");
    });
    assert!(message.contains("tokenizer.json: model.end_of_word_suffix"), "{message}");
}

#[test]
fn a_folder_without_a_length_takes_the_encoders() {
    for settings in ["{}", "{\"model_max_length\": 1000000000000000019884624838656}"] {
        let dir = folder("bare");
        fs::write(dir.path().join("tokenizer_config.json"), settings).expect("written");
        let tokenizer = ClipTokenizer::from_folder(dir.path()).expect("it loads");
        assert_eq!(tokenizer.model_max_length(), None);
        let message = tokenizer.encode("a cat").expect_err("no length").to_string();
        assert!(message.contains("tokenizer_config.json: model_max_length"), "{message}");
        let prompt = tokenizer.with_model_max_length(7).encode("a cat").expect("a length");
        assert_eq!((prompt.ids.len(), prompt.length), (7, 4));
    }
}

#[test]
fn the_words_that_were_cut_are_told() {
    let tokenizer = load("openai").with_model_max_length(6);
    let cut = |text: &str| tokenizer.encode(text).unwrap_or_else(|e| panic!("{text:?}: {e}")).truncated_text;
    assert_eq!(cut("a red cat sitting"), None);
    assert_eq!(cut("a red cat  Sitting in the SNOW "), Some("in the SNOW".into()));
    // "xylophone" is several tokens: a word of which only a part fits counts as cut.
    assert_eq!(cut("a red xylophone here"), Some("xylophone here".into()));
    assert_eq!(cut("a red cat and 東京"), Some("東京".into()));
    assert_eq!(cut("a red cat and cafe\u{301}!"), Some("cafe\u{301}!".into()));
    assert_eq!(cut(&"🧑‍🚀".repeat(9)).as_deref(), Some("🧑‍🚀".repeat(9).as_str()));
}
