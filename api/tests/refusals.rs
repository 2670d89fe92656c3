use axum::body::Body;
use axum::http::Method;
use imagine_store::Policy;
use serde_json::json;

use crate::app::{Form, Stream, TestApp, consent, request};
use crate::support::photo;

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    let app = TestApp::new().await;
    app.get("/nothing").await.problem(404, "not_found");
    app.get("/v1/nothing").await.problem(404, "not_found");
    let wrong = app.send(request(Method::PUT, "/v1/jobs", &[], Body::empty())).await;
    wrong.problem(405, "method_not_allowed");
    assert!(wrong.header("allow").contains("POST"), "{}", wrong.header("allow"));
    app.get("/v1/jobs/job_0").await.problem(404, "not_found");
    let odd = app.get("/v1/jobs/%3Cscript%3E").await.problem(404, "not_found");
    assert!(!odd.to_string().contains("script"), "{odd}");
}

#[tokio::test]
async fn bodies_are_read_strictly_and_within_limits() {
    let flags = [("photo_bytes", "1000"), ("batch_bytes", "1000")];
    let app = TestApp::with(&flags, Policy::default(), |_| ()).await;
    let send = async |kind: &str, path: &str, body: Vec<u8>| {
        app.send(request(Method::POST, path, &[("content-type", kind)], Body::from(body))).await
    };
    send("text/plain", "/v1/jobs", b"{}".to_vec()).await.problem(415, "unsupported_media_type");
    send("application/json", "/v1/jobs", b"{".to_vec()).await.problem(400, "invalid_json");
    send("application/json", "/v1/jobs", vec![b' '; 13 << 20]).await.problem(413, "too_large");
    send("multipart/form-data; boundary=x", "/v1/people", b"--x\r\n".to_vec())
        .await
        .problem(400, "invalid_json");
    send("multipart/form-data", "/v1/people", b"x".to_vec()).await.problem(400, "invalid_json");
    send("text/csv", "/v1/batches", vec![b'x'; 2 << 20]).await.problem(413, "too_large");
    send("image/png", "/v1/batches", b"x".to_vec()).await.problem(415, "unsupported_media_type");
    let large = Form::new().file("photo", &vec![b'x'; 1001]);
    app.form("/v1/photos/check", large).await.problem(413, "too_large");
    let endless = Form::new().file("photo", &vec![b'x'; 3 << 20]);
    app.form("/v1/photos/check", endless).await.problem(413, "too_large");
    let fields = (0..200).fold(Form::new(), |form, _| form.text("a", "b"));
    app.form("/v1/photos/check", fields).await.problem(413, "too_large");
    let texts = Form::new().text("name", &"x".repeat(300 << 10));
    app.form("/v1/people", texts).await.problem(413, "too_large");
    let files = (0..3).fold(Form::new(), |form, _| form.file("photo", &photo(&["ann"])));
    app.form("/v1/photos/check", files).await.problem(413, "too_large");
    let jobs = TestApp::new().await;
    let bomb = Form::new().text("name", "x").text("consent", &consent()).file("photo", b"bomb");
    jobs.form("/v1/people", bomb).await.problem(413, "too_large");
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_again() {
    let policy = Policy { queued: 2, queued_per_owner: 2, ..Policy::default() };
    let app = TestApp::with(&[], policy, |_| ()).await;
    // The first may run already; then two wait.
    let mut refused = None;
    for _ in 0..4 {
        let answer = app.post("/v1/jobs", &json!({"prompt": "wait", "expand": false})).await;
        if answer.status == 429 {
            refused = Some(answer);
        }
    }
    let refused = refused.unwrap();
    refused.problem(429, "queue_full");
    assert!((1..=120).contains(&refused.header("retry-after").parse::<u32>().unwrap()));
    // At once, without a look at the photos.
    let form = Form::new().text("job", "{\"prompt\": \"a\"}").text("consent", &consent());
    app.form("/v1/jobs", form.file("photo", b"damaged")).await.problem(429, "queue_full");
}

#[tokio::test]
async fn a_request_that_was_made_before_has_its_job_however_full_the_queue_is() {
    let policy = Policy { queued: 1, queued_per_owner: 1, ..Policy::default() };
    let app = TestApp::with(&[], policy, |_| ()).await;
    let (held, key) = (json!({"prompt": "wait", "expand": false}), [("idempotency-key", "k")]);
    // The first is begun and held; the second waits.
    let first = app.post_with("/v1/jobs", &held, &[("idempotency-key", "first")]).await.expect(202);
    let mut events = Stream::open(&app, first["urls"]["events"].as_str().unwrap(), &[]).await;
    events.until("job.started").await;
    let made = app.post_with("/v1/jobs", &held, &key).await.expect(202);
    app.post("/v1/jobs", &held).await.problem(429, "queue_full");
    assert_eq!(app.post_with("/v1/jobs", &held, &key).await.expect(202)["id"], made["id"]);
}

#[tokio::test]
async fn other_sites_cannot_use_a_server_without_keys() {
    let app = TestApp::new().await;
    for headers in [
        &[("host", "evil.example")][..],
        &[("host", "localhost:1"), ("origin", "https://evil.example")],
        &[("host", "localhost:1"), ("sec-fetch-site", "cross-site")],
    ] {
        app.get_with("/v1/people", headers).await.problem(403, "foreign_origin");
    }
    let page = [("host", "localhost:1"), ("origin", "http://localhost:1"), ("sec-fetch-site", "same-origin")];
    app.get_with("/v1/people", &page).await.expect(200);
    assert_eq!(app.get("/v1/people").await.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn every_answer_has_an_id_and_guards() {
    let app = TestApp::new().await;
    let given = app.get_with("/v1/models", &[("x-request-id", "my-request-7")]).await;
    assert_eq!(given.header("x-request-id"), "my-request-7");
    for odd in ["short", "has space", "a\u{7f}bcdefghi"] {
        let Ok(value) = axum::http::HeaderValue::from_str(odd) else { continue };
        let mut odd = request(Method::GET, "/v1/models", &[], Body::empty());
        odd.headers_mut().insert("x-request-id", value);
        assert!(app.send(odd).await.header("x-request-id").starts_with("req_"));
    }
    assert_eq!(given.header("x-content-type-options"), "nosniff");
    assert!(given.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(given.header("cache-control"), "no-store");
}

/// Not 500: the request was right, and may be made again.
#[tokio::test]
async fn storage_that_is_away_is_unavailable() {
    let app = TestApp::new().await;
    app.archive.store.close().await;
    for path in ["/v1/jobs", "/v1/people", "/v1/images"] {
        let refused = app.get(path).await;
        let told = refused.problem(503, "unavailable");
        assert_eq!(refused.header("retry-after"), "5", "{told}");
        assert!(!told["detail"].as_str().unwrap().contains("pool"), "{told}");
    }
    let ready = app.get("/health/ready").await.expect(503);
    assert_eq!(
        (&ready["checks"]["database"], &ready["checks"]["blobs"]),
        (&json!("unavailable"), &json!("ok"))
    );
}
