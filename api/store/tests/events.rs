//! What watchers see.

use imagine_store::{JobEvent, Outcome, Progress};

use crate::queue::{claim, output};
use crate::support::{Place, both, job};

both!(watched_from_another_process, resumed_and_replayed, a_watcher_of_a_deleted_job_is_let_go);

async fn watched_from_another_process(place: Place) {
    let (worker, api) = (place.open().await, place.open().await);
    let id = api.create_job(job("a hat")).await.unwrap().into_inner().id;
    assert!(api.follow("bea", id, 0).await.unwrap().is_none());
    let mut follow = api.follow("local", id, 0).await.unwrap().unwrap();
    let watcher = tokio::spawn(async move {
        let mut seen = Vec::new();
        while let Some(event) = follow.next().await.unwrap() {
            seen.push((event.number, event.event));
        }
        seen
    });
    let held = claim(&worker, 1).await.remove(0);
    let progress = Progress { progress: 0.5, step: 5, steps: 10, eta_seconds: Some(2.5) };
    worker.record_progress(&held.lease, progress).await.unwrap();
    // Progress goes when the job is over, so the watcher must have seen it before.
    while !watcher.is_finished() && api.events(id, 0).await.unwrap().len() < 3 {
        tokio::task::yield_now().await;
    }
    let image = worker.record_output(&held.lease, &output(&held.job, 0)).await.unwrap();
    worker.finish(&held.lease, &Outcome::Succeeded).await.unwrap();
    let mut seen = watcher.await.unwrap();
    // The watcher may look only after the end: then it has missed the progress, and nothing else.
    seen.retain(|(_, event)| !matches!(event, JobEvent::Progress(_)));
    let expected = [
        (Some(1), JobEvent::Queued),
        (Some(2), JobEvent::Started),
        (Some(4), JobEvent::Output(Box::new(image))),
        (Some(5), JobEvent::Succeeded),
    ];
    assert_eq!(seen, expected);
}

async fn resumed_and_replayed(place: Place) {
    let store = place.open().await;
    let id = store.create_job(job("a hat")).await.unwrap().into_inner().id;
    let held = claim(&store, 1).await.remove(0);
    let mut follow = store.follow("local", id, 1).await.unwrap().unwrap();
    assert_eq!(follow.next().await.unwrap().unwrap().event, JobEvent::Started);
    store.show_preview(&held.lease, 2, 7, b"jpeg".to_vec()).await.unwrap();
    let preview = follow.next().await.unwrap().unwrap();
    assert_eq!(preview.number, None);
    assert_eq!(preview.event, JobEvent::Preview { index: 2, step: 7, jpeg: b"jpeg".to_vec() });
    let progress = Progress { progress: 0.5, step: 5, steps: 10, eta_seconds: Some(2.5) };
    store.record_progress(&held.lease, progress).await.unwrap();
    assert_eq!(follow.next().await.unwrap().unwrap().event, JobEvent::Progress(progress));
    store.finish(&held.lease, &Outcome::Succeeded).await.unwrap();
    assert_eq!(follow.next().await.unwrap().unwrap().event, JobEvent::Succeeded);
    assert!(follow.next().await.unwrap().is_none());
    let names = async |after| {
        let mut follow = store.follow("local", id, after).await.unwrap().unwrap();
        let mut names = Vec::new();
        while let Some(event) = follow.next().await.unwrap() {
            names.push(event.event.name());
        }
        names
    };
    assert_eq!(names(0).await, ["job.queued", "job.started", "job.succeeded"]);
    assert_eq!(names(2).await, ["job.succeeded"]);
    assert!(names(4).await.is_empty());
}

async fn a_watcher_of_a_deleted_job_is_let_go(place: Place) {
    let store = place.open().await;
    let id = store.create_job(job("a hat")).await.unwrap().into_inner().id;
    let mut follow = store.follow("local", id, 1).await.unwrap().unwrap();
    let watcher = tokio::spawn(async move { follow.next().await.unwrap() });
    store.delete_job("local", id).await.unwrap();
    assert!(watcher.await.unwrap().is_none());
}
