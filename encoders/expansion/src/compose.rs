//! Which phrases may fill which part of an idea, and how a choice of them becomes an expansion.

use imagine_contract::{Dialect, Expansion, Idea, Mode, Parts, Slot, Source, assemble};

use crate::bank::Bank;
use crate::knowledge::{Knowledge, Understood};
use crate::topics::Found;

/// An idea, and what may be added to it.
#[derive(Debug)]
pub struct Draft<'k> {
    pub understood: Understood,
    knowledge: &'k Knowledge,
    /// The phrases in the model's own words, where it has a vocabulary.
    own: Option<Bank>,
    /// Topics of the idea's first word about each, and of what was looked up.
    topics: Vec<String>,
    /// The topic of the role, of "as a …"; it says what somebody wears, not where they are.
    role: Option<String>,
    /// The idea names a place that no topic covers.
    elsewhere: bool,
}

/// The order in which parts are chosen: each sees those before it.
pub const ORDER: [Slot; 7] =
    [Slot::Setting, Slot::Wardrobe, Slot::Pose, Slot::Expression, Slot::Light, Slot::Style, Slot::Camera];

/// Prepositions before places.
const PLACES: [&str; 9] = ["in", "at", "inside", "on", "through", "near", "outside", "beside", "aboard"];

impl<'k> Draft<'k> {
    /// What may be added. `context` is text about the idea that was looked up; it is searched for topics alone.
    pub fn new(knowledge: &'k Knowledge, idea: &Idea, understood: Understood, context: &str) -> Self {
        let own = match &idea.dialect {
            Dialect::Vocabulary(vocabulary) => Some(Bank::of_vocabulary(vocabulary, &knowledge.topics)),
            _ => None,
        };
        let found = knowledge.topics.find(&understood.english);
        let (role, mut elsewhere) = role_and_place(&understood.english, &found);
        let mut topics: Vec<String> = found.into_iter().map(|found| found.topic.to_owned()).collect();
        for found in knowledge.topics.find(context) {
            if !topics.iter().any(|known| known == found.topic) && topics.len() < 2 {
                topics.push(found.topic.to_owned());
                elsewhere = false;
            }
        }
        Self { understood, knowledge, own, topics, role, elsewhere }
    }

    /// What the idea is about, as far as its words tell.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Takes `topic` as what the idea is about, where its words did not tell.
    pub fn assume(&mut self, topic: &str) {
        self.topics = vec![topic.to_owned()];
        self.elsewhere = false;
    }

    fn bank(&self) -> &Bank {
        self.own.as_ref().unwrap_or(&self.knowledge.bank)
    }

    /// Whether a part is left to the idea, which speaks of it itself.
    fn is_said(&self, slot: Slot) -> bool {
        self.knowledge.topics.mentions(slot, &self.understood.english)
    }

    /// The phrases that fit a part, each once, the idea's own topics first; none where nothing is to be added.
    pub fn candidates(&self, slot: Slot) -> Vec<String> {
        let by_preset = self.understood.style.as_ref().is_some_and(|(filled, _)| *filled == slot);
        if by_preset || self.is_said(slot) {
            return Vec::new();
        }
        let bank = self.bank();
        let mut fitting: Vec<String> = Vec::new();
        for topic in self.topics_for(slot) {
            let phrases = bank.about(slot, topic);
            fitting.extend(phrases.into_iter().map(|phrase| phrase.text.clone()));
            if !fitting.is_empty() {
                break;
            }
        }
        let own_words = self.own.is_some();
        let general = || bank.general(slot).into_iter().map(|phrase| phrase.text.clone());
        match slot {
            // A place that nothing is known about, and clothes nobody asked for: better nothing.
            Slot::Setting if self.elsewhere => return Vec::new(),
            Slot::Wardrobe if own_words => {}
            _ if !fitting.is_empty() => {}
            Slot::Setting | Slot::Wardrobe if !self.topics.is_empty() => {}
            _ => fitting.extend(general()),
        }
        fitting
    }

    /// The topics that a part follows: clothes and poses the role, the rest the place.
    fn topics_for(&self, slot: Slot) -> Vec<&str> {
        let place: Vec<&str> =
            self.topics.iter().map(String::as_str).filter(|t| Some(*t) != self.role.as_deref()).collect();
        let role = self.role.as_deref();
        match slot {
            Slot::Wardrobe | Slot::Pose | Slot::Style => role.into_iter().chain(place).collect(),
            _ => place.into_iter().chain(role).collect(),
        }
    }

    /// The expansion that a choice of parts makes.
    pub fn finish(
        &self,
        idea: &Idea,
        mut parts: Parts,
        backend: &str,
        mode: Mode,
        sources: Vec<Source>,
    ) -> Expansion {
        parts.subject.clone_from(&self.understood.subject.text);
        if let Some((slot, text)) = &self.understood.style {
            parts.set(*slot, text.clone());
        }
        let assembled = assemble(&parts, &idea.dialect);
        Expansion {
            prompt: assembled.prompt,
            negative_prompt: self.knowledge.negative(&idea.dialect),
            parts,
            people: self.understood.subject.people,
            language: self.understood.language,
            backend: backend.to_owned(),
            mode,
            sources,
            dropped: [self.understood.unknown.clone(), assembled.dropped].concat(),
            note: None,
        }
    }
}

/// The topic of what stands right behind "as" or "dressed as", and whether the idea names a place without a topic.
fn role_and_place(english: &str, found: &[Found]) -> (Option<String>, bool) {
    let words = crate::words::parts(english);
    let is_as = |i: usize| words.get(i).is_some_and(|word| word == "as" || word == "like");
    // "as a brave knight": up to three words behind "as"
    let role = found.iter().find(|f| (1..=3).any(|back| f.word.checked_sub(back).is_some_and(is_as)));
    let place_topic = found.iter().any(|f| role.is_none_or(|role| role.word != f.word));
    let place_words = words.iter().enumerate().any(|(i, word)| {
        let after = words.get(i + 1).map(String::as_str).unwrap_or_default();
        PLACES.contains(&word.as_str()) && !["costume", "suit"].contains(&after)
    });
    (role.map(|role| role.topic.to_owned()), place_words && !place_topic)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn candidates(text: &str, slot: Slot) -> Vec<String> {
        let knowledge = Knowledge::built_in().unwrap();
        let idea = Idea::new(text, 1);
        let understood = knowledge.understand(&idea).unwrap();
        Draft::new(&knowledge, &idea, understood, "").candidates(slot)
    }

    #[test]
    fn clothes_follow_the_role_and_settings_the_place() {
        let wardrobe = candidates("me as a chef on the moon", Slot::Wardrobe);
        assert!(
            wardrobe.iter().all(|phrase| phrase.contains("chef") || phrase.contains("apron")),
            "{wardrobe:?}"
        );
        let setting = candidates("me as a chef on the moon", Slot::Setting);
        assert!(setting.contains(&"the grey surface of the moon".to_owned()), "{setting:?}");
    }

    #[test]
    fn what_the_idea_says_is_not_said_again() {
        assert!(candidates("me smiling in a red hat at night", Slot::Expression).is_empty());
        assert!(candidates("me smiling in a red hat at night", Slot::Wardrobe).is_empty());
        assert!(candidates("me smiling in a red hat at night", Slot::Light).is_empty());
        assert!(candidates("me in a supermarket as a knight", Slot::Setting).is_empty());
        assert!(!candidates("me as a knight", Slot::Setting).is_empty());
    }
}
