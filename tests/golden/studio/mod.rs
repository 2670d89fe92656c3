//! Many orders at once: each picture is the one that its order alone would have given, and no order harms
//! another.

mod alike;
mod failures;
mod order_of_work;
mod previews;

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use imagine_contract::{
    CancelFlag, EngineError, Event, GenerateRequest, Identity, Order, OrderEvent, Picture, RgbPixels, Studio,
};
use imagine_pipeline::{BatchStudio, StableDiffusion, StudioOptions};
use imagine_tests::{Golden, dtype, fixtures};

use crate::picture_runs;

/// Cells of the fixture's usual picture, 32² pixels at 4 a cell.
const PICTURE: i64 = 64;

fn model() -> StableDiffusion {
    let adapter = fixtures("pipeline").join("adapter.safetensors");
    picture_runs::load(fixtures("pipeline").join("checkpoint"), Some(&adapter), dtype())
}

/// The fixture's person, as strong as said.
fn person(scale: f64) -> Identity {
    let embedding = Golden::read("pipeline", "pictures.safetensors").get("embedding");
    Identity::of_embedding(Vec::try_from(embedding.flatten(0, -1)).expect("f32 numbers"), scale)
}

fn request(prompt: &str, seed: u64, steps: u32) -> GenerateRequest {
    GenerateRequest {
        steps: Some(steps),
        scheduler: Some("ddim".into()),
        ..GenerateRequest::new(prompt, seed)
    }
}

/// A studio whose first call of the U-Net waits for [`Held::open`], so that a test knows what has arrived by then.
struct Held {
    studio: BatchStudio,
    gate: Sender<()>,
    /// Pictures in each call so far.
    calls: Arc<Mutex<Vec<usize>>>,
}

impl Held {
    fn new(model: StableDiffusion, pictures: i64) -> Self {
        Self::with(
            model,
            StudioOptions { cells: Some(pictures * PICTURE), ..StudioOptions::default() },
            |_| (),
        )
    }

    /// `before` is called with all calls so far, the one that is about to be made last; it may panic.
    fn with(
        model: StableDiffusion,
        options: StudioOptions,
        before: impl Fn(&[usize]) + Send + 'static,
    ) -> Self {
        let (gate, opened) = mpsc::channel();
        let calls = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&calls);
        let observer = move |pictures| {
            let so_far = {
                let mut log = log.lock().expect("no panic while it is held");
                log.push(pictures);
                log.clone()
            };
            if so_far.len() == 1 {
                opened.recv().expect("the test opens the gate");
            }
            before(&so_far);
        };
        let options = StudioOptions { observer: Some(Box::new(observer)), ..options };
        let studio = BatchStudio::open(model, options).expect("a thread");
        Self { studio, gate, calls }
    }

    fn open(&self) {
        self.gate.send(()).expect("the studio waits");
    }

    /// Waits until the first call is being made.
    fn wait_for_first_call(&self) {
        while self.calls.lock().expect("no panic while it is held").is_empty() {
            std::thread::yield_now();
        }
    }

    fn calls(&self) -> Vec<usize> {
        self.calls.lock().expect("no panic while it is held").clone()
    }

    fn submit(&self, order: &GenerateRequest) -> Ticket {
        submit(&self.studio, order, "somebody", None)
    }
}

/// An order as its customer sees it.
struct Ticket {
    events: Receiver<OrderEvent>,
    cancel: CancelFlag,
}

/// All that became of an order.
#[derive(Default)]
struct Outcome {
    pictures: Vec<Picture>,
    previews: Vec<(u32, u32, RgbPixels)>,
    /// Evaluations done, after each step.
    progress: Vec<u32>,
    failed: Option<EngineError>,
    done: bool,
}

fn submit(studio: &BatchStudio, request: &GenerateRequest, owner: &str, previews: Option<u32>) -> Ticket {
    let (sender, events) = mpsc::channel();
    let cancel = CancelFlag::default();
    let order = Order {
        request: request.clone(),
        owner: owner.into(),
        previews_every: previews,
        cancel: cancel.clone(),
        // A test that has failed does not listen any more.
        events: Box::new(move |event| drop(sender.send(event))),
    };
    studio.submit(order).unwrap_or_else(|e| panic!("{e}"));
    Ticket { events, cancel }
}

impl Ticket {
    /// Everything up to the end.
    fn wait(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for event in &self.events {
            match event {
                OrderEvent::Happened(Event::Finished { index, picture, .. }) => {
                    assert_eq!(index as usize, outcome.pictures.len(), "pictures come in order");
                    outcome.pictures.push(picture);
                }
                OrderEvent::Happened(Event::Progress { done, .. }) => outcome.progress.push(done),
                OrderEvent::Happened(Event::Started { .. }) => {}
                OrderEvent::Preview { index, step, pixels } => outcome.previews.push((index, step, pixels)),
                OrderEvent::Failed(error) => outcome.failed = Some(error),
                OrderEvent::Done => outcome.done = true,
            }
        }
        assert!(outcome.done != outcome.failed.is_some(), "an order ends once");
        outcome
    }

    fn pictures(&self) -> Vec<Picture> {
        let outcome = self.wait();
        assert!(outcome.done, "{:?}", outcome.failed);
        outcome.pictures
    }
}

fn assert_same(name: &str, together: &[Picture], alone: &[Picture]) {
    assert_eq!(together.len(), alone.len(), "{name}");
    for (i, (a, b)) in together.iter().zip(alone).enumerate() {
        assert_eq!((a.seed, a.pixels.width, a.pixels.height), (b.seed, b.pixels.width, b.pixels.height));
        // Sums over a batch may be rounded in another order.
        assert_eq!(picture_runs::apart(&a.pixels.rgb, &b.pixels.rgb), None, "{name}, picture {i}");
    }
}
