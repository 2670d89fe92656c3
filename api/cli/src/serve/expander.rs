//! Who expands prompts in a service, and the styles to choose from.

use std::sync::Arc;

use clap::ValueEnum;
use imagine_api::config::ExpandSettings;
use imagine_api::{Rules, Style};
use imagine_contract::{CancelFlag, Dialect, ExpandError, Expander, Expansion, Idea};
use imagine_expansion::{Knowledge, Preset};

use crate::expand::args::{Backend, ExpandOptions};
use crate::expand::backend;
use crate::failure::Failure;

/// The setting that switches the expansion off.
const OFF: &str = "off";

/// Words every idea for the one model that is served, whoever asks: a worker knows the job and not the dialect.
struct ForModel {
    inner: Box<dyn Expander>,
    dialect: Dialect,
}

impl Expander for ForModel {
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        cancel: &CancelFlag,
    ) -> Result<Expansion, ExpandError> {
        self.inner.expand(&Idea { dialect: self.dialect.clone(), ..idea.clone() }, on_text, cancel)
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

/// The backend that the configuration names, for a model of this dialect. Blocks: a language model may be loaded.
///
/// # Errors
/// A backend that does not exist, or that cannot be opened.
pub fn open(settings: &ExpandSettings, dialect: &Dialect) -> Result<Option<Arc<dyn Expander>>, Failure> {
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
    let key = settings.search_key.as_ref().map(|key| key.expose().to_owned());
    let grounding = settings.search_url.as_ref().map(|url| backend::search(url, key));
    let inner = backend::open_with(&options, grounding)?;
    Ok(Some(Arc::new(ForModel { inner, dialect: dialect.clone() })))
}

/// The safety rules, which count whoever expands, and where nobody does.
///
/// # Errors
/// The program's own data are broken.
pub fn rules() -> Result<Rules, Failure> {
    let knowledge = Knowledge::built_in().map_err(Failure::failed)?;
    let knowledge = Arc::new(knowledge);
    let same = Arc::clone(&knowledge);
    Ok(Rules {
        prompt: Arc::new(move |text| knowledge.check(text)),
        negative_prompt: Arc::new(move |text| same.check_negative(text)),
    })
}

/// Style presets; for a model that knows nothing but its own words, the places among them.
///
/// # Errors
/// The program's own data are broken.
pub fn styles(dialect: &Dialect) -> Result<Vec<Style>, Failure> {
    let knowledge = Knowledge::built_in().map_err(Failure::failed)?;
    let style = |preset: Preset| Style { name: titled(&preset.id), id: preset.id, text: preset.text };
    Ok(knowledge.presets(dialect).into_iter().map(style).collect())
}

/// `open-sea` as a name: `Open sea`.
fn titled(id: &str) -> String {
    let words = id.replace('-', " ");
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_backend_is_named_or_off() {
        let named = |name: &str| {
            let settings = settings(name, None);
            open(&settings, &Dialect::Tags).map(|found| found.is_some()).map_err(|e| e.to_string())
        };
        assert_eq!((named("off"), named("template")), (Ok(false), Ok(true)));
        assert!(named("oracle").unwrap_err().contains("auto, "));
    }

    fn settings(expander: &str, search_url: Option<&str>) -> ExpandSettings {
        ExpandSettings {
            expander: expander.into(),
            expand_by_default: true,
            search_url: search_url.map(Into::into),
            search_key: None,
        }
    }

    #[test]
    fn ideas_are_looked_up_where_a_search_server_is_named() {
        let can = |url| open(&settings("template", url), &Dialect::Tags).unwrap().unwrap().can_ground();
        assert!(!can(None));
        assert!(can(Some("http://127.0.0.1:1")));
    }

    #[test]
    fn the_rules_count_without_an_expander() {
        let rules = rules().unwrap();
        assert!((rules.prompt)("as an astronaut in clothes").is_ok());
        assert!((rules.prompt)("me naked on a beach").is_err());
        assert!((rules.negative_prompt)("naked").is_ok());
        assert!((rules.negative_prompt)("clothes").is_err());
    }

    #[test]
    fn styles_are_for_models_that_know_them() {
        assert!(styles(&Dialect::Tags).unwrap().iter().any(|style| style.name == "Film"));
        assert_eq!(styles(&Dialect::Vocabulary(Default::default())).unwrap(), []);
        let [sea] = styles(&small()).unwrap().try_into().unwrap();
        assert_eq!((sea.id.as_str(), sea.name.as_str()), ("open-sea", "Open sea"));
    }

    #[test]
    fn every_idea_is_worded_for_the_model() {
        let expander = open(&settings("template", None), &small()).unwrap().unwrap();
        // As a worker asks, which does not say for which model.
        let idea = Idea { style: Some("open-sea".into()), ..Idea::new("me as a pirate", 1) };
        let expansion = expander.expand(&idea, &mut |_| (), &CancelFlag::default()).unwrap();
        assert_eq!(expansion.prompt, "me as a pirate, open sea");
    }

    fn small() -> Dialect {
        let words = ["me", "as", "a", "pirate", "open", "sea", "plain", "red", "background"]
            .map(String::from)
            .to_vec();
        let phrases = [(
            imagine_contract::Slot::Setting,
            ["open sea", "plain red background"].map(String::from).to_vec(),
        )]
        .into();
        Dialect::Vocabulary(imagine_contract::Vocabulary { words, phrases })
    }
}
