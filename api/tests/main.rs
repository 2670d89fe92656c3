//! The service in one process with stand-ins: every route, every refusal.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod app;
mod batches;
mod cards;
mod described;
mod events;
mod handed_in;
mod images;
mod jobs;
mod openai;
mod people;
mod prompts;
mod refusals;
mod slow;
mod support;
mod tenants;
mod webhooks;
