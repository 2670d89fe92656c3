//! Drawing by identity cards: from photos, from files, corrected, and where the adapter does not hear them.

use std::fs;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value;

use crate::server::Server;
use crate::support::{Run, Workplace, adapter, embedding, npy, portrait};

/// An adapter of the kind "card" for the tiny checkpoint: attention of the tiny FaceID adapter, and MLPs of
/// numbers that are no one's but the same in every run.
fn card_adapter(file: &Path) {
    let faceid = fs::read(adapter()).unwrap();
    let faceid = SafeTensors::deserialize(&faceid).unwrap();
    let width = faceid.tensor("image_proj.norm.weight").unwrap().shape()[0];
    let mut made: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (group, inputs, tokens) in [("descriptor", 129, 4), ("colours", 8, 2), ("traits", 11, 2)] {
        let hidden = 12;
        for (name, shape, one) in [
            ("proj.0.weight", vec![hidden, inputs], false),
            ("proj.0.bias", vec![hidden], false),
            ("proj.2.weight", vec![tokens * width, hidden], false),
            ("proj.2.bias", vec![tokens * width], false),
            ("norm.weight", vec![width], true),
            ("norm.bias", vec![width], false),
        ] {
            let count: usize = shape.iter().product();
            let value =
                |at: usize| if one { 2.0 } else { ((at + 1) as f32 * 1.7 + inputs as f32).sin() * 0.5 };
            let bytes = (0..count).flat_map(|at| value(at).to_le_bytes()).collect();
            made.push((format!("image_proj.{group}.{name}"), shape, bytes));
        }
    }
    let attention = faceid.iter().filter(|(key, _)| key.ends_with("_ip.weight"));
    let mut all: Vec<(String, TensorView<'_>)> =
        attention.map(|(key, view)| (key.to_owned(), view)).collect();
    for (key, shape, bytes) in &made {
        all.push((key.clone(), TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    }
    fs::write(file, safetensors::serialize(all, None).unwrap()).unwrap();
}

/// The tiny checkpoint with a card adapter, and a way to draw with it.
struct Place(Workplace);

impl Place {
    fn new() -> Self {
        let place = Workplace::new();
        card_adapter(&place.path("card.safetensors"));
        Self(place)
    }

    fn draw(&self, more: &[&str]) -> Run {
        let args = ["--adapter", "card.safetensors", "--seed", "5", "--guidance", "4", "--json"];
        self.0.generate([&args[..], more].concat())
    }

    /// Likeness and the bytes of the pixels.
    fn picture(&self, more: &[&str]) -> (serde_json::Value, Vec<u8>) {
        let run = self.draw(&[more, &["--out", "me.png"]].concat()).done();
        let pixels = image::open(self.0.path("me.png")).unwrap().to_rgb8().into_raw();
        fs::remove_file(self.0.path("me.png")).unwrap();
        (run.json()["pictures"][0].clone(), pixels)
    }
}

/// The largest difference of two pictures' values: sums of several photos are rounded otherwise than one.
fn difference(one: &[u8], other: &[u8]) -> u8 {
    assert_eq!(one.len(), other.len());
    one.iter().zip(other).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn a_photo_a_card_and_their_corrections_are_drawn_by() {
    let place = Place::new();
    let photo = portrait().display().to_string();
    let (_, of_photo) = place.picture(&["--photo", &photo]);
    place.0.run(["people", "card", &photo, "--out", "me.json"]).done();
    let (_, of_card) = place.picture(&["--card", "me.json"]);
    assert!(difference(&of_photo, &of_card) <= 2, "the card is all that the adapter hears of a photo");
    let said = ["--card-set", "glasses=yes", "--card-set", "hair-colour=red", "--card-without", "skin"];
    let (_, corrected) = place.picture(&[&["--photo", &photo], &said[..]].concat());
    assert!(difference(&corrected, &of_photo) > 20, "what is said is heard");
    let (_, again) = place.picture(&[&["--card", "me.json"], &said[..]].concat());
    assert!(difference(&again, &corrected) <= 2);
    let spec = "card=me.json;set=glasses=yes,hair-colour=red;without=skin";
    assert!(difference(&place.picture(&["--person", spec]).1, &corrected) <= 2);
    let args = ["people", "card", "me.json", "--set", "glasses=yes", "--set", "hair-colour=red", "--without"];
    place.0.run([&args[..], &["skin", "--out", "said.json"]].concat()).done();
    assert!(difference(&place.picture(&["--card", "said.json"]).1, &corrected) <= 2);
    // Two photos of one person are one card, the mean that `people card` shows.
    let (_, twice) = place.picture(&["--photo", &photo, &photo]);
    assert!(difference(&twice, &of_photo) <= 2);
    // An empty card is somebody of whom nothing is known, whose likeness cannot be told.
    place.0.file("nobody.json", b"{\"version\": 2}");
    let (report, nobody) = place.picture(&["--card", "nobody.json"]);
    assert!(report["likeness"].is_null(), "{report}");
    assert!(difference(&nobody, &of_photo) > 20);
}

#[test]
fn each_group_of_a_card_has_a_strength() {
    let place = Place::new();
    let photo = portrait().display().to_string();
    place.0.run(["people", "card", &photo, "--out", "me.json"]).done();
    let draw = |more: &[&str]| place.picture(&[&["--card", "me.json"], more].concat()).1;
    let plain = draw(&[]);
    assert_eq!(draw(&["--card-scale", "descriptor=1,colours=1,traits=1"]), plain);
    // The person's strength multiplies all groups', and a part of the run those of the whole.
    let half = draw(&["--identity-scale", "0.5"]);
    assert!(difference(&half, &plain) > 2);
    assert_eq!(draw(&["--card-scale", "descriptor=0.5,colours=0.5,traits=0.5"]), half);
    assert_eq!(draw(&["--identity-scale", "0.25", "--card-scale", "descriptor=2,colours=2,traits=2"]), half);
    assert_eq!(draw(&["--identity-steps", "0-0.4:0.5,0.4-1:0.5"]), half);
    let early = draw(&["--identity-steps", "0-0.5"]);
    assert_eq!(draw(&["--identity-steps", "0-0.5:1"]), early);
    assert!(difference(&early, &plain) > 2);
    let rising = draw(&["--identity-steps", "0-0.5:0.5,0.5-1:1.5"]);
    assert!(difference(&rising, &plain) > 2 && difference(&rising, &half) > 2);
    let without: Vec<_> = ["descriptor", "colours", "traits"]
        .iter()
        .map(|group| draw(&["--card-scale", &format!("{group}=0")]))
        .collect();
    for (one, other) in [(0, 1), (0, 2), (1, 2)] {
        assert!(difference(&without[one], &without[other]) > 2, "{one} is not {other}");
    }
    assert!(without.iter().all(|picture| difference(picture, &plain) > 2), "each is heard");
    assert_eq!(draw(&["--card-scale", "descriptor=0,colours=0,traits=0"]), draw(&["--identity-scale", "0"]));
    // In the picture it is written how, and `--person` takes the same.
    let spec = "card=me.json;card-scale=traits=0;steps=0-1:1";
    let (report, by_spec) = place.picture(&["--person", spec]);
    assert_eq!(by_spec, without[2], "{report}");
    place
        .draw(&["--card", "me.json", "--card-scale", "hands=1"])
        .refused(&["\"hands\"", "descriptor, colours, traits"]);
    place.draw(&["--card", "me.json", "--card-scale", "traits"]).refused(&["descriptor=0.8 is one"]);
    let plain = Workplace::new();
    plain
        .generate(["--photo", &photo, "--card-scale", "traits=1"])
        .refused(&["\"traits\"", "there are: none"]);
}

#[test]
fn a_server_keeps_a_card_shows_it_and_draws_by_it_corrected() {
    let place = Workplace::new();
    fs::remove_file(place.model().join("ip-adapter-faceid_tiny.safetensors")).unwrap();
    card_adapter(&place.model().join("ip-adapter-card_tiny.safetensors"));
    let model = place.model().display().to_string();
    let server = Server::start(place, &["--model", &model]);
    let photo = portrait().display().to_string();
    let person =
        server.imagine(&["people", "add", "Eileen", "--photo", &photo, "--consent", "self"]).done().json();
    assert_eq!((&person["card"], &person["encoder"]), (&Value::from(true), &Value::from("card")));
    let id = person["id"].as_str().unwrap();
    let lines = server.imagine(&["people", "card", id]).done().stdout;
    assert!(lines.contains("descriptor   128 numbers") && lines.contains("sex          woman"), "{lines}");
    let draw_with = |scales: Value| {
        let job = serde_json::json!({"prompt": "a red hat", "people": [{"person": id, "card_scale": scales}],
            "seed": 5, "steps": 2, "guidance_scale": 4, "expand": false});
        let (status, job) = server.post("/v1/jobs", &job);
        assert_eq!(status, 202, "{job}");
        let path = format!("/v1/jobs/{}", job["id"].as_str().unwrap());
        server.events(&format!("{path}/events"));
        let done = server.json(&path);
        assert_eq!(done["status"], "succeeded", "{done}");
        let (_, png) = server.get(done["output"][0]["url"].as_str().unwrap());
        image::load_from_memory(&png).unwrap().to_rgb8().into_raw()
    };
    let draw = || draw_with(serde_json::json!({}));
    let before = draw();
    // Strengths of groups, as `generate` takes them.
    let scaled = draw_with(serde_json::json!({"descriptor": 0.5, "traits": 0}));
    assert!(difference(&scaled, &before) > 2);
    let out = server.place.path("scaled.png").display().to_string();
    let args =
        ["--photo", &photo, "--seed", "5", "--guidance", "4", "--card-scale", "descriptor=0.5,traits=0"];
    server.place.generate([&args[..], &["--out", &out]].concat()).done();
    let parameters = fs::read(&out).unwrap();
    assert!(memchr::memmem::find(&parameters, b"Card scales: \"descriptor=0.5,traits=0\"").is_some());
    assert!(difference(&image::open(&out).unwrap().to_rgb8().into_raw(), &scaled) <= 2);
    let said = ["--set", "glasses=yes", "--set", "hair-colour=red", "--without", "skin"];
    let lines = server.imagine(&[&["people", "card", id], &said[..]].concat()).done().stdout;
    assert!(lines.contains("skin         left out"), "{lines}");
    let after = draw();
    assert!(difference(&before, &after) > 20, "what is said is heard");
    // The same as `generate` draws of the same photo, corrected alike.
    let out = server.place.path("me.png").display().to_string();
    let corrected = ["--card-set", "glasses=yes", "--card-set", "hair-colour=red", "--card-without", "skin"];
    let args = ["--photo", &photo, "--seed", "5", "--guidance", "4", "--out", &out];
    server.place.generate([&args[..], &corrected].concat()).done();
    let generated = image::open(&out).unwrap().to_rgb8().into_raw();
    assert!(difference(&generated, &after) <= 2);
    let reset = ["--reset", "glasses", "--reset", "hair-colour", "--reset", "skin"];
    server.imagine(&[&["people", "card", id], &reset[..]].concat()).done();
    assert!(difference(&draw(), &before) <= 2, "back to the photos");
    server.imagine(&["people", "card", id, "--set", "glasses=perhaps"]).refused(&["neither yes nor no"]);
    let log = server.log();
    assert!(!log.contains("glasses") && !log.contains("Eileen"), "{log}");
}

#[test]
fn numbers_of_a_card_are_an_embedding() {
    let place = Place::new();
    place.0.file("me.npy", &npy(&embedding(149)));
    place.picture(&["--identity-embedding", "me.npy"]);
    place.0.file("other.npy", &npy(&embedding(128)));
    place.draw(&["--identity-embedding", "other.npy"]).refused(&["128 numbers", "149"]);
}

#[test]
fn an_adapter_that_does_not_hear_cards_refuses_them() {
    let place = Workplace::new();
    place.file("me.json", b"{\"version\": 2}");
    let photo = portrait().display().to_string();
    let run = place.generate(["--card", "me.json"]);
    assert!(run.stderr.contains("hint: give photos"), "{}", run.stderr);
    run.refused(&["the adapter (faceid) does not draw by an identity card"]);
    place
        .generate(["--photo", &photo, "--card-set", "glasses=no"])
        .refused(&["the adapter (faceid) does not draw by an identity card"]);
    place.generate(["--person", "card=me.json"]).refused(&["does not draw by an identity card"]);
}

#[test]
fn what_is_no_card_is_refused_before_the_model_is_loaded() {
    let place = Place::new();
    place.0.file("old.json", b"{\"version\": 1}");
    place.0.file("broken.json", b"{");
    place.draw(&["--card", "old.json"]).refused(&["old.json", "version 1"]);
    place.draw(&["--card", "broken.json"]).refused(&["broken.json", "not an identity card"]);
    place.draw(&["--card", "none.json"]).refused(&["none.json"]);
    let run = place.draw(&["--card", "old.json", "--card-set", "nose=long"]);
    run.refused(&["no part \"nose\""]);
}
