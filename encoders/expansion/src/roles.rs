//! Whole figures for small models: what a role wears and where it is (`data/roles.toml`).

use std::collections::BTreeMap;

use imagine_contract::Slot;
use serde::Deserialize;

use crate::data::DataError;
use crate::words::parts;

/// What of a model's phrases belongs to a role: those that hold one of these words.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Figure {
    wears: Vec<String>,
    at: Vec<String>,
}

/// `data/roles.toml`.
#[derive(Clone, Debug)]
pub struct Roles(BTreeMap<String, Figure>);

/// Words between "as" and a role, at most: "as a very brave knight".
const GAP: usize = 3;

impl Roles {
    /// What is built in.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn built_in() -> Result<Self, DataError> {
        let table = toml::from_str(include_str!("../data/roles.toml"));
        table.map(Self).map_err(|e| DataError::new("roles.toml", e))
    }

    /// The phrases of a slot that belong to the role which an English text names behind "as"; none where it names none,
    /// or where no phrase does.
    pub fn phrases(&self, english: &str, slot: Slot, phrases: &[String]) -> Vec<String> {
        let Some(figure) = self.named(english) else { return Vec::new() };
        let words = match slot {
            Slot::Wardrobe => &figure.wears,
            Slot::Setting => &figure.at,
            _ => return Vec::new(),
        };
        let of_role = |phrase: &&String| words.iter().any(|word| phrase.contains(word.as_str()));
        phrases.iter().filter(of_role).cloned().collect()
    }

    fn named(&self, english: &str) -> Option<&Figure> {
        let words = parts(english);
        let at = words.iter().position(|word| word == "as")?;
        let one = |word: &String| {
            let single = imagine_contract::clauses::singular_of(word);
            self.0.get(word).or_else(|| self.0.get(&single?))
        };
        words.iter().skip(at + 1).take(GAP + 1).find_map(one)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_role_wears_its_own() {
        let roles = Roles::built_in().unwrap();
        let all = ["wearing steel armour", "wearing black samurai armour", "wearing a red t-shirt"]
            .map(String::from);
        for (text, worn) in [
            ("a person as a brave knight", vec!["wearing steel armour"]),
            ("two people as samurai", vec!["wearing black samurai armour"]),
            ("two people as knights", vec!["wearing steel armour"]),
            ("a person as a pirate", vec![]),
            ("a knight and a person", vec![]),
        ] {
            assert_eq!(roles.phrases(text, Slot::Wardrobe, &all), worn, "{text}");
        }
        assert!(roles.phrases("a person as a knight", Slot::Light, &all).is_empty());
    }
}
