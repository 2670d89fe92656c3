//! Pictures that were drawn.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::Store;
use super::rows::{Reader, anywhere, json};
use super::tx::Tx;
use crate::error::StoreError;
use crate::ids::{ImageId, JobId, PersonId};
use crate::types::{Image, ImageFormat, JobEvent, JobInput, NewImage, Page, PageRequest};

pub(super) const COLUMNS: &str = "id, tenant, job, picture, seed, width, height, format, bytes, sha256, blob_key, \
     thumb_key, likeness, prompt, people, favourite, created";

/// Which pictures of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageFilter {
    pub person: Option<PersonId>,
    pub favourite: Option<bool>,
    /// Words of the prompt.
    pub text: Option<String>,
}

/// Words of a search that are looked for; more say nothing new.
const WORDS: usize = 8;

/// Each word of a search, to be found anywhere.
fn words(text: &str) -> Vec<String> {
    text.split_whitespace().take(WORDS).map(anywhere).collect()
}

impl Store {
    pub async fn image(&self, tenant: &str, id: ImageId) -> Result<Option<Image>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM images WHERE id = $1 AND tenant = $2");
        let row = self.read_one(&sql, |q| q.bind(id.to_string()).bind(tenant)).await?;
        row.as_ref().map(image_of).transpose()
    }

    /// A tenant's pictures, newest first; by text those whose prompt holds every word of it.
    ///
    /// # Errors
    /// [`StoreError::Cursor`].
    pub async fn images(
        &self,
        tenant: &str,
        filter: &ImageFilter,
        page: &PageRequest,
    ) -> Result<Page<Image>, StoreError> {
        let like = self.dialect().like();
        let words = words(filter.text.as_deref().unwrap_or_default());
        let said: String =
            (0..words.len()).map(|i| format!(" AND prompt {like} ${} ESCAPE '!'", i + 6)).collect();
        let sql = format!(
            "SELECT {COLUMNS} FROM images i WHERE tenant = $1 AND ($2 = '' OR id < $2)
             AND ($3 = '' OR EXISTS (SELECT 1 FROM image_people p WHERE p.image = i.id AND p.person = $3))
             AND ($4 < 0 OR favourite = $4){said} ORDER BY id DESC LIMIT $5"
        );
        let after = page.cursor::<ImageId>()?;
        let person = filter.person.map(|id| id.to_string()).unwrap_or_default();
        let favourite = filter.favourite.map_or(-1, i64::from);
        let limit = page.limit();
        let rows = self
            .read_all(&sql, |q| {
                let q = q.bind(tenant).bind(after).bind(person).bind(favourite).bind(limit + 1);
                words.into_iter().fold(q, |q, word| q.bind(word))
            })
            .await?;
        let images = rows.iter().map(image_of).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::of(images, limit, |image| image.id.to_string()))
    }

    /// The picture after the change; none where there is no such picture.
    pub async fn set_favourite(
        &self,
        tenant: &str,
        id: ImageId,
        favourite: bool,
    ) -> Result<Option<Image>, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "UPDATE images SET favourite = $3 WHERE id = $1 AND tenant = $2";
        let value = i64::from(favourite);
        tx.run(sql, |q| q.bind(id.to_string()).bind(tenant.to_owned()).bind(value)).await?;
        tx.commit().await?;
        self.image(tenant, id).await
    }

    /// Takes a picture's row away; its bytes go as [`Store::delete_job`] says. False where there is none.
    pub async fn delete_image(&self, tenant: &str, id: ImageId) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let sql = "SELECT id FROM images WHERE id = $1 AND tenant = $2";
        let found = tx.one(sql, |q| q.bind(id.to_string()).bind(tenant.to_owned())).await?.is_some();
        if found {
            tx.remove_image(&id.to_string()).await?;
        }
        tx.commit().await?;
        Ok(found)
    }
}

impl Tx<'_> {
    /// The image of this job with this index, which may be there already.
    pub(super) async fn insert_image(&mut self, job: JobId, new: &NewImage) -> Result<Image, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM images WHERE job = $1 AND picture = $2");
        let index = i64::from(new.index);
        if let Some(row) = self.one(&sql, |q| q.bind(job.to_string()).bind(index)).await? {
            return image_of(&row);
        }
        let row =
            self.one("SELECT id, tenant, input FROM jobs WHERE id = $1", |q| q.bind(job.to_string())).await?;
        let row = row.ok_or(StoreError::LeaseLost(job))?;
        let row = Reader { row: &row, table: "jobs" };
        let input: JobInput = row.json("input")?;
        let mut people: Vec<PersonId> = input.people.iter().map(|person| person.person).collect();
        people.dedup();
        let image = Image {
            id: ImageId::new(),
            tenant: row.text("tenant")?,
            job,
            index: new.index,
            seed: new.seed,
            width: new.width,
            height: new.height,
            format: new.format,
            bytes: new.bytes,
            sha256: new.sha256,
            blob: new.blob.clone(),
            thumb: new.thumb.clone(),
            likeness: new.likeness.clone(),
            prompt: input.prompt,
            people,
            favourite: false,
            created: self.now(),
        };
        let (likeness, shown) = (json(&image.likeness)?, json(&image.people)?);
        let sql = format!(
            "INSERT INTO images ({COLUMNS})
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, 0, $16)"
        );
        self.run(&sql, |q| {
            let q = q.bind(image.id.to_string()).bind(image.tenant.clone()).bind(job.to_string()).bind(index);
            // The seed's bits: it is a number without a sign, and databases have none.
            let q =
                q.bind(image.seed.cast_signed()).bind(i64::from(image.width)).bind(i64::from(image.height));
            let q = q.bind(image.format.name()).bind(image.bytes.cast_signed()).bind(image.sha256.to_vec());
            let q = q.bind(image.blob.to_string()).bind(image.thumb.to_string()).bind(likeness);
            q.bind(image.prompt.clone()).bind(shown).bind(image.created.0)
        })
        .await?;
        for person in &image.people {
            let sql = "INSERT INTO image_people (image, person) VALUES ($1, $2)";
            self.run(sql, |q| q.bind(image.id.to_string()).bind(person.to_string())).await?;
        }
        self.add_event(job, &JobEvent::Output(Box::new(image.clone()))).await?;
        Ok(image)
    }

    pub(super) async fn remove_image(&mut self, id: &str) -> Result<(), StoreError> {
        let sql = "SELECT blob_key, thumb_key FROM images WHERE id = $1";
        if let Some(row) = self.one(sql, |q| q.bind(id.to_owned())).await? {
            for column in ["blob_key", "thumb_key"] {
                let key: String = row.try_get(column)?;
                self.doom(&key).await?;
            }
        }
        self.run("DELETE FROM image_people WHERE image = $1", |q| q.bind(id.to_owned())).await?;
        self.run("DELETE FROM images WHERE id = $1", |q| q.bind(id.to_owned())).await?;
        Ok(())
    }
}

pub(super) fn image_of(row: &AnyRow) -> Result<Image, StoreError> {
    let row = Reader { row, table: "images" };
    Ok(Image {
        id: row.parsed("id")?,
        tenant: row.text("tenant")?,
        job: row.parsed("job")?,
        index: row.number("picture")?,
        seed: row.integer("seed")?.cast_unsigned(),
        width: row.number("width")?,
        height: row.number("height")?,
        format: row.named("format", ImageFormat::of_name)?,
        bytes: row.number("bytes")?,
        sha256: row.sha256("sha256")?,
        blob: row.parsed("blob_key")?,
        thumb: row.parsed("thumb_key")?,
        likeness: row.json("likeness")?,
        prompt: row.text("prompt")?,
        people: row.json("people")?,
        favourite: row.flag("favourite")?,
        created: row.time("created")?,
    })
}
