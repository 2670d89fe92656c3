//! Expanders around expanders: one that remembers, one that falls back.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};

use imagine_contract::{CancelFlag, ExpandError, Expander, Expansion, Idea, NoteCode};

/// Remembers expansions in memory by model, idea and seed: the same question costs nothing the second time. Nothing
/// is written anywhere.
pub struct Cached<E> {
    inner: E,
    kept: Mutex<Kept>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    by_key: HashMap<u64, (Idea, Expansion)>,
    /// Oldest first.
    order: VecDeque<u64>,
}

impl<E: Expander> Cached<E> {
    /// Remembers up to `most` expansions, the latest.
    pub fn new(inner: E, most: usize) -> Self {
        Self { inner, kept: Mutex::default(), most }
    }

    fn key(&self, idea: &Idea) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.inner.name(), idea.text.as_str(), idea.seed).hash(&mut hasher);
        (format!("{:?}", idea.dialect), &idea.style, &idea.trigger_word, idea.person).hash(&mut hasher);
        idea.language.hash(&mut hasher);
        hasher.finish()
    }
}

impl<E: Expander> Expander for Cached<E> {
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Expansion, ExpandError> {
        let key = self.key(idea);
        {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, expansion)) = kept.by_key.get(&key).filter(|(known, _)| known == idea) {
                on_text(&expansion.prompt);
                return Ok(expansion.clone());
            }
        }
        let expansion = self.inner.expand(idea, on_text, cancel)?;
        // What another backend made in its place, or with a search that failed, may be better next time.
        if expansion.note.is_none() && self.most > 0 {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.by_key.insert(key, (idea.clone(), expansion.clone())).is_none() {
                kept.order.push_back(key);
            }
            while kept.order.len() > self.most {
                if let Some(oldest) = kept.order.pop_front() {
                    kept.by_key.remove(&oldest);
                }
            }
        }
        Ok(expansion)
    }

    fn check(&self, text: &str) -> Result<(), ExpandError> {
        self.inner.check(text)
    }

    fn can_ground(&self) -> bool {
        self.inner.can_ground()
    }

    fn name(&self) -> &str {
        self.inner.name()
    }
}

/// Asks a second expander where the first one cannot answer, and says so.
pub struct WithFallback<A, B> {
    first: A,
    second: B,
}

impl<A: Expander, B: Expander> WithFallback<A, B> {
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

impl<A: Expander, B: Expander> Expander for WithFallback<A, B> {
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Expansion, ExpandError> {
        let reason = match self.first.expand(idea, on_text, cancel) {
            Err(ExpandError::Unavailable(reason) | ExpandError::Failed(reason)) => reason,
            other => return other,
        };
        let made = self.second.expand(idea, on_text, cancel)?;
        let note = format!("{} answered, because {reason}", self.second.name());
        Ok(made.with_note(NoteCode::OtherBackend, Some(note)))
    }

    fn check(&self, text: &str) -> Result<(), ExpandError> {
        self.first.check(text)
    }

    fn can_ground(&self) -> bool {
        self.first.can_ground() || self.second.can_ground()
    }

    fn name(&self) -> &str {
        self.first.name()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::knowledge::Knowledge;
    use crate::template::Template;

    /// Counts calls; fails where it is told to.
    struct Counting(Template, AtomicUsize, Option<ExpandError>);

    impl Counting {
        fn new(error: Option<ExpandError>) -> Self {
            let knowledge = Arc::new(Knowledge::built_in().unwrap());
            Self(Template::new(knowledge), AtomicUsize::new(0), error)
        }
    }

    impl Expander for Counting {
        fn expand(
            &self,
            idea: &Idea,
            on_text: &mut dyn FnMut(&str),
            cancel: &CancelFlag,
        ) -> Result<Expansion, ExpandError> {
            self.1.fetch_add(1, Ordering::Relaxed);
            self.2.clone().map_or_else(|| self.0.expand(idea, on_text, cancel), Err)
        }

        fn check(&self, text: &str) -> Result<(), ExpandError> {
            self.0.check(text)
        }

        fn name(&self) -> &str {
            "counting"
        }
    }

    fn ask(expander: &dyn Expander, text: &str, seed: u64) -> Result<Expansion, ExpandError> {
        expander.expand(&Idea::new(text, seed), &mut |_| {}, &CancelFlag::default())
    }

    #[test]
    fn the_same_question_is_asked_once() {
        let cached = Cached::new(Counting::new(None), 2);
        let first = ask(&cached, "me as a king", 1).unwrap();
        assert_eq!(ask(&cached, "me as a king", 1).unwrap(), first);
        let calls = || cached.inner.1.load(Ordering::Relaxed);
        assert_eq!(calls(), 1);
        ask(&cached, "me as a king", 2).unwrap();
        ask(&cached, "me as a queen", 1).unwrap();
        assert_eq!(calls(), 3);
        ask(&cached, "me as a king", 1).unwrap();
        assert_eq!(calls(), 4, "the oldest was forgotten");
    }

    #[test]
    fn a_backend_that_is_away_is_replaced_and_named() {
        let template = || Counting::new(None).0;
        let away = Counting::new(Some(ExpandError::Unavailable("the server is away".into())));
        let made = ask(&WithFallback::new(away, template()), "me as a king", 1).unwrap();
        assert_eq!(made.note.as_deref(), Some("template answered, because the server is away"));
        assert_eq!(made.note_codes, [NoteCode::OtherBackend]);
        assert_eq!(made.backend, "template");
    }

    #[test]
    fn a_refusal_is_no_reason_to_ask_another() {
        let refusing = Counting::new(Some(ExpandError::Refused { rule: "r".into(), reason: "no".into() }));
        let second = Counting::new(None);
        let both = WithFallback::new(refusing, second);
        assert!(matches!(ask(&both, "me as a king", 1), Err(ExpandError::Refused { .. })));
        assert_eq!(both.second.1.load(Ordering::Relaxed), 0);
    }
}
