//! The rooms where words and pictures become numbers: the CLIP tokenizer and the CLIP text encoder, whose
//! hidden states the U-Net attends to, and the CLIP vision encoder, whose states image adapters read.
//!
//! What may enter: encoders of conditions (text, and pictures as CLIP sees them), their tokenizers,
//! the building of small vocabularies for training. What may not: the U-Net's own blocks, schedulers,
//! face detection, decoding of photos, sampling loops.

pub mod clip_encoder;
pub mod clip_text;
pub mod clip_text_config;
pub mod clip_vision;
pub mod clip_vision_config;
mod clip_vocabulary;
pub mod image_processor;
pub mod resample;
pub mod tokenizer;
mod tokenizer_files;
pub mod vocabulary;

pub use clip_text::{ClipTextError, ClipTextModel, ClipTextOutput};
pub use clip_text_config::ClipTextConfig;
pub use clip_vision::{ClipVisionError, ClipVisionModel, ClipVisionOutput};
pub use clip_vision_config::ClipVisionConfig;
pub use image_processor::{ClipImageProcessor, ImageProcessorError, TargetSize};
pub use resample::Filter;
pub use tokenizer::{ClipTokenizer, TokenizedPrompt, TokenizerError};
pub use vocabulary::{Vocabulary, VocabularyError};
