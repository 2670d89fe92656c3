//! Whole pictures against diffusers' `StableDiffusionPipeline` (fixtures by `generate/pipeline.py`).

use std::path::PathBuf;

use imagine_contract::{CancelFlag, Engine, EngineError, Event, GenerateRequest, Identity};
use imagine_pipeline::device::device_name;
use imagine_pipeline::{DtypeChoice, StableDiffusion};
use imagine_tests::{Golden, device, dtype, fixtures};

use crate::broken_files::CheckpointCopy;
use crate::picture_runs::{self, Comparison, NEARLY, apart, generate, largest_difference, mean_difference};

fn load_from(model: PathBuf, adapter: bool, dtype: DtypeChoice) -> StableDiffusion {
    let file = fixtures("pipeline").join("adapter.safetensors");
    picture_runs::load(model, adapter.then_some(file.as_path()), dtype)
}

fn load(adapter: bool) -> StableDiffusion {
    load_from(fixtures("pipeline").join("checkpoint"), adapter, dtype())
}

fn pictures() -> Golden {
    Golden::read("pipeline", "pictures.safetensors")
}

/// Pictures [n, height, width, 3] in one row of bytes.
fn bytes(golden: &Golden, name: &str) -> Vec<u8> {
    picture_runs::bytes(&golden.get(name))
}

/// One entry of `runs.json`.
struct Run(picture_runs::Run);

impl Run {
    fn all() -> Vec<Self> {
        picture_runs::Run::all("pipeline").into_iter().map(Self).collect()
    }

    fn named(name: &str) -> Self {
        Self(picture_runs::Run::named("pipeline", name))
    }

    /// The person is the fixture's.
    fn request(&self) -> GenerateRequest {
        let embedding = Vec::try_from(pictures().get("embedding").flatten(0, -1)).expect("f32 numbers");
        self.0.request(Some(embedding))
    }

    fn load(&self) -> StableDiffusion {
        let Some(file) = &self.0.file else { return load(self.0.adapter) };
        let copy = CheckpointCopy::new();
        let scheduler = fixtures("pipeline").join(format!("{file}.json"));
        copy.write("scheduler/scheduler_config.json", std::fs::read(scheduler).expect("a scheduler's file"));
        load_from(copy.path(""), self.0.adapter, dtype())
    }
}

#[test]
fn every_picture_equals_diffusers() {
    let golden = pictures();
    let mut comparison = Comparison::default();
    for run in Run::all() {
        comparison.compare(&run.0, generate(&mut run.load(), &run.request()), &golden);
    }
    comparison.finish();
}

#[test]
fn every_picture_of_several_is_drawn_alike_alone() {
    for name in ["several", "ancestral_several", "person_several"] {
        let run = Run::named(name);
        let mut model = run.load();
        for (i, picture) in generate(&mut model, &run.request()).iter().enumerate() {
            let alone = GenerateRequest { seed: picture.seed, count: 1, ..run.request() };
            let alone = generate(&mut model, &alone);
            // Sums over a batch may be rounded in another order.
            assert_eq!(apart(&alone[0].pixels.rgb, &picture.pixels.rgb), None, "{name}, picture {i}");
        }
    }
}

#[test]
fn what_a_request_leaves_open_is_the_checkpoints_choice() {
    let mut model = load(true);
    let info = model.info().clone();
    assert!(!info.inpainting);
    assert_eq!((info.width, info.height, info.side_multiple), (32, 32, 4));
    assert_eq!((info.scheduler.as_str(), info.identity.and_then(|i| i.embedding_width)), ("pndm", Some(128)));
    assert_eq!((info.device, info.dtype), (device_name(device()), dtype().to_string()));
    let run = Run::named("nobody");
    let spelled_out = generate(&mut model, &GenerateRequest { steps: Some(info.steps), ..run.request() });
    let left_open = GenerateRequest { steps: None, guidance_scale: None, ..run.request() };
    assert_eq!(generate(&mut model, &left_open), spelled_out);
}

#[test]
fn events_are_complete_and_in_order() {
    let mut model = load(false);
    // 64 × 64 latent cells are denoised one picture at a time.
    for (side, count, steps, at_once) in [(32, 3, 5, 3), (256, 2, 1, 1)] {
        let request = GenerateRequest {
            width: Some(side),
            height: Some(side),
            steps: Some(steps),
            count,
            scheduler: Some("ddim".into()),
            ..Run::named("default").request()
        };
        let mut events = Vec::new();
        let drawn = model.generate(&request, &mut |e| events.push(e), &CancelFlag::default());
        assert!(drawn.is_ok());
        let evaluations = steps * count;
        let started = Event::Started { steps, evaluations, ignored_words: None };
        assert_eq!(events.first(), Some(&started));
        let done: Vec<(u32, u32)> = events
            .iter()
            .filter_map(|e| match e {
                Event::Progress { done, evaluations } => Some((*done, *evaluations)),
                _ => None,
            })
            .collect();
        let calls = evaluations / at_once;
        assert_eq!(done, (1..=calls).map(|n| (n * at_once, evaluations)).collect::<Vec<_>>());
        let finished: Vec<u32> = events
            .iter()
            .filter_map(|e| match e {
                Event::Finished { index, seconds, picture } if *seconds >= 0.0 => {
                    assert_eq!(
                        (picture.pixels.width, picture.seed),
                        (side, request.seed + u64::from(*index))
                    );
                    Some(*index)
                }
                _ => None,
            })
            .collect();
        assert_eq!(finished, (0..count).collect::<Vec<_>>());
        assert_eq!(events.len() as u32, 1 + calls + count);
        assert!(matches!(events.last(), Some(Event::Finished { .. })));
    }
}

#[test]
fn words_that_do_not_fit_are_reported() {
    let mut ignored = None;
    let mut hear = |event: Event| {
        if let Event::Started { ignored_words, .. } = event {
            ignored = ignored_words;
        }
    };
    let request = Run::named("long_prompt").request();
    assert!(load(false).generate(&request, &mut hear, &CancelFlag::default()).is_ok());
    assert_eq!(ignored.as_deref(), Some(", detailed"));
}

#[test]
fn the_cancel_flag_stops_a_run() {
    let mut model = load(false);
    let request = Run::named("default").request();
    let cancel = CancelFlag::default();
    let mut steps = 0;
    let mut stop_at_two = |event: Event| {
        if matches!(event, Event::Progress { .. }) {
            steps += 1;
            if steps == 2 {
                cancel.cancel();
            }
        }
    };
    let result = model.generate(&request, &mut stop_at_two, &cancel);
    assert!(matches!(result, Err(EngineError::Canceled)));
    assert_eq!(steps, 2);
    let result = model.generate(&request, &mut |_| {}, &cancel);
    assert!(matches!(result, Err(EngineError::Canceled)), "canceled before the first step");
    // A run that was stopped leaves nothing behind.
    let drawn = generate(&mut model, &request);
    assert_eq!(apart(&drawn[0].pixels.rgb, &bytes(&pictures(), "default")), None);
}

#[test]
fn pictures_that_were_finished_before_a_cancel_are_kept() {
    let mut model = load(false);
    // 64 × 64 latent cells are denoised one picture at a time.
    let mut request = Run::named("default").request();
    (request.width, request.height, request.steps, request.count) = (Some(256), Some(256), Some(1), 3);
    request.scheduler = Some("ddim".into());
    let cancel = CancelFlag::default();
    let mut kept = Vec::new();
    let mut keep = |event: Event| {
        if let Event::Finished { picture, .. } = event {
            kept.push(picture);
            cancel.cancel();
        }
    };
    let result = model.generate(&request, &mut keep, &cancel);
    assert!(matches!(result, Err(EngineError::Canceled)));
    request.count = 1;
    assert_eq!(kept, generate(&mut model, &request));
}

#[test]
fn a_person_is_heard_in_a_part_of_the_run() {
    let mut model = load(true);
    let whole = Run::named("person").request();
    let with = |steps: [f64; 2]| {
        let mut request = whole.clone();
        request.people[0].steps = steps;
        request
    };
    let silent = {
        let mut request = whole.clone();
        request.people[0].scale = 0.0;
        generate(&mut model, &request)
    };
    let half = generate(&mut model, &with([0.0, 0.5]));
    assert!(largest_difference(&half[0].pixels.rgb, &silent[0].pixels.rgb) > 1);
    assert!(largest_difference(&half[0].pixels.rgb, &bytes(&pictures(), "person")) > 1);
    assert_eq!(generate(&mut model, &with([0.3, 0.3])), silent);
    let two_parts = generate(&mut model, &with([0.0, 0.999]));
    assert_eq!(apart(&two_parts[0].pixels.rgb, &bytes(&pictures(), "person")), None);
}

/// Known to diffusers, not to this project: its settings still serve the schedulers that are.
#[test]
fn a_checkpoint_with_an_unknown_scheduler_is_drawn_with_another() {
    let file = "scheduler/scheduler_config.json";
    let copy = CheckpointCopy::new();
    copy.json(file, "_class_name", "KDPM2DiscreteScheduler".into());
    let mut model = load_from(copy.path(""), false, dtype());
    assert_eq!(model.info().scheduler, "KDPM2DiscreteScheduler");
    let message = refusal(&mut model, &Run::named("default").request());
    assert!(message.contains(file) && message.contains("KDPM2DiscreteScheduler"), "{message}");
    let drawn = generate(&mut model, &Run::named("ddim").request());
    assert_eq!(apart(&drawn[0].pixels.rgb, &bytes(&pictures(), "ddim")), None);
}

#[test]
fn the_text_encoder_limits_prompts_where_the_tokenizer_does_not() {
    for length in [serde_json::Value::Null, 4000.into(), 1e30.into()] {
        let copy = CheckpointCopy::new();
        copy.json("tokenizer/tokenizer_config.json", "model_max_length", length);
        let mut model = load_from(copy.path(""), false, dtype());
        let drawn = generate(&mut model, &Run::named("long_prompt").request());
        assert_eq!(apart(&drawn[0].pixels.rgb, &bytes(&pictures(), "long_prompt")), None);
    }
}

#[test]
fn a_checkpoint_made_for_pictures_beyond_every_limit_is_refused() {
    let copy = CheckpointCopy::new();
    copy.json("unet/config.json", "sample_size", 1_000_000.into());
    let mut model = load_from(copy.path(""), false, dtype());
    let message = refusal(&mut model, &Run::named("default").request());
    assert!(message.contains("width is 4000000"), "{message}");
    let small = GenerateRequest { width: Some(32), height: Some(32), ..Run::named("default").request() };
    let drawn = generate(&mut model, &small);
    assert_eq!(apart(&drawn[0].pixels.rgb, &bytes(&pictures(), "default")), None);
}

#[test]
fn bf16_draws_nearly_the_same_picture() {
    let expected = bytes(&pictures(), "person");
    let mut model = load_from(fixtures("pipeline").join("checkpoint"), true, DtypeChoice::Bf16);
    assert_eq!(model.info().dtype, "bf16");
    let drawn = generate(&mut model, &Run::named("person").request());
    let mean = mean_difference(&drawn[0].pixels.rgb, &expected);
    println!("bf16: mean difference {mean:.2}/255");
    assert!(mean > 0.0, "bf16 was not used");
    assert!(mean < NEARLY, "mean difference {mean:.2}/255");
}

fn refusal(model: &mut StableDiffusion, request: &GenerateRequest) -> String {
    match model.generate(request, &mut |e| panic!("{e:?} before the refusal"), &CancelFlag::default()) {
        Err(e @ (EngineError::Request(_) | EngineError::Unsupported(_))) => e.to_string(),
        Err(e) => panic!("not the request's fault: {e}"),
        Ok(()) => panic!("{request:?} must be refused"),
    }
}

#[test]
fn requests_that_do_not_fit_the_model_are_refused() {
    let (mut plain, mut personal) = (load(false), load(true));
    let base = Run::named("default").request();
    let face = |width: usize| vec![Identity::of_embedding(vec![0.1; width], 1.0)];
    let message = refusal(&mut plain, &GenerateRequest { people: face(128), ..base.clone() });
    assert!(message.contains("no identity adapter"), "{message}");
    let message = refusal(&mut personal, &GenerateRequest { people: face(512), ..base.clone() });
    assert!(message.contains("adapter.safetensors") && message.contains("128"), "{message}");
    let message = refusal(&mut plain, &GenerateRequest { width: Some(30), ..base.clone() });
    assert!(message.contains("width is 30") && message.contains("multiple of 4"), "{message}");
    let message = refusal(&mut plain, &GenerateRequest { count: 0, ..base.clone() });
    assert!(message.contains("n is 0"), "{message}");
    let message = refusal(&mut plain, &GenerateRequest { scheduler: Some("magic".into()), ..base.clone() });
    assert!(message.contains("magic") && message.contains("euler"), "{message}");
    let message = refusal(&mut plain, &GenerateRequest { steps: Some(1000), ..base });
    assert!(message.contains("steps"), "{message}");
}
