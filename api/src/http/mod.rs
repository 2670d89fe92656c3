//! What every route shares: request ids, keys, limits, forms, event streams.

pub(crate) mod accept;
pub(crate) mod auth;
pub(crate) mod body;
pub(crate) mod form;
pub(crate) mod idempotency;
pub(crate) mod list;
pub(crate) mod origin;
pub(crate) mod patience;
pub(crate) mod query;
pub(crate) mod range;
pub(crate) mod rate;
pub(crate) mod request;
pub(crate) mod signed_url;
pub(crate) mod sse;
