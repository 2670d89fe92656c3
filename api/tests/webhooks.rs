use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::app::TestApp;
use crate::support;

#[tokio::test]
async fn an_ended_job_is_told_signed() {
    let own = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let environment = [("webhook_allow_private", "true"), ("webhook_secret", own)];
    assert_eq!(told_signed(&environment).await, own);
}

#[tokio::test]
async fn without_a_secret_of_ones_own_one_is_derived() {
    let secret = told_signed(&[("webhook_allow_private", "true")]).await;
    // Of 32 bytes, and another for every master key.
    assert_eq!(secret.len(), "whsec_".len() + 44);
    assert_ne!(told_signed(&[("webhook_allow_private", "true")]).await, secret);
}

/// Gives the secret that the receiver was told and the call was signed with.
async fn told_signed(environment: &[(&str, &str)]) -> String {
    let app = TestApp::with(environment, Default::default(), |_| ()).await;
    let secret = imagine_api::webhook_secret(&support::config(environment), &app.archive).expose().to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let job = app.post("/v1/jobs", &json!({"prompt": "a", "webhook": {"url": url}})).await.expect(202);
    assert!(job["input"].get("webhook").is_none(), "where it is told is nobody else's business");
    let (mut stream, _) =
        tokio::time::timeout(Duration::from_secs(30), listener.accept()).await.unwrap().unwrap();
    let mut heard = String::new();
    let (head, body) = loop {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).await.unwrap();
        assert!(n > 0, "the call ended early: {heard}");
        heard.push_str(std::str::from_utf8(&part[..n]).unwrap());
        if let Some((head, body)) = heard.split_once("\r\n\r\n")
            && body.len() >= length(head)
        {
            break (head.to_owned(), body.to_owned());
        }
    };
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    let field = |name: &str| {
        let of = |line: &str| {
            line.split_once(": ").filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.to_owned())
        };
        head.lines().find_map(of).unwrap()
    };
    let headers = axum::http::HeaderMap::from_iter(
        ["webhook-id", "webhook-timestamp", "webhook-signature"]
            .map(|name| (name.parse::<axum::http::HeaderName>().unwrap(), field(name).parse().unwrap())),
    );
    standardwebhooks::Webhook::new(&secret).unwrap().verify(body.as_bytes(), &headers).unwrap();
    let told: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&told["type"], &told["data"]["id"]), (&json!("job.succeeded"), &job["id"]));
    assert_eq!(told["data"]["output"].as_array().unwrap().len(), 1);
    secret
}

fn length(head: &str) -> usize {
    let lower = head.to_lowercase();
    let line = lower.lines().find_map(|line| line.strip_prefix("content-length: "));
    line.unwrap().trim().parse().unwrap()
}
