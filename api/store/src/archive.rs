//! Whatever touches more than one of database, bytes and encryption.

use std::sync::Arc;

use bytes::Bytes;
use imagine_contract::{CardChanges, FaceData, PhotoProblem, RgbPixels};
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::blobs::{BlobKey, Blobs};
use crate::db::{FaceRow, Keep, NewPersonRow, NewPhotoRow, PersonRow, Removed, Store, Swept};
use crate::error::StoreError;
use crate::ids::{ImageId, JobId, PersonId, UploadId};
use crate::types::{Consent, Idempotency, Page, PageRequest, Person, PhotoInfo};
use crate::vault::{DataKey, Vault, VaultError};

/// Content type of sealed bytes.
const SEALED: &str = "application/octet-stream";

/// Database, bytes and encryption together. Cloning gives another handle to the same.
#[derive(Clone, Debug)]
pub struct Archive {
    pub store: Store,
    pub blobs: Arc<dyn Blobs>,
    pub vault: Vault,
}

/// A photo that was looked at.
#[derive(Clone, Debug)]
pub struct NewPhoto {
    pub problems: Vec<PhotoProblem>,
    /// None where it is not usable.
    pub face: Option<FaceData>,
    /// The photo itself, upright and without anything else that the file held, where it is to be kept.
    pub photo: Option<Bytes>,
}

/// A person who is to be remembered.
#[derive(Clone)]
pub struct NewPerson {
    pub tenant: String,
    pub name: String,
    pub consent: Consent,
    /// Name of the face encoder.
    pub encoder: String,
    pub keep_photos: bool,
    /// Made for one job: not in lists, and forgotten when the job is over.
    pub one_shot: bool,
    pub photos: Vec<NewPhoto>,
    /// What they say of their identity card.
    pub card: CardChanges,
    /// A key that was reserved for this ([`Store::reserve`]) and stands for the person from then on.
    pub idempotency: Option<Idempotency>,
}

/// What a person is drawn from.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// One for each usable photo.
    pub faces: Vec<FaceData>,
    /// What they say of their identity card.
    pub changes: CardChanges,
}

/// What was sealed for a person and lies where.
struct SealedPhotos {
    rows: Vec<NewPhotoRow>,
    blobs: Vec<(BlobKey, Vec<u8>)>,
}

impl Archive {
    /// Ties the three together and makes sure that they belong together.
    ///
    /// # Errors
    /// The database was begun with another master key.
    pub async fn open(store: Store, blobs: Arc<dyn Blobs>, vault: Vault) -> Result<Self, StoreError> {
        let key = vault.new_key()?;
        let kept = store.setting("vault", &vault.wrap("vault", &key)?).await?;
        vault.unwrap("vault", &kept).map_err(|_| {
            StoreError::Config("the master key is not the one that this database was begun with".into())
        })?;
        Ok(Self { store, blobs, vault })
    }

    /// Remembers a person. Everything about them is sealed with a key of their own before it is written.
    ///
    /// # Errors
    /// The database or the place for bytes fails, or the idempotency key has come to stand for something else; then
    /// nothing is remembered.
    pub async fn enrol(&self, new: NewPerson) -> Result<Person, StoreError> {
        let id = PersonId::new();
        let owner = id.to_string();
        let key = self.vault.new_key()?;
        let sealed = seal_photos(&key, id, 0, new.photos)?;
        let row = NewPersonRow {
            id,
            tenant: new.tenant.clone(),
            one_shot: new.one_shot,
            keep_photos: new.keep_photos,
            encoder: new.encoder,
            wrapped_key: self.vault.wrap(&owner, &key)?,
            sealed_name: key.seal(&owner, "name", new.name.as_bytes())?,
            sealed_consent: key.seal(&owner, "consent", &encode(&new.consent)?)?,
            sealed_card: match new.card.is_empty() {
                true => None,
                false => Some(key.seal(&owner, "card", &encode(&new.card)?)?),
            },
            idempotency: new.idempotency,
        };
        self.put_all(sealed, |rows| self.store.insert_person(row, rows)).await?;
        self.person(&new.tenant, id).await?.ok_or(StoreError::NoPerson)
    }

    /// More photos of a person.
    ///
    /// # Errors
    /// [`StoreError::NoPerson`].
    pub async fn add_photos(
        &self,
        tenant: &str,
        id: PersonId,
        photos: Vec<NewPhoto>,
    ) -> Result<Person, StoreError> {
        let row = self.store.person_row(tenant, id).await?.ok_or(StoreError::NoPerson)?;
        let key = self.key_of(&row)?;
        let faces = self.store.face_rows(id).await?;
        let first = faces.last().map_or(0, |face| face.info.index + 1);
        let sealed = seal_photos(&key, id, first, photos)?;
        self.put_all(sealed, |rows| self.store.insert_photos(id, rows)).await?;
        self.person(tenant, id).await?.ok_or(StoreError::NoPerson)
    }

    /// Bytes first, then the rows that speak of them; bytes without rows are taken away again.
    async fn put_all<F>(
        &self,
        sealed: SealedPhotos,
        insert: impl FnOnce(Vec<NewPhotoRow>) -> F,
    ) -> Result<(), StoreError>
    where
        F: Future<Output = Result<(), StoreError>>,
    {
        let keys: Vec<BlobKey> = sealed.blobs.iter().map(|(key, _)| key.clone()).collect();
        let put = async {
            for (key, bytes) in sealed.blobs {
                self.blobs.put(&key, bytes.into(), SEALED).await?;
            }
            insert(sealed.rows).await
        };
        let done = put.await;
        if done.is_err() {
            for key in keys {
                if let Err(error) = self.blobs.delete(&key).await {
                    tracing::warn!(%error, "sealed bytes without an owner could not be taken away");
                }
            }
        }
        done
    }

    pub async fn person(&self, tenant: &str, id: PersonId) -> Result<Option<Person>, StoreError> {
        match self.store.person_row(tenant, id).await? {
            Some(row) => self.person_of(row).await.map(Some),
            None => Ok(None),
        }
    }

    /// A tenant's people, newest first, without those made for one job.
    ///
    /// # Errors
    /// [`StoreError::Cursor`].
    pub async fn people(&self, tenant: &str, page: &PageRequest) -> Result<Page<Person>, StoreError> {
        let rows = self.store.person_rows(tenant, page).await?;
        let mut data = Vec::with_capacity(rows.data.len());
        for row in rows.data {
            data.push(self.person_of(row).await?);
        }
        Ok(Page { data, next: rows.next })
    }

    /// # Errors
    /// [`StoreError::NoPerson`].
    pub async fn rename(&self, tenant: &str, id: PersonId, name: &str) -> Result<Person, StoreError> {
        let row = self.store.person_row(tenant, id).await?.ok_or(StoreError::NoPerson)?;
        let sealed = self.key_of(&row)?.seal(&id.to_string(), "name", name.as_bytes())?;
        self.store.rename_person(id, sealed).await?;
        self.person(tenant, id).await?.ok_or(StoreError::NoPerson)
    }

    /// What is known of a person's face, one for each usable photo.
    ///
    /// # Errors
    /// [`StoreError::NoPerson`].
    pub async fn faces(&self, tenant: &str, id: PersonId) -> Result<Vec<FaceData>, StoreError> {
        Ok(self.known(tenant, id, true).await?.faces)
    }

    /// The same with what they say of their identity card; the pictures of the faces only with `crops`.
    ///
    /// # Errors
    /// [`StoreError::NoPerson`].
    pub async fn known(&self, tenant: &str, id: PersonId, crops: bool) -> Result<Known, StoreError> {
        let row = self.store.person_row(tenant, id).await?.ok_or(StoreError::NoPerson)?;
        let (key, owner) = (self.key_of(&row)?, id.to_string());
        let changes = card_changes(&key, &row)?;
        let with_crops = crops;
        let mut faces = Vec::new();
        for FaceRow { info, sealed_face, crops, .. } in self.store.face_rows(id).await? {
            let Some(sealed_face) = sealed_face else { continue };
            let mut face = open_face(&key, &owner, info.index, &sealed_face)?;
            if let Some(crops) = crops.filter(|_| with_crops) {
                let sealed = self.blobs.get(&crops).await?;
                face.crops = open(&key, &owner, &format!("crops {}", info.index), &sealed)?;
            }
            faces.push(face);
        }
        Ok(Known { faces, changes })
    }

    /// Changes what a person says of their identity card, and gives all that they say then. `change` is done again
    /// where somebody else was quicker.
    ///
    /// # Errors
    /// [`StoreError::NoPerson`].
    pub async fn change_card(
        &self,
        tenant: &str,
        id: PersonId,
        change: impl Fn(&mut CardChanges),
    ) -> Result<CardChanges, StoreError> {
        loop {
            let row = self.store.person_row(tenant, id).await?.ok_or(StoreError::NoPerson)?;
            let key = self.key_of(&row)?;
            let mut changes = card_changes(&key, &row)?;
            change(&mut changes);
            let sealed = key.seal(&id.to_string(), "card", &encode(&changes)?)?;
            if self.store.replace_card(id, row.sealed_card, sealed).await? {
                return Ok(changes);
            }
        }
    }

    /// A photo that was kept; none where it was not.
    ///
    /// # Errors
    /// [`StoreError::NoPerson`].
    pub async fn photo(&self, tenant: &str, id: PersonId, index: u32) -> Result<Option<Vec<u8>>, StoreError> {
        let row = self.store.person_row(tenant, id).await?.ok_or(StoreError::NoPerson)?;
        let faces = self.store.face_rows(id).await?;
        let kept = faces.into_iter().find(|face| face.info.index == index).and_then(|face| face.photo);
        let Some(kept) = kept else { return Ok(None) };
        let sealed = self.blobs.get(&kept).await?;
        let opened = self.key_of(&row)?.open(&id.to_string(), &format!("photo {index}"), &sealed)?;
        Ok(Some(opened.to_vec()))
    }

    /// Forgets a person: their key is destroyed, their rows and bytes are taken away, their jobs are stopped,
    /// and with `pictures` everything that was drawn of them goes too. A tombstone stays: id, tenant, times.
    /// None where there is no such person.
    pub async fn delete_person(
        &self,
        tenant: &str,
        id: PersonId,
        pictures: bool,
    ) -> Result<Option<Removed>, StoreError> {
        let removed = self.store.delete_person(tenant, id, pictures).await?;
        if removed.is_some() {
            self.forget().await?;
        }
        Ok(removed)
    }

    /// Takes a picture away, bytes and all. False where there is none.
    pub async fn delete_image(&self, tenant: &str, id: ImageId) -> Result<bool, StoreError> {
        let found = self.store.delete_image(tenant, id).await?;
        self.forget().await?;
        Ok(found)
    }

    /// Takes a job and its pictures away, bytes and all. False where there is none.
    pub async fn delete_job(&self, tenant: &str, id: JobId) -> Result<bool, StoreError> {
        let found = self.store.delete_job(tenant, id).await?;
        self.forget().await?;
        Ok(found)
    }

    /// Seals a picture that was handed in for one job, which names it in its input. It is forgotten when the
    /// job is over.
    pub async fn put_upload(&self, tenant: &str, bytes: &[u8]) -> Result<UploadId, StoreError> {
        let id = UploadId::new();
        let owner = id.to_string();
        let key = self.vault.new_key()?;
        let blob: BlobKey = format!("uploads/{owner}").parse()?;
        self.blobs.put(&blob, key.seal(&owner, "upload", bytes)?.into(), SEALED).await?;
        let added = self.store.add_upload(id, tenant, self.vault.wrap(&owner, &key)?, &blob).await;
        if added.is_err() {
            self.blobs.delete(&blob).await?;
        }
        added.map(|()| id)
    }

    /// None where there is no such upload, or not any more.
    pub async fn open_upload(
        &self,
        tenant: &str,
        id: UploadId,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let Some((wrapped, blob)) = self.store.upload(tenant, id).await? else { return Ok(None) };
        let owner = id.to_string();
        let sealed = self.blobs.get(&blob).await?;
        Ok(Some(self.vault.unwrap(&owner, &wrapped)?.open(&owner, "upload", &sealed)?))
    }

    /// Forgets uploads for which no job was made after all.
    pub async fn delete_uploads(&self, ids: &[UploadId]) -> Result<(), StoreError> {
        self.store.remove_uploads(ids).await?;
        self.forget().await
    }

    /// Retention: takes away what is older than `keep` says, what belongs to nothing any more, and all bytes whose
    /// rows are gone.
    pub async fn sweep(&self, keep: Keep) -> Result<Swept, StoreError> {
        let mut swept = self.store.expire(keep).await?;
        swept.blobs = self.take_away().await?;
        if swept != Swept::default() {
            self.store.forget().await?;
        }
        Ok(swept)
    }

    async fn forget(&self) -> Result<(), StoreError> {
        self.take_away().await?;
        self.store.forget().await
    }

    /// Takes bytes away whose rows are gone. What fails stays on the list for the next time.
    pub async fn take_away(&self) -> Result<u64, StoreError> {
        let mut count = 0;
        loop {
            let doomed = self.store.doomed().await?;
            if doomed.is_empty() {
                return Ok(count);
            }
            for key in &doomed {
                match key.parse() {
                    Ok(key) => self.blobs.delete(&key).await?,
                    Err(error) => tracing::warn!(%error, "a row named bytes that cannot be"),
                }
            }
            self.store.gone(&doomed).await?;
            count += doomed.len() as u64;
        }
    }

    fn key_of(&self, row: &PersonRow) -> Result<DataKey, StoreError> {
        Ok(self.vault.unwrap(&row.id.to_string(), &row.wrapped_key)?)
    }

    async fn person_of(&self, row: PersonRow) -> Result<Person, StoreError> {
        let (key, owner) = (self.key_of(&row)?, row.id.to_string());
        let name = key.open(&owner, "name", &row.sealed_name)?;
        let photos = self.store.face_rows(row.id).await?;
        Ok(Person {
            id: row.id,
            name: String::from_utf8_lossy(&name).into_owned(),
            consent: open(&key, &owner, "consent", &row.sealed_consent)?,
            pictures: self.store.picture_count(row.id).await?,
            tenant: row.tenant,
            created: row.created,
            encoder: row.encoder,
            keep_photos: row.keep_photos,
            one_shot: row.one_shot,
            photos: photos.into_iter().map(|photo| photo.info).collect(),
        })
    }
}

fn seal_photos(
    key: &DataKey,
    id: PersonId,
    first: u32,
    photos: Vec<NewPhoto>,
) -> Result<SealedPhotos, StoreError> {
    let owner = id.to_string();
    let mut sealed = SealedPhotos { rows: Vec::new(), blobs: Vec::new() };
    for (index, NewPhoto { problems, face, photo }) in (first..).zip(photos) {
        let info = PhotoInfo { index, usable: face.is_some(), problems, kept: photo.is_some() };
        let mut row = NewPhotoRow { info, sealed_face: None, crops: None, photo: None };
        if let Some(mut face) = face {
            // Crops are large: they lie with the bytes, the embedding with the rows.
            let crops: Vec<RgbPixels> = std::mem::take(&mut face.crops);
            row.sealed_face = Some(key.seal(&owner, &format!("face {index}"), &encode(&face)?)?);
            if !crops.is_empty() {
                let place: BlobKey = format!("people/{owner}/{index}.crops").parse()?;
                let bytes = key.seal(&owner, &format!("crops {index}"), &encode(&crops)?)?;
                row.crops = Some(place.clone());
                sealed.blobs.push((place, bytes));
            }
        }
        if let Some(photo) = photo {
            let place: BlobKey = format!("people/{owner}/{index}.photo").parse()?;
            row.photo = Some(place.clone());
            sealed.blobs.push((place, key.seal(&owner, &format!("photo {index}"), &photo)?));
        }
        sealed.rows.push(row);
    }
    Ok(sealed)
}

fn card_changes(key: &DataKey, row: &PersonRow) -> Result<CardChanges, StoreError> {
    match &row.sealed_card {
        Some(sealed) => open(key, &row.id.to_string(), "card", sealed),
        None => Ok(CardChanges::default()),
    }
}

/// Faces that were sealed before there were cards end where newer ones say whether they have one.
fn open_face(key: &DataKey, owner: &str, index: u32, sealed: &[u8]) -> Result<FaceData, StoreError> {
    const NO_CARD: u8 = 0;
    let opened = key.open(owner, &format!("face {index}"), sealed)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(opened.len() + 1));
    plain.extend_from_slice(&opened);
    // What follows the end of a newer one is not read.
    plain.push(NO_CARD);
    Ok(postcard::from_bytes(&plain).map_err(|e| VaultError::Encoding(e.to_string()))?)
}

fn encode(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    postcard::to_stdvec(value).map(Zeroizing::new).map_err(|e| VaultError::Encoding(e.to_string()))
}

fn open<T: DeserializeOwned>(
    key: &DataKey,
    owner: &str,
    purpose: &str,
    sealed: &[u8],
) -> Result<T, StoreError> {
    let plain = key.open(owner, purpose, sealed)?;
    Ok(postcard::from_bytes(&plain).map_err(|e| VaultError::Encoding(e.to_string()))?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use imagine_contract::{KeyPoints, SealedCard};

    use super::*;

    /// [`FaceData`] as it was written before there were cards.
    #[derive(Serialize)]
    struct OldFace {
        index: usize,
        embedding: Vec<f32>,
        norm: f32,
        crops: Vec<RgbPixels>,
        key_points: KeyPoints,
    }

    #[test]
    fn faces_from_before_there_were_cards_are_read() {
        let key = Vault::new([7; 32]).new_key().unwrap();
        let key_points = KeyPoints { points: [[1.5, 2.5]; 5], photo: [640, 480] };
        let (index, embedding, norm, crops) = (3, vec![0.25, 0.5], 12.5, Vec::new());
        let old = OldFace { index, embedding: embedding.clone(), norm, crops: crops.clone(), key_points };
        let sealed = key.seal("person_1", "face 0", &encode(&old).unwrap()).unwrap();
        let mut face = FaceData { index, embedding, norm, crops, key_points, card: None };
        assert_eq!(open_face(&key, "person_1", 0, &sealed).unwrap(), face);
        for card in [None, Some(SealedCard("{}".into()))] {
            face.card = card;
            let sealed = key.seal("person_1", "face 0", &encode(&face).unwrap()).unwrap();
            assert_eq!(open_face(&key, "person_1", 0, &sealed).unwrap(), face);
        }
        let cut = encode(&old).unwrap();
        let cut = key.seal("person_1", "face 0", &cut[..cut.len() / 2]).unwrap();
        assert!(open_face(&key, "person_1", 0, &cut).is_err());
    }
}
