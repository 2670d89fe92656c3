use std::fmt;

use imagine_contract::PhotoProblem;
use serde::{Deserialize, Serialize};

use crate::ids::{JobId, PersonId, WebhookId};
use crate::time::Millis;

/// On what ground a person's face is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// "This is me."
    #[serde(rename = "self")]
    Myself,
    Authorised,
}

/// What a person agreed to, and when.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Consent {
    pub basis: Basis,
    #[serde(default)]
    pub authorised_by: Option<String>,
    pub text_version: String,
    /// Hexadecimal.
    pub text_sha256: String,
    pub time: Millis,
}

impl fmt::Debug for Consent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { basis, text_version, time, .. } = self;
        write!(f, "Consent({basis:?}, text {text_version}, {})", time.seconds())
    }
}

/// A photo of a person, looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct PhotoInfo {
    pub index: u32,
    /// An embedding was made of it.
    pub usable: bool,
    pub problems: Vec<PhotoProblem>,
    /// The photo itself is kept, sealed.
    pub kept: bool,
}

#[derive(Clone, PartialEq)]
pub struct Person {
    pub id: PersonId,
    pub tenant: String,
    pub name: String,
    pub created: Millis,
    pub consent: Consent,
    /// Name of the face encoder that made the embeddings.
    pub encoder: String,
    pub keep_photos: bool,
    /// Made for one job and gone with it.
    pub one_shot: bool,
    pub photos: Vec<PhotoInfo>,
    /// How many pictures show this person.
    pub pictures: u64,
}

impl fmt::Debug for Person {
    /// Without the name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Person")
            .field("id", &self.id)
            .field("photos", &self.photos.len())
            .finish_non_exhaustive()
    }
}

/// A call that is due: a job has finished.
#[derive(Clone, Debug, PartialEq)]
pub struct Webhook {
    pub id: WebhookId,
    pub tenant: String,
    pub job: JobId,
    pub url: String,
    /// How often it was tried, this time included.
    pub attempt: u32,
}
