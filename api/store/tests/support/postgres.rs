//! A Postgres of the tests' own, from the system's package: in a temporary folder, reached by a socket, gone
//! with the process.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

struct Cluster {
    folder: PathBuf,
    bin: PathBuf,
    /// Its input is held open for as long as this process lives; the shell stops the server when it ends.
    _watch: Child,
}

static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
static COUNT: AtomicU32 = AtomicU32::new(0);

/// The address of a new, empty database; none where Postgres is not installed, which is said loudly and is
/// an error where `CI` is set.
pub fn database() -> Option<String> {
    let cluster = CLUSTER.get_or_init(start).as_ref()?;
    let name = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let made = Command::new(cluster.bin.join("createdb"))
        .args(["-U", "postgres", "-h"])
        .arg(&cluster.folder)
        .arg(&name)
        .output()
        .expect("createdb runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let host = cluster.folder.display().to_string().replace('/', "%2F");
    Some(format!("postgres://postgres@localhost/{name}?host={host}&sslmode=disable"))
}

fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut bins: Vec<PathBuf> = versions.flatten().map(|version| version.path().join("bin")).collect();
    bins.sort();
    bins.into_iter().rev().find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
}

fn start() -> Option<Cluster> {
    let Some(bin) = installed() else {
        let ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
        assert!(
            !ci,
            "Postgres is not installed, and nothing may be left out here: apt-get install postgresql"
        );
        // Past the test harness, which hides what passing tests print.
        let _ = std::io::stderr().write_all(
            b"\n*** NOT TESTED: Postgres is not installed (apt-get install postgresql). Its tests did nothing. ***\n",
        );
        return None;
    };
    // Not below the user's own folder: the server may run as another user.
    let folder = std::env::temp_dir().join(format!("imagine-postgres-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    let root = Command::new("id").arg("-u").output().expect("id runs").stdout.starts_with(b"0\n");
    // Postgres refuses to run as root. A signal would not reach it: a shell's background jobs ignore interrupts, and
    // `runuser` stands between. It has to end, or whoever waits for the end of this process's output waits for ever.
    let user = if root { "runuser -u postgres --" } else { "" };
    let script = format!(
        "cd {folder} && {own} {user} {bin}/initdb -D {folder}/data -U postgres -A trust --no-sync -E UTF8 \
         --locale=C.UTF-8 >{folder}/initdb.log 2>&1 || {{ cat {folder}/initdb.log; echo failed; exit 1; }}
         {user} {bin}/postgres -D {folder}/data -k {folder} -c listen_addresses= -c fsync=off \
         -c max_connections=300 >{folder}/server.log 2>&1 &
         server=$!
         for i in $(seq 600); do {bin}/pg_isready -q -h {folder} && break; sleep 0.05; done
         echo ready; read _
         {user} {bin}/pg_ctl -D {folder}/data -m immediate stop >/dev/null 2>&1; wait $server; rm -rf {folder}",
        folder = folder.display(),
        bin = bin.display(),
        own = if root { format!("chown postgres {} &&", folder.display()) } else { String::new() },
    );
    let mut watch = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a shell");
    assert_eq!(first_word(watch.stdout.take()), "ready", "see {}", folder.display());
    Some(Cluster { folder, bin, _watch: watch })
}

fn first_word(output: Option<std::process::ChildStdout>) -> String {
    use std::io::BufRead;
    let mut line = String::new();
    if let Some(output) = output {
        let _ = std::io::BufReader::new(output).read_line(&mut line);
    }
    line.trim().to_owned()
}
