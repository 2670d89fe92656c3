//! A client within the process.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use imagine_api::{Parts, Service};
use imagine_store::{Archive, Policy};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use crate::support::{self, Artist};

/// The service, its store in a folder of its own, and an artist who does the jobs.
pub struct TestApp {
    pub archive: Archive,
    pub artist: Artist,
    pub service: Service,
    router: Router,
    /// Sent with every request.
    pub key: Option<String>,
    _folder: TempDir,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The JSON, if the status is this.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self.json()
    }

    /// A problem of this kind, with everything that belongs to one.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.expect(status);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["error"]["code"], code, "{body}");
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"], self.header("x-request-id"));
        assert_eq!(body["detail"], body["error"]["message"]);
        assert!(body["type"].as_str().unwrap().starts_with("/docs#"), "{body}");
        body
    }
}

impl TestApp {
    pub async fn new() -> Self {
        Self::with(&[], Policy::default(), |_| ()).await
    }

    pub async fn with(flags: &[(&str, &str)], policy: Policy, change: impl FnOnce(&mut Parts)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let archive = support::archive(folder.path(), policy).await;
        let mut parts = support::parts(archive.clone());
        change(&mut parts);
        let service = Service::new(support::config(flags), parts).unwrap();
        let artist = Artist::start(archive.clone());
        let router = service.router();
        Self { archive, artist, service, router, key: None, _folder: folder }
    }

    /// Sends a request, and gives the answer with its body still to come.
    pub async fn raw(&self, mut request: Request<Body>) -> Response<Body> {
        if let Some(key) = &self.key {
            request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        }
        self.router.clone().oneshot(request).await.unwrap()
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.raw(request).await.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes().to_vec();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[]).await
    }

    pub async fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers, Body::empty())).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, body, &[]).await
    }

    pub async fn post_with(&self, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        self.json(Method::POST, path, body, headers).await
    }

    pub async fn json(&self, method: Method, path: &str, body: &Value, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
        self.send(request(method, path, &headers, Body::from(body.to_string()))).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.send(request(Method::DELETE, path, &[], Body::empty())).await
    }

    pub async fn form(&self, path: &str, form: Form) -> Answer {
        self.form_with(path, form, &[]).await
    }

    pub async fn form_with(&self, path: &str, form: Form, headers: &[(&str, &str)]) -> Answer {
        let (kind, body) = form.finish();
        let headers: Vec<_> = headers.iter().copied().chain([("content-type", kind.as_str())]).collect();
        self.send(request(Method::POST, path, &headers, Body::from(body))).await
    }

    /// Somebody with this name, and with a face that goes with it.
    pub async fn person(&self, name: &str) -> String {
        let form = Form::new()
            .text("name", name)
            .text("consent", &consent())
            .file("photo", &support::photo(&[name]));
        self.form("/v1/people", form).await.expect(201)["id"].as_str().unwrap().to_owned()
    }

    /// A job that has ended.
    pub async fn drawn(&self, job: Value) -> Value {
        let made = self.post_with("/v1/jobs", &job, &[("prefer", "wait=30")]).await;
        made.expect(200)
    }
}

pub fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(body).unwrap()
}

/// Consent to the text of now.
pub fn consent() -> String {
    agreed(&imagine_api::consent())
}

/// Consent to the use of photos for one order.
pub fn consent_once() -> String {
    agreed(&imagine_api::consents().once)
}

fn agreed(text: &imagine_api::ConsentText) -> String {
    json!({"basis": "self", "text_version": text.version, "text_sha256": text.sha256, "agreed": true})
        .to_string()
}

/// A multipart form.
pub struct Form(Vec<u8>);

impl Form {
    pub fn new() -> Self {
        Self(Vec::new())
    }

    pub fn text(self, name: &str, text: &str) -> Self {
        self.part(&format!("form-data; name=\"{name}\""), text.as_bytes())
    }

    pub fn file(self, name: &str, bytes: &[u8]) -> Self {
        self.part(&format!("form-data; name=\"{name}\"; filename=\"x.jpg\""), bytes)
    }

    fn part(mut self, disposition: &str, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(format!("--edge\r\nContent-Disposition: {disposition}\r\n\r\n").as_bytes());
        self.0.extend_from_slice(bytes);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    pub fn finish(mut self) -> (String, Vec<u8>) {
        self.0.extend_from_slice(b"--edge--\r\n");
        ("multipart/form-data; boundary=edge".into(), self.0)
    }
}

/// One event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct SseEvent {
    pub id: Option<String>,
    pub name: String,
    pub data: Value,
}

/// Everything of a stream that has ended.
pub fn events(text: &str) -> Vec<SseEvent> {
    let fields = |block: &str, name: &str| {
        let start = format!("{name}: ");
        block.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
    };
    let filled = text.split("\n\n").filter(|block| fields(block, "event").is_some());
    filled
        .map(|block| SseEvent {
            id: fields(block, "id"),
            name: fields(block, "event").unwrap(),
            data: serde_json::from_str(&fields(block, "data").unwrap()).unwrap(),
        })
        .collect()
}

/// A stream that is read piece by piece.
pub struct Stream {
    body: Body,
    read: String,
}

impl Stream {
    pub async fn open(app: &TestApp, path: &str, headers: &[(&str, &str)]) -> Self {
        let response = app.raw(request(Method::GET, path, headers, Body::empty())).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self { body: response.into_body(), read: String::new() }
    }

    /// The next event; none at the end.
    pub async fn next(&mut self) -> Option<SseEvent> {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let found = events(&format!("{block}\n\n")).pop();
                self.read = rest.to_owned();
                if found.is_some() {
                    return found;
                }
                continue;
            }
            let frame = self.body.frame().await?.unwrap();
            self.read.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    /// Everything up to and including the first event of this name.
    pub async fn until(&mut self, name: &str) -> Vec<SseEvent> {
        let mut seen = Vec::new();
        while let Some(event) = self.next().await {
            seen.push(event);
            if seen.last().is_some_and(|event| event.name == name) {
                break;
            }
        }
        seen
    }
}
