//! Set-up against a package index on this machine that serves a wheel well or badly.

use std::cell::Cell;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::digest;
use crate::download::{self, BLOCK};
use crate::error::{Error, Result};
use crate::http::Patience;
use crate::manifest::{Manifest, Member, Set, Text, Tree, Wheel};
use crate::pip::Settings;
use crate::setup::Setup;
use crate::stub_index::{Behaviour, StubIndex};

const FILE: &str = "thing-1.0-py3-none-any.whl";
const LARGE: &str = "lib/large.so";
const SMALL: &str = "lib/small.so";
const TREE: &str = "include";

/// A wheel, an index that serves it, and an empty `.deps`.
struct World {
    index: StubIndex,
    manifest: Manifest,
    wheel: Vec<u8>,
    deps: TempDir,
    pip_calls: Cell<usize>,
    pip_works: bool,
}

/// Bytes that differ from one seed to the next.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut x = seed;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // the high bits are the better ones; repeated, because this runs without optimisation
        bytes.extend_from_slice(&[(x >> 56) as u8, (x >> 48) as u8, (x >> 40) as u8].repeat(32));
    }
    bytes.truncate(length);
    bytes
}

impl World {
    fn new() -> Self {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let contents = [
            ("thing/unwanted.so", noise(1, 5 << 20)),
            ("thing/include/a.h", b"int a;".to_vec()),
            ("thing/include/deep/b.h", b"int b;".to_vec()),
            ("thing/large.so", noise(2, 3 << 20)),
            ("thing/unwanted too.so", noise(3, 4 << 20)),
            ("thing/small.so", b"small".to_vec()),
            ("thing/last.so", noise(4, 2 << 20)),
        ];
        for (name, content) in &contents {
            let method =
                if content.len() > 100 { CompressionMethod::Stored } else { CompressionMethod::Deflated };
            let mode = if *name == "thing/small.so" { 0o755 } else { 0o644 };
            let options = SimpleFileOptions::default().compression_method(method).unix_permissions(mode);
            zip.start_file(*name, options).expect("an entry");
            zip.write_all(content).expect("its content");
        }
        let wheel = zip.finish().expect("a wheel").into_inner();

        let scratch = tempfile::tempdir().expect("a folder for the test");
        let path = scratch.path().join(FILE);
        fs::write(&path, &wheel).expect("the wheel on disk");
        let blank = String::new();
        let member = |from: &str, to: &str| {
            let member =
                Member { from: from.into(), to: to.into(), size: 0, packed: 0, sha256: blank.clone() };
            crate::wheel::measure(&path, &member).expect("a measured member")
        };
        let tree = Tree {
            from: "thing/include/".into(),
            to: TREE.into(),
            files: 0,
            size: 0,
            packed: 0,
            sha256: blank.clone(),
        };
        let entry = Wheel {
            set: Set::Cpu,
            title: "thing".into(),
            project: "thing".into(),
            version: "1.0".into(),
            file: FILE.into(),
            size: wheel.len() as u64,
            sha256: digest::file(&path).expect("its hash"),
            member: vec![member("thing/large.so", LARGE), member("thing/small.so", SMALL)],
            tree: vec![
                crate::wheel::measure_tree(&path, &tree, &scratch.path().join("t")).expect("a measured tree"),
            ],
        };
        let text = Text { set: Set::Cpu, to: "lib/all.so".into(), content: "INPUT(large.so)\n".into() };
        Self {
            index: StubIndex::serve("thing", FILE, wheel.clone()),
            manifest: Manifest { wheel: vec![entry], text: vec![text] },
            wheel,
            deps: tempfile::tempdir().expect("a folder for .deps"),
            pip_calls: Cell::new(0),
            pip_works: false,
        }
    }

    fn setup(&self) -> Result<()> {
        self.setup_from(&self.index.url, false)
    }

    fn setup_from(&self, index: &str, verify: bool) -> Result<()> {
        let pip = |wheel: &Wheel, dir: &Path| -> Result<PathBuf> {
            self.pip_calls.set(self.pip_calls.get() + 1);
            if !self.pip_works {
                return Err(Error::NoPip { python: "python3".into() });
            }
            let path = dir.join(&wheel.file);
            fs::write(&path, &self.wheel).expect("a wheel from pip");
            Ok(path)
        };
        let setup = Setup {
            manifest: &self.manifest,
            sets: &[Set::Cpu],
            skip: None,
            deps: self.deps.path(),
            patience: Patience {
                attempts: 3,
                pause: Duration::from_millis(1),
                silence: Duration::from_secs(5),
            },
            pip: &pip,
        };
        setup.run(verify, || Settings { index: index.to_owned(), cert: None, proxy: None })
    }

    fn path(&self, to: &str) -> PathBuf {
        self.deps.path().join(to)
    }

    fn downloads(&self) -> PathBuf {
        self.path("download")
    }

    fn entry(&self) -> &Wheel {
        self.manifest.wheel.first().expect("one wheel")
    }

    /// Everything is there, right, and nothing else is.
    fn assert_complete(&self) {
        for member in &self.entry().member {
            assert_eq!(digest::file(&self.path(&member.to)).expect(&member.to), member.sha256);
            let mode = fs::metadata(self.path(&member.to)).expect(&member.to).permissions().mode();
            assert_eq!(mode & 0o100 != 0, member.to == SMALL, "programs alone may be run");
        }
        let found = digest::files(self.deps.path()).expect("a readable folder");
        let found: Vec<&str> = found.iter().filter_map(|p| p.to_str()).collect();
        let expected =
            [".lock", ".verified.json", "include/a.h", "include/deep/b.h", "lib/all.so", LARGE, SMALL];
        assert_eq!(found, expected);
    }
}

#[test]
fn only_what_is_wanted_is_fetched_and_only_once() {
    let world = World::new();
    world.setup().expect("a first set-up");
    world.assert_complete();
    let (bytes, _) = world.index.take_log();
    // 3 MiB, the folder and the directory lie in at most seven blocks; the whole wheel is 14 MiB
    assert!(bytes <= 7 * BLOCK, "{bytes} bytes were fetched");

    world.setup().expect("a second set-up");
    assert_eq!(world.index.take_log(), (0, 0));
}

#[test]
fn an_interrupted_fetch_goes_on_where_it_was() {
    let fresh = World::new();
    fresh.setup().expect("a set-up without trouble");
    let (all, _) = fresh.index.take_log();

    let world = World::new();
    world.index.behave(Behaviour { dies_after: Some(3 * BLOCK + BLOCK / 2), ..Behaviour::default() });
    let error = world.setup().expect_err("the server is gone");
    assert!(matches!(error, Error::NoNetwork { .. }), "{error}");
    assert!(!world.path(LARGE).exists());
    let kept = download::kept(world.entry(), &world.downloads());
    assert!(kept >= 2 * BLOCK, "{kept} bytes were kept");
    world.index.take_log();

    world.index.behave(Behaviour::default());
    world.setup().expect("the rest");
    world.assert_complete();
    let (rest, _) = world.index.take_log();
    assert_eq!(rest, all - kept);
}

#[test]
fn a_cut_connection_is_taken_up_again() {
    let world = World::new();
    world.index.behave(Behaviour { cut: 4, ..Behaviour::default() });
    world.setup().expect("a set-up in spite of four cuts");
    world.assert_complete();
    assert_eq!(world.pip_calls.get(), 0);
}

#[test]
fn a_server_without_ranges_gives_the_whole_wheel() {
    let world = World::new();
    world.index.behave(Behaviour { no_ranges: true, cut: 2, ..Behaviour::default() });
    world.setup().expect("a set-up from the whole wheel, at the third attempt");
    world.assert_complete();
    let (bytes, _) = world.index.take_log();
    let size = world.entry().size;
    assert_eq!(bytes, 2 * (size / 2) + size);
}

#[test]
fn damage_on_the_way_is_found_and_nothing_of_it_is_kept() {
    for no_ranges in [false, true] {
        let world = World::new();
        let large = world.wheel.windows(14).position(|w| w == b"thing/large.so").expect("the entry");
        let damaged = Some(large + (1 << 20));
        world.index.behave(Behaviour { damaged, no_ranges, ..Behaviour::default() });
        let error = world.setup().expect_err("a damaged wheel");
        assert!(matches!(error, Error::WrongHash { .. } | Error::Archive { .. }), "{error}");
        assert!(error.to_string().contains(FILE), "{error}");
        assert!(!world.path(LARGE).exists());
        assert_eq!(download::kept(world.entry(), &world.downloads()), 0);

        world.index.behave(Behaviour::default());
        world.setup().expect("the wheel as it should be");
        world.assert_complete();
    }
}

#[test]
fn a_member_with_another_hash_is_refused() {
    let mut world = World::new();
    let pinned = "0".repeat(64);
    let member = world.manifest.wheel.first_mut().and_then(|w| w.member.first_mut()).expect("a member");
    member.sha256.clone_from(&pinned);
    let error = world.setup().expect_err("not the file that is pinned");
    let Error::WrongHash { what, expected, .. } = error else { panic!("{error}") };
    assert_eq!((what.as_str(), expected), ("thing/large.so in thing-1.0-py3-none-any.whl", pinned));
}

#[test]
fn damaged_leftovers_are_fetched_again() {
    let world = World::new();
    world.index.behave(Behaviour { dies_after: Some(4 * BLOCK), ..Behaviour::default() });
    world.setup().expect_err("the server is gone");
    let blocks = world.downloads().join(format!("{FILE}.blocks"));
    for block in digest::files(&blocks).expect("leftovers") {
        let path = blocks.join(block);
        let length = fs::metadata(&path).expect("its size").len() as usize;
        fs::write(&path, vec![0; length]).expect("a block of zeros, as after a power cut");
    }
    world.index.behave(Behaviour::default());
    world.setup().expect("a set-up that does not trust them");
    world.assert_complete();
}

#[test]
fn a_broken_file_is_replaced_and_the_rest_stays() {
    let world = World::new();
    world.setup().expect("a first set-up");
    let before = fs::metadata(world.path(LARGE)).and_then(|m| m.modified()).expect("its time");
    world.index.take_log();

    fs::write(world.path(SMALL), "smell").expect("another content of the same length");
    fs::remove_file(world.path("include/deep/b.h")).expect("one header less");
    world.setup().expect("a repair");
    world.assert_complete();
    let (bytes, _) = world.index.take_log();
    assert!(bytes > 0 && bytes <= 4 * BLOCK, "{bytes} bytes were fetched");
    let after = fs::metadata(world.path(LARGE)).and_then(|m| m.modified()).expect("its time");
    assert_eq!(before, after);
}

#[test]
fn verify_hashes_what_looks_untouched() {
    let world = World::new();
    world.setup().expect("a first set-up");
    // same size, same time: only the content tells
    let path = world.path(SMALL);
    let time = fs::metadata(&path).and_then(|m| m.modified()).expect("its time");
    fs::write(&path, "smell").expect("another content of the same length");
    fs::File::open(&path).and_then(|f| f.set_modified(time)).expect("the old time");
    world.setup().expect("nothing to be seen");
    assert_eq!(fs::read(&path).expect("the file"), b"smell");

    world.setup_from(&world.index.url, true).expect("a repair");
    world.assert_complete();
}

#[test]
fn files_that_are_right_already_are_taken_as_they_are() {
    let world = World::new();
    world.setup().expect("a first set-up");
    world.index.take_log();
    fs::remove_file(world.path(".verified.json")).expect("no record of it");
    world.setup().expect("a look at what is there");
    assert_eq!(world.index.take_log(), (0, 0));
    world.assert_complete();
}

#[test]
fn an_index_of_html_pages_will_do() {
    let world = World::new();
    world.index.behave(Behaviour { html: true, ..Behaviour::default() });
    world.setup().expect("a set-up");
    world.assert_complete();
}

#[test]
fn a_wheel_put_into_the_folder_needs_no_network() {
    let world = World::new();
    fs::create_dir_all(world.downloads()).expect("the folder");
    fs::write(world.downloads().join(FILE), &world.wheel).expect("the wheel");
    world.setup_from("http://127.0.0.1:9/simple", false).expect("a set-up without an index");
    world.assert_complete();
}

#[test]
fn pip_helps_where_the_direct_way_fails() {
    for behaviour in [
        Behaviour { unlisted: true, ..Behaviour::default() },
        Behaviour { dies_after: Some(0), ..Behaviour::default() },
    ] {
        let world = World { pip_works: true, ..World::new() };
        world.index.behave(behaviour);
        world.setup().expect("a set-up by pip");
        world.assert_complete();
        assert_eq!(world.pip_calls.get(), 1);
    }
}

#[test]
fn without_network_the_message_says_what_to_do() {
    let world = World::new();
    // nobody listens on the discard port
    let error = world.setup_from("http://127.0.0.1:9/simple", false).expect_err("nobody answers");
    let message = error.to_string();
    for part in ["cannot reach http://127.0.0.1:9", "refused", "proxy", "run the same command again"] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    assert!(!message.contains('\n'));
    assert_eq!(error.exit_code(), 1);
}
