use axum::http::Method;
use serde_json::json;

use crate::app::{Form, TestApp, consent, consent_once};
use crate::support::photo;

#[tokio::test]
async fn a_photo_is_looked_at_and_not_kept() {
    let app = TestApp::new().await;
    let check = |form| app.form("/v1/photos/check", form);
    let seen = check(Form::new().file("photo", &photo(&["ann", "bob"])).text("face", "1")).await.expect(200);
    assert_eq!((&seen["chosen"], &seen["usable"]), (&json!(1), &json!(true)));
    assert_eq!(seen["faces"].as_array().unwrap().len(), 2);
    assert_eq!((&seen["width"], &seen["faces"][1]["index"]), (&json!(8), &json!(1)));
    let dark = check(Form::new().file("photo", &photo(&["dark-ann"]))).await.expect(200);
    assert_eq!((&dark["usable"], &dark["chosen"]), (&json!(false), &json!(null)));
    assert_eq!(dark["problems"][0]["code"], "too_dark");
    check(Form::new()).await.problem(400, "invalid_request");
    check(Form::new().file("photo", b"hello")).await.problem(415, "unsupported_format");
    check(Form::new().file("photo", b"bomb")).await.problem(413, "too_large");
    check(Form::new().file("photo", b"damaged")).await.problem(400, "damaged");
    check(Form::new().file("photo", &photo(&["ann"])).text("face", "first"))
        .await
        .problem(400, "invalid_request");
    assert_eq!(app.archive.blobs.list("", None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn a_person_is_enrolled_renamed_extended_and_forgotten() {
    let app = TestApp::new().await;
    let form =
        Form::new().text("name", " Ann ").text("consent", &consent()).text("face", "").text("face", "1");
    let form = form.file("photo", &photo(&["ann"])).file("photo", &photo(&["bob", "ann"]));
    let answer = app.form("/v1/people", form).await;
    let person = answer.expect(201);
    let id = person["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/v1/people/{id}"));
    assert_eq!((&person["object"], &person["name"]), (&json!("person"), &json!("Ann")));
    assert_eq!((&person["embeddings"], &person["keep_photos"]), (&json!(2), &json!(false)));
    assert_eq!(person["photos"][0]["kept"], false);
    assert_eq!(person["consent"]["basis"], "self");
    assert!(person["consent"]["time"].as_i64().unwrap() > 1_700_000_000);

    let path = format!("/v1/people/{id}");
    let renamed = app.json(Method::PATCH, &path, &json!({"name": "Anna"}), &[]).await.expect(200);
    assert_eq!(renamed["name"], "Anna");
    app.json(Method::PATCH, &path, &json!({"name": " "}), &[]).await.problem(400, "invalid_request");
    let more = format!("{path}/photos");
    let added = app.form(&more, Form::new().file("photo", &photo(&["ann"]))).await.expect(200);
    assert_eq!((added["photos"].as_array().unwrap().len(), &added["photos"][2]["index"]), (3, &json!(2)));
    let other = app.form(&more, Form::new().file("photo", &photo(&["bob"]))).await;
    other.problem(422, "not_the_same_person");
    let many = (0..3).fold(Form::new(), |form, _| form.file("photo", &photo(&["ann"])));
    app.form(&more, many).await.problem(400, "invalid_request");
    assert_eq!(app.get(&path).await.expect(200)["name"], "Anna");
    assert_eq!(app.get("/v1/people").await.expect(200)["data"].as_array().unwrap().len(), 1);

    app.drawn(json!({"prompt": "as a king", "people": [{"person": id}], "n": 2})).await;
    assert_eq!(app.get(&path).await.expect(200)["pictures"], 2);
    let gone = app.delete(&format!("{path}?pictures=delete")).await.expect(200);
    // No photo was kept, so none could be removed.
    let removed = json!({"photos": 0, "embeddings": 3, "pictures": 2, "jobs": gone["removed"]["jobs"]});
    assert_eq!((&gone["deleted"], &gone["removed"]), (&json!(true), &removed));
    app.get(&path).await.problem(404, "not_found");
    app.delete(&path).await.problem(404, "not_found");
    assert_eq!(app.get("/v1/images").await.expect(200)["data"], json!([]));
    assert_eq!(app.archive.blobs.list("", None, 10).await.unwrap(), []);
}

#[tokio::test]
async fn the_same_request_with_a_key_makes_one_person() {
    let app = TestApp::new().await;
    let form = |name: &str| {
        let form = Form::new().text("name", name).text("consent", &consent());
        form.file("photo", &photo(&["ann"]))
    };
    let key = [("idempotency-key", "abc")];
    // What was refused may be corrected under the same key.
    app.form_with("/v1/people", form(""), &key).await.problem(400, "invalid_request");
    let first = app.form_with("/v1/people", form("Ann"), &key).await;
    let again = app.form_with("/v1/people", form("Ann"), &key).await;
    assert_eq!(first.expect(201), again.expect(201));
    assert_eq!(first.header("location"), again.header("location"));
    app.form_with("/v1/people", form("Bob"), &key).await.problem(422, "idempotency_mismatch");
    let long = "x".repeat(256);
    let wrong = app.form_with("/v1/people", form("Bob"), &[("idempotency-key", &long)]).await;
    wrong.problem(400, "invalid_request");
    let people = app.get("/v1/people").await.expect(200);
    assert_eq!(people["data"].as_array().unwrap().len(), 1);
    // A retry that comes late brings nobody back.
    app.delete(first.header("location")).await.expect(200);
    app.form_with("/v1/people", form("Ann"), &key).await.problem(422, "idempotency_mismatch");
}

#[tokio::test]
async fn photos_are_kept_only_when_asked_for() {
    let app = TestApp::new().await;
    let form = Form::new().text("name", "Ann").text("consent", &consent()).text("keep_photos", "true");
    let person = app.form("/v1/people", form.file("photo", &photo(&["ann"]))).await.expect(201);
    assert_eq!((&person["keep_photos"], &person["photos"][0]["kept"]), (&json!(true), &json!(true)));
    let id = person["id"].as_str().unwrap().parse().unwrap();
    let kept = app.archive.photo("local", id, 0).await.unwrap().unwrap();
    assert!(kept.starts_with(b"\x89PNG"), "written anew, without what else the file held");
    let form = Form::new().text("name", "Ann").text("consent", &consent()).text("keep_photos", "maybe");
    app.form("/v1/people", form.file("photo", &photo(&["ann"]))).await.problem(400, "invalid_request");
}

#[tokio::test]
async fn nobody_is_enrolled_without_consent_a_face_or_a_name() {
    let app = TestApp::new().await;
    let form = |consent: Option<&str>, name: &str, photos: &[&[u8]]| {
        let form = Form::new().text("name", name);
        let form = consent.into_iter().fold(form, |form, consent| form.text("consent", consent));
        photos.iter().fold(form, |form, photo| form.file("photo", photo))
    };
    let ann: &[u8] = &photo(&["ann"]);
    let agreed = consent();
    let refused = agreed.replace("true", "false");
    let enrol = |form| app.form("/v1/people", form);
    enrol(form(None, "Ann", &[ann])).await.problem(422, "consent_required");
    enrol(form(Some(&refused), "Ann", &[ann])).await.problem(422, "consent_required");
    enrol(form(Some(&consent_once()), "Ann", &[ann])).await.problem(422, "consent_required");
    enrol(form(Some(&agreed), "", &[ann])).await.problem(400, "invalid_request");
    enrol(form(Some(&agreed), "Ann", &[])).await.problem(400, "invalid_request");
    let dark =
        enrol(form(Some(&agreed), "Ann", &[&photo(&["dark-ann"])])).await.problem(422, "no_usable_photo");
    assert_eq!(
        (&dark["detail"], &dark["photos"][0][0]["code"]),
        (&json!("Turn on a light."), &json!("too_dark"))
    );
    let two =
        enrol(form(Some(&agreed), "Ann", &[ann, &photo(&["bob"])])).await.problem(422, "not_the_same_person");
    assert_eq!(two["strangers"], json!([1]));
    let bad = enrol(form(Some(&agreed), "Ann", &[ann, b"bomb"])).await.problem(413, "too_large");
    assert_eq!(bad["photo"], 1);
    enrol(form(Some(&agreed), "Ann", &[ann; 6])).await.problem(413, "too_large");
    assert_eq!(app.get("/v1/people").await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn each_consent_text_has_its_own_hash() {
    use sha2::{Digest, Sha256};
    let text = TestApp::new().await.get("/v1/consent").await.expect(200);
    for text in [&text, &text["once"]] {
        let both =
            format!("{}\n{}", text["text"]["en"].as_str().unwrap(), text["text"]["it"].as_str().unwrap());
        let digest: String = Sha256::digest(both).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(text["sha256"], digest);
    }
}
