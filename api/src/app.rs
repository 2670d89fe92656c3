//! What every handler reads: the configuration, the store, the studio, and the few things that are shared.

use std::ops::Deref;
use std::sync::Arc;

use imagine_contract::{ExpandError, Expander, FaceReader, Studio};
use imagine_store::{Archive, Millis, Store};
use tokio::sync::{Semaphore, watch};

use crate::config::Config;
use crate::error::{Code, Outcome, Problem};
use crate::http::auth::Caller;
use crate::http::rate::Rate;
use crate::http::signed_url::UrlSigner;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::webhook::Policy;
use crate::wire::model::{ModelCard, Style};

/// How much memory of a GPU is in use, in bytes, where that can be told.
pub type GpuMemory = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// Refuses a text.
pub type Check = Arc<dyn Fn(&str) -> Result<(), ExpandError> + Send + Sync>;

/// Refuse words that must not be drawn, whether they are expanded or not.
#[derive(Clone)]
pub struct Rules {
    pub prompt: Check,
    /// What may not be taken out of a picture: clothes, for one.
    pub negative_prompt: Check,
}

/// What the service is put together from.
#[derive(Clone)]
pub struct Parts {
    pub archive: Archive,
    /// Draws in this process; none where workers are elsewhere.
    pub studio: Option<Arc<dyn Studio>>,
    pub faces: Arc<dyn FaceReader>,
    pub expander: Option<Arc<dyn Expander>>,
    pub rules: Rules,
    pub models: Vec<ModelCard>,
    pub styles: Vec<Style>,
    pub gpu_memory: Option<GpuMemory>,
    /// Where numbers are written; [`crate::Logging`] has one.
    pub meter: Meter,
}

/// A handle to what is shared; cloning it is cheap.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub config: Config,
    pub parts: Parts,
    pub metrics: Metrics,
    pub rate: Rate,
    pub signer: UrlSigner,
    pub webhooks: Policy,
    /// Photos that are looked at now.
    pub photo_slots: Semaphore,
    /// Requests whose files are held in memory now.
    pub upload_slots: Semaphore,
    pub stage: watch::Receiver<Stage>,
    /// How many wait for a job's end or watch one.
    watchers: watch::Sender<usize>,
}

/// Somebody who waits for a job; no longer once it is dropped.
pub(crate) struct Watching(App);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.watchers.send_modify(|count| *count -= 1);
    }
}

/// How far the server's end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Open,
    /// No new work is begun; what is under way is finished, watched and read.
    Draining,
    /// Whoever waits for something is sent away.
    Closed,
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// At most so many requests with files are read at the same time: 16 of 5 photos of 25 MB are 2 GB.
const UPLOADS: usize = 16;

impl App {
    pub(crate) fn new(config: Config, parts: Parts, stage: watch::Receiver<Stage>) -> Self {
        let signer = UrlSigner::new(*parts.archive.vault.derive("signed links"));
        let policy = Policy { allow_private: config.webhooks.webhook_allow_private };
        Self(Arc::new(Shared {
            metrics: Metrics::new(&parts.meter),
            rate: Rate::new(config.limits.requests_per_minute),
            signer,
            webhooks: policy,
            photo_slots: Semaphore::new(config.limits.photo_reads.max(1)),
            upload_slots: Semaphore::new(UPLOADS),
            stage,
            watchers: watch::Sender::new(0),
            config,
            parts,
        }))
    }

    pub(crate) fn store(&self) -> &Store {
        &self.parts.archive.store
    }

    /// Whether requests need an API key.
    pub(crate) fn wants_keys(&self) -> bool {
        self.config.server.require_key || !self.config.server.listen.ip().is_loopback()
    }

    pub(crate) fn is_draining(&self) -> bool {
        *self.stage.borrow() != Stage::Open
    }

    /// When nothing more is waited for.
    pub(crate) async fn closed(&self) {
        // An error means that nobody is left who could say so.
        let _ = self.stage.clone().wait_for(|stage| *stage == Stage::Closed).await;
    }

    /// Counts whoever waits for a job, for as long as what is given is held.
    pub(crate) fn watching(&self) -> Watching {
        self.watchers.send_modify(|count| *count += 1);
        Watching(self.clone())
    }

    /// When nobody waits for a job.
    pub(crate) async fn unwatched(&self) {
        let _ = self.watchers.subscribe().wait_for(|count| *count == 0).await;
    }

    /// New work is not begun while the server shuts down.
    pub(crate) fn accepting(&self) -> Outcome<()> {
        if self.is_draining() {
            let detail = "the server is shutting down; try again in a moment";
            return Err(Problem::new(Code::Draining, detail).retry_after(10));
        }
        Ok(())
    }

    /// The model by this name, or the default one.
    pub(crate) fn model(&self, name: Option<&str>) -> Option<&ModelCard> {
        let models = &self.parts.models;
        match name {
            Some(name) => models.iter().find(|card| card.info.name == name),
            None => models.iter().find(|card| card.default).or_else(|| models.first()),
        }
    }

    /// A path as this caller may read it: signed where there are keys, since `<img>` sends none.
    pub(crate) fn link<'a>(&'a self, caller: &'a Caller) -> impl Fn(&str) -> String + 'a {
        move |path| match self.wants_keys() {
            true => self.signer.sign(path, &caller.tenant, now()),
            false => path.to_owned(),
        }
    }
}

/// Unix seconds.
pub(crate) fn now() -> u64 {
    u64::try_from(Millis::now().seconds()).unwrap_or(0)
}
