//! People: sealed, read back, renamed; what was handed in for one job goes with it.

use std::time::Duration;

use imagine_contract::{CardChanges, FaceData, KeyPoints, PhotoProblem, RgbPixels, SealedCard};
use imagine_store::{
    Archive, EditInput, EditSource, Idempotency, JobStatus, Keep, NewPerson, NewPhoto, Outcome, PageRequest,
    PersonInput, Reservation, StoreError, Swept, Vault,
};

use crate::queue::claim;
use crate::support::{Place, both, consent, job};

both!(
    sealed_and_read_back,
    cards_are_corrected,
    one_shot_people_and_uploads_go_with_the_job,
    handed_in_photos_wait_only_so_long,
    a_key_stands_for_one_person,
    retention,
);

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// Numbers that are found nowhere by chance.
pub fn face(mark: f32) -> FaceData {
    let crop = |side: u32| RgbPixels {
        width: side,
        height: side,
        rgb: (0..side * side * 3).map(|i| (i * 7 % 251) as u8).collect(),
    };
    FaceData {
        index: 0,
        embedding: (0..128).map(|i| mark + i as f32 * 0.001_234_5).collect(),
        norm: 12.5,
        crops: vec![crop(224), crop(256)],
        key_points: KeyPoints { points: [[1.5, 2.5]; 5], photo: [640, 480] },
        card: Some(SealedCard(format!("{{\"a card that is found nowhere by chance\": {mark}}}"))),
    }
}

pub fn person(name: &str, photo: Option<&'static [u8]>) -> NewPerson {
    let problem = PhotoProblem { code: "too_dark".into(), advice: "more light".into(), blocks: true };
    NewPerson {
        tenant: "anna".into(),
        name: name.into(),
        consent: consent(),
        encoder: "sface".into(),
        keep_photos: photo.is_some(),
        one_shot: false,
        photos: vec![
            NewPhoto { problems: Vec::new(), face: Some(face(0.25)), photo: photo.map(Into::into) },
            NewPhoto { problems: vec![problem], face: None, photo: None },
        ],
        card: CardChanges::default(),
        idempotency: None,
    }
}

pub fn drawn(id: imagine_store::PersonId) -> PersonInput {
    PersonInput::new(id)
}

async fn sealed_and_read_back(place: Place) {
    let archive = place.archive().await;
    let made = archive.enrol(person("Anna", Some(b"a photo"))).await.unwrap();
    assert_eq!((made.name.as_str(), made.encoder.as_str(), made.pictures), ("Anna", "sface", 0));
    assert_eq!(made.consent, consent());
    assert!(made.photos[0].usable && made.photos[0].kept && !made.photos[1].usable);
    assert_eq!(made.photos[1].problems[0].code, "too_dark");
    assert!(!format!("{made:?}").contains("Anna"));
    assert_eq!(archive.faces("anna", made.id).await.unwrap(), [face(0.25)]);
    assert_eq!(archive.photo("anna", made.id, 0).await.unwrap().unwrap(), b"a photo");
    assert!(archive.photo("anna", made.id, 1).await.unwrap().is_none());
    assert!(archive.person("bea", made.id).await.unwrap().is_none());
    assert!(matches!(archive.faces("bea", made.id).await.unwrap_err(), StoreError::NoPerson));
    assert_eq!(archive.rename("anna", made.id, "Anne").await.unwrap().name, "Anne");
    let more = vec![NewPhoto { problems: Vec::new(), face: Some(face(0.5)), photo: None }];
    let grown = archive.add_photos("anna", made.id, more).await.unwrap();
    assert_eq!(grown.photos.iter().map(|p| p.index).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(archive.faces("anna", made.id).await.unwrap(), [face(0.25), face(0.5)]);
    assert_eq!(archive.people("anna", &PageRequest::default()).await.unwrap().data.len(), 1);
    // The same data with another master key opens nothing, and says so at once.
    let other = Archive::open(archive.store.clone(), archive.blobs.clone(), Vault::new([1; 32])).await;
    assert!(other.unwrap_err().to_string().contains("master key"));
}

fn said(set: &[(&str, &str)], without: &[&str]) -> CardChanges {
    let set = set.iter().map(|(part, value)| ((*part).to_owned(), (*value).to_owned())).collect();
    CardChanges { set, without: without.iter().map(|part| (*part).to_owned()).collect() }
}

/// What a person says of their card is kept beside what was measured, and nobody's word is lost.
async fn cards_are_corrected(place: Place) {
    let archive = place.archive().await;
    let plain = archive.enrol(person("Bea", None)).await.unwrap();
    assert_eq!(archive.known("anna", plain.id, true).await.unwrap().changes, CardChanges::default());
    let card = said(&[("glasses", "yes")], &["skin"]);
    let made = archive.enrol(NewPerson { card: card.clone(), ..person("Anna", None) }).await.unwrap();
    let known = archive.known("anna", made.id, false).await.unwrap();
    assert_eq!((known.changes, known.faces.len()), (card, 1));
    assert_eq!(known.faces[0].card, face(0.25).card);
    assert!(known.faces[0].crops.is_empty(), "they were not asked for");
    assert_eq!(archive.known("anna", made.id, true).await.unwrap().faces, [face(0.25)]);

    let parts = ["a", "b", "c", "d"];
    let change = |part: &'static str| {
        let later = said(&[(part, "1")], &[]);
        let archive = archive.clone();
        tokio::spawn(async move { archive.change_card("anna", made.id, |all| all.merge(&later)).await })
    };
    let at_once: Vec<_> = parts.into_iter().map(change).collect();
    for task in at_once {
        task.await.unwrap().unwrap();
    }
    let wanted = said(&[("a", "1"), ("b", "1"), ("c", "1"), ("d", "1"), ("glasses", "yes")], &["skin"]);
    assert_eq!(archive.known("anna", made.id, false).await.unwrap().changes, wanted);
    let back = archive.change_card("anna", made.id, |all| all.reset("skin")).await.unwrap();
    assert!(back.without.is_empty());
    let more = vec![NewPhoto { problems: Vec::new(), face: Some(face(0.5)), photo: None }];
    archive.add_photos("anna", made.id, more).await.unwrap();
    assert_eq!(
        archive.known("anna", made.id, false).await.unwrap().changes,
        back,
        "more photos change nothing"
    );

    for tenant in ["bea", "anna"] {
        if tenant == "anna" {
            archive.delete_person("anna", made.id, false).await.unwrap().unwrap();
        }
        let gone = archive.change_card(tenant, made.id, |_| ()).await.unwrap_err();
        assert!(matches!(gone, StoreError::NoPerson), "{gone}");
    }
}

/// A request that is sent twice remembers one person, and brings back none who was deleted.
async fn a_key_stands_for_one_person(place: Place) {
    let archive = place.archive().await;
    let key = |byte| Idempotency { key: "k".into(), body_sha256: [byte; 32] };
    let keyed = || NewPerson { idempotency: Some(key(1)), ..person("Anna", Some(b"photo")) };
    assert_eq!(archive.store.reserve("anna", &key(1)).await.unwrap(), Reservation::New);
    let made = archive.enrol(keyed()).await.unwrap();
    let known = Reservation::Done(made.id.to_string());
    assert_eq!(archive.store.reserve("anna", &key(1)).await.unwrap(), known);
    let second = archive.enrol(keyed()).await.unwrap_err();
    assert!(matches!(second, StoreError::IdempotencyInFlight), "{second}");
    let all = archive.people("anna", &PageRequest::default()).await.unwrap().data;
    assert_eq!(all, std::slice::from_ref(&made));
    assert_eq!(archive.blobs.list("", None, 10).await.unwrap().len(), 2, "the second left no bytes");

    archive.delete_person("anna", made.id, false).await.unwrap().unwrap();
    let late = archive.store.reserve("anna", &key(1)).await.unwrap_err();
    assert!(matches!(late, StoreError::IdempotencyMismatch), "its hash is gone: {late}");
}

async fn one_shot_people_and_uploads_go_with_the_job(place: Place) {
    let archive = place.archive().await;
    let once = archive.enrol(NewPerson { one_shot: true, ..person("", None) }).await.unwrap();
    assert!(archive.people("anna", &PageRequest::default()).await.unwrap().data.is_empty());
    let upload = archive.put_upload("anna", b"a picture").await.unwrap();
    let mask = archive.put_upload("anna", b"a mask").await.unwrap();
    assert_eq!(archive.open_upload("anna", upload).await.unwrap().unwrap().as_slice(), b"a picture");
    assert!(archive.open_upload("bea", upload).await.unwrap().is_none());
    let mut jobs = Vec::new();
    for _ in 0..2 {
        let mut new = imagine_store::NewJob { tenant: "anna".into(), ..job("me") };
        new.input.people.push(drawn(once.id));
        new.input.edit = Some(EditInput {
            source: EditSource::Upload(upload),
            strength: 0.5,
            mask: Some(mask),
            keep_face: false,
            feather: None,
        });
        jobs.push(archive.store.create_job(new).await.unwrap().into_inner().id);
    }
    let held = claim(&archive.store, 1).await.remove(0);
    archive.store.finish(&held.lease, &Outcome::Succeeded).await.unwrap();
    assert_eq!(archive.faces("anna", once.id).await.unwrap().len(), 1, "another job needs it still");
    archive.store.cancel_job("anna", jobs[1]).await.unwrap();
    assert!(archive.person("anna", once.id).await.unwrap().is_none());
    assert!(archive.open_upload("anna", upload).await.unwrap().is_none());
    assert!(archive.take_away().await.unwrap() >= 3);
    assert!(archive.blobs.list("", None, 10).await.unwrap().is_empty());
}

/// Photos that were handed in do not wait for ever with a job that nobody begins.
async fn handed_in_photos_wait_only_so_long(place: Place) {
    let archive = place.archive().await;
    let store = &archive.store;
    let mut waiting = Vec::new();
    for _ in 0..2 {
        let once = archive.enrol(NewPerson { one_shot: true, ..person("", None) }).await.unwrap();
        let mut new = imagine_store::NewJob { tenant: "anna".into(), ..job("me") };
        new.input.people.push(drawn(once.id));
        waiting.push((store.create_job(new).await.unwrap().into_inner().id, once.id));
    }
    let upload = archive.put_upload("anna", b"picture").await.unwrap();
    let mut edit = imagine_store::NewJob { tenant: "anna".into(), ..job("a hat") };
    let source = EditSource::Upload(upload);
    edit.input.edit = Some(EditInput { source, strength: 0.5, mask: None, keep_face: false, feather: None });
    let edit = store.create_job(edit).await.unwrap().into_inner().id;
    let plain = store.create_job(job("a forest")).await.unwrap().into_inner().id;
    // The first is begun: its photos are in use.
    assert_eq!(claim(store, 1).await[0].job.id, waiting[0].0);

    let keep = |handed_in: Option<Duration>| Keep { jobs: None, handed_in };
    assert_eq!(archive.sweep(keep(None)).await.unwrap(), Swept::default());
    assert_eq!(archive.sweep(keep(Some(YEAR))).await.unwrap(), Swept::default());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let swept = archive.sweep(keep(Some(Duration::ZERO))).await.unwrap();
    assert_eq!((swept.expired, swept.jobs), (2, 0));
    for id in [waiting[1].0, edit] {
        let ended = store.job("anna", id).await.unwrap().unwrap();
        assert_eq!((ended.status, ended.error.unwrap().code.as_str()), (JobStatus::Failed, "expired"));
    }
    assert!(archive.person("anna", waiting[1].1).await.unwrap().is_none());
    assert!(archive.open_upload("anna", upload).await.unwrap().is_none());
    let used = archive.faces("anna", waiting[0].1).await.unwrap();
    assert_eq!(used.len(), 1, "what a worker has is left to it");
    assert_eq!(store.job("local", plain).await.unwrap().unwrap().status, JobStatus::Queued);
    let left = archive.blobs.list("", None, 10).await.unwrap();
    assert!(left.iter().all(|key| key.as_str().contains(&waiting[0].1.to_string())), "{left:?}");
}

async fn retention(place: Place) {
    let archive = place.archive().await;
    let store = &archive.store;
    let mut images = Vec::new();
    for _ in 0..2 {
        let job = store.create_job(job("a hat")).await.unwrap().into_inner();
        let held = claim(store, 1).await.remove(0);
        let new = crate::queue::output(&job, 0);
        archive.blobs.put(&new.blob, b"png".as_slice().into(), "image/png").await.unwrap();
        images.push(store.record_output(&held.lease, &new).await.unwrap());
        store.finish(&held.lease, &Outcome::Succeeded).await.unwrap();
    }
    store.set_favourite("local", images[1].id, true).await.unwrap();
    let waiting = store.create_job(job("later")).await.unwrap().into_inner();
    let keep = |jobs: Duration| Keep { jobs: Some(jobs), handed_in: None };
    assert_eq!(archive.sweep(keep(YEAR)).await.unwrap(), Swept::default());
    tokio::time::sleep(Duration::from_millis(5)).await;
    let swept = archive.sweep(keep(Duration::ZERO)).await.unwrap();
    assert_eq!((swept.jobs, swept.blobs), (1, 2));
    assert!(store.image("local", images[0].id).await.unwrap().is_none());
    assert!(archive.blobs.head(&images[0].blob).await.unwrap().is_none());
    assert!(archive.blobs.head(&images[1].blob).await.unwrap().is_some(), "a favourite stays");
    assert!(store.job("local", waiting.id).await.unwrap().is_some(), "what waits stays");
}
