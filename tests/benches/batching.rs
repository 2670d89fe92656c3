//! Many orders that share the U-Net's calls, against the same orders one at a time: p50 and p95 of the time from
//! order to picture, and pictures a second, with the same random arrivals for both.
//!
//! `cargo bench -p imagine-tests --bench batching -- [--model DIR] [--orders N] [--rounds N] [--load PART] [--clock cpu]`
//!
//! Arrivals come at PART (usually 0.8) of what one at a time can do, and at PART of what batching can do: more
//! than the former may be able to. Both arms are the same studio, with room for one picture or for as many as
//! it usually has. They take turns, because machines drift. With `--clock cpu` a second is one of this process's
//! processor time, and time in which nothing is drawn is skipped: for a machine that others use, with one thread
//! (`OMP_NUM_THREADS=1`) on a CPU.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use imagine_contract::{CancelFlag, Event, GenerateRequest, Identity, Order, OrderEvent, Studio};
use imagine_pipeline::{BatchStudio, DeviceChoice, LoadOptions, StableDiffusion, StudioOptions};
use rustix::time::{ClockId, clock_gettime};

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let options = options()?;
    let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
    let model = options.get("model").map_or(starter, PathBuf::from);
    let number = |name: &str, usual: f64| options.get(name).map_or(Ok(usual), |n| n.parse::<f64>());
    let (orders, rounds) = (number("orders", 40.0)? as usize, number("rounds", 2.0)? as usize);
    let load = number("load", 0.8)?;
    let clock = match options.get("clock").map(String::as_str) {
        None | Some("wall") => ClockId::Monotonic,
        Some("cpu") => ClockId::ProcessCPUTime,
        Some(other) => return Err(format!("there is no clock \"{other}\"").into()),
    };
    let arms =
        [Arm::open("one at a time", &model, Some(1), clock)?, Arm::open("batching", &model, None, clock)?];
    // The first orders pay for what is made at the first use.
    for arm in &arms {
        arm.capacity(4)?;
    }
    let capacities = [arms[0].capacity(orders)?, arms[1].capacity(orders)?];
    println!("all orders at once: one at a time {:.3}/s, batching {:.3}/s", capacities[0], capacities[1]);
    println!(
        "ratio {:.2}, {} pictures at once",
        capacities[1] / capacities[0],
        arms[1].studio.load().most_rows
    );
    for (of, capacity) in ["one at a time", "batching"].iter().zip(capacities) {
        let rate = load * capacity;
        println!("\narrivals at {load} of the capacity of {of}: {rate:.3}/s");
        let mut results: [Vec<Measured>; 2] = Default::default();
        for round in 0..rounds {
            let arrivals = arrivals(orders, rate, round as u64 + 1);
            for turn in 0..2 {
                let at = (round + turn) % 2;
                let measured = arms[at].serve(&arrivals)?;
                println!("  {:14} round {round}: {measured}", arms[at].name);
                results[at].push(measured);
            }
        }
        for (name, value) in MEASURES {
            let middle = |at: usize| median(results[at].iter().map(value).collect());
            println!("  {name}: batching / one at a time = {:.2}", middle(1) / middle(0));
        }
    }
    Ok(())
}

type Measure = (&'static str, fn(&Measured) -> f64);

const MEASURES: [Measure; 3] =
    [("p50", |m| m.p50), ("p95", |m| m.p95), ("pictures a second", |m| m.pictures_per_second)];

/// What one pass of arrivals gave; seconds.
struct Measured {
    p50: f64,
    p95: f64,
    pictures_per_second: f64,
}

impl std::fmt::Display for Measured {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { p50, p95, pictures_per_second } = self;
        write!(f, "p50 {p50:.2} s, p95 {p95:.2} s, {pictures_per_second:.3} pictures/s")
    }
}

struct Arm {
    name: &'static str,
    studio: BatchStudio,
    clock: ClockId,
}

/// The time of a clock.
fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Arm {
    fn open(name: &'static str, model: &Path, cells: Option<i64>, clock: ClockId) -> Result<Self, Failure> {
        let options =
            LoadOptions { model: model.to_path_buf(), device: DeviceChoice::Auto, ..LoadOptions::default() };
        let model = StableDiffusion::load(&options)?;
        let options = StudioOptions { queue: 100_000, cells, observer: None };
        Ok(Self { name, studio: BatchStudio::open(model, options)?, clock })
    }

    /// Pictures a second where there are always more orders.
    fn capacity(&self, orders: usize) -> Result<f64, Failure> {
        Ok(self.serve(&vec![Duration::ZERO; orders])?.pictures_per_second)
    }

    /// Orders at these times from now, each by another owner.
    fn serve(&self, arrivals: &[Duration]) -> Result<Measured, Failure> {
        let (sender, events) = mpsc::channel();
        let (clock, begin) = (self.clock, now(self.clock));
        // Time that was skipped since nothing was to be done.
        let mut skipped = Duration::ZERO;
        let (mut next, mut seconds, mut at_work, mut end) = (0, Vec::new(), 0, Duration::ZERO);
        while seconds.len() < arrivals.len() {
            while let Some(&arrival) = arrivals.get(next) {
                let time = now(clock) - begin + skipped;
                if arrival > time {
                    match clock {
                        _ if at_work > 0 => break,
                        ClockId::ProcessCPUTime => skipped += arrival - time,
                        _ => std::thread::sleep(arrival - time),
                    }
                }
                let sender = sender.clone();
                let hear = move |event| {
                    let what = match event {
                        OrderEvent::Happened(Event::Finished { .. }) => Ok(Some(now(clock))),
                        OrderEvent::Failed(error) => Err(error.to_string()),
                        _ => Ok(None),
                    };
                    // Nobody listens after a failure.
                    drop(sender.send((arrival, what)));
                };
                self.studio.submit(Order {
                    request: self.request(next),
                    owner: next.to_string(),
                    previews_every: None,
                    cancel: CancelFlag::default(),
                    events: Box::new(hear),
                })?;
                (next, at_work) = (next + 1, at_work + 1);
            }
            let wait = match arrivals.get(next) {
                Some(&arrival) if clock == ClockId::Monotonic => arrival.saturating_sub(now(clock) - begin),
                _ => Duration::from_secs(600),
            };
            let Ok((arrival, what)) = events.recv_timeout(wait) else { continue };
            if let Some(finished) = what? {
                end = finished - begin + skipped;
                seconds.push(end.saturating_sub(arrival).as_secs_f64());
                at_work -= 1;
            }
        }
        seconds.sort_by(f64::total_cmp);
        let at = |part: f64| seconds[((seconds.len() as f64 * part) as usize).min(seconds.len() - 1)];
        let pictures_per_second = seconds.len() as f64 / end.as_secs_f64();
        Ok(Measured { p50: at(0.5), p95: at(0.95), pictures_per_second })
    }

    /// Every other order is of a person, every fourth takes twice the steps, every fifth goes without guidance.
    fn request(&self, i: usize) -> GenerateRequest {
        let info = self.studio.info();
        let mut request = GenerateRequest::new("a portrait of a person with a hat", i as u64);
        let width = info.identity.as_ref().and_then(|needs| needs.embedding_width);
        if let (Some(width), true) = (width, i.is_multiple_of(2)) {
            let embedding = (0..width).map(|k| ((k * 7 + i) as f32).sin() / (width as f32 / 2.0).sqrt());
            request.people = vec![Identity::of_embedding(embedding.collect(), 1.0)];
        }
        if i.is_multiple_of(4) {
            request.steps = Some(2 * info.steps);
        }
        if i.is_multiple_of(5) {
            request.guidance_scale = Some(1.0);
        }
        request
    }
}

/// Times of a Poisson process, the same for the same seed.
fn arrivals(count: usize, rate: f64, seed: u64) -> Vec<Duration> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut at = 0.0;
    let next = |_| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let uniform = ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
        at -= uniform.ln() / rate;
        Duration::from_secs_f64(at)
    };
    (0..count).map(next).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0
}

/// `--name value` pairs; cargo adds `--bench`.
fn options() -> Result<BTreeMap<String, String>, Failure> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut options = BTreeMap::new();
    while let Some(flag) = args.next() {
        let name = flag.strip_prefix("--").ok_or_else(|| format!("\"{flag}\" is not an option"))?;
        options.insert(name.to_string(), args.next().ok_or_else(|| format!("{flag} needs a value"))?);
    }
    Ok(options)
}
