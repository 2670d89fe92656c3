use std::io::{Cursor, Read};

use axum::body::Body;
use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{Answer, Form, Stream, TestApp, request};

async fn post(app: &TestApp, kind: &str, body: &str, headers: &[(&str, &str)]) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([("content-type", kind)]).collect();
    app.send(request(Method::POST, "/v1/batches", &headers, Body::from(body.to_owned()))).await
}

async fn finished(app: &TestApp, batch: &Value) -> Value {
    let mut stream = Stream::open(app, batch["urls"]["events"].as_str().unwrap(), &[]).await;
    stream.until("batch.completed").await.pop().unwrap().data
}

#[tokio::test]
async fn every_line_has_its_result_and_its_pictures() {
    let app = TestApp::new().await;
    let ann = app.person("Ann").await;
    let lines = [
        json!({"person": "ann", "prompt": "as a king", "seed": 7, "n": 2, "custom_id": "k", "expand": false}),
        json!({"person": "nobody", "prompt": "x", "custom_id": "n"}),
        json!({"prompt": "fail", "expand": false}),
        json!({"people": [{"person": ann}], "prompt": "as a cook", "size": "64x96", "expand": false}),
        json!({"person": "Ann", "prompt": "as a cook", "steps": "none", "custom_id": "s"}),
    ];
    let body = lines.map(|line| line.to_string()).join("\n") + "\nnot json\n";
    let made = post(&app, "application/jsonl", &body, &[]).await;
    let batch = made.expect(202);
    assert_eq!(made.header("location"), batch["urls"]["get"].as_str().unwrap());
    assert_eq!((&batch["object"], &batch["counts"]["total"]), (&json!("batch"), &json!(6)));
    let done = finished(&app, &batch).await;
    let counts = json!({"total": 6, "queued": 0, "running": 0, "succeeded": 2, "failed": 4, "canceled": 0});
    assert_eq!((&done["status"], &done["counts"]), (&json!("failed"), &counts));

    let results = app.get(batch["urls"]["results"].as_str().unwrap()).await;
    assert_eq!(results.header("content-type"), "application/jsonl");
    // As browsers ask: the compressed answer comes to its end, too.
    let compressed =
        app.get_with(batch["urls"]["results"].as_str().unwrap(), &[("accept-encoding", "gzip")]).await;
    assert_eq!(compressed.header("content-encoding"), "gzip");
    assert_eq!(compressed.bytes[..2], [0x1f, 0x8b]);
    let results: Vec<Value> =
        results.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |field: &str| results.iter().map(|line| line[field].clone()).collect::<Vec<_>>();
    assert_eq!(of("line"), [0, 1, 2, 3, 4, 5]);
    assert_eq!(of("status"), ["succeeded", "failed", "failed", "succeeded", "failed", "failed"]);
    // Also lines that never became jobs say whose they are and what they asked for, people by id alone.
    assert_eq!(of("custom_id"), [json!("k"), json!("n"), json!(null), json!(null), json!("s"), json!(null)]);
    assert_eq!(results[1]["input"], json!({"person": "nobody", "prompt": "x"}));
    assert_eq!(results[4]["input"], json!({"person": ann, "prompt": "as a cook", "steps": "none"}));
    assert_eq!(results[5]["input"], json!(null));
    assert_eq!((&results[0]["custom_id"], &results[0]["output"][1]["seed"]), (&json!("k"), &json!(8)));
    assert_eq!(results[0]["input"]["prompt"], "as a king");
    let codes: Vec<_> = results.iter().map(|line| line["error"]["code"].clone()).collect();
    assert_eq!(
        codes,
        [
            json!(null),
            json!("not_found"),
            json!("out_of_memory"),
            json!(null),
            json!("invalid_json"),
            json!("invalid_json")
        ]
    );

    let zip = app.get(batch["urls"]["pictures"].as_str().unwrap()).await;
    assert_eq!(zip.header("content-type"), "application/zip");
    let mut zip = zip::ZipArchive::new(Cursor::new(zip.bytes)).unwrap();
    let names: Vec<_> = zip.file_names().map(|name| name.unwrap().into_owned()).collect();
    assert_eq!(names, ["00000-0.png", "00000-1.png", "00003-0.png", "manifest.jsonl"]);
    let mut picture = Vec::new();
    zip.by_name("00003-0.png").unwrap().read_to_end(&mut picture).unwrap();
    assert_eq!(image::load_from_memory(&picture).unwrap().height(), 96);
    let mut manifest = String::new();
    zip.by_name("manifest.jsonl").unwrap().read_to_string(&mut manifest).unwrap();
    let first: Value = serde_json::from_str(manifest.lines().next().unwrap()).unwrap();
    assert_eq!((&first["output"][1]["file"], manifest.lines().count()), (&json!("00000-1.png"), 6));
    let list = app.get("/v1/batches").await.expect(200);
    assert_eq!(list["data"][0]["id"], batch["id"]);
    let jobs = app.get(&format!("/v1/jobs?batch={}", batch["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(jobs["data"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_line_whose_negative_prompt_is_refused_fails_alone() {
    let app = TestApp::new().await;
    let line = |negative: &str| json!({"prompt": "a king", "negative_prompt": negative, "expand": false});
    let body = format!("{}\n{}\n", line("clothes"), line("blurry"));
    let made = post(&app, "application/jsonl", &body, &[]).await;
    let batch = made.expect(202);
    finished(&app, &batch).await;
    let results = app.get(batch["urls"]["results"].as_str().unwrap()).await;
    let results: Vec<Value> =
        results.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        (&results[0]["error"]["code"], &results[1]["status"]),
        (&json!("refused"), &json!("succeeded"))
    );
    assert_eq!(results[0]["error"]["rule"], "test-rule");
}

#[tokio::test]
async fn csv_comes_as_a_body_or_in_a_form() {
    let app = TestApp::new().await;
    let csv = "prompt,seed,expand\n\"a king, at sea\",7,false\na queen,8,false\n";
    let key = [("idempotency-key", "b")];
    let batch = post(&app, "text/csv; charset=utf-8", csv, &key).await.expect(202);
    assert_eq!(post(&app, "text/csv", csv, &key).await.expect(202)["id"], batch["id"]);
    post(&app, "text/csv", "prompt\nx\n", &key).await.problem(422, "idempotency_mismatch");
    assert_eq!(finished(&app, &batch).await["status"], "succeeded");
    for file in [csv, "{\"prompt\": \"a\", \"expand\": false}"] {
        let form = Form::new().file("file", file.as_bytes()).text("name", "mine");
        let batch = app.form("/v1/batches", form).await.expect(202);
        assert_eq!(finished(&app, &batch).await["status"], "succeeded");
    }
    let csv = "prompt,ground\nme in Ivrea,true\n";
    let made = finished(&app, &post(&app, "text/csv", csv, &[]).await.expect(202)).await;
    let list = app.get(&format!("/v1/jobs?batch={}", made["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(list["data"][0]["expansion"]["sources"][0]["title"], "Ivrea", "{list}");
    post(&app, "text/csv", "colour\nred\n", &[]).await.problem(400, "invalid_request");
    app.form("/v1/batches", Form::new()).await.problem(400, "invalid_request");
}

#[tokio::test]
async fn a_batch_is_canceled_as_a_whole() {
    let app = TestApp::new().await;
    let body = "prompt,expand\nwait,false\nwait,false\nwait,false\n";
    let batch = post(&app, "text/csv", body, &[]).await.expect(202);
    let cancel = batch["urls"]["cancel"].as_str().unwrap();
    app.send(request(Method::POST, cancel, &[], Body::empty())).await.expect(200);
    let done = finished(&app, &batch).await;
    assert_eq!((&done["status"], &done["counts"]["canceled"]), (&json!("canceled"), &json!(3)));
    app.get("/v1/batches/batch_0").await.problem(404, "not_found");
}
