//! `imagine models` against a Hub on this machine: fetching, going on, checking, refusing, removing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::stub_hub::{Behaviour, StubHub, git_object, sha256};
use crate::support::{Run, Workplace, adapter, finish, golden};

const SETTINGS: [&str; 12] = [
    "HF_ENDPOINT",
    "HF_HOME",
    "HF_HUB_CACHE",
    "HUGGINGFACE_HUB_CACHE",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "HF_TOKEN",
    "HF_TOKEN_PATH",
    "HUGGING_FACE_HUB_TOKEN",
    "XDG_CONFIG_HOME",
    "http_proxy",
    "HTTP_PROXY",
];

/// A person's machine and a Hub with three repositories: the tiny checkpoint, its adapter, a face encoder for
/// research only.
struct Machine {
    place: Workplace,
    hub: StubHub,
    /// Commit of the checkpoint.
    commit: String,
}

const CHECKPOINT: &str = "someone/tiny";

/// The registry of these tests, as a person would write it.
const REGISTRY: &str = r#"
[licence.strict]
title = "Strict terms"
link = "https://example.org/strict"
use = "research"

[part.tiny]
role = "base"
purpose = "the tiny checkpoint"
repo = "someone/tiny"
revision = "main"
licence = "mit"
files = [FILES]

[part.tiny-faceid]
role = "adapter"
purpose = "its adapter"
repo = "someone/adapters"
revision = "main"
licence = "apache-2_0"
entry = "faceid/tiny.safetensors"
files = [{ path = "faceid/tiny.safetensors" }]

[part.tiny-faces]
role = "face-encoder"
purpose = "its face encoder"
repo = "someone/faces"
revision = "main"
licence = "strict"
files = [{ path = "face.onnx" }]

[combination.tiny-person]
title = "Tiny with an adapter"
about = "for tests"
parts = ["tiny", "tiny-faceid"]

[combination.tiny-research]
title = "Tiny with a face encoder"
about = "for tests"
parts = ["tiny", "tiny-faces"]
"#;

/// Every file below a folder, as (path inside it, bytes), sorted.
fn files_below(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inner = path.strip_prefix(folder).unwrap().display().to_string();
                found.push((inner, fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

impl Machine {
    fn new() -> Self {
        let hub = StubHub::serve();
        let checkpoint = files_below(&golden("pipeline/checkpoint"));
        let files: Vec<(&str, Vec<u8>)> =
            checkpoint.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
        let commit = hub.publish(CHECKPOINT, &files);
        hub.publish("someone/adapters", &[("faceid/tiny.safetensors", fs::read(adapter()).unwrap())]);
        hub.publish("someone/faces", &[("face.onnx", vec![7; 3000])]);
        let machine = Self { place: Workplace::new(), hub, commit };
        let paths: Vec<String> =
            checkpoint.iter().map(|(path, _)| format!("{{ path = \"{path}\" }}")).collect();
        machine.registry(&REGISTRY.replace("FILES", &paths.join(", ")));
        machine
    }

    fn registry(&self, text: &str) {
        let file = self.place.path(".config/imagine/registry.toml");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    fn registry_text(&self) -> String {
        fs::read_to_string(self.place.path(".config/imagine/registry.toml")).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = self.place.command();
        for unset in SETTINGS {
            command.env_remove(unset);
        }
        command.env("HF_ENDPOINT", &self.hub.url).env("NO_PROXY", "*").arg("models").args(args);
        command
    }

    fn models(&self, args: &[&str]) -> Run {
        finish(self.command(args).output().unwrap())
    }

    /// Without any network: nothing listens there.
    fn offline(&self, args: &[&str]) -> Run {
        finish(self.command(args).env("HF_ENDPOINT", "http://127.0.0.1:9").output().unwrap())
    }

    fn cache(&self, inner: &str) -> PathBuf {
        self.place.path(".cache/huggingface/hub").join(inner)
    }

    fn snapshot(&self, inner: &str) -> PathBuf {
        self.cache("models--someone--tiny/snapshots").join(&self.commit).join(inner)
    }

    /// Where the checkpoint's largest file arrives.
    fn partial(&self) -> PathBuf {
        self.cache("models--someone--tiny/blobs").join(format!("{}.part", sha256(&unet())))
    }

    fn lock(&self) -> Value {
        let file = self.place.path(".local/share/imagine/models/models.lock.json");
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    }
}

/// The largest file of the checkpoint.
const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

fn unet() -> Vec<u8> {
    fs::read(golden("pipeline/checkpoint").join(UNET)).unwrap()
}

/// Failed with exit code 1 and these words in the error and its hint; no panic.
fn failed(run: &Run, says: &[&str]) {
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    assert!(!run.stderr.contains("panicked") && !run.stderr.contains("internal error"), "{}", run.stderr);
    for word in says {
        assert!(run.stderr.contains(word), "\"{word}\" is missing in: {}", run.stderr);
    }
}

#[test]
fn what_is_pulled_is_whole_listed_and_shared_with_python() {
    let machine = Machine::new();
    let before = machine.models(&["list", "--json"]).done().json();
    assert_eq!(before["pulled"], Value::Array(vec![]));
    let available: Vec<&str> =
        before["available"].as_array().unwrap().iter().map(|a| a["name"].as_str().unwrap()).collect();
    assert!(available.contains(&"tiny-person") && available.contains(&"sdxl-instantid"), "{available:?}");
    assert_eq!(machine.hub.take_log().requests, 0, "listing asks nobody");
    // A size that is only in part known beforehand says so.
    let listed = |name: &str| {
        let all = before["available"].as_array().unwrap();
        all.iter().find(|a| a["name"] == name).unwrap()["bytes_known"].as_bool().unwrap()
    };
    assert!(listed("sdxl-instantid") && !listed("sdxl-lightning-faceid") && !listed("tiny-person"));
    let lines = machine.models(&["list"]).done().stdout;
    let row = |name: &str| lines.lines().find(|line| line.trim_start().starts_with(name)).unwrap();
    assert!(row("sdxl-lightning-faceid").contains(" GB+ "), "{lines}");
    assert!(!row("sdxl-instantid").contains("GB+"), "{lines}");

    let run = machine.models(&["pull", "tiny-person"]).done();
    for says in ["someone/tiny", "MIT", "https://opensource.org/license/mit", "--model tiny-person"] {
        assert!(run.stdout.contains(says), "\"{says}\" is missing in {}", run.stdout);
    }
    assert!(run.stderr.contains(&format!("fetching {UNET}")), "{}", run.stderr);

    // the layout of huggingface_hub: content by checksum, relative links by commit, a note of the branch
    let blob = |path: &str| machine.cache("models--someone--tiny/blobs").join(path);
    let config = fs::read(golden("pipeline/checkpoint/unet/config.json")).unwrap();
    let link = fs::read_link(machine.snapshot("unet/config.json")).unwrap();
    assert_eq!(link, PathBuf::from(format!("../../../blobs/{}", git_object(&config))));
    assert_eq!(fs::read(machine.snapshot(UNET)).unwrap(), unet());
    assert!(blob(&sha256(&unet())).is_file());
    let note = fs::read_to_string(machine.cache("models--someone--tiny/refs/main")).unwrap();
    assert_eq!(note, machine.commit);

    let lock = machine.lock();
    let file = &lock["parts"]["tiny"]["files"][UNET];
    assert_eq!(
        (file["sha256"].as_str(), file["fetched"].as_bool()),
        (Some(sha256(&unet()).as_str()), Some(true))
    );
    let small = &lock["parts"]["tiny"]["files"]["unet/config.json"];
    assert_eq!(small["sha256"].as_str(), Some(sha256(&config).as_str()), "small files have a sha256, too");

    let after = machine.models(&["list", "--json"]).done().json();
    assert_eq!(
        (&after["pulled"][0]["name"], &after["pulled"][0]["complete"]),
        (&"tiny-person".into(), &true.into())
    );
    let lines = machine.models(&["list"]).done().stdout;
    assert!(lines.contains("tiny-person") && lines.contains("pulled"), "{lines}");
    let cached = lines.lines().find(|line| line.contains("someone/tiny ")).unwrap();
    assert!(cached.contains("Hugging Face cache"), "{cached}");
}

#[test]
fn after_a_pull_nothing_needs_the_network() {
    let machine = Machine::new();
    let pulled = machine.models(&["pull", "tiny-person", "--json"]).done().json();
    assert_eq!(pulled["bytes"], pulled["fetched_bytes"]);
    let again = machine.offline(&["pull", "tiny-person", "--json"]).done().json();
    assert_eq!((&again["fetched_bytes"], &again["bytes"]), (&0.into(), &pulled["bytes"]));
    let verified = machine.offline(&["verify", "tiny-person", "--json"]).done().json();
    assert_eq!(
        (&verified["ok"], verified["files"].as_array().unwrap().len()),
        (&true.into(), pulled["files"].as_array().unwrap().len())
    );
    let shown = machine.offline(&["show", "tiny-person", "--json"]).done().json();
    assert_eq!(shown["complete"], true);
    let adapter = shown["parts"][1]["path"].as_str().unwrap();
    assert_eq!(
        shown["parts"][0]["path"].as_str(),
        Some(machine.snapshot("").to_str().unwrap().trim_end_matches('/'))
    );
    let mut generate = machine.place.command();
    generate.args(["generate", "--prompt", "a red hat", "--steps", "2", "--device", "cpu", "--seed", "3"]);
    generate.args(["--model", "tiny-person", "--adapter", adapter, "--out", "me.png"]);
    let run = finish(generate.env("HF_HUB_OFFLINE", "1").output().unwrap()).done();
    assert!(run.stdout.contains("tiny-person on cpu"), "called as it was asked for: {}", run.stdout);
    assert!(machine.place.path("me.png").is_file());
    // also by the name that it has on the Hub
    let mut generate = machine.place.command();
    generate.args(["generate", "--prompt", "a red hat", "--steps", "2", "--device", "cpu", "--seed", "3"]);
    generate.args(["--model", CHECKPOINT, "--out", "again.png"]);
    let run = finish(generate.output().unwrap()).done();
    assert!(run.stdout.contains("someone/tiny on cpu"), "{}", run.stdout);
}

#[test]
fn an_interrupted_pull_goes_on_where_it_was() {
    let machine = Machine::new();
    let limit = unet().len() as u64 / 2;
    // other large files come first in the alphabet of the registry, so the limit counts from the U-Net
    let others: u64 = files_below(&golden("pipeline/checkpoint"))
        .iter()
        .filter(|(path, _)| path.ends_with(".safetensors") && path.as_str() < UNET)
        .map(|(_, bytes)| bytes.len() as u64)
        .sum();
    machine.hub.behave(Behaviour { dies_after: Some(others + limit), ..Behaviour::default() });
    let run = machine.models(&["pull", "tiny-person"]);
    failed(&run, &[&machine.hub.url, "the same command goes on from there"]);
    assert_eq!(fs::metadata(machine.partial()).unwrap().len(), limit);
    let half = machine.models(&["list", "--json"]).done().json();
    assert_eq!(half["pulled"][0]["complete"], false);
    let run = machine.place.run(["generate", "--prompt", "a hat", "--model", "tiny-person"]);
    assert!(run.stderr.contains("hint: `imagine models pull tiny-person`"), "{}", run.stderr);
    run.refused(&["\"tiny-person\" is not all here"]);

    machine.hub.take_log();
    machine.hub.behave(Behaviour::default());
    machine.models(&["pull", "tiny-person"]).done();
    let log = machine.hub.take_log();
    assert!(log.starts.contains(&limit), "{log:?}");
    assert!(!machine.partial().exists());
    machine.models(&["verify"]).done();
}

#[test]
fn connections_that_break_are_taken_up_again_in_the_same_run() {
    let machine = Machine::new();
    machine.hub.behave(Behaviour { cuts: 3, ..Behaviour::default() });
    let report = machine.models(&["pull", "tiny-person", "--json"]).done().json();
    let log = machine.hub.take_log();
    assert!(log.starts.iter().filter(|start| **start > 0).count() >= 3, "{log:?}");
    let large: u64 = report["files"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["path"].as_str().unwrap().ends_with(".safetensors"))
        .map(|f| f["bytes"].as_u64().unwrap())
        .sum();
    assert_eq!(log.bytes, large, "no byte is fetched twice");
}

#[test]
fn a_server_that_ignores_ranges_costs_time_and_nothing_else() {
    let machine = Machine::new();
    machine.hub.behave(Behaviour { no_ranges: true, ..Behaviour::default() });
    // what is appended to the first part makes a file that is too long, which is noticed and fetched anew
    fs::create_dir_all(machine.partial().parent().unwrap()).unwrap();
    fs::write(machine.partial(), vec![1; 100]).unwrap();
    machine.models(&["pull", "tiny-person"]).done();
    assert_eq!(fs::read(machine.snapshot(UNET)).unwrap(), unet());
}

#[test]
fn a_file_damaged_on_the_way_is_fetched_once_more_and_never_kept() {
    let machine = Machine::new();
    machine.hub.behave(Behaviour { damaged: 1, ..Behaviour::default() });
    machine.models(&["pull", "tiny-person"]).done();
    machine.models(&["verify"]).done();
    machine.models(&["rm", "tiny-person"]).done();

    machine.hub.behave(Behaviour { damaged: usize::MAX, ..Behaviour::default() });
    let run = machine.models(&["pull", "tiny-person"]);
    failed(&run, &["is not the file that is expected: sha256", "it was not kept"]);
    let kept = files_below(&machine.cache("models--someone--tiny/blobs"));
    assert!(!kept.iter().any(|(name, _)| name.len() == 64), "no large file is there");
}

#[test]
fn refusals_of_the_hub_say_what_to_do() {
    let machine = Machine::new();
    let pull = ["pull", "tiny-person"];
    machine.hub.behave(Behaviour { token: Some("hf_secret".into()), ..Behaviour::default() });
    failed(&machine.models(&pull), &["someone/tiny", "HTTP 401", "HF_TOKEN", "settings/tokens"]);
    let wrong = finish(machine.command(&pull).env("HF_TOKEN", "hf_wrong").output().unwrap());
    failed(&wrong, &["HTTP 401", "the token that was sent is not valid"]);
    assert!(!wrong.stderr.contains("hf_wrong"), "a token is nobody else's business");

    machine.hub.behave(Behaviour { gated: true, ..Behaviour::default() });
    failed(
        &machine.models(&pull),
        &["someone/tiny is gated", "HTTP 403", &format!("{}/someone/tiny", machine.hub.url)],
    );
    machine.hub.behave(Behaviour { status: Some(503), ..Behaviour::default() });
    failed(&machine.models(&pull), &["HTTP 503", "try later"]);
    failed(&machine.offline(&pull), &["http://127.0.0.1:9 cannot be reached", "HF_ENDPOINT"]);
    let off = finish(machine.command(&pull).env("HF_HUB_OFFLINE", "1").output().unwrap());
    failed(&off, &["HF_HUB_OFFLINE is set"]);
    finish(machine.command(&pull).env("HF_ENDPOINT", "hub.example").output().unwrap())
        .code
        .map_or_else(|| panic!("killed"), |code| assert_eq!(code, 2));

    // the token file of `hf auth login`
    machine.hub.behave(Behaviour { token: Some("hf_secret".into()), ..Behaviour::default() });
    fs::create_dir_all(machine.place.path(".cache/huggingface")).unwrap();
    fs::write(machine.place.path(".cache/huggingface/token"), "hf_secret\n").unwrap();
    machine.models(&pull).done();
}

#[test]
fn what_the_hub_does_not_have_is_named() {
    let machine = Machine::new();
    let own = machine.registry_text();
    for (from, to, says) in [
        ("someone/adapters", "someone/gone", "someone/gone at main"),
        ("tiny.safetensors\" }", "none.safetensors\" }", "faceid/none.safetensors in someone/adapters"),
    ] {
        let changed =
            own.replace(from, to).replace("entry = \"faceid/tiny.safetensors\"\n", "entry = \"faceid\"\n");
        machine.registry(&changed);
        failed(&machine.models(&["pull", "tiny-person"]), &[says, "HTTP 404", "registry"]);
    }
    let pinned = format!("tiny.safetensors\", sha256 = \"{}\" }}", "0".repeat(64));
    machine.registry(&own.replace("tiny.safetensors\" }", &pinned));
    machine.hub.take_log();
    failed(
        &machine.models(&["pull", "tiny-person"]),
        &["faceid/tiny.safetensors", "in the registry", "on the Hub"],
    );
    assert_eq!(machine.hub.take_log().bytes, 0, "refused before anything is fetched");
    machine.registry(&own.replace("role = \"adapter\"", "role = \"hat\""));
    machine.models(&["list"]).refused(&["registry.toml", "hat"]);
}

#[test]
fn parts_for_research_are_accepted_once_by_name() {
    let machine = Machine::new();
    let run = machine.models(&["pull", "tiny-research", "--json"]);
    assert!(run.stderr.contains("--accept-licence strict"), "{}", run.stderr);
    run.refused(&["research only", "Strict terms", "https://example.org/strict"]);
    assert_eq!(machine.hub.take_log().requests, 0, "nothing is asked for before");
    let lax = machine.models(&["pull", "tiny-research", "--json", "--accept-licence", "lax"]);
    assert!(lax.stderr.contains("strict") && !lax.stderr.contains("combination"), "{}", lax.stderr);
    lax.refused(&["no licence \"lax\""]);
    machine.models(&["pull", "tiny-research", "--json", "--accept-licence", "strict"]).done();
    machine.models(&["rm", "tiny-research"]).done();
    machine.models(&["pull", "tiny-research", "--json"]).done();
    machine.models(&["pull", "no-such-thing"]).refused(&["no-such-thing"]);
}

#[test]
fn damage_on_disk_is_found_and_mended() {
    let machine = Machine::new();
    machine.models(&["pull", "tiny-person"]).done();
    let mut bytes = unet();
    bytes[1000] = !bytes[1000];
    fs::write(machine.snapshot(UNET), &bytes).unwrap();
    fs::remove_file(machine.snapshot("vae/config.json")).unwrap();
    let run = machine.offline(&["verify", "--json"]);
    failed(&run, &["2 of", "imagine models pull tiny-person"]);
    let report = run.json();
    assert_eq!(report["ok"], false);
    let state = |path: &str| {
        let files = report["files"].as_array().unwrap();
        files.iter().find(|f| f["path"] == path).unwrap()["state"].as_str().unwrap().to_string()
    };
    assert_eq!((state(UNET).as_str(), state("vae/config.json").as_str()), ("changed", "missing"));
    assert_eq!(state("unet/config.json"), "ok");
    let lines = machine.offline(&["verify", "tiny-person"]);
    assert!(lines.stdout.contains(&format!("tiny: {UNET}: changed")), "{}", lines.stdout);

    machine.hub.take_log();
    machine.models(&["pull", "tiny-person"]).done();
    assert_eq!(machine.hub.take_log().bytes, unet().len() as u64, "only what is damaged is fetched again");
    machine.offline(&["verify"]).done();
    machine.models(&["verify", "tiny-research"]).refused(&["tiny-research", "has not been pulled"]);
}

#[test]
fn rm_frees_what_nobody_else_needs() {
    let machine = Machine::new();
    let accept = ["--accept-licence", "strict"];
    machine.models(&["pull", "tiny-person"]).done();
    machine.models(&[&["pull", "tiny-research"][..], &accept].concat()).done();
    let report = machine.models(&["rm", "tiny-person", "--json"]).done().json();
    assert_eq!(report["kept_parts"], Value::from(vec!["tiny"]));
    assert!(!machine.cache("models--someone--adapters").exists());
    assert!(machine.snapshot(UNET).is_file());
    machine.models(&["verify", "tiny-research"]).done();
    let freed = machine.models(&["rm", "tiny-research", "--json"]).done().json();
    assert!(freed["freed_bytes"].as_u64() > Some(unet().len() as u64));
    assert!(!machine.cache("models--someone--tiny").exists(), "folders that are empty go, too");
    machine.models(&["rm", "tiny-research"]).refused(&["has not been pulled"]);

    // what another program fetched stays
    machine.models(&["pull", "tiny-person"]).done();
    fs::remove_file(machine.place.path(".local/share/imagine/models/models.lock.json")).unwrap();
    machine.hub.take_log();
    machine.models(&["pull", "tiny-person"]).done();
    assert_eq!(machine.hub.take_log().bytes, 0, "what is in the cache is not fetched again");
    machine.models(&["rm", "tiny-person"]).done();
    assert!(machine.snapshot(UNET).is_file());

    machine.models(&["rm", "starter"]).refused(&["starter", "not pulled by this program"]);
}

#[test]
fn show_tells_of_what_is_not_here_yet() {
    let machine = Machine::new();
    let shown = machine.models(&["show", "sdxl-instantid"]).done().stdout;
    for says in ["InstantX/InstantID", "InsightFace, non-commercial research", "Apache-2.0", "glintr100.onnx"]
    {
        assert!(shown.contains(says), "{says}: {shown}");
    }
    let starter = machine.models(&["show", "starter", "--json"]).done().json();
    assert_eq!(starter["kind"], "own");
    machine.models(&["show", "no-such-thing"]).refused(&["no-such-thing"]);
    let help = machine.models(&["--help"]).done().stdout;
    assert!(help.contains("Examples:") && help.contains("HF_ENDPOINT"), "{help}");
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_pull_and_keeps_what_came() {
    let machine = Machine::new();
    machine.hub.behave(Behaviour { hangs_after: Some(5000), ..Behaviour::default() });
    let child = machine
        .command(&["pull", "tiny-person"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let blobs = machine.cache("models--someone--tiny/blobs");
    let arrived = || {
        let entries = fs::read_dir(&blobs).into_iter().flatten().flatten();
        entries
            .filter(|e| e.path().extension().is_some_and(|x| x == "part"))
            .any(|e| e.metadata().is_ok_and(|m| m.len() > 0))
    };
    let start = std::time::Instant::now();
    while !arrived() {
        assert!(start.elapsed().as_secs() < 30, "nothing arrives");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let run = finish(child.wait_with_output().unwrap());
    failed(&run, &["canceled", "the same command goes on from there"]);
    machine.hub.behave(Behaviour::default());
    machine.hub.take_log();
    machine.models(&["pull", "tiny-person"]).done();
    assert!(machine.hub.take_log().starts.iter().any(|start| *start > 0), "it went on from there");
}
