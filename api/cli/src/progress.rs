//! What a person sees while they wait, on stderr: a bar with the time taken and the time left.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use imagine_contract::Event;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A spinner while things load, a bar while pictures are drawn, nothing where nobody looks.
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    /// Shown only if stderr is a terminal.
    pub fn new(wanted: bool) -> Self {
        let target = if wanted && io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self { bar: ProgressBar::with_draw_target(None, target) }
    }

    /// Names what is going on where no end can be told.
    pub fn stage(&self, what: &'static str) {
        self.bar.set_style(ProgressStyle::default_spinner());
        self.bar.set_message(what);
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }

    /// Follows the engine.
    pub fn follow(&self, event: &Event) {
        match event {
            Event::Started { evaluations, ignored_words, .. } => {
                if let Some(words) = ignored_words {
                    self.warn(format_args!("the prompt is too long for the model, left out: {words}"));
                }
                self.bar.reset();
                self.bar.set_length(u64::from(*evaluations));
                self.bar.set_style(bar_style());
                self.bar.set_message("drawing");
                self.bar.enable_steady_tick(Duration::from_millis(500));
            }
            Event::Progress { done, .. } => self.bar.set_position(u64::from(*done)),
            Event::Finished { .. } => {}
        }
    }

    /// A warning line, above the bar.
    pub fn warn(&self, message: impl fmt::Display) {
        self.bar.suspend(|| {
            // A closed stderr leaves nobody to warn.
            let _ = writeln!(io::stderr(), "warning: {message}");
        });
    }

    /// A line that a person should read, and that is no warning.
    pub fn note(&self, message: impl fmt::Display) {
        self.bar.suspend(|| {
            let _ = writeln!(io::stderr(), "note: {message}");
        });
    }

    /// Takes the bar away.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// Shared by the bar and its test: a template that does not parse falls back to a bar without times.
const TEMPLATE: &str = "{msg} {bar:32} {pos}/{len} steps, {elapsed} so far, about {eta} left";

fn bar_style() -> ProgressStyle {
    ProgressStyle::with_template(TEMPLATE).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_follows_the_engine() {
        assert!(ProgressStyle::with_template(TEMPLATE).is_ok());
        let progress = Progress { bar: ProgressBar::hidden() };
        progress.stage("loading the model");
        assert_eq!(progress.bar.length(), None);
        progress.follow(&Event::Started { steps: 20, evaluations: 40, ignored_words: None });
        progress.follow(&Event::Progress { done: 10, evaluations: 40 });
        assert_eq!((progress.bar.position(), progress.bar.length()), (10, Some(40)));
        assert_eq!(progress.bar.message(), "drawing");
        progress.clear();
        assert!(progress.bar.is_finished());
    }
}
