//! An S3 server in this process, over a folder, on a port of its own.

use std::path::Path;

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use imagine_store::{S3Access, S3Options};
use s3s::S3;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;

/// How to reach a new server that keeps its bytes in `folder`, with one empty bucket.
pub async fn serve(folder: &Path) -> S3Options {
    std::fs::create_dir_all(folder.join("pictures")).expect("a bucket is a folder");
    serve_with(s3s_fs::FileSystem::new(folder).expect("a folder")).await
}

/// The same of another server's insides.
pub async fn serve_with(server: impl S3) -> S3Options {
    let mut service = S3ServiceBuilder::new(server);
    service.set_auth(SimpleAuth::from_single("AKTEST", "secret"));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let _ =
                    Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), service).await;
            });
        }
    });
    S3Options {
        endpoint: Some(format!("http://{address}")),
        region: Some("us-east-1".into()),
        bucket: "pictures".into(),
        prefix: "imagine".into(),
        access: S3Access::Key { id: "AKTEST".into(), secret: String::from("secret").into() },
    }
}
