//! `imagine serve` with the starter model, as a person uses it: enrol, draw, look, forget.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::png_reader::Png;
use crate::support::{Workplace, finish, portrait};

/// A running server in a data folder of its own; ended when dropped.
struct Server {
    place: Workplace,
    child: Child,
    address: String,
    agent: ureq::Agent,
    key: Option<String>,
}

impl Server {
    fn start(place: Workplace, flags: &[&str]) -> Self {
        let mut command = place.command();
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--device", "cpu", "--data-dir", "data"])
            .args(flags);
        let log = fs::File::create(place.path("log")).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").map(str::to_owned);
        let address = address.unwrap_or_else(|| {
            panic!("\"{line}\" {}", fs::read_to_string(place.path("log")).unwrap_or_default())
        });
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { place, child, address, agent, key: None }
    }

    fn bearer(&self) -> String {
        format!("Bearer {}", self.key.as_deref().unwrap_or("none"))
    }

    fn get(&self, path: &str) -> (u16, Vec<u8>) {
        let url = format!("{}{path}", self.address);
        let mut response = self.agent.get(url).header("authorization", self.bearer()).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_vec().unwrap())
    }

    fn json(&self, path: &str) -> Value {
        let (status, body) = self.get(path);
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let url = format!("{}{path}", self.address);
        let request = self.agent.post(url).header("content-type", "application/json");
        let mut response = request.header("authorization", self.bearer()).send(body.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    /// Name and data of every event, up to the stream's end.
    fn events(&self, path: &str) -> Vec<(String, Value)> {
        let url = format!("{}{path}", self.address);
        let mut response = self.agent.get(url).header("authorization", self.bearer()).call().unwrap();
        let mut text = String::new();
        response.body_mut().as_reader().read_to_string(&mut text).unwrap();
        let of = |event: &str| {
            let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            Some((field("event:")?.to_owned(), serde_json::from_str(field("data:")?).unwrap()))
        };
        text.split("\n\n").filter_map(of).collect()
    }

    /// The program as a client of this server.
    fn imagine(&self, args: &[&str]) -> crate::support::Run {
        let mut command = self.place.command();
        command.args(args).env("IMAGINE_SERVER", &self.address);
        if let Some(key) = &self.key {
            command.env("IMAGINE_API_KEY", key);
        }
        finish(command.output().unwrap())
    }

    /// Asks it to end, and waits.
    fn stop(mut self) -> Option<i32> {
        let told = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(told.success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
    assert_eq!((&output["width"], &output["height"], &output["seed"]), (&json!(64), &json!(64), &json!(7)));
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
    let results = fs::read_to_string(server.place.path("ideas/results.jsonl")).unwrap();
    assert_eq!(results.lines().count(), 4, "{results}");
    assert_eq!(server.stop(), Some(0));
}
