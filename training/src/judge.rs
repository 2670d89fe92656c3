//! Who judges whether a picture follows its prompt: a small network that reads attributes off renders, where the truth
//! is known, and is then asked about generated pictures. How often it is right on renders of held-out people is the
//! ceiling of what it can find in pictures.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use imagine_unet::layers::{Conv2d, GroupNorm, Linear};
use imagine_unet::{Vs, Weights, WeightsError};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};

use crate::dataset::{Dataset, Frame};
use crate::error::TrainingError;
use crate::files::{write_json, write_tensors};
use crate::optimizer::{AdamW, AdamWConfig};
use crate::recipe::Schedule;
use crate::renders::Renders;

/// Channels behind each halving of the picture.
const CHANNELS: [i64; 5] = [24, 48, 96, 144, 192];
const GROUPS: i64 = 8;
/// Most pixels by which a picture is moved in training.
const MOVED: i64 = 6;

/// What is read off a picture, by the name of the question.
pub const QUESTIONS: [&str; 9] =
    ["role", "place", "hat", "clothes colour", "expression", "glasses", "sex", "age", "hair length"];

/// Colours that everyday clothes have; those of a role's dress are the role's.
const COLOURS: [&str; 12] =
    ["red", "blue", "green", "black", "white", "yellow", "purple", "orange", "grey", "teal", "pink", "brown"];

/// The true answer of a frame to a question; none where nothing is to be seen or asked.
pub fn truth(frame: &Frame, question: &str) -> Option<String> {
    let (clauses, identity, seen) = (&frame.clauses, &frame.identity, &frame.attributes);
    let or_none = |answer: &Option<String>| Some(answer.clone().unwrap_or_else(|| "none".into()));
    match question {
        "role" => or_none(&clauses.role),
        "place" => Some(clauses.place.clone()),
        "hat" => or_none(&clauses.hat.as_ref().and(seen.hat.clone())),
        "clothes colour" if clauses.role.is_none() && clauses.clothes.is_some() => {
            seen.clothes_colour.clone().filter(|colour| COLOURS.contains(&colour.as_str()))
        }
        "expression" => Some(clauses.expression.clone()),
        "glasses" => or_none(&identity.glasses),
        "sex" => Some(identity.sex.clone()),
        "age" => Some(identity.age.clone()),
        "hair length" if identity.hair_visible => {
            let length = ["bald", "short", "long", "long"][usize::from(seen.hair_length.min(3))];
            Some(length.into())
        }
        _ => None,
    }
}

/// The answers to each question, sorted.
type Answers = Vec<Vec<String>>;

/// What the judge has learnt from.
#[derive(Serialize, Deserialize)]
struct Learnt {
    answers: Answers,
    /// Roles and places that training has shown together.
    pairs: BTreeSet<(String, String)>,
}

fn pair(frame: &Frame) -> Option<(String, String)> {
    Some((frame.clauses.role.clone()?, frame.clauses.place.clone()))
}

struct Network {
    convolutions: Vec<(Conv2d, GroupNorm)>,
    heads: Vec<Linear>,
}

impl Network {
    fn new(vs: &Vs, answers: &Answers) -> Result<Self, WeightsError> {
        let mut convolutions = Vec::new();
        let mut inputs = 3;
        for (level, channels) in CHANNELS.into_iter().enumerate() {
            for (part, stride) in [("down", 2), ("inner", 1)] {
                // At the first level the second convolution would cost as much as all others.
                if level == 0 && part == "inner" {
                    continue;
                }
                let vs = vs / format!("{part}{level}");
                let conv = Conv2d::new(&(&vs / "conv"), inputs, channels, 3, stride, 1)?;
                convolutions.push((conv, GroupNorm::new(&(&vs / "norm"), GROUPS, channels, 1e-5)?));
                inputs = channels;
            }
        }
        let head = |(n, answers): (usize, &Vec<String>)| {
            Linear::new(&(vs / format!("head{n}")), 2 * inputs, answers.len() as i64, true)
        };
        Ok(Self { convolutions, heads: answers.iter().enumerate().map(head).collect::<Result<_, _>>()? })
    }

    /// Pictures [B, 3, S, S] in [-1, 1] → what the answers are read off, [B, 2C]
    fn features(&self, pixels: &Tensor) -> Tensor {
        let mut x = pixels.shallow_clone();
        for (conv, norm) in &self.convolutions {
            x = norm.forward_silu(&conv.forward(&x));
        }
        // The mean of the whole, and of the middle where the face is.
        let side = x.size()[3];
        let middle = x.narrow(3, side / 4, side / 2).narrow(2, side / 4, side / 2);
        let pooled = [x, middle].map(|part| part.mean_dim([2i64, 3].as_slice(), false, None)); // [B, C]
        Tensor::cat(&pooled, 1) // [B, 2C]
    }

    /// Pictures [B, 3, S, S] in [-1, 1] → scores of the answers to each question, [B, answers]
    fn forward(&self, pixels: &Tensor) -> Vec<Tensor> {
        let pooled = self.features(pixels);
        self.heads.iter().map(|head| head.forward(&pooled).to_kind(Kind::Float)).collect()
    }
}

/// Settings of the judge's training.
pub struct JudgeRun {
    pub data: PathBuf,
    pub heldout: PathBuf,
    /// Receives `judge.safetensors` and `judge.json`.
    pub out: PathBuf,
    pub batch: usize,
    pub schedule: Schedule,
    pub device: Device,
    pub seed: u64,
}

const WEIGHTS: &str = "judge.safetensors";
const LEARNT: &str = "judge.json";

/// As a generated picture may be: moved, blurred, noisy, of other brightness. [B, 3, S, S]
fn spoiled(pixels: &Tensor, rng: &mut StdRng) -> Tensor {
    let [dx, dy] = std::array::from_fn(|_| rng.random_range(-MOVED..=MOVED));
    let mut x = pixels.roll([dy, dx], [2, 3]);
    if rng.random_bool(0.6) {
        let width = rng.random_range(0.4..1.3f64);
        let weights: Vec<f32> =
            (-2..=2).map(|i: i32| (-f64::from(i * i) / (2.0 * width * width)).exp() as f32).collect();
        let row = Tensor::from_slice(&weights).to_device(x.device());
        let row = &row / row.sum(Kind::Float);
        let kernel = (row.view([5, 1]) * row.view([1, 5])).view([1, 1, 5, 5]).repeat([3, 1, 1, 1]); // [3, 1, 5, 5]
        x = x.conv2d(&kernel, None::<Tensor>, [1, 1], [2, 2], [1, 1], 3);
    }
    let noise = x.randn_like() * rng.random_range(0.0..0.06);
    (x + noise) * rng.random_range(0.9..1.1) + rng.random_range(-0.06..0.06)
}

/// Trains on `data`, prints and writes how often it is right on `heldout`.
pub fn train(run: &JudgeRun) -> Result<(), TrainingError> {
    tch::manual_seed(run.seed as i64);
    let mut rng = StdRng::seed_from_u64(run.seed);
    let data = Dataset::read(&run.data)?;
    let renders = Renders::read(&run.data, &data.frames, run.device)?;
    let mut answers: Answers = Vec::new();
    for question in QUESTIONS {
        let mut found: Vec<String> = data.frames.iter().filter_map(|frame| truth(frame, question)).collect();
        found.sort_unstable();
        found.dedup();
        answers.push(found);
    }
    let labels = labels(&data.frames, &answers); // [N, questions]
    let weights = Weights::fresh(run.device, Kind::Float);
    let network = Network::new(&weights.root(), &answers)?;
    let mut optimizer =
        AdamW::new(weights.parameters(), AdamWConfig { ema_decay: 0.99, ..Default::default() });
    let clock = Instant::now();
    println!("judge: {} pictures, {} parameters", data.frames.len(), optimizer.parameter_count());
    let (mut sum, mut count) = (0.0, 0);
    while let Some(rate) = run.schedule.rate(optimizer.steps(), clock.elapsed()) {
        let rows: Vec<i64> = (0..run.batch).map(|_| rng.random_range(0..data.frames.len()) as i64).collect();
        let mut pixels = renders.batch(&rows, Kind::Float, run.device);
        if rng.random_bool(0.5) {
            pixels = pixels.flip([3]);
        }
        let wanted = labels.index_select(0, &Tensor::from_slice(&rows)).to_device(run.device); // [B, questions]
        let mut loss = Tensor::zeros([], (Kind::Float, run.device));
        for (n, scores) in network.forward(&spoiled(&pixels, &mut rng)).iter().enumerate() {
            let wanted = wanted.select(1, n as i64);
            // Sum over those that have an answer, so that a batch without one is no 0/0.
            let all = scores.cross_entropy_loss::<Tensor>(&wanted, None, tch::Reduction::Sum, -1, 0.0);
            loss += all / run.batch as f64;
        }
        loss.backward();
        optimizer.step(rate);
        sum += loss.double_value(&[]);
        count += 1;
        if optimizer.steps() % 100 == 0 {
            println!(
                "judge {}: loss {:.3} {:.0} s",
                optimizer.steps(),
                sum / f64::from(count),
                clock.elapsed().as_secs_f64()
            );
            (sum, count) = (0.0, 0);
        }
    }
    let averaged: Vec<(String, Tensor)> = optimizer.averaged();
    write_tensors(&run.out.join(WEIGHTS), &averaged)?;
    let pairs = data.frames.iter().filter_map(pair).collect();
    write_json(&run.out.join(LEARNT), &Learnt { answers, pairs })?;
    let judge = Judge::read(&run.out, run.device)?;
    let heldout = Dataset::read(&run.heldout)?;
    let renders = Renders::read(&run.heldout, &heldout.frames, run.device)?;
    for (question, right, of) in judge.right(&heldout.frames, &renders) {
        println!("judge: {question}: right on {right} of {of} held-out renders");
    }
    Ok(())
}

/// Rows of the answers, −1 where there is none: [N, questions]
fn labels(frames: &[Frame], answers: &Answers) -> Tensor {
    let row = |frame: &Frame| -> Vec<i64> {
        let of = |(question, answers): (&&str, &Vec<String>)| {
            let found = truth(frame, question).and_then(|answer| answers.binary_search(&answer).ok());
            found.map_or(-1, |n| n as i64)
        };
        QUESTIONS.iter().zip(answers).map(of).collect()
    };
    let all: Vec<i64> = frames.iter().flat_map(row).collect();
    Tensor::from_slice(&all).view([-1, QUESTIONS.len() as i64])
}

/// A trained judge.
pub struct Judge {
    network: Network,
    learnt: Learnt,
    device: Device,
}

impl Judge {
    /// Reads what [`train`] has left in a folder.
    pub fn read(folder: &Path, device: Device) -> Result<Self, TrainingError> {
        let path = folder.join(LEARNT);
        let text = std::fs::read_to_string(&path).map_err(TrainingError::io(&path))?;
        let learnt: Learnt =
            serde_json::from_str(&text).map_err(|source| TrainingError::Json { path, source })?;
        let weights = Weights::open(&[folder.join(WEIGHTS)], device, Kind::Float)?;
        let network = Network::new(&weights.root(), &learnt.answers)?;
        weights.finish(&[])?;
        Ok(Self { network, learnt, device })
    }

    /// Whether a frame shows a role in a place in which training has never shown it.
    pub fn is_new(&self, frame: &Frame) -> bool {
        pair(frame).is_some_and(|pair| !self.learnt.pairs.contains(&pair))
    }

    /// The answer to every question of [`QUESTIONS`] for each picture [B, 3, S, S] in [-1, 1].
    pub fn answers(&self, pixels: &Tensor) -> Vec<Vec<String>> {
        no_grad(|| {
            let scores = self.network.forward(&pixels.to_device(self.device));
            let best: Vec<Vec<i64>> =
                scores.iter().map(|s| Vec::try_from(s.argmax(1, false)).unwrap_or_default()).collect();
            let name = |n: usize, row: usize| {
                let found = best[n].get(row).and_then(|&at| self.learnt.answers[n].get(at as usize));
                found.cloned().unwrap_or_default()
            };
            let rows = pixels.size()[0] as usize;
            (0..rows).map(|row| (0..QUESTIONS.len()).map(|n| name(n, row)).collect()).collect()
        })
    }

    /// What the answers are read off, f32 on the CPU: pictures [B, 3, S, S] in [-1, 1] → [B, F]
    pub fn features(&self, pixels: &Tensor) -> Tensor {
        let features = no_grad(|| self.network.features(&pixels.to_device(self.device)));
        features.to_device(Device::Cpu).to_kind(Kind::Float)
    }

    /// The same of all pictures of a data set: [N, F]
    pub fn features_of(&self, renders: &Renders) -> Tensor {
        let rows: Vec<i64> = (0..renders.count()).collect();
        let parts = rows.chunks(64).map(|rows| self.features(&renders.batch(rows, Kind::Float, self.device)));
        Tensor::cat(&parts.collect::<Vec<_>>(), 0)
    }

    /// Of every question: how often the answer is right, of how many that have one.
    pub fn right(&self, frames: &[Frame], renders: &Renders) -> Vec<(&'static str, usize, usize)> {
        let mut counts = vec![(0, 0); QUESTIONS.len()];
        let rows: Vec<i64> = (0..renders.count()).collect();
        for rows in rows.chunks(64) {
            let found = self.answers(&renders.batch(rows, Kind::Float, self.device));
            for (&row, answers) in rows.iter().zip(&found) {
                for (n, question) in QUESTIONS.iter().enumerate() {
                    let Some(true_one) = truth(&frames[row as usize], question) else { continue };
                    counts[n].0 += usize::from(answers[n] == true_one);
                    counts[n].1 += 1;
                }
            }
        }
        QUESTIONS.iter().zip(counts).map(|(question, (right, of))| (*question, right, of)).collect()
    }
}
