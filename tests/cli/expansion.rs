//! `imagine expand`, and the expansion of prompts in `imagine generate`. All by the template, but for what is about
//! other backends: what the small model says is tested where it lives.

use std::fs;
use std::net::TcpListener;

use crate::png_reader::Png;
use crate::support::{Run, Workplace, embedding, embedding_width, finish, npy};

fn expand(place: &Workplace, idea: &str, more: &[&str]) -> Run {
    let mut command = place.command();
    command.args(["expand", idea, "--backend", "template", "--seed", "3", "--model"]).arg(place.model());
    finish(command.args(more).output().unwrap())
}

#[test]
fn an_idea_becomes_parts_and_a_prompt() {
    let place = Workplace::new();
    let made = expand(&place, "io e mio fratello nella neve", &["--json"]).done();
    assert_eq!(made.stderr, "");
    let json = made.json();
    assert_eq!((&json["people"], &json["language"], &json["seed"]), (&2.into(), &"it".into(), &3.into()));
    assert_eq!((&json["backend"], &json["mode"]), (&"template".into(), &"template".into()));
    assert_eq!(json["parts"]["subject"], "a person and their brother in the snow");
    let prompt = json["prompt"].as_str().unwrap();
    assert!(prompt.starts_with("a person and their brother in the snow, "), "{prompt}");
    assert!(prompt.contains(json["parts"]["setting"].as_str().unwrap()), "{prompt}");
    assert!(json["negative_prompt"].as_str().unwrap().contains("watermark"));
    assert_eq!(
        expand(&place, "io e mio fratello nella neve", &["--json"]).stdout,
        made.stdout,
        "the seed decides"
    );

    let lines = expand(&place, "me as a pirate", &["--style", "oil"]).done().stdout;
    assert!(lines.starts_with("a person as a pirate, ") && lines.contains("\nwardrobe"), "{lines}");
    assert!(
        lines.contains("style       classical oil painting")
            && lines.contains("template (by rules), en, seed 3")
    );
}

#[test]
fn each_model_is_spoken_to_in_its_own_way() {
    let place = Workplace::new();
    fs::create_dir(place.model().join("text_encoder_2")).unwrap();
    let prompt = |place: &Workplace, idea: &str| {
        expand(place, idea, &["--json"]).done().json()["prompt"].as_str().unwrap().to_owned()
    };
    assert!(prompt(&place, "me as a king").starts_with("A person as a king, "), "sentences for two encoders");
    let words = r#"{"words": ["me", "as", "a", "king", "in", "the", "gold", "crown", "wearing"],
                    "phrases": {"wardrobe": ["wearing a gold crown"]}}"#;
    fs::write(place.model().join("vocabulary.json"), words).unwrap();
    assert_eq!(prompt(&place, "me as a king in the Louvre"), "me as a king, wearing a gold crown");
    let dropped = expand(&place, "me as a king in the Louvre", &["--json"]).json()["dropped"].clone();
    assert_eq!(dropped, serde_json::json!(["Louvre"]));
}

#[test]
fn the_starter_is_spoken_to_in_words_that_it_knows() {
    let place = Workplace::new();
    let starter = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/starter");
    let read = |name: &str| -> serde_json::Value {
        serde_json::from_slice(&fs::read(format!("{starter}/{name}")).unwrap()).unwrap()
    };
    let vocabulary = read("vocabulary.json");
    let tokens = read("tokenizer/vocab.json");
    // CLIP's tokenizer parts a word at digits and hyphens: "3d" is "3" and "d".
    let known = |word: &str| {
        let parts = word.split_inclusive(|c: char| c.is_ascii_digit()).flat_map(|part| part.split('-'));
        parts.filter(|part| !part.is_empty()).all(|part| tokens.get(format!("{part}</w>")).is_some())
    };
    for word in vocabulary["words"].as_array().unwrap() {
        assert!(
            known(word.as_str().unwrap()),
            "{word} is no token: was vocabulary.json made for this tokenizer?"
        );
    }
    for idea in
        ["me hiking in the Dolomites", "io come astronauta", "ich als Koch", "me as a vampire on Mars"]
    {
        let made =
            place.run(["expand", idea, "--backend", "template", "--seed", "1", "--json", "--model", starter]);
        let prompt = made.done().json()["prompt"].as_str().unwrap().to_owned();
        assert!(prompt.starts_with("me"), "{prompt}");
        for word in prompt.split([' ', ',']).filter(|word| !word.is_empty()) {
            assert!(known(word), "{word} in {prompt}");
        }
    }
    let made = place.run([
        "expand",
        "io come astronauta",
        "--backend",
        "template",
        "--seed",
        "1",
        "--model",
        starter,
    ]);
    let lines = made.done().stdout;
    assert!(
        lines.starts_with("me as an astronaut, wearing a") && lines.contains("wardrobe    wearing"),
        "{lines}"
    );
    let wardrobe = lines.lines().find(|line| line.starts_with("wardrobe")).unwrap();
    assert!(wardrobe.contains("space"), "{wardrobe}");
}

#[test]
fn what_the_rules_forbid_is_refused_with_or_without_expansion() {
    let place = Workplace::new();
    for more in [&["--backend", "template"][..], &["--no-expand"]] {
        let mut command = place.command();
        command.args(["generate", "--prompt", "me naked on a beach", "--model"]).arg(place.model());
        let run = finish(command.args(more).output().unwrap());
        assert!(run.stderr.contains("hint: the safety rule \"undressed\""), "{}", run.stderr);
        run.refused(&["does not undress people"]);
    }
    for more in [&["--backend", "template"][..], &["--no-expand"]] {
        let mut command = place.command();
        command.args(["generate", "--prompt", "me as a pirate", "--negative-prompt", "clothes", "--model"]);
        let run = finish(command.arg(place.model()).args(more).output().unwrap());
        run.refused(&["a negative prompt takes no clothes away"]);
    }
    assert!(place.names("out").is_empty());
    expand(&place, "me as Donald Trump", &[]).refused(&["real person"]);
    expand(&place, " ", &[]).refused(&["empty"]);
    expand(&place, "me", &["--style", "baroque"]).refused(&["baroque", "watercolour"]);
    expand(&place, "me", &["--language", "la"]).refused(&["en, it, es, fr, de"]);
    expand(&place, "me", &["--ground"]).refused(&["search server"]);
}

#[test]
fn a_picture_carries_the_idea_and_the_prompt_made_of_it() {
    let place = Workplace::new();
    let file = place.file("me.npy", &npy(&embedding(embedding_width())));
    let draw = |more: &[&str]| {
        let mut command = place.command();
        command.env_remove("IMAGINE_NO_EXPAND").args([
            "generate",
            "--prompt",
            "io come re",
            "--seed",
            "5",
            "--json",
        ]);
        command.args(["--steps", "2", "--device", "cpu", "--identity-embedding"]).arg(&file);
        finish(command.arg("--model").arg(place.model()).args(more).output().unwrap()).done().json()
    };
    let made = draw(&["--backend", "template", "--out", "expanded"]);
    assert_eq!(made["idea"], "io come re");
    let prompt = made["prompt"].as_str().unwrap();
    assert!(prompt.starts_with("a person as a king, "), "{prompt}");
    assert!(made["negative_prompt"].as_str().unwrap().contains("blurred"));
    let png = Png::open(&place.path("expanded/imagine-5.png"));
    assert!(png.text("parameters").starts_with(&format!("{prompt}\n")), "{}", png.text("parameters"));
    assert!(png.text("parameters").contains(", Idea: io come re, "));
    let json: serde_json::Value = serde_json::from_str(png.text("imagine")).unwrap();
    assert_eq!((&json["prompt"], &json["idea"]), (&made["prompt"], &made["idea"]));

    let plain = draw(&["--no-expand", "--out", "plain"]);
    assert_eq!((plain["prompt"].as_str(), plain.get("idea")), (Some("io come re"), None));
    assert!(!Png::open(&place.path("plain/imagine-5.png")).text("parameters").contains("Idea"));
}

#[test]
fn a_server_that_is_away_gives_way_to_the_template_unless_it_was_named() {
    let place = Workplace::new();
    // A port that nobody listens on any more.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let run = |backend: &str| {
        let mut command = place.command();
        command.env("IMAGINE_LLM_URL", format!("http://127.0.0.1:{port}/v1")).env("IMAGINE_LLM_MODEL", "m");
        command.args(["expand", "me as a king", "--backend", backend, "--model"]).arg(place.model());
        finish(command.output().unwrap())
    };
    let made = run("auto").done().stdout;
    assert!(
        made.starts_with("a person as a king") && made.contains("note        template answered, because"),
        "{made}"
    );
    let mut impatient = place.command();
    impatient.env("IMAGINE_LLM_URL", "http://127.0.0.1:9/v1").env("IMAGINE_LLM_MODEL", "m");
    impatient
        .env("IMAGINE_LLM_SECONDS", "soon")
        .args(["expand", "me as a king", "--model"])
        .arg(place.model());
    finish(impatient.output().unwrap()).refused(&["IMAGINE_LLM_SECONDS is \"soon\""]);
    let failed = run("server");
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("hint: --backend template always works"), "{}", failed.stderr);
}
