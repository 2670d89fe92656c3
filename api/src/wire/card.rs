//! Identity cards: what is known of a person's looks, and what they say of it.

use std::collections::{BTreeMap, BTreeSet};

use imagine_contract::{CardChanges, CardPart, PartInput, PartSource};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::{Outcome, Problem};

/// Characters of a part's name or value.
const LONGEST: usize = 40;

/// What is known of a person's looks. Models that draw by cards hear all of it but `geometry` and `pose`.
#[derive(Serialize, ToSchema)]
#[schema(as = Card)]
pub struct CardBody {
    #[schema(value_type = String, example = "card")]
    pub object: &'static str,
    /// The person's id.
    pub person: String,
    /// Every part, also those of which nothing is known.
    pub parts: Vec<PartBody>,
}

/// A part of a card.
#[derive(Serialize, ToSchema)]
#[schema(as = CardPart)]
pub struct PartBody {
    #[schema(example = "hair-colour")]
    pub part: String,
    pub source: SourceBody,
    /// What drawing hears, as `set` takes it; null for what is only numbers, unknown or left out.
    #[schema(example = "#66452d")]
    pub value: Option<String>,
    /// What the photos tell: `reset` goes back to it. Null as `value` is.
    pub measured: Option<String>,
    /// How many numbers were measured; 0 where nothing was.
    pub numbers: usize,
    /// How sure the measure is, 0 to 1; no probability.
    pub confidence: Option<f32>,
    pub input: InputBody,
    /// Words that `set` takes.
    pub choices: Vec<String>,
}

/// Where a part's value comes from.
#[derive(Serialize, ToSchema)]
#[schema(as = CardSource)]
#[serde(rename_all = "snake_case")]
pub enum SourceBody {
    Measured,
    Corrected,
    LeftOut,
    /// It could not be told from the photos.
    Unknown,
}

/// What `set` takes for a part: nothing (it can only be left out), a colour as `#rrggbb`, one of `choices`, or an age
/// in years.
#[derive(Serialize, ToSchema)]
#[schema(as = CardInput)]
#[serde(rename_all = "snake_case")]
pub enum InputBody {
    Nothing,
    Colour,
    Choice,
    Years,
}

impl CardBody {
    pub(crate) fn of(person: String, parts: Vec<CardPart>) -> Self {
        Self { object: "card", person, parts: parts.into_iter().map(Into::into).collect() }
    }
}

impl From<CardPart> for PartBody {
    fn from(part: CardPart) -> Self {
        let CardPart { name, source, value, measured, numbers, confidence, input, choices } = part;
        let source = match source {
            PartSource::Measured => SourceBody::Measured,
            PartSource::Corrected => SourceBody::Corrected,
            PartSource::LeftOut => SourceBody::LeftOut,
            PartSource::Unknown => SourceBody::Unknown,
        };
        let input = match input {
            PartInput::Nothing => InputBody::Nothing,
            PartInput::Colour => InputBody::Colour,
            PartInput::Choice => InputBody::Choice,
            PartInput::Years => InputBody::Years,
        };
        Self { part: name, source, value, measured, numbers, confidence, input, choices }
    }
}

/// What a person says of their card. A part stands in one of the three.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CardPatch {
    /// Values by the parts' names.
    #[schema(example = json!({"glasses": "no", "hair-colour": "grey"}))]
    pub set: BTreeMap<String, String>,
    /// Parts that drawing is not to hear.
    #[schema(example = json!(["skin"]))]
    pub without: Vec<String>,
    /// Parts of which nothing is said any more: back to what the photos tell.
    pub reset: Vec<String>,
}

/// The same, checked as far as it can be without a card.
pub(crate) struct Said {
    pub changes: CardChanges,
    pub reset: BTreeSet<String>,
}

impl CardPatch {
    /// # Errors
    /// A part that is named twice, or a name or value that is too long for any.
    pub(crate) fn said(self) -> Outcome<Said> {
        let named = |part: String| part.trim().replace('_', "-");
        let mut said = Said { changes: CardChanges::default(), reset: BTreeSet::new() };
        let mut seen = BTreeSet::new();
        let mut once = |param: &str, part: &String| {
            if part.chars().count() > LONGEST {
                return Err(Problem::field(param, "no part of a card has so long a name"));
            }
            match seen.insert(part.clone()) {
                true => Ok(()),
                false => Err(Problem::field(param, format!("the part \"{part}\" is named twice"))),
            }
        };
        for (part, value) in self.set {
            let part = named(part);
            once("set", &part)?;
            if value.chars().count() > LONGEST {
                return Err(Problem::field("set", format!("the value of \"{part}\" is too long")));
            }
            said.changes.set.insert(part, value);
        }
        for part in self.without {
            let part = named(part);
            once("without", &part)?;
            said.changes.without.insert(part);
        }
        for part in self.reset {
            let part = named(part);
            once("reset", &part)?;
            said.reset.insert(part);
        }
        Ok(said)
    }
}

impl Said {
    /// Adds what is said to what was said before.
    pub(crate) fn apply(&self, changes: &mut CardChanges) {
        changes.merge(&self.changes);
        self.reset.iter().for_each(|part| changes.reset(part));
    }
}
