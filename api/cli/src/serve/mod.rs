//! `imagine serve` and `imagine worker`: the model, the store and the API put together.

mod archive;
mod args;
mod expander;
mod model;

use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use imagine_api::{Config, GpuMemory, Logging, Parts, WorkerProbe};
use imagine_contract::{Dialect, Expander, FaceReader, ModelInfo, Studio};
use imagine_pipeline::composite::all_but_faces;
use imagine_pipeline::device_memory::gpu_memory_in_use;
use imagine_store::{Archive, Keep};
use imagine_worker::{Worker, WorkerOptions};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;

pub use archive::{bucket, open as open_archive};
pub use args::ConfigArgs;

use crate::failure::Failure;
use crate::leave;
use model::Known;

/// How often old things are taken away.
const SWEEP: Duration = Duration::from_secs(600);

/// How long threads that cannot be stopped are waited for at the end.
const LAST_WORDS: Duration = Duration::from_secs(2);

const SERVE_EXAMPLES: &str = "\
Examples:
  imagine serve
  imagine serve --listen 127.0.0.1:0 --data-dir /tmp/imagine --model starter
  imagine serve --config /etc/imagine.toml
  imagine keys add laptop && imagine serve --listen 0.0.0.0:8790

Every setting is a flag, a variable IMAGINE_NAME, or a line of the file, in that order of weight. Secrets have no flag.
Ctrl-C ends it: what is being drawn is finished first, for half a minute at most; a second Ctrl-C does not wait.";

const WORKER_EXAMPLES: &str = "\
Examples:
  IMAGINE_DATABASE_URL=postgres://imagine@db/imagine imagine worker --blobs s3://pictures --master-key-file /etc/imagine.key
  imagine worker --data-dir /srv/imagine --model sd15-faceid

A worker takes jobs from the database of `imagine serve` and puts pictures where that one finds them: both need the same
database, place for pictures and master key.";

/// Runs everything on this machine: the page, the API, and the drawing
#[derive(Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct ServeArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// Draws jobs of a shared database; for machines beside the one that serves
#[derive(Debug, Args)]
#[command(after_help = WORKER_EXAMPLES)]
pub struct WorkerArgs {
    #[command(flatten)]
    config: ConfigArgs,
}

/// `imagine serve`.
pub fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let (config, logging) = configured(&args.config)?;
    run(async {
        let archive = open_archive(&config).await?;
        check_keys(&config, &archive).await?;
        // Before the model is loaded: a port that is taken is told at once.
        let listener = bound(config.server.listen).await?;
        let address = listener.local_addr().map_err(Failure::failed)?;
        let (studio, known) = match config.worker.work {
            true => studio(&config).await.map(|(studio, known)| (Some(studio), known))?,
            false => (None, blocking(&config, model::describe).await?),
        };
        let Known { faces, card } = known;
        let expander = expander(&config, &card.dialect).await?;
        let (styles, rules) = (expander::styles(&card.dialect)?, expander::rules()?);
        let worker = studio
            .as_ref()
            .map(|studio| worker(&config, &archive, Arc::clone(studio), &faces, expander.clone()));
        let gpu_memory = gpu_memory(&card.info);
        let models = vec![card];
        let meter = logging.meter();
        let parts = Parts { archive, studio, faces, expander, rules, models, styles, gpu_memory, meter };
        let stop = Stop::new()?;
        say(&format!("listening on http://{address}"))?;
        let (idle, drained) = tokio::sync::oneshot::channel::<()>();
        // An error says the same: nobody draws here any more.
        let drained = async move { drop(drained.await) };
        let served = async {
            let served = imagine_api::serve(listener, config, parts, stop.wait(), drained).await;
            let served = served.map_err(Failure::failed);
            // Also where it ended by itself.
            stop.now();
            served
        };
        let worked = async {
            if let Some(worker) = worker {
                worker.run(stop.wait()).await;
            }
            drop(idle);
        };
        tokio::join!(served, worked).0
    })
}

/// `imagine worker`.
pub fn work(args: &WorkerArgs) -> Result<(), Failure> {
    let (config, logging) = configured(&args.config)?;
    run(async {
        let archive = open_archive(&config).await?;
        // Before the model is loaded: a port that is taken is told at once.
        let listener = match config.worker.worker_listen {
            Some(address) => Some(bound(address).await?),
            None => None,
        };
        let (studio, known) = studio(&config).await?;
        let expander = expander(&config, &known.card.dialect).await?;
        let gpu_memory = gpu_memory(&known.card.info);
        let worker = worker(&config, &archive, Arc::clone(&studio), &known.faces, expander);
        let stop = Stop::new()?;
        let probe = WorkerProbe::new(archive, studio, gpu_memory, logging.meter());
        tokio::spawn(probe.clone().look());
        if let Some(listener) = listener {
            let address = listener.local_addr().map_err(Failure::failed)?;
            say(&format!("listening on http://{address}"))?;
            // It answers until the process ends, also while the last jobs are finished.
            tokio::spawn(probe.serve(listener, std::future::pending()));
        }
        say(&format!("working as {}", worker.options.name))?;
        let drained = worker.run(stop.wait()).await;
        if drained.released > 0 {
            tracing::info!(jobs = drained.released, "given back to other workers");
        }
        Ok(())
    })
}

async fn bound(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| Failure::failed(format!("{address}: {e}")))
}

/// The configuration, and what is to be held while the process works.
fn configured(args: &ConfigArgs) -> Result<(Config, Logging), Failure> {
    let config = args.config()?;
    let logging = imagine_api::logging(&config.log).map_err(Failure::input)?;
    Ok((config, logging))
}

/// A runtime for what the service and its commands do.
pub fn runtime() -> Result<Runtime, Failure> {
    Builder::new_multi_thread().enable_all().build().map_err(Failure::failed)
}

/// Runs to the end, and waits a moment for threads that cannot be stopped: a language model may be in the middle of
/// a sentence.
fn run(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = runtime()?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(LAST_WORDS);
    result
}

/// The model, loaded and ready to draw.
async fn studio(config: &Config) -> Result<(Arc<dyn Studio>, Known), Failure> {
    let (studio, known) = blocking(config, model::load).await?.studio(&config.model)?;
    Ok((Arc::new(studio), known))
}

async fn blocking<T: Send + 'static>(
    config: &Config,
    work: fn(&Config) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let config = config.clone();
    tokio::task::spawn_blocking(move || work(&config)).await.map_err(Failure::failed)?
}

async fn expander(config: &Config, dialect: &Dialect) -> Result<Option<Arc<dyn Expander>>, Failure> {
    let (settings, dialect) = (config.expand.clone(), dialect.clone());
    tokio::task::spawn_blocking(move || expander::open(&settings, &dialect)).await.map_err(Failure::failed)?
}

/// How much memory of the GPU is in use; none where a processor draws, or nothing is drawn here.
fn gpu_memory(info: &ModelInfo) -> Option<GpuMemory> {
    let index: usize = info.device.strip_prefix("cuda:")?.parse().ok()?;
    gpu_memory_in_use(index)?;
    Some(Arc::new(move || gpu_memory_in_use(index)))
}

/// Says so before the model is loaded; the API checks again.
async fn check_keys(config: &Config, archive: &Archive) -> Result<(), Failure> {
    let listen = config.server.listen;
    if listen.ip().is_loopback() && !config.server.require_key {
        return Ok(());
    }
    let keys = archive.store.keys(None).await.map_err(Failure::failed)?;
    match keys.iter().any(|key| key.revoked.is_none()) {
        true => Ok(()),
        false => Err(Failure::input(format!(
            "on {listen} nobody may connect without an API key, and there is none"
        ))
        .hint("`imagine keys add NAME` makes one")),
    }
}

fn worker(
    config: &Config,
    archive: &Archive,
    studio: Arc<dyn Studio>,
    faces: &Arc<dyn FaceReader>,
    expander: Option<Arc<dyn Expander>>,
) -> Worker {
    let settings = &config.worker;
    let usual = WorkerOptions::default();
    let hours = |count: u64| (count > 0).then(|| Duration::from_secs(count * 3600));
    let keep = Keep {
        jobs: hours(u64::from(config.keep.keep_jobs_days) * 24),
        handed_in: hours(config.keep.keep_one_shot_hours.into()),
    };
    // While some are drawn, others are got ready.
    let jobs = (2 * studio.load().most_rows).clamp(usual.jobs as usize, 64) as u32;
    let options = WorkerOptions {
        name: settings.worker_name.clone().unwrap_or(usual.name),
        jobs,
        renew_every: Duration::from_secs((settings.lease_seconds / 3).max(1)),
        drain: Duration::from_secs(config.server.shutdown_seconds.saturating_sub(5).max(1)),
        sweep: Some((SWEEP, keep)),
        face_mask: Some(all_but_faces),
        ..usual
    };
    Worker { archive: archive.clone(), studio, faces: Some(Arc::clone(faces)), expander, options }
}

/// A line on stdout, at once.
fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(|e| Failure::failed(format!("stdout: {e}")))
}

/// The end, by a signal or from within.
struct Stop(watch::Sender<bool>);

impl Stop {
    /// Listens for Ctrl-C and SIGTERM from now on; the second ends the program at once.
    fn new() -> Result<Self, Failure> {
        let (sender, _) = watch::channel(false);
        let mut signals = Signals::new().map_err(|e| Failure::failed(format!("signals: {e}")))?;
        let told = sender.clone();
        tokio::spawn(async move {
            signals.next().await;
            tracing::info!("ending: what is being drawn is finished first");
            told.send_replace(true);
            signals.next().await;
            leave::at_once(1);
        });
        Ok(Self(sender))
    }

    fn now(&self) {
        self.0.send_replace(true);
    }

    fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut receiver = self.0.subscribe();
        async move {
            // An error means that nobody is left who could say so.
            let _ = receiver.wait_for(|ended| *ended).await;
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without it the program ends by the system's own rules.
        let _ = tokio::signal::ctrl_c().await;
    }
}
