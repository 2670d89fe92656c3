//! Text and identity as the U-Net takes them, with the unconditional row for guidance beside each.

use imagine_contract::{GenerateRequest, Identity};
use imagine_unet::{Condition, CrossKv, IdentityTokens};
use tch::{Kind, Tensor};

use crate::error::PipelineError;
use crate::model::StableDiffusion;

/// The condition of one request: computed once, used in every step.
pub struct Prepared {
    /// Keys and values of [unconditional, conditional] rows, or of the conditional row alone.
    pub cross: CrossKv,
    /// Whether there is an unconditional row.
    pub guided: bool,
    /// Words of the prompt that did not fit the text encoder.
    pub ignored_words: Option<String>,
}

impl StableDiffusion {
    /// Encodes prompt and identity. `guided` adds the unconditional row: the negative prompt and the
    /// identity of nobody.
    pub(crate) fn prepare(&self, request: &GenerateRequest, guided: bool) -> Result<Prepared, PipelineError> {
        let prompt = self.tokenizer.encode(&request.prompt)?;
        let negative = self.tokenizer.encode(&request.negative_prompt)?;
        let rows: Vec<&[i64]> = if guided { vec![&negative.ids, &prompt.ids] } else { vec![&prompt.ids] };
        let count = rows.len() as i64;
        let ids = Tensor::from_slice(&rows.concat()).f_view([count, -1])?; // [rows, S]
        let text = self.text_encoder.forward(&ids, false)?.last_hidden_state; // [rows, S, C]
        let identity = self.identity_tokens(request.identity.as_ref(), guided)?;
        let cross = self.unet.cross_kv(&Condition { text, identity });
        Ok(Prepared { cross, guided, ignored_words: prompt.truncated_text })
    }

    /// Tokens of [nobody, the person] with their scale; nobody twice where no person is given, which
    /// is how adapters were trained to draw anyone.
    fn identity_tokens(
        &self,
        identity: Option<&Identity>,
        guided: bool,
    ) -> Result<Option<IdentityTokens>, PipelineError> {
        let adapter = match (&self.adapter, identity) {
            (Some(adapter), _) => adapter,
            (None, None) => return Ok(None),
            (None, Some(_)) => {
                let reason = "this model has no identity adapter, so it cannot draw a given person";
                return Err(PipelineError::Unsupported(reason.into()));
            }
        };
        let projection = adapter.projection();
        let nobody = projection.unconditional(1); // [1, T, C]
        let (person, scale) = match identity {
            Some(identity) => {
                let width = identity.embedding.len() as i64;
                adapter.check_embedding(width)?;
                let embedding = Tensor::from_slice(&identity.embedding).f_view([1, width])?;
                (projection.forward(&embedding), identity.scale)
            }
            None => (nobody.shallow_clone(), 1.0),
        };
        let tokens = if guided { Tensor::f_cat(&[nobody, person], 0)? } else { person };
        let scale = Tensor::f_full([tokens.size()[0]], scale, (Kind::Float, self.device))?;
        Ok(Some(IdentityTokens { tokens, scale }))
    }
}
