//! What the service says of itself.

use std::path::Path;

use serde_json::{Value, json};

use crate::app::TestApp;

/// Compares a text with a file of the repository, or writes it there where `IMAGINE_BLESS` is set.
fn is_as_committed(file: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    if std::env::var_os("IMAGINE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == text,
        "{file} is not what the code says; IMAGINE_BLESS=1 cargo test -p imagine-api writes it"
    );
}

#[tokio::test]
async fn the_description_is_as_committed() {
    let app = TestApp::new().await;
    let api = app.get("/v1/openapi.json").await.expect(200);
    is_as_committed("openapi.json", &(serde_json::to_string_pretty(&api).unwrap() + "\n"));
    assert!(api["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut ids = Vec::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            assert!(operation["summary"].is_string(), "{method} {path}");
            assert!(
                operation["responses"].as_object().unwrap().len() > 1 || !path.starts_with("/v1"),
                "{method} {path}"
            );
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
        }
    }
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), count, "operation ids are unique");
    references(&api, &api);
}

/// Every reference leads somewhere.
fn references(value: &Value, api: &Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::String(to)) = fields.get("$ref") {
                assert!(api.pointer(to.strip_prefix('#').unwrap()).is_some(), "{to}");
            }
            fields.values().for_each(|value| references(value, api));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, api)),
        _ => {}
    }
}

#[test]
fn the_configuration_page_is_as_committed() {
    is_as_committed("../docs/configuration.md", &imagine_api::config::documentation());
}

#[tokio::test]
async fn the_documentation_can_be_read_without_scripts() {
    let app = TestApp::new().await;
    let page = app.get("/docs").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("default-src 'none'; style-src 'self'"));
    let html = page.text();
    for part in ["/v1/jobs/{id}/events", "id=\"consent_required\"", "id=\"schema-Job\"", "Looks at a photo"] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("<script") && !html.contains(" style="));
    assert_eq!(app.get("/docs.css").await.header("content-type"), "text/css; charset=utf-8");
}

#[tokio::test]
async fn the_server_tells_what_it_has_and_takes() {
    let app = TestApp::new().await;
    let models = app.get("/v1/models").await.expect(200);
    let model = &models["data"][0];
    assert_eq!(
        (&model["id"], &model["object"], &model["default"]),
        (&json!("stand-in"), &json!("model"), &json!(true))
    );
    assert_eq!((&model["identity"]["regions"], &model["sizes"][1]), (&json!(true), &json!("64x96")));
    assert_eq!(app.get("/v1/styles").await.expect(200)["data"][0]["id"], "oil");
    let limits = app.get("/v1/limits").await.expect(200);
    assert_eq!(
        (&limits["photos"], &limits["n"], &limits["keep"]["photos"]),
        (&json!(5), &json!(10), &json!(false))
    );
    assert_eq!(limits["expansion"], true);
}

#[tokio::test]
async fn health_and_metrics_are_told() {
    let app = TestApp::new().await;
    assert_eq!(app.get("/health/live").await.expect(200)["status"], "ok");
    let ready = app.get("/health/ready").await.expect(200);
    assert_eq!(ready["checks"]["database"], "ok");
    app.drawn(json!({"prompt": "secret words", "n": 2})).await;
    let mut text = app.get("/metrics").await.text();
    // They are counted by a task of their own.
    while !text.contains("imagine_images_total 2") {
        tokio::task::yield_now().await;
        text = app.get("/metrics").await.text();
    }
    for line in ["imagine_jobs_total{status=\"succeeded\"} 1", "imagine_job_queue_depth{class=\"normal\"} 0"]
    {
        assert!(text.contains(line), "{line}\n{text}");
    }
    assert!(!text.contains("secret"));
}

#[tokio::test]
async fn the_page_is_served_with_its_policy() {
    let app = TestApp::new().await;
    let page = app.get("/").await;
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self'") && !policy.contains("unsafe"), "{policy}");
    let tag = page.header("etag");
    assert_eq!(app.get_with("/", &[("if-none-match", tag)]).await.status, 304);
    assert_eq!(app.get_with("/", &[("accept-encoding", "gzip")]).await.header("content-encoding"), "gzip");
    app.get("/../Cargo.toml").await.problem(404, "not_found");
}
