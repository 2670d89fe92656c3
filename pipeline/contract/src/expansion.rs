//! From a person's idea to what a diffusion model is told: the request, the parts of the answer, the trait.

use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::engine::CancelFlag;

/// Languages in which "me" is understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    #[serde(rename = "en")]
    English,
    #[serde(rename = "it")]
    Italian,
    #[serde(rename = "es")]
    Spanish,
    #[serde(rename = "fr")]
    French,
    #[serde(rename = "de")]
    German,
}

impl Language {
    pub const ALL: [Self; 5] = [Self::English, Self::Italian, Self::Spanish, Self::French, Self::German];

    /// ISO 639-1.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Italian => "it",
            Self::Spanish => "es",
            Self::French => "fr",
            Self::German => "de",
        }
    }

    /// The language with this ISO 639-1 code.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.code() == code)
    }
}

/// What a person wants to see, in their own words.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Idea {
    pub text: String,
    /// The same idea and seed give the same expansion.
    #[serde(default)]
    pub seed: u64,
    /// Guessed from the words if left out.
    #[serde(default)]
    pub language: Option<Language>,
    /// How the checkpoint wants to be spoken to.
    #[serde(default)]
    pub dialect: Dialect,
    /// Name of a style preset; it takes the place of the style that would be chosen.
    #[serde(default)]
    pub style: Option<String>,
    /// Somebody is to be drawn, even if the idea speaks of nobody.
    #[serde(default = "yes")]
    pub person: bool,
    /// The word that the identity adapter wants behind the word for the person.
    #[serde(default)]
    pub trigger_word: Option<String>,
    /// May be looked up on the web, where the expander has a search server.
    #[serde(default)]
    pub ground: bool,
}

fn yes() -> bool {
    true
}

impl Idea {
    /// An idea with nothing else said.
    pub fn new(text: impl Into<String>, seed: u64) -> Self {
        Self {
            text: text.into(),
            seed,
            language: None,
            dialect: Dialect::default(),
            style: None,
            person: true,
            trigger_word: None,
            ground: false,
        }
    }

    /// Longest idea, in characters.
    pub const LONGEST: usize = 2000;

    /// Whether a text can be an idea: words, and not more than [`Idea::LONGEST`] characters. A longer one is a
    /// prompt that somebody has written out.
    ///
    /// # Errors
    /// [`ExpandError::Empty`], [`ExpandError::TooLong`].
    pub fn check(text: &str) -> Result<(), ExpandError> {
        let chars = text.trim().chars().count();
        if !text.chars().any(char::is_alphanumeric) {
            return Err(ExpandError::Empty);
        }
        if chars > Self::LONGEST {
            return Err(ExpandError::TooLong { chars, most: Self::LONGEST });
        }
        Ok(())
    }
}

/// A part of an expansion beside the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    Style,
    Setting,
    Wardrobe,
    Light,
    Camera,
    Expression,
    Pose,
}

impl Slot {
    pub const ALL: [Self; 7] =
        [Self::Style, Self::Setting, Self::Wardrobe, Self::Light, Self::Camera, Self::Expression, Self::Pose];

    /// Its name in JSON and in data files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Style => "style",
            Self::Setting => "setting",
            Self::Wardrobe => "wardrobe",
            Self::Light => "light",
            Self::Camera => "camera",
            Self::Expression => "expression",
            Self::Pose => "pose",
        }
    }
}

/// What an expansion is made of: English phrases, each of which a person may change. Empty ones say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parts {
    /// Who does what: the idea itself, with the person named once.
    pub subject: String,
    pub style: String,
    pub setting: String,
    pub wardrobe: String,
    pub light: String,
    pub camera: String,
    pub expression: String,
    pub pose: String,
}

impl Parts {
    pub fn get(&self, slot: Slot) -> &str {
        match slot {
            Slot::Style => &self.style,
            Slot::Setting => &self.setting,
            Slot::Wardrobe => &self.wardrobe,
            Slot::Light => &self.light,
            Slot::Camera => &self.camera,
            Slot::Expression => &self.expression,
            Slot::Pose => &self.pose,
        }
    }

    pub fn set(&mut self, slot: Slot, text: impl Into<String>) {
        *match slot {
            Slot::Style => &mut self.style,
            Slot::Setting => &mut self.setting,
            Slot::Wardrobe => &mut self.wardrobe,
            Slot::Light => &mut self.light,
            Slot::Camera => &mut self.camera,
            Slot::Expression => &mut self.expression,
            Slot::Pose => &mut self.pose,
        } = text.into();
    }
}

/// How an expansion came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Rules and the seed alone.
    Template,
    /// A language model weighed the phrases of the bank.
    Choose,
    /// A language model wrote the parts.
    Write,
}

/// Something that was read on the web.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    pub title: String,
    pub url: String,
    /// The words that the model was shown.
    pub snippet: String,
}

impl Source {
    /// Whether the address is one of the web: others are never shown as a link.
    pub fn is_web(&self) -> bool {
        ["https://", "http://"].iter().any(|scheme| self.url.starts_with(scheme))
    }
}

/// What came of an idea.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expansion {
    /// What the text encoder is given: [`crate::assemble`] of the parts.
    pub prompt: String,
    pub negative_prompt: String,
    pub parts: Parts,
    /// How many people the idea speaks of, the person among them; none where it speaks of nobody.
    pub people: u32,
    pub language: Language,
    /// Name of the backend, e.g. `template`, `SmolLM2-135M-Instruct.Q4_1`.
    pub backend: String,
    pub mode: Mode,
    /// What was looked up on the web.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<Source>,
    /// Parts, or words, that did not fit the text encoder or its vocabulary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<String>,
    /// Why another backend than the one asked for answered, and the like: for the person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the note says, for programs that say it in another language.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub note_codes: Vec<NoteCode>,
}

impl Expansion {
    /// With one more thing to tell the person, where there is one.
    #[must_use]
    pub fn with_note(mut self, code: NoteCode, note: Option<String>) -> Self {
        let Some(note) = note else { return self };
        self.note = Some(match self.note {
            Some(before) => format!("{before}; {note}"),
            None => note,
        });
        self.note_codes.push(code);
        self
    }
}

/// The kinds of notes. Their names are part of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoteCode {
    /// Another backend than the one asked for answered.
    OtherBackend,
    /// The web was to be searched, and the search failed.
    SearchFailed,
    /// The web was to be searched, and whoever drew has no search server.
    NoSearch,
}

/// Why there is no expansion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExpandError {
    /// A safety rule forbids it. The reason is for the person, the rule's name for the log.
    #[error("{reason}")]
    Refused { rule: String, reason: String },
    #[error("the idea is empty")]
    Empty,
    #[error("the idea has {chars} characters, {most} are allowed")]
    TooLong { chars: usize, most: usize },
    #[error("there is no style \"{name}\"; there are {known}")]
    UnknownStyle { name: String, known: String },
    #[error("canceled")]
    Canceled,
    /// The model or the server cannot be reached now; another backend may answer.
    #[error("{0}")]
    Unavailable(String),
    /// It answered, and the answer is of no use.
    #[error("{0}")]
    Failed(String),
}

/// Turns ideas into expansions.
pub trait Expander: Send + Sync {
    /// Expands one idea. `on_text` is handed the growing text of the prompt piece by piece, for people who
    /// watch; `cancel` is read between pieces.
    ///
    /// # Errors
    /// [`ExpandError::Refused`] before any model is asked.
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Expansion, ExpandError>;

    /// The safety rules alone, for prompts that are not to be expanded.
    ///
    /// # Errors
    /// [`ExpandError::Refused`].
    fn check(&self, text: &str) -> Result<(), ExpandError>;

    /// Whether ideas can be looked up on the web ([`Idea::ground`]).
    fn can_ground(&self) -> bool {
        false
    }

    /// Name of the backend.
    fn name(&self) -> &str;
}
