use std::fmt;

use super::job::Priority;
use crate::ids::KeyId;
use crate::time::Millis;

/// An API key as it is kept: without the key.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKey {
    pub id: KeyId,
    pub tenant: String,
    pub name: String,
    /// The first characters, by which it is recognised.
    pub prefix: String,
    /// Its jobs may have no higher class.
    pub highest: Priority,
    pub created: Millis,
    /// To the minute.
    pub used: Option<Millis>,
    pub revoked: Option<Millis>,
}

/// A key that was just made.
pub struct NewKey {
    pub key: ApiKey,
    /// `imk_…`, shown this once: only its SHA-256 is kept.
    pub secret: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey").field("key", &self.key).finish_non_exhaustive()
    }
}
