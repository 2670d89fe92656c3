//! The store's tests. Those of the database run over SQLite and Postgres alike.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod batches;
mod blobs;
mod deletion;
mod events;
mod jobs;
mod keys;
mod lifecycle;
mod people;
mod queue;
mod support;
