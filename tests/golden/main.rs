//! Every number that has a Python counterpart, against fixtures made by it.

mod alignment;
mod bad_checkpoints;
mod broken_files;
mod clip_text;
mod faceid;
mod faces;
mod hostile_images;
mod pipeline;
mod schedulers;
mod tokenizer;
mod unet;
mod vae;
