//! Empty: diffusers-rs 0.3.1 names torch-sys 0.13 only to pass a feature on to it.
