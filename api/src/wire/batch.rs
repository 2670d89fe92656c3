//! Batches.

use imagine_store::{Batch, Counts};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Many jobs at once.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Batch)]
pub struct BatchBody {
    pub id: String,
    #[schema(value_type = String, example = "batch")]
    pub object: &'static str,
    /// `queued`, `running`, `succeeded` (every line), `failed` (some lines), `canceled`.
    #[schema(value_type = super::job::StatusSchema)]
    pub status: String,
    pub created: i64,
    pub counts: CountsBody,
    pub urls: BatchUrls,
}

/// How many lines are how far. Lines that could not be read count as failed.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[schema(as = BatchCounts)]
pub struct CountsBody {
    pub total: u64,
    pub queued: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub canceled: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BatchUrls {
    pub get: String,
    pub cancel: String,
    pub events: String,
    pub results: String,
    pub pictures: String,
}

impl From<Counts> for CountsBody {
    fn from(counts: Counts) -> Self {
        let Counts { total, queued, running, succeeded, failed, canceled } = counts;
        Self { total, queued, running, succeeded, failed, canceled }
    }
}

impl From<&Batch> for BatchBody {
    fn from(batch: &Batch) -> Self {
        let id = batch.id.to_string();
        let url = |rest: &str| format!("/v1/batches/{id}{rest}");
        Self {
            object: "batch",
            status: status(&batch.counts).to_owned(),
            created: batch.created.seconds(),
            counts: batch.counts.into(),
            urls: BatchUrls {
                get: url(""),
                cancel: url("/cancel"),
                events: url("/events"),
                results: url("/results"),
                pictures: url("/pictures.zip"),
            },
            id,
        }
    }
}

fn status(counts: &Counts) -> &'static str {
    let begun = counts.running + counts.succeeded + counts.canceled > 0 || counts.failed == counts.total;
    match counts {
        _ if !counts.is_final() => {
            if begun {
                "running"
            } else {
                "queued"
            }
        }
        Counts { canceled: 1.., .. } => "canceled",
        Counts { failed: 1.., .. } => "failed",
        _ => "succeeded",
    }
}

/// One line of a batch's file: a job, with a person by name or id in one word.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BatchLineRequest {
    /// Id or name of a person, where there is one.
    pub person: Option<String>,
    pub prompt: String,
    pub negative_prompt: Option<String>,
    pub people: Vec<super::job::JobPerson>,
    pub model: Option<String>,
    pub n: Option<u32>,
    pub size: Option<String>,
    pub steps: Option<u32>,
    pub guidance_scale: Option<f64>,
    pub scheduler: Option<String>,
    pub seed: Option<u64>,
    pub expand: Option<bool>,
    pub ground: Option<bool>,
    pub style: Option<String>,
    #[schema(value_type = Option<super::job::FormatSchema>)]
    pub output_format: Option<imagine_store::ImageFormat>,
    /// Handed back with the line's result.
    pub custom_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_far_as_its_lines() {
        let of = |queued, running, succeeded, failed, canceled| {
            let total = queued + running + succeeded + failed + canceled;
            status(&Counts { total, queued, running, succeeded, failed, canceled })
        };
        assert_eq!(of(3, 0, 0, 0, 0), "queued");
        assert_eq!(of(3, 0, 0, 1, 0), "queued");
        assert_eq!(of(2, 0, 1, 0, 0), "running");
        assert_eq!(of(0, 1, 1, 0, 0), "running");
        assert_eq!(of(0, 0, 3, 0, 0), "succeeded");
        assert_eq!(of(0, 0, 2, 1, 0), "failed");
        assert_eq!(of(0, 0, 2, 0, 1), "canceled");
    }
}
