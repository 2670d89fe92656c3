//! Lists, a page at a time.

use imagine_store::PageRequest;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::error::{Outcome, Problem};

/// A page of a list, newest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct List<T> {
    #[schema(value_type = String, example = "list")]
    pub object: &'static str,
    pub data: Vec<T>,
    pub has_more: bool,
    /// For `after`; null at the end.
    pub next: Option<String>,
}

impl<T> List<T> {
    /// `next` is the cursor behind the last item where there are more.
    pub fn new(data: Vec<T>, next: Option<String>) -> Self {
        Self { object: "list", data, has_more: next.is_some(), next }
    }
}

/// Which page.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Page {
    /// How many, 1 to 200; 20 if left out.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<u32>,
    /// `next` of the page before.
    pub after: Option<String>,
}

/// Such a page of the store; an empty `after`, as a form or a script may send it, is the first.
pub(crate) fn page_of(limit: Option<u32>, after: Option<String>) -> Outcome<PageRequest> {
    match limit.unwrap_or(20) {
        limit @ 1..=200 => Ok(PageRequest { limit, after: after.filter(|after| !after.is_empty()) }),
        _ => Err(Problem::field("limit", "limit is from 1 to 200")),
    }
}
