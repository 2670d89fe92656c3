//! Whole runs on the tiny checkpoint: files, text in the PNGs, JSON, seeds, and what must not leak.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::png_reader::Png;
use crate::support::{Workplace, adapter, embedding, embedding_width, finish, npy, portrait};

/// The bytes of a picture.
fn bytes(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// A workplace with an embedding file that fits the adapter.
fn with_person() -> (Workplace, PathBuf) {
    let place = Workplace::new();
    let file = place.file("someone-private.npy", &npy(&embedding(embedding_width())));
    (place, file)
}

#[test]
fn a_run_with_json_says_everything_once() {
    let (place, person) = with_person();
    let person = person.display().to_string();
    let run = place
        .generate([
            "--json",
            "--n",
            "2",
            "--seed",
            "7",
            "--guidance",
            "3.5",
            "--scheduler",
            "euler-a",
            "--identity-scale",
            "0.5",
            "--negative-prompt",
            "blurred, dark",
            "--identity-embedding",
            &person,
        ])
        .done();
    let json = run.json();
    let keys: BTreeSet<&str> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "contact_sheet",
        "device",
        "dtype",
        "guidance_scale",
        "height",
        "identity_scale",
        "load_seconds",
        "model",
        "negative_prompt",
        "pictures",
        "prompt",
        "scheduler",
        "seconds_total",
        "steps",
        "width",
    ];
    assert_eq!(keys, BTreeSet::from(expected));
    for (key, value) in [
        ("model", Value::from("tiny")),
        ("prompt", "a red hat".into()),
        ("negative_prompt", "blurred, dark".into()),
        ("steps", 2.into()),
        ("guidance_scale", 3.5.into()),
        ("scheduler", "euler-a".into()),
        ("dtype", "f32".into()),
        ("device", "cpu".into()),
        ("identity_scale", 0.5.into()),
        ("contact_sheet", "out/contact-sheet.png".into()),
    ] {
        assert_eq!(json[key], value, "{key}");
    }
    assert!(json["seconds_total"].as_f64() >= json["load_seconds"].as_f64());
    assert_eq!(place.names("out"), ["contact-sheet.png", "imagine-7.png", "imagine-8.png"]);
    for (picture, seed) in json["pictures"].as_array().unwrap().iter().zip([7, 8]) {
        let keys: BTreeSet<&str> = picture.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, BTreeSet::from(["likeness", "path", "seconds", "seed"]));
        assert_eq!(picture["path"], format!("out/imagine-{seed}.png"));
        assert_eq!(picture["seed"], seed);
        assert!(picture["seconds"].as_f64().unwrap() > 0.0);
        let png = Png::open(&place.path(&format!("out/imagine-{seed}.png")));
        assert_eq!(
            (json["width"].as_u64(), json["height"].as_u64()),
            (Some(png.width.into()), Some(png.height.into()))
        );
    }
}

#[test]
fn a_picture_says_how_it_was_made() {
    let (place, person) = with_person();
    let person = person.display().to_string();
    place
        .generate(["--seed", "5", "--guidance", "2", "--out", "me.png", "--identity-embedding", &person])
        .done();
    let png = Png::open(&place.path("me.png"));
    let size = format!("{}x{}", png.width, png.height);
    let line = png.text("parameters");
    assert!(line.starts_with("a red hat\nSteps: 2, Sampler: "), "{line}");
    for part in ["CFG scale: 2,", "Seed: 5,", &format!("Size: {size},"), "Model: tiny,", "Version: Imagine "]
    {
        assert!(line.contains(part), "\"{part}\" is missing in {line}");
    }
    let json: Value = serde_json::from_str(png.text("imagine")).unwrap();
    assert_eq!(
        (&json["prompt"], &json["seed"], &json["model"]),
        (&"a red hat".into(), &5.into(), &"tiny".into())
    );
    assert_eq!((&json["identity_scale"], &json["dtype"]), (&1.0.into(), &"f32".into()));
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    let xmp = png.text("XML:com.adobe.xmp");
    assert!(xmp.contains("Iptc4xmpExt:DigitalSourceType=\"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia\""));
    assert_eq!(png.texts.len(), 3, "no other text");
}

#[test]
fn a_prompt_beyond_latin_1_is_kept() {
    let place = Workplace::new();
    let model = place.model().display().to_string();
    place
        .run(["generate", "--prompt", "帽子 – café", "--steps", "1", "--out", "me.png", "--model", &model])
        .done();
    let png = Png::open(&place.path("me.png"));
    assert!(png.text("parameters").starts_with("帽子 – café\n"));
    let json: Value = serde_json::from_str(png.text("imagine")).unwrap();
    assert_eq!(json["prompt"], "帽子 – café");
}

#[test]
fn nothing_about_the_person_is_in_a_file() {
    let (place, person) = with_person();
    let values = embedding(embedding_width());
    place.generate(["--n", "2", "--seed", "1", "--identity-embedding", &person.display().to_string()]).done();
    let parent = person.parent().unwrap().display().to_string();
    for name in place.names("out") {
        let file = bytes(&place.path("out").join(name));
        assert!(!contains(&file, b"someone") && !contains(&file, b".npy"));
        assert!(!contains(&file, parent.as_bytes()), "the folder's path");
        for value in values.iter().filter(|v| v.abs() > 1e-3) {
            assert!(!contains(&file, &value.to_le_bytes()) && !contains(&file, value.to_string().as_bytes()));
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_file_and_another_seed_another() {
    let place = Workplace::new();
    for (seed, out) in [("3", "a.png"), ("3", "b.png"), ("4", "c.png")] {
        place.generate(["--seed", seed, "--out", out]).done();
    }
    assert_eq!(bytes(&place.path("a.png")), bytes(&place.path("b.png")));
    assert_ne!(Png::open(&place.path("a.png")).rgb, Png::open(&place.path("c.png")).rgb);
}

#[test]
fn picture_i_of_n_is_the_picture_of_its_seed_alone() {
    let place = Workplace::new();
    // an ancestral sampler draws noise on the way, which must not depend on the neighbours either
    place.generate(["--seed", "10", "--n", "3", "--scheduler", "euler-a", "--out", "together"]).done();
    place.generate(["--seed", "12", "--scheduler", "euler-a", "--out", "alone.png"]).done();
    let (together, alone) =
        (Png::open(&place.path("together/imagine-12.png")), Png::open(&place.path("alone.png")));
    assert_eq!(together.texts, alone.texts);
    let off = together.rgb.iter().zip(&alone.rgb).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(off <= Some(1), "differ by {off:?} of 255");
}

#[test]
fn a_random_seed_is_printed_and_draws_the_picture_again() {
    let place = Workplace::new();
    let seed_of = |out: &str| {
        let run = place.generate(["--json", "--out", out]).done();
        run.json()["pictures"][0]["seed"].as_u64().unwrap().to_string()
    };
    let (first, second) = (seed_of("a.png"), seed_of("b.png"));
    assert_ne!(first, second);
    place.generate(["--seed", &first, "--out", "again.png"]).done();
    assert_eq!(bytes(&place.path("a.png")), bytes(&place.path("again.png")));
}

#[test]
fn lines_name_path_seed_and_seconds() {
    let place = Workplace::new();
    let run = place.generate(["--seed", "1", "--n", "2", "--out", "pictures"]).done();
    let lines: Vec<&str> = run.stdout.lines().collect();
    assert!(
        lines[0].starts_with("pictures/imagine-1.png  seed 1  ") && lines[0].ends_with(" s"),
        "{}",
        lines[0]
    );
    assert!(
        !lines[0].contains("likeness") && !lines[0].contains("no face"),
        "nobody was given: {}",
        lines[0]
    );
    assert!(lines[1].starts_with("pictures/imagine-2.png  seed 2  "));
    assert!(lines[2].starts_with("pictures/contact-sheet.png"));
    assert_eq!(run.stderr, "", "no bar where nobody looks");
}

#[test]
fn the_contact_sheet_shows_the_pictures_and_their_origin() {
    let place = Workplace::new();
    place.generate(["--seed", "1", "--n", "4"]).done();
    let sheet = Png::open(&place.path("out/contact-sheet.png"));
    let first = Png::open(&place.path("out/imagine-1.png"));
    assert!(sheet.width > 2 * first.width && sheet.width < 3 * first.width);
    let margin = ((sheet.width - 2 * first.width) / 3) as usize;
    let row = |png: &Png, y: usize, x: usize, pixels: usize| {
        let start = (y * png.width as usize + x) * 3;
        png.rgb[start..start + pixels * 3].to_vec()
    };
    let width = first.width as usize;
    assert_eq!(
        row(&sheet, margin, margin, width),
        row(&first, 0, 0, width),
        "the first picture, at the top left"
    );
    assert!(sheet.text("XML:com.adobe.xmp").contains("trainedAlgorithmicMedia"));
    let json: Value = serde_json::from_str(sheet.text("imagine")).unwrap();
    assert_eq!(json["seeds"], serde_json::json!([1, 2, 3, 4]));
}

#[test]
fn a_file_of_the_same_name_is_replaced_whole() {
    let place = Workplace::new();
    place.file("me.png", &[0; 1_000_000]);
    place.generate(["--out", "me.png"]).done();
    Png::open(&place.path("me.png"));
    assert_eq!(place.names(""), ["me.png"]);
}

#[test]
fn a_size_the_model_cannot_draw() {
    let place = Workplace::new();
    place.generate(["--size", "33x32"]).refused(&["width is 33", "multiple of"]);
    place.generate(["--size", "32x99999"]).refused(&["height is 99999"]);
    let run = place.generate(["--size", "48x32", "--out", "wide.png"]).done();
    let png = Png::open(&place.path("wide.png"));
    assert_eq!((png.width, png.height), (48, 32), "{}", run.stdout);
}

#[test]
fn embeddings_that_do_not_fit() {
    let place = Workplace::new();
    let width = embedding_width();
    place.file("narrow.npy", &npy(&embedding(width - 1)));
    let says = [&(width - 1).to_string()[..], &width.to_string()];
    place.generate(["--identity-embedding", "narrow.npy"]).refused(&says);
    place.file("nan.npy", &npy(&vec![f32::NAN; width]));
    place.generate(["--identity-embedding", "nan.npy"]).refused(&["nan.npy"]);
    place.file("zero.npy", &npy(&vec![0.0; width]));
    place.generate(["--identity-embedding", "zero.npy"]).refused(&["zero.npy"]);
    place.file("text.npy", b"0.1 0.2 0.3");
    place.generate(["--identity-embedding", "text.npy"]).refused(&["text.npy"]);
    place.generate(["--identity-embedding", "gone.npy"]).refused(&["gone.npy"]);
    assert!(place.names("out").is_empty());
}

#[test]
fn a_folder_says_itself_what_it_predicts() {
    let place = Workplace::new();
    place.generate(["--prediction", "v_prediction"]).refused(&[
        "is a folder",
        "scheduler_config.json",
        "--prediction",
    ]);
    assert!(place.names("out").is_empty());
}

#[test]
fn an_identity_needs_an_adapter_that_fits() {
    let (place, person) = with_person();
    let person = person.display().to_string();
    let plain = place.model();
    fs::remove_file(plain.join("ip-adapter-faceid_tiny.safetensors")).unwrap();
    let run = place.generate(["--identity-embedding", &person]);
    assert!(run.stderr.contains("hint: ") && run.stderr.contains("--adapter"), "{}", run.stderr);
    run.refused(&["adapter"]);
    // the model's own weights are no adapter
    let unet = plain.join("unet/diffusion_pytorch_model.safetensors").display().to_string();
    place
        .generate(["--identity-embedding", &person, "--adapter", &unet])
        .refused(&["not an identity adapter"]);
    let gone = ["--identity-embedding", &person, "--adapter", "gone.safetensors"];
    place.generate(gone).refused(&["gone.safetensors"]);
    for name in ["ip-adapter-one.safetensors", "ip-adapter-two.safetensors"] {
        fs::copy(adapter(), plain.join(name)).unwrap();
    }
    let run = place.generate(["--identity-embedding", &person]);
    assert!(run.stderr.contains("ip-adapter-one.safetensors, "), "{}", run.stderr);
    run.refused(&["2 identity adapters"]);
    let one = plain.join("ip-adapter-one.safetensors").display().to_string();
    place.generate(["--identity-embedding", &person, "--adapter", &one]).done();
}

#[test]
fn the_person_changes_the_picture_and_strength_says_how_much() {
    let (place, person) = with_person();
    let person = person.display().to_string();
    for (scale, out) in [("0", "none.png"), ("1", "full.png")] {
        let args = ["--seed", "1", "--identity-embedding", &person, "--identity-scale", scale, "--out", out];
        place.generate(args).done();
    }
    assert_ne!(Png::open(&place.path("none.png")).rgb, Png::open(&place.path("full.png")).rgb);
}

#[test]
fn a_photo_gives_pictures_and_leaves_no_trace() {
    let place = Workplace::new();
    fs::copy(portrait(), place.path("a-private-selfie.jpg")).unwrap();
    let run = place.generate(["--photo", "a-private-selfie.jpg", "--seed", "1", "--n", "2"]).done();
    // the tiny checkpoint draws noise: whether a face is seen in it or not, there is a verdict
    let first = run.stdout.lines().next().unwrap();
    assert!(first.contains("likeness ") || first.contains("no face found"), "{first}");
    for name in place.names("out") {
        assert!(!contains(&bytes(&place.path("out").join(name)), b"selfie"));
    }
    assert_eq!(
        place.names(""),
        ["a-private-selfie.jpg", "out"],
        "neither we nor a library leaves anything else"
    );
}

#[test]
fn a_face_that_is_not_in_the_photo() {
    let place = Workplace::new();
    fs::copy(portrait(), place.path("me.jpg")).unwrap();
    place.generate(["--photo", "me.jpg", "--face", "7"]).refused(&["me.jpg", "face 7", "one face"]);
}

#[test]
fn a_model_is_found_by_name() {
    let place = Workplace::new();
    let mut command = place.command();
    command.args(["generate", "--prompt", "x", "--model", "tiny", "--steps", "1", "--json"]);
    let run = finish(command.env("IMAGINE_MODELS", place.shelf()).output().unwrap()).done();
    assert_eq!(run.json()["model"], "tiny");
    let mut command = place.command();
    command.args(["generate", "--prompt", "x", "--model", "nosuch"]);
    let run = finish(command.env("IMAGINE_MODELS", place.shelf()).output().unwrap());
    assert!(run.stderr.contains("hint: models found: ") && run.stderr.contains("tiny"), "{}", run.stderr);
    run.refused(&["nosuch"]);
}

/// Whether a process has a handler for SIGINT (bit 1 of the mask of caught signals).
#[cfg(target_os = "linux")]
fn listens_for_interrupt(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 2 != 0)
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupt_ends_the_run_and_leaves_no_file() {
    // while the model is loaded, and while pictures are drawn (minutes of them)
    for delay in [Duration::ZERO, Duration::from_secs(3)] {
        let place = Workplace::new();
        let mut command = place.command();
        command.args(["generate", "--prompt", "x", "--steps", "900", "--n", "64", "--scheduler", "ddim"]);
        command.arg("--model").arg(place.model()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        let started = Instant::now();
        while !listens_for_interrupt(child.id()) {
            assert!(started.elapsed() < Duration::from_secs(60), "the program does not listen for Ctrl-C");
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(delay);
        assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
        let run = finish(child.wait_with_output().unwrap());
        assert_eq!((run.code, run.stderr.as_str(), run.stdout.as_str()), (Some(1), "error: canceled\n", ""));
        assert!(place.names("").is_empty(), "nothing is left behind");
    }
}
