//! Text that a model writes within a grammar: expansions, and what it would look up first.

use imagine_contract::{CancelFlag, ExpandError, Mode};
use llama_cpp_2::model::LlamaChatMessage;
use llama_cpp_2::sampling::LlamaSampler;

use super::context::{Context, failed, position};
use crate::choose::Notes;
use crate::write;

/// Tokens of a written answer.
const ANSWER: usize = 420;
/// Tokens of what is looked up.
const QUERY: usize = 32;
const TEMPERATURE: f32 = 0.6;

impl Context<'_> {
    /// Reads what every conversation begins with, so that the first idea does not wait for it.
    ///
    /// # Errors
    /// [`ExpandError::Failed`].
    pub fn warm(&mut self, mode: Mode) -> Result<(), ExpandError> {
        let begins = match mode {
            Mode::Write => self.chat(&write::user("", ""))?,
            _ => Notes::about("a person").text().to_owned(),
        };
        let tokens = self.tokens(&begins);
        self.read(&tokens).map(drop)
    }

    /// Writes an answer to an idea within the grammar; `on_text` gets what a person can read of it.
    ///
    /// # Errors
    /// [`ExpandError::Canceled`], [`ExpandError::Failed`].
    pub fn write(
        &mut self,
        idea: &str,
        web: &str,
        seed: u64,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<String, ExpandError> {
        let prompt = self.chat(&write::user(&plain(idea), &plain(web)))?;
        // The seed's lower half is what llama.cpp takes.
        let seed = (seed ^ (seed >> 32)) as u32;
        let draw = [LlamaSampler::temp(TEMPERATURE), LlamaSampler::dist(seed)];
        let mut readable = write::Readable::default();
        let mut on_piece = |piece: &str| {
            let text = readable.push(piece);
            if !text.is_empty() {
                on_text(&text);
            }
            piece.trim_end().ends_with('}')
        };
        self.generate(&prompt, &write::grammar(), draw, ANSWER, &mut on_piece, cancel)
    }

    /// What the model would look up on the web before it writes about an idea; nothing, where it knows enough.
    ///
    /// # Errors
    /// [`ExpandError::Canceled`], [`ExpandError::Failed`].
    pub fn query(&mut self, idea: &str, cancel: &CancelFlag) -> Result<Option<String>, ExpandError> {
        let prompt = self.chat(&write::query(&plain(idea)))?;
        let likeliest = [LlamaSampler::greedy()];
        let answer =
            self.generate(&prompt, write::QUERY_GRAMMAR, likeliest, QUERY, &mut |_| false, cancel)?;
        Ok(write::query_of(&answer))
    }

    /// Tokens drawn one by one within a grammar until the model ends, `on_piece` says that it is enough, or `most`
    /// are there.
    fn generate(
        &mut self,
        prompt: &str,
        grammar: &str,
        draw: impl IntoIterator<Item = LlamaSampler>,
        most: usize,
        on_piece: &mut dyn FnMut(&str) -> bool,
        cancel: &CancelFlag,
    ) -> Result<String, ExpandError> {
        let tokens = self.tokens(prompt);
        let mut last = self.read(&tokens)?;
        let grammar = LlamaSampler::grammar(self.model, grammar, "root").map_err(failed)?;
        let mut sampler = LlamaSampler::chain_simple(std::iter::once(grammar).chain(draw));
        let mut bytes: Vec<u8> = Vec::new();
        let mut shown = 0;
        for at in tokens.len()..tokens.len() + most {
            if cancel.is_canceled() {
                return Err(ExpandError::Canceled);
            }
            let token = sampler.sample(&self.llama, last);
            if self.model.vocab().is_eog(token) {
                break;
            }
            bytes.extend(self.model.vocab().detokenize(&[token], false, false));
            // A character may be spread over several tokens.
            let whole = match std::str::from_utf8(bytes.get(shown..).unwrap_or_default()) {
                Ok(text) => text.len(),
                Err(error) => error.valid_up_to(),
            };
            let piece =
                String::from_utf8_lossy(bytes.get(shown..shown + whole).unwrap_or_default()).into_owned();
            shown += whole;
            if on_piece(&piece) {
                break;
            }
            self.batch.clear();
            self.batch.add(token, position(at)?, &[0], true).map_err(failed)?;
            self.llama.decode(&mut self.batch).map_err(failed)?;
            self.held.push(token);
            last = 0;
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The conversation up to a question, in the model's own chat template.
    fn chat(&self, question: &str) -> Result<String, ExpandError> {
        let message = |role: &str, content: &str| {
            // NUL ends a C string
            LlamaChatMessage::new(role.into(), content.replace('\0', " ")).map_err(failed)
        };
        let mut messages = vec![message("system", write::system())?];
        for (question, answer) in write::examples() {
            messages.push(message("user", &question)?);
            messages.push(message("assistant", &answer)?);
        }
        messages.push(message("user", question)?);
        let template = self.model.chat_template(None).map_err(failed)?;
        self.model.apply_chat_template(&template, &messages, true).map_err(failed)
    }
}

/// Text without the marks of which chat templates make their control tokens.
fn plain(text: &str) -> String {
    text.replace("<|", "< ").replace("|>", " >").replace("[INST]", " ").replace("[/INST]", " ")
}
