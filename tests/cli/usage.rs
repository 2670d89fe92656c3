//! Help texts, exit codes, and wrong numbers and names on the command line.

use crate::support::Workplace;

const PROMPT: [&str; 3] = ["generate", "--prompt", "a hat"];

#[test]
fn help_on_every_level_has_examples() {
    let place = Workplace::new();
    let top = place.run(["--help"]).done();
    assert!(top.stdout.contains("Examples:\n  imagine generate --photo"), "{}", top.stdout);
    let generate = place.run(["generate", "--help"]).done();
    assert!(generate.stdout.contains("Examples:") && generate.stdout.contains("Exit codes: 0 done"));
    for flag in [
        "photo",
        "prompt",
        "model",
        "adapter",
        "identity-embedding",
        "identity-scale",
        "negative-prompt",
        "steps",
        "guidance",
        "scheduler",
        "size",
        "n",
        "seed",
        "dtype",
        "device",
        "out",
        "json",
        "face",
    ] {
        assert!(generate.stdout.contains(&format!("--{flag}")), "{flag} is not explained");
    }
    assert!(generate.stdout.contains("dpm++2m-karras"), "the samplers are listed");
    assert!(place.run(["generate", "-h"]).done().stdout.contains("Examples:"));
    assert!(place.names("").is_empty());
}

#[test]
fn version_is_the_package_version() {
    let run = Workplace::new().run(["--version"]).done();
    assert_eq!(run.stdout, format!("imagine {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn without_a_command_there_is_help_and_exit_code_2() {
    let run = Workplace::new().run::<&str>([]);
    assert_eq!(run.code, Some(2));
    assert!(run.stderr.contains("Usage: imagine <COMMAND>"), "{}", run.stderr);
}

#[test]
fn wrong_usage_is_named() {
    let place = Workplace::new();
    place.run(["draw"]).refused(&["draw"]);
    place.run(["generate", "--photo", "me.jpg"]).refused(&["required"]);
    place.run(["generate", "--prompt"]).refused(&["--prompt"]);
    place.run(["generate", "--promt", "x"]).refused(&["--promt"]);
    for (flag, value, says) in [
        ("--n", "0", "1..=1000"),
        ("--n", "four", "--n"),
        ("--steps", "0", "1..=1000"),
        ("--size", "512", "512x768"),
        ("--size", "0x64", "512x768"),
        ("--guidance", "inf", "between 0 and 100"),
        ("--seed", "1.5", "--seed"),
        ("--dtype", "int8", "bf16"),
        ("--device", "tpu", "cuda:1"),
        ("--out", "", "--out"),
    ] {
        let run = place.run(PROMPT.iter().chain(&[flag, value]));
        assert!(run.stderr.contains(says), "{flag} {value}: {}", run.stderr);
        run.refused(&[flag]);
    }
    assert!(place.names("").is_empty(), "nothing is left behind");
}

#[test]
fn an_unknown_scheduler_is_answered_with_the_known_ones() {
    let run = Workplace::new().run(PROMPT.iter().chain(&["--scheduler", "eulr"]));
    for name in
        ["ddim", "ddpm", "euler-a", "euler-karras", "dpm++2m-karras", "heun", "lms", "pndm", "unipc", "lcm"]
    {
        assert!(run.stderr.contains(name), "{name}: {}", run.stderr);
    }
    run.refused(&["eulr"]);
}

#[test]
fn a_model_that_is_nowhere_is_answered_with_where_it_was_looked_for() {
    let place = Workplace::new();
    let run = place.run(PROMPT.iter().chain(&["--model", "nosuch"]));
    let data = place.path(".local/share/imagine/models");
    run.refused(&["nosuch", "looked in", &data.display().to_string()]);
    place.run(PROMPT.iter().chain(&["--model", "./nosuch"])).refused(&["./nosuch is not there"]);
    place.run(PROMPT.iter().chain(&["--model", "."])).refused(&["model_index.json"]);
}

#[test]
fn a_place_that_cannot_be_written_is_refused_before_any_work() {
    let place = Workplace::new();
    place.file("taken", b"");
    place.run(PROMPT.iter().chain(&["--out", "taken"])).refused(&["cannot write", "taken is not a folder"]);
    place.run(PROMPT.iter().chain(&["--out", "taken/me.png"])).refused(&["taken is not a folder"]);
    place
        .run(PROMPT.iter().chain(&["--out", "/proc/nosuch/out"]))
        .refused(&["cannot write to /proc/nosuch/out"]);
    place.run(PROMPT.iter().chain(&["--out", "me.png", "--n", "2"])).refused(&["me.png", "2 pictures"]);
    assert_eq!(place.names(""), ["taken"]);
}

/// libtorch looks for a GPU once, before it first computes; a photo is measured on the CPU.
#[test]
fn a_device_that_is_not_there_is_named_before_a_photo_is_read() {
    let more = ["--photo", "missing.jpg", "--device", "cuda:99"];
    Workplace::new().run(PROMPT.iter().chain(&more)).refused(&["cuda:99"]);
}
