//! A wheel as something to read from, of which only the blocks that are read are fetched.
//!
//! A wheel is a zip file: with byte ranges its directory can be read, and then only the members that are
//! wanted, which is a quarter of torch's. Blocks lie in a folder as files until the wheel is unpacked, so an
//! interrupted fetch goes on where it was. A server without byte ranges gives the whole wheel instead.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::thread::sleep;

use indicatif::ProgressBar;
use sha2::{Digest, Sha256};

use crate::digest::{self, copy};
use crate::error::{At, Error, Result};
use crate::http::{Http, Served, is_passing};
use crate::manifest::Wheel;

/// Bytes of a block.
pub const BLOCK: u64 = 1 << 20;

/// A wheel that can be read from.
pub enum Source<'a> {
    /// All of it, on disk.
    Whole(File),
    /// Fetched as it is read.
    Blocks(Blocks<'a>),
}

impl<'a> Source<'a> {
    /// Opens the wheel at `url`, keeping what is fetched in `dir`.
    ///
    /// # Errors
    /// As [`Http::range`]; [`Error::WrongHash`] if the whole wheel was fetched and is not the one expected.
    pub fn fetch(
        http: &'a Http,
        url: String,
        wheel: &'a Wheel,
        dir: &Path,
        bar: &'a ProgressBar,
    ) -> Result<Self> {
        let blocks_dir = dir.join(format!("{}.blocks", wheel.file));
        fs::create_dir_all(&blocks_dir).at(&blocks_dir)?;
        let blocks =
            Blocks { http, url, size: wheel.size, dir: blocks_dir, bar, held: None, at: 0, failed: None };
        let last = blocks.count().saturating_sub(1);
        match blocks.fetch(last..last + 1)? {
            Served::Range => Ok(Source::Blocks(blocks)),
            Served::Whole(body) => {
                fs::remove_dir_all(&blocks.dir).at(&blocks.dir)?;
                whole(http, &blocks.url, body, wheel, dir, bar).map(Source::Whole)
            }
        }
    }

    /// Makes sure that `spans` (bytes of the wheel) are on disk, and shows it on the progress bar.
    ///
    /// # Errors
    /// As [`Http::range`].
    pub fn prefetch(&mut self, spans: &[Range<u64>]) -> Result<()> {
        match self {
            Source::Whole(_) => Ok(()),
            Source::Blocks(blocks) => blocks.prefetch(spans),
        }
    }

    /// What made the last read fail, where that was the fetching.
    pub fn take_failure(&mut self) -> Option<Error> {
        match self {
            Source::Whole(_) => None,
            Source::Blocks(blocks) => blocks.failed.take(),
        }
    }
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Source::Whole(file) => file.read(buffer),
            Source::Blocks(blocks) => blocks.read(buffer),
        }
    }
}

impl Seek for Source<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        match self {
            Source::Whole(file) => file.seek(to),
            Source::Blocks(blocks) => blocks.seek(to),
        }
    }
}

/// A remote file in blocks of [`BLOCK`] bytes (the last one shorter).
pub struct Blocks<'a> {
    http: &'a Http,
    url: String,
    size: u64,
    dir: PathBuf,
    bar: &'a ProgressBar,
    /// The block read last.
    held: Option<(u64, Vec<u8>)>,
    at: u64,
    failed: Option<Error>,
}

impl Blocks<'_> {
    fn count(&self) -> u64 {
        self.size.div_ceil(BLOCK)
    }

    fn bytes_of(&self, block: u64) -> Range<u64> {
        (block * BLOCK).min(self.size)..((block + 1) * BLOCK).min(self.size)
    }

    fn path_of(&self, block: u64) -> PathBuf {
        self.dir.join(format!("{block:05}"))
    }

    fn is_here(&self, block: u64) -> bool {
        let bytes = self.bytes_of(block);
        fs::metadata(self.path_of(block)).is_ok_and(|m| m.len() == bytes.end - bytes.start)
    }

    /// Fetches a run of blocks with one request; those on disk already are not asked for if the whole run is.
    fn fetch(&self, run: Range<u64>) -> Result<Served> {
        if run.clone().all(|block| self.is_here(block)) {
            return Ok(Served::Range);
        }
        let bytes = self.bytes_of(run.start).start..self.bytes_of(run.end - 1).end;
        let mut block = run.start;
        let mut pending: Vec<u8> = Vec::new();
        self.http.range(&self.url, bytes, self.size, &mut |chunk| {
            self.bar.inc(chunk.len() as u64);
            pending.extend_from_slice(chunk);
            loop {
                let bytes = self.bytes_of(block);
                let length = (bytes.end - bytes.start) as usize;
                if block >= run.end || pending.len() < length {
                    return Ok(());
                }
                let rest = pending.split_off(length);
                self.keep(block, &pending)?;
                pending = rest;
                block += 1;
            }
        })
    }

    /// Writes a block under a name of its own first, so that a block is either whole or not there.
    fn keep(&self, block: u64, data: &[u8]) -> Result<()> {
        let path = self.path_of(block);
        let unfinished = path.with_extension("tmp");
        fs::write(&unfinished, data).at(&unfinished)?;
        fs::rename(&unfinished, &path).at(&path)
    }

    fn prefetch(&mut self, spans: &[Range<u64>]) -> Result<()> {
        let mut wanted: Vec<u64> =
            spans.iter().flat_map(|s| s.start / BLOCK..s.end.div_ceil(BLOCK)).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let size_of = |&block: &u64| self.bytes_of(block).end - self.bytes_of(block).start;
        let (here, missing): (Vec<u64>, Vec<u64>) =
            wanted.into_iter().partition(|&block| self.is_here(block));
        let here: u64 = here.iter().map(size_of).sum();
        self.bar.set_length(here + missing.iter().map(size_of).sum::<u64>());
        self.bar.set_position(here);
        self.bar.reset_eta();
        for run in missing.chunk_by(|a, b| a + 1 == *b) {
            if let (Some(first), Some(last)) = (run.first(), run.last())
                && matches!(self.fetch(*first..last + 1)?, Served::Whole(_))
            {
                let reason = "the server stopped honouring byte ranges".to_owned();
                return Err(Error::Answer { url: self.url.clone(), reason });
            }
        }
        Ok(())
    }

    /// The content of a block, fetched if need be.
    fn block(&mut self, block: u64) -> Result<&[u8]> {
        if self.held.as_ref().is_none_or(|(held, _)| *held != block) {
            self.prefetch_one(block)?;
            let path = self.path_of(block);
            self.held = Some((block, fs::read(&path).at(&path)?));
        }
        Ok(self.held.as_ref().map(|(_, data)| data.as_slice()).unwrap_or_default())
    }

    fn prefetch_one(&self, block: u64) -> Result<()> {
        match self.fetch(block..block + 1)? {
            Served::Range => Ok(()),
            Served::Whole(_) => {
                let reason = "the server stopped honouring byte ranges".to_owned();
                Err(Error::Answer { url: self.url.clone(), reason })
            }
        }
    }
}

impl Read for Blocks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let within = (self.at % BLOCK) as usize;
        let n = match self.block(self.at / BLOCK) {
            Ok(data) => {
                let data = data.get(within..).unwrap_or_default();
                let n = data.len().min(buffer.len());
                if let (Some(to), Some(from)) = (buffer.get_mut(..n), data.get(..n)) {
                    to.copy_from_slice(from);
                }
                n
            }
            Err(error) => {
                let summary = io::Error::other(error.to_string());
                self.failed = Some(error);
                return Err(summary);
            }
        };
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Blocks<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// Reads the whole wheel to `dir`, from the start again after each broken connection.
fn whole(
    http: &Http,
    url: &str,
    body: Box<dyn Read>,
    wheel: &Wheel,
    dir: &Path,
    bar: &ProgressBar,
) -> Result<File> {
    let path = dir.join(&wheel.file);
    let unfinished = dir.join(format!("{}.tmp", wheel.file));
    bar.set_length(wheel.size);
    let mut body = Some(body);
    let mut failures = 0;
    let found = loop {
        bar.set_position(0);
        let attempt = match body.take() {
            Some(body) => Ok(body),
            None => http.open(url),
        };
        match attempt.and_then(|body| write_hashed(body, url, wheel.size, &unfinished, bar)) {
            Ok(found) => break found,
            Err(error) if is_passing(&error) && failures + 1 < http.patience().attempts => {
                failures += 1;
                sleep(http.patience().pause * 2_u32.saturating_pow(failures - 1));
            }
            Err(error) => return Err(error),
        }
    };
    if found != wheel.sha256 {
        fs::remove_file(&unfinished).at(&unfinished)?;
        return Err(Error::WrongHash { what: wheel.file.clone(), expected: wheel.sha256.clone(), found });
    }
    fs::rename(&unfinished, &path).at(&path)?;
    File::open(&path).at(&path)
}

/// Writes `body` to `path` and returns its SHA-256.
fn write_hashed(
    mut body: Box<dyn Read>,
    url: &str,
    size: u64,
    path: &Path,
    bar: &ProgressBar,
) -> Result<String> {
    let mut file = File::create(path).at(path)?;
    let mut hasher = Sha256::new();
    let mut unwritten = None;
    let read = copy(&mut body, |chunk| {
        hasher.update(chunk);
        bar.inc(chunk.len() as u64);
        file.write_all(chunk).map_err(|e| {
            unwritten = Some(e);
            io::ErrorKind::Other.into()
        })
    });
    let cut = |reason: String| Error::Unreachable { url: url.to_owned(), reason };
    match (unwritten, read) {
        (Some(error), _) => Err(Error::io(path, error)),
        (None, Err(e)) => Err(cut(e.to_string())),
        (None, Ok(n)) if n < size => Err(cut("the connection was cut".to_owned())),
        (None, Ok(_)) => Ok(digest::hex(hasher)),
    }
}

/// Bytes of `wheel` that an interrupted fetch left in `dir`.
pub fn kept(wheel: &Wheel, dir: &Path) -> u64 {
    let blocks = fs::read_dir(dir.join(format!("{}.blocks", wheel.file))).into_iter().flatten();
    blocks.filter_map(|entry| entry.ok()?.metadata().ok()).map(|m| m.len()).sum()
}

/// Removes what was fetched of `wheel` into `dir`.
///
/// # Errors
/// When a file that is there cannot be removed.
pub fn discard(wheel: &Wheel, dir: &Path) -> Result<()> {
    let blocks = dir.join(format!("{}.blocks", wheel.file));
    if blocks.exists() {
        fs::remove_dir_all(&blocks).at(&blocks)?;
    }
    for name in [wheel.file.clone(), format!("{}.tmp", wheel.file)] {
        let path = dir.join(name);
        if path.exists() {
            fs::remove_file(&path).at(&path)?;
        }
    }
    Ok(())
}
