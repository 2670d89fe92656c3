//! The rows as others see them.

mod batch;
mod event;
mod image;
mod job;
mod key;
mod page;
mod person;

pub use batch::{Batch, BatchLine, BatchLineResult, Counts, InvalidLine, NewBatch};
pub use event::{JobEvent, NumberedEvent, Progress};
pub use image::{Image, ImageFormat, NewImage};
pub use job::{
    EditInput, EditSource, Idempotency, Job, JobError, JobInput, JobStatus, NewJob, PersonInput, Priority,
    Put,
};
pub use key::{ApiKey, NewKey};
pub use page::{Page, PageRequest};
pub use person::{Basis, Consent, Person, PhotoInfo, Webhook};
