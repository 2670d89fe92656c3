use serde_json::json;

use crate::app::{TestApp, events};

#[tokio::test]
async fn ideas_are_expanded_at_once_or_piece_by_piece() {
    let app = TestApp::new().await;
    let idea = json!({"idea": "me at sea", "seed": 7});
    let whole = app.post("/v1/prompts/expand", &idea).await.expect(200);
    assert_eq!(
        (&whole["prompt"], &whole["parts"]["light"]),
        (&json!("me at sea, soft light"), &json!("soft light"))
    );
    let stream = app.post_with("/v1/prompts/expand", &idea, &[("accept", "text/event-stream")]).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let told = events(&stream.text());
    let deltas = told.iter().filter(|event| event.name == "expansion.delta");
    let text: String = deltas.map(|event| event.data["text"].as_str().unwrap()).collect();
    assert_eq!(text, "me at sea, soft light");
    let last = told.last().unwrap();
    assert_eq!((last.name.as_str(), &last.data["expansion"]), ("expansion.completed", &whole));
}

#[tokio::test]
async fn refusals_name_the_rule() {
    let app = TestApp::new().await;
    for headers in [&[][..], &[("accept", "text/event-stream")]] {
        let refused = app.post_with("/v1/prompts/expand", &json!({"idea": "forbidden"}), headers).await;
        let refused = refused.problem(422, "refused");
        assert_eq!(
            (&refused["rule"], &refused["detail"]),
            (&json!("test-rule"), &json!("this word is forbidden"))
        );
    }
    app.post("/v1/prompts/expand", &json!({"idea": ""})).await.problem(400, "invalid_request");
    let none = TestApp::with(&[], Default::default(), |parts| parts.expander = None).await;
    none.post("/v1/prompts/expand", &json!({"idea": "me"})).await.problem(503, "unavailable");
    none.post("/v1/jobs", &json!({"prompt": "me", "expand": true})).await.problem(400, "invalid_request");
    // The rules do not depend on who expands.
    none.post("/v1/jobs", &json!({"prompt": "forbidden"})).await.problem(422, "refused");
}

#[tokio::test]
async fn a_negative_prompt_is_checked_wherever_it_stands() {
    let app = TestApp::new().await;
    let ask = json!({"prompt": "me as a pirate", "negative_prompt": "clothes"});
    let refused = app.post("/v1/jobs", &ask).await.problem(422, "refused");
    assert_eq!(refused["rule"], "test-rule");
    let refused = app.post("/v1/images/generations", &ask).await.expect(422);
    assert_eq!(refused["error"]["param"], "negative_prompt");
    let mut expansion = app.post("/v1/prompts/expand", &json!({"idea": "me"})).await.expect(200);
    expansion["negative_prompt"] = "blurry, clothes".into();
    let edited = json!({"prompt": "me", "expand": expansion});
    app.post("/v1/jobs", &edited).await.problem(422, "refused");
    expansion["negative_prompt"] = "blurry".into();
    app.post("/v1/jobs", &json!({"prompt": "me", "expand": expansion})).await.expect(202);
}

#[tokio::test]
async fn changed_parts_are_put_together() {
    let app = TestApp::new().await;
    let mut expansion = app.post("/v1/prompts/expand", &json!({"idea": "me"})).await.expect(200);
    expansion["parts"]["setting"] = "on the moon".into();
    let assembled = app.post("/v1/prompts/assemble", &json!({"expansion": expansion})).await.expect(200);
    let prompt = assembled["prompt"].as_str().unwrap();
    assert!(prompt.contains("on the moon") && prompt.contains("soft light"), "{prompt}");
}

#[tokio::test]
async fn what_was_looked_up_comes_along_and_stays_with_the_job() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/v1/limits").await.expect(200)["search"], true);
    let ask = json!({"idea": "me in Ivrea", "ground": true});
    let whole = app.post("/v1/prompts/expand", &ask).await.expect(200);
    let source =
        json!({"title": "Ivrea", "url": "https://example.org/ivrea", "snippet": "oranges are thrown"});
    assert_eq!(whole["sources"], json!([source]));
    let stream = app.post_with("/v1/prompts/expand", &ask, &[("accept", "text/event-stream")]).await;
    let told = events(&stream.text());
    assert_eq!(told.last().unwrap().data["expansion"]["sources"], json!([source]));
    let unasked = app.post("/v1/prompts/expand", &json!({"idea": "me in Ivrea"})).await.expect(200);
    assert!(unasked.get("sources").is_none());
    // A client's own sources are links as well.
    let mut edited = whole.clone();
    edited["sources"] = json!([{"title": "x", "url": "javascript:alert(1)", "snippet": ""}, source]);
    let job = app.post("/v1/jobs", &json!({"prompt": "me in Ivrea", "expand": edited})).await.expect(202);
    assert_eq!(job["expansion"]["sources"], json!([source]));
    let id = job["id"].as_str().unwrap();
    assert_eq!(app.get(&format!("/v1/jobs/{id}")).await.expect(200)["expansion"]["sources"], json!([source]));
    let none = TestApp::with(&[], Default::default(), |parts| parts.expander = None).await;
    assert_eq!(none.get("/v1/limits").await.expect(200)["search"], false);
}

#[tokio::test]
async fn a_job_is_looked_up_where_it_asks_for_it() {
    let app = TestApp::with(&[("expand_by_default", "false")], Default::default(), |_| ()).await;
    let link = "https://example.org/ivrea";
    let job = app.drawn(json!({"prompt": "me in Ivrea", "ground": true})).await;
    assert_eq!(job["expansion"]["sources"][0]["url"], link, "it is expanded to be looked up: {job}");
    assert_eq!((&job["input"]["ground"], &job["input"]["expand"]), (&true.into(), &true.into()));
    // The same again, in the words that were shown: nothing is looked up a second time.
    let mut again = job["input"].clone();
    again["expand"] = job["expansion"].clone();
    again["expand"]["sources"] = json!([]);
    let again = app.drawn(again).await;
    assert!(again["input"].get("ground").is_none() && again["expansion"].get("sources").is_none(), "{again}");
    let plain = app.drawn(json!({"prompt": "me in Ivrea", "expand": true, "ground": false})).await;
    assert!(plain["expansion"].get("sources").is_none(), "{plain}");

    let none = TestApp::with(&[], Default::default(), |parts| parts.expander = None).await;
    let refused = none.post("/v1/jobs", &json!({"prompt": "me in Ivrea", "ground": true})).await;
    assert_eq!(refused.status, 400);
    assert_eq!(refused.json()["error"]["param"], "ground");
}
