//! What goes over the wire, apart from how it is stored.

pub(crate) mod batch;
pub(crate) mod card;
pub(crate) mod expansion;
pub(crate) mod image;
pub(crate) mod job;
pub(crate) mod model;
pub(crate) mod person;
