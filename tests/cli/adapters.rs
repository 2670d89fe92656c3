//! Adapters that want more than an embedding, from a photo to a picture: the face itself, its key points, or a
//! word of the prompt.

use std::path::PathBuf;

use crate::support::{Run, Workplace, copy_folder, embedding, golden, npy, portrait};

/// A picture of the person in the portrait with a tiny checkpoint and an adapter among the golden fixtures.
fn draw(place: &Workplace, checkpoint: &str, adapter: &str, prompt: &str, more: &[&str]) -> Run {
    let path = |path: PathBuf| path.to_str().unwrap().to_string();
    let (model, adapter) = (path(golden(checkpoint)), path(golden("identities").join(adapter)));
    let photo = path(portrait());
    let args = ["generate", "--prompt", prompt, "--steps", "3", "--device", "cpu", "--seed", "1", "--json"];
    let files = ["--model", &model, "--adapter", &adapter, "--photo", &photo, "--out", "me.png"];
    place.run([&args[..], &files, more].concat())
}

fn pixels(place: &Workplace) -> Vec<u8> {
    image::open(place.path("me.png")).unwrap().to_rgb8().into_raw()
}

#[test]
fn an_adapter_that_looks_at_the_face_takes_photos_and_any_encoder() {
    let place = Workplace::new();
    let adapter = "plus-face/ip-adapter-plus-face_sd15.safetensors";
    let encoder = golden("ip_adapters/image_encoder").display().to_string();
    let with = ["--image-encoder", &encoder];
    let json = draw(&place, "pipeline/checkpoint", adapter, "a person", &with).done().json();
    assert_eq!(json["identity_scale"], 1.0);
    let run = draw(&place, "pipeline/checkpoint", adapter, "a person", &[]);
    run.refused(&["needs a CLIP vision encoder", "--image-encoder"]);
    let model = golden("pipeline/checkpoint").display().to_string();
    let adapter = golden("identities").join(adapter).display().to_string();
    place.file("me.npy", &npy(&embedding(128)));
    let args = ["generate", "--prompt", "x", "--model", &model, "--adapter", &adapter];
    place
        .run([&args[..], &["--identity-embedding", "me.npy"], &with].concat())
        .refused(&["looks at the face itself", "photos are needed"]);
}

#[test]
fn instant_id_is_drawn_with_its_own_face_encoder() {
    let place = Workplace::new();
    let adapter = "instantid/ip-adapter.bin";
    let run = draw(&place, "sdxl/checkpoint", adapter, "a person", &[]);
    run.refused(&["antelopev2"]);
    copy_folder(&golden("face_packs/antelopev2"), &place.path(".insightface/models/antelopev2"));
    let accept = ["--accept-licence", "insightface"];
    let whole = draw(&place, "sdxl/checkpoint", adapter, "a person", &accept).done();
    assert_eq!(whole.json()["identity_scale"], 1.0);
    let folder = pixels(&place);
    // the weights alone, as other programs keep them
    let file = golden("identities/instantid/ControlNetModel/diffusion_pytorch_model.safetensors");
    std::fs::copy(file, place.path("control.safetensors")).unwrap();
    let file = [&accept[..], &["--controlnet", "control.safetensors"]].concat();
    draw(&place, "sdxl/checkpoint", adapter, "a person", &file).done();
    assert_eq!(pixels(&place), folder);
    let boxed = ["--person", "photo=nobody.jpg;box=0,0,0.5,1"];
    draw(&place, "sdxl/checkpoint", adapter, "a person", &boxed).refused(&["--person"]);
}

#[test]
fn photo_maker_wants_its_word_in_the_prompt() {
    let place = Workplace::new();
    let vision = golden("identities/photomaker").display().to_string();
    let with = ["--image-encoder", &vision];
    let adapter = "photomaker/photomaker-v1.bin";
    let run = draw(&place, "sdxl/checkpoint", adapter, "a woman", &with);
    assert!(run.stderr.contains("hint: --prompt \"a man img"), "{}", run.stderr);
    run.refused(&["\"img\""]);
    draw(&place, "sdxl/checkpoint", adapter, "a woman img, red hair", &with).done();
}
