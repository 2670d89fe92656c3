//! Which phrases may fill which part of an idea, and how a choice of them becomes an expansion.

use imagine_contract::{Dialect, Expansion, Idea, Mode, Parts, Slot, Source, assemble};

use crate::bank::Bank;
use crate::knowledge::{Knowledge, Understood};
use crate::place;
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
    /// Where the idea names a place: the topics of that place's own words. Nothing is added to a place without any.
    places: Option<Vec<String>>,
}

/// The order in which parts are chosen: each sees those before it.
pub const ORDER: [Slot; 7] =
    [Slot::Setting, Slot::Wardrobe, Slot::Pose, Slot::Expression, Slot::Light, Slot::Style, Slot::Camera];

impl<'k> Draft<'k> {
    /// What may be added. `context` is text about the idea that was looked up; it is searched for topics alone.
    pub fn new(knowledge: &'k Knowledge, idea: &Idea, understood: Understood, context: &str) -> Self {
        let own = match &idea.dialect {
            Dialect::Vocabulary(vocabulary) => Some(Bank::of_vocabulary(vocabulary, &knowledge.topics)),
            _ => None,
        };
        let found = knowledge.topics.find(&understood.english);
        let role = role(&understood.english, &found);
        // "a castle at night" is a place of its own.
        let mut places = match understood.subject.is_scene {
            true => Some(Vec::new()),
            false => place::topics(&understood.english, &knowledge.topics),
        };
        let mut topics: Vec<String> = found.into_iter().map(|found| found.topic.to_owned()).collect();
        for found in knowledge.topics.find(context) {
            if !topics.iter().any(|known| known == found.topic) && topics.len() < 2 {
                topics.push(found.topic.to_owned());
                places = places.filter(|known| !known.is_empty());
            }
        }
        Self { understood, knowledge, own, topics, role, places }
    }

    /// What the idea is about, as far as its words tell.
    pub fn topics(&self) -> &[String] {
        &self.topics
    }

    /// Takes `topic` as what the idea is about, where its words did not tell.
    pub fn assume(&mut self, topic: &str) {
        self.topics = vec![topic.to_owned()];
        self.places = None;
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
        if let Some(own) = self.of_role(slot) {
            return own;
        }
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
            Slot::Setting if fitting.is_empty() && self.places.is_some() => return Vec::new(),
            Slot::Wardrobe if own_words => {}
            _ if !fitting.is_empty() => {}
            Slot::Light if own_words => fitting = self.neutral_light(general().collect()),
            Slot::Setting | Slot::Wardrobe if !self.topics.is_empty() => {}
            _ => fitting.extend(general()),
        }
        fitting
    }

    /// What a small model was taught about the role, unless the idea says where it is.
    fn of_role(&self, slot: Slot) -> Option<Vec<String>> {
        let own = self.own.as_ref()?;
        if slot == Slot::Setting && self.places.is_some() {
            return None;
        }
        let all: Vec<String> = own.of(slot).map(|phrase| phrase.text.clone()).collect();
        let of_role = self.knowledge.roles.phrases(&self.understood.english, slot, &all);
        (!of_role.is_empty()).then_some(of_role)
    }

    /// Of a small model's lights those that suit the topic: no night by the sea, no studio in the mountains.
    fn neutral_light(&self, all: Vec<String>) -> Vec<String> {
        let topic = self.topics_for(Slot::Light).first().copied();
        let Some(word) = self.knowledge.topics.light(topic) else { return all };
        let suiting: Vec<String> = all.iter().filter(|light| light.contains(word)).cloned().collect();
        if suiting.is_empty() { all } else { suiting }
    }

    /// The topics that a part follows: clothes and poses the role, the rest the place.
    fn topics_for(&self, slot: Slot) -> Vec<&str> {
        let place: Vec<&str> =
            self.topics.iter().map(String::as_str).filter(|t| Some(*t) != self.role.as_deref()).collect();
        let role = self.role.as_deref();
        if let (Slot::Setting, Some(places)) = (slot, &self.places) {
            return places.iter().map(String::as_str).collect();
        }
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
        let dialect = idea.dialect.clone().with_trigger(idea.trigger_word.as_deref());
        let assembled = assemble(&parts, &dialect);
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
            note_codes: Vec::new(),
        }
    }
}

/// The topic of what stands right behind "as" or "dressed as".
fn role(english: &str, found: &[Found]) -> Option<String> {
    let words = crate::words::parts(english);
    let is_as = |i: usize| words.get(i).is_some_and(|word| word == "as" || word == "like");
    // "as a brave knight": up to three words behind "as"
    let role = found.iter().find(|f| (1..=3).any(|back| f.word.checked_sub(back).is_some_and(is_as)));
    role.map(|role| role.topic.to_owned())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_contract::Vocabulary;

    use super::*;

    #[test]
    fn the_trigger_is_where_the_adapter_needs_it_in_every_dialect_and_nowhere_else() {
        let knowledge = Knowledge::built_in().unwrap();
        let words = ["me", "as", "a", "pirate", "person"].map(String::from).to_vec();
        let vocabulary = Dialect::Vocabulary(Vocabulary { words, phrases: Default::default() });
        for (dialect, with, without) in [
            (Dialect::Tags, "a person img as a pirate", "a person as a pirate"),
            (Dialect::Sentences, "A person img as a pirate", "A person as a pirate"),
            (vocabulary, "me img as a pirate", "me as a pirate"),
        ] {
            for (trigger, begins) in [(Some("img"), with), (None, without)] {
                let trigger_word = trigger.map(str::to_owned);
                let idea = Idea { dialect: dialect.clone(), trigger_word, ..Idea::new("me as a pirate", 1) };
                let understood = knowledge.understand(&idea).unwrap();
                let draft = Draft::new(&knowledge, &idea, understood, "");
                let made = draft.finish(&idea, Parts::default(), "m", Mode::Template, Vec::new());
                assert!(made.prompt.starts_with(begins), "{}", made.prompt);
                assert_eq!(made.prompt.matches("img").count(), usize::from(trigger.is_some()));
            }
        }
    }

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

    #[test]
    fn nothing_is_added_to_a_place_but_what_its_own_words_say() {
        for text in [
            "violino in un bosco innevato",
            "me at the Eiffel tower",
            "a castle at night",
            "me playing the guitar in a supermarket",
            "me as a knight in a supermarket, with a violin",
        ] {
            let made = candidates(text, Slot::Setting);
            assert!(made.is_empty(), "{text}: {made:?}");
        }
        let beach = Bank::built_in(&Knowledge::built_in().unwrap().topics).unwrap();
        let beach: Vec<String> =
            beach.about(Slot::Setting, "beach").into_iter().map(|phrase| phrase.text.clone()).collect();
        for text in ["yo a caballo en la playa", "me with a violin on a beach", "me at the beach, as a chef"]
        {
            assert_eq!(candidates(text, Slot::Setting), beach, "{text}");
        }
        for text in
            ["me as a samurai in the rain", "me in a red hat as a knight", "me on a horse as a knight"]
        {
            assert!(!candidates(text, Slot::Setting).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_small_models_light_suits_the_place() {
        let lights = ["soft studio light", "overcast daylight", "blue night light", "dramatic side light"];
        let vocabulary = Vocabulary {
            words: "me at the beach soft studio light overcast daylight".split(' ').map(Into::into).collect(),
            phrases: [(Slot::Light, lights.map(String::from).to_vec())].into(),
        };
        let knowledge = Knowledge::built_in().unwrap();
        let light = |text: &str| {
            let dialect = Dialect::Vocabulary(vocabulary.clone());
            let idea = Idea { dialect, ..Idea::new(text, 1) };
            let understood = knowledge.understand(&idea).unwrap();
            Draft::new(&knowledge, &idea, understood, "").candidates(Slot::Light)
        };
        assert_eq!(light("me at the beach"), ["overcast daylight"]);
        assert_eq!(light("me hiking in the Dolomites"), ["overcast daylight"]);
        assert_eq!(light("me"), ["overcast daylight"]);
        assert_eq!(light("me as a chef"), ["soft studio light"]);
        assert_eq!(light("me as a vampire").len(), 4);
    }
}
