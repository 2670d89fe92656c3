//! A model that many draw with at once: one thread that owns the device, orders in by a bounded queue,
//! events out, and continuous batching between (as language models are served: Yu et al., "Orca", OSDI 2022).

pub(crate) mod floor;
mod order;
mod queue;

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use imagine_contract::{EngineError, Load, ModelInfo, Order, OrderEvent, Studio, SubmitError};

use crate::model::StableDiffusion;
use crate::plan::{Plan, Refusal};
use crate::schedulers::SchedulerChoice;
use floor::{Floor, Observer, Task, text_of, usual_cells};
use queue::OrderId;

/// How a studio works.
pub struct StudioOptions {
    /// Orders that may wait.
    pub queue: usize,
    /// Latent cells that are denoised together, but one picture at least; by the device if left out. 4,096
    /// are one picture of 512² or 16 of 128² with the usual autoencoder.
    pub cells: Option<i64>,
    /// Called on the studio's thread before every call of the U-Net with the number of pictures in it, for
    /// metrics and tests. If it panics, the call has.
    pub observer: Option<Observer>,
}

impl Default for StudioOptions {
    fn default() -> Self {
        Self { queue: 64, cells: None, observer: None }
    }
}

/// A [`Studio`] over one model on one device.
///
/// Dropping it ends all orders after the step that is being taken, and waits for that.
pub struct BatchStudio {
    info: ModelInfo,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    bell: Condvar,
    queue: usize,
    most_rows: usize,
}

#[derive(Default)]
struct State {
    inbox: VecDeque<Order>,
    /// Orders that the thread has taken and of which no picture is begun.
    waiting: usize,
    rows: usize,
    closing: Option<Closing>,
    /// What went wrong, if only a restart mends it.
    broken: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Closing {
    /// Draws what it has taken.
    WhenDone,
    Now,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs while it is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, floor: &Floor) {
        let mut state = self.lock();
        (state.waiting, state.rows) = (floor.waiting(), floor.rows());
    }

    fn close(&self, how: Closing) {
        let mut state = self.lock();
        if state.closing != Some(Closing::Now) {
            state.closing = Some(how);
        }
        drop(state);
        self.bell.notify_all();
    }
}

impl BatchStudio {
    /// Opens a studio over a loaded model.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn open(model: StableDiffusion, options: StudioOptions) -> std::io::Result<Self> {
        let info = model.info.clone();
        let StudioOptions { queue, cells, observer } = options;
        let cells = cells.unwrap_or_else(|| usual_cells(model.device));
        let side = |pixels: u32| i64::from(pixels / info.side_multiple).max(1);
        let most_rows = (cells / (side(info.width) * side(info.height))).max(1) as usize;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            bell: Condvar::new(),
            queue: queue.max(1),
            most_rows,
        });
        let theirs = Arc::clone(&shared);
        let run = move || work(&model, cells, observer, &theirs);
        let thread = std::thread::Builder::new().name(format!("studio {}", info.device)).spawn(run)?;
        Ok(Self { info, shared, thread: Some(thread) })
    }

    /// Takes no more orders; those that were taken are drawn. Does not wait.
    pub fn close(&self) {
        self.shared.close(Closing::WhenDone);
    }

    /// Takes no more orders and ends those that were taken, after the step that is being taken. Does not
    /// wait.
    pub fn stop(&self) {
        self.shared.close(Closing::Now);
    }

    /// Waits until everything is drawn that was taken.
    pub fn finish(mut self) {
        self.close();
        self.join();
    }

    fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // `work` catches panics; one that gets out has been printed.
            let _ = thread.join();
        }
    }
}

impl Drop for BatchStudio {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.stop();
            self.join();
        }
    }
}

impl Studio for BatchStudio {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn submit(&self, order: Order) -> Result<(), SubmitError> {
        Plan::new(&order.request, &self.info).map_err(|refusal| match refusal {
            Refusal::Request(error) => SubmitError::Request(error),
            Refusal::Unsupported(reason) => SubmitError::Unsupported(reason),
        })?;
        if let Some(name) = &order.request.scheduler {
            name.parse::<SchedulerChoice>().map_err(|e| SubmitError::Unsupported(e.to_string()))?;
        }
        let mut state = self.shared.lock();
        if let Some(reason) = &state.broken {
            return Err(SubmitError::Closed(reason.clone()));
        }
        if state.closing.is_some() {
            return Err(SubmitError::Closed("it is closing".into()));
        }
        let queued = state.inbox.len() + state.waiting;
        if queued >= self.shared.queue {
            return Err(SubmitError::Full { queued });
        }
        state.inbox.push_back(order);
        drop(state);
        self.shared.bell.notify_all();
        Ok(())
    }

    fn load(&self) -> Load {
        let state = self.shared.lock();
        Load {
            queued: state.inbox.len() + state.waiting,
            rows: state.rows,
            most_rows: self.shared.most_rows,
            healthy: state.broken.is_none(),
        }
    }
}

type Listener = Box<dyn FnMut(OrderEvent) + Send>;

/// Who hears of which order.
#[derive(Default)]
struct Listeners(HashMap<OrderId, Listener>);

impl Listeners {
    fn tell(&mut self, order: OrderId, event: OrderEvent) {
        let last = matches!(event, OrderEvent::Done | OrderEvent::Failed(_));
        if let Some(listener) = self.0.get_mut(&order) {
            // A listener that panics harms nobody else; its order goes on unheard.
            if catch_unwind(AssertUnwindSafe(|| listener(event))).is_err() || last {
                self.0.remove(&order);
            }
        }
    }
}

/// The studio's thread.
fn work(model: &StableDiffusion, cells: i64, observer: Option<Observer>, shared: &Shared) {
    let _no_grad = tch::no_grad_guard();
    let mut listeners = Listeners::default();
    let worked = catch_unwind(AssertUnwindSafe(|| serve(model, cells, observer, shared, &mut listeners)));
    // Nobody is left waiting, whatever ended the work.
    let broken = worked.unwrap_or_else(|panic| Some(text_of(&*panic)));
    let mut state = shared.lock();
    state.closing = Some(Closing::Now);
    (state.waiting, state.rows) = (0, 0);
    let left = std::mem::take(&mut state.inbox);
    state.broken = broken;
    let reason = state.broken.clone().unwrap_or_else(|| CLOSING.into());
    drop(state);
    for (_, mut listener) in listeners.0.drain() {
        let _ = catch_unwind(AssertUnwindSafe(|| listener(failed(&reason))));
    }
    for mut order in left {
        let _ = catch_unwind(AssertUnwindSafe(|| (order.events)(failed(&reason))));
    }
}

const CLOSING: &str = "the studio is closing";

fn failed(reason: &str) -> OrderEvent {
    OrderEvent::Failed(EngineError::Failed(reason.into()))
}

/// Draws until the studio is closed, or until the device is lost: then with the reason.
fn serve(
    model: &StableDiffusion,
    cells: i64,
    observer: Option<Observer>,
    shared: &Shared,
    listeners: &mut Listeners,
) -> Option<String> {
    let mut floor = Floor::new(model, cells, observer);
    loop {
        let mut state = shared.lock();
        while state.inbox.is_empty() && state.closing.is_none() && floor.is_idle() {
            state = shared.bell.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let closing = state.closing;
        if closing == Some(Closing::Now) {
            drop(state);
            floor.fail_all(CLOSING, &mut |order, event| listeners.tell(order, event));
            return None;
        }
        let taken = std::mem::take(&mut state.inbox);
        // Still counted as waiting until the floor's own count replaces this.
        state.waiting += taken.len();
        drop(state);
        for Order { request, owner, previews_every, cancel, events } in taken {
            let order = floor.add(Task { request, owner, previews_every, cancel });
            listeners.0.insert(order, events);
        }
        if floor.is_idle() && closing.is_some() {
            return None;
        }
        floor.change(&mut |order, event| listeners.tell(order, event));
        shared.count(&floor);
        floor.go_on(&mut |order, event| listeners.tell(order, event));
        shared.count(&floor);
        if let Some(lost) = floor.lost() {
            return Some(lost.to_string());
        }
    }
}
