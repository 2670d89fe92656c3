//! The backend that always works: rules, the bank and the seed, no model.

use std::sync::Arc;

use imagine_contract::{CancelFlag, ExpandError, Expander, Expansion, Idea, Mode, NoteCode, Parts};

use crate::compose::{Draft, ORDER};
use crate::ground::{Grounding, in_english};
use crate::knowledge::Knowledge;
use crate::query;
use crate::seed::Seeded;

/// Name of the backend.
pub const TEMPLATE: &str = "template";

/// Fills the parts from the bank by the idea's topics and the seed.
#[derive(Clone, Debug)]
pub struct Template {
    knowledge: Arc<Knowledge>,
    grounding: Option<Arc<Grounding>>,
}

impl Template {
    pub fn new(knowledge: Arc<Knowledge>) -> Self {
        Self { knowledge, grounding: None }
    }

    /// Looks up on the web what ideas are about.
    pub fn grounded(mut self, grounding: Option<Arc<Grounding>>) -> Self {
        self.grounding = grounding;
        self
    }
}

/// Fills a draft's parts by the seed alone.
pub fn fill(draft: &Draft, seed: u64, on_text: &mut dyn FnMut(&str)) -> Parts {
    let mut parts = Parts::default();
    on_text(&draft.understood.subject.text);
    for slot in ORDER {
        let candidates = draft.candidates(slot);
        let purpose = format!("{}/{}", slot.name(), draft.understood.english);
        let chosen = Seeded::new(seed, &purpose).below(candidates.len());
        if let Some(text) = candidates.get(chosen) {
            on_text(", ");
            on_text(text);
            parts.set(slot, text.clone());
        }
    }
    parts
}

impl Expander for Template {
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Expansion, ExpandError> {
        let understood = self.knowledge.understand(idea)?;
        if cancel.is_canceled() {
            return Err(ExpandError::Canceled);
        }
        let (sources, note) = match self.grounding.as_ref().filter(|_| idea.ground) {
            Some(grounding) => grounding.look_up(&query::of(idea, &self.knowledge), &self.knowledge),
            None => (Vec::new(), None),
        };
        let context = in_english(&sources, &self.knowledge);
        let draft = Draft::new(&self.knowledge, idea, understood, &context);
        let parts = fill(&draft, idea.seed, on_text);
        let made = draft.finish(idea, parts, TEMPLATE, Mode::Template, sources);
        Ok(made.with_note(NoteCode::SearchFailed, note))
    }

    fn check(&self, text: &str) -> Result<(), ExpandError> {
        self.knowledge.safety.check(text)
    }

    fn can_ground(&self) -> bool {
        self.grounding.is_some()
    }

    fn name(&self) -> &str {
        TEMPLATE
    }
}
