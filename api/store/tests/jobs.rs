//! Jobs as clients see them.

use imagine_store::{
    Idempotency, JobFilter, JobStatus, PageRequest, PersonId, PersonInput, Policy, Put, Reservation,
    StoreError,
};

use crate::support::{Place, both, job, of, quick};

both!(
    read_back_and_listed,
    the_same_key_makes_one_job,
    a_reserved_key_is_in_flight,
    retries_without_a_key_are_known,
    a_full_queue_says_so,
    canceled_at_once_where_it_waits,
    nobody_is_drawn_who_is_not_known,
    deleted_for_good,
);

async fn read_back_and_listed(place: Place) {
    let store = place.open().await;
    let mut ids = Vec::new();
    for prompt in ["a red hat", "a blue hat", "100% wool", "a hat in the snow", "RED shoes"] {
        ids.push(store.create_job(of("anna", prompt)).await.unwrap().into_inner().id);
    }
    store.create_job(of("bea", "a red hat")).await.unwrap();
    let found = store.job("anna", ids[1]).await.unwrap().unwrap();
    assert_eq!(
        (found.input.prompt.as_str(), found.input.seed, found.status),
        ("a blue hat", 7, JobStatus::Queued)
    );
    assert!(store.job("bea", ids[1]).await.unwrap().is_none(), "another tenant's");
    let mut listed = Vec::new();
    let mut page = PageRequest { limit: 2, after: None };
    loop {
        let part = store.jobs("anna", &JobFilter::default(), &page).await.unwrap();
        listed.extend(part.data.iter().map(|job| job.id));
        let Some(next) = part.next else { break };
        page.after = Some(next);
    }
    ids.reverse();
    assert_eq!(listed, ids, "newest first, each once");
    let prompts = async |text: &str| {
        let filter = JobFilter { text: Some(text.into()), ..JobFilter::default() };
        let page = store.jobs("anna", &filter, &PageRequest::default()).await.unwrap();
        page.data.into_iter().map(|job| job.input.prompt).collect::<Vec<_>>()
    };
    assert_eq!(prompts("red").await, ["RED shoes", "a red hat"]);
    assert_eq!(prompts("0% w").await, ["100% wool"]);
    assert!(prompts("%shoes_").await.is_empty());
    let filter = JobFilter { status: Some(JobStatus::Failed), ..JobFilter::default() };
    assert!(store.jobs("anna", &filter, &PageRequest::default()).await.unwrap().data.is_empty());
    let wrong = PageRequest { limit: 2, after: Some("img_1".into()) };
    let error = store.jobs("anna", &JobFilter::default(), &wrong).await.unwrap_err();
    assert!(matches!(error, StoreError::Cursor(text) if text == "img_1"));
}

fn key(body: u8) -> Option<Idempotency> {
    Some(Idempotency { key: "k".into(), body_sha256: [body; 32] })
}

async fn the_same_key_makes_one_job(place: Place) {
    let store = place.open().await;
    let keyed = |tenant: &str, body| imagine_store::NewJob { idempotency: key(body), ..of(tenant, "a hat") };
    let tries: Vec<_> = (0..8)
        .map(|_| {
            let (store, new) = (store.clone(), keyed("anna", 1));
            tokio::spawn(async move { store.create_job(new).await.unwrap() })
        })
        .collect();
    let mut made = Vec::new();
    for one in tries {
        made.push(one.await.unwrap());
    }
    assert_eq!(made.iter().filter(|put| put.is_new()).count(), 1);
    let first = made.remove(0).into_inner().id;
    assert!(made.into_iter().all(|put| put.into_inner().id == first));
    assert!(matches!(store.create_job(keyed("anna", 2)).await.unwrap_err(), StoreError::IdempotencyMismatch));
    assert!(store.create_job(keyed("bea", 2)).await.unwrap().is_new(), "keys are a tenant's own");
    assert_eq!(store.depth().await.unwrap().queued, [0, 2, 0]);
}

async fn a_reserved_key_is_in_flight(place: Place) {
    let store = place.open().await;
    let idempotency = key(1).unwrap();
    assert_eq!(store.reserve("anna", &idempotency).await.unwrap(), Reservation::New);
    let again = store.reserve("anna", &idempotency).await.unwrap_err();
    assert!(matches!(again, StoreError::IdempotencyInFlight));
    let other = store.reserve("anna", &key(2).unwrap()).await.unwrap_err();
    assert!(matches!(other, StoreError::IdempotencyMismatch));
    store.unreserve("anna", "k").await.unwrap();
    assert_eq!(store.reserve("anna", &idempotency).await.unwrap(), Reservation::New);
    let new = imagine_store::NewJob { idempotency: key(1), ..of("anna", "a hat") };
    let Put::New(job) = store.create_job(new).await.unwrap() else { panic!("it was only reserved") };
    assert_eq!(store.reserve("anna", &idempotency).await.unwrap(), Reservation::Done(job.id.to_string()));
}

async fn retries_without_a_key_are_known(place: Place) {
    let store = place.open().await;
    let new = imagine_store::NewJob { body_sha256: Some([5; 32]), ..of("anna", "a hat") };
    let id = store.create_job(new).await.unwrap().into_inner().id;
    assert_eq!(store.recent_job("anna", &[5; 32], 60).await.unwrap().unwrap().id, id);
    assert!(store.recent_job("anna", &[6; 32], 60).await.unwrap().is_none());
    assert!(store.recent_job("bea", &[5; 32], 60).await.unwrap().is_none());
    store.cancel_job("anna", id).await.unwrap();
    assert!(store.recent_job("anna", &[5; 32], 60).await.unwrap().is_none(), "a canceled job is no answer");
}

async fn a_full_queue_says_so(place: Place) {
    let store = place.store(Policy { queued: 3, queued_per_owner: 2, ..quick() }).await;
    store.create_job(of("anna", "1")).await.unwrap();
    store.create_job(of("anna", "2")).await.unwrap();
    let full = store.create_job(of("anna", "3")).await.unwrap_err();
    assert!(matches!(full, StoreError::QueueFull { queued: 2, most: 2 }));
    let asked = store.room("anna").await.unwrap_err();
    assert!(matches!(asked, StoreError::QueueFull { queued: 2, most: 2 }));
    store.room("bea").await.unwrap();
    store.create_job(of("bea", "1")).await.unwrap();
    let full = store.create_job(of("carl", "1")).await.unwrap_err();
    assert!(matches!(full, StoreError::QueueFull { queued: 3, most: 3 }));
    assert!(matches!(store.room("carl").await.unwrap_err(), StoreError::QueueFull { queued: 3, most: 3 }));
}

async fn canceled_at_once_where_it_waits(place: Place) {
    let store = place.open().await;
    let new = imagine_store::NewJob { webhook: Some("https://example.org/h".into()), ..job("a hat") };
    let id = store.create_job(new).await.unwrap().into_inner().id;
    assert!(store.cancel_job("bea", id).await.unwrap().is_none());
    for _ in 0..2 {
        let canceled = store.cancel_job("local", id).await.unwrap().unwrap();
        assert_eq!(canceled.status, JobStatus::Canceled);
        assert!(canceled.finished.is_some());
    }
    let hold = std::time::Duration::from_secs(60);
    let due = store.due_webhooks(10, hold).await.unwrap();
    assert_eq!(due.len(), 1, "told once, though canceled twice");
    assert_eq!((due[0].job, due[0].attempt), (id, 1));
    assert!(store.due_webhooks(10, hold).await.unwrap().is_empty(), "it is held");
    store.webhook_retry(due[0].id, std::time::Duration::ZERO).await.unwrap();
    assert_eq!(store.due_webhooks(10, hold).await.unwrap()[0].attempt, 2);
    store.webhook_done(due[0].id).await.unwrap();
    store.webhook_retry(due[0].id, std::time::Duration::ZERO).await.unwrap();
    assert!(store.due_webhooks(10, hold).await.unwrap().is_empty());
}

async fn nobody_is_drawn_who_is_not_known(place: Place) {
    let store = place.open().await;
    let mut new = job("me");
    new.input.people.push(PersonInput::new(PersonId::new()));
    assert!(matches!(store.create_job(new).await.unwrap_err(), StoreError::NoPerson));
    assert_eq!(store.depth().await.unwrap().queued, [0; 3]);
}

async fn deleted_for_good(place: Place) {
    let store = place.open().await;
    let id = store.create_job(job("a hat")).await.unwrap().into_inner().id;
    assert!(!store.delete_job("bea", id).await.unwrap());
    assert!(store.delete_job("local", id).await.unwrap());
    assert!(store.job("local", id).await.unwrap().is_none() && !store.job_exists(id).await.unwrap());
    assert!(store.events(id, 0).await.unwrap().is_empty());
    assert!(!store.delete_job("local", id).await.unwrap());
}
