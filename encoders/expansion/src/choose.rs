//! Expansions that a small model chooses: it weighs the bank's phrases by how likely each is after the idea.

use imagine_contract::{CancelFlag, ExpandError, Parts, Slot};

use crate::compose::{Draft, ORDER};
use crate::seed::Seeded;

/// A language model that weighs continuations.
pub trait Judge {
    /// For each candidate, how much likelier (natural logarithm, a token's mean) it is after `context` than after
    /// `neutral`.
    ///
    /// # Errors
    /// [`ExpandError::Failed`] where the model fails.
    fn weigh(&mut self, context: &str, neutral: &str, candidates: &[String])
    -> Result<Vec<f64>, ExpandError>;
}

/// How far a choice may stray from the best, in nats a token.
const TEMPERATURE: f64 = 0.08;
/// Candidates that are weighed for a part, and how many of them are the list's first.
const SHORTLIST: usize = 6;
const OWN: usize = 4;
/// By how much, in nats a token, a topic must be likelier than any other topic's mean to be taken.
const MARGIN: f64 = 1.0;

/// What stands before every idea: constant, so that it stays in the KV cache.
const PREFIX: &str = "Notes for a photographer. Each idea is about a person.\n\n\
Idea: a person as a beekeeper\nTheme: farm\nSetting: beehives in a flowering meadow\nWardrobe: in a white suit with a veil\n\
Pose: holding a honeycomb\nExpression: with a careful smile\nLight: soft summer light\nStyle: documentary photograph\n\
Camera: 50 mm lens\n\n";

/// The idea that says nothing, against which candidates are weighed.
const NOTHING: &str = "a person";

/// Notes about an idea so far, as the model reads them.
#[derive(Clone, Debug)]
pub struct Notes {
    text: String,
    neutral: String,
}

impl Notes {
    pub fn about(idea: &str) -> Self {
        let begin = |idea: &str| format!("{PREFIX}Idea: {idea}\n");
        Self { text: begin(idea), neutral: begin(NOTHING) }
    }

    /// As far as they go.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Adds a line.
    fn add(&mut self, label: &str, text: &str) {
        self.text.push_str(&format!("{label}: {text}\n"));
    }

    /// How well each candidate fits behind a label.
    ///
    /// # Errors
    /// As [`Judge::weigh`].
    pub fn weigh(
        &self,
        judge: &mut dyn Judge,
        label: &str,
        candidates: &[String],
    ) -> Result<Vec<f64>, ExpandError> {
        let after = |text: &str| format!("{text}{label}:");
        let spaced: Vec<String> = candidates.iter().map(|candidate| format!(" {candidate}")).collect();
        judge.weigh(&after(&self.text), &after(&self.neutral), &spaced)
    }
}

fn label(slot: Slot) -> &'static str {
    match slot {
        Slot::Style => "Style",
        Slot::Setting => "Setting",
        Slot::Wardrobe => "Wardrobe",
        Slot::Light => "Light",
        Slot::Camera => "Camera",
        Slot::Expression => "Expression",
        Slot::Pose => "Pose",
    }
}

/// Fills a draft's parts by the model's weights and the seed.
///
/// # Errors
/// [`ExpandError::Canceled`]; what the judge fails with.
pub fn fill(
    draft: &mut Draft,
    topics: &[String],
    judge: &mut dyn Judge,
    seed: u64,
    on_text: &mut dyn FnMut(&str),
    cancel: &CancelFlag,
) -> Result<Parts, ExpandError> {
    on_text(&draft.understood.subject.text);
    let mut notes = Notes::about(&draft.understood.english);
    if draft.topics().is_empty()
        && let Some(topic) = topic(&notes, topics, judge)?
    {
        draft.assume(&topic);
    }
    if let Some(topic) = draft.topics().first() {
        notes.add("Theme", topic);
    }
    let mut parts = Parts::default();
    for slot in ORDER {
        if cancel.is_canceled() {
            return Err(ExpandError::Canceled);
        }
        let mut seeded = Seeded::new(seed, slot.name());
        let candidates = shortlist(draft.candidates(slot), &mut seeded);
        let chosen = match candidates.len() {
            0 => continue,
            1 => 0,
            _ => seeded.softmax(&notes.weigh(judge, label(slot), &candidates)?, TEMPERATURE),
        };
        if let Some(text) = candidates.get(chosen) {
            on_text(", ");
            on_text(text);
            notes.add(label(slot), text);
            parts.set(slot, text.clone());
        }
    }
    Ok(parts)
}

/// The first candidates, which are the idea's own, and some of the rest by the seed: each costs time.
fn shortlist(mut candidates: Vec<String>, seeded: &mut Seeded) -> Vec<String> {
    while candidates.len() > SHORTLIST {
        let others = candidates.len() - OWN;
        candidates.remove(OWN + seeded.below(others));
    }
    candidates
}

/// The topic that stands out from the others; none where none does.
fn topic(notes: &Notes, topics: &[String], judge: &mut dyn Judge) -> Result<Option<String>, ExpandError> {
    let weights = notes.weigh(judge, "Theme", topics)?;
    let mean = weights.iter().sum::<f64>() / weights.len().max(1) as f64;
    let best = weights.iter().zip(topics).max_by(|a, b| a.0.total_cmp(b.0));
    Ok(best.filter(|(weight, _)| **weight - mean > MARGIN).map(|(_, topic)| topic.clone()))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_contract::Idea;

    use super::*;
    use crate::knowledge::Knowledge;

    /// Likes candidates that hold a word, and remembers what it was shown.
    struct Likes(&'static str, Vec<String>);

    impl Judge for Likes {
        fn weigh(&mut self, context: &str, _: &str, candidates: &[String]) -> Result<Vec<f64>, ExpandError> {
            self.1.push(context.to_owned());
            Ok(candidates.iter().map(|text| if text.contains(self.0) { 50.0 } else { 0.0 }).collect())
        }
    }

    fn choose(text: &str, likes: &'static str) -> (Parts, Vec<String>) {
        let knowledge = Knowledge::built_in().unwrap();
        let idea = Idea::new(text, 1);
        let understood = knowledge.understand(&idea).unwrap();
        let mut draft = Draft::new(&knowledge, &idea, understood, "");
        let mut judge = Likes(likes, Vec::new());
        let cancel = CancelFlag::default();
        let topics = knowledge.topics.names().to_vec();
        let parts = fill(&mut draft, &topics, &mut judge, 1, &mut |_| {}, &cancel).unwrap();
        (parts, judge.1)
    }

    #[test]
    fn what_the_model_likes_is_taken() {
        assert_eq!(choose("me as an astronaut", "grey surface").0.setting, "the grey surface of the moon");
        assert_eq!(choose("me as an astronaut", "red dunes").0.setting, "red dunes of mars");
    }

    #[test]
    fn an_unknown_idea_is_given_a_topic_that_stands_out() {
        let (parts, seen) = choose("me gliding past Jupiter", "space");
        assert!(seen.first().unwrap().ends_with("Theme:"), "{seen:?}");
        assert!(parts.setting.contains("space"), "{parts:?}");
        let (parts, _) = choose("me gliding past Jupiter", "nothing of the kind");
        assert!(parts.setting.is_empty() || !parts.setting.contains("space"), "{parts:?}");
    }

    #[test]
    fn later_parts_see_the_earlier_ones() {
        let (parts, seen) = choose("me as an astronaut", "x");
        assert!(seen.last().unwrap().contains(&format!("Setting: {}\n", parts.setting)));
        assert!(seen.iter().all(|context| context.starts_with(PREFIX)));
    }

    #[test]
    fn a_cancel_stops_it() {
        let knowledge = Knowledge::built_in().unwrap();
        let idea = Idea::new("me as a king", 1);
        let understood = knowledge.understand(&idea).unwrap();
        let mut draft = Draft::new(&knowledge, &idea, understood, "");
        let cancel = CancelFlag::default();
        cancel.cancel();
        let made = fill(&mut draft, &[], &mut Likes("x", Vec::new()), 1, &mut |_| {}, &cancel);
        assert_eq!(made, Err(ExpandError::Canceled));
    }
}
