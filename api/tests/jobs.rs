use axum::body::Body;
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imagine_store::Claim;
use serde_json::{Value, json};

use crate::app::{Form, Stream, TestApp, consent, request};
use crate::support::photo;

#[tokio::test]
async fn a_job_is_made_drawn_and_listed() {
    let app = TestApp::new().await;
    let ann = app.person("ann").await;
    let job =
        json!({"prompt": "as a king", "people": [{"person": ann, "scale": 0.8}], "n": 2, "expand": false});
    let made = app.post("/v1/jobs", &job).await;
    let body = made.expect(202);
    let id = body["id"].as_str().unwrap();
    assert_eq!(made.header("location"), format!("/v1/jobs/{id}"));
    assert_eq!((&body["object"], &body["status"]), (&json!("job"), &json!("queued")));
    let seed = body["input"]["seed"].as_u64().unwrap();
    assert!(seed < 1 << 32);
    assert_eq!((&body["input"]["n"], &body["input"]["size"]), (&json!(2), &json!("64x64")));
    assert_eq!(body["input"]["people"][0]["scale"], 0.8);

    let done = app.get_with(&format!("/v1/jobs/{id}"), &[("prefer", "wait=30")]).await;
    assert_eq!(done.header("preference-applied"), "wait");
    let done = done.expect(200);
    assert_eq!(
        (&done["status"], &done["progress"], &done["attempts"]),
        (&json!("succeeded"), &json!(1.0), &json!(1))
    );
    assert_eq!(done["output"].as_array().unwrap().len(), 2);
    let second = &done["output"][1];
    assert_eq!(
        (&second["index"], &second["seed"], &second["likeness"]),
        (&json!(1), &json!(seed + 1), &json!([0.5]))
    );
    assert!(done["metrics"]["run_seconds"].as_f64().unwrap() >= 0.0);
    assert_eq!(app.get(second["url"].as_str().unwrap()).await.status, 200);

    for (query, found) in [
        ("", 1),
        ("?status=succeeded", 1),
        ("?status=queued", 0),
        ("?q=KING", 1),
        ("?q=queen", 0),
        (&format!("?person={ann}"), 1),
        ("?limit=1", 1),
    ] {
        let list = app.get(&format!("/v1/jobs{query}")).await.expect(200);
        assert_eq!(list["data"].as_array().unwrap().len(), found, "{query}");
    }
    app.delete(&format!("/v1/jobs/{id}")).await.expect(200);
    app.get(&format!("/v1/jobs/{id}")).await.problem(404, "not_found");
    assert_eq!(app.get("/v1/images").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn a_job_that_names_no_model_waits_for_a_worker_of_the_server_s() {
    let app = TestApp::new().await;
    // The artist is busy with this one.
    let busy = app.post("/v1/jobs", &json!({"prompt": "wait"})).await.expect(202);
    Stream::open(&app, busy["urls"]["events"].as_str().unwrap(), &[]).await.until("job.started").await;
    app.post("/v1/jobs", &json!({"prompt": "native"})).await.expect(202);
    let alias = json!({"prompt": "alias", "model": "gpt-image-1", "stream": true}).to_string();
    let kind = [("content-type", "application/json")];
    app.raw(request(Method::POST, "/v1/images/generations", &kind, Body::from(alias))).await;
    let lines = Body::from(json!({"prompt": "line"}).to_string());
    let kind = [("content-type", "application/jsonl")];
    app.send(request(Method::POST, "/v1/batches", &kind, lines)).await.expect(202);
    let waiting = app.get("/v1/jobs?status=queued").await.expect(200);
    assert_eq!(waiting["data"].as_array().unwrap().len(), 3, "{waiting}");
    let other = Claim { worker: "elsewhere".into(), model: "another".into(), most: 10 };
    assert!(app.archive.store.claim(&other).await.unwrap().is_empty(), "jobs of another model");
    let own = Claim { model: "stand-in".into(), ..other };
    assert!(!app.archive.store.claim(&own).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_waiting_and_a_running_job_are_canceled() {
    let app = TestApp::new().await;
    let running = app.post("/v1/jobs", &json!({"prompt": "wait", "seed": 1})).await.expect(202);
    let waiting = app.post("/v1/jobs", &json!({"prompt": "then this", "seed": 2})).await.expect(202);
    for job in [&waiting, &running, &running] {
        let cancel = job["urls"]["cancel"].as_str().unwrap();
        app.send(request(Method::POST, cancel, &[], Body::empty())).await.expect(200);
    }
    for job in [running, waiting] {
        let get = job["urls"]["get"].as_str().unwrap();
        assert_eq!(app.get_with(get, &[("prefer", "wait=30")]).await.expect(200)["status"], "canceled");
    }
}

#[tokio::test]
async fn a_failed_job_says_why() {
    let app = TestApp::new().await;
    let job = app.drawn(json!({"prompt": "fail"})).await;
    assert_eq!(job["status"], "failed");
    assert_eq!(job["error"], json!({"code": "out_of_memory", "message": "it did not fit"}));
    // By a safety rule: which one, as where a request is refused at once.
    let job = app.drawn(json!({"prompt": "fail the rules"})).await;
    let refused = json!({"code": "refused", "message": "this is forbidden", "rule": "test-rule"});
    assert_eq!(job["error"], refused);
    let at_once = app.post("/v1/jobs", &json!({"prompt": "forbidden"})).await.problem(422, "refused");
    assert_eq!(at_once["rule"], refused["rule"]);
}

#[tokio::test]
async fn queue_positions_count_from_nought() {
    let app = TestApp::new().await;
    app.post("/v1/jobs", &json!({"prompt": "wait"})).await.expect(202);
    let first = app.post("/v1/jobs", &json!({"prompt": "a", "priority": "low"})).await.expect(202);
    let urgent = app.post("/v1/jobs", &json!({"prompt": "b", "priority": "high"})).await.expect(202);
    let place = |job: &Value| job["urls"]["get"].as_str().unwrap().to_owned();
    let of = async |job: &Value| app.get(&place(job)).await.expect(200)["queue_position"].clone();
    let (low, high) = (of(&first).await, of(&urgent).await);
    assert!(high.as_u64().unwrap() < low.as_u64().unwrap(), "{high} {low}");
    app.artist.go();
}

#[tokio::test]
async fn the_same_request_with_a_key_makes_one_job() {
    let app = TestApp::new().await;
    let key = [("idempotency-key", "abc")];
    let job = json!({"prompt": "a"});
    let first = app.post_with("/v1/jobs", &job, &key).await.expect(202);
    let again = app.post_with("/v1/jobs", &job, &key).await.expect(202);
    assert_eq!(first["id"], again["id"]);
    assert_eq!(first["input"]["seed"], again["input"]["seed"]);
    app.post_with("/v1/jobs", &json!({"prompt": "b"}), &key).await.problem(422, "idempotency_mismatch");
    app.post_with("/v1/jobs", &job, &[("idempotency-key", "")]).await.problem(400, "invalid_request");
    assert_eq!(app.get("/v1/jobs").await.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn somebody_can_be_drawn_once_without_being_remembered() {
    let app = TestApp::new().await;
    let form = || Form::new().text("job", "{\"prompt\": \"as a king\"}").file("photo", &photo(&["ann"]));
    let agreed = || form().text("consent", &consent());
    app.form("/v1/jobs", form()).await.problem(422, "consent_required");
    let wait = [("prefer", "wait=30"), ("idempotency-key", "k")];
    app.form_with("/v1/jobs", form(), &wait).await.problem(422, "consent_required");
    let job = app.form_with("/v1/jobs", agreed(), &wait).await.expect(200);
    assert_eq!(job["output"][0]["likeness"], json!([0.5]));
    let again = app.form_with("/v1/jobs", agreed(), &wait).await.expect(200);
    assert_eq!(job["id"], again["id"]);
    assert_eq!(app.get("/v1/people").await.expect(200)["data"], json!([]));
    app.form("/v1/jobs", agreed().text("job", "{\"prompt\": \"\"}")).await.problem(400, "invalid_request");
    app.form("/v1/jobs", Form::new()).await.problem(400, "invalid_request");
    let left = app.archive.blobs.list("people/", None, 10).await.unwrap();
    assert_eq!(left, [], "what a refused request brought is gone too");
}

#[tokio::test]
async fn every_value_is_checked() {
    let app = TestApp::new().await;
    let ann = app.person("ann").await;
    let at = |region: Value| json!({"prompt": "x", "people": [{"person": ann, "box": region}]});
    for (param, job) in [
        ("prompt", json!({"prompt": " "})),
        ("prompt", json!({})),
        ("prompt", json!({"prompt": "x".repeat(32_001)})),
        ("n", json!({"prompt": "x", "n": 0})),
        ("n", json!({"prompt": "x", "n": 11})),
        ("size", json!({"prompt": "x", "size": "large"})),
        ("size", json!({"prompt": "x", "size": "64x65"})),
        ("size", json!({"prompt": "x", "size": "64x4096"})),
        ("size", json!({"prompt": "x", "size": "0x64"})),
        ("size", json!({"prompt": "x", "size": "+64x64"})),
        ("steps", json!({"prompt": "x", "steps": 0})),
        ("guidance_scale", json!({"prompt": "x", "guidance_scale": -1})),
        ("scheduler", json!({"prompt": "x", "scheduler": "magic"})),
        ("style", json!({"prompt": "x", "style": "magic"})),
        ("seed", json!({"prompt": "x", "seed": 1_u64 << 53})),
        ("previews", json!({"prompt": "x", "previews": 5_000})),
        ("model", json!({"prompt": "x", "model": "gpt-image-1"})),
        ("ground", json!({"prompt": "x", "ground": true, "expand": false})),
        ("webhook.url", json!({"prompt": "x", "webhook": {"url": "http://example.org"}})),
        ("webhook.url", json!({"prompt": "x", "webhook": {"url": "https://169.254.169.254/"}})),
        ("people", json!({"prompt": "x", "people": [{"person": ann}, {"person": ann}]})),
        ("people.scale", json!({"prompt": "x", "people": [{"person": ann, "scale": 11}]})),
        ("people.steps", json!({"prompt": "x", "people": [{"person": ann, "steps": [0.5, 0.2]}]})),
        ("people.box", at(json!([0.5, 0.0, 0.5, 1.0]))),
        ("people.box", at(json!([0.0, 0.0, 1.5, 1.0]))),
    ] {
        let problem = app.post("/v1/jobs", &job).await;
        assert_eq!(problem.status, 400, "{job} {}", problem.text());
        assert_eq!(problem.json()["error"]["param"], param, "{job} {}", problem.text());
    }
    // For programs that say it in another language.
    let steps =
        app.post("/v1/jobs", &json!({"prompt": "x", "steps": 0})).await.problem(400, "invalid_request");
    assert_eq!((&steps["least"], &steps["most"]), (&json!(1.0), &json!(150.0)));
    let long = app.post("/v1/jobs", &json!({"prompt": "x".repeat(32_001)})).await;
    assert_eq!(long.problem(400, "invalid_request")["most"], 32_000);
    app.post("/v1/jobs", &json!({"prompt": "x", "people": [{"person": "nobody"}]}))
        .await
        .problem(404, "not_found");
    app.post("/v1/jobs", &json!({"prompt": "x", "sead": 1})).await.problem(400, "invalid_json");
    app.post("/v1/jobs", &json!({"prompt": "something forbidden"})).await.problem(422, "refused");
    assert_eq!(app.get("/v1/jobs").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn an_edited_expansion_is_put_together_and_drawn() {
    let app = TestApp::new().await;
    let mut expansion = app.post("/v1/prompts/expand", &json!({"idea": "me at sea"})).await.expect(200);
    expansion["parts"]["light"] = "moonlight".into();
    let job = app.drawn(json!({"prompt": "me at sea", "expand": expansion})).await;
    assert_eq!(job["expansion"]["prompt"], "me at sea, moonlight");
    assert_eq!(job["input"]["prompt"], "me at sea");
    expansion["parts"]["light"] = "forbidden".into();
    app.post("/v1/jobs", &json!({"prompt": "x", "expand": expansion})).await.problem(422, "refused");
    let plain = app.drawn(json!({"prompt": "me", "expand": false})).await;
    assert_eq!(plain["expansion"], json!(null));
    let asked = app.drawn(json!({"prompt": "me"})).await;
    assert_eq!(asked["expansion"]["prompt"], "me, soft light");
    // No ideas: drawn as they are, unless they are to be expanded.
    for prompt in ["me ".repeat(800), "…!".to_owned()] {
        let drawn = app.drawn(json!({"prompt": prompt})).await;
        assert_eq!(drawn["expansion"], json!(null));
        let problem = app.post("/v1/jobs", &json!({"prompt": prompt, "expand": true})).await;
        assert_eq!(problem.problem(400, "invalid_request")["error"]["param"], "prompt");
    }
}

#[tokio::test]
async fn a_picture_is_changed_where_the_mask_says() {
    let app = TestApp::new().await;
    let first = app.drawn(json!({"prompt": "a"})).await;
    let image = first["output"][0]["id"].as_str().unwrap();
    let mut png = std::io::Cursor::new(Vec::new());
    image::GrayImage::from_pixel(8, 8, image::Luma([255]))
        .write_to(&mut png, image::ImageFormat::Png)
        .unwrap();
    let mask = STANDARD.encode(png.into_inner());
    let edit = json!({"image": image, "strength": 0.7, "mask": mask, "feather": 4});
    let job = app.drawn(json!({"prompt": "b", "edit": edit})).await;
    assert_eq!(job["input"]["edit"], json!({"image": image, "strength": 0.7, "feather": 4}));
    for (change, value) in
        [("strength", json!(2)), ("mask", json!("?")), ("feather", json!(5_000)), ("keep_face", json!(true))]
    {
        let mut edit = edit.clone();
        edit[change] = value;
        app.post("/v1/jobs", &json!({"prompt": "b", "edit": edit})).await.problem(400, "invalid_request");
    }
    let other = json!({"image": "img_0", "strength": 0.7});
    app.post("/v1/jobs", &json!({"prompt": "b", "edit": other})).await.problem(404, "not_found");
}
