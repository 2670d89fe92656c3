use serde_json::json;

use crate::app::{Stream, TestApp, events};

#[tokio::test]
async fn events_come_as_they_happen_and_resume_where_they_broke_off() {
    let app = TestApp::new().await;
    let job = json!({"prompt": "wait", "previews": 2, "n": 1, "expand": false});
    let job = app.post("/v1/jobs", &job).await.expect(202);
    let path = job["urls"]["events"].as_str().unwrap();
    let mut stream = Stream::open(&app, path, &[]).await;
    let begun = stream.until("job.started").await;
    assert_eq!((begun[0].name.as_str(), begun[0].id.as_deref()), ("job.queued", Some("1")));
    assert!(begun[0].data["queue_position"].is_null() || begun[0].data["queue_position"].is_u64());
    // The connection breaks in the middle; the job goes on.
    let seen: u64 = begun.last().unwrap().id.as_deref().unwrap().parse().unwrap();
    drop(stream);
    let mut stream = Stream::open(&app, path, &[("last-event-id", &seen.to_string())]).await;
    app.artist.go();
    let rest = stream.until("job.succeeded").await;
    assert!(stream.next().await.is_none(), "the stream closes after the last event");
    let numbers: Vec<u64> = rest.iter().filter_map(|e| e.id.as_deref()?.parse().ok()).collect();
    assert!(numbers[0] > seen && numbers.is_sorted(), "{numbers:?}");
    let preview = rest.iter().find(|event| event.name == "job.preview").unwrap();
    assert!(preview.id.is_none() && preview.data["b64_jpeg"].as_str().unwrap().starts_with("/9j/"));
    let progress = rest.iter().rfind(|event| event.name == "job.progress").unwrap();
    assert_eq!((&progress.data["step"], &progress.data["progress"]), (&json!(8), &json!(1.0)));
    let output = rest.iter().find(|event| event.name == "job.output").unwrap();
    assert_eq!(output.data["index"], 0);
    let last = &rest.last().unwrap().data;
    assert_eq!((&last["status"], &last["output"][0]["id"]), (&json!("succeeded"), &output.data["id"]));
}

#[tokio::test]
async fn a_job_that_has_ended_is_told_again() {
    let app = TestApp::new().await;
    let job = app.drawn(json!({"prompt": "a", "n": 2})).await;
    let path = job["urls"]["events"].as_str().unwrap();
    let told = events(&app.get(path).await.text());
    let names: Vec<_> =
        told.iter().map(|event| event.name.as_str()).filter(|name| *name != "job.progress").collect();
    assert_eq!(names, ["job.queued", "job.started", "job.output", "job.output", "job.succeeded"]);
    let last = told.last().unwrap().id.clone().unwrap();
    assert_eq!(events(&app.get_with(path, &[("last-event-id", &last)]).await.text()), []);
    app.get("/v1/jobs/job_0/events").await.problem(404, "not_found");
}

#[tokio::test]
async fn streams_end_when_the_server_shuts_down() {
    let app = TestApp::new().await;
    let job = app.post("/v1/jobs", &json!({"prompt": "wait", "expand": false})).await.expect(202);
    let mut stream = Stream::open(&app, job["urls"]["events"].as_str().unwrap(), &[]).await;
    stream.until("job.started").await;
    let next = app.post("/v1/jobs", &json!({"prompt": "wait", "expand": false})).await.expect(202);
    let mut other = Stream::open(&app, next["urls"]["events"].as_str().unwrap(), &[]).await;
    // What is drawn still is watched to its end; only then everybody is sent away.
    app.service.drain();
    app.artist.go();
    assert_eq!(stream.until("job.succeeded").await.pop().unwrap().data["status"], "succeeded");
    other.until("job.started").await;
    app.service.close();
    while other.next().await.is_some() {}
    let refused = app.post("/v1/jobs", &json!({"prompt": "a"})).await;
    refused.problem(503, "draining");
    assert_eq!(refused.header("retry-after"), "10");
    let ready = app.get("/health/ready").await.expect(503);
    assert_eq!(ready["checks"]["accepting"], "unavailable");
}
