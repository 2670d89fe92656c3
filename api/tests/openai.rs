use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::app::{Form, TestApp, consent, consent_once, events};
use crate::support::photo;

fn picture(b64: &Value) -> image::DynamicImage {
    image::load_from_memory(&STANDARD.decode(b64.as_str().unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn pictures_are_generated_for_built_in_names_and_sizes() {
    let app = TestApp::new().await;
    let ann = app.person("ann").await;
    let asked = json!({
        "model": "gpt-image-1", "prompt": "as a king", "n": 2, "size": "64x96", "quality": "high", "user": "u",
        "person": ann, "seed": 7, "num_inference_steps": 4, "moderation": "low"
    });
    let made = app.post("/v1/images/generations", &asked).await.expect(200);
    let data = made["data"].as_array().unwrap();
    assert_eq!((data.len(), &made["size"], &made["output_format"]), (2, &json!("64x96"), &json!("png")));
    assert_eq!((picture(&data[0]["b64_json"]).height(), &data[1]["seed"]), (96, &json!(8)));
    assert_eq!(
        (&data[0]["revised_prompt"], &data[0]["likeness"]),
        (&json!("as a king, soft light"), &json!([0.5]))
    );
    let asked =
        json!({"prompt": "x", "response_format": "url", "output_format": "jpeg", "output_compression": 80});
    let made = app.post_with("/v1/images/generations", &asked, &[("host", "localhost:9")]).await.expect(200);
    let url = made["data"][0]["url"].as_str().unwrap();
    let path = url.strip_prefix("http://localhost:9").unwrap();
    assert_eq!(app.get(path).await.header("content-type"), "image/jpeg");
    assert!(made["data"][0].get("b64_json").is_none());
}

#[tokio::test]
async fn built_in_sizes_become_the_model_s_own_of_that_shape() {
    let app = TestApp::new().await;
    for (asked, drawn) in [
        ("auto", "64x64"),
        ("1024x1024", "64x64"),
        ("1024x1536", "64x96"),
        ("1024x1792", "64x96"),
        ("1536x1024", "64x64"),
        ("256x256", "64x64"),
        ("64x128", "64x128"),
        ("1024x1032", "1024x1032"),
    ] {
        let asked = json!({"prompt": "x", "size": asked});
        assert_eq!(app.post("/v1/images/generations", &asked).await.expect(200)["size"], drawn, "{asked}");
    }
    let two = json!([{"person": app.person("ann").await, "box": [0, 0, 0.5, 1]}, {"person": app.person("bob").await, "box": [0.5, 0, 1, 1]}]);
    for (asked, drawn) in [("1024x1024", "96x64"), ("1024x1536", "96x64"), ("64x128", "64x128")] {
        let asked = json!({"prompt": "x", "size": asked, "person": two});
        assert_eq!(app.post("/v1/images/generations", &asked).await.expect(200)["size"], drawn, "{asked}");
    }
    let made_for_it = TestApp::with(&[], Default::default(), |parts| parts.models[0].sizes.push([512, 512]));
    let asked = json!({"prompt": "x", "size": "512x512"});
    let made = made_for_it.await.post("/v1/images/generations", &asked).await.expect(200);
    assert_eq!(made["size"], "512x512");
}

#[tokio::test]
async fn one_model_is_looked_up_by_its_name_or_a_built_in_one() {
    let app = TestApp::new().await;
    for name in ["stand-in", "gpt-image-1"] {
        let model = app.get(&format!("/v1/models/{name}")).await.expect(200);
        assert_eq!((&model["id"], &model["object"]), (&json!(name), &json!("model")));
        assert!(model["created"].is_i64() && model["owned_by"].is_string(), "{model}");
    }
    app.get("/v1/models/dall-e-9").await.problem(404, "model_not_found");
}

#[tokio::test]
async fn a_model_of_the_hub_is_found_by_its_repository() {
    let app =
        TestApp::with(&[], Default::default(), |parts| parts.models[0].info.name = "someone/tiny".into())
            .await;
    for path in ["/v1/models/someone/tiny", "/v1/models/someone%2Ftiny"] {
        assert_eq!(app.get(path).await.expect(200)["id"], "someone/tiny");
    }
    app.get("/v1/models/someone/else").await.problem(404, "model_not_found");
}

#[tokio::test]
async fn refusals_are_read_by_their_clients() {
    let app = TestApp::new().await;
    let post = async |body: Value| app.post("/v1/images/generations", &body).await;
    let problem = post(json!({"prompt": "x", "model": "dall-e-9"})).await.problem(400, "model_not_found");
    assert_eq!(problem["error"]["type"], "invalid_request_error");
    let problem = post(json!({"prompt": "x", "n": 99})).await.problem(400, "invalid_request");
    assert_eq!(problem["error"]["param"], "n");
    for bad in [
        json!({}),
        json!({"prompt": ""}),
        json!({"prompt": "x", "partial_images": 4}),
        json!({"prompt": "x", "response_format": "gif"}),
        json!({"prompt": "x", "background": "transparent"}),
        json!({"prompt": "x", "output_compression": 101}),
        json!({"prompt": "x", "person": {"id": 1}}),
    ] {
        post(bad).await.problem(400, "invalid_request");
    }
    post(json!({"prompt": "x", "person": "nobody"})).await.problem(404, "not_found");
    post(json!({"prompt": "forbidden"})).await.problem(422, "refused");
    let failed = post(json!({"prompt": "fail"})).await;
    failed.problem(500, "out_of_memory");
    assert_eq!(failed.header("x-should-retry"), "false");
    let refused = post(json!({"prompt": "fail the rules"})).await.problem(422, "refused");
    assert_eq!(refused["rule"], "test-rule");
}

#[tokio::test]
async fn a_retry_is_not_drawn_again() {
    let app = TestApp::new().await;
    let asked = json!({"prompt": "x"});
    let send = async |count: &str| {
        app.post_with("/v1/images/generations", &asked, &[("x-stainless-retry-count", count)])
            .await
            .expect(200)
    };
    let first = send("0").await;
    assert_eq!(send("1").await["job"], first["job"]);
    assert_ne!(send("0").await["job"], first["job"], "asked again on purpose");
    let form = |edge: &str| {
        Form::new().text("prompt", edge).text("consent", &consent()).file("image", &photo(&["ann"]))
    };
    let first = app.form("/v1/images/edits", form("x")).await.expect(200);
    let retry = [("x-stainless-retry-count", "1")];
    let again = app.form_with("/v1/images/edits", form("x"), &retry).await.expect(200);
    let other = app.form_with("/v1/images/edits", form("y"), &retry).await.expect(200);
    assert_eq!(first["job"], again["job"]);
    assert_ne!(first["job"], other["job"]);
}

#[tokio::test]
async fn pictures_stream_with_previews() {
    let app = TestApp::new().await;
    let asked = json!({"prompt": "x", "stream": true, "partial_images": 2, "num_inference_steps": 9});
    let stream = app.post("/v1/images/generations", &asked).await;
    assert_eq!(stream.header("content-type"), "text/event-stream");
    let told = events(&stream.text());
    let last = told.last().unwrap();
    assert_eq!(
        (last.name.as_str(), &last.data["type"]),
        ("image_generation.completed", &json!("image_generation.completed"))
    );
    assert_eq!((picture(&last.data["b64_json"]).width(), &last.data["size"]), (64, &json!("64x64")));
    assert_eq!(last.data["revised_prompt"], "x, soft light");
    // Previews are not kept, so one that is drawn before the stream is open is not seen.
    for (number, event) in told[..told.len() - 1].iter().enumerate() {
        assert_eq!(event.name, "image_generation.partial_image");
        assert_eq!(
            (&event.data["partial_image_index"], picture(&event.data["b64_json"]).width()),
            (&json!(number), 8)
        );
    }
    let failed = app.post("/v1/images/generations", &json!({"prompt": "fail", "stream": true})).await;
    let told = events(&failed.text());
    assert_eq!((told[0].name.as_str(), &told[0].data["error"]["code"]), ("error", &json!("out_of_memory")));
}

#[tokio::test]
async fn selfies_become_pictures_and_are_forgotten() {
    let app = TestApp::new().await;
    let selfies = || Form::new().file("image[]", &photo(&["ann"])).file("image[]", &photo(&["ann"]));
    let refused = app.form("/v1/images/edits", selfies().text("prompt", "as a king")).await;
    refused.problem(422, "consent_required");
    let form = selfies().text("prompt", "as a king").text("n", "2").text("consent", &consent_once());
    let made = app.form("/v1/images/edits", form).await.expect(200);
    assert_eq!((made["data"].as_array().unwrap().len(), &made["data"][0]["likeness"]), (2, &json!([0.5])));
    let text = imagine_api::consent();
    let brackets =
        selfies().text("prompt", "x").text("consent[basis]", "self").text("consent[agreed]", "True");
    let brackets =
        brackets.text("consent[text_version]", &text.version).text("consent[text_sha256]", &text.sha256);
    let stream = app.form("/v1/images/edits", brackets.text("stream", "true")).await;
    assert_eq!(events(&stream.text()).last().unwrap().name, "image_edit.completed");
    assert_eq!(app.get("/v1/people").await.expect(200)["data"], json!([]));
    for form in [
        Form::new().text("prompt", "x").text("consent", &consent()),
        selfies().text("consent", &consent()),
        selfies().text("prompt", "x").text("n", "two").text("consent", &consent()),
        selfies().text("prompt", "x").text("stream", "perhaps").text("consent", &consent()),
    ] {
        app.form("/v1/images/edits", form).await.problem(400, "invalid_request");
    }
    let flags = [("openai_consent", "true")];
    let trusted = TestApp::with(&flags, Default::default(), |_| ()).await;
    trusted.form("/v1/images/edits", selfies().text("prompt", "as a king")).await.expect(200);
}

#[tokio::test]
async fn a_mask_says_what_is_changed() {
    let app = TestApp::new().await;
    // As large as a phone's photo.
    let png = |alpha| {
        let mut png = std::io::Cursor::new(Vec::new());
        let picture = image::RgbaImage::from_pixel(4032, 3024, image::Rgba([0, 0, 0, alpha]));
        picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
        png.into_inner()
    };
    let form = |alpha| {
        let form = Form::new().text("prompt", "a hat").text("consent", &consent()).file("mask", &png(alpha));
        form.file("image", &photo(&["ann"]))
    };
    let made = app.form("/v1/images/edits", form(0)).await.expect(200);
    let id = made["job"].as_str().unwrap().parse().unwrap();
    let job = app.archive.store.job("local", id).await.unwrap().unwrap();
    let edit = job.input.edit.unwrap();
    assert!(edit.mask.is_some() && matches!(edit.source, imagine_store::EditSource::Upload(_)));
    app.form("/v1/images/edits", form(255)).await.problem(400, "invalid_request");
    let huge = image::GrayImage::new(12_001, 1);
    let mut png = std::io::Cursor::new(Vec::new());
    huge.write_to(&mut png, image::ImageFormat::Png).unwrap();
    let form =
        Form::new().text("prompt", "a hat").text("consent", &consent()).file("mask", &png.into_inner());
    let form = form.file("image", &photo(&["ann"]));
    let problem = app.form("/v1/images/edits", form).await.problem(413, "too_large");
    assert_eq!(problem["error"]["param"], "mask");
}
