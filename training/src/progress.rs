//! A run over its steps: what its kept checkpoints draw, measured in short, beside its losses.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tch::Device;

use crate::error::TrainingError;
use crate::evaluate::{self, Evaluation, Report};
use crate::files::{write_json, write_whole};
use crate::losses::{self, LOSSES_FILE, Losses};
use crate::plot::{Curve, Panel, plotted};
use crate::train_unet::CHECKPOINTS;

/// Settings of one look at a run.
pub struct Progress {
    /// Folder of the run.
    pub run: PathBuf,
    pub heldout: PathBuf,
    pub judge: PathBuf,
    pub out: PathBuf,
    /// Pictures of each checkpoint.
    pub pictures: usize,
    pub device: Device,
}

/// What one checkpoint draws.
#[derive(Debug, Serialize)]
struct Row {
    step: i32,
    pictures: usize,
    faces_found: f64,
    right_person: f64,
    /// By question, what the prompt asked for and the card says.
    followed: Vec<(String, f64)>,
    frechet: f64,
}

impl Row {
    fn of(step: i32, report: &Report) -> Self {
        let people = &report.people;
        Self {
            step,
            pictures: people.pictures,
            faces_found: people.faces_found.share(),
            right_person: people.right_person.share(),
            followed: people.followed.iter().map(|(name, tally)| (name.clone(), tally.share())).collect(),
            frechet: people.frechet.0,
        }
    }
}

/// The kept checkpoints by their steps, in order; none where the run kept none.
fn checkpoints(run: &Path) -> Result<Vec<(i32, PathBuf)>, TrainingError> {
    let folder = run.join(CHECKPOINTS);
    let mut found = Vec::new();
    if !folder.is_dir() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(&folder).map_err(TrainingError::io(&folder))? {
        let path = entry.map_err(TrainingError::io(&folder))?.path();
        let step = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        found.extend(step.map(|step| (step, path)));
    }
    found.sort_unstable();
    Ok(found)
}

/// Measures every kept checkpoint with the same people, prompts and seeds, writes `progress.json` and
/// `progress.svg`.
pub fn run(progress: &Progress) -> Result<(), TrainingError> {
    let losses = losses::read(&progress.run.join(LOSSES_FILE))?;
    let mut rows = Vec::new();
    for (step, model) in checkpoints(&progress.run)? {
        let (report, _) = evaluate::measure(&Evaluation {
            model,
            heldout: progress.heldout.clone(),
            judge: progress.judge.clone(),
            photos: None,
            out: progress.out.clone(),
            pictures: progress.pictures,
            seeded: 0,
            seed: 0,
            steps: None,
            guidance_scale: None,
            identity_scale: 1.0,
            device: progress.device,
        })?;
        let row = Row::of(step, &report);
        println!("progress: {row:?}");
        rows.push(row);
        // After each, so that a look that is cut short leaves what it has seen.
        write_json(&progress.out.join("progress.json"), &rows)?;
    }
    let path = progress.out.join("progress.svg");
    write_whole(&path, plotted(&path, &panels(&losses, &rows))?.as_bytes())
}

fn panels(losses: &[Losses], rows: &[Row]) -> Vec<Panel> {
    let curve = |name: &str, of: &dyn Fn(&Row) -> Option<f64>| Curve {
        name: name.to_owned(),
        points: rows.iter().filter_map(|row| Some((f64::from(row.step), of(row)?))).collect(),
    };
    let of_losses = |name: &str, of: fn(&Losses) -> f64| Curve {
        name: name.to_owned(),
        points: losses.iter().map(|line| (f64::from(line.step), of(line))).collect(),
    };
    let mut loss = vec![of_losses("error of the prediction", |line| line.loss)];
    if losses.iter().any(|line| line.unlike > 0.0) {
        loss.push(of_losses("identity loss", |line| line.unlike));
    }
    let mut shares = vec![
        curve("a face is found", &|row| Some(row.faces_found)),
        curve("right person of all", &|row| Some(row.right_person)),
    ];
    for asked in ["role", "place", "hat", "expression", "sex"] {
        let share = |row: &Row| row.followed.iter().find(|(name, _)| name == asked).map(|(_, share)| *share);
        shares.push(curve(asked, &share));
    }
    let all = [
        Panel { title: "Losses".into(), curves: loss },
        Panel { title: "Shares of the pictures".into(), curves: shares },
        Panel {
            title: "Fréchet distance to the renders".into(),
            curves: vec![curve("in the judge's features", &|row| Some(row.frechet))],
        },
    ];
    // Without kept checkpoints there are losses alone.
    all.into_iter().filter(|panel| panel.curves.iter().any(|curve| !curve.points.is_empty())).collect()
}
