//! The binary `imagine`, run as a user runs it: help, exit codes, wrong input one by one, and whole
//! generations with the tiny checkpoint of the golden tests.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod broken_checkpoints;
mod generation;
mod like_diffusers;
mod photos;
mod png_reader;
mod support;
mod usage;
