use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use imagine_contract::CancelFlag;
use imagine_store::{Lease, Notice, Store, StoreError};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Holds one lease from a task of its own, which waits on nothing but the database, and hears of cancels.
pub struct Keeper {
    task: JoinHandle<()>,
    lost: Arc<AtomicBool>,
}

impl Keeper {
    /// `cancel` is set when the job is to stop, or when the lease is lost.
    pub fn new(store: Store, lease: Lease, every: Duration, cancel: CancelFlag) -> Self {
        let lost = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(keep(store, lease, every, cancel, Arc::clone(&lost)));
        Self { task, lost }
    }

    /// The job is another's, or gone: nothing may be written any more.
    pub fn is_lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn keep(store: Store, lease: Lease, every: Duration, cancel: CancelFlag, lost: Arc<AtomicBool>) {
    let mut notices = store.notices();
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = told_to_stop(&mut notices, &lease) => {}
        }
        // A renewal that hangs must not keep the next one from being tried.
        match timeout(every, store.renew(&lease)).await {
            Ok(Ok(renewal)) if renewal.cancel_requested => cancel.cancel(),
            Ok(Ok(_)) => {}
            Ok(Err(StoreError::LeaseLost(_))) => {
                lost.store(true, Ordering::Relaxed);
                cancel.cancel();
                return;
            }
            Ok(Err(error)) => tracing::warn!(job = %lease.job, %error, "a lease could not be renewed"),
            Err(_) => tracing::warn!(job = %lease.job, "a lease could not be renewed in time"),
        }
    }
}

async fn told_to_stop(notices: &mut tokio::sync::broadcast::Receiver<Notice>, lease: &Lease) {
    loop {
        match notices.recv().await {
            Ok(Notice::Cancel { job }) if job == lease.job => return,
            Ok(Notice::Resync) | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => std::future::pending().await,
        }
    }
}
