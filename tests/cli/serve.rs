//! `imagine serve` with the starter model, as a person uses it: enrol, draw, look, forget.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::png_reader::Png;
use crate::server::{Server, signal};
use crate::support::{Workplace, portrait};

#[test]
fn a_person_is_enrolled_drawn_and_forgotten() {
    let server = Server::start(Workplace::new(), &[]);
    let (portrait, prompt) = (portrait(), "a portrait of a person with a red hat");
    let photo = portrait.to_str().unwrap();

    // Nobody without consent.
    let refused = server.imagine(&["people", "add", "Eileen", "--photo", photo]);
    assert_eq!(refused.code, Some(2), "{}", refused.stderr);
    assert!(refused.stderr.contains("--consent self"), "{}", refused.stderr);
    let added = server.imagine(&[
        "people",
        "add",
        "Eileen",
        "--photo",
        photo,
        "--consent",
        "authorised",
        "--authorised-by",
        "NASA",
    ]);
    let person = added.done().json();
    let id = person["id"].as_str().unwrap();
    assert_eq!((&person["embeddings"], &person["photos"][0]["kept"]), (&json!(1), &json!(false)));
    assert!(server.imagine(&["people", "list"]).done().stdout.contains("Eileen"));

    let wish = json!({"prompt": prompt, "people": [{"person": id}], "steps": 4, "seed": 7, "n": 2,
        "previews": 2, "expand": false});
    let (status, job) = server.post("/v1/jobs", &wish);
    assert_eq!(status, 202, "{job}");
    let events = server.events(job["urls"]["events"].as_str().unwrap());
    let named =
        |name: &'static str| events.iter().filter(move |(event, _)| event == name).map(|(_, data)| data);
    for name in ["job.started", "job.progress", "job.preview"] {
        assert!(
            named(name).next().is_some(),
            "{name}: {:?}",
            events.iter().map(|e| &e.0).collect::<Vec<_>>()
        );
    }
    assert_eq!(named("job.output").count(), 2);
    let done = named("job.succeeded").next().unwrap();
    assert_eq!(events.last().unwrap().0, "job.succeeded");

    // The same picture as from `imagine generate`.
    let out = server.place.path("alone.png");
    let alone = server.place.run([
        "generate",
        "--photo",
        photo,
        "--prompt",
        prompt,
        "--steps",
        "4",
        "--seed",
        "7",
        "--device",
        "cpu",
        "--out",
        out.to_str().unwrap(),
    ]);
    alone.done();
    let output = &done["output"][0];
    assert_eq!((&output["width"], &output["height"], &output["seed"]), (&json!(128), &json!(128), &json!(7)));
    assert!(output["likeness"].is_array(), "{output}");
    let image = format!("/v1/images/{}", output["id"].as_str().unwrap());
    let (status, bytes) = server.get(&image);
    assert_eq!(status, 200);
    let file = server.place.file("served.png", &bytes);
    let (served, alone) = (Png::open(&file), Png::open(&out));
    let largest = served.rgb.iter().zip(&alone.rgb).map(|(a, b)| a.abs_diff(*b)).max();
    assert_eq!((served.width, served.height), (alone.width, alone.height));
    assert!(largest <= Some(1), "{largest:?}");

    let forgotten = server.imagine(&["people", "rm", id, "--pictures"]).done().json();
    assert_eq!((&forgotten["deleted"], &forgotten["removed"]["pictures"]), (&json!(true), &json!(2)));
    assert_eq!(server.get(&format!("/v1/people/{id}")).0, 404);
    assert_eq!(server.get(&image).0, 404);
    assert_eq!(server.json("/v1/people")["data"], json!([]));
    assert_eq!(server.get("/health/ready").0, 200);
    let log = fs::read_to_string(server.place.path("log")).unwrap();
    assert!(!log.contains("red hat") && !log.contains("Eileen"), "{log}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_batch_goes_on_where_it_was_and_keys_are_asked_for() {
    let place = Workplace::new();
    let keys = |more: &[&str]| place.run([&["keys"], more, &["--data-dir", "data"]].concat());
    let none = place.run(["serve", "--require-key", "--listen", "127.0.0.1:0", "--data-dir", "data"]);
    none.refused(&["API key"]);
    let key = keys(&["add", "laptop"]).done().stdout.trim().to_owned();
    assert!(key.starts_with("imk_"), "a key");
    let listed = keys(&["list"]).done().stdout;
    assert!(listed.contains("laptop") && listed.contains("valid") && !listed.contains(&key), "{listed}");
    let id = listed.split('\t').next().unwrap();
    assert!(listed.contains("up to normal"), "{listed}");
    keys(&["priority", id, "high"]).done();
    keys(&["priority", id, "highest"]).refused(&["high, normal or low"]);
    assert!(keys(&["list"]).done().stdout.contains("up to high"));
    let file =
        place.file("ideas.csv", b"prompt,seed,steps,expand\na red hat,1,2,false\na forest,2,2,false\n");
    let name = file.to_str().unwrap().to_owned();
    let mut server = Server::start(place, &["--require-key"]);
    let refused = server.imagine(&["batch", "run", &name]);
    assert!(refused.code == Some(2) && refused.stderr.contains("IMAGINE_API_KEY"), "{}", refused.stderr);
    server.key = Some(key);
    server.imagine(&["batch", "run", &name]).done();
    let pictures = || server.place.names("ideas").iter().filter(|name| name.ends_with(".png")).count();
    assert_eq!(pictures(), 2);
    // Again: nothing new. With a line more: that one.
    server.imagine(&["batch", "run", &name]).done();
    assert_eq!(pictures(), 2);
    let longer = fs::read_to_string(&name).unwrap() + "a lighthouse,3,2,false\nno steps at all,4,0,false\n";
    fs::write(&name, longer).unwrap();
    let half = server.imagine(&["batch", "run", &name]);
    assert!(half.code == Some(1) && half.stderr.contains("lines that failed: 1"), "{}", half.stderr);
    assert_eq!(pictures(), 3);
    // With nothing left to do it still says that one has failed.
    let again = server.imagine(&["batch", "run", &name]);
    assert!(again.code == Some(1) && again.stderr.contains("lines that failed: 1"), "{}", again.stderr);
    // Lines are counted through, however many times the file grew, and pictures are called after them.
    let results = fs::read_to_string(server.place.path("ideas/results.jsonl")).unwrap();
    let results: Vec<Value> = results.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> = results.iter().map(|line| (&line["line"], &line["output"][0]["file"])).collect();
    let names = ["00000-0.png", "00001-0.png", "00002-0.png"].map(|name| json!(name));
    let lines = [0, 1, 2, 3].map(|line| json!(line));
    let wanted: Vec<_> = lines.iter().zip(names.iter().chain([&Value::Null])).collect();
    assert_eq!(told, wanted);
    assert_eq!(server.place.names("ideas")[..3], ["00000-0.png", "00001-0.png", "00002-0.png"]);
    assert_eq!(results[3]["input"]["prompt"], "no steps at all");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn a_watched_file_waits_for_its_server() {
    let place = Arc::new(Workplace::new());
    // Free a moment ago, and nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let file = place.file("ideas.csv", b"prompt,seed,steps,expand\na red hat,1,1,false\n");
    let mut command = place.command();
    command.args([
        "batch",
        "run",
        file.to_str().unwrap(),
        "--watch",
        "--server",
        &format!("http://{address}"),
    ]);
    let mut watch = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(watch.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    assert!(said.starts_with("note: ") && said.contains("trying again in 1 s"), "{said}");
    let server = Server::start_at(Arc::clone(&place), &address, |_| ());
    let mut drawn = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut drawn).unwrap();
    assert!(drawn.trim().ends_with("ideas/00000-0.png"), "{drawn}");
    signal(&watch, "INT");
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn every_format_says_that_a_model_made_it() {
    let server = Server::start(Workplace::new(), &[]);
    let mark = b"digitalsourcetype/trainedAlgorithmicMedia";
    for (format, begins) in [("png", &b"\x89PNG"[..]), ("jpeg", b"\xff\xd8"), ("webp", b"RIFF")] {
        let wish = json!({"prompt": "a forest", "steps": 1, "expand": false, "output_format": format});
        let (_, job) = server.post("/v1/jobs", &wish);
        let events = server.events(job["urls"]["events"].as_str().unwrap());
        let (name, job) = events.last().unwrap();
        assert_eq!(name, "job.succeeded", "{job}");
        let picture = job["output"][0]["url"].as_str().unwrap();
        for (path, begins) in [(picture, begins), (&format!("{picture}/thumb"), b"\xff\xd8")] {
            let (status, bytes) = server.get(path);
            assert_eq!(status, 200);
            assert!(bytes.starts_with(begins), "{path} {format}");
            assert!(bytes.windows(mark.len()).any(|part| part == mark), "{path} {format}");
        }
    }
    assert_eq!(server.stop(), Some(0));
}

/// Threads are in the middle of everything then: nothing they use may be taken apart under them.
#[test]
fn a_second_signal_ends_it_at_once_and_harms_nothing() {
    // Nothing but the second signal ends it while there is work.
    let mut server = Server::start(Workplace::new(), &["--lease-seconds", "15", "--shutdown-seconds", "600"]);
    let portrait = portrait();
    let add = ["people", "add", "Eileen", "--consent", "authorised", "--authorised-by", "NASA", "--photo"];
    let person = server.imagine(&[&add[..], &[portrait.to_str().unwrap()]].concat()).done().json();
    let wish = |steps: u32| {
        json!({"prompt": "a person", "people": [{"person": person["id"]}], "steps": steps, "n": 10,
            "expand": false})
    };
    let get = |job: &Value| job["urls"]["get"].as_str().unwrap().to_owned();
    for _ in 0..8 {
        assert_eq!(server.post("/v1/jobs", &wish(1)).0, 202);
    }
    let (_, last) = server.post("/v1/jobs", &wish(1));
    // Far more than is drawn while this test does the rest.
    let (_, long) = server.post("/v1/jobs", &wish(100));
    // Pictures of many jobs are being measured and stored when the first is through.
    let first = server.json("/v1/jobs")["data"].as_array().unwrap().last().unwrap().clone();
    server.events(first["urls"]["events"].as_str().unwrap());
    assert_ne!(server.json(&get(&last))["status"], "succeeded");
    server.signal("TERM");
    // Until it has taken the first, a second one is the same to the system.
    let accepting = || -> Value {
        let (_, health) = server.get("/health/ready");
        serde_json::from_slice::<Value>(&health).unwrap()["checks"]["accepting"].clone()
    };
    let begun = Instant::now();
    while accepting() == "ok" {
        assert!(begun.elapsed() < Duration::from_secs(60), "{}", server.log());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(accepting(), "unavailable");
    server.signal("TERM");
    assert_eq!(server.wait(), Some(1));
    let log = server.log();
    assert!(!log.contains("likeness was not measured") && !log.contains("panicked"), "{log}");
    // What was given up is drawn after the next start, every picture with its likeness.
    let again = Server::start(server.place.clone(), &["--lease-seconds", "15"]);
    let (canceled, _) = again.post(long["urls"]["cancel"].as_str().unwrap(), &Value::Null);
    assert_eq!(canceled, 200);
    again.events(last["urls"]["events"].as_str().unwrap());
    let done = again.json(&get(&last));
    assert_eq!(done["status"], "succeeded", "{done}");
    assert_eq!(done["output"].as_array().unwrap().len(), 10);
    assert_eq!(again.stop(), Some(0));
}
