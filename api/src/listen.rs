//! Connections: taken in, given a time in which they have to ask for something, ended together.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};

/// Answers on every connection until `shutdown`, then takes no more and waits until those under way have their
/// answers. A connection has `head` for each request's head: one that sends it drop by drop, or nothing at all, is
/// closed, so that it holds nothing for long. HTTP/1.1 alone: what speaks TLS in front speaks the rest.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    head: Duration,
    shutdown: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(head);
    let mut shutdown = pin!(shutdown);
    loop {
        let socket = tokio::select! {
            () = &mut shutdown => break,
            socket = accept(&listener) => socket,
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(http.serve_connection(TokioIo::new(socket), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((socket, _)) => {
                // An answer in small pieces, as events are, is not held back. Failing costs only time.
                let _ = socket.set_nodelay(true);
                return socket;
            }
            Err(error) if is_the_clients(&error) => {}
            // No more file descriptors, most likely: some may be free in a moment.
            Err(error) => {
                tracing::error!(%error, "no connections can be taken now");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// It went away before it was taken.
fn is_the_clients(error: &io::Error) -> bool {
    let kinds = [ErrorKind::ConnectionRefused, ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
    kinds.contains(&error.kind())
}
