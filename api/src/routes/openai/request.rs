//! What OpenAI's clients send, as JSON or as the fields of a form.

use imagine_store::ImageFormat;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::app::App;
use crate::error::{Outcome, Problem};
use crate::http::form::Form;
use crate::wire::job::{Expand, JobPerson, JobRequest};
use crate::wire::model::ModelCard;

/// A request for pictures in OpenAI's words. Words that are not known here are left alone.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(default)]
#[schema(as = ImagesRequest)]
pub(crate) struct RawRequest {
    #[schema(value_type = String, min_length = 1, max_length = 32000, required = true)]
    pub prompt: Option<String>,
    /// A model of this server, or one of the names that clients have built in.
    pub model: Option<String>,
    #[schema(minimum = 1)]
    pub n: Option<u32>,
    /// `auto`, or width and height, e.g. `512x512`. One of OpenAI's own sizes that the model was not made for becomes
    /// the model's size of the nearest shape.
    pub size: Option<String>,
    /// Taken and left alone: steps say here how much work is done.
    pub quality: Option<String>,
    /// Only `opaque` and `auto`.
    pub background: Option<String>,
    #[schema(value_type = Option<crate::wire::job::FormatSchema>)]
    pub output_format: Option<ImageFormat>,
    /// 0 to 100, for JPEG.
    #[schema(maximum = 100)]
    pub output_compression: Option<u32>,
    /// `b64_json` or `url`.
    pub response_format: Option<String>,
    /// Events instead of one answer.
    pub stream: Option<bool>,
    /// Previews while it is drawn.
    #[schema(maximum = 3)]
    pub partial_images: Option<u32>,
    /// An extension: the id of an enrolled person, or a list of `{person, box, scale}`.
    #[schema(value_type = Option<NamedPeople>)]
    pub person: Option<Value>,
    /// An extension.
    pub seed: Option<u64>,
    /// An extension.
    pub num_inference_steps: Option<u32>,
    /// An extension.
    pub guidance_scale: Option<f64>,
    /// An extension.
    pub negative_prompt: Option<String>,
    /// An extension: expand the prompt; what it became is the answer's `revised_prompt`.
    pub expand: Option<bool>,
    /// An extension.
    pub style: Option<String>,
    /// An extension: a scheduler's name.
    pub scheduler: Option<String>,
}

/// Who is to be drawn.
#[derive(ToSchema, Deserialize)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema of what is read by hand")]
pub(crate) enum NamedPeople {
    /// The id of one.
    Id(String),
    One(JobPerson),
    Several(Vec<JobPerson>),
}

/// A request, checked as far as it can be without the model.
#[derive(Clone, Debug)]
pub(super) struct ImagesRequest {
    raw: RawRequest,
    pub stream: bool,
    pub partial_images: u32,
    pub wants_url: bool,
}

impl ImagesRequest {
    pub(super) fn new(raw: RawRequest) -> Outcome<Self> {
        let partial_images = raw.partial_images.unwrap_or(0);
        if partial_images > 3 {
            return Err(Problem::field("partial_images", "\"partial_images\" is from 0 to 3"));
        }
        let wants_url = match raw.response_format.as_deref() {
            None | Some("b64_json") => false,
            Some("url") => true,
            Some(_) => {
                return Err(Problem::field("response_format", "\"response_format\" is b64_json or url"));
            }
        };
        if raw.background.as_deref() == Some("transparent") {
            return Err(Problem::field("background", "pictures are opaque here"));
        }
        if raw.prompt.as_deref().unwrap_or_default().trim().is_empty() {
            return Err(Problem::field("prompt", "say what is to be drawn"));
        }
        let stream = raw.stream.unwrap_or(false);
        Ok(Self { stream, partial_images, wants_url, raw })
    }

    /// From a form's fields: numbers and switches arrive as text, nothing else does.
    pub(super) fn of_form(form: &Form) -> Outcome<Self> {
        let mut object = Map::new();
        for (name, text) in form.texts() {
            let value = match name.as_str() {
                "n"
                | "output_compression"
                | "partial_images"
                | "seed"
                | "num_inference_steps"
                | "guidance_scale" => {
                    let number = serde_json::from_str::<serde_json::Number>(text.trim());
                    Value::Number(
                        number.map_err(|_| Problem::field(name, format!("\"{name}\" is a number")))?,
                    )
                }
                "stream" | "expand" => match text.trim().to_ascii_lowercase().as_str() {
                    "true" | "1" => true.into(),
                    "false" | "0" => false.into(),
                    _ => return Err(Problem::field(name, format!("\"{name}\" is true or false"))),
                },
                "person" => serde_json::from_str(text).unwrap_or_else(|_| text.clone().into()),
                "prompt" | "model" | "size" | "quality" | "background" | "output_format"
                | "response_format" | "negative_prompt" | "style" | "scheduler" => text.clone().into(),
                // Read elsewhere, or of no meaning here.
                _ => continue,
            };
            object.insert(name.clone(), value);
        }
        let raw = serde_json::from_value(Value::Object(object));
        Self::new(raw.map_err(|error| Problem::new(crate::error::Code::InvalidJson, error.to_string()))?)
    }

    /// Ids of enrolled people.
    pub(super) fn names_people(&self) -> bool {
        self.raw.person.as_ref().is_some_and(|person| !person.is_null())
    }

    /// The same in this server's own words.
    pub(super) fn job(&self, app: &App) -> Outcome<JobRequest> {
        let raw = &self.raw;
        let aliases = &app.config.openai.openai_aliases;
        let model = raw.model.clone().filter(|name| !aliases.contains(name) && !name.is_empty());
        let steps = raw.num_inference_steps;
        let previews = match self.partial_images {
            0 => None,
            count => {
                let steps =
                    steps.or_else(|| app.model(model.as_deref()).map(|card| card.info.steps)).unwrap_or(1);
                Some((steps / (count + 1)).max(1))
            }
        };
        let people = people(raw.person.as_ref())?;
        Ok(JobRequest {
            prompt: raw.prompt.clone().unwrap_or_default(),
            negative_prompt: raw.negative_prompt.clone(),
            n: raw.n,
            size: raw.size.as_deref().map(|size| drawn_size(size, app.model(model.as_deref()), people.len())),
            people,
            model,
            steps,
            guidance_scale: raw.guidance_scale,
            scheduler: raw.scheduler.clone(),
            seed: raw.seed,
            expand: raw.expand.map(Expand::Yes),
            style: raw.style.clone().filter(|style| !matches!(style.as_str(), "vivid" | "natural")),
            previews,
            output_format: raw.output_format,
            ..JobRequest::default()
        })
    }

    /// Quality of JPEG, where it is said.
    pub(super) fn quality_of_format(&self) -> Outcome<Option<u8>> {
        match self.raw.output_compression {
            None => Ok(None),
            Some(percent @ 0..=100) => Ok(u8::try_from(percent.max(1)).ok()),
            Some(_) => Err(Problem::field("output_compression", "\"output_compression\" is from 0 to 100")),
        }
    }
}

/// Sizes that clients have built in, whatever draws.
const BUILT_IN: [[u32; 2]; 7] =
    [[256, 256], [512, 512], [1024, 1024], [1024, 1536], [1536, 1024], [1024, 1792], [1792, 1024]];

/// A built-in size says no more than a shape: a model that was made for others draws nonsense at it, and one that
/// wants room for each of several people gives them that.
fn drawn_size(asked: &str, model: Option<&ModelCard>, people: usize) -> String {
    let named = |[width, height]: [u32; 2]| format!("{width}x{height}");
    let built_in = BUILT_IN.into_iter().find(|size| named(*size) == asked);
    let (Some(size), Some(model)) = (built_in, model) else { return asked.to_owned() };
    let shape = |[width, height]: [u32; 2]| (f64::from(width) / f64::from(height)).ln();
    let far = |other: &[u32; 2]| (shape(*other) - shape(size)).abs();
    if model.sizes.contains(&size) {
        return asked.to_owned();
    }
    if people > 1 && model.info.width_per_person > 0 {
        return named(model.info.size_of(people));
    }
    let nearest = model.sizes.iter().min_by(|a, b| far(a).total_cmp(&far(b)));
    nearest.map_or_else(|| asked.to_owned(), |size| named(*size))
}

fn people(person: Option<&Value>) -> Outcome<Vec<JobPerson>> {
    let wrong = || Problem::field("person", "\"person\" is a person's id, or a list of {person, box, scale}");
    let one = |value: &Value| match value {
        Value::String(id) => Ok(JobPerson { person: id.clone(), ..JobPerson::default() }),
        other => serde_json::from_value(other.clone()).map_err(|_| wrong()),
    };
    match person {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(people)) => people.iter().map(one).collect(),
        Some(person) => Ok(vec![one(person)?]),
    }
}
