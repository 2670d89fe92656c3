//! Pictures and masks that come with a job, and how strongly its people are heard.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use imagine_contract::Stage;
use imagine_store::{EditSource, JobId, JobInput, UploadId};
use serde_json::{Value, json};

use crate::app::{Form, TestApp, consent, consent_once};
use crate::support::photo;

/// A mask, white on its left half.
fn half() -> Vec<u8> {
    let mask = image::GrayImage::from_fn(4, 2, |x, _| image::Luma([if x < 2 { 255 } else { 0 }]));
    let mut png = Cursor::new(Vec::new());
    mask.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

fn form(job: &Value) -> Form {
    Form::new().text("job", &job.to_string())
}

async fn input(app: &TestApp, job: &Value) -> JobInput {
    let id: JobId = job["id"].as_str().unwrap().parse().unwrap();
    app.archive.store.job("local", id).await.unwrap().unwrap().input
}

/// What is stored, decoded.
async fn stored(app: &TestApp, upload: UploadId) -> image::DynamicImage {
    let bytes = app.archive.open_upload("local", upload).await.unwrap().unwrap();
    image::load_from_memory(&bytes).unwrap()
}

#[tokio::test]
async fn a_photo_that_comes_with_a_job_is_changed_and_dropped() {
    let app = TestApp::new().await;
    let ann = app.person("ann").await;
    // Held in its middle, so that what is stored can be looked at.
    let wish = json!({"prompt": "wait for a hat", "people": [{"person": ann}], "expand": false,
        "edit": {"strength": 0.7, "feather": 3}});
    let whole = || form(&wish).file("edit.image", &photo(&["ann", "bob"])).file("edit.mask", &half());
    let unasked = app.form("/v1/jobs", whole()).await.problem(422, "consent_required");
    assert_eq!(unasked["error"]["param"], "consent");
    let key = [("idempotency-key", "k")];
    let job = app.form_with("/v1/jobs", whole().text("consent", &consent_once()), &key).await.expect(202);
    let again = app.form_with("/v1/jobs", whole().text("consent", &consent_once()), &key).await.expect(202);
    assert_eq!(job["id"], again["id"]);
    assert_eq!(job["input"]["edit"], wish["edit"]);
    let edit = input(&app, &job).await.edit.unwrap();
    assert_eq!((edit.strength, edit.keep_face, edit.feather), (0.7, false, Some(3)));
    let (EditSource::Upload(source), Some(mask)) = (edit.source, edit.mask) else { panic!("an upload") };
    // The reader's pixels alone: nothing else of the file.
    assert_eq!(
        stored(&app, source).await.into_rgb8(),
        image::RgbImage::from_pixel(8, 8, image::Rgb([128; 3]))
    );
    assert_eq!(stored(&app, mask).await.into_luma8().into_raw(), [255, 255, 0, 0, 255, 255, 0, 0]);
    app.artist.go();
    let path = job["urls"]["get"].as_str().unwrap();
    assert_eq!(app.get_with(path, &[("prefer", "wait=30")]).await.expect(200)["status"], "succeeded");
    for upload in [source, mask] {
        assert!(app.archive.open_upload("local", upload).await.unwrap().is_none(), "dropped after the job");
    }

    // Nobody on it: nobody needs to agree, and no person is needed either.
    let wish = json!({"prompt": "a boat", "expand": false, "edit": {"strength": 0.5}});
    let empty = form(&wish).file("edit.image", &photo(&[]));
    let job = app.form_with("/v1/jobs", empty, &[("prefer", "wait=30")]).await.expect(200);
    assert_eq!(job["status"], "succeeded");
    // Whoever is drawn may come by photo, with the picture.
    let both = form(&wish).file("edit.image", &photo(&[])).file("photo", &photo(&["bob"]));
    let job = app.form("/v1/jobs", both.text("consent", &consent_once())).await.expect(202);
    assert_eq!(input(&app, &job).await.people.len(), 1);
}

#[tokio::test]
async fn files_that_do_not_fit_the_job_are_refused_and_forgotten() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    let edit = json!({"prompt": "a hat", "edit": {"strength": 0.7}});
    let named = json!({"prompt": "a hat", "edit": {"strength": 0.7, "image": "img_1"}});
    let faces = json!({"prompt": "a hat", "edit": {"strength": 0.7, "keep_face": true}});
    let plain = json!({"prompt": "a hat"});
    let two = json!({"prompt": "a hat", "people": [{"person": ann}, {"person": bob, "box": [0.5, 0, 1, 1]}]});
    let picture = |job: &Value| form(job).file("edit.image", &photo(&[]));
    let white = image::GrayImage::from_pixel(2, 2, image::Luma([255]));
    let mut jpeg = Cursor::new(Vec::new());
    white.write_to(&mut jpeg, image::ImageFormat::Jpeg).unwrap();
    for (form, param) in [
        (picture(&plain), "edit"),
        (picture(&named), "edit.image"),
        (form(&edit).file("edit.mask", &half()), "edit.image"),
        (picture(&faces).file("edit.mask", &half()), "edit.mask"),
        (picture(&edit).file("edit.mask", b"no picture"), "edit.mask"),
        (picture(&edit).file("edit.mask", jpeg.get_ref()), "edit.mask"),
        (picture(&edit).file("edit.mask", &half()).file("edit.mask", &half()), "edit.mask"),
        (picture(&edit).file("mask", &half()), "mask"),
        (form(&two).file("people.1.mask", &half()).file("people.0.mask", &half()), "people.mask"),
        (picture(&two), "people"),
        (form(&two).file("people.0.mask", &half()).file("people.2.mask", &half()), "people.mask"),
        (form(&plain).file("people.0.mask", &half()), "people.mask"),
        // The first mask is stored by then.
        (form(&two).file("people.0.mask", &half()).file("edit.mask", &half()), "edit"),
        (form(&plain).text("consent", &consent()), "photo"),
    ] {
        let problem = app.form("/v1/jobs", form).await.problem(400, "invalid_request");
        assert_eq!(problem["error"]["param"], param, "{problem}");
    }
    let damaged = form(&edit).file("edit.image", b"damaged");
    assert_eq!(app.form("/v1/jobs", damaged).await.problem(400, "damaged")["error"]["param"], "edit.image");
    app.form("/v1/jobs", form(&edit).file("edit.image", b"bomb")).await.problem(413, "too_large");
    // JSON alone brings no picture.
    app.post("/v1/jobs", &edit).await.problem(400, "invalid_request");
    assert!(app.archive.blobs.list("uploads/", None, 10).await.unwrap().is_empty(), "nothing is left of it");
}

#[tokio::test]
async fn people_have_their_places_by_masks() {
    let app = TestApp::new().await;
    let (ann, bob) = (app.person("ann").await, app.person("bob").await);
    let text = STANDARD.encode(half());
    let people = json!([{"person": ann, "mask": text}, {"person": bob}]);
    let wish = json!({"prompt": "wait for two", "expand": false, "people": people});
    app.post("/v1/jobs", &wish).await.problem(400, "invalid_request");
    let job = app.form("/v1/jobs", form(&wish).file("people.1.mask", &half())).await.expect(202);
    assert_eq!(job["input"]["people"], json!([{"person": ann}, {"person": bob}]), "masks are not told again");
    let masks: Vec<UploadId> = input(&app, &job).await.people.iter().map(|p| p.mask.unwrap()).collect();
    for mask in &masks {
        assert_eq!(stored(&app, *mask).await.into_luma8().into_raw(), [255, 255, 0, 0, 255, 255, 0, 0]);
    }
    app.artist.go();
    let path = job["urls"]["get"].as_str().unwrap();
    assert_eq!(app.get_with(path, &[("prefer", "wait=30")]).await.expect(200)["status"], "succeeded");
    for mask in masks {
        assert!(app.archive.open_upload("local", mask).await.unwrap().is_none(), "dropped after the job");
    }
    let both = json!([{"person": ann, "mask": text, "box": [0, 0, 0.5, 1]}]);
    let problem = app.post("/v1/jobs", &json!({"prompt": "a", "people": both})).await;
    assert_eq!(problem.problem(400, "invalid_request")["error"]["param"], "people.mask");
}

#[tokio::test]
async fn strengths_are_set_by_group_and_by_part_of_the_run() {
    let app = TestApp::new().await;
    let ann = app.person("ann").await;
    let model = &app.get("/v1/models").await.expect(200)["data"][0];
    assert_eq!(model["identity"]["groups"], json!(["descriptor", "colours", "traits"]));
    let me = |settings: Value| {
        let mut me = settings;
        me["person"] = ann.clone().into();
        json!({"prompt": "a king", "expand": false, "people": [me]})
    };
    let stages = json!([{"steps": [0, 0.5], "scale": 0.5}, {"steps": [0.5, 1], "scale": 1.5}]);
    let wish = me(json!({"card_scale": {"descriptor": 0.8, "traits": 0}, "stages": stages}));
    let job = app.post("/v1/jobs", &wish).await.expect(202);
    assert_eq!(job["input"]["people"][0]["card_scale"], json!({"descriptor": 0.8, "traits": 0.0}));
    let heard = input(&app, &job).await.people.remove(0);
    assert_eq!(heard.card_scale, [("descriptor".into(), 0.8), ("traits".into(), 0.0)].into());
    let stage = |from, to, scale| Stage { steps: [from, to], scale };
    assert_eq!(heard.stages, [stage(0.0, 0.5, 0.5), stage(0.5, 1.0, 1.5)]);
    for (wrong, param, says) in [
        (json!({"card_scale": {"hands": 1}}), "people.card_scale", "descriptor, colours, traits"),
        (json!({"card_scale": {"traits": 11}}), "people.card_scale", "between 0 and 10"),
        (json!({"stages": [{"steps": [0.5, 0.2], "scale": 1}]}), "people.stages", "between 0.5 and 1"),
        (json!({"stages": [{"steps": [0, 1], "scale": -1}]}), "people.stages", "between 0 and 10"),
        (json!({"stages": stages, "steps": [0, 1]}), "people.stages", "not both"),
    ] {
        let problem = app.post("/v1/jobs", &me(wrong)).await.problem(400, "invalid_request");
        assert_eq!(problem["error"]["param"], param, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(says), "{problem}");
    }
}
