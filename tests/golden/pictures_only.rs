//! Temporary: whole pictures alone.
#[path = "bad_checkpoints.rs"]
mod bad_checkpoints;
#[path = "broken_files.rs"]
mod broken_files;
#[path = "edits.rs"]
mod edits;
#[path = "picture_runs.rs"]
mod picture_runs;
#[path = "pipeline.rs"]
mod pipeline;
#[path = "sd21.rs"]
mod sd21;
#[path = "sdxl.rs"]
mod sdxl;
#[path = "identities.rs"]
mod identities;
#[path = "checkpoint_files.rs"]
mod checkpoint_files;
