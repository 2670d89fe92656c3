//! The room where ideas become prompts: a person's few words in, a structured expansion out, by a local language
//! model, a server, or rules alone.
//!
//! What may enter: words, phrases, language models, the servers that run them, a web search. What may not: tensors of
//! the diffusion model, CLIP, pictures, files of people. What is known about languages, phrases and safety lies in
//! `data/`, not in code.

mod bank;
pub mod choose;
pub mod compose;
mod data;
mod dialects;
pub mod evaluate;
mod ground;
mod guard;
mod knowledge;
mod language;
mod layers;
mod lexicon;
#[cfg(feature = "llama")]
mod llama;
mod place;
mod query;
mod remote;
mod rewording;
mod roles;
mod safety;
mod seed;
mod subject;
mod template;
mod topics;
mod words;
pub mod write;

pub use data::DataError;
pub use ground::{Grounding, SearchApi};
pub use knowledge::{Knowledge, Preset, Understood};
pub use layers::{Cached, WithFallback};
#[cfg(feature = "llama")]
pub use llama::{Llama, LlamaOptions};
pub use remote::{Remote, RemoteOptions};
pub use safety::train as refusals;
pub use template::{TEMPLATE, Template};
