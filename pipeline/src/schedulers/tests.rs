//! The contract of [`Scheduler`] that golden runs do not touch: types, order, bounds and refusals.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use tch::{Device, Kind, Tensor};

use super::*;
use crate::noise::{NoNoise, TorchGenerator};

fn config(json: &str, kind: SchedulerKind) -> SchedulerConfig {
    SchedulerConfig::from_json(json).unwrap().with_kind(kind)
}

/// What stable diffusion checkpoints say, without a class.
const STABLE_DIFFUSION: &str = r#"{"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "clip_sample": false, "set_alpha_to_one": false, "skip_prk_steps": true, "steps_offset": 1}"#;

/// Runs with a model that predicts a tenth of its input.
fn run(scheduler: &mut dyn Scheduler, start: &Tensor) -> Tensor {
    let mut generator = TorchGenerator::new(1);
    let mut sample = start * scheduler.init_noise_sigma();
    for i in 0..scheduler.timesteps().len() {
        let output = scheduler.scale_model_input(&sample, i).unwrap() * 0.1;
        sample = scheduler.step(&output, i, &sample, &mut generator).unwrap();
    }
    sample
}

#[test]
fn results_keep_the_samples_type_and_bf16_stays_near_f32() {
    let start = TorchGenerator::new(5).randn(&[1, 4, 8, 8]);
    for kind in SchedulerKind::ALL {
        for build in [build, build_own] {
            let config = config(STABLE_DIFFUSION, kind);
            let exact = run(build(&config, 6).unwrap().as_mut(), &start);
            assert_eq!(exact.kind(), Kind::Float);
            let double = run(build(&config, 6).unwrap().as_mut(), &start.to_kind(Kind::Double));
            assert_eq!(double.kind(), Kind::Double);
            let difference = (&double - &exact).abs().max().double_value(&[]);
            assert!(difference < 1e-4, "{kind}: {difference}");
            let half = run(build(&config, 6).unwrap().as_mut(), &start.to_kind(Kind::BFloat16));
            assert_eq!(half.kind(), Kind::BFloat16);
            let difference = (half.to_kind(Kind::Float) - &exact).abs().max().double_value(&[]);
            let scale = exact.abs().max().double_value(&[]);
            assert!(difference < 0.05 * scale, "{kind}: {difference} of {scale}");
        }
    }
}

#[test]
fn the_callers_tensors_are_not_written_to() {
    let sample = TorchGenerator::new(5).randn(&[1, 4, 8, 8]);
    let output = TorchGenerator::new(6).randn(&[1, 4, 8, 8]);
    let (sample_before, output_before) = (sample.copy(), output.copy());
    for kind in SchedulerKind::ALL {
        let mut scheduler = build_own(&config(STABLE_DIFFUSION, kind), 6).unwrap();
        for i in 0..scheduler.timesteps().len() {
            let _ = scheduler.step(&output, i, &sample, &mut NoNoise).unwrap();
        }
        assert!(sample.equal(&sample_before) && output.equal(&output_before), "{kind}");
    }
}

#[test]
fn noise_is_drawn_only_where_it_is_said_to_be() {
    struct Counter(usize);
    impl crate::noise::NoiseSource for Counter {
        fn draw(&mut self, like: &Tensor) -> Tensor {
            self.0 += 1;
            like.zeros_like()
        }
    }
    let sample = Tensor::ones([1, 4, 2, 2], (Kind::Float, Device::Cpu));
    for kind in SchedulerKind::ALL {
        let mut scheduler = build(&config(STABLE_DIFFUSION, kind), 5).unwrap();
        let mut counter = Counter(0);
        for i in 0..scheduler.timesteps().len() {
            let _ = scheduler.step(&sample, i, &sample, &mut counter).unwrap();
        }
        assert_eq!(scheduler.needs_noise(), counter.0 > 0, "{kind}");
    }
}

#[test]
fn steps_go_one_after_the_other() {
    let sample = Tensor::ones([1, 4, 2, 2], (Kind::Float, Device::Cpu));
    let mut euler = build(&config(STABLE_DIFFUSION, SchedulerKind::Euler), 5).unwrap();
    let _ = euler.step(&sample, 2, &sample, &mut NoNoise).unwrap();
    let error = euler.step(&sample, 2, &sample, &mut NoNoise).unwrap_err();
    assert!(matches!(error, SchedulerError::Order { expected: 3, found: 2 }), "{error}");
    let error = euler.step(&sample, 5, &sample, &mut NoNoise).unwrap_err();
    assert!(matches!(error, SchedulerError::Index { index: 5, count: 5 }), "{error}");
    assert!(matches!(euler.scale_model_input(&sample, 9), Err(SchedulerError::Index { .. })));
    // not into the middle of a step of Heun's method
    let mut heun = build(&config(STABLE_DIFFUSION, SchedulerKind::Heun), 5).unwrap();
    assert_eq!((heun.order(), heun.timesteps().len()), (2, 9));
    let error = heun.step(&sample, 3, &sample, &mut NoNoise).unwrap_err();
    assert!(matches!(error, SchedulerError::Order { expected: 2, found: 3 }), "{error}");
    // nor anywhere but to the start of a run that begins with Runge-Kutta steps
    let mut pndm = build(&config("{}", SchedulerKind::Pndm), 5).unwrap();
    let error = pndm.step(&sample, 4, &sample, &mut NoNoise).unwrap_err();
    assert!(matches!(error, SchedulerError::Order { expected: 0, found: 4 }), "{error}");
}

#[test]
fn tensors_that_do_not_fit_are_refused() {
    let sample = Tensor::ones([1, 4, 2, 2], (Kind::Float, Device::Cpu));
    let other = Tensor::ones([1, 4, 2, 3], (Kind::Float, Device::Cpu));
    for kind in SchedulerKind::ALL {
        let mut scheduler = build(&config(STABLE_DIFFUSION, kind), 5).unwrap();
        let error = scheduler.step(&other, 0, &sample, &mut NoNoise).unwrap_err();
        let message = error.to_string();
        assert_eq!(message, "the model's output has shape [1, 4, 2, 3], expected [1, 4, 2, 2]");
        assert!(matches!(scheduler.add_noise(&sample, &other, 0), Err(SchedulerError::Shape { .. })));
    }
    let learned = config(r#"{"variance_type": "learned_range"}"#, SchedulerKind::Ddpm);
    let error = build(&learned, 5).unwrap().step(&sample, 0, &sample, &mut NoNoise).unwrap_err();
    assert!(error.to_string().ends_with("expected [1, 8, 2, 2]"), "{error}");
}

#[test]
fn impossible_numbers_of_steps_are_refused_with_the_numbers() {
    for kind in SchedulerKind::ALL {
        for steps in [0, 1001, usize::MAX] {
            let message = build(&config(STABLE_DIFFUSION, kind), steps).err().unwrap().to_string();
            let bound = if steps == 0 { "at least 1 here" } else { "at most 1000 here" };
            assert!(message.contains(&steps.to_string()) && message.contains(bound), "{message}");
        }
        for steps in [1, 2, 3, 50] {
            let mut scheduler = build(&config(STABLE_DIFFUSION, kind), steps).unwrap();
            let result = run(scheduler.as_mut(), &TorchGenerator::new(0).randn(&[2, 4, 2, 2]));
            assert!(bool::try_from(result.isfinite().all()).unwrap(), "{kind} {steps}");
        }
    }
    let message = build(&config("{}", SchedulerKind::Lcm), 51).err().unwrap().to_string();
    assert!(
        message.contains("51 steps: lcm takes at most 50 here (`original_inference_steps`)"),
        "{message}"
    );
    let message = build(&config("{}", SchedulerKind::Pndm), 3).err().unwrap().to_string();
    assert!(message.contains("3 steps: pndm takes at least 4 here (`skip_prk_steps`"), "{message}");
    for kind in [SchedulerKind::Ddim, SchedulerKind::Ddpm, SchedulerKind::Pndm] {
        let message = build(&config(STABLE_DIFFUSION, kind), 1000).err().unwrap().to_string();
        assert!(message.starts_with("timestep 1000 is outside the 1000 training timesteps"), "{message}");
    }
}

#[test]
fn what_is_not_implemented_is_named_by_key_and_value() {
    use SchedulerKind::{Ddim, Ddpm, DpmSolverMultistep as Dpm, Euler, EulerAncestral, Lcm, Pndm, UniPc};
    let cases = [
        (Ddim, r#"{"beta_schedule": "sigmoid"}"#, "`beta_schedule` = sigmoid"),
        (Ddim, r#"{"beta_schedule": "cubic"}"#, "`beta_schedule` is \"cubic\""),
        (
            Ddim,
            r#"{"thresholding": true, "dynamic_thresholding_ratio": 2}"#,
            "`dynamic_thresholding_ratio` is 2",
        ),
        (
            Ddim,
            r#"{"rescale_betas_zero_snr": true, "timestep_spacing": "trailing", "clip_sample": false}"#,
            "`prediction_type` is \"epsilon\"",
        ),
        (Ddpm, r#"{"variance_type": "fixed_large_log"}"#, "`variance_type` = fixed_large_log"),
        (Ddpm, r#"{"variance_type": "tiny"}"#, "`variance_type` is \"tiny\""),
        (Ddpm, r#"{"clip_sample_range": -1}"#, "`clip_sample_range` is -1.0"),
        (Euler, r#"{"use_karras_sigmas": true, "sigma_min": -1}"#, "`sigma_min` is -1.0"),
        (EulerAncestral, r#"{"prediction_type": "sample"}"#, "`prediction_type` = sample"),
        (Pndm, r#"{"prediction_type": "sample", "skip_prk_steps": true}"#, "`prediction_type` = sample"),
        (Dpm, r#"{"use_flow_sigmas": true}"#, "`use_flow_sigmas` = true"),
        (Dpm, r#"{"prediction_type": "flow_prediction"}"#, "`prediction_type` is \"flow_prediction\""),
        (Dpm, r#"{"algorithm_type": "dpmsolver"}"#, "`final_sigmas_type` is \"zero\""),
        (Dpm, r#"{"algorithm_type": "dpmsolver+++"}"#, "`algorithm_type` is \"dpmsolver+++\""),
        (Dpm, r#"{"solver_order": 4}"#, "`solver_order` is 4"),
        (Dpm, r#"{"variance_type": "learned_range"}"#, "`variance_type` = learned_range"),
        (Dpm, r#"{"lambda_min_clipped": 20}"#, "`lambda_min_clipped` is 20"),
        (UniPc, r#"{"solver_order": 0}"#, "`solver_order` is 0"),
        (UniPc, r#"{"solver_type": "bh1"}"#, "`final_sigmas_type` is \"zero\""),
        (UniPc, r#"{"predict_x0": false}"#, "`final_sigmas_type` is \"zero\""),
        (UniPc, r#"{"lower_order_final": false}"#, "`lower_order_final` is false"),
        (UniPc, r#"{"solver_p": {"_class_name": "DDIMScheduler"}}"#, "`solver_p` = {"),
        (UniPc, r#"{"disable_corrector": [-1]}"#, "`disable_corrector` is [-1]"),
        (Lcm, r#"{"original_inference_steps": 2000}"#, "`original_inference_steps` is 2000"),
    ];
    for (kind, json, start) in cases {
        let message = build(&config(json, kind), 5).err().unwrap().to_string();
        assert!(message.starts_with(start), "{message}");
    }
}
