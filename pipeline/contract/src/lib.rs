//! What the rooms say to each other: requests, events, errors and the engine's trait.
//!
//! Plain data only. No tensors, no files, no network may enter, so that the API, the page and tests
//! build in seconds and run against a mock engine.

mod engine;
mod request;

pub use engine::{CancelFlag, Engine, EngineError, Event, ModelInfo, Picture};
pub use request::{GenerateRequest, Identity, Limits, RequestError};
