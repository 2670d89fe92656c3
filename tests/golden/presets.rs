//! Few-step recipes against diffusers set up as their model cards say (fixtures by `generate/presets.py`):
//! timesteps, noise levels and whole runs; and TCD with settings of its own.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use imagine_contract::GenerateRequest;
use imagine_pipeline::noise::TorchGenerator;
use imagine_pipeline::presets::{PRESETS, Preset};
use imagine_pipeline::schedulers::{self, SchedulerConfig};
use imagine_tests::{Golden, assert_close, device, fixtures};
use serde::Deserialize;
use tch::Tensor;

const SEED: u64 = 42;

#[derive(Deserialize)]
struct Run {
    name: String,
    preset: Option<String>,
    checkpoint: serde_json::Value,
    steps: u32,
    timesteps: Vec<f64>,
    sigmas: Option<Vec<f64>>,
    init_noise_sigma: f64,
}

fn runs() -> Vec<Run> {
    let text = std::fs::read_to_string(fixtures("presets").join("runs.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

impl Run {
    /// Steps and scheduler as a request without wishes of its own gets them.
    fn plan(&self) -> (u32, SchedulerConfig) {
        let checkpoint = SchedulerConfig::from_json(&self.checkpoint.to_string()).unwrap();
        let Some(name) = &self.preset else { return (self.steps, checkpoint) };
        let preset = Preset::by_name(name).unwrap();
        let (request, config) = preset.apply(&GenerateRequest::new("a cat", SEED), &checkpoint).unwrap();
        // All recipes are published with guidance 0, but for U-Nets that take it as a number.
        let guidance = if name == "lcm" { 8.0 } else { 0.0 };
        assert_eq!(request.guidance_scale, Some(guidance), "{name}");
        (request.steps.unwrap(), config)
    }
}

#[test]
fn every_preset_runs_as_its_model_card_says() {
    let golden = Golden::here("presets", "runs.safetensors");
    let (outputs, start) = (golden.get("outputs"), golden.get("start"));
    for run in runs() {
        let (steps, config) = run.plan();
        assert_eq!(steps, run.steps, "{}", run.name);
        for build in [schedulers::build, schedulers::build_own] {
            let mut scheduler =
                build(&config, steps as usize).unwrap_or_else(|e| panic!("{}: {e}", run.name));
            assert_eq!(scheduler.timesteps(), run.timesteps, "{}", run.name);
            let init = scheduler.init_noise_sigma() / run.init_noise_sigma - 1.0;
            assert!(init.abs() < 1e-6, "{}: init_noise_sigma", run.name);
            for (i, sigma) in run.sigmas.iter().flatten().take(run.timesteps.len()).enumerate() {
                let found = scheduler.add_noise(&start.zeros_like(), &start.ones_like(), i).unwrap();
                let expected = found.full_like(*sigma);
                assert_close(&format!("{}, level {i}", run.name), &found, &expected, 1e-6);
            }
            let mut generator = TorchGenerator::new(SEED);
            let mut sample: Tensor =
                generator.randn(&start.size()).to_device(device()) * scheduler.init_noise_sigma();
            let expected = golden.get(&run.name);
            for i in 0..run.timesteps.len() {
                let input = scheduler.scale_model_input(&sample, i).unwrap();
                let output = outputs.get(i as i64) * 0.8 + input * 0.2;
                sample = scheduler.step(&output, i, &sample, &mut generator).unwrap();
                let what = format!("{}, step {i}", run.name);
                assert_close(&what, &sample, &expected.get(i as i64), 1e-5);
            }
        }
    }
}

#[test]
fn no_preset_is_without_a_run() {
    let runs = runs();
    for preset in &PRESETS {
        assert!(runs.iter().any(|run| run.preset.as_deref() == Some(preset.name)), "{}", preset.name);
    }
}
