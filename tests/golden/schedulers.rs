//! Samplers over whole runs and torch's CPU noise, against `generate/schedulers.py`.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod diffusers_rs;

use std::collections::BTreeMap;

use imagine_pipeline::noise::TorchGenerator;
use imagine_pipeline::schedulers::{self, Scheduler, SchedulerConfig};
use imagine_tests::{Golden, assert_close, fixtures, relative_error};
use serde::Deserialize;
use serde_json::{Map, Value};
use tch::{Kind, Tensor};

const SEED: u64 = 42;

#[derive(Deserialize)]
struct Listing {
    configs: BTreeMap<String, Map<String, Value>>,
    runs: Vec<Run>,
}

#[derive(Deserialize)]
struct Run {
    name: String,
    class_name: String,
    steps: usize,
    /// The first call.
    begin: usize,
    /// The model puts out a variance in as many channels again.
    learned: bool,
    config: Value,
    timesteps: Vec<f64>,
    init_noise_sigma: f64,
    #[serde(skip)]
    keys: Map<String, Value>,
}

impl Run {
    /// The configuration as diffusers saw it: a published one, or the changes to the base.
    fn config(&self) -> SchedulerConfig {
        let mut config = SchedulerConfig::from_json(&Value::Object(self.keys.clone()).to_string()).unwrap();
        config.set("_class_name", self.class_name.as_str());
        config
    }
}

fn runs() -> Vec<Run> {
    let text = std::fs::read_to_string(fixtures("schedulers").join("runs.json")).unwrap();
    let Listing { configs, mut runs } = serde_json::from_str(&text).unwrap();
    for run in &mut runs {
        run.keys = match &run.config {
            Value::String(name) => configs[name].clone(),
            Value::Object(changes) => {
                let mut keys = configs["base"].clone();
                keys.extend(changes.clone());
                keys
            }
            other => panic!("{other}"),
        };
    }
    runs
}

/// What one run gave: worst difference of timesteps (absolute), of the start's deviation and of the stored
/// samples (relative).
struct Found {
    timesteps: f64,
    init: f64,
    samples: f64,
}

fn compare(run: &Run, golden: &Golden, scheduler: &mut dyn Scheduler) -> Found {
    let outputs = golden.get("outputs");
    let expected = golden.get(&run.name);
    if scheduler.timesteps().len() != run.timesteps.len() {
        return Found { timesteps: f64::INFINITY, init: f64::INFINITY, samples: f64::INFINITY };
    }
    let differences = scheduler.timesteps().iter().zip(&run.timesteps).map(|(a, b)| (a - b).abs());
    let timesteps = differences.fold(0.0, f64::max);
    let init = (scheduler.init_noise_sigma() / run.init_noise_sigma - 1.0).abs();

    let mut generator = TorchGenerator::new(SEED);
    let mut sample = generator.randn(&golden.get("start").size()).to_device(outputs.device())
        * scheduler.init_noise_sigma();
    let mut kept = Vec::new();
    let calls = run.timesteps.len() - run.begin;
    for k in 0..calls {
        let i = run.begin + k;
        let own = outputs.get(k as i64);
        let mut output = &own * 0.8 + scheduler.scale_model_input(&sample, i).unwrap() * 0.2;
        if run.learned {
            output = Tensor::cat(&[output, own.abs() * 0.5 + 0.1], 1);
        }
        sample = scheduler.step(&output, i, &sample, &mut generator).unwrap();
        if k == calls / 3 || k == 2 * calls / 3 || k == calls - 1 {
            kept.push(sample.shallow_clone());
        }
    }
    while kept.len() < 3 {
        kept.push(sample.shallow_clone());
    }
    kept.push(scheduler.add_noise(&outputs.get(0), &outputs.get(1), run.begin + calls / 2).unwrap());
    let errors = kept.iter().enumerate().map(|(row, t)| relative_error(t, &expected.get(row as i64)));
    // NaN counts as infinitely wrong
    let samples = errors.fold(0.0, |worst: f64, e| if e.is_nan() { f64::INFINITY } else { worst.max(e) });
    Found { timesteps, init, samples }
}

/// A sampler passes where all of this holds. Whole runs differ by the rounding of f32 alone.
fn passes(found: &Found) -> bool {
    found.samples <= 1e-5 && found.timesteps <= 1e-3 && found.init <= 1e-6
}

/// Every run, once as it is built for use and once with this project's own code alone.
#[test]
fn whole_runs_equal_pythons() {
    let golden = Golden::here("schedulers", "trajectories.safetensors");
    let (mut worst, mut failed) = (BTreeMap::<String, f64>::new(), Vec::new());
    for run in &runs() {
        for build in [schedulers::build, schedulers::build_own] {
            let mut scheduler =
                build(&run.config(), run.steps).unwrap_or_else(|e| panic!("{}: {e}", run.name));
            let found = compare(run, &golden, scheduler.as_mut());
            let entry = worst.entry(run.class_name.clone()).or_default();
            *entry = entry.max(found.samples);
            if !passes(&found) {
                failed.push(format!(
                    "{}: samples {:.2e}, timesteps {:.2e}, start {:.2e}",
                    run.name, found.samples, found.timesteps, found.init
                ));
            }
        }
    }
    println!("worst relative error by sampler: {worst:#?}");
    assert!(failed.is_empty(), "{} runs differ:\n{}", failed.len(), failed.join("\n"));
}

#[derive(Deserialize)]
struct Draws {
    shapes: Vec<Vec<i64>>,
    seeds: Vec<String>,
}

#[test]
fn noise_equals_torchs() {
    let golden = Golden::read("schedulers", "noise.safetensors");
    let text = std::fs::read_to_string(fixtures("schedulers").join("noise.json")).unwrap();
    let draws: Draws = serde_json::from_str(&text).unwrap();
    for seed in &draws.seeds {
        let mut generator = TorchGenerator::new(seed.parse().unwrap());
        let drawn: Vec<Tensor> = draws
            .shapes
            .iter()
            .map(|shape| {
                let tensor = generator.randn(shape);
                assert_eq!((&tensor.size(), tensor.kind()), (shape, Kind::Float));
                let flat = tensor.flatten(0, -1);
                match flat.size1().unwrap() {
                    n if n <= 64 => flat,
                    n => Tensor::cat(&[flat.narrow(0, 0, 40), flat.narrow(0, n - 40, 40)], 0),
                }
            })
            .collect();
        let expected = golden.get(&format!("seed{seed}"));
        let error = (Tensor::cat(&drawn, 0) - &expected).abs().max().double_value(&[]);
        println!("seed {seed}: {error:.2e}");
        assert!(error <= 1e-6, "seed {seed}: {error:.2e}");
    }
    let latents = TorchGenerator::new(42).randn(&[1, 4, 64, 64]).flatten(0, -1);
    let picked = latents.slice(0, 0, None, 37);
    assert_close("latents of 64 x 64", &picked, &golden.get("latents64"), 1e-6);
}
