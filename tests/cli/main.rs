//! The binary `imagine`, run as a user runs it.
fn main() {}
