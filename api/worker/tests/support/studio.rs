//! A studio that draws plain colours, one order a thread.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use imagine_contract::{
    CardChanges, CardRefused, EngineError, Event, FaceData, FaceReader, GenerateRequest, IdentityNeeds, Load,
    ModelInfo, Order, OrderEvent, PhotoReading, PhotoRefused, Picture, Reference, RgbPixels, Studio,
    SubmitError,
};

pub struct Painter {
    pub info: ModelInfo,
    pub step: Duration,
    /// Orders that are taken at the same time.
    pub room: usize,
    pub fail: Option<fn(String) -> EngineError>,
    /// Told of every order: a line with the prompt.
    pub diary: Option<PathBuf>,
    pub orders: Arc<Mutex<Vec<GenerateRequest>>>,
    pub busy: Arc<Mutex<usize>>,
}

pub const STEPS: u32 = 4;

impl Painter {
    pub fn new(step: Duration) -> Self {
        let identity = IdentityNeeds {
            kind: "faceid".into(),
            embedding_width: Some(128),
            raw_embedding: false,
            face_side: Some(224),
            key_points: false,
            regions: true,
            groups: vec!["traits".into()],
            trigger_word: None,
        };
        let info = ModelInfo {
            name: "starter".into(),
            width: 64,
            height: 48,
            width_per_person: 0,
            steps: STEPS,
            guidance_scale: 5.0,
            scheduler: "ddim".into(),
            side_multiple: 8,
            identity: Some(identity),
            inpainting: false,
            device: "cpu".into(),
            dtype: "f32".into(),
        };
        Self { info, step, room: 100, fail: None, diary: None, orders: Arc::default(), busy: Arc::default() }
    }
}

/// The colour of a seed.
pub fn colour(seed: u64) -> [u8; 3] {
    [(seed % 251) as u8, (seed / 3 % 241) as u8, 200]
}

impl Studio for Painter {
    fn info(&self) -> &ModelInfo {
        &self.info
    }

    fn submit(&self, mut order: Order) -> Result<(), SubmitError> {
        let mut busy = self.busy.lock().unwrap();
        if *busy >= self.room {
            return Err(SubmitError::Full { queued: *busy });
        }
        *busy += 1;
        if let Some(diary) = &self.diary {
            let mut file = std::fs::OpenOptions::new().append(true).create(true).open(diary).unwrap();
            file.write_all(format!("{}\n", order.request.prompt).as_bytes()).unwrap();
        }
        self.orders.lock().unwrap().push(order.request.clone());
        let (step, fail, busy) = (self.step, self.fail, Arc::clone(&self.busy));
        let (width, height) = (order.request.width.unwrap_or(64), order.request.height.unwrap_or(48));
        std::thread::spawn(move || {
            let end = paint(&mut order, step, fail, width, height);
            *busy.lock().unwrap() -= 1;
            (order.events)(end);
        });
        Ok(())
    }

    fn load(&self) -> Load {
        Load { queued: 0, rows: *self.busy.lock().unwrap(), most_rows: self.room, healthy: true }
    }
}

fn paint(
    order: &mut Order,
    step: Duration,
    fail: Option<fn(String) -> EngineError>,
    width: u32,
    height: u32,
) -> OrderEvent {
    let count = order.request.count;
    let evaluations = STEPS * count;
    let started = Event::Started { steps: STEPS, evaluations, ignored_words: None };
    (order.events)(OrderEvent::Happened(started));
    let mut done = 0;
    for index in 0..count {
        let seed = order.request.seed + u64::from(index);
        let rgb = colour(seed).repeat((width * height) as usize);
        let pixels = RgbPixels { width, height, rgb };
        for step_number in 1..=STEPS {
            std::thread::sleep(step);
            if order.cancel.is_canceled() {
                return OrderEvent::Failed(EngineError::Canceled);
            }
            done += 1;
            (order.events)(OrderEvent::Happened(Event::Progress { done, evaluations }));
            if order.previews_every.is_some_and(|every| step_number % every == 0) {
                (order.events)(OrderEvent::Preview { index, step: step_number, pixels: pixels.clone() });
            }
        }
        if let Some(error) = fail {
            return OrderEvent::Failed(error("out of colours".into()));
        }
        let picture = Picture { pixels, seed };
        (order.events)(OrderEvent::Happened(Event::Finished { index, seconds: 0.1, picture }));
    }
    OrderEvent::Done
}

/// Sees the first number of a person's embedding in every picture.
pub struct Eyes;

impl FaceReader for Eyes {
    fn encoder(&self) -> &str {
        "sface"
    }

    fn same_person(&self) -> f32 {
        0.4
    }

    fn read(&self, _photo: &[u8], _face: Option<usize>) -> Result<PhotoReading, PhotoRefused> {
        Err(PhotoRefused { code: "damaged".into(), message: "these eyes read no photos".into() })
    }

    fn likeness(&self, person: &[Reference], _picture: &RgbPixels) -> Option<f32> {
        person.first().and_then(|reference| reference.embedding.first().copied())
    }

    fn makes_cards(&self) -> bool {
        true
    }

    /// Who says that they wear glasses has a 0.5 in the second place.
    fn as_drawn(
        &self,
        mut faces: Vec<FaceData>,
        changes: &CardChanges,
    ) -> Result<Vec<FaceData>, CardRefused> {
        for face in &mut faces {
            match changes.set.get("glasses").map(String::as_str) {
                None => {}
                Some("yes") => face.embedding[1] = 0.5,
                Some(other) => return Err(CardRefused::Change(format!("glasses: {other}"))),
            }
        }
        Ok(faces)
    }
}
