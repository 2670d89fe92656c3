//! Many jobs at once.

use imagine_store::{
    BatchLine, Counts, Idempotency, InvalidLine, JobError, JobFilter, JobStatus, NewBatch, Outcome,
    PageRequest, StoreError,
};

use crate::queue::{claim, output};
use crate::support::{Place, both, of};

both!(a_line_a_result, canceled_as_a_whole);

fn batch(lines: u32) -> NewBatch {
    let mut lines: Vec<_> =
        (0..lines).map(|i| BatchLine::Job(Box::new(of("anna", &format!("p{i}"))))).collect();
    let error = JobError { rule: Some("test-rule".into()), ..JobError::new("refused", "not that") };
    let given = Some(serde_json::json!({"custom_id": "x"}));
    lines.insert(1, BatchLine::Invalid(InvalidLine { error, given }));
    let idempotency = Some(Idempotency { key: "b".into(), body_sha256: [1; 32] });
    NewBatch { tenant: "anna".into(), name: Some("holiday".into()), lines, idempotency }
}

async fn a_line_a_result(place: Place) {
    let store = place.open().await;
    let made = store.create_batch(batch(3)).await.unwrap();
    assert!(made.is_new());
    let made = made.into_inner();
    let again = store.create_batch(batch(3)).await.unwrap();
    assert!(!again.is_new() && again.into_inner().id == made.id);
    assert_eq!(made.counts, Counts { total: 4, queued: 3, failed: 1, ..Counts::default() });
    let held = claim(&store, 2).await;
    store.record_output(&held[0].lease, &output(&held[0].job, 0)).await.unwrap();
    store.finish(&held[0].lease, &Outcome::Succeeded).await.unwrap();
    let counts = store.batch("anna", made.id).await.unwrap().unwrap().counts;
    assert_eq!(counts, Counts { total: 4, queued: 1, running: 1, succeeded: 1, failed: 1, canceled: 0 });
    assert!(store.batch("bea", made.id).await.unwrap().is_none());
    let results = store.batch_results(made.id, 0, 100).await.unwrap();
    let lines: Vec<_> = results.iter().map(|r| r.line).collect();
    assert_eq!(lines, [0, 1, 2, 3]);
    let first = results[0].result.as_ref().unwrap();
    assert_eq!(
        (first.input.prompt.as_str(), first.status, first.outputs.len()),
        ("p0", JobStatus::Succeeded, 1)
    );
    let invalid = results[1].result.as_ref().unwrap_err();
    assert_eq!(
        (invalid.error.code.as_str(), &invalid.given.as_ref().unwrap()["custom_id"]),
        ("refused", &"x".into())
    );
    assert_eq!(invalid.error.rule.as_deref(), Some("test-rule"));
    assert_eq!(results[3].result.as_ref().unwrap().input.prompt, "p2");
    assert_eq!(store.batch_results(made.id, 3, 100).await.unwrap().len(), 1);
    let filter = JobFilter { batch: Some(made.id), ..JobFilter::default() };
    assert_eq!(store.jobs("anna", &filter, &PageRequest::default()).await.unwrap().data.len(), 3);
    assert_eq!(
        store.batches("anna", &PageRequest::default()).await.unwrap().data[0].name.as_deref(),
        Some("holiday")
    );
    let wrong =
        NewBatch { idempotency: Some(Idempotency { key: "b".into(), body_sha256: [2; 32] }), ..batch(1) };
    assert!(matches!(store.create_batch(wrong).await.unwrap_err(), StoreError::IdempotencyMismatch));
}

async fn canceled_as_a_whole(place: Place) {
    let store = place.open().await;
    let id = store.create_batch(batch(3)).await.unwrap().into_inner().id;
    let held = claim(&store, 1).await.remove(0);
    assert!(store.cancel_batch("bea", id).await.unwrap().is_none());
    let canceled = store.cancel_batch("anna", id).await.unwrap().unwrap();
    assert_eq!((canceled.counts.canceled, canceled.counts.running), (2, 1));
    assert!(store.renew(&held.lease).await.unwrap().cancel_requested);
    store.finish(&held.lease, &Outcome::Canceled).await.unwrap();
    assert!(store.batch("anna", id).await.unwrap().unwrap().counts.is_final());
}
