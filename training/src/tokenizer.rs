//! The starter model's tokenizer: CLIP's byte-pair encoding over a vocabulary of its own, in which
//! every word that the renderer or a caption template says is one token.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use crate::captions::TEMPLATE_WORDS;
use crate::error::TrainingError;
use crate::recipe;

/// What is read of `render/vocabulary.json`.
#[derive(Deserialize)]
struct RendererVocabulary {
    words: Vec<String>,
}

/// Writes `tokenizer/` below `out`.
pub fn build(vocabulary: &Path, out: &Path) -> Result<(), TrainingError> {
    let text = std::fs::read_to_string(vocabulary).map_err(TrainingError::io(vocabulary))?;
    let renderer: RendererVocabulary = serde_json::from_str(&text)
        .map_err(|source| TrainingError::Json { path: vocabulary.into(), source })?;
    let template = TEMPLATE_WORDS.iter().map(|w| w.to_string());
    // CLIP splits at hyphens and between digits and letters.
    let words: BTreeSet<String> = renderer
        .words
        .into_iter()
        .chain(template)
        .flat_map(|word| word.split('-').map(str::to_lowercase).collect::<Vec<_>>())
        .filter(|word| !word.is_empty() && word.chars().all(char::is_alphabetic))
        .collect();
    let words: Vec<String> = words.into_iter().collect();
    let built = imagine_encoders::vocabulary::build(&words)?;
    built.save(&out.join("tokenizer"), recipe::TEXT_LENGTH as usize)?;
    println!("tokenizer: {} words, {} tokens", words.len(), built.tokens.len());
    Ok(())
}
