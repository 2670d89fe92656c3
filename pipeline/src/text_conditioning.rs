//! Prompts as the U-Net hears them: one text encoder (Stable Diffusion 1.x and 2.x) or two (SDXL).
//!
//! Reference implementation: `encode_prompt` of diffusers' pipelines. Which layer is heard, and whether
//! the encoders are joined, is data ([`Hearing`]); the way of a prompt is the same for all.

use std::ops::Range;

use imagine_encoders::{ClipTextModel, ClipTextOutput, ClipTokenizer, TokenizedPrompt};
use imagine_identity::adapters::{SpecialTokens, TriggerPrompt, split_at_trigger};
use tch::Tensor;

use crate::error::PipelineError;

/// A tokenizer and the network that reads its ids.
pub struct TextEncoder {
    tokenizer: ClipTokenizer,
    model: ClipTextModel,
}

impl TextEncoder {
    /// Prompts become as long as the encoder takes, where the tokenizer's folder says nothing or more.
    pub fn new(tokenizer: ClipTokenizer, model: ClipTextModel) -> Self {
        let limit = model.config().max_position_embeddings as usize;
        let tokenizer = match tokenizer.model_max_length() {
            Some(length) if length <= limit => tokenizer,
            _ => tokenizer.with_model_max_length(limit),
        };
        Self { tokenizer, model }
    }

    pub fn tokenizer(&self) -> &ClipTokenizer {
        &self.tokenizer
    }

    pub fn model(&self) -> &ClipTextModel {
        &self.model
    }

    /// All prompts in one batch; hidden states are kept where `hidden` says so.
    fn encode(&self, prompts: &[TokenizedPrompt], hidden: bool) -> Result<ClipTextOutput, PipelineError> {
        let rows: Vec<&[i64]> = prompts.iter().map(|p| p.ids.as_slice()).collect();
        let ids = Tensor::from_slice(&rows.concat()).f_view([rows.len() as i64, -1])?; // [rows, S]
        Ok(self.model.forward(&ids, hidden)?)
    }
}

/// What of the text encoders is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// The last layer, normalised.
    LastLayer,
    /// The last layer but one of every encoder, side by side, and the last encoder's pooled projection.
    Penultimate {
        /// Where no negative prompt is given, its row is zeros (`force_zeros_for_empty_prompt`).
        zeros_for_empty_negative: bool,
    },
}

/// The prompts of a request, as rows: the negative prompt first where there is guidance.
pub struct TextCondition {
    /// [rows, S, C]
    pub states: Tensor,
    /// [rows, P], where the model is told of the whole prompt in one vector.
    pub pooled: Option<Tensor>,
    /// Words of the prompt that did not fit.
    pub ignored_words: Option<String>,
}

/// A prompt with a trigger word: first the text alone is heard, then the text about the person.
pub struct TriggerCondition {
    pub with_person: TextCondition,
    pub text_only: TextCondition,
    /// Places of the word for the person in `with_person`.
    pub class_tokens: Range<usize>,
}

/// The prompts of a request.
#[derive(Clone, Copy)]
pub struct Prompts<'a> {
    pub prompt: &'a str,
    pub negative: &'a str,
    /// Whether the negative prompt is needed.
    pub guided: bool,
    /// Layers left out at the end of the encoders, for the prompt alone (as in diffusers).
    pub clip_skip: u32,
}

/// All text encoders of a model.
pub struct TextConditioner {
    encoders: Vec<TextEncoder>,
    hearing: Hearing,
}

impl TextConditioner {
    pub fn new(encoders: Vec<TextEncoder>, hearing: Hearing) -> Self {
        Self { encoders, hearing }
    }

    pub fn encoders(&self) -> &[TextEncoder] {
        &self.encoders
    }

    /// Width of the states, C.
    pub fn width(&self) -> i64 {
        self.encoders.iter().map(|e| e.model.config().hidden_size).sum()
    }

    /// Width of the pooled projection, P; none where it is not heard.
    pub fn pooled_width(&self) -> Option<i64> {
        match self.hearing {
            Hearing::LastLayer => None,
            Hearing::Penultimate { .. } => self.encoders.last()?.model.config().projection().ok(),
        }
    }

    /// Encodes the prompts of a request.
    ///
    /// # Errors
    /// A `clip_skip` beyond the encoders' layers; a prompt that cannot be tokenized.
    pub fn encode(&self, prompts: &Prompts) -> Result<TextCondition, PipelineError> {
        let encode = |encoder: &TextEncoder| encoder.tokenizer.encode(prompts.prompt);
        let each = self.encoders.iter().map(encode).collect::<Result<_, _>>()?;
        self.encode_each(each, prompts)
    }

    /// Encodes a prompt with a trigger word twice: with the word before it in `tokens` places for a person,
    /// and without the trigger. See [`TriggerPrompt`].
    ///
    /// # Errors
    /// As [`Self::encode`]; a prompt without the trigger, or without room for the person.
    pub fn encode_trigger(
        &self,
        prompts: &Prompts,
        trigger: &str,
        tokens: usize,
    ) -> Result<TriggerCondition, PipelineError> {
        let (before, after) = split_at_trigger(prompts.prompt, trigger)?;
        let (mut with_person, mut text_only, mut class_tokens) = (Vec::new(), Vec::new(), 0..0);
        for TextEncoder { tokenizer, model } in &self.encoders {
            let special = SpecialTokens {
                start: tokenizer.bos_id(),
                end: tokenizer.eos_id(),
                padding: tokenizer.pad_id(),
                length: tokenizer
                    .model_max_length()
                    .unwrap_or(model.config().max_position_embeddings as usize),
            };
            let (before, after) = (tokenizer.text_ids(before)?, tokenizer.text_ids(after)?);
            let made = TriggerPrompt::new(&before, &after, trigger, tokens, special)?;
            let cut = (made.cut > 0).then(|| format!("the last {} tokens", made.cut));
            let prompt =
                |ids: Vec<i64>| TokenizedPrompt { length: ids.len(), ids, truncated_text: cut.clone() };
            with_person.push(prompt(made.ids));
            text_only.push(prompt(made.text_only));
            class_tokens = made.class_tokens;
        }
        Ok(TriggerCondition {
            with_person: self.encode_each(with_person, prompts)?,
            text_only: self.encode_each(text_only, prompts)?,
            class_tokens,
        })
    }

    /// Encodes a prompt that is tokenized for each encoder, and the negative prompt beside it.
    fn encode_each(
        &self,
        tokenized: Vec<TokenizedPrompt>,
        prompts: &Prompts,
    ) -> Result<TextCondition, PipelineError> {
        let mut ignored_words = None;
        let (mut states, mut pooled) = (Vec::new(), None);
        let is_zero = matches!(self.hearing, Hearing::Penultimate { zeros_for_empty_negative: true })
            && prompts.negative.is_empty();
        for (encoder, prompt) in self.encoders.iter().zip(tokenized) {
            ignored_words = ignored_words.or_else(|| prompt.truncated_text.clone());
            let mut rows = vec![prompt];
            // What will be zeros is not computed: for SDXL that is half of the time to the first step.
            if prompts.guided && !is_zero {
                rows.insert(0, encoder.tokenizer.encode(prompts.negative)?);
            }
            let (heard, whole) = self.heard(encoder, &rows, prompts)?;
            states.push(heard);
            pooled = whole;
        }
        let states = Tensor::f_cat(&states, -1)?; // [rows, S, C]
        let condition = TextCondition { states, pooled, ignored_words };
        if prompts.guided && is_zero { condition.behind_zeros() } else { Ok(condition) }
    }

    /// States [rows, S, hidden] and pooled projection [rows, P] of one encoder.
    fn heard(
        &self,
        encoder: &TextEncoder,
        rows: &[TokenizedPrompt],
        prompts: &Prompts,
    ) -> Result<(Tensor, Option<Tensor>), PipelineError> {
        let skip = prompts.clip_skip as usize;
        let layers = encoder.model.config().num_hidden_layers as usize;
        let (usual, normed) = match self.hearing {
            Hearing::LastLayer => (0, true),
            Hearing::Penultimate { .. } => (1, false),
        };
        if usual + skip > layers {
            let most = layers - usual.min(layers);
            return Err(PipelineError::ClipSkip { skip: prompts.clip_skip, layers, most });
        }
        let mut output = encoder.encode(rows, usual + skip > 0)?;
        let pooled = output.text_embeds.take().filter(|_| !normed);
        if normed && skip == 0 {
            return Ok((output.last_hidden_state, None));
        }
        let layer = |skip: usize| -> Result<Tensor, PipelineError> {
            let state = output.hidden_state(usual + skip)?;
            Ok(if normed { encoder.model.final_layer_norm(state) } else { state.shallow_clone() })
        };
        if skip == 0 || !prompts.guided {
            return Ok((layer(skip)?, pooled));
        }
        let (negative, prompt) = (layer(0)?.f_narrow(0, 0, 1)?, layer(skip)?.f_narrow(0, 1, 1)?);
        Ok((Tensor::f_cat(&[negative, prompt], 0)?, pooled)) // [2, S, hidden]
    }
}

impl TextCondition {
    /// The same with other states for the prompt, [1, S, C]; those of the negative prompt stay.
    pub fn with_prompt_states(self, prompt: &Tensor) -> Result<Self, PipelineError> {
        let negatives = self.states.size()[0] - 1;
        let states = Tensor::f_cat(&[&self.states.f_narrow(0, 0, negatives)?, prompt], 0)?; // [rows, S, C]
        Ok(Self { states, ..self })
    }

    /// States of the prompt, without those of the negative prompt: [1, S, C]
    pub fn prompt_states(&self) -> Result<Tensor, PipelineError> {
        Ok(self.states.f_narrow(0, self.states.size()[0] - 1, 1)?)
    }

    /// Behind a row of zeros in the place of a negative prompt.
    fn behind_zeros(self) -> Result<Self, PipelineError> {
        let zeroed = |t: &Tensor| -> Result<Tensor, PipelineError> {
            Ok(Tensor::f_cat(&[t.f_narrow(0, 0, 1)?.f_zeros_like()?, t.shallow_clone()], 0)?)
        };
        let pooled = self.pooled.as_ref().map(&zeroed).transpose()?;
        Ok(Self { states: zeroed(&self.states)?, pooled, ..self })
    }
}
