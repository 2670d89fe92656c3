//! The data files that are built in, and what can be wrong with one.

use std::fmt;

/// A data file that cannot be read: the file and the reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {reason}")]
pub struct DataError {
    file: String,
    reason: String,
}

impl DataError {
    pub fn new(file: impl Into<String>, reason: impl fmt::Display) -> Self {
        Self { file: file.into(), reason: reason.to_string() }
    }
}

/// Lines that say something: not empty, not a comment. With their numbers, from 1.
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let numbered = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim_end()));
    numbered.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
}
