use std::collections::BTreeMap;

use imagine_contract::Stage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::image::{Image, ImageFormat};
use crate::ids::{BatchId, ImageId, JobId, PersonId, UploadId};
use crate::time::Millis;

/// How far a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    Queued,
    Running,
    Succeeded,
    Failed,
    Canceled,
}

impl JobStatus {
    pub const ALL: [Self; 5] = [Self::Queued, Self::Running, Self::Succeeded, Self::Failed, Self::Canceled];

    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name() == name)
    }

    /// Nothing happens to it any more.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Running)
    }
}

/// Which jobs go first, whoever asked for them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    High,
    #[default]
    Normal,
    Low,
}

impl Priority {
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    pub fn name(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.name() == name)
    }

    pub(crate) fn number(self) -> i64 {
        self as i64
    }

    pub(crate) fn of_number(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|priority| priority.number() == number)
    }
}

/// One of the people of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PersonInput {
    pub person: PersonId,
    /// The adapter's own strength if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scale: Option<f64>,
    /// From which part of the run to which the person is heard, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steps: Option<[f64; 2]>,
    /// Left, top, right, bottom as parts of width and height.
    #[serde(default, rename = "box", skip_serializing_if = "Option::is_none")]
    pub region: Option<[f64; 4]>,
    /// In the place of a box: a sealed PNG, white where the person is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<UploadId>,
    /// Strengths of parts of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// Strengths of groups of the identity card's tokens.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub card_scale: BTreeMap<String, f64>,
}

impl PersonInput {
    /// Drawn anywhere, by the adapter's own strength.
    pub fn new(person: PersonId) -> Self {
        let (stages, card_scale) = (Vec::new(), BTreeMap::new());
        Self { person, scale: None, steps: None, region: None, mask: None, stages, card_scale }
    }
}

/// The picture that is to be changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EditSource {
    /// One that was drawn here.
    Image(ImageId),
    /// One that was handed in: a sealed PNG, see [`crate::Archive::put_upload`].
    Upload(UploadId),
}

/// A change of a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EditInput {
    pub source: EditSource,
    /// 0 leaves the picture alone, 1 forgets it.
    pub strength: f64,
    /// A sealed PNG, white where the picture is drawn anew.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mask: Option<UploadId>,
    /// Everything but the faces is drawn anew; not together with `mask`.
    #[serde(default)]
    pub keep_face: bool,
    /// Pixels inside the mask over which the new picture is faded in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feather: Option<u32>,
}

fn one() -> u32 {
    1
}

/// All that a worker needs to know to draw. What is left out takes the model's default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobInput {
    pub prompt: String,
    #[serde(default)]
    pub negative_prompt: String,
    #[serde(default)]
    pub people: Vec<PersonInput>,
    /// Name of the model, whose workers alone take the job; any worker does if left out. The API always names one.
    #[serde(default)]
    pub model: Option<String>,
    /// How many pictures; picture `i` has seed `seed + i`.
    #[serde(default = "one")]
    pub n: u32,
    /// Width and height in pixels.
    #[serde(default)]
    pub size: Option<[u32; 2]>,
    #[serde(default)]
    pub steps: Option<u32>,
    #[serde(default)]
    pub guidance_scale: Option<f64>,
    #[serde(default)]
    pub scheduler: Option<String>,
    pub seed: u64,
    /// The prompt is an idea that the worker has expanded before it draws.
    #[serde(default)]
    pub expand: bool,
    /// The idea is looked up on the web before it is expanded.
    #[serde(default)]
    pub ground: bool,
    #[serde(default)]
    pub style: Option<String>,
    /// A preview after each so many steps; 0 for none.
    #[serde(default)]
    pub previews: u32,
    #[serde(default)]
    pub output_format: ImageFormat,
    /// Quality of JPEG, 1 to 100.
    #[serde(default)]
    pub quality: Option<u8>,
    #[serde(default)]
    pub edit: Option<EditInput>,
}

impl JobInput {
    /// One picture of a prompt with the model's defaults.
    pub fn new(prompt: impl Into<String>, seed: u64) -> Self {
        Self {
            prompt: prompt.into(),
            negative_prompt: String::new(),
            people: Vec::new(),
            model: None,
            n: 1,
            size: None,
            steps: None,
            guidance_scale: None,
            scheduler: None,
            seed,
            expand: false,
            ground: false,
            style: None,
            previews: 0,
            output_format: ImageFormat::default(),
            quality: None,
            edit: None,
        }
    }

    /// Jobs with the same key can share the calls of a network.
    pub fn batch_key(&self) -> String {
        let size = self.size.map_or_else(String::new, |[width, height]| format!("{width}x{height}"));
        format!("{}|{size}", self.model.as_deref().unwrap_or_default())
    }
}

/// Makes a request that is sent twice happen once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// What the client calls the request; its own per tenant.
    pub key: String,
    pub body_sha256: [u8; 32],
}

/// A job that is to be done.
#[derive(Clone, Debug)]
pub struct NewJob {
    pub tenant: String,
    /// Whose turn it uses up: the id of the API key, or the tenant. Fairness and caps go by it.
    pub owner: String,
    pub priority: Priority,
    pub input: JobInput,
    /// What the client gave, to be shown to it again; the store does not look into it.
    pub given: Value,
    /// The [`imagine_contract::Expansion`] where it was made, or edited, before.
    pub expansion: Option<Value>,
    /// For [`crate::Store::recent_job`]: a retry without an idempotency key is known by it.
    pub body_sha256: Option<[u8; 32]>,
    /// Where to tell of its end.
    pub webhook: Option<String>,
    pub idempotency: Option<Idempotency>,
}

impl NewJob {
    /// Of the only user of a machine, with nothing special.
    pub fn local(input: JobInput) -> Self {
        Self {
            tenant: "local".into(),
            owner: "local".into(),
            priority: Priority::Normal,
            given: Value::Null,
            input,
            expansion: None,
            body_sha256: None,
            webhook: None,
            idempotency: None,
        }
    }
}

/// What came of a request that may have been made before.
#[derive(Clone, Debug, PartialEq)]
pub enum Put<T> {
    New(T),
    /// It had been made already, and this is what came of it.
    Existing(T),
}

impl<T> Put<T> {
    pub fn into_inner(self) -> T {
        match self {
            Self::New(value) | Self::Existing(value) => value,
        }
    }

    pub fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }
}

/// Why a job has no, or not all, pictures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// For programs, e.g. `worker_lost`.
    pub code: String,
    pub message: String,
    /// The safety rule that refused it, with the code `refused`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
}

impl JobError {
    /// One that no safety rule has to do with.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), rule: None }
    }
}

/// A job and what came of it so far.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    pub id: JobId,
    pub tenant: String,
    pub owner: String,
    pub batch: Option<BatchId>,
    pub status: JobStatus,
    pub priority: Priority,
    pub input: JobInput,
    pub given: Value,
    pub expansion: Option<Value>,
    pub created: Millis,
    pub started: Option<Millis>,
    pub finished: Option<Millis>,
    /// 0 to 1.
    pub progress: f64,
    pub step: u32,
    pub steps: u32,
    pub eta_seconds: Option<f64>,
    /// How often it was begun.
    pub attempts: u32,
    pub cancel_requested: bool,
    pub error: Option<JobError>,
    /// By index; empty in lists of [`crate::Claimed`].
    pub outputs: Vec<Image>,
    pub webhook: Option<String>,
}
