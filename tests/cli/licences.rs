//! Face encoders that a person brings: found by path and by name, fitted to the adapter, and refused until
//! their licence is accepted. The packs are those of the golden tests.

use std::fs;
use std::path::PathBuf;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};

use crate::support::{Run, Workplace, adapter, copy_folder, embedding_width, golden, portrait};

/// Where licences are remembered, below the home folder.
const REMEMBERED: &str = ".config/imagine/accepted-licences";

/// The tiny adapter, made for embeddings of another width.
fn adapter_for(place: &Workplace, width: usize) -> PathBuf {
    let bytes = fs::read(adapter()).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let key = "image_proj.proj.0.weight";
    let hidden = tensors.tensor(key).unwrap().shape()[0];
    let values: Vec<u8> =
        (0..hidden * width).flat_map(|i| ((i as f32 * 0.37).sin() * 0.1).to_le_bytes()).collect();
    let mut all: Vec<(String, TensorView<'_>)> = tensors.tensors();
    for (name, view) in &mut all {
        if name == key {
            *view = TensorView::new(Dtype::F32, vec![hidden, width], &values).unwrap();
        }
    }
    let path = place.path("adapter.safetensors");
    serialize_to_file(all, None, &path).unwrap();
    path
}

/// A home folder with an adapter for packs.
struct Home {
    place: Workplace,
    adapter: PathBuf,
}

impl Home {
    fn new() -> Self {
        let place = Workplace::new();
        let adapter = adapter_for(&place, 512);
        Self { place, adapter }
    }

    /// Puts a pack where InsightFace's own programs keep theirs.
    fn install(&self, pack: &str) {
        copy_folder(&golden("face_packs").join(pack), &self.place.path(".insightface/models").join(pack));
    }

    /// One picture of the person in the portrait.
    fn draw(&self, more: &[&str]) -> Run {
        let portrait = portrait();
        let (adapter, portrait) = (self.adapter.to_str().unwrap(), portrait.to_str().unwrap());
        self.place.generate([&["--adapter", adapter, "--photo", portrait], more].concat())
    }

    fn remembered(&self) -> Option<String> {
        fs::read_to_string(self.place.path(REMEMBERED)).ok()
    }
}

#[test]
fn a_research_licence_is_shown_accepted_once_and_remembered() {
    let home = Home::new();
    home.install("buffalo_l");
    let terms = ["buffalo_l", "non-commercial research only", "https://", "--accept-licence insightface"];
    home.draw(&[]).refused(&terms);
    home.draw(&["--face-encoder", "buffalo_l"]).refused(&terms);
    assert_eq!(home.remembered(), None, "nothing is accepted by trying");
    assert!(home.place.names("out").is_empty());

    let accepted = home.draw(&["--accept-licence", "insightface"]).done();
    for word in ["buffalo_l", "non-commercial research only", REMEMBERED] {
        assert!(accepted.stderr.contains(word), "{word} is missing in: {}", accepted.stderr);
    }
    assert_eq!(home.remembered().as_deref(), Some("insightface\n"));
    // from now on nothing is said, also for another pack under the same licence
    assert!(!home.draw(&[]).done().stderr.contains("research"));
    home.install("antelopev2");
    assert!(!home.draw(&["--face-encoder", "antelopev2"]).done().stderr.contains("research"));
}

#[test]
fn the_name_of_the_pack_accepts_its_licence_too_and_other_names_do_not() {
    let home = Home::new();
    home.install("buffalo_l");
    for (name, says) in [("buffalo", "called insightface"), ("", "called insightface")] {
        home.draw(&["--accept-licence", name]).refused(&[says]);
    }
    home.draw(&["--face-encoder", "sface", "--accept-licence", "insightface"]).refused(&["512", "128"]);
    assert_eq!(home.remembered(), None);
    home.draw(&["--accept-licence", "buffalo_l"]).done();
    assert_eq!(home.remembered().as_deref(), Some("insightface\n"));
}

#[test]
fn a_pack_is_found_by_path_and_the_likeness_is_measured_with_it() {
    let home = Home::new();
    copy_folder(&golden("face_packs/buffalo_l"), &home.place.path("faces/mine"));
    let run =
        home.draw(&["--face-encoder", "faces/mine", "--accept-licence", "insightface", "--json"]).done();
    assert!(run.json()["pictures"][0].get("likeness").is_some());
    // a folder among those of the variable goes before the home folder
    let mut command = home.place.command();
    command.env("IMAGINE_FACE_PACKS", home.place.path("faces")).args(["generate", "--prompt", "x"]);
    command
        .args(["--steps", "1", "--device", "cpu", "--face-encoder", "mine", "--model"])
        .arg(home.place.model());
    let output = command.arg("--adapter").arg(&home.adapter).arg("--photo").arg(portrait()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn without_a_pack_it_is_said_which_would_do_and_where_it_belongs() {
    let home = Home::new();
    let place = home.place.path(".insightface/models/buffalo_l").display().to_string();
    home.draw(&[]).refused(&["512", "buffalo_l", "non-commercial research only", &place]);
    home.install("antelopev2");
    home.draw(&[]).refused(&["installed are antelopev2", "--face-encoder"]);
    home.draw(&["--face-encoder", "nosuch"]).refused(&["\"nosuch\"", ".insightface/models/nosuch"]);
    home.draw(&["--face-encoder", "./nosuch"]).refused(&["./nosuch"]);
    home.place.file("letter.onnx", b"no model");
    home.draw(&["--face-encoder", "letter.onnx"]).refused(&["letter.onnx", "a folder of ONNX files"]);
    fs::write(home.place.path(".insightface/models/antelopev2/glintr100.onnx"), b"no model").unwrap();
    home.draw(&["--face-encoder", "antelopev2"]).refused(&["glintr100.onnx", "not an ONNX model"]);
    assert_eq!(home.remembered(), None);
}

#[test]
fn an_encoder_of_another_width_than_the_adapters_is_refused() {
    let home = Home::new();
    home.install("buffalo_l");
    let portrait = portrait();
    let portrait = portrait.to_str().unwrap();
    let width = embedding_width().to_string();
    home.place.generate(["--photo", portrait, "--face-encoder", "buffalo_l"]).refused(&[
        "buffalo_l",
        "512",
        &width,
    ]);
    home.place.generate(["--photo", portrait, "--accept-licence", "insightface"]).refused(&["insightface"]);
    assert_eq!(home.remembered(), None);
}

#[test]
fn a_list_that_cannot_be_read_or_written_is_named() {
    let home = Home::new();
    home.install("buffalo_l");
    fs::create_dir_all(home.place.path(REMEMBERED)).unwrap();
    home.draw(&[]).refused(&["accepted-licences", "cannot be read"]);
    let home = Home::new();
    home.install("buffalo_l");
    home.place.file(".config", b"a file where a folder should be");
    home.draw(&["--accept-licence", "insightface"]).refused(&["accepted-licences"]);
}
