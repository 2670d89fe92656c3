use std::time::Duration;

use axum::body::Body;
use axum::http::Method;
use imagine_store::Priority;
use serde_json::json;

use crate::app::{Form, Stream, TestApp, request};
use crate::support::photo;

async fn two_keys() -> (TestApp, String, String) {
    let mut app = TestApp::with(&[("require_key", "true")], Default::default(), |_| ()).await;
    let first = app.archive.store.add_key("first", "a").await.unwrap().secret;
    let second = app.archive.store.add_key("second", "b").await.unwrap().secret;
    app.key = Some(first.clone());
    (app, first, second)
}

#[tokio::test]
async fn what_belongs_to_others_does_not_exist() {
    let (mut app, _, second) = two_keys().await;
    let ann = app.person("ann").await;
    let job = app.drawn(json!({"prompt": "a", "people": [{"person": ann}]})).await;
    let batch =
        request(Method::POST, "/v1/batches", &[("content-type", "text/csv")], Body::from("prompt\na\n"));
    let batch = app.send(batch).await.expect(202);
    let id = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let (job_id, image, batch) = (id(&job["id"]), id(&job["output"][0]["id"]), id(&batch["id"]));
    app.key = Some(second);
    for (method, path) in [
        (Method::GET, format!("/v1/people/{ann}")),
        (Method::DELETE, format!("/v1/people/{ann}")),
        (Method::GET, format!("/v1/jobs/{job_id}")),
        (Method::GET, format!("/v1/jobs/{job_id}/events")),
        (Method::POST, format!("/v1/jobs/{job_id}/cancel")),
        (Method::DELETE, format!("/v1/jobs/{job_id}")),
        (Method::GET, format!("/v1/images/{image}")),
        (Method::GET, format!("/v1/images/{image}/thumb")),
        (Method::GET, format!("/v1/images/{image}/info")),
        (Method::DELETE, format!("/v1/images/{image}")),
        (Method::GET, format!("/v1/batches/{batch}")),
        (Method::GET, format!("/v1/batches/{batch}/events")),
        (Method::GET, format!("/v1/batches/{batch}/results")),
        (Method::GET, format!("/v1/batches/{batch}/pictures.zip")),
        (Method::POST, format!("/v1/batches/{batch}/cancel")),
    ] {
        app.send(request(method, &path, &[], Body::empty())).await.problem(404, "not_found");
    }
    app.json(Method::PATCH, &format!("/v1/people/{ann}"), &json!({"name": "x"}), &[])
        .await
        .problem(404, "not_found");
    app.json(Method::PATCH, &format!("/v1/images/{image}"), &json!({"favourite": true}), &[])
        .await
        .problem(404, "not_found");
    let more = Form::new().file("photo", &photo(&["ann"]));
    app.form(&format!("/v1/people/{ann}/photos"), more).await.problem(404, "not_found");
    app.post("/v1/jobs", &json!({"prompt": "a", "people": [{"person": ann}]}))
        .await
        .problem(404, "not_found");
    let edit = json!({"image": image, "strength": 0.5});
    app.post("/v1/jobs", &json!({"prompt": "a", "edit": edit})).await.problem(404, "not_found");
    for list in ["people", "jobs", "images", "batches"] {
        assert_eq!(app.get(&format!("/v1/{list}")).await.expect(200)["data"], json!([]), "{list}");
    }
}

#[tokio::test]
async fn keys_are_demanded_and_can_be_revoked() {
    let (mut app, first, _) = two_keys().await;
    app.get("/v1/models").await.expect(200);
    for wrong in ["imk_wrong", "sk-anything", &format!("{}x", &first[..first.len() - 1])] {
        app.key = Some(wrong.into());
        app.get("/v1/models").await.problem(401, "invalid_api_key");
    }
    app.key = None;
    let missing = app.get("/v1/models").await;
    missing.problem(401, "missing_api_key");
    assert_eq!(missing.header("www-authenticate"), "Bearer");
    for open in ["/health/live", "/health/ready", "/metrics", "/docs", "/v1/openapi.json"] {
        assert_eq!(app.get(open).await.status, 200, "{open}");
    }
    let key = app.archive.store.keys(Some("first")).await.unwrap().remove(0);
    assert!(app.archive.store.revoke_key(key.id).await.unwrap());
    app.key = Some(first);
    app.get("/v1/models").await.problem(401, "invalid_api_key");
}

/// The job goes on: it is its tenant's, who may have other keys.
#[tokio::test]
async fn a_stream_ends_when_its_key_is_revoked() {
    let (mut app, _, _) = two_keys().await;
    let other = app.archive.store.add_key("first", "c").await.unwrap().secret;
    let job = app.post("/v1/jobs", &json!({"prompt": "wait", "expand": false})).await.expect(202);
    let mut stream = Stream::open(&app, job["urls"]["events"].as_str().unwrap(), &[]).await;
    stream.until("job.started").await;
    let key = app.archive.store.keys(Some("first")).await.unwrap().remove(0);
    assert!(app.archive.store.revoke_key(key.id).await.unwrap());
    let ended = tokio::time::timeout(Duration::from_secs(60), stream.until("job.succeeded"));
    let told = ended.await.expect("the stream ends though the job does not");
    assert!(told.iter().all(|event| event.name != "job.succeeded"), "{told:?}");
    app.key = Some(other);
    app.artist.go();
    let told = app.get(job["urls"]["events"].as_str().unwrap()).await;
    assert!(told.text().contains("event: job.succeeded"), "{}", told.text());
}

#[tokio::test]
async fn links_to_pictures_need_no_key() {
    let (mut app, _, second) = two_keys().await;
    let job = app.drawn(json!({"prompt": "a"})).await;
    let url = job["output"][0]["url"].as_str().unwrap().to_owned();
    app.key = None;
    assert_eq!(app.get(&url).await.status, 200);
    let path = url.split('?').next().unwrap();
    app.get(path).await.problem(401, "missing_api_key");
    app.get(&url.replace("exp=", "exp=9")).await.problem(401, "missing_api_key");
    app.delete(&url).await.problem(401, "missing_api_key");
    app.key = Some(second);
    app.get(&url).await.problem(404, "not_found");
}

#[tokio::test]
async fn each_key_has_its_own_rate() {
    let flags = [("require_key", "true"), ("requests_per_minute", "3")];
    let mut app = TestApp::with(&flags, Default::default(), |_| ()).await;
    let (first, second) = (
        app.archive.store.add_key("a", "a").await.unwrap().secret,
        app.archive.store.add_key("a", "b").await.unwrap().secret,
    );
    app.key = Some(first);
    for _ in 0..3 {
        app.get("/v1/models").await.expect(200);
    }
    let refused = app.get_with("/v1/models", &[("x-forwarded-for", "9.9.9.9")]).await;
    refused.problem(429, "rate_limited");
    assert!((1..=60).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    app.key = Some(second);
    app.get("/v1/models").await.expect(200);
    let text = app.get("/metrics").await.text();
    assert!(text.contains("imagine_rejections_total{reason=\"rate_limited\"} 1"), "{text}");
}

#[tokio::test]
async fn a_key_s_jobs_have_no_higher_class_than_the_key() {
    let mut app = TestApp::with(&[("require_key", "true")], Default::default(), |_| ()).await;
    let key = app.archive.store.add_key("a", "a").await.unwrap();
    app.key = Some(key.secret);
    let ask = async |job: &serde_json::Value| app.post("/v1/jobs", job).await;
    let high = json!({"prompt": "x", "priority": "high"});
    let refused = ask(&high).await.problem(400, "priority_not_allowed");
    assert_eq!(refused["error"]["param"], "priority");
    assert!(refused["detail"].as_str().unwrap().contains("normal at most"), "{refused}");
    let class = async |made: serde_json::Value| {
        let id = made["id"].as_str().unwrap().parse().unwrap();
        app.archive.store.job("a", id).await.unwrap().unwrap().priority
    };
    let low = json!({"prompt": "x", "priority": "low"});
    assert_eq!(class(ask(&low).await.expect(202)).await, Priority::Low);
    // Of those that do not ask it is as high as they may, and not above the normal one.
    let plain = json!({"prompt": "x"});
    for (highest, wanted) in [
        (Priority::High, Priority::Normal),
        (Priority::Normal, Priority::Normal),
        (Priority::Low, Priority::Low),
    ] {
        assert!(app.archive.store.set_key_priority(key.key.id, highest).await.unwrap());
        assert_eq!(class(ask(&plain).await.expect(202)).await, wanted);
        assert_eq!(ask(&high).await.status == 202, highest == Priority::High, "{highest:?}");
    }
}
