//! Several processes on one database and one bucket: a server that draws nothing, and two workers.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::server::{Process, Server, signal};
use crate::support::{Workplace, portrait};
use crate::{postgres, s3};

const JOBS: usize = 24;
/// Of anything that is waited for; only a defect needs it.
const PATIENCE: Duration = Duration::from_secs(240);

/// Where everything lies, as variables.
struct Shared {
    database: String,
    bucket: String,
}

impl Shared {
    fn tell(&self, command: &mut Command) {
        command
            .env("IMAGINE_DATABASE_URL", &self.database)
            .env("IMAGINE_BLOBS", "s3://pictures/imagine")
            .env("IMAGINE_S3_ENDPOINT", &self.bucket)
            .env("IMAGINE_MASTER_KEY_FILE", "seed/master.key")
            .env("IMAGINE_LEASE_SECONDS", "10");
    }

    /// One number from the database itself.
    fn count(&self, sql: &str) -> usize {
        let told = Command::new("psql").args(["-X", "-A", "-t", "-c", sql, &self.database]).output().unwrap();
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).unwrap().trim().parse().unwrap()
    }

    fn until(&self, what: &str, sql: &str) {
        let begun = Instant::now();
        while self.count(sql) == 0 {
            assert!(begun.elapsed() < PATIENCE, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A worker's process, and where it tells of itself.
struct Worker(Process, String);

impl Worker {
    fn start(place: &Workplace, shared: &Shared, name: &str, change: impl FnOnce(&mut Command)) -> Self {
        let mut command = place.command();
        // Few rows, so that one worker takes eight jobs at a time and leaves some to the other.
        command.args(["worker", "--worker-name", name, "--rows", "2", "--device", "cpu", "--data-dir", name]);
        command.args(["--worker-listen", "127.0.0.1:0"]);
        shared.tell(&mut command);
        change(&mut command);
        let log = std::fs::File::create(place.path(&format!("log-{name}"))).unwrap();
        let mut child = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let log = || std::fs::read_to_string(place.path(&format!("log-{name}"))).unwrap_or_default();
        let address = lines.next().and_then(|line| line.strip_prefix("listening on ").map(String::from));
        let address = address.unwrap_or_else(|| panic!("{}", log()));
        assert_eq!(lines.next(), Some(format!("working as {name}")), "{}", log());
        Self(Process(child), address)
    }

    /// What it tells of itself, to anybody.
    fn get(&self, path: &str) -> (u16, String) {
        let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        let mut response = agent.get(format!("{}{path}", self.1)).call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    }
}

#[test]
fn two_workers_draw_what_a_server_takes_in_and_one_may_die() {
    let Some(database) = postgres::database() else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let bucket = runtime.block_on(s3::serve(folder.path())).endpoint.unwrap();
    let shared = Shared { database, bucket };
    let place = Workplace::new();
    place.run(["keys", "list", "--data-dir", "seed"]).done();
    let profile = "[studio]\naws_access_key_id = AKTEST\naws_secret_access_key = secret\n";
    let profile = place.file("credentials", profile.as_bytes());
    // One way to the bucket is by Imagine's own settings, the other by what Amazon's tools read.
    let own = |command: &mut Command| {
        command.env("IMAGINE_S3_ACCESS_KEY_ID", "AKTEST").env("IMAGINE_S3_SECRET_ACCESS_KEY", "secret");
    };
    let standard = |command: &mut Command| {
        let file = ("AWS_SHARED_CREDENTIALS_FILE", profile.as_os_str());
        command.env(file.0, file.1).env("AWS_PROFILE", "studio").env("AWS_EC2_METADATA_DISABLED", "true");
    };
    // Anybody else is refused, by name and without a trace of the secret.
    let mut nobody = place.command();
    shared.tell(&mut nobody);
    let stranger = [("AWS_ACCESS_KEY_ID", "AKTEST"), ("AWS_SECRET_ACCESS_KEY", "guessed-in-vain")];
    let refused = nobody.args(["storage", "check"]).envs(stranger).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(refused.status.code() == Some(1) && !said.contains("guessed-in-vain"), "{said}");
    let mut check = place.command();
    shared.tell(&mut check);
    standard(&mut check);
    let checked = crate::support::finish(check.args(["storage", "check"]).output().unwrap()).done();
    assert!(checked.stdout.contains("pictures: can be put"), "{}", checked.stdout);

    let server = Server::start_with(place, |command| {
        command.args(["--work", "false"]);
        shared.tell(command);
        own(command);
    });
    without_weights(server.id());
    let first = Worker::start(&server.place, &shared, "one", own);
    let second = Worker::start(&server.place, &shared, "two", standard);

    let portrait = portrait();
    let add = ["people", "add", "Eileen", "--consent", "authorised", "--authorised-by", "NASA", "--photo"];
    let person = server.imagine(&[&add[..], &[portrait.to_str().unwrap()]].concat()).done().json();
    let person = person["id"].as_str().unwrap();
    let wish = |seed: usize| {
        json!({"prompt": "a portrait of a person", "people": [{"person": person}], "steps": 20, "seed": seed,
            "expand": false})
    };
    let mut jobs = Vec::new();
    for seed in 0..JOBS {
        let (status, job) = server.post("/v1/jobs", &wish(seed));
        assert_eq!(status, 202, "{job}");
        jobs.push(job["id"].as_str().unwrap().to_owned());
    }
    let of =
        |worker: &str, status: &str| format!("FROM jobs WHERE worker = '{worker}' AND status = '{status}'");
    let (done, running) = (of("one", "succeeded"), of("one", "running"));
    let both = format!("SELECT ((SELECT COUNT(*) {done}) > 0 AND (SELECT COUNT(*) {running}) > 0)::int");
    for worker in [&first, &second] {
        let (status, health) = worker.get("/health/ready");
        assert!(status == 200 && health.contains("\"model\":\"ok\""), "{health}");
        let (status, metrics) = worker.get("/metrics");
        assert!(status == 200 && metrics.contains("imagine_batch_size_most 2\n"), "{metrics}");
        assert_eq!(worker.get("/health/live").0, 200);
        assert_eq!(worker.get("/v1/people").0, 404, "nothing but itself");
    }
    shared.until("the first worker finishes a job and is at others", &both);
    signal(&first.0.0, "KILL");
    let interrupted = shared.count(&format!("SELECT COUNT(*) {running}"));
    assert!(interrupted > 0, "it was killed in the middle");

    let begun = Instant::now();
    let mut attempts = HashSet::new();
    let mut pictures = HashSet::new();
    for (seed, id) in jobs.iter().enumerate() {
        let job = loop {
            let job = server.json(&format!("/v1/jobs/{id}"));
            if !matches!(job["status"].as_str(), Some("queued" | "running")) {
                break job;
            }
            assert!(begun.elapsed() < PATIENCE, "{job}");
            std::thread::sleep(Duration::from_millis(50));
        };
        assert_eq!(job["status"], "succeeded", "{job}");
        attempts.insert(job["attempts"].as_u64().unwrap());
        let outputs = job["output"].as_array().unwrap();
        assert_eq!((outputs.len(), &outputs[0]["seed"]), (1, &json!(seed)));
        assert!(outputs[0]["likeness"].is_array(), "{job}");
        let picture = outputs[0]["url"].as_str().unwrap();
        for (path, begins) in [(picture, b"\x89PNG"), (&format!("{picture}/thumb"), b"\xff\xd8\xff\xe1")] {
            let (status, bytes) = server.get(path);
            assert_eq!(status, 200);
            assert!(bytes.starts_with(begins), "{path}");
            pictures.insert(bytes);
        }
    }
    assert_eq!(pictures.len(), 2 * JOBS, "each seed has a picture of its own");
    // On a machine that is busy with others a worker that lives may lose a lease as well.
    assert!(attempts.contains(&2) && attempts.iter().all(|count| *count <= 3), "begun again: {attempts:?}");
    for worker in ["one", "two"] {
        assert!(shared.count(&format!("SELECT COUNT(*) {}", of(worker, "succeeded"))) > 0, "{worker}");
    }
    assert_eq!(files(folder.path()), 2 * JOBS + 1, "pictures, thumbnails, and the person's face crops");

    let gone = server.imagine(&["people", "rm", person, "--pictures"]).done().json();
    assert_eq!(gone["removed"]["pictures"], json!(JOBS));
    assert_eq!(files(folder.path()), 0);
    drop(first);
    let mut second = second;
    signal(&second.0.0, "TERM");
    assert_eq!(second.0.0.wait().unwrap().code(), Some(0));
    assert_eq!(server.stop(), Some(0));
}

/// Files in the bucket, wherever they lie in it.
fn files(bucket: &Path) -> usize {
    fn below(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries.map(|path| if path.is_dir() { below(&path) } else { 1 }).sum()
    }
    below(&bucket.join("pictures/imagine"))
}

/// A server that draws nothing has no weights in memory: they would be mapped from their files.
fn without_weights(server: u32) {
    let Ok(maps) = std::fs::read_to_string(format!("/proc/{server}/maps")) else { return };
    assert!(maps.contains("libtorch"), "the list is the process's");
    assert!(!maps.contains(".safetensors"), "{maps}");
}
