use imagine_contract::{CancelFlag, ExpandError, Expander, Expansion, Idea, Language, Mode, Parts, Source};

fn sources() -> Vec<Source> {
    let source = |title: &str, url: &str| Source {
        title: title.into(),
        url: url.into(),
        snippet: "oranges are thrown".into(),
    };
    vec![source("Ivrea", "https://example.org/ivrea")]
}

/// Adds a few words; refuses the word `forbidden`.
pub struct StandInExpander;

impl Expander for StandInExpander {
    fn expand(
        &self,
        idea: &Idea,
        on_text: &mut dyn FnMut(&str),
        _: &CancelFlag,
    ) -> Result<Expansion, ExpandError> {
        self.check(&idea.text)?;
        if idea.text.is_empty() {
            return Err(ExpandError::Empty);
        }
        let parts = Parts { subject: idea.text.clone(), light: "soft light".into(), ..Parts::default() };
        let prompt = format!("{}, soft light", idea.text);
        prompt.split_inclusive(' ').for_each(on_text);
        Ok(Expansion {
            prompt,
            negative_prompt: "blurry".into(),
            parts,
            people: 1,
            language: Language::English,
            backend: "stand-in".into(),
            mode: Mode::Template,
            sources: if idea.ground { sources() } else { Vec::new() },
            dropped: Vec::new(),
            note: None,
            note_codes: Vec::new(),
        })
    }

    fn check(&self, text: &str) -> Result<(), ExpandError> {
        if text.contains("forbidden") {
            let (rule, reason) = ("test-rule".into(), "this word is forbidden".into());
            return Err(ExpandError::Refused { rule, reason });
        }
        Ok(())
    }

    fn can_ground(&self) -> bool {
        true
    }

    fn name(&self) -> &str {
        "stand-in"
    }
}
