//! Deleted means gone: every file is searched for the bytes.

use std::fs;
use std::path::Path;

use imagine_contract::CardChanges;
use imagine_store::{JobStatus, Outcome};

use crate::people::{drawn, face, person};
use crate::queue::{claim, output};
use crate::support::{Place, both, job};

both!(nothing_is_left_of_a_person, pictures_stay_where_asked);

const NAME: &str = "Zephyrine Quillfeather-Osei";
const SAID: &str = "a colour of hair that nobody has, 998877";
const PHOTO: &[u8] = b"a photo that nobody may ever find again, 0123456789";

fn files_with(folder: &Path, needle: &[u8], found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            files_with(&entry.path(), needle, found);
        } else if let Ok(bytes) = fs::read(entry.path())
            && memchr::memmem::find(&bytes, needle).is_some()
        {
            found.push(entry.path().display().to_string());
        }
    }
}

fn search(place: &Place, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    files_with(place.folder.path(), needle, &mut found);
    // Postgres is one server for all tests: what is sealed must not be in any of its files either.
    if let Some(url) = &place.url {
        let socket = url.split("host=").nth(1).and_then(|rest| rest.split('&').next()).unwrap();
        files_with(Path::new(&socket.replace("%2F", "/")), needle, &mut found);
    }
    found
}

async fn nothing_is_left_of_a_person(place: Place) {
    let archive = place.archive().await;
    let store = &archive.store;
    let id = archive.enrol(person(NAME, Some(PHOTO))).await.unwrap().id;
    archive.rename("anna", id, &format!("{NAME} the second")).await.unwrap();
    let said = |changes: &mut CardChanges| {
        changes.set.insert("hair-colour".into(), SAID.into());
    };
    archive.change_card("anna", id, said).await.unwrap();
    let mut new =
        imagine_store::NewJob { tenant: "anna".into(), ..job("in a prompt that is only about this person") };
    new.input.people.push(drawn(id));
    let done = store.create_job(new.clone()).await.unwrap().into_inner();
    let held = claim(store, 1).await.remove(0);
    let picture = output(&done, 0);
    let drawn_bytes = b"the very bytes of a picture of this person";
    archive.blobs.put(&picture.blob, drawn_bytes.as_slice().into(), "image/png").await.unwrap();
    store.record_output(&held.lease, &picture).await.unwrap();
    store.finish(&held.lease, &Outcome::Succeeded).await.unwrap();
    let waiting = store.create_job(new).await.unwrap().into_inner().id;

    let embedding: Vec<u8> = face(0.25).embedding[..8].iter().flat_map(|v| v.to_le_bytes()).collect();
    let crop = &face(0.25).crops[0].rgb[..64];
    let consent = b"Bertrand Consentgiver".as_slice();
    let card = b"a card that is found nowhere by chance".as_slice();
    let plain = [NAME.as_bytes(), PHOTO, &embedding, crop, consent, card, SAID.as_bytes()];
    for needle in plain {
        assert!(search(&place, needle).is_empty(), "sealed while it is kept");
    }
    // The search does find what is there: the sealed bytes themselves, and the prompt.
    let sealed = fs::read(place.folder.path().join(format!("blobs/people/{id}/0.photo"))).unwrap();
    assert_eq!(search(&place, &sealed[..48]).len(), 1);
    let prompt = b"in a prompt that is only about this person".as_slice();
    assert!(!search(&place, prompt).is_empty());
    assert!(!search(&place, drawn_bytes).is_empty());
    let wrapped = wrapped_key(&place, id).await;

    let removed = archive.delete_person("anna", id, true).await.unwrap().unwrap();
    assert_eq!((removed.photos, removed.embeddings, removed.pictures, removed.jobs), (1, 1, 1, 2));
    assert!(archive.delete_person("anna", id, true).await.unwrap().is_none());
    assert!(archive.person("anna", id).await.unwrap().is_none());
    assert!(store.job("anna", waiting).await.unwrap().is_none());
    assert!(archive.blobs.list("", None, 100).await.unwrap().is_empty());
    for needle in plain.into_iter().chain([drawn_bytes.as_slice(), &sealed[..48]]) {
        assert_eq!(search(&place, needle), [""; 0], "{:?}", String::from_utf8_lossy(needle));
    }
    if place.url.is_none() {
        // Postgres overwrites its pages and log in its own time; here nothing may be left at once.
        assert_eq!(search(&place, &wrapped), [""; 0], "the wrapped key");
        assert_eq!(search(&place, prompt), [""; 0], "the prompt");
    }
}

/// As it lies in the database.
async fn wrapped_key(place: &Place, id: imagine_store::PersonId) -> Vec<u8> {
    use sqlx::Row;
    sqlx::any::install_default_drivers();
    let file = format!("sqlite://{}", place.folder.path().join("imagine.db").display());
    let pool = sqlx::AnyPool::connect(place.url.as_deref().unwrap_or(&file)).await.unwrap();
    let row = sqlx::query("SELECT wrapped_key FROM people WHERE id = $1").bind(id.to_string());
    let key: Vec<u8> = row.fetch_one(&pool).await.unwrap().try_get(0).unwrap();
    pool.close().await;
    assert!(key.len() > 64);
    if place.url.is_none() {
        assert!(!search(place, &key).is_empty(), "the search finds it while it is there");
    }
    key
}

async fn pictures_stay_where_asked(place: Place) {
    let archive = place.archive().await;
    let store = &archive.store;
    let id = archive.enrol(person(NAME, None)).await.unwrap().id;
    let mut new = imagine_store::NewJob { tenant: "anna".into(), ..job("me") };
    new.input.people.push(drawn(id));
    let done = store.create_job(new.clone()).await.unwrap().into_inner();
    let held = claim(store, 1).await.remove(0);
    let image = store.record_output(&held.lease, &output(&done, 0)).await.unwrap();
    assert_eq!(image.people, [id]);
    store.finish(&held.lease, &Outcome::Succeeded).await.unwrap();
    assert_eq!(archive.person("anna", id).await.unwrap().unwrap().pictures, 1);
    let waiting = store.create_job(new.clone()).await.unwrap().into_inner().id;
    let removed = archive.delete_person("anna", id, false).await.unwrap().unwrap();
    assert_eq!((removed.pictures, removed.jobs), (0, 0));
    let kept = store.image("anna", image.id).await.unwrap().unwrap();
    assert!(kept.people.is_empty(), "it does not name the person any more");
    assert_eq!(store.job("anna", waiting).await.unwrap().unwrap().status, JobStatus::Canceled);
    assert!(store.create_job(new).await.is_err());
}
