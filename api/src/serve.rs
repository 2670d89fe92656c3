//! Listening, the work beside it, and the end of both.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::app::{App, Parts, Stage};
use crate::config::Config;
use crate::{listen, observe, openapi, outbox};

/// Why the service cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("the server cannot listen any more: {0}")]
    Listen(#[from] std::io::Error),
    #[error("webhook_secret is not \"whsec_\" and base64 of 24 bytes or more")]
    WebhookSecret,
    #[error(
        "on {0} anybody could connect: make a key first (imagine keys add NAME), or listen on a loopback address"
    )]
    NoKeys(std::net::SocketAddr),
}

/// The service without a socket: its routes, and the work beside them.
pub struct Service {
    app: App,
    stage: watch::Sender<Stage>,
    tasks: Vec<JoinHandle<()>>,
}

impl Service {
    /// Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`ServeError::WebhookSecret`].
    pub fn new(config: Config, parts: Parts) -> Result<Self, ServeError> {
        let signer = outbox::signer(&config, &parts).ok_or(ServeError::WebhookSecret)?;
        let (stage, seen) = watch::channel(Stage::Open);
        let app = App::new(config, parts, seen);
        let tasks = vec![
            tokio::spawn(outbox::run(app.clone(), signer)),
            tokio::spawn(observe::run(app.clone())),
            tokio::spawn(observe::look(app.clone())),
            tokio::spawn(tidy(app.clone())),
        ];
        Ok(Self { app, stage, tasks })
    }

    /// All routes.
    pub fn router(&self) -> Router {
        openapi::router(self.app.clone())
    }

    /// Takes no new work; what was begun goes on, and can be watched and read.
    pub fn drain(&self) {
        self.stage.send_replace(Stage::Draining);
    }

    /// Ends event streams, and answers whoever waits for a job.
    pub fn close(&self) {
        self.stage.send_replace(Stage::Closed);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.close();
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Of the time for the end, what is left for the answers themselves.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Answers requests until `shutdown`; then refuses new work and goes on with the rest until the worker beside it has
/// `drained`, so that what it still draws can be had, and, where workers elsewhere draw, until nobody waits for a job;
/// then lets requests under way end. All of the end takes `shutdown_seconds` at most.
///
/// # Errors
/// The configuration or the socket cannot be used.
pub async fn serve(
    listener: TcpListener,
    mut config: Config,
    parts: Parts,
    shutdown: impl Future<Output = ()> + Send + 'static,
    drained: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    // With port 0 the address is known only now; whether it is loopback decides about keys.
    config.server.listen = listener.local_addr()?;
    let patience = Duration::from_secs(config.server.shutdown_seconds);
    let service = Arc::new(Service::new(config, parts)?);
    if service.app.wants_keys() && no_key(&service.app).await {
        return Err(ServeError::NoKeys(service.app.config.server.listen));
    }
    let (ended, mut stage) = (Arc::clone(&service), service.app.stage.clone());
    let stop = async move {
        shutdown.await;
        ended.drain();
        drained.await;
        if ended.app.parts.studio.is_none() {
            // Workers elsewhere go on drawing: whoever waits for one of their jobs is not sent away at once.
            let _ = tokio::time::timeout(patience.saturating_sub(LAST_ANSWERS), ended.app.unwatched()).await;
        }
        ended.close();
    };
    let head = Duration::from_secs(service.app.config.server.head_seconds.max(1));
    let served = listen::serve(listener, service.router(), head, stop);
    let late = async move {
        // The sender lives as long as the service.
        let _ = stage.wait_for(|stage| *stage != Stage::Open).await;
        tokio::time::sleep(patience).await;
    };
    tokio::select! {
        () = served => Ok(()),
        () = late => {
            tracing::warn!("connections were still open when the time was up");
            Ok(())
        }
    }
}

/// A database that cannot be read now is no reason: `/health/ready` says so.
async fn no_key(app: &App) -> bool {
    app.store().keys(None).await.is_ok_and(|keys| keys.iter().all(|key| key.revoked.is_some()))
}

/// Forgets what was remembered of keys that have been quiet.
async fn tidy(app: App) {
    loop {
        tokio::time::sleep(Duration::from_secs(600)).await;
        app.rate.tidy();
    }
}
