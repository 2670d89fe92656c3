//! The service with stand-ins for the model, for whoever works on a client: `cargo run -p imagine-api --example
//! stand_in -- serve --listen 127.0.0.1:8790 --data-dir FOLDER`. Takes the program's arguments that tests give.

#![expect(clippy::unwrap_used, reason = "an aid to tests")]
#![expect(dead_code, unused_imports, reason = "the tests use more of it")]

#[path = "../tests/support/mod.rs"]
mod support;

use imagine_store::Policy;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name).unwrap();
        arguments[at + 1].clone()
    };
    let (listen, folder) = (value("--listen"), value("--data-dir"));
    let mut config = support::config(&[("listen", &listen)]);
    config.limits.requests_per_minute = 0;
    let archive = support::archive(folder.as_ref(), Policy::default()).await;
    let artist = support::Artist::start(archive.clone());
    let listener = tokio::net::TcpListener::bind(&listen).await.unwrap();
    println!("listening on http://{}", listener.local_addr().unwrap());
    let stop = async {
        let _ =
            tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap().recv().await;
    };
    imagine_api::serve(listener, config, support::parts(archive), stop, std::future::ready(()))
        .await
        .unwrap();
    drop(artist);
}
