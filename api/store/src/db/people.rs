//! People as rows: what is known of them is sealed before it comes here.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::Store;
use super::rows::{Reader, json};
use super::tx::Tx;
use crate::blobs::BlobKey;
use crate::error::StoreError;
use crate::ids::{ImageId, JobId, PersonId};
use crate::time::Millis;
use crate::types::{Idempotency, Page, PageRequest, PhotoInfo};

const COLUMNS: &str = "id, tenant, created, one_shot, keep_photos, encoder, wrapped_key, sealed_name, sealed_consent, sealed_card";

/// A person who was not deleted.
pub(crate) struct PersonRow {
    pub id: PersonId,
    pub tenant: String,
    pub created: Millis,
    pub one_shot: bool,
    pub keep_photos: bool,
    pub encoder: String,
    pub wrapped_key: Vec<u8>,
    pub sealed_name: Vec<u8>,
    pub sealed_consent: Vec<u8>,
    pub sealed_card: Option<Vec<u8>>,
}

pub(crate) struct NewPersonRow {
    pub id: PersonId,
    pub tenant: String,
    pub one_shot: bool,
    pub keep_photos: bool,
    pub encoder: String,
    pub wrapped_key: Vec<u8>,
    pub sealed_name: Vec<u8>,
    pub sealed_consent: Vec<u8>,
    pub sealed_card: Option<Vec<u8>>,
    pub idempotency: Option<Idempotency>,
}

pub(crate) struct NewPhotoRow {
    pub info: PhotoInfo,
    pub sealed_face: Option<Vec<u8>>,
    pub crops: Option<BlobKey>,
    pub photo: Option<BlobKey>,
}

/// What is known of one photo.
pub(crate) struct FaceRow {
    pub info: PhotoInfo,
    pub sealed_face: Option<Vec<u8>>,
    pub crops: Option<BlobKey>,
    pub photo: Option<BlobKey>,
}

/// How much went with a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub photos: u64,
    pub embeddings: u64,
    pub pictures: u64,
    pub jobs: u64,
}

impl Store {
    pub(crate) async fn insert_person(
        &self,
        new: NewPersonRow,
        photos: Vec<NewPhotoRow>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        if let Some(key) = &new.idempotency
            && tx.claim_key(&new.tenant, key, &new.id.to_string()).await?.is_some()
        {
            // The reservation had run out and another try was quicker.
            tx.rollback().await?;
            return Err(StoreError::IdempotencyInFlight);
        }
        let created = tx.now().0;
        let sql = "INSERT INTO people (id, tenant, created, one_shot, keep_photos, encoder, wrapped_key, sealed_name,
                   sealed_consent, sealed_card) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
        let id = new.id;
        tx.run(sql, |q| {
            let q = q.bind(id.to_string()).bind(new.tenant).bind(created).bind(i64::from(new.one_shot));
            let q = q.bind(i64::from(new.keep_photos)).bind(new.encoder).bind(new.wrapped_key);
            q.bind(new.sealed_name).bind(new.sealed_consent).bind(new.sealed_card)
        })
        .await?;
        for photo in photos {
            tx.insert_photo(id, photo).await?;
        }
        tx.commit().await
    }

    /// # Errors
    /// [`StoreError::NoPerson`].
    pub(crate) async fn insert_photos(
        &self,
        id: PersonId,
        photos: Vec<NewPhotoRow>,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let held = "UPDATE people SET tenant = tenant WHERE id = $1 AND deleted IS NULL";
        if tx.run(held, |q| q.bind(id.to_string())).await? == 0 {
            return Err(StoreError::NoPerson);
        }
        for photo in photos {
            tx.insert_photo(id, photo).await?;
        }
        tx.commit().await
    }

    pub(crate) async fn person_row(
        &self,
        tenant: &str,
        id: PersonId,
    ) -> Result<Option<PersonRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM people WHERE id = $1 AND tenant = $2 AND deleted IS NULL");
        let row = self.read_one(&sql, |q| q.bind(id.to_string()).bind(tenant)).await?;
        row.as_ref().map(person_of).transpose()
    }

    /// Without those made for one job.
    pub(crate) async fn person_rows(
        &self,
        tenant: &str,
        page: &PageRequest,
    ) -> Result<Page<PersonRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM people WHERE tenant = $1 AND ($2 = '' OR id < $2) AND deleted IS NULL
             AND one_shot = 0 ORDER BY id DESC LIMIT $3"
        );
        let (after, limit) = (page.cursor::<PersonId>()?, page.limit());
        let rows = self.read_all(&sql, |q| q.bind(tenant).bind(after).bind(limit + 1)).await?;
        let people = rows.iter().map(person_of).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(people, limit, |person| person.id.to_string()))
    }

    pub(crate) async fn face_rows(&self, id: PersonId) -> Result<Vec<FaceRow>, StoreError> {
        let sql =
            "SELECT person AS id, photo, usable, problems, sealed_face, crops_key, photo_key FROM photos
                   WHERE person = $1 ORDER BY photo";
        let rows = self.read_all(sql, |q| q.bind(id.to_string())).await?;
        rows.iter().map(face_of).collect()
    }

    pub(crate) async fn picture_count(&self, id: PersonId) -> Result<u64, StoreError> {
        let sql = "SELECT COUNT(*) AS pictures FROM image_people WHERE person = $1";
        let row = self.read_one(sql, |q| q.bind(id.to_string())).await?;
        row.map_or(Ok(0), |row| Reader { row: &row, table: "image_people" }.number("pictures"))
    }

    /// # Errors
    /// [`StoreError::NoPerson`].
    pub(crate) async fn rename_person(&self, id: PersonId, sealed_name: Vec<u8>) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE people SET sealed_name = $2 WHERE id = $1 AND deleted IS NULL";
        if tx.run(sql, |q| q.bind(id.to_string()).bind(sealed_name)).await? == 0 {
            return Err(StoreError::NoPerson);
        }
        tx.commit().await
    }

    /// Puts what a person says of their card in the place of what they said before. False where that has changed
    /// since it was read.
    ///
    /// # Errors
    /// [`StoreError::NoPerson`].
    pub(crate) async fn replace_card(
        &self,
        id: PersonId,
        before: Option<Vec<u8>>,
        sealed_card: Vec<u8>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let held = "UPDATE people SET tenant = tenant WHERE id = $1 AND deleted IS NULL";
        if tx.run(held, |q| q.bind(id.to_string())).await? == 0 {
            return Err(StoreError::NoPerson);
        }
        // A nonce is used once: equal bytes are the same sealing.
        let sql = "SELECT id, sealed_card FROM people WHERE id = $1";
        let row = tx.one(sql, |q| q.bind(id.to_string())).await?.ok_or(StoreError::NoPerson)?;
        if (Reader { row: &row, table: "people" }).optional_bytes("sealed_card")? != before {
            tx.rollback().await?;
            return Ok(false);
        }
        let sql = "UPDATE people SET sealed_card = $2 WHERE id = $1";
        tx.run(sql, |q| q.bind(id.to_string()).bind(sealed_card)).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Destroys the person's key and rows, stops their jobs, and takes their pictures too where asked. None
    /// where there is no such person.
    pub(crate) async fn delete_person(
        &self,
        tenant: &str,
        id: PersonId,
        pictures: bool,
    ) -> Result<Option<Removed>, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE people SET tenant = tenant WHERE id = $1 AND tenant = $2 AND deleted IS NULL";
        if tx.run(sql, |q| q.bind(id.to_string()).bind(tenant.to_owned())).await? == 0 {
            tx.rollback().await?;
            return Ok(None);
        }
        let sql = "SELECT job AS id FROM job_people WHERE person = $1 ORDER BY job";
        let mut jobs: Vec<JobId> = Vec::new();
        for row in tx.all(sql, |q| q.bind(id.to_string())).await? {
            jobs.push(Reader { row: &row, table: "job_people" }.parsed("id")?);
        }
        for job in &jobs {
            tx.cancel(tenant, *job).await?;
        }
        let mut removed = tx.remove_person(id).await?;
        if pictures {
            let count = "SELECT COUNT(*) FROM image_people WHERE person = $1";
            removed.pictures = tx.count(count, |q| q.bind(id.to_string())).await?.cast_unsigned();
            removed.jobs = jobs.len() as u64;
            for job in jobs {
                tx.remove_job(job).await?;
            }
        }
        tx.unlink(id).await?;
        tx.commit().await?;
        Ok(Some(removed))
    }

    /// Takes what was deleted out of the database's own log, where that is ours to do.
    pub(crate) async fn forget(&self) -> Result<(), StoreError> {
        let Some(sql) = self.dialect().forget() else { return Ok(()) };
        for _ in 0..20 {
            let row = sqlx::query(sql).fetch_one(&self.0.writer).await?;
            // First column: 1 where a reader stood in the way.
            if row.try_get::<i64, _>(0)? == 0 {
                return Ok(());
            }
        }
        tracing::warn!("the database's log could not be emptied; the next deletion tries again");
        Ok(())
    }
}

impl Tx<'_> {
    async fn insert_photo(&mut self, id: PersonId, photo: NewPhotoRow) -> Result<(), StoreError> {
        let problems = json(&photo.info.problems)?;
        let sql = "INSERT INTO photos (person, photo, usable, problems, sealed_face, crops_key, photo_key)
                   VALUES ($1, $2, $3, $4, $5, $6, $7)";
        self.run(sql, |q| {
            let q =
                q.bind(id.to_string()).bind(i64::from(photo.info.index)).bind(i64::from(photo.info.usable));
            let q = q.bind(problems).bind(photo.sealed_face);
            q.bind(photo.crops.map(String::from)).bind(photo.photo.map(String::from))
        })
        .await
        .map(drop)
    }

    /// Leaves nothing but a tombstone.
    pub(super) async fn remove_person(&mut self, id: PersonId) -> Result<Removed, StoreError> {
        let sql =
            "SELECT person AS id, photo, usable, problems, sealed_face, crops_key, photo_key FROM photos
                   WHERE person = $1";
        let mut removed = Removed::default();
        for row in self.all(sql, |q| q.bind(id.to_string())).await? {
            let face = face_of(&row)?;
            removed.photos += u64::from(face.photo.is_some());
            removed.embeddings += u64::from(face.sealed_face.is_some());
            for key in [face.crops, face.photo].into_iter().flatten() {
                self.doom(key.as_str()).await?;
            }
        }
        self.run("DELETE FROM photos WHERE person = $1", |q| q.bind(id.to_string())).await?;
        let now = self.now().0;
        let sql = "UPDATE people SET deleted = $2, encoder = NULL, wrapped_key = NULL, sealed_name = NULL,
                   sealed_consent = NULL, sealed_card = NULL WHERE id = $1";
        self.run(sql, |q| q.bind(id.to_string()).bind(now)).await?;
        // The key stays, so that a late retry brings nobody back; what it says of the photos goes.
        let sql = "UPDATE idempotency SET body_sha256 = $2 WHERE object = $1";
        self.run(sql, |q| q.bind(id.to_string()).bind(vec![0_u8; 32])).await?;
        Ok(removed)
    }

    /// Pictures that stay do not name the person any more.
    pub(super) async fn unlink(&mut self, id: PersonId) -> Result<(), StoreError> {
        let sql = "SELECT i.id AS id, i.people AS people FROM images i JOIN image_people p ON p.image = i.id
                   WHERE p.person = $1";
        for row in self.all(sql, |q| q.bind(id.to_string())).await? {
            let row = Reader { row: &row, table: "images" };
            let image: ImageId = row.parsed("id")?;
            let mut people: Vec<PersonId> = row.json("people")?;
            people.retain(|person| *person != id);
            let people = json(&people)?;
            self.run("UPDATE images SET people = $2 WHERE id = $1", |q| {
                q.bind(image.to_string()).bind(people)
            })
            .await?;
        }
        for sql in ["DELETE FROM image_people WHERE person = $1", "DELETE FROM job_people WHERE person = $1"]
        {
            self.run(sql, |q| q.bind(id.to_string())).await?;
        }
        Ok(())
    }

    /// People made for one job go when no job needs them any more.
    pub(super) async fn remove_one_shot(&mut self, job: JobId) -> Result<(), StoreError> {
        let sql = "SELECT p.id AS id FROM people p JOIN job_people j ON j.person = p.id
                   WHERE j.job = $1 AND p.one_shot = 1 AND p.deleted IS NULL AND NOT EXISTS
                   (SELECT 1 FROM job_people o JOIN jobs q ON q.id = o.job
                    WHERE o.person = p.id AND q.status IN ('queued', 'running'))";
        for row in self.all(sql, |q| q.bind(job.to_string())).await? {
            let person: PersonId = Reader { row: &row, table: "people" }.parsed("id")?;
            self.remove_person(person).await?;
            self.unlink(person).await?;
        }
        Ok(())
    }
}

fn person_of(row: &AnyRow) -> Result<PersonRow, StoreError> {
    let row = Reader { row, table: "people" };
    Ok(PersonRow {
        id: row.parsed("id")?,
        tenant: row.text("tenant")?,
        created: row.time("created")?,
        one_shot: row.flag("one_shot")?,
        keep_photos: row.flag("keep_photos")?,
        encoder: row.text("encoder")?,
        wrapped_key: row.bytes("wrapped_key")?,
        sealed_name: row.bytes("sealed_name")?,
        sealed_consent: row.bytes("sealed_consent")?,
        sealed_card: row.optional_bytes("sealed_card")?,
    })
}

fn face_of(row: &AnyRow) -> Result<FaceRow, StoreError> {
    let row = Reader { row, table: "photos" };
    let photo: Option<BlobKey> = row.optional_parsed("photo_key")?;
    let info = PhotoInfo {
        index: row.number("photo")?,
        usable: row.flag("usable")?,
        problems: row.json("problems")?,
        kept: photo.is_some(),
    };
    let sealed_face = row.optional_bytes("sealed_face")?;
    Ok(FaceRow { info, sealed_face, crops: row.optional_parsed("crops_key")?, photo })
}
