//! The worker over both databases, with a studio that paints plain colours.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod outage;
#[path = "support/studio.rs"]
mod studio;
#[path = "../../store/tests/support/mod.rs"]
mod support;

use std::sync::Arc;
use std::time::Duration;

use imagine_contract::{
    CancelFlag, CardChanges, EngineError, ExpandError, Expander, Expansion, FaceData, GrayPixels, Idea,
    KeyPoints, Language, Mode, NoteCode, Parts, Region, RgbPixels, Source, Stage,
};
use imagine_store::{
    Archive, EditInput, EditSource, ImageFormat, Job, JobEvent, JobId, JobStatus, NewJob, NewPerson,
    NewPhoto, PersonInput, S3Blobs, Vault,
};
use imagine_worker::{Drained, Worker, WorkerOptions};
use studio::{Eyes, Painter, STEPS, colour};
use support::{Place, both, consent, job, of};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

both!(
    draws_a_person,
    draws_by_what_a_person_says_of_their_card,
    formats_and_edits,
    a_cancel_reaches_the_studio,
    what_was_drawn_is_not_drawn_again,
    failures_are_told,
    ideas_are_expanded_or_refused,
    ideas_are_looked_up_where_they_are_to_be,
    drains_and_gives_back,
    a_full_studio_is_waited_for,
    a_deleted_job_leaves_no_bytes,
);

/// A worker that runs until it is told to stop.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Drained>,
}

impl Running {
    fn start(worker: Worker) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async move {
            let _ = stopped.await;
        };
        Self { stop, task: tokio::spawn(worker.run(stopped)) }
    }

    async fn stop(self) -> Drained {
        self.stop.send(()).unwrap();
        self.task.await.unwrap()
    }
}

fn worker(archive: &Archive, painter: Painter) -> Worker {
    let options = WorkerOptions {
        renew_every: Duration::from_millis(100),
        progress_every: Duration::ZERO,
        ..WorkerOptions::default()
    };
    let faces = Some(Arc::new(Eyes) as Arc<_>);
    Worker { archive: archive.clone(), studio: Arc::new(painter), faces, expander: None, options }
}

async fn ended(archive: &Archive, tenant: &str, id: JobId) -> Job {
    let mut follow = archive.store.follow(tenant, id, 0).await.unwrap().unwrap();
    while follow.next().await.unwrap().is_some() {}
    archive.store.job(tenant, id).await.unwrap().unwrap()
}

async fn create(archive: &Archive, new: NewJob) -> JobId {
    archive.store.create_job(new).await.unwrap().into_inner().id
}

fn person() -> NewPerson {
    let crop = |side: u32| RgbPixels { width: side, height: side, rgb: vec![3; (side * side * 3) as usize] };
    let face = FaceData {
        index: 0,
        embedding: vec![0.625; 128],
        norm: 9.0,
        crops: vec![crop(224), crop(256)],
        key_points: KeyPoints { points: [[1.0, 2.0]; 5], photo: [10, 10] },
        card: None,
    };
    NewPerson {
        tenant: "local".into(),
        name: "Anna".into(),
        consent: consent(),
        encoder: "sface".into(),
        keep_photos: false,
        one_shot: false,
        photos: vec![NewPhoto { problems: Vec::new(), face: Some(face), photo: None }],
        card: CardChanges::default(),
        idempotency: None,
    }
}

async fn draws_a_person(place: Place) {
    let archive = place.archive().await;
    let id = archive.enrol(person()).await.unwrap().id;
    let mut new = job("me in a red hat");
    new.input.people.push(PersonInput { scale: Some(0.7), ..PersonInput::new(id) });
    (new.input.n, new.input.previews) = (2, 2);
    let left = RgbPixels { width: 2, height: 1, rgb: vec![255, 255, 255, 0, 0, 0] };
    let mask = archive.put_upload("local", &imagine_pictures::webp(&left).unwrap()).await.unwrap();
    let stages = vec![Stage { steps: [0.0, 0.5], scale: 0.25 }];
    let me = &mut new.input.people[0];
    (me.mask, me.stages, me.card_scale) = (Some(mask), stages.clone(), [("traits".into(), 0.5)].into());
    let job = create(&archive, new).await;
    let mut follow = archive.store.follow("local", job, 0).await.unwrap().unwrap();
    let painter = Painter::new(Duration::from_millis(5));
    let orders = Arc::clone(&painter.orders);
    let running = Running::start(worker(&archive, painter));
    let mut seen = Vec::new();
    while let Some(event) = follow.next().await.unwrap() {
        seen.push(event.event);
    }
    let names: Vec<_> = seen.iter().map(JobEvent::name).collect();
    assert!(names.starts_with(&["job.queued", "job.started"]), "{names:?}");
    assert_eq!(names.iter().filter(|name| **name == "job.output").count(), 2);
    assert_eq!(names.last(), Some(&"job.succeeded"));
    let previews: Vec<_> = seen
        .iter()
        .filter_map(|event| match event {
            JobEvent::Preview { jpeg, .. } => Some(imagine_pictures::decode(jpeg).unwrap()),
            _ => None,
        })
        .collect();
    // Through Postgres only the latest waits to be fetched, until the job is over.
    assert!(place.url.is_some() || !previews.is_empty());
    assert!(previews.iter().all(|preview| preview.width == 64));
    let done = archive.store.job("local", job).await.unwrap().unwrap();
    assert_eq!(
        (done.status, done.progress, done.steps, done.attempts),
        (JobStatus::Succeeded, 1.0, STEPS, 1)
    );
    assert_eq!(done.outputs.len(), 2);
    for (image, seed) in done.outputs.iter().zip([7, 8]) {
        assert_eq!((image.seed, image.width, image.height), (seed, 64, 48));
        assert_eq!(image.likeness, [Some(0.625)]);
        assert_eq!(image.people, [id]);
        let bytes = archive.blobs.get(&image.blob).await.unwrap();
        assert_eq!(bytes.len() as u64, image.bytes);
        assert_eq!(imagine_pictures::decode(&bytes).unwrap().rgb[..3], colour(seed));
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("me in a red hat\nSteps: 4, Sampler: DDIM"), "the parameters are in the PNG");
        assert!(!text.contains("Anna"));
        let thumb = archive.blobs.get(&image.thumb).await.unwrap();
        assert_eq!(imagine_pictures::decode(&thumb).unwrap().width, 64);
    }
    let asked = orders.lock().unwrap()[0].clone();
    let reference = &asked.people[0].references[0];
    assert_eq!((asked.people[0].scale, reference.embedding.len()), (0.7, 128));
    // Only what the adapter asks for.
    assert_eq!(reference.face.as_ref().map(|face| face.width), Some(224));
    assert!(reference.key_points.is_none());
    let heard = &asked.people[0];
    let region = Region::Mask(GrayPixels { width: 2, height: 1, values: vec![255, 0] });
    assert_eq!(
        (heard.region.as_ref(), &heard.stages, heard.group_scales["traits"]),
        (Some(&region), &stages, 0.5)
    );
    assert_eq!(archive.open_upload("local", mask).await.unwrap(), None, "the mask goes with the job");
    running.stop().await;
}

async fn draws_by_what_a_person_says_of_their_card(place: Place) {
    let archive = place.archive().await;
    let id = archive.enrol(person()).await.unwrap().id;
    let mut new = job("me in a red hat");
    new.input.people.push(PersonInput::new(id));
    let painter = Painter::new(Duration::ZERO);
    let orders = Arc::clone(&painter.orders);
    let running = Running::start(worker(&archive, painter));
    let say = |value: &'static str| {
        let archive = archive.clone();
        async move {
            let change = |changes: &mut CardChanges| {
                changes.set.insert("glasses".into(), value.into());
            };
            archive.change_card("local", id, change).await.unwrap();
        }
    };
    let draw = || async {
        let made = create(&archive, new.clone()).await;
        ended(&archive, "local", made).await
    };
    assert_eq!(draw().await.status, JobStatus::Succeeded);
    say("yes").await;
    assert_eq!(draw().await.status, JobStatus::Succeeded);
    say("perhaps").await;
    let error = draw().await.error.unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("unsupported", "glasses: perhaps"));
    let heard: Vec<f32> =
        orders.lock().unwrap().iter().map(|order| order.people[0].references[0].embedding[1]).collect();
    assert_eq!(heard, [0.625, 0.5]);
    running.stop().await;

    let blind = Worker { faces: None, ..worker(&archive, Painter::new(Duration::ZERO)) };
    let running = Running::start(blind);
    let error = draw().await.error.unwrap();
    assert!(error.message.contains("no face encoder"), "{}", error.message);
    running.stop().await;
}

async fn formats_and_edits(place: Place) {
    let archive = place.archive().await;
    let mut new = job("a hat");
    (new.input.output_format, new.input.quality) = (ImageFormat::Jpeg, Some(95));
    new.input.size = Some([512, 256]);
    let first = create(&archive, new).await;
    let painter = Painter::new(Duration::ZERO);
    let orders = Arc::clone(&painter.orders);
    let running = Running::start(worker(&archive, painter));
    let image = ended(&archive, "local", first).await.outputs.remove(0);
    let bytes = archive.blobs.get(&image.blob).await.unwrap();
    assert!(bytes.starts_with(&[0xff, 0xd8]) && image.blob.as_str().ends_with(".jpeg"));
    let thumb = imagine_pictures::decode(&archive.blobs.get(&image.thumb).await.unwrap()).unwrap();
    assert_eq!((thumb.width, thumb.height), (256, 128));

    let white = RgbPixels { width: 8, height: 8, rgb: vec![255; 192] };
    let mask = archive.put_upload("local", &imagine_pictures::webp(&white).unwrap()).await.unwrap();
    let mut change = job("a blue hat");
    change.input.output_format = ImageFormat::Webp;
    change.input.edit = Some(EditInput {
        source: EditSource::Image(image.id),
        strength: 0.5,
        mask: Some(mask),
        keep_face: false,
        feather: Some(3),
    });
    let second = create(&archive, change.clone()).await;
    let changed = ended(&archive, "local", second).await;
    assert_eq!(changed.error, None);
    assert!(archive.blobs.get(&changed.outputs[0].blob).await.unwrap().starts_with(b"RIFF"));
    let asked = orders.lock().unwrap()[1].edit.clone().unwrap();
    assert_eq!((asked.strength, asked.picture.width), (0.5, 512));
    assert_eq!(asked.mask.unwrap().pixels.values, [255; 64]);
    assert!(archive.open_upload("local", mask).await.unwrap().is_none(), "it went with the job");
    // The mask is gone by now.
    let third = create(&archive, change).await;
    assert_eq!(ended(&archive, "local", third).await.error.unwrap().code, "picture_deleted");
    running.stop().await;
}

async fn a_cancel_reaches_the_studio(place: Place) {
    let (archive, elsewhere) = (place.archive().await, place.archive().await);
    let mut new = job("a hat");
    new.input.n = 1000;
    let id = create(&archive, new).await;
    let running = Running::start(worker(&archive, Painter::new(Duration::from_millis(2))));
    let mut follow = elsewhere.store.follow("local", id, 0).await.unwrap().unwrap();
    while !matches!(follow.next().await.unwrap().unwrap().event, JobEvent::Output(_)) {}
    elsewhere.store.cancel_job("local", id).await.unwrap();
    let canceled = ended(&elsewhere, "local", id).await;
    assert_eq!(canceled.status, JobStatus::Canceled);
    assert!(!canceled.outputs.is_empty() && canceled.outputs.len() < 1000, "what was done stays");
    running.stop().await;
}

async fn what_was_drawn_is_not_drawn_again(place: Place) {
    let archive = place.archive().await;
    let mut new = job("a hat");
    new.input.n = 3;
    let id = create(&archive, new).await;
    let painter = Painter::new(Duration::from_millis(30));
    let mut first = worker(&archive, painter);
    first.options.drain = Duration::ZERO;
    let running = Running::start(first);
    let mut follow = archive.store.follow("local", id, 0).await.unwrap().unwrap();
    while !matches!(follow.next().await.unwrap().unwrap().event, JobEvent::Output(_)) {}
    assert_eq!(running.stop().await.released, 1);
    let kept = archive.store.job("local", id).await.unwrap().unwrap();
    assert_eq!((kept.status, kept.attempts), (JobStatus::Queued, 0));
    let drawn = kept.outputs.len();
    assert!((1..3).contains(&drawn));
    let painter = Painter::new(Duration::ZERO);
    let orders = Arc::clone(&painter.orders);
    let running = Running::start(worker(&archive, painter));
    let done = ended(&archive, "local", id).await;
    assert_eq!(done.outputs.iter().map(|image| image.seed).collect::<Vec<_>>(), [7, 8, 9]);
    assert_eq!(done.outputs[..drawn], kept.outputs);
    let asked = orders.lock().unwrap()[0].clone();
    assert_eq!((asked.seed, asked.count), (7 + drawn as u64, 3 - drawn as u32));
    running.stop().await;
}

async fn failures_are_told(place: Place) {
    let archive = place.archive().await;
    let painter =
        |error: fn(String) -> EngineError| Painter { fail: Some(error), ..Painter::new(Duration::ZERO) };
    let running = Running::start(worker(&archive, painter(EngineError::OutOfMemory)));
    let id = create(&archive, job("a hat")).await;
    assert_eq!(ended(&archive, "local", id).await.error.unwrap().code, "out_of_memory");
    running.stop().await;
    let running = Running::start(worker(&archive, painter(EngineError::Failed)));
    let id = create(&archive, job("a hat")).await;
    let failed = ended(&archive, "local", id).await;
    assert_eq!((failed.status, failed.attempts), (JobStatus::Failed, 1));
    let error = failed.error.unwrap();
    assert_eq!(error.code, "engine_failed");
    assert!(!error.message.contains("colours"), "the model's own words are for the log");
    let mut wrong = job("a hat");
    wrong.expansion = Some(serde_json::json!({"prompt": 3}));
    let id = create(&archive, wrong).await;
    assert_eq!(ended(&archive, "local", id).await.error.unwrap().code, "invalid_expansion");
    running.stop().await;
}

/// Looks things up, or has nowhere to do so.
struct Poet {
    reads: bool,
}

impl Expander for Poet {
    fn expand(&self, idea: &Idea, _: &mut dyn FnMut(&str), _: &CancelFlag) -> Result<Expansion, ExpandError> {
        if idea.text.contains("forbidden") {
            return Err(ExpandError::Refused { rule: "test".into(), reason: "not that".into() });
        }
        let source = Source {
            title: "Oranges".into(),
            url: "https://example.org/oranges".into(),
            snippet: "Oranges are thrown.".into(),
        };
        let sources = if self.reads && idea.ground { vec![source] } else { Vec::new() };
        Ok(Expansion {
            prompt: format!("a portrait of {}, soft light", idea.text),
            negative_prompt: "blurred".into(),
            parts: Parts::default(),
            people: 1,
            language: Language::English,
            backend: "poet".into(),
            mode: Mode::Template,
            sources,
            dropped: Vec::new(),
            note: None,
            note_codes: Vec::new(),
        })
    }

    fn check(&self, _: &str) -> Result<(), ExpandError> {
        Ok(())
    }

    fn can_ground(&self) -> bool {
        self.reads
    }

    fn name(&self) -> &str {
        "poet"
    }
}

async fn ideas_are_expanded_or_refused(place: Place) {
    let archive = place.archive().await;
    let painter = Painter::new(Duration::ZERO);
    let orders = Arc::clone(&painter.orders);
    let running = Running::start(Worker {
        expander: Some(Arc::new(Poet { reads: true })),
        ..worker(&archive, painter)
    });
    let expand = |prompt: &str| {
        let mut new = job(prompt);
        new.input.expand = true;
        new
    };
    let refused = create(&archive, expand("something forbidden")).await;
    let error = ended(&archive, "local", refused).await.error.unwrap();
    assert_eq!((error.code.as_str(), error.message.as_str()), ("refused", "not that"));
    assert_eq!(error.rule.as_deref(), Some("test"));
    let id = create(&archive, expand("me as a king")).await;
    let done = ended(&archive, "local", id).await;
    let asked = orders.lock().unwrap()[0].clone();
    assert_eq!(asked.prompt, "a portrait of me as a king, soft light");
    assert_eq!(asked.negative_prompt, "blurred");
    assert_eq!(done.expansion.unwrap()["backend"], "poet");
    assert_eq!(done.outputs[0].prompt, "me as a king", "people find what they wrote");
    running.stop().await;
}

async fn ideas_are_looked_up_where_they_are_to_be(place: Place) {
    let archive = place.archive().await;
    let ask = |ground: bool| {
        let mut new = job("me in Ivrea");
        (new.input.expand, new.input.ground) = (true, ground);
        new
    };
    for (reads, ground, sources, note) in
        [(true, true, 1, false), (true, false, 0, false), (false, true, 0, true)]
    {
        let expander = Arc::new(Poet { reads });
        let painter = Painter::new(Duration::ZERO);
        let running = Running::start(Worker { expander: Some(expander), ..worker(&archive, painter) });
        let id = create(&archive, ask(ground)).await;
        let done = ended(&archive, "local", id).await;
        let expansion: Expansion = serde_json::from_value(done.expansion.unwrap()).unwrap();
        assert_eq!((expansion.sources.len(), expansion.note.is_some()), (sources, note), "{expansion:?}");
        assert_eq!(expansion.note_codes, if note { vec![NoteCode::NoSearch] } else { Vec::new() });
        let blob = archive.blobs.get(&done.outputs[0].blob).await.unwrap();
        let told = String::from_utf8_lossy(&blob).contains("https://example.org/oranges");
        assert_eq!(told, sources == 1, "the picture says what was read for it");
        running.stop().await;
    }
}

async fn drains_and_gives_back(place: Place) {
    let archive = place.archive().await;
    let quick = create(&archive, job("quick")).await;
    let mut long = job("long");
    long.input.n = 100_000;
    let long = create(&archive, long).await;
    let mut first = worker(&archive, Painter::new(Duration::from_millis(40)));
    first.options.drain = Duration::from_secs(3);
    let running = Running::start(first);
    let mut follow = archive.store.follow("local", long, 0).await.unwrap().unwrap();
    while !matches!(follow.next().await.unwrap().unwrap().event, JobEvent::Progress(_)) {}
    let begun = std::time::Instant::now();
    assert_eq!(running.stop().await.released, 1);
    assert!(begun.elapsed() < Duration::from_secs(8));
    assert_eq!(ended(&archive, "local", quick).await.status, JobStatus::Succeeded, "it had time to end");
    let back = archive.store.job("local", long).await.unwrap().unwrap();
    assert_eq!((back.status, back.attempts), (JobStatus::Queued, 0));
}

async fn a_full_studio_is_waited_for(place: Place) {
    let archive = place.archive().await;
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(create(&archive, job(&i.to_string())).await);
    }
    let painter = Painter { room: 1, ..Painter::new(Duration::from_millis(2)) };
    let running = Running::start(worker(&archive, painter));
    for id in ids {
        let done = ended(&archive, "local", id).await;
        assert_eq!((done.status, done.attempts), (JobStatus::Succeeded, 1));
    }
    running.stop().await;
}

async fn a_deleted_job_leaves_no_bytes(place: Place) {
    let archive = place.archive().await;
    let mut new = job("a hat");
    new.input.n = 1000;
    let id = create(&archive, new).await;
    let running = Running::start(worker(&archive, Painter::new(Duration::from_millis(1))));
    let mut follow = archive.store.follow("local", id, 0).await.unwrap().unwrap();
    while !matches!(follow.next().await.unwrap().unwrap().event, JobEvent::Output(_)) {}
    assert!(archive.delete_job("local", id).await.unwrap());
    running.stop().await;
    assert!(archive.blobs.list("", None, 10).await.unwrap().is_empty());
}

/// Two workers, as on two machines: a database and a bucket in common and nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn two_workers_share_postgres_and_s3() {
    let Some(place) = Place::postgres() else { return };
    let bucket = tempfile::tempdir().unwrap();
    let options = support::s3::serve(bucket.path()).await;
    let archive = async || {
        let blobs = Arc::new(S3Blobs::open(options.clone()).await.unwrap());
        Archive::open(place.open().await, blobs, Vault::new([5; 32])).await.unwrap()
    };
    let api = archive().await;
    let who = api.enrol(person()).await.unwrap().id;
    let mut running = Vec::new();
    let mut diaries = Vec::new();
    for name in ["one", "two"] {
        let painter = Painter::new(Duration::from_millis(5));
        diaries.push(Arc::clone(&painter.orders));
        let mut worker = worker(&archive().await, painter);
        worker.options.name = name.into();
        worker.options.jobs = 2;
        running.push(Running::start(worker));
    }
    let mut ids = Vec::new();
    for i in 0..24 {
        let mut new = NewJob { tenant: "local".into(), ..of(["anna", "bea"][i % 2], &format!("me {i}")) };
        new.input.people.push(PersonInput::new(who));
        ids.push(create(&api, new).await);
    }
    for id in ids {
        let done = ended(&api, "local", id).await;
        assert_eq!((done.status, done.attempts, done.outputs.len()), (JobStatus::Succeeded, 1, 1));
        let bytes = api.blobs.get(&done.outputs[0].blob).await.unwrap();
        assert_eq!(imagine_pictures::decode(&bytes).unwrap().rgb[..3], colour(7));
    }
    let drawn: Vec<usize> = diaries.iter().map(|orders| orders.lock().unwrap().len()).collect();
    assert_eq!(drawn.iter().sum::<usize>(), 24, "each once");
    assert!(drawn.iter().all(|count| *count > 0), "both worked: {drawn:?}");
    for worker in running {
        worker.stop().await;
    }
    assert!(bucket.path().join("pictures/imagine/images").exists());
    assert!(api.delete_person("local", who, true).await.unwrap().unwrap().pictures == 24);
    assert!(api.blobs.list("", None, 100).await.unwrap().is_empty());
}
