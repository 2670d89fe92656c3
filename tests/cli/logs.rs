//! What a server logs, at its most talkative, is searched for everything that has no place in a log.

use std::fs;
use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use imagine_identity::{Encoder, FaceChoice, Photo};
use serde_json::json;

use crate::server::Server;
use crate::support::{Workplace, portrait};

/// Bytes that are found nowhere by chance.
const LENGTH: usize = 24;

/// Pieces of `bytes`, spread over all of them, each as it is, in base64, and as a list of numbers and in hex.
fn pieces(bytes: &[u8]) -> Vec<Vec<u8>> {
    let step = (bytes.len() / 24).max(1);
    let mut found = Vec::new();
    for at in (0..bytes.len().saturating_sub(LENGTH)).step_by(step) {
        let piece = &bytes[at..at + LENGTH];
        if piece.iter().all(|byte| *byte == piece[0]) {
            continue;
        }
        found.push(piece.to_vec());
        // Whatever stood before it in the whole: three ways in which base64's groups can fall.
        found.extend((0..3).map(|skip| STANDARD_NO_PAD.encode(&piece[skip..skip + 21]).into_bytes()));
        let list: Vec<String> = piece.iter().map(u8::to_string).collect();
        found.extend([list.join(", "), list.join(",")].map(String::into_bytes));
        found.push(piece.iter().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes());
    }
    found
}

/// Numbers as bytes, in base64, and in decimals as far as any way to write them goes.
fn numbers(values: &[f32]) -> Vec<Vec<u8>> {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut found = pieces(&raw);
    for value in values.iter().filter(|value| value.abs() > 1e-3) {
        // Without the sign and the last digits, which rounding may change: six are chance once in a million.
        let text = format!("{:.8}", value.abs());
        let digits = text.trim_start_matches(['0', '.']).replace('.', "");
        if digits.len() >= 6 {
            found.push(text.as_bytes()[..text.len() - 1].to_vec());
        }
    }
    found
}

fn is_found(log: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(log, needle).is_some()
}

fn searched(log: &[u8], needles: &[Vec<u8>]) -> usize {
    needles.iter().filter(|needle| is_found(log, needle)).count()
}

/// A photo of nobody.
fn landscape() -> Vec<u8> {
    let picture =
        image::RgbImage::from_fn(97, 61, |x, y| image::Rgb([(x * 2) as u8, (y * 4) as u8, (x * y) as u8]));
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

#[test]
fn no_photo_embedding_or_prompt_is_ever_logged() {
    let photo = fs::read(portrait()).unwrap();
    let encoder = Encoder::installed().unwrap();
    let seen = encoder.person(&[Photo::open(&portrait()).unwrap()], FaceChoice::Largest).unwrap();
    let unit = seen.embedding.vector().to_vec();
    let raw: Vec<f32> = unit.iter().map(|value| value * seen.embedding.norm()).collect();
    let mut needles = [pieces(&photo), pieces(&landscape()), numbers(&unit), numbers(&raw)].concat();
    let words =
        ["vermilion", "quagmire", "forbidding-moor", "Zephyrine", "quicksilver", "zeppelin", "misspelt"];
    needles.extend(words.iter().map(|word| word.as_bytes().to_vec()));

    // The search finds each of them where it is, however it is written.
    let base64 = STANDARD_NO_PAD.encode(&photo);
    assert!(searched(&photo, &needles) >= 20);
    assert!(searched(base64.as_bytes(), &needles) >= 20);
    assert!(searched(format!("{photo:?}").as_bytes(), &needles) >= 20);
    for written in [format!("{unit:?}"), format!("{raw:?}"), json!(unit).to_string()] {
        assert!(searched(written.as_bytes(), &needles) > 60, "{written}");
    }

    let server = Server::start(Workplace::new(), &["--log", "trace", "--log-format", "json"]);
    let path = portrait().display().to_string();
    let person =
        server.imagine(&["people", "add", "Zephyrine", "--photo", &path, "--consent", "self"]).done().json();
    let id = person["id"].as_str().unwrap();
    let wish = |prompt: &str, more: serde_json::Value| {
        let mut job =
            json!({"prompt": prompt, "people": [{"person": id}], "steps": 2, "seed": 7, "previews": 1});
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        job
    };
    // Drawn as it is and expanded; refused; not understood.
    for more in [json!({"expand": false, "negative_prompt": "quagmire"}), json!({"expand": true})] {
        let (status, job) = server.post("/v1/jobs", &wish("a vermilion hat", more));
        assert_eq!(status, 202, "{job}");
        let events = server.events(job["urls"]["events"].as_str().unwrap());
        assert_eq!(events.last().unwrap().0, "job.succeeded", "{events:?}");
        assert_eq!(server.get(events.last().unwrap().1["output"][0]["url"].as_str().unwrap()).0, 200);
    }
    let (status, refused) = server.post("/v1/jobs", &wish("me undressed in quicksilver", json!({})));
    assert_eq!((status, &refused["error"]["code"]), (422, &"refused".into()), "{refused}");
    assert_eq!(server.post("/v1/jobs", &json!({"prompt": "forbidding-moor", "misspelt": 1})).0, 400);
    assert_eq!(server.post("/v1/prompts/expand", &json!({"idea": "me in a zeppelin"})).0, 200);
    assert_eq!(server.get("/v1/jobs?q=vermilion").0, 200);
    // A picture that comes with a job.
    let job = json!({"prompt": "a zeppelin", "expand": false, "steps": 2, "edit": {"strength": 0.5}});
    let form = [
        ("name=\"job\"", job.to_string().into_bytes()),
        ("name=\"edit.image\"; filename=\"zeppelin.png\"", landscape()),
    ];
    let mut body = Vec::new();
    for (name, bytes) in form {
        let head = format!("--edge\r\nContent-Disposition: form-data; {name}\r\n\r\n");
        body.extend([head.as_bytes(), &bytes, b"\r\n"].concat());
    }
    body.extend(b"--edge--\r\n");
    let (status, job) = server.send_form("/v1/jobs", "edge", &body);
    assert_eq!(status, 202, "{job}");
    let events = server.events(job["urls"]["events"].as_str().unwrap());
    assert_eq!(events.last().unwrap().0, "job.succeeded", "{events:?}");
    server.imagine(&["people", "rm", id, "--pictures"]).done();

    let log = server.log();
    assert!(log.contains("\"level\":\"TRACE\""), "it is talkative: {log:.500}");
    let found: Vec<_> = needles.iter().filter(|needle| is_found(log.as_bytes(), needle)).collect();
    let lines = |needle: &[u8]| log.lines().find(|line| is_found(line.as_bytes(), needle)).map(str::to_owned);
    let told: Vec<_> =
        found.iter().take(5).map(|n| (String::from_utf8_lossy(n).into_owned(), lines(n))).collect();
    assert!(found.is_empty(), "{} of {} are in the log: {told:?}", found.len(), needles.len());
}
