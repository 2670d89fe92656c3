//! Who expands prompts in a service, and the styles to choose from.

use std::sync::Arc;

use clap::ValueEnum;
use imagine_api::config::ExpandSettings;
use imagine_api::{Rules, Style};
use imagine_contract::{Dialect, Expander};
use imagine_expansion::Knowledge;

use crate::expand::args::{Backend, ExpandOptions};
use crate::expand::backend;
use crate::failure::Failure;

/// The setting that switches the expansion off.
const OFF: &str = "off";

/// The backend that the configuration names. Blocks: a language model may be loaded.
///
/// # Errors
/// A backend that does not exist, or that cannot be opened.
pub fn open(settings: &ExpandSettings) -> Result<Option<Arc<dyn Expander>>, Failure> {
    if settings.expander == OFF {
        return Ok(None);
    }
    let named = Backend::from_str(&settings.expander, true);
    let backend = named.map_err(|_| {
        let known = Backend::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let known: Vec<String> = known.map(|value| value.get_name().to_string()).collect();
        Failure::input(format!(
            "expander is {:?}: {} or {OFF} is needed",
            settings.expander,
            known.join(", ")
        ))
    })?;
    let options = ExpandOptions { backend, ..ExpandOptions::default() };
    Ok(Some(Arc::from(backend::open(&options)?)))
}

/// The safety rules, which count whoever expands, and where nobody does.
///
/// # Errors
/// The program's own data are broken.
pub fn rules() -> Result<Rules, Failure> {
    let knowledge = Knowledge::built_in().map_err(Failure::failed)?;
    Ok(Arc::new(move |text| knowledge.check(text)))
}

/// Style presets; none for a model that knows nothing but its own words.
///
/// # Errors
/// The program's own data are broken.
pub fn styles(dialect: &Dialect) -> Result<Vec<Style>, Failure> {
    if matches!(dialect, Dialect::Vocabulary(_)) {
        return Ok(Vec::new());
    }
    let knowledge = Knowledge::built_in().map_err(Failure::failed)?;
    let style = |(id, text): (String, String)| Style { name: titled(&id), id, text };
    Ok(knowledge.styles.into_iter().map(style).collect())
}

/// `film` as a name: `Film`.
fn titled(id: &str) -> String {
    let mut letters = id.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_backend_is_named_or_off() {
        let named = |name: &str| {
            let settings = ExpandSettings { expander: name.into(), expand_by_default: true };
            open(&settings).map(|found| found.is_some()).map_err(|e| e.to_string())
        };
        assert_eq!((named("off"), named("template")), (Ok(false), Ok(true)));
        assert!(named("oracle").unwrap_err().contains("auto, "));
    }

    #[test]
    fn the_rules_count_without_an_expander() {
        let rules = rules().unwrap();
        assert!(rules("as an astronaut").is_ok());
        assert!(rules("me naked on a beach").is_err());
    }

    #[test]
    fn styles_are_for_models_that_know_them() {
        assert!(styles(&Dialect::Tags).unwrap().iter().any(|style| style.name == "Film"));
        assert_eq!(styles(&Dialect::Vocabulary(Default::default())).unwrap(), []);
    }
}
