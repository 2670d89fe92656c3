//! The routes, each with its documentation.

pub(crate) mod batches;
pub(crate) mod cards;
pub(crate) mod docs;
pub(crate) mod health;
pub(crate) mod images;
pub(crate) mod jobs;
pub(crate) mod models;
pub(crate) mod openai;
pub(crate) mod people;
pub(crate) mod prompts;

use std::str::FromStr;

use crate::error::{Outcome, Problem};

/// An id in a query.
pub(crate) fn optional_id<T: FromStr>(text: Option<&str>, param: &str) -> Outcome<Option<T>> {
    let wrong = |_| Problem::field(param, format!("\"{param}\" is no id of this kind"));
    text.filter(|text| !text.is_empty()).map(|text| text.parse().map_err(wrong)).transpose()
}
