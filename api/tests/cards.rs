//! Identity cards over HTTP.

use std::sync::Arc;

use axum::http::Method;
use imagine_store::Policy;
use serde_json::{Value, json};

use crate::app::{Answer, Form, TestApp, consent};
use crate::support::{SKIN, StandInCards, photo};

/// A service whose model draws by cards.
async fn with_cards() -> TestApp {
    TestApp::with(&[], Policy::default(), |parts| parts.faces = Arc::new(StandInCards)).await
}

fn form() -> Form {
    Form::new().text("name", "Ann").text("consent", &consent()).file("photo", &photo(&["ann"]))
}

/// Path of the card of somebody who is enrolled.
async fn enrol(app: &TestApp, form: Form) -> String {
    let person = app.form("/v1/people", form).await.expect(201);
    format!("/v1/people/{}/card", person["id"].as_str().unwrap())
}

async fn patch(app: &TestApp, card: &str, body: &Value) -> Answer {
    app.json(Method::PATCH, card, body, &[]).await
}

/// A part of a card: source and value.
fn part<'a>(card: &'a Value, name: &str) -> (&'a Value, &'a Value) {
    let part = card["parts"].as_array().unwrap().iter().find(|part| part["part"] == name).unwrap();
    (&part["source"], &part["value"])
}

#[tokio::test]
async fn a_card_is_seen_corrected_and_taken_back() {
    let app = with_cards().await;
    let path = enrol(&app, form()).await;
    let answer = app.get(&path).await;
    let card = answer.expect(200);
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!((&card["object"], card["parts"].as_array().unwrap().len()), (&json!("card"), 4));
    let descriptor = json!({"part": "descriptor", "source": "measured", "value": null, "measured": null, "numbers": 7,
        "confidence": 0.5, "input": "nothing", "choices": []});
    assert_eq!(card["parts"][0], descriptor, "counted and not shown");
    assert_eq!(part(&card, "skin"), (&json!("measured"), &json!(SKIN)));
    assert_eq!(part(&card, "beard"), (&json!("unknown"), &json!(null)));
    assert_eq!(card["parts"][3]["choices"], json!(["yes", "no"]));

    let said = json!({"set": {"glasses": "no", "beard": "yes"}, "without": ["skin"]});
    let card = patch(&app, &path, &said).await.expect(200);
    assert_eq!(part(&card, "glasses"), (&json!("corrected"), &json!("no")));
    assert_eq!(part(&card, "beard"), (&json!("corrected"), &json!("yes")));
    assert_eq!(part(&card, "skin"), (&json!("left_out"), &json!(null)));
    assert_eq!(card["parts"][1]["measured"], SKIN);
    assert_eq!(patch(&app, &path, &said).await.expect(200), card, "twice is once");
    assert_eq!(app.get(&path).await.expect(200), card);

    let back = json!({"reset": ["skin", "beard"], "without": ["glasses"]});
    let card = patch(&app, &path, &back).await.expect(200);
    assert_eq!(part(&card, "skin"), (&json!("measured"), &json!(SKIN)));
    assert_eq!(part(&card, "beard").0, "unknown");
    assert_eq!(part(&card, "glasses").0, "left_out");
    assert_eq!(patch(&app, &path, &json!({})).await.expect(200), card);

    let person = path.strip_suffix("/card").unwrap();
    let listed = app.get("/v1/people").await;
    assert_eq!(listed.expect(200)["data"][0]["card"], true);
    for answer in [listed, app.get(person).await] {
        assert!(!answer.text().contains(SKIN) && !answer.text().contains("glasses"), "{}", answer.text());
    }
    app.delete(person).await.expect(200);
    app.get(&path).await.problem(404, "not_found");
    patch(&app, &path, &said).await.problem(404, "not_found");
}

#[tokio::test]
async fn what_cannot_be_said_of_a_card_is_named() {
    let app = with_cards().await;
    let path = enrol(&app, form()).await;
    let before = app.get(&path).await.expect(200);
    for (body, param, words) in [
        (json!({"set": {"nose": "long"}}), "set", "no part \"nose\"; it has descriptor, skin"),
        (json!({"without": ["nose"]}), "without", "no part"),
        (json!({"reset": ["nose"]}), "reset", "no part"),
        (json!({"set": {"glasses": "maybe"}}), "set", "glasses: \"maybe\""),
        (json!({"set": {"descriptor": "1"}}), "set", "cannot be said"),
        (json!({"set": {"glasses": "no"}, "without": ["glasses"]}), "without", "named twice"),
        (json!({"without": ["skin"], "reset": ["skin"]}), "reset", "named twice"),
        (json!({"set": {"glasses": "n".repeat(99)}}), "set", "too long"),
        (json!({"without": ["x".repeat(99)]}), "without", "so long a name"),
    ] {
        let problem = patch(&app, &path, &body).await.problem(400, "invalid_request");
        assert_eq!(problem["error"]["param"], param, "{body}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    patch(&app, &path, &json!({"glasses": "no"})).await.problem(400, "invalid_json");
    patch(&app, &path, &json!({"set": {"age": 40}})).await.problem(400, "invalid_json");
    app.json(Method::PATCH, &path, &json!({}), &[("content-type", "text/plain")])
        .await
        .problem(415, "unsupported_media_type");
    assert_eq!(app.get(&path).await.expect(200), before);
    app.get("/v1/people/nobody/card").await.problem(404, "not_found");
}

#[tokio::test]
async fn a_person_without_a_card_says_why() {
    let app = TestApp::new().await;
    let path = enrol(&app, form()).await;
    assert_eq!(app.get("/v1/people").await.expect(200)["data"][0]["card"], false);
    for answer in [app.get(&path).await, patch(&app, &path, &json!({"without": ["skin"]})).await] {
        let problem = answer.problem(409, "no_card");
        assert!(
            problem["detail"].as_str().unwrap().contains("stand-in makes no identity cards"),
            "{problem}"
        );
    }
    let said = form().text("card", "{\"without\": [\"skin\"]}");
    app.form("/v1/people", said).await.problem(409, "no_card");
    // Enrolled before the server's model was one that draws by cards.
    let archive = app.archive.clone();
    let change = |parts: &mut imagine_api::Parts| {
        parts.archive = archive;
        parts.faces = Arc::new(StandInCards);
    };
    let later = TestApp::with(&[], Policy::default(), change).await;
    let problem = later.get(&path).await.problem(409, "no_card");
    assert!(problem["detail"].as_str().unwrap().contains("enrol them again"), "{problem}");
    // The page says it in its own language by this code.
    let person = path.split('/').nth(3).unwrap();
    let order = json!({"prompt": "as a king", "people": [{"person": person}]});
    later.json(Method::POST, "/v1/jobs", &order, &[]).await.problem(400, "enrol_again");
}

#[tokio::test]
async fn a_card_can_be_corrected_while_it_is_made() {
    let app = with_cards().await;
    let said = r#"{"set": {"glasses": "no"}, "without": ["skin"]}"#;
    let path = enrol(&app, form().text("card", said)).await;
    let card = app.get(&path).await.expect(200);
    assert_eq!(part(&card, "glasses"), (&json!("corrected"), &json!("no")));
    assert_eq!(part(&card, "skin").0, "left_out");
    for (said, words) in
        [(r#"{"set": {"glasses": "maybe"}}"#, "cannot be said"), (r#"{"without": ["nose"]}"#, "no part")]
    {
        let problem = app.form("/v1/people", form().text("card", said)).await.problem(400, "invalid_request");
        assert_eq!(problem["error"]["param"], "card");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
    app.form("/v1/people", form().text("card", "no JSON")).await.problem(400, "invalid_json");

    // Photos for one job alone.
    let job = |card: &str| {
        let form = Form::new().text("job", r#"{"prompt": "wait"}"#).text("consent", &consent());
        form.file("photo", &photo(&["ann"])).text("card", card)
    };
    app.form("/v1/jobs", job(r#"{"without": ["nose"]}"#)).await.problem(400, "invalid_request");
    let made = app.form("/v1/jobs", job(said)).await.expect(202);
    assert!(!made.to_string().contains("glasses"), "{made}");
    let id = made["id"].as_str().unwrap().parse().unwrap();
    let person = app.archive.store.job("local", id).await.unwrap().unwrap().input.people[0].person;
    let known = app.archive.known("local", person, false).await.unwrap();
    assert_eq!(known.changes.set["glasses"], "no");
    assert!(known.changes.without.contains("skin") && known.faces[0].card.is_some());
}

#[tokio::test]
async fn a_card_belongs_to_its_key() {
    let flags = [("require_key", "true")];
    let mut app =
        TestApp::with(&flags, Policy::default(), |parts| parts.faces = Arc::new(StandInCards)).await;
    let first = app.archive.store.add_key("first", "a").await.unwrap().secret;
    let second = app.archive.store.add_key("second", "b").await.unwrap().secret;
    app.key = Some(first);
    let path = enrol(&app, form()).await;
    app.get(&path).await.expect(200);
    app.key = Some(second);
    app.get(&path).await.problem(404, "not_found");
    patch(&app, &path, &json!({"without": ["skin"]})).await.problem(404, "not_found");
    app.key = None;
    app.get(&path).await.problem(401, "missing_api_key");
    patch(&app, &path, &json!({})).await.problem(401, "missing_api_key");
}
