use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::job::{Idempotency, Job, JobError, NewJob};
use crate::ids::BatchId;
use crate::time::Millis;

/// One line of a batch: a job, or why there is none.
#[derive(Clone, Debug)]
pub enum BatchLine {
    Job(Box<NewJob>),
    Invalid(InvalidLine),
}

/// A line that cannot be drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct InvalidLine {
    pub error: JobError,
    /// What the line said, as far as it could be read; as with [`NewJob::given`], the store does not look into it.
    pub given: Option<Value>,
}

/// Many jobs at once.
#[derive(Clone, Debug)]
pub struct NewBatch {
    pub tenant: String,
    pub name: Option<String>,
    pub lines: Vec<BatchLine>,
    pub idempotency: Option<Idempotency>,
}

/// How many of a batch's lines are how far. Invalid lines count as failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    pub total: u64,
    pub queued: u64,
    pub running: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub canceled: u64,
}

impl Counts {
    /// Nothing more happens.
    pub fn is_final(&self) -> bool {
        self.queued == 0 && self.running == 0
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    pub id: BatchId,
    pub tenant: String,
    pub name: Option<String>,
    pub created: Millis,
    pub cancel_requested: bool,
    pub counts: Counts,
}

/// What came of a line.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchLineResult {
    /// Counted from 0.
    pub line: u64,
    pub result: Result<Box<Job>, InvalidLine>,
}
