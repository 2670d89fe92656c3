//! The schema of [`imagine_contract::Expansion`], which itself knows nothing of OpenAPI.

use imagine_contract::Expansion;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a language model, or a template, made of an idea; each part may be changed and sent back.
#[derive(ToSchema, Serialize)]
#[schema(as = Expansion)]
pub struct ExpansionSchema {
    /// What the model is told: the parts, put together for it.
    pub prompt: String,
    pub negative_prompt: String,
    pub parts: PartsSchema,
    /// How many people the idea speaks of, the person among them.
    pub people: u32,
    /// ISO 639-1.
    #[schema(example = "en")]
    pub language: String,
    /// Who expanded it.
    pub backend: String,
    pub mode: ModeSchema,
    /// What was looked up on the web.
    #[schema(required = false)]
    pub sources: Vec<SourceSchema>,
    /// Parts, or words, that did not fit.
    #[schema(required = false)]
    pub dropped: Vec<String>,
    /// For the person, e.g. why another backend answered.
    pub note: Option<String>,
    /// What the note says, for programs that say it in another language.
    #[schema(required = false)]
    pub note_codes: Vec<NoteCodeSchema>,
}

/// Another backend answered; the web search failed; there is no search server where it was drawn.
#[derive(ToSchema, Serialize)]
#[schema(as = ExpansionNoteCode)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a type of another crate")]
pub enum NoteCodeSchema {
    OtherBackend,
    SearchFailed,
    NoSearch,
}

/// How it came about: by rules, by a language model that chose among phrases, or by one that wrote.
#[derive(ToSchema, Serialize)]
#[schema(as = ExpansionMode)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of a type of another crate")]
pub enum ModeSchema {
    Template,
    Choose,
    Write,
}

/// English phrases; empty ones say nothing.
#[derive(ToSchema, Serialize)]
#[schema(as = ExpansionParts)]
pub struct PartsSchema {
    pub subject: String,
    pub style: String,
    pub setting: String,
    pub wardrobe: String,
    pub light: String,
    pub camera: String,
    pub expression: String,
    pub pose: String,
}

/// Something that was read on the web.
#[derive(ToSchema, Serialize)]
#[schema(as = ExpansionSource)]
pub struct SourceSchema {
    pub title: String,
    pub url: String,
    pub snippet: String,
}

/// An idea that is to be expanded.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpandRequest {
    /// In the person's own words, in English, Italian, Spanish, French or German.
    #[schema(example = "me hiking in the Dolomites")]
    pub idea: String,
    /// The same idea and seed give the same expansion.
    #[serde(default)]
    pub seed: Option<u64>,
    /// Id of a style of `GET /v1/styles`.
    #[serde(default)]
    pub style: Option<String>,
    /// Look the idea up on the web first, where `GET /v1/limits` says `search`; what was read is in `sources`.
    #[serde(default)]
    pub ground: bool,
}

/// An expansion whose parts were changed.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AssembleRequest {
    #[schema(value_type = ExpansionSchema)]
    pub expansion: Expansion,
}

/// The prompt that the parts make.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct AssembledBody {
    pub prompt: String,
    /// Parts, or words, that did not fit.
    pub dropped: Vec<String>,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeSet;

    use imagine_contract::{Expansion, Language, Mode, NoteCode, Parts, Source};
    use utoipa::PartialSchema;

    use super::*;

    fn keys(value: &serde_json::Value) -> BTreeSet<String> {
        value.as_object().unwrap().keys().cloned().collect()
    }

    #[test]
    fn the_schema_names_the_very_fields() {
        let source = Source { title: String::new(), url: String::new(), snippet: String::new() };
        let expansion = Expansion {
            prompt: String::new(),
            negative_prompt: String::new(),
            parts: Parts::default(),
            people: 1,
            language: Language::English,
            backend: String::new(),
            mode: Mode::Template,
            sources: vec![source],
            dropped: vec![String::new()],
            note: Some(String::new()),
            note_codes: vec![NoteCode::OtherBackend],
        };
        let json = serde_json::to_value(&expansion).unwrap();
        let schema = |schema: utoipa::openapi::RefOr<utoipa::openapi::Schema>| {
            keys(&serde_json::to_value(schema).unwrap()["properties"])
        };
        assert_eq!(keys(&json), schema(ExpansionSchema::schema()));
        assert_eq!(keys(&json["parts"]), schema(PartsSchema::schema()));
        assert_eq!(keys(&json["sources"][0]), schema(SourceSchema::schema()));
    }
}
