//! Calls to addresses that clients name, when a job has ended: signed as Standard Webhooks asks for, and never
//! to a place inside the server's own network.

mod address;
mod deliver;
mod sign;

pub(crate) use address::{Policy, check_url};
pub(crate) use deliver::{Caller, Delivery, retry_after};
pub(crate) use sign::Signer;
