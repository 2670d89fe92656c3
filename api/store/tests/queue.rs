//! Turns, leases and what is written under them.

use std::collections::HashSet;
use std::time::Duration;

use imagine_store::{
    Claim, Claimed, ImageFormat, JobError, JobStatus, NewImage, Outcome, Policy, Priority, Progress, Store,
    StoreError,
};

use crate::support::{Place, both, job, of, quick};

both!(
    turns_are_fair,
    classes_go_first_and_batch_keys_together,
    an_owner_has_a_cap,
    two_workers_never_share_a_job,
    whoever_lost_the_lease_writes_nothing,
    three_attempts_and_no_more,
    renewed_leases_hold,
    released_jobs_do_not_lose_an_attempt,
    canceled_while_it_runs,
    an_output_is_recorded_once,
);

pub async fn claim(store: &Store, most: u32) -> Vec<Claimed> {
    store.claim(&Claim { worker: "w".into(), model: "starter".into(), most }).await.unwrap()
}

pub fn output(job: &imagine_store::Job, index: u32) -> NewImage {
    NewImage {
        index,
        seed: u64::MAX - 1,
        width: 64,
        height: 32,
        format: ImageFormat::Png,
        bytes: 3,
        sha256: [1; 32],
        blob: format!("images/{}/{index}.png", job.id).parse().unwrap(),
        thumb: format!("images/{}/{index}.thumb.jpg", job.id).parse().unwrap(),
        likeness: vec![Some(0.5), None],
    }
}

/// With leases that run out within the test.
async fn brief(place: &Place, lease: u64) -> Store {
    place.store(Policy { lease: Duration::from_millis(lease), ..quick() }).await
}

async fn wait_for_expiry(store: &Store) {
    let left = store.next_expiry().await.unwrap().unwrap();
    tokio::time::sleep(left + Duration::from_millis(20)).await;
}

async fn turns_are_fair(place: Place) {
    let store = place.open().await;
    for i in 0..4 {
        store.create_job(of("anna", &format!("a{i}"))).await.unwrap();
    }
    let last = store.create_job(of("bea", "b0")).await.unwrap().into_inner().id;
    store.create_job(of("bea", "b1")).await.unwrap();
    assert_eq!(store.queue_position(last).await.unwrap(), Some(1), "behind anna's first only");
    let mut order = Vec::new();
    for _ in 0..6 {
        let one = claim(&store, 1).await.remove(0);
        order.push(one.job.input.prompt.clone());
        // bea's first is finished at once, so that hers that run count less than anna's.
        if one.job.input.prompt == "b0" {
            store.finish(&one.lease, &Outcome::Succeeded).await.unwrap();
        }
    }
    assert_eq!(order, ["a0", "b0", "b1", "a1", "a2", "a3"]);
    assert_eq!(store.queue_position(last).await.unwrap(), None);
    assert!(claim(&store, 1).await.is_empty());
}

async fn classes_go_first_and_batch_keys_together(place: Place) {
    let store = place.open().await;
    let sized = |prompt: &str, size, priority| {
        let mut new = of(prompt, prompt);
        new.input.size = Some(size);
        new.priority = priority;
        new
    };
    let small = [64, 64];
    for new in [
        sized("low", small, Priority::Low),
        sized("other size", [96, 64], Priority::Normal),
        sized("first", small, Priority::High),
        sized("second", small, Priority::Normal),
    ] {
        store.create_job(new).await.unwrap();
    }
    let mut another = of("d", "another model");
    another.input.model = Some("sdxl".into());
    store.create_job(another).await.unwrap();
    let prompts = |claimed: Vec<Claimed>| claimed.into_iter().map(|c| c.job.input.prompt).collect::<Vec<_>>();
    assert_eq!(prompts(claim(&store, 8).await), ["first", "second", "low"]);
    assert_eq!(prompts(claim(&store, 8).await), ["other size"]);
    assert!(claim(&store, 8).await.is_empty(), "this worker has not that model");
    assert_eq!(store.depth().await.unwrap().running, 4);
}

async fn an_owner_has_a_cap(place: Place) {
    let store = place.store(Policy { running_per_owner: 2, ..quick() }).await;
    for i in 0..4 {
        store.create_job(of("anna", &i.to_string())).await.unwrap();
    }
    store.create_job(NewLow::of("anna")).await.unwrap();
    let first = claim(&store, 8).await;
    assert_eq!(first.len(), 2);
    assert!(claim(&store, 8).await.is_empty());
    store.finish(&first[0].lease, &Outcome::Succeeded).await.unwrap();
    assert_eq!(claim(&store, 8).await.len(), 1, "classes share the cap");
}

struct NewLow;

impl NewLow {
    fn of(owner: &str) -> imagine_store::NewJob {
        imagine_store::NewJob { priority: Priority::Low, ..of(owner, "low") }
    }
}

async fn two_workers_never_share_a_job(place: Place) {
    let stores = [place.open().await, place.open().await];
    for i in 0..60 {
        stores[0].create_job(of(["a", "b", "c"][i % 3], &i.to_string())).await.unwrap();
    }
    let workers: Vec<_> = (0..4)
        .map(|i| {
            let store = stores[i % 2].clone();
            tokio::spawn(async move {
                let mut mine = Vec::new();
                loop {
                    let claimed = claim(&store, 1 + (i as u32 % 3)).await;
                    if claimed.is_empty() {
                        return mine;
                    }
                    for Claimed { job, lease } in claimed {
                        store.finish(&lease, &Outcome::Succeeded).await.unwrap();
                        mine.push(job.id);
                    }
                }
            })
        })
        .collect();
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.await.unwrap());
    }
    assert_eq!(all.len(), 60);
    assert_eq!(all.into_iter().collect::<HashSet<_>>().len(), 60);
}

async fn whoever_lost_the_lease_writes_nothing(place: Place) {
    let (first, second) = (brief(&place, 2000).await, brief(&place, 2000).await);
    let id = first.create_job(job("a hat")).await.unwrap().into_inner().id;
    let lost = claim(&first, 1).await.remove(0);
    assert!(claim(&second, 1).await.is_empty());
    wait_for_expiry(&first).await;
    let held = claim(&second, 1).await.remove(0);
    assert_eq!((held.job.id, held.job.attempts), (id, 2));
    let progress = Progress { progress: 0.9, step: 9, steps: 10, eta_seconds: None };
    let lost_it = |error: StoreError| matches!(error, StoreError::LeaseLost(job) if job == id);
    assert!(lost_it(first.renew(&lost.lease).await.unwrap_err()));
    assert!(lost_it(first.record_progress(&lost.lease, progress).await.unwrap_err()));
    assert!(lost_it(first.record_output(&lost.lease, &output(&lost.job, 0)).await.unwrap_err()));
    assert!(lost_it(first.record_expansion(&lost.lease, &serde_json::json!({})).await.unwrap_err()));
    assert!(lost_it(first.release(&lost.lease).await.unwrap_err()));
    assert!(lost_it(first.finish(&lost.lease, &Outcome::Canceled).await.unwrap_err()));
    let seen = second.job("local", id).await.unwrap().unwrap();
    assert_eq!((seen.status, seen.progress, seen.outputs.len()), (JobStatus::Running, 0.0, 0));
    second.finish(&held.lease, &Outcome::Succeeded).await.unwrap();
    assert!(
        lost_it(second.finish(&held.lease, &Outcome::Succeeded).await.unwrap_err()),
        "finished is finished"
    );
}

async fn three_attempts_and_no_more(place: Place) {
    let store = brief(&place, 300).await;
    let id = store.create_job(job("a hat")).await.unwrap().into_inner().id;
    for attempt in 1..=3 {
        let held = claim(&store, 1).await.remove(0);
        assert_eq!(held.job.attempts, attempt);
        wait_for_expiry(&store).await;
    }
    assert_eq!(store.reap().await.unwrap().failed, 1);
    assert!(claim(&store, 1).await.is_empty());
    let failed = store.job("local", id).await.unwrap().unwrap();
    assert_eq!((failed.status, failed.attempts), (JobStatus::Failed, 3));
    assert_eq!(failed.error.unwrap().code, "worker_lost");
}

async fn renewed_leases_hold(place: Place) {
    let store = brief(&place, 300).await;
    store.create_job(job("a hat")).await.unwrap();
    let held = claim(&store, 1).await.remove(0);
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!store.renew(&held.lease).await.unwrap().cancel_requested);
    }
    assert_eq!(store.reap().await.unwrap(), imagine_store::Reaped::default());
    store.finish(&held.lease, &Outcome::Succeeded).await.unwrap();
}

async fn released_jobs_do_not_lose_an_attempt(place: Place) {
    let store = place.open().await;
    store.create_job(job("a hat")).await.unwrap();
    for _ in 0..5 {
        let held = claim(&store, 1).await.remove(0);
        assert_eq!(held.job.attempts, 1);
        store.release(&held.lease).await.unwrap();
    }
}

async fn canceled_while_it_runs(place: Place) {
    let store = brief(&place, 300).await;
    let id = store.create_job(job("a hat")).await.unwrap().into_inner().id;
    let held = claim(&store, 1).await.remove(0);
    let asked = store.cancel_job("local", id).await.unwrap().unwrap();
    assert_eq!((asked.status, asked.cancel_requested), (JobStatus::Running, true));
    let progress = Progress { progress: 0.5, step: 1, steps: 2, eta_seconds: Some(1.0) };
    assert!(store.record_progress(&held.lease, progress).await.unwrap().cancel_requested);
    assert!(store.renew(&held.lease).await.unwrap().cancel_requested);
    // A worker that dies before it obeys: the job is canceled, not done again.
    wait_for_expiry(&store).await;
    assert_eq!(store.reap().await.unwrap().canceled, 1);
    assert_eq!(store.job("local", id).await.unwrap().unwrap().status, JobStatus::Canceled);
}

async fn an_output_is_recorded_once(place: Place) {
    let store = brief(&place, 300).await;
    let id = store.create_job(job("a hat")).await.unwrap().into_inner().id;
    let held = claim(&store, 1).await.remove(0);
    let first = store.record_output(&held.lease, &output(&held.job, 0)).await.unwrap();
    let again = store.record_output(&held.lease, &output(&held.job, 0)).await.unwrap();
    assert_eq!(first, again);
    assert_eq!((first.seed, first.likeness.as_slice()), (u64::MAX - 1, &[Some(0.5), None][..]));
    wait_for_expiry(&store).await;
    let next = claim(&store, 1).await.remove(0);
    assert_eq!(next.job.outputs, std::slice::from_ref(&first), "the next attempt knows what is done");
    let failed =
        Outcome::Failed(JobError { rule: Some("test-rule".into()), ..JobError::new("refused", "no") });
    store.finish(&next.lease, &failed).await.unwrap();
    let job = store.job("local", id).await.unwrap().unwrap();
    assert_eq!(
        (job.status, job.outputs.len()),
        (JobStatus::Failed, 1),
        "what was done before a failure stays"
    );
    assert_eq!(Outcome::Failed(job.error.unwrap()), failed);
    assert_eq!(store.image("local", first.id).await.unwrap(), Some(first.clone()));
    assert!(store.image("bea", first.id).await.unwrap().is_none());
    assert!(store.set_favourite("local", first.id, true).await.unwrap().unwrap().favourite);
    assert!(store.delete_image("local", first.id).await.unwrap());
    assert!(store.image("local", first.id).await.unwrap().is_none());
}
