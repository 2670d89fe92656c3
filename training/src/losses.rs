//! The losses of a run over its steps, as a CSV file that grows while it trains.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::error::TrainingError;
use crate::files::write_whole;

/// The file's name in the folder of a run.
pub const LOSSES_FILE: &str = "losses.csv";

const HEADER: &str = "step,loss,unlike,rate";

/// Means since the line before.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    pub step: i32,
    /// Error of the prediction.
    pub loss: f64,
    /// The identity loss; 0 where there is none.
    pub unlike: f64,
    /// Learning rate of the last step.
    pub rate: f64,
}

/// The file and what stands in it.
pub struct LossFile {
    path: PathBuf,
    lines: Vec<Losses>,
}

impl LossFile {
    /// Goes on with the file of a run that was stopped: what it wrote after `step`, the one that it goes on at, is
    /// taken out.
    pub fn open(folder: &Path, step: i32) -> Result<Self, TrainingError> {
        let path = folder.join(LOSSES_FILE);
        let mut lines = if path.is_file() { read(&path)? } else { Vec::new() };
        lines.retain(|line| line.step <= step);
        Ok(Self { path, lines })
    }

    pub fn add(&mut self, line: Losses) -> Result<(), TrainingError> {
        self.lines.push(line);
        let mut text = format!("{HEADER}\n");
        for Losses { step, loss, unlike, rate } in &self.lines {
            // A String takes every write.
            let _ = writeln!(text, "{step},{loss:.5},{unlike:.5},{rate:.3e}");
        }
        write_whole(&self.path, text.as_bytes())
    }
}

/// The lines of a file.
///
/// # Errors
/// The file cannot be read, or a line is not four numbers.
pub fn read(path: &Path) -> Result<Vec<Losses>, TrainingError> {
    let text = std::fs::read_to_string(path).map_err(TrainingError::io(path))?;
    let parsed = |line: &str| -> Option<Losses> {
        let numbers: Vec<f64> =
            line.split(',').map(|field| field.parse().ok()).collect::<Option<Vec<f64>>>()?;
        let [step, loss, unlike, rate] = <[f64; 4]>::try_from(numbers).ok()?;
        Some(Losses { step: step as i32, loss, unlike, rate })
    };
    let lines = text.lines().enumerate().skip(1);
    lines
        .map(|(n, line)| {
            parsed(line).ok_or_else(|| TrainingError::Line {
                path: path.into(),
                line: n + 1,
                text: line.into(),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

    use super::*;

    #[test]
    fn a_run_that_is_taken_up_again_forgets_what_came_after_its_snapshot() {
        let folder = std::env::temp_dir().join(format!("imagine-losses-{}", std::process::id()));
        let line = |step| Losses { step, loss: 0.25, unlike: 0.5, rate: 1e-3 };
        let mut file = LossFile::open(&folder, 0).unwrap();
        for step in [50, 100, 150] {
            file.add(line(step)).unwrap();
        }
        let mut file = LossFile::open(&folder, 100).unwrap();
        file.add(line(120)).unwrap();
        let path = folder.join(LOSSES_FILE);
        assert_eq!(read(&path).unwrap(), [line(50), line(100), line(120)]);
        std::fs::write(&path, "step,loss,unlike,rate\n1,2,3\n").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("line 2"));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
