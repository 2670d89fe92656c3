//! Weights under other names: each key of a model is made of a stored tensor, whole or a part of it. For
//! files in the layout of another program.

use std::collections::BTreeMap;

use super::error::WeightsError;
use super::files::TensorFiles;
use super::stored::StoredTensor;

/// How a model's tensor is made of a stored one. Nothing is copied: the same bytes are read in another
/// order when the tensor is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Whole,
    /// Part `part` of `of` equal parts along the first dimension: query, key and value of one matrix.
    Rows {
        part: i64,
        of: i64,
    },
    /// A matrix with rows and columns exchanged.
    Transposed,
    /// A 1×1 convolution [out, in, 1, 1] as a matrix [out, in]; a matrix stays one.
    Matrix,
}

impl Change {
    fn expected(self) -> &'static str {
        match self {
            Self::Whole => "a tensor",
            Self::Rows { .. } => "equal parts along the first dimension",
            Self::Transposed => "a matrix",
            Self::Matrix => "a matrix or a 1×1 convolution",
        }
    }

    fn apply(self, stored: &StoredTensor) -> Option<StoredTensor> {
        match self {
            Self::Whole => Some(stored.clone()),
            Self::Rows { part, of } => stored.rows(part, of),
            Self::Transposed => stored.transposed(),
            Self::Matrix => stored.matrix(),
        }
    }
}

/// One key of a model and where it comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The key in the file.
    pub stored: String,
    pub change: Change,
}

/// The keys of a model, each with its source.
pub type KeyMap = BTreeMap<String, Source>;

/// The stored tensor, or view of one, that a source means.
pub(super) fn resolve(files: &TensorFiles, source: &Source) -> Result<StoredTensor, WeightsError> {
    let stored = files
        .tensors()
        .get(&source.stored)
        .ok_or_else(|| WeightsError::Missing { file: files.path(), key: source.stored.clone() })?;
    source.change.apply(stored).ok_or_else(|| WeightsError::Layout {
        file: files.path_of(stored),
        key: source.stored.clone(),
        found: stored.shape().to_vec(),
        expected: source.change.expected(),
    })
}
