//! The binary `imagine`, run as a user runs it: help, exit codes, wrong input one by one, and whole
//! generations with the tiny checkpoint of the golden tests.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod adapters;
mod broken_checkpoints;
mod cards;
mod checkpoints;
mod doctor;
mod edits;
mod expansion;
mod fleet;
mod generation;
mod grounded;
mod licences;
mod like_diffusers;
mod logs;
mod lone_files;
mod models;
mod photos;
mod png_reader;
#[path = "../../api/store/tests/support/postgres.rs"]
mod postgres;
#[path = "../../api/store/tests/support/s3.rs"]
mod s3;
#[expect(dead_code, reason = "it can do more than is asked of it here")]
#[path = "../../encoders/expansion/tests/stub/mod.rs"]
mod search_stub;
mod serve;
mod served_models;
mod server;
mod stub_hub;
mod support;
mod telemetry;
mod unused_options;
mod usage;
