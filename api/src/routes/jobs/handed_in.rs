//! Pictures and masks that come with a job: made clean, sealed and stored until the job has ended.

use std::collections::BTreeMap;

use imagine_store::{EditInput, EditSource, PersonId, UploadId};

use super::plan::range;
use crate::app::App;
use crate::consent::GivenConsent;
use crate::error::{Outcome, Problem};
use crate::http::auth::Caller;
use crate::http::form::Form;
use crate::wire::job::{EditRequest, JobPerson};
use crate::{mask, photos};

/// People of one picture.
pub(super) const PEOPLE: usize = 8;

/// What comes with a job beside its words.
#[derive(Default)]
pub(crate) struct Brought {
    /// Somebody on photos, known already.
    pub person: Option<PersonId>,
    pub files: JobFiles,
}

/// Files of a job's form. The field of each is the path of the value that it stands for.
#[derive(Default)]
pub(crate) struct JobFiles {
    /// `edit.image`
    image: Option<Vec<u8>>,
    /// `edit.mask`
    mask: Option<Vec<u8>>,
    /// `people.N.mask`, by N.
    people: BTreeMap<usize, Vec<u8>>,
    /// Whoever is on the picture has agreed.
    consent: bool,
}

impl JobFiles {
    /// Takes them out of a form; a file of any other name is refused, `photo` aside.
    pub(super) fn of_form(form: &mut Form) -> Outcome<Self> {
        let given = form.text("consent").map(|text| GivenConsent::read_once(Some(text))).transpose()?;
        let image = one(form, "edit.image")?;
        let mask = one(form, "edit.mask")?;
        let mut people = BTreeMap::new();
        for person in 0..PEOPLE {
            if let Some(mask) = one(form, &format!("people.{person}.mask"))? {
                people.insert(person, mask);
            }
        }
        if let Some(name) = form.other_file("photo") {
            let detail = "a job's files are photo, edit.image, edit.mask and people.N.mask, N counted from 0";
            return Err(Problem::field(name, detail));
        }
        Ok(Self { image, mask, people, consent: given.is_some() })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.image.is_none() && self.mask.is_none() && self.people.is_empty()
    }

    /// There is one for person `index`.
    pub(super) fn masks(&self, index: usize) -> bool {
        self.people.contains_key(&index)
    }

    /// The mask of person `index`, stored, if there is one.
    pub(super) async fn person_mask(
        &mut self,
        app: &App,
        caller: &Caller,
        (index, person): (usize, &JobPerson),
        uploads: &mut Vec<UploadId>,
    ) -> Outcome<Option<UploadId>> {
        let png = match (&person.mask, self.people.remove(&index)) {
            (Some(_), Some(_)) => {
                return Err(Problem::field("people.mask", "either \"mask\" or a file for it, not both"));
            }
            (Some(text), None) => mask::of_base64(text, app.config.limits.side, "people.mask").await?,
            (None, Some(bytes)) => mask::of_file(app, bytes, "people.mask").await?,
            (None, None) => return Ok(None),
        };
        keep(app, caller, &png, uploads).await.map(Some)
    }

    /// Everybody's mask was taken out.
    pub(super) fn check_people(&self) -> Outcome<()> {
        match self.people.keys().next() {
            Some(index) => Err(Problem::field(
                "people.mask",
                format!("there is a mask for person {index}, who is not there"),
            )),
            None => Ok(()),
        }
    }

    /// The change that is asked for, with its picture and mask stored.
    pub(super) async fn edit(
        self,
        app: &App,
        caller: &Caller,
        asked: Option<&EditRequest>,
        uploads: &mut Vec<UploadId>,
    ) -> Outcome<Option<EditInput>> {
        let Some(asked) = asked else {
            return match self.image.is_some() || self.mask.is_some() {
                true => Err(Problem::field("edit", "say in \"edit\" how the picture is to be changed")),
                false => Ok(None),
            };
        };
        range("edit.strength", asked.strength, 0.0, 1.0)?;
        range("edit.feather", f64::from(asked.feather.unwrap_or(0)), 0.0, 512.0)?;
        let keep_face = asked.keep_face.unwrap_or(false);
        if keep_face && (asked.mask.is_some() || self.mask.is_some()) {
            return Err(Problem::field("edit.mask", "either \"mask\" or \"keep_face\", not both"));
        }
        let mask = match (&asked.mask, self.mask) {
            (Some(_), Some(_)) => {
                return Err(Problem::field("edit.mask", "either \"mask\" or a file for it, not both"));
            }
            (Some(text), None) => Some(mask::of_base64(text, app.config.limits.side, "edit.mask").await?),
            (None, Some(bytes)) => Some(mask::of_file(app, bytes, "edit.mask").await?),
            (None, None) => None,
        };
        let source = match (&asked.image, self.image) {
            (Some(_), Some(_)) => {
                return Err(Problem::field("edit.image", "either \"image\" or a file for it, not both"));
            }
            (Some(id), None) => {
                let missing = || Problem::not_found("image", id).param("edit.image");
                let parsed = id.parse().map_err(|_| missing())?;
                let image = app.store().image(&caller.tenant, parsed).await?.ok_or_else(missing)?;
                EditSource::Image(image.id)
            }
            (None, Some(bytes)) => {
                let picture = photos::picture(app, bytes).await.map_err(|p| p.param("edit.image"))?;
                if picture.faces > 0 && !self.consent {
                    // Says which text to agree to.
                    GivenConsent::read_once(None)?;
                }
                EditSource::Upload(keep(app, caller, &picture.png, uploads).await?)
            }
            (None, None) => {
                let detail = "name a picture of this server, or send one as the form's file \"edit.image\"";
                return Err(Problem::field("edit.image", detail));
            }
        };
        let mask = match mask {
            Some(png) => Some(keep(app, caller, &png, uploads).await?),
            None => None,
        };
        let (strength, feather) = (asked.strength, asked.feather);
        Ok(Some(EditInput { source, strength, mask, keep_face, feather }))
    }
}

fn one(form: &mut Form, name: &str) -> Outcome<Option<Vec<u8>>> {
    let mut files = form.take_files(name);
    match files.len() {
        0 | 1 => Ok(files.pop().map(|file| file.bytes)),
        _ => Err(Problem::field(name, "one file of this name is taken")),
    }
}

async fn keep(app: &App, caller: &Caller, png: &[u8], uploads: &mut Vec<UploadId>) -> Outcome<UploadId> {
    let upload = app.parts.archive.put_upload(&caller.tenant, png).await?;
    uploads.push(upload);
    Ok(upload)
}
