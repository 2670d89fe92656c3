//! Where pictures are drawn: those of all orders step by step together, joining and leaving between steps.
//!
//! One picture is a row. In a turn the rows that have waited longest go one step, with all others of the
//! same shape, in one call of the U-Net; then finished ones are decoded for about as long as the step took,
//! so that neither keeps the other waiting.

use std::any::Any;
use std::collections::{BTreeMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use imagine_contract::{CancelFlag, EngineError, Event, GenerateRequest, OrderEvent, Picture, RgbPixels};
use tch::{Device, Tensor};

use super::order::Work;
use super::queue::{FairQueue, OrderId};
use crate::decode::{self, PreviewDecoder};
use crate::denoise::{Joined, Networks};
use crate::device::wait_for;
use crate::error::PipelineError;
use crate::identity::IdentityModel;
use crate::model::StableDiffusion;
use crate::row::Row;

/// Latent cells that are denoised together: 16 pictures of 128² with the usual autoencoder, one of 512².
/// Beyond that, memory grows and a CPU gains nothing.
const CELLS_ON_CPU: i64 = 64 * 64;

/// An accelerator is idle with less.
const CELLS_ON_ACCELERATOR: i64 = 8 * 64 * 64;

/// Latent cells that are denoised together where nobody says otherwise.
pub fn usual_cells(device: Device) -> i64 {
    if device == Device::Cpu { CELLS_ON_CPU } else { CELLS_ON_ACCELERATOR }
}

/// Called before every call of the U-Net with the number of pictures in it. If it panics, the call has.
pub type Observer = Box<dyn FnMut(usize) + Send>;

/// Hears what becomes of an order.
pub type Tell<'a> = dyn FnMut(OrderId, OrderEvent) + 'a;

/// A request as the floor takes it.
pub struct Task {
    pub request: GenerateRequest,
    pub owner: String,
    pub previews_every: Option<u32>,
    pub cancel: CancelFlag,
}

/// A picture being drawn.
struct Drawing {
    order: OrderId,
    index: u32,
    seed: u64,
    row: Row,
    /// Its share of the time.
    time: Duration,
    /// The turn in which it went a step last.
    stepped: u64,
}

/// All orders of one model, and their pictures.
pub struct Floor<'m> {
    model: &'m StableDiffusion,
    cells: i64,
    observer: Option<Observer>,
    /// Networks that rest give their memory back.
    frugal: bool,
    orders: BTreeMap<OrderId, Work>,
    /// Orders with pictures to begin.
    queue: FairQueue,
    drawing: Vec<Drawing>,
    /// To be decoded.
    drawn: VecDeque<Drawing>,
    joined: Option<Joined>,
    previews: Option<PreviewDecoder>,
    /// Pictures in one call at most, since memory ran out.
    limit: Option<usize>,
    lost: Option<String>,
    turns: u64,
    orders_taken: OrderId,
}

impl<'m> Floor<'m> {
    /// `cells`: latent cells that are denoised together, but one picture at least.
    pub fn new(model: &'m StableDiffusion, cells: i64, observer: Option<Observer>) -> Self {
        Self {
            model,
            cells,
            observer,
            frugal: false,
            orders: BTreeMap::new(),
            queue: FairQueue::default(),
            drawing: Vec::new(),
            drawn: VecDeque::new(),
            joined: None,
            previews: None,
            limit: None,
            lost: None,
            turns: 0,
            orders_taken: 0,
        }
    }

    /// Whichever network rests gives its mapped pages back, for less memory at once: right where orders come one
    /// by one, while many would have them read again and again.
    pub fn frugal(self) -> Self {
        Self { frugal: true, ..self }
    }

    /// Takes an order; what becomes of it is told in [`Floor::turn`].
    pub fn add(&mut self, task: Task) -> OrderId {
        self.orders_taken += 1;
        let id = self.orders_taken;
        self.queue.push(&task.owner, id);
        self.orders.insert(id, Work::new(task));
        id
    }

    pub fn is_idle(&self) -> bool {
        self.orders.is_empty()
    }

    /// Orders of which no picture has been begun.
    pub fn waiting(&self) -> usize {
        self.orders.values().filter(|work| !work.is_begun()).count()
    }

    /// Pictures that are being drawn.
    pub fn rows(&self) -> usize {
        self.drawing.len() + self.drawn.len()
    }

    /// What went wrong, if the device cannot be used any more.
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// A turn: pictures leave and join, then those that have waited longest go one step.
    pub fn turn(&mut self, tell: &mut Tell) {
        self.change(tell);
        self.go_on(tell);
    }

    /// The first half of a turn: canceled orders leave, waiting pictures join.
    pub fn change(&mut self, tell: &mut Tell) {
        self.drop_canceled(tell);
        self.admit(tell);
    }

    /// The second half of a turn: a step, and finished pictures are decoded.
    pub fn go_on(&mut self, tell: &mut Tell) {
        self.turns += 1;
        let started = Instant::now();
        self.step(tell);
        self.decode(started.elapsed(), tell);
        if self.is_idle() {
            (self.joined, self.limit) = (None, None);
        }
    }

    /// Ends an order without its pictures.
    pub fn fail(&mut self, order: OrderId, error: EngineError, tell: &mut Tell) {
        self.queue.remove(order);
        self.drawing.retain(|drawing| drawing.order != order);
        self.drawn.retain(|drawing| drawing.order != order);
        if self.orders.remove(&order).is_some() {
            tell(order, OrderEvent::Failed(error));
        }
    }

    /// Ends all orders.
    pub fn fail_all(&mut self, reason: &str, tell: &mut Tell) {
        for order in self.orders.keys().copied().collect::<Vec<_>>() {
            self.fail(order, EngineError::Failed(reason.into()), tell);
        }
    }

    fn drop_canceled(&mut self, tell: &mut Tell) {
        let canceled = self.orders.iter().filter(|(_, work)| work.is_canceled()).map(|(&id, _)| id);
        for order in canceled.collect::<Vec<_>>() {
            self.fail(order, EngineError::Canceled, tell);
        }
    }

    /// Begins pictures while there is room, an owner at a time.
    fn admit(&mut self, tell: &mut Tell) {
        while let Some(order) = self.queue.next() {
            match self.begin(order, tell) {
                Ok(true) => self.queue.served(),
                Ok(false) => break,
                Err(error) => {
                    self.fail(order, self.model.explain(error).into(), tell);
                    continue;
                }
            }
            if self.orders.get(&order).is_none_or(Work::is_all_begun) {
                self.queue.remove(order);
            }
        }
    }

    /// Begins an order's next picture, if there is room.
    fn begin(&mut self, order: OrderId, tell: &mut Tell) -> Result<bool, PipelineError> {
        let model = self.model;
        let Some(work) = self.orders.get_mut(&order) else { return Ok(false) };
        if !work.is_prepared() {
            // Nothing is kept ready for pictures that are not drawn yet: conditions take memory, too.
            let cells = guarded(|| work.plan(model))?;
            if !has_room(cells, self.cells, &self.drawing, &self.drawn) {
                return Ok(false);
            }
            let started = guarded(|| work.prepare(model))?;
            if self.frugal {
                model.release_encoders();
            }
            tell(order, OrderEvent::Happened(started));
        }
        if !has_room(work.cells(), self.cells, &self.drawing, &self.drawn) {
            return Ok(false);
        }
        let (index, seed, row) = guarded(|| work.begin(model))?;
        let drawing = Drawing { order, index, seed, row, time: Duration::ZERO, stepped: 0 };
        self.drawing.push(drawing);
        Ok(true)
    }

    /// One step of the pictures that have waited longest and all that can go with them.
    fn step(&mut self, tell: &mut Tell) {
        let Some(longest) = self.drawing.iter().min_by_key(|drawing| drawing.stepped) else { return };
        let shape = longest.row.shape();
        let mut together: Vec<usize> =
            (0..self.drawing.len()).filter(|&at| self.drawing[at].row.shape() == shape).collect();
        if let Some(limit) = self.limit {
            together.sort_by_key(|&at| self.drawing[at].stepped);
            together.truncate(limit);
            together.sort_unstable();
        }
        let mut taken = BTreeMap::new();
        let mut failed: BTreeMap<OrderId, PipelineError> = BTreeMap::new();
        let mut calls = VecDeque::from([together]);
        while let Some(mut call) = calls.pop_front() {
            call.retain(|&at| !failed.contains_key(&self.drawing[at].order));
            if call.is_empty() {
                continue;
            }
            match self.call(&call) {
                Ok(outputs) => {
                    for (&at, output) in call.iter().zip(&outputs) {
                        let order = self.drawing[at].order;
                        match self.advance(at, output, tell) {
                            Ok(()) => *taken.entry(order).or_insert(0) += 1,
                            Err(error) => drop(failed.insert(order, error)),
                        }
                    }
                }
                Err(error) if error.is_lost_device() => {
                    tracing::error!("the device is lost: {error}");
                    self.lost = Some(error.to_string());
                    let reason = format!("the device is lost: {error}");
                    return self.fail_all(&reason, tell);
                }
                Err(error) if call.len() > 1 => {
                    if error.is_out_of_memory() {
                        tracing::warn!(
                            "memory ran out with {} pictures at once: half as many now",
                            call.len()
                        );
                        self.limit = Some(call.len() / 2);
                    }
                    // Whoever is at fault will fail alone.
                    let rest = call.split_off(call.len().div_ceil(2));
                    calls.push_front(rest);
                    calls.push_front(call);
                }
                Err(error) => {
                    let order = call.first().map(|&at| self.drawing[at].order);
                    failed.extend(order.map(|order| (order, error)));
                }
            }
        }
        for (order, error) in failed {
            let error = self.model.explain(error);
            tracing::error!("an order failed: {error}");
            taken.remove(&order);
            self.fail(order, error.into(), tell);
        }
        for (order, steps) in taken {
            if let Some(work) = self.orders.get_mut(&order) {
                tell(order, OrderEvent::Happened(work.stepped(steps)));
            }
        }
        let (done, drawing) = std::mem::take(&mut self.drawing).into_iter().partition(|d| d.row.is_done());
        let done: Vec<Drawing> = done;
        self.drawing = drawing;
        self.drawn.extend(done);
    }

    /// One call of the networks, for these of [`Floor::drawing`]: the guided output for each.
    fn call(&mut self, call: &[usize]) -> Result<Vec<Tensor>, PipelineError> {
        let model = self.model;
        let networks = Networks {
            unet: &model.unet,
            identity_net: model.identity.as_ref().and_then(IdentityModel::identity_net),
        };
        let rows: Vec<&Row> = call.iter().map(|&at| &self.drawing[at].row).collect();
        let (joined, observer) = (&mut self.joined, &mut self.observer);
        let started = Instant::now();
        let outputs = guarded(|| {
            if let Some(observer) = observer {
                observer(rows.len());
            }
            let outputs = networks.predict(&rows, joined)?;
            wait_for(model.device);
            Ok(outputs)
        })?;
        let share = started.elapsed() / call.len().max(1) as u32;
        for &at in call {
            self.drawing[at].time += share;
        }
        Ok(outputs)
    }

    /// The sampler's part of a step, and a preview where one is due.
    fn advance(&mut self, at: usize, output: &Tensor, tell: &mut Tell) -> Result<(), PipelineError> {
        let Some(drawing) = self.drawing.get_mut(at) else { return Ok(()) };
        let every = self.orders.get(&drawing.order).and_then(Work::previews_every);
        let due = every.is_some_and(|every| (drawing.row.done() + 1).is_multiple_of(every));
        let estimate = if due { Some(guarded(|| drawing.row.estimate(output))?) } else { None };
        guarded(|| drawing.row.advance(output))?;
        drawing.stepped = self.turns;
        // The whole picture follows at once after the last step.
        if let Some(estimate) = estimate.filter(|_| !drawing.row.is_done()) {
            let pixels = preview(self.model, &mut self.previews, &estimate)?;
            let step = drawing.row.done() as u32;
            tell(drawing.order, OrderEvent::Preview { index: drawing.index, step, pixels });
        }
        Ok(())
    }

    /// Decodes finished pictures: one at least, others while it takes no longer than `allowed`.
    fn decode(&mut self, allowed: Duration, tell: &mut Tell) {
        let started = Instant::now();
        if self.frugal && !self.drawn.is_empty() {
            self.model.pages.unet.release();
        }
        while let Some(Drawing { order, index, seed, row, time, .. }) = self.drawn.pop_front() {
            let Some(work) = self.orders.get_mut(&order).filter(|work| !work.is_canceled()) else { continue };
            let decoding = Instant::now();
            let pixels = guarded(|| {
                let mut pixels = decode::decode(&self.model.vae, row.latents())?;
                work.finish(&mut pixels);
                Ok(pixels)
            });
            match pixels {
                Err(error) => {
                    let error = self.model.explain(error);
                    tracing::error!("an order failed: {error}");
                    self.fail(order, error.into(), tell);
                }
                Ok(pixels) => {
                    let seconds = (time + decoding.elapsed()).as_secs_f64();
                    let picture = Picture { pixels, seed };
                    tell(order, OrderEvent::Happened(Event::Finished { index, seconds, picture }));
                    if work.is_finished() {
                        self.orders.remove(&order);
                        tell(order, OrderEvent::Done);
                    }
                }
            }
            if started.elapsed() >= allowed {
                break;
            }
        }
        if self.frugal && self.drawn.is_empty() {
            self.model.pages.vae.release();
        }
    }
}

/// Whether one more picture of so many cells fits beside those that are drawn and those that wait for the
/// autoencoder. Either has room for one at least.
fn has_room(cells: i64, room: i64, drawing: &[Drawing], drawn: &VecDeque<Drawing>) -> bool {
    let taken = |drawing: &Drawing| drawing.row.shape()[1..].iter().product::<i64>();
    let fits = |taken: i64| taken == 0 || taken + cells <= room;
    fits(drawing.iter().map(taken).sum()) && fits(drawn.iter().map(taken).sum())
}

fn preview(
    model: &StableDiffusion,
    decoder: &mut Option<PreviewDecoder>,
    latents: &Tensor,
) -> Result<RgbPixels, PipelineError> {
    guarded(|| {
        let decoder = match decoder.take() {
            Some(known) => decoder.insert(known),
            None => decoder.insert(PreviewDecoder::new(&model.vae, model.device)?),
        };
        decoder.preview(&model.vae, latents)
    })
}

/// Tensor operations panic where their errors have no way out: a panic is one more error here.
fn guarded<T>(work: impl FnOnce() -> Result<T, PipelineError>) -> Result<T, PipelineError> {
    // What a panic leaves half done is dropped with the order, or made anew.
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|panic| Err(PipelineError::Panicked(text_of(&*panic))))
}

/// What a panic said.
pub fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}
