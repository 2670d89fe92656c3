//! The service over HTTP: the native API, OpenAI's way of asking for pictures, and the page.
//!
//! Routes check what comes in, turn it into rows of [`imagine_store`], and tell what became of them. Drawing happens
//! in workers that take jobs from the store; photos are looked at through [`imagine_contract::FaceReader`]. No
//! tensors, no SQL, no decoding of photos may enter.

mod app;
pub mod config;
mod consent;
mod error;
mod http;
mod listen;
mod logging;
mod mask;
mod meter;
mod metrics;
mod observe;
mod openapi;
mod outbox;
mod page;
mod photos;
mod routes;
mod serve;
mod telemetry;
mod webhook;
mod wire;
mod worker_probe;

pub use app::{Check, GpuMemory, Parts, Rules};
pub use config::Config;
pub use consent::{ConsentText, ConsentTexts, consent, consents};
pub use error::{Code, Problem};
pub use logging::{Logging, LoggingError, logging};
pub use meter::Meter;
pub use outbox::webhook_secret;
pub use serve::{ServeError, Service, serve};
pub use telemetry::{TelemetryError, UnknownVariable};
pub use wire::model::{ModelCard, Style};
pub use worker_probe::WorkerProbe;
