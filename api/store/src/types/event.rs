use serde::{Deserialize, Serialize};

use super::image::Image;
use crate::time::Millis;

/// How far the drawing is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// 0 to 1.
    pub progress: f64,
    pub step: u32,
    pub steps: u32,
    pub eta_seconds: Option<f64>,
}

/// Something that happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub enum JobEvent {
    Queued,
    /// A worker has it; more than once where one was lost.
    Started,
    Progress(Progress),
    /// How picture `index` looks after `step`: a JPEG. Not kept, so it has no number.
    Preview {
        index: u32,
        step: u32,
        jpeg: Vec<u8>,
    },
    Output(Box<Image>),
    Succeeded,
    Failed,
    Canceled,
}

impl JobEvent {
    /// As in the API's `event:` lines.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Queued => "job.queued",
            Self::Started => "job.started",
            Self::Progress(_) => "job.progress",
            Self::Preview { .. } => "job.preview",
            Self::Output(_) => "job.output",
            Self::Succeeded => "job.succeeded",
            Self::Failed => "job.failed",
            Self::Canceled => "job.canceled",
        }
    }

    /// Nothing comes after it.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Canceled)
    }
}

/// An event with its place in the job's history.
#[derive(Clone, Debug, PartialEq)]
pub struct NumberedEvent {
    /// Counted from 1 for each job, for `Last-Event-ID`.
    pub number: Option<i64>,
    pub at: Millis,
    pub event: JobEvent,
}
