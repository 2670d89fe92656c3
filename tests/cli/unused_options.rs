//! What is asked for and would have no effect is refused with the reason, not passed over.

use std::path::PathBuf;

use crate::support::{Run, Workplace, embedding, embedding_width, golden, npy, portrait};

fn path(file: PathBuf) -> String {
    file.to_str().unwrap().to_string()
}

/// A run with the tiny checkpoint and its FaceID adapter, with a person in it.
fn with_faceid(more: &[&str]) -> Run {
    let place = Workplace::new();
    place.file("ann.npy", &npy(&embedding(embedding_width())));
    place.generate([&["--identity-embedding", "ann.npy"], more].concat())
}

#[test]
fn what_a_folder_says_itself() {
    Workplace::new().generate(["--tokenizer", "x"]).refused(&["--tokenizer has no effect", "is a folder"]);
}

#[test]
fn what_the_adapter_does_not_take() {
    with_faceid(&[]).done();
    let faceid = "ip-adapter-faceid_tiny.safetensors (faceid)";
    with_faceid(&["--controlnet", "x"]).refused(&["--controlnet has no effect", faceid]);
    with_faceid(&["--image-encoder", "x"]).refused(&["--image-encoder has no effect", faceid]);
    let place = Workplace::new();
    let (model, photo) = (path(golden("sdxl/checkpoint")), path(portrait()));
    let maker = path(golden("identities/photomaker/photomaker-v1.bin"));
    let vision = path(golden("identities/photomaker"));
    let args = ["generate", "--prompt", "a woman img", "--steps", "1", "--device", "cpu", "--out", "a.png"];
    let files = ["--model", &model, "--adapter", &maker, "--photo", &photo, "--image-encoder", &vision];
    for (option, value) in [("--controlnet", "x"), ("--adapter-kind", "faceid")] {
        let run = place.run([&args[..], &files, &[option, value]].concat());
        run.refused(&[&format!("{option} has no effect"), "photomaker-v1.bin"]);
    }
    assert!(place.names("").is_empty());
}

#[test]
fn what_belongs_to_a_person_where_there_is_none() {
    let place = Workplace::new();
    for (option, value) in [("--adapter-kind", "faceid"), ("--image-encoder", "x"), ("--controlnet", "x")] {
        place
            .generate([option, value])
            .refused(&[&format!("{option} has no effect"), "no identity adapter is loaded"]);
    }
    for option in ["--face-encoder", "--accept-licence"] {
        place.generate([option, "buffalo_l"]).refused(&["required"]);
    }
}

#[test]
fn a_negative_prompt_that_nothing_hears() {
    let place = Workplace::new();
    let negative = ["--negative-prompt", "blurred", "--out", "a.png"];
    let deaf = place.generate([&negative[..], &["--guidance", "1"]].concat());
    assert!(deaf.stderr.contains("hint: leave it out, or set --guidance above 1"), "{}", deaf.stderr);
    deaf.refused(&["--negative-prompt has no effect", "guidance of 1"]);
    // A recipe switches guidance off, too.
    place.generate([&negative[..], &["--preset", "turbo"]].concat()).refused(&["guidance of 0"]);
    place.generate([&negative[..], &["--preset", "turbo", "--guidance", "1.5"]].concat()).done();
}
