//! Cards as files, and what a person says of theirs, as command lines spell it.

use std::fs;
use std::path::Path;

use imagine_identity::IdentityCard;
use imagine_identity::card::PartName;

use crate::failure::Failure;

/// What is said of a card.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Corrections {
    /// `PART=VALUE` each.
    pub set: Vec<String>,
    pub without: Vec<PartName>,
}

impl Corrections {
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.without.is_empty()
    }

    /// A part that is both set and left out is left out.
    pub fn apply(&self, card: &mut IdentityCard) -> Result<(), Failure> {
        for change in &self.set {
            card.correct(change).map_err(Failure::input)?;
        }
        for part in &self.without {
            card.leave_out(*part);
        }
        Ok(())
    }
}

/// A `PART=VALUE` that every card takes.
pub fn change(text: &str) -> Result<String, String> {
    IdentityCard::default().correct(text).map(|_| text.to_owned()).map_err(|e| e.to_string())
}

/// The card that `imagine people card --out` wrote.
pub fn read(file: &Path) -> Result<IdentityCard, Failure> {
    let wrong = |reason: String| Failure::input(format!("{}: {reason}", file.display()));
    let text = fs::read_to_string(file).map_err(|e| wrong(e.to_string()))?;
    IdentityCard::from_json(&text).map_err(|e| wrong(e.to_string()))
}
