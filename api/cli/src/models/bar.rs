//! What a person sees while gigabytes move, on stderr: a bar with rate and time left, or a line for each file where
//! stderr is no terminal.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use indicatif::{DecimalBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::download::Watcher;

const TEMPLATE: &str =
    "{msg} {bar:24} {decimal_bytes}/{decimal_total_bytes}, {decimal_bytes_per_sec}, about {eta} left";

/// The bytes of all files of a command.
pub struct Bar {
    bar: ProgressBar,
    lines: bool,
    /// Bytes of the files before this one.
    before: u64,
    fetched: u64,
    checked: u64,
    /// Whether bytes of the last file came over the network.
    moved: bool,
}

impl Bar {
    /// `wanted` is false where a program reads the output.
    pub fn new(wanted: bool, total: u64) -> Self {
        let terminal = io::stderr().is_terminal();
        let target =
            if wanted && terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(total), target);
        bar.set_style(
            ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar()),
        );
        bar.enable_steady_tick(Duration::from_millis(250));
        Self { bar, lines: wanted && !terminal, before: 0, fetched: 0, checked: 0, moved: false }
    }

    /// The next file; `present` bytes of it are here already and say nothing about the speed.
    pub fn file(&mut self, verb: &str, path: &str, size: u64, present: u64) {
        let short = path.rsplit('/').next().unwrap_or(path);
        self.bar.set_message(format!("{verb} {short}"));
        if self.lines {
            // a closed stderr leaves nobody to tell
            let _ = writeln!(io::stderr(), "{verb} {path} ({})", DecimalBytes(size));
        }
        (self.fetched, self.checked, self.moved) = (present, 0, false);
        self.show();
        if present > 0 {
            self.bar.reset_eta();
        }
    }

    /// The file is done.
    pub fn done(&mut self, size: u64) {
        self.before += size;
        (self.fetched, self.checked) = (0, 0);
        self.show();
    }

    /// Whether bytes of the last file came over the network.
    pub fn was_fetched(&self) -> bool {
        self.moved
    }

    fn show(&self) {
        self.bar.set_position(self.before + self.fetched.max(self.checked));
    }
}

impl Watcher for Bar {
    fn fetched(&mut self, bytes: u64) {
        self.fetched = bytes;
        self.moved = true;
        self.show();
    }

    fn checked(&mut self, bytes: u64) {
        self.checked += bytes;
        self.show();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_add_up_over_files() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        let mut bar = Bar::new(false, 100);
        bar.file("fetching", "a/b.bin", 60, 20);
        assert_eq!((bar.bar.position(), bar.bar.message().as_str()), (20, "fetching b.bin"));
        bar.fetched(60);
        bar.checked(60);
        assert_eq!(bar.bar.position(), 60);
        bar.done(60);
        bar.file("checking", "c", 40, 0);
        bar.checked(30);
        assert_eq!((bar.bar.position(), bar.bar.length()), (90, Some(100)));
    }
}
