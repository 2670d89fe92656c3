use std::sync::Arc;

use axum::http::Method;
use imagine_api::Parts;
use imagine_store::Policy;
use serde_json::json;

use crate::app::TestApp;
use crate::support::Addressed;

#[tokio::test]
async fn pictures_are_sent_whole_in_part_or_not_at_all() {
    let app = TestApp::new().await;
    let job = app.drawn(json!({"prompt": "a", "size": "64x96"})).await;
    let output = &job["output"][0];
    let (id, path) = (output["id"].as_str().unwrap(), output["url"].as_str().unwrap());
    let whole = app.get(path).await;
    assert_eq!((whole.status.as_u16(), whole.header("content-type")), (200, "image/png"));
    assert_eq!(whole.bytes.len() as u64, output["bytes"].as_u64().unwrap());
    assert_eq!(whole.header("cache-control"), "private, max-age=3600");
    assert_eq!(whole.header("content-disposition"), format!("inline; filename=\"{id}.png\""));
    let picture = image::load_from_memory(&whole.bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (64, 96));
    let tag = whole.header("etag");
    assert!(tag.starts_with('"') && tag.len() > 60, "a strong tag: {tag}");

    let known = app.get_with(path, &[("if-none-match", tag)]).await;
    assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
    let part = app.get_with(path, &[("range", "bytes=1-3")]).await;
    assert_eq!((part.status.as_u16(), part.bytes.as_slice()), (206, &b"PNG"[..]));
    assert_eq!(part.header("content-range"), format!("bytes 1-3/{}", whole.bytes.len()));
    let beyond = app.get_with(path, &[("range", "bytes=999999-")]).await;
    beyond.problem(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", whole.bytes.len()));
    let thumb = app.get(&format!("{path}/thumb")).await;
    assert_eq!((thumb.status.as_u16(), thumb.header("content-type")), (200, "image/jpeg"));
    assert_ne!(thumb.header("etag"), tag);
    for format in ["jpeg", "webp"] {
        let job = app.drawn(json!({"prompt": "a", "output_format": format})).await;
        let picture = app.get(job["output"][0]["url"].as_str().unwrap()).await;
        assert_eq!(picture.header("content-type"), format!("image/{format}"));
    }
}

#[tokio::test]
async fn a_picture_s_address_is_given_where_it_has_one_and_is_asked_for() {
    let in_bucket = |parts: &mut Parts| {
        parts.archive.blobs = Arc::new(Addressed(Arc::clone(&parts.archive.blobs)));
    };
    let app = TestApp::with(&[], Policy::default(), in_bucket).await;
    let job = app.drawn(json!({"prompt": "a"})).await;
    let path = job["output"][0]["url"].as_str().unwrap();
    let answer = app.get(&format!("{path}?link=true")).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (307, "no-store"));
    let address = answer.header("location");
    assert!(
        address.starts_with("https://bucket.example/images/") && address.ends_with("?seconds=300"),
        "{address}"
    );
    for plain in [path.to_owned(), format!("{path}?link=false")] {
        assert_eq!(app.get(&plain).await.status.as_u16(), 200, "only where it is asked for");
    }
    let missing =
        path.replace(job["output"][0]["id"].as_str().unwrap(), "img_01a21e436efd7532993ebddf04b5e53d");
    app.get(&format!("{missing}?link=true")).await.problem(404, "not_found");

    let app = TestApp::new().await;
    let path = app.drawn(json!({"prompt": "a"})).await["output"][0]["url"].as_str().unwrap().to_owned();
    assert_eq!(app.get(&format!("{path}?link=true")).await.status.as_u16(), 200, "a folder has no addresses");
}

#[tokio::test]
async fn the_gallery_is_paged_searched_marked_and_cleared() {
    let app = TestApp::new().await;
    let ann = app.person("ann").await;
    app.drawn(json!({"prompt": "a king", "n": 3, "seed": 7, "people": [{"person": ann}]})).await;
    app.drawn(json!({"prompt": "a queen"})).await;
    let list = async |query: &str| app.get(&format!("/v1/images{query}")).await.expect(200);
    let first = list("?limit=3").await;
    assert_eq!((first["data"].as_array().unwrap().len(), &first["has_more"]), (3, &json!(true)));
    assert_eq!(first["data"][0]["prompt"], "a queen", "the newest first");
    let rest = list(&format!("?limit=3&after={}", first["next"].as_str().unwrap())).await;
    assert_eq!(
        (rest["data"].as_array().unwrap().len(), &rest["has_more"], &rest["next"]),
        (1, &json!(false), &json!(null))
    );
    let oldest = rest["data"][0].clone();
    assert_eq!((&oldest["seed"], &oldest["index"], &oldest["people"]), (&json!(7), &json!(0), &json!([ann])));
    for (words, found) in [("queen", 1), ("KING%20a", 3), ("king%20queen", 0), ("%20", 4), ("100%25", 0)] {
        let pictures = list(&format!("?q={words}")).await;
        assert_eq!(pictures["data"].as_array().unwrap().len(), found, "{words}");
    }
    assert_eq!(list(&format!("?person={ann}")).await["data"].as_array().unwrap().len(), 3);

    let path = format!("/v1/images/{}", oldest["id"].as_str().unwrap());
    let marked = app.json(Method::PATCH, &path, &json!({"favourite": true}), &[]).await.expect(200);
    assert_eq!(marked["favourite"], true);
    assert_eq!(list("?favourite=true").await["data"][0], app.get(&format!("{path}/info")).await.expect(200));
    let blobs = app.archive.blobs.list("images/", None, 100).await.unwrap().len();
    assert_eq!(app.delete(&path).await.expect(200)["deleted"], true);
    assert_eq!(
        app.archive.blobs.list("images/", None, 100).await.unwrap().len(),
        blobs - 2,
        "picture and thumbnail"
    );
    for gone in [path.clone(), format!("{path}/info"), format!("{path}/thumb")] {
        app.get(&gone).await.problem(404, "not_found");
    }
    app.delete(&path).await.problem(404, "not_found");
    app.get("/v1/images?limit=0").await.problem(400, "invalid_request");
    app.get("/v1/images?limit=many").await.problem(400, "invalid_request");
    app.get("/v1/images?after=").await.expect(200);
    app.get("/v1/images?after=x").await.problem(400, "invalid_request");
    app.get("/v1/images?person=x").await.problem(400, "invalid_request");
}
