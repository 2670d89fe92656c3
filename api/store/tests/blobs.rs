//! Bytes in a folder and in S3 alike.

use std::time::Duration;

use bytes::Bytes;
use imagine_store::{BlobError, BlobInfo, BlobKey, Blobs, LocalBlobs, S3Access, S3Blobs};

use crate::support::s3;

fn key(text: &str) -> BlobKey {
    text.parse().unwrap()
}

async fn behaves(blobs: &dyn Blobs) {
    blobs.check().await.unwrap();
    let name = key("images/job_1/0.png");
    assert!(matches!(blobs.get(&name).await.unwrap_err(), BlobError::NotFound(_)));
    assert!(matches!(blobs.range(&name, 0..2).await.unwrap_err(), BlobError::NotFound(_)));
    assert_eq!(blobs.head(&name).await.unwrap(), None);
    blobs.delete(&name).await.unwrap();
    blobs.put(&name, Bytes::from_static(b"first"), "image/png").await.unwrap();
    blobs.put(&name, Bytes::from_static(b"0123456789"), "image/png").await.unwrap();
    assert_eq!(blobs.get(&name).await.unwrap(), "0123456789");
    assert_eq!(blobs.head(&name).await.unwrap(), Some(BlobInfo { bytes: 10 }));
    for (range, expected) in [(0..4, "0123"), (4..99, "456789"), (9..10, "9"), (10..12, ""), (5..5, "")] {
        assert_eq!(blobs.range(&name, range).await.unwrap(), expected);
    }
    for other in ["images/job_1/1.png", "images/job_10/0.png", "people/a"] {
        blobs.put(&key(other), Bytes::from_static(b"x"), "image/png").await.unwrap();
    }
    let list = async |prefix: &str, after: Option<&str>, limit| {
        let keys = blobs.list(prefix, after, limit).await.unwrap();
        keys.into_iter().map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(list("images/job_1/", None, 9).await, ["images/job_1/0.png", "images/job_1/1.png"]);
    assert_eq!(list("images/job_1", None, 2).await.len(), 2);
    assert_eq!(list("", Some("images/job_1/1.png"), 9).await, ["images/job_10/0.png", "people/a"]);
    assert!(list("none/", None, 9).await.is_empty());
    blobs.delete(&name).await.unwrap();
    assert_eq!(blobs.head(&name).await.unwrap(), None);
    assert_eq!(list("images/job_1/", None, 9).await, ["images/job_1/1.png"]);
    // Larger than what S3 is sent at once, and not a whole number of parts.
    let large: Bytes = (0..17_000_003_u32).map(|i| (i % 253) as u8).collect::<Vec<_>>().into();
    blobs.put(&key("large"), large.clone(), "application/octet-stream").await.unwrap();
    assert!(blobs.get(&key("large")).await.unwrap() == large);
    assert_eq!(
        blobs.range(&key("large"), 8_388_600..8_388_620).await.unwrap(),
        large.slice(8_388_600..8_388_620)
    );
}

#[tokio::test]
async fn in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = LocalBlobs::open(folder.path().join("blobs")).unwrap();
    behaves(&blobs).await;
    assert_eq!(blobs.presigned(&key("large"), Duration::from_secs(9)).await.unwrap(), None);
    for entry in ["large", "people/a", "images/job_1/1.png", "images/job_10/0.png"] {
        blobs.delete(&key(entry)).await.unwrap();
    }
    assert_eq!(
        std::fs::read_dir(folder.path().join("blobs")).unwrap().count(),
        0,
        "no folders, nothing half written"
    );
}

#[tokio::test]
async fn in_s3() {
    let folder = tempfile::tempdir().unwrap();
    let options = s3::serve(folder.path()).await;
    assert!(!format!("{options:?}").contains("secret"));
    let blobs = S3Blobs::open(options.clone()).await.unwrap();
    behaves(&blobs).await;
    assert!(folder.path().join("pictures/imagine/large").exists(), "below the prefix");
    let mut wrong = options.clone();
    wrong.access = S3Access::Key { id: "AKTEST".into(), secret: String::from("another").into() };
    let refused = S3Blobs::open(wrong).await.unwrap();
    let refused = refused.get(&key("large")).await.unwrap_err();
    assert!(matches!(refused, BlobError::Failed { .. }));
    let mut absent = options;
    absent.endpoint = Some("http://127.0.0.1:1".into());
    let absent = S3Blobs::open(absent).await.unwrap().get(&key("large")).await.unwrap_err();
    // In the server's own words or the system's, and in nobody else's.
    for (error, word) in [(refused, "SignatureDoesNotMatch (HTTP 403)"), (absent, "Connection refused")] {
        let text = error.to_string();
        assert!(text.starts_with("large: ") && text.contains(word), "{text}");
        assert!(text.len() < 200 && !text.contains('{'), "{text}");
    }
}

#[tokio::test]
async fn an_address_of_s3_is_good_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = S3Blobs::open(s3::serve(folder.path()).await).await.unwrap();
    blobs.put(&key("a.png"), Bytes::from_static(b"bytes"), "image/png").await.unwrap();
    let address = blobs.presigned(&key("a.png"), Duration::from_secs(7200)).await.unwrap().unwrap();
    assert!(address.contains("X-Amz-Expires=900"), "15 minutes at most: {address}");
    assert_eq!(get(&address).await, (200, "bytes".into()));
    let changed = address.replace("a.png", "b.png");
    assert_eq!(get(&changed).await.0, 403);
}

/// A plain GET by hand: status and body.
async fn get(address: &str) -> (u16, String) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let (host, path) = address.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut socket = tokio::net::TcpStream::connect(host).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned())
}
