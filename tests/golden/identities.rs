//! Whole pictures of people against diffusers' pipelines: every kind of IP-Adapter for both base models, two people by
//! masks, InstantID of one and of two, PhotoMaker (fixtures by `generate/identities.py`).

use std::path::PathBuf;

use imagine_contract::{
    Engine, GenerateRequest, GrayPixels, Identity, KeyPoints, Reference, Region, RgbPixels, Stage,
};
use imagine_pipeline::{LoadOptions, PipelineError, StableDiffusion};
use imagine_tests::{Golden, fixtures, place};
use serde::Deserialize;
use tch::Kind;

use crate::picture_runs::{Comparison, Run, apart, bytes, generate, largest_difference};

/// What a run has beside a request's own fields.
#[derive(Deserialize)]
struct Who {
    name: String,
    adapter_file: String,
    scales: Vec<f64>,
    /// References of the one person, where there are several.
    references: Option<i64>,
}

impl Who {
    fn is_sdxl(&self) -> bool {
        self.name.starts_with("instantid") || self.name.ends_with("sdxl") || self.is_photo_maker()
    }

    fn is_photo_maker(&self) -> bool {
        self.name.starts_with("photomaker")
    }
}

pub fn pictures() -> Golden {
    Golden::read("identities", "pictures.safetensors")
}

/// The run of that name with its adapter and its people.
fn named(name: &str) -> (Run, Who) {
    let text = std::fs::read_to_string(fixtures("identities").join("runs.json")).expect("the list of runs");
    let all: Vec<Who> = serde_json::from_str(&text).expect("the list of runs is JSON");
    let who = all.into_iter().find(|who| who.name == name).expect("a run of that name");
    (Run::named("identities", name), who)
}

fn options(who: &Who) -> LoadOptions {
    let checkpoint = if who.is_sdxl() { "sdxl" } else { "pipeline" };
    // PhotoMaker's vision network lies in its own file; the folder says how it is built.
    let image_encoder = if who.is_photo_maker() {
        Some(fixtures("identities").join("photomaker"))
    } else {
        let looks = ["plus", "plain", "full-face"].iter().any(|kind| who.name.contains(kind));
        looks.then(|| fixtures("ip_adapters").join("image_encoder"))
    };
    LoadOptions {
        model: fixtures(checkpoint).join("checkpoint"),
        adapter: Some(fixtures("identities").join(&who.adapter_file)),
        image_encoder,
        device: place().choice,
        dtype: place().dtype,
        ..LoadOptions::default()
    }
}

fn load(options: &LoadOptions) -> StableDiffusion {
    StableDiffusion::load(options).unwrap_or_else(|e| panic!("{e}"))
}

/// Everything that is known of the fixture's person `i`.
pub fn reference(golden: &Golden, i: i64, raw: bool) -> Reference {
    let face = golden.get(&format!("picture.{i}"));
    let size = face.size();
    let face = RgbPixels { width: size[1] as u32, height: size[0] as u32, rgb: bytes(&face) };
    let floats = |t: tch::Tensor| Vec::<f32>::try_from(t.flatten(0, -1)).expect("f32 numbers");
    let points = floats(golden.get("points").narrow(0, i, 1));
    let points =
        KeyPoints { points: [0, 1, 2, 3, 4].map(|n| [points[2 * n], points[2 * n + 1]]), photo: [32, 32] };
    if !raw {
        let embedding = floats(golden.get("faces").narrow(0, i, 1));
        return Reference {
            face: Some(face),
            key_points: Some(points),
            ..Reference::of_embedding(embedding)
        };
    }
    let raw = golden.get("raw").narrow(0, i, 1);
    let norm = raw.square().sum(Kind::Float).sqrt();
    let embedding = floats(&raw / &norm);
    Reference { embedding, norm: norm.double_value(&[]) as f32, face: None, key_points: Some(points) }
}

/// Where the fixture's person `i` is, if there are two.
pub fn region(golden: &Golden, i: i64) -> Region {
    let values = bytes(&golden.get("masks").narrow(0, i, 1));
    Region::Mask(GrayPixels { width: 32, height: 32, values })
}

fn request(golden: &Golden, run: &Run, who: &Who) -> GenerateRequest {
    let raw = who.name.starts_with("instantid");
    let person = |(i, &scale): (usize, &f64)| {
        let region = region(golden, i as i64);
        let rows = i as i64..i as i64 + who.references.unwrap_or(1);
        let mut references: Vec<Reference> = rows.map(|row| reference(golden, row, raw)).collect();
        if who.is_photo_maker() {
            // As long as the fixture's raw embeddings are.
            references.iter_mut().for_each(|reference| reference.norm = 4.0);
        }
        Identity {
            references,
            region: (who.scales.len() > 1).then_some(region),
            ..Identity::of_embedding(Vec::new(), scale)
        }
    };
    GenerateRequest { people: who.scales.iter().enumerate().map(person).collect(), ..run.request(None) }
}

#[test]
fn every_picture_equals_diffusers() {
    let golden = pictures();
    let mut comparison = Comparison::default();
    for run in Run::all("identities") {
        let (_, who) = named(&run.name);
        comparison.compare(&run, generate(&mut load(&options(&who)), &request(&golden, &run, &who)), &golden);
    }
    comparison.finish();
}

#[test]
fn people_are_heard_in_their_boxes() {
    let golden = pictures();
    let (run, who) = named("two_faceid");
    let mut model = load(&options(&who));
    let masked = request(&golden, &run, &who);
    let mut boxed = masked.clone();
    for (person, corners) in boxed.people.iter_mut().zip([[0.0, 0.0, 0.5, 1.0], [0.5, 0.1875, 1.0, 1.0]]) {
        person.region = Some(Region::Box(corners));
    }
    let drawn = generate(&mut model, &boxed);
    assert_eq!(drawn, generate(&mut model, &masked), "the same regions, as boxes");
    boxed.people.swap(0, 1);
    assert_eq!(drawn, generate(&mut model, &boxed), "their order says nothing");
    let (first, second) = (boxed.people[0].region.clone(), boxed.people[1].region.clone());
    (boxed.people[0].region, boxed.people[1].region) = (second, first);
    let swapped = generate(&mut model, &boxed);
    assert!(largest_difference(&drawn[0].pixels.rgb, &swapped[0].pixels.rgb) > 1, "their places do");
}

#[test]
fn instant_id_keeps_people_apart() {
    let golden = pictures();
    let (run, who) = named("instantid_two");
    let mut model = load(&options(&who));
    let two = request(&golden, &run, &who);
    let mut draw = |change: &dyn Fn(&mut GenerateRequest)| {
        let mut request = two.clone();
        change(&mut request);
        generate(&mut model, &request).remove(0).pixels.rgb
    };
    let drawn = draw(&|_| ());
    assert_eq!(drawn, draw(&|r| r.people.swap(0, 1)), "their order says nothing");
    let moved = draw(&|r| r.people[1].references[0].key_points = r.people[0].references[0].key_points);
    assert!(largest_difference(&drawn, &moved) > 1, "everyone's key points are seen");
    // Somebody of strength 0 beside a person who has the whole picture changes nothing.
    let alone = draw(&|r| {
        r.people.pop();
        r.people[0].region = None;
    });
    let beside_nobody = draw(&|r| {
        r.people[0].region = Some(Region::Box([0.0, 0.0, 1.0, 1.0]));
        r.people[1].scale = 0.0;
    });
    assert_eq!(apart(&alone, &beside_nobody), None);
    // Whoever is no longer heard leaves the ControlNet, too.
    let late = draw(&|r| r.people[1].steps = [0.0, 0.5]);
    assert!(largest_difference(&drawn, &late) > 1);
}

#[test]
fn what_an_adapter_needs_is_told_and_asked_for() {
    let golden = pictures();
    let refusal = |model: &mut StableDiffusion, request: &GenerateRequest| {
        model.pictures(request).map(drop).expect_err("something is missing").to_string()
    };
    let (run, who) = named("plusv2");
    let mut model = load(&options(&who));
    let needs = model.info().identity.clone().expect("an adapter");
    assert_eq!(
        (needs.kind.as_str(), needs.embedding_width, needs.face_side),
        ("faceid-plusv2", Some(12), Some(224))
    );
    let mut blind = request(&golden, &run, &who);
    blind.people[0].references[0].face = None;
    let message = refusal(&mut model, &blind);
    assert!(message.contains("plusv2") && message.contains("CLIP"), "{message}");

    let (run, who) = named("instantid");
    let mut model = load(&options(&who));
    let needs = model.info().identity.clone().expect("an adapter");
    assert_eq!((needs.kind.as_str(), needs.key_points, needs.raw_embedding), ("instantid", true, true));
    let mut nowhere = request(&golden, &run, &who);
    nowhere.people[0].references[0].key_points = None;
    assert!(refusal(&mut model, &nowhere).contains("key points"));
}

#[test]
fn photo_maker_draws_one_person_by_the_trigger_word() {
    let golden = pictures();
    let (run, who) = named("photomaker-v2.1");
    let mut model = load(&options(&who));
    let needs = model.info().identity.clone().expect("an adapter");
    assert_eq!((needs.kind.as_str(), needs.trigger_word.as_deref()), ("photomaker-v2", Some("img")));
    assert_eq!((needs.embedding_width, needs.regions), (Some(12), false));
    let good = request(&golden, &run, &who);
    let mut refused = |change: fn(&mut GenerateRequest), says: &str| {
        let mut request = good.clone();
        change(&mut request);
        let message = model.pictures(&request).map(drop).expect_err(says).to_string();
        assert!(message.contains(says), "{message}");
    };
    refused(|r| r.prompt = "a portrait of a woman".into(), "trigger word \"img\" once, found 0");
    refused(|r| r.prompt = "img of a woman".into(), "must follow the word");
    refused(|r| r.people[0].references[0].face = None, "photos are needed");
    refused(|r| r.people[0].references[0].embedding.clear(), "face embedding");
    refused(|r| r.people[0].region = Some(Region::Box([0.0, 0.0, 0.5, 1.0])), "no regions");
    refused(|r| r.people[0].stages = vec![Stage { steps: [0.0, 1.0], scale: 1.0 }], "one strength");
    refused(|r| r.people[0].group_scales = [("traits".into(), 1.0)].into(), "there are: none");
    // Nobody: the prompt is heard as it stands, with PhotoMaker's LoRA.
    let mut nobody = good.clone();
    nobody.people.clear();
    assert!(model.pictures(&nobody).is_ok());
    // Heard from the first step that may hear the person, and never.
    let mut early = good.clone();
    early.people[0].steps = [0.01, 1.0];
    let mut never = good.clone();
    never.people[0].scale = 0.0;
    let drawn = [&good, &early, &never].map(|request| generate(&mut model, request).remove(0).pixels.rgb);
    assert!(largest_difference(&drawn[0], &drawn[1]) > 0 && largest_difference(&drawn[0], &drawn[2]) > 1);
}

#[test]
fn encoders_that_are_missing_or_do_not_fit_are_refused() {
    let refused = |options: LoadOptions, says: &[&str]| {
        let error: PipelineError = StableDiffusion::load(&options).map(drop).expect_err("refused");
        let message = error.to_string();
        assert!(error.is_input() && says.iter().all(|word| message.contains(word)), "{message}");
    };
    let plus = options(&named("plusv2").1);
    let without = LoadOptions { image_encoder: None, ..plus.clone() };
    refused(without, &["needs a CLIP vision encoder", "10 wide", "--image-encoder"]);
    let other =
        LoadOptions { image_encoder: Some(fixtures("pipeline").join("checkpoint/unet")), ..plus.clone() };
    refused(other, &["config.json"]);
    let sdxl = LoadOptions { model: fixtures("sdxl").join("checkpoint"), ..plus };
    refused(sdxl, &["16 wide", "20 wide", "another base model"]);

    let instant = options(&named("instantid").1);
    let alone = tempfile::tempdir().expect("a temporary folder");
    let file: PathBuf = alone.path().join("ip-adapter.bin");
    std::fs::copy(instant.adapter.clone().expect("an adapter"), &file).expect("a copy");
    let without = LoadOptions { adapter: Some(file), ..instant.clone() };
    refused(without, &["InstantID", "ControlNetModel", "--controlnet"]);
    let other = fixtures("controlnet").join("sdxl/controlnet");
    refused(LoadOptions { controlnet: Some(other), ..instant }, &["config.json"]);
}
