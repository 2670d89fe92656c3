//! The rooms where words become numbers: the CLIP tokenizer and the CLIP text encoder, whose hidden
//! states the U-Net attends to.
//!
//! What may enter: encoders of conditions (text, and pictures as CLIP sees them), their tokenizers,
//! the building of small vocabularies for training. What may not: the U-Net's own blocks, schedulers,
//! face detection, decoding of photos, sampling loops.

pub mod clip_encoder;
pub mod clip_text;
pub mod clip_text_config;
pub mod tokenizer;
mod tokenizer_files;
pub mod vocabulary;

pub use clip_text::{ClipTextError, ClipTextModel, ClipTextOutput};
pub use clip_text_config::ClipTextConfig;
pub use tokenizer::{ClipTokenizer, TokenizedPrompt, TokenizerError};
pub use vocabulary::{Vocabulary, VocabularyError};
