//! Jobs: what a client asks for, and what it is told.

use std::collections::BTreeMap;

use imagine_contract::Expansion;
use imagine_store::{Job, JobError, JobStatus, Priority};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::expansion::ExpansionSchema;
use super::image::OutputBody;

/// What is to be drawn. Whatever is left out takes the model's default.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobRequest {
    #[schema(example = "as an astronaut on the moon", min_length = 1, max_length = 32000)]
    pub prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub negative_prompt: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub people: Vec<JobPerson>,
    /// A name of `GET /v1/models`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// How many pictures.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub n: Option<u32>,
    /// Width and height in pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "512x512", pattern = "^([0-9]{1,5}x[0-9]{1,5}|auto)$")]
    pub size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 100)]
    pub guidance_scale: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<String>,
    /// Picture `i` has the seed `seed + i`; drawn by lot if left out. Up to 2^53 - 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(maximum = 9007199254740991i64)]
    pub seed: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// No higher than the API key allows; usually that is `normal`.
    #[schema(value_type = Option<PrioritySchema>)]
    pub priority: Option<Priority>,
    /// Expand the prompt, or the expansion that the person has edited, whose text is then what is drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expand: Option<Expand>,
    /// Look the idea up on the web before it is expanded, where `GET /v1/limits` says `search`: it expands by itself,
    /// and what was read is in the expansion's `sources`. An edited expansion has its sources already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ground: Option<bool>,
    /// Id of a style of `GET /v1/styles`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub style: Option<String>,
    /// A preview after each so many steps; 0 for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previews: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<FormatSchema>)]
    pub output_format: Option<imagine_store::ImageFormat>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookTarget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edit: Option<EditRequest>,
}

/// Someone who is to be in the picture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JobPerson {
    #[schema(example = "person_01890000000070008000000000000000")]
    pub person: String,
    /// How strongly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 10)]
    pub scale: Option<f64>,
    /// From which part of the run to which, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<f64>>, min_items = 2, max_items = 2)]
    pub steps: Option<[f64; 2]>,
    /// Strengths of parts of the run, times `scale`: the first part that a step lies in counts, and a step in none of
    /// them does not hear the person. Not together with `steps`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 20)]
    pub stages: Vec<StageBody>,
    /// Strengths of groups of the identity card's tokens, times `scale`; 1 for those left out. Which groups there are,
    /// the model says (`identity.groups`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"descriptor": 0.8, "traits": 0.5}))]
    pub card_scale: BTreeMap<String, f64>,
    /// Where: left, top, right, bottom, as parts of width and height. Each of several people needs one, or a `mask`.
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<f64>>, min_items = 4, max_items = 4)]
    pub region: Option<[f64; 4]>,
    /// In the place of a box: a PNG in base64, white where the person is. In a form it may come as the file
    /// `people.N.mask`, N counted from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
}

/// A strength of a part of the run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Stage)]
#[serde(deny_unknown_fields)]
pub struct StageBody {
    /// From which part of the run to which, 0 to 1.
    #[schema(value_type = Vec<f64>, min_items = 2, max_items = 2)]
    pub steps: [f64; 2],
    #[schema(minimum = 0, maximum = 10)]
    pub scale: f64,
}

/// Yes, no, or an expansion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum Expand {
    Yes(bool),
    #[schema(value_type = ExpansionSchema)]
    Edited(Box<Expansion>),
}

/// Where to tell of the job's end.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookTarget {
    /// HTTPS, at a public address.
    pub url: String,
}

/// A picture that is to be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EditRequest {
    /// Id of a picture of this server; left out where the picture comes as the form's file `edit.image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// 0 leaves the picture alone, 1 forgets it.
    #[schema(minimum = 0, maximum = 1)]
    pub strength: f64,
    /// A PNG in base64, white where the picture is drawn anew. In a form it may come as the file `edit.mask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<String>,
    /// Everything but the face is drawn anew; not together with `mask`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep_face: Option<bool>,
    /// Pixels inside the mask over which the new picture is faded in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feather: Option<u32>,
}

#[derive(ToSchema, Serialize)]
#[schema(as = Priority)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of a type of another crate")]
pub enum PrioritySchema {
    High,
    Normal,
    Low,
}

#[derive(ToSchema, Serialize)]
#[schema(as = OutputFormat)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of a type of another crate")]
pub enum FormatSchema {
    Png,
    Jpeg,
    Webp,
}

#[derive(ToSchema, Serialize)]
#[schema(as = JobStatus)]
#[serde(rename_all = "lowercase")]
#[expect(dead_code, reason = "the schema of a type of another crate")]
pub enum StatusSchema {
    Queued,
    Running,
    Succeeded,
    Failed,
    Canceled,
}

/// A job and what came of it so far.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobBody {
    pub id: String,
    #[schema(value_type = String, example = "job")]
    pub object: &'static str,
    #[schema(value_type = StatusSchema)]
    pub status: JobStatus,
    /// Unix seconds, like every time.
    pub created: i64,
    pub started: Option<i64>,
    pub finished: Option<i64>,
    /// How many jobs come before it; null once it runs.
    pub queue_position: Option<u64>,
    /// 0 to 1.
    pub progress: f64,
    pub eta_seconds: Option<f64>,
    /// How often it was begun.
    pub attempts: u32,
    /// As it was asked for, with the model's defaults filled in.
    #[schema(value_type = JobRequest)]
    pub input: serde_json::Value,
    #[schema(value_type = Option<ExpansionSchema>)]
    pub expansion: Option<serde_json::Value>,
    pub output: Vec<OutputBody>,
    pub error: Option<JobErrorBody>,
    pub metrics: JobMetrics,
    pub urls: JobUrls,
    /// The batch that it belongs to.
    pub batch: Option<String>,
}

/// Why a job has no, or not all, pictures.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = JobError)]
pub struct JobErrorBody {
    /// For programs, e.g. `worker_lost`.
    pub code: String,
    pub message: String,
    /// The safety rule that refused it, where `code` is `refused`, as in the answer to a request that is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl From<&JobError> for JobErrorBody {
    fn from(error: &JobError) -> Self {
        let JobError { code, message, rule } = error.clone();
        Self { code, message, rule }
    }
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobMetrics {
    /// From arrival to start.
    pub queue_seconds: Option<f64>,
    /// From the last start to the end.
    pub run_seconds: Option<f64>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobUrls {
    pub get: String,
    pub cancel: String,
    pub events: String,
}

/// How a job is told.
pub(crate) struct Telling<'a> {
    pub link: &'a dyn Fn(&str) -> String,
    pub queue_position: Option<u64>,
    pub eta_seconds: Option<f64>,
}

impl JobBody {
    pub(crate) fn of(job: &Job, telling: &Telling<'_>) -> Self {
        let id = job.id.to_string();
        let queued = job.started.or(job.finished).map(|end| end.seconds_since(job.created));
        let ran = job.started.zip(job.finished).map(|(start, end)| end.seconds_since(start));
        let waits = job.status == JobStatus::Queued;
        let eta =
            if waits { telling.eta_seconds } else { job.eta_seconds.filter(|_| !job.status.is_final()) };
        Self {
            object: "job",
            status: job.status,
            created: job.created.seconds(),
            started: job.started.map(imagine_store::Millis::seconds),
            finished: job.finished.map(imagine_store::Millis::seconds),
            queue_position: telling.queue_position.filter(|_| waits),
            progress: job.progress,
            eta_seconds: eta,
            attempts: job.attempts,
            input: job.given.clone(),
            expansion: job.expansion.clone(),
            output: job.outputs.iter().map(|image| OutputBody::of(image, telling.link)).collect(),
            error: job.error.as_ref().map(Into::into),
            metrics: JobMetrics { queue_seconds: queued, run_seconds: ran },
            urls: JobUrls {
                get: format!("/v1/jobs/{id}"),
                cancel: format!("/v1/jobs/{id}/cancel"),
                events: format!("/v1/jobs/{id}/events"),
            },
            batch: job.batch.map(|batch| batch.to_string()),
            id,
        }
    }
}
