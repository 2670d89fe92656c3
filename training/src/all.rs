//! The starter model from nothing, by one command: every stage is this program or the renderer, with its share of the
//! time. Stages that are done are passed over, so that a run can be stopped and taken up again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

use imagine_identity::IdentityError;
use imagine_identity::runtime::face_models;
use tch::Device;

use crate::batches::LATENTS_FILE;
use crate::error::TrainingError;
use crate::files::copy_folder;

/// People who are never trained on, as `render/shots.py` has it.
const HELD_OUT: u32 = 100;
/// Shares of the time that the stages may take. What is left is for reading, the cards and the report.
const RENDER: f64 = 0.26;
const VAE: f64 = 0.18;
const UNET: f64 = 0.22;
const IDENTITY: f64 = 0.10;
const DECODER: f64 = 0.05;
const DISTIL: f64 = 0.06;
const JUDGE: f64 = 0.04;

/// One run.
pub struct Recipe {
    pub work: PathBuf,
    pub minutes: f64,
    pub python: PathBuf,
    /// Folder of the renderer.
    pub render: PathBuf,
    pub assets: Option<PathBuf>,
    pub people: u32,
    pub photos: Option<PathBuf>,
}

/// Batches of the stages: a CPU is busy with few pictures, a GPU wants many.
struct Batches {
    vae: &'static str,
    unet: &'static str,
    identity: &'static str,
    judge: &'static str,
}

const ON_CPU: Batches = Batches { vae: "4", unet: "24", identity: "16", judge: "32" };
const ON_GPU: Batches = Batches { vae: "128", unet: "512", identity: "256", judge: "256" };

impl Recipe {
    fn at(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    fn share(&self, of: f64) -> OsString {
        format!("{:.2}", self.minutes * of).into()
    }

    /// Does what `work` does, unless it has been done.
    fn stage(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<(), TrainingError>,
    ) -> Result<(), TrainingError> {
        let mark = self.at(&format!("{name}.done"));
        if mark.is_file() {
            println!("== {name}: done before");
            return Ok(());
        }
        println!("== {name}");
        let clock = Instant::now();
        work()?;
        let seconds = clock.elapsed().as_secs_f64();
        println!("== {name}: {seconds:.0} s");
        std::fs::write(&mark, format!("{seconds:.0} s\n")).map_err(TrainingError::io(&mark))
    }

    /// This program, with other arguments, in a process of its own: a stage's memory is given back.
    fn own(&self, threads: Option<&str>, arguments: &[OsString]) -> Result<(), TrainingError> {
        let program = std::env::current_exe().map_err(TrainingError::io(Path::new("this program")))?;
        let mut command = Command::new(program);
        command.args(arguments);
        if let Some(threads) = threads {
            command.env("OMP_NUM_THREADS", threads);
        }
        finished(spawned(&mut command)?, &command)
    }

    fn python(&self, script: &str) -> Command {
        let mut command = Command::new(&self.python);
        command.arg(self.render.join(script));
        command
    }

    /// Held-out people first, then the others, by one process a core.
    fn render(&self) -> Result<(), TrainingError> {
        let faces = face_models().map_err(IdentityError::from)?;
        let dataset = |from: u32, to: u32, out: &str| {
            let mut command = self.python("make_dataset.py");
            command.args(["--people", &format!("{from}:{to}"), "--no-large", "--out"]).arg(self.at(out));
            command.arg("--cache").arg(self.at("targets.npz")).arg("--faces").arg(&faces);
            command.arg("--minutes").arg(self.share(RENDER));
            if let Some(assets) = &self.assets {
                command.arg("--assets").arg(assets);
            }
            command
        };
        // The first writes the parsed targets, which the others read.
        let mut first = dataset(0, 1, "heldout");
        finished(spawned(&mut first)?, &first)?;
        let processes = std::thread::available_parallelism().map_or(1, |n| n.get() as u32);
        let mut commands = vec![dataset(1, HELD_OUT, "heldout")];
        let others = self.people.saturating_sub(HELD_OUT);
        for n in 0..processes {
            let edge = |n: u32| HELD_OUT + (u64::from(others) * u64::from(n) / u64::from(processes)) as u32;
            commands.push(dataset(edge(n), edge(n + 1), "train"));
        }
        let children: Vec<Child> = commands.iter_mut().map(spawned).collect::<Result<_, _>>()?;
        children.into_iter().zip(&commands).try_for_each(|(child, command)| finished(child, command))
    }
}

fn spawned(command: &mut Command) -> Result<Child, TrainingError> {
    command.spawn().map_err(TrainingError::io(Path::new(command.get_program())))
}

fn finished(mut child: Child, command: &Command) -> Result<(), TrainingError> {
    let status = child.wait().map_err(TrainingError::io(Path::new(command.get_program())))?;
    if status.success() {
        Ok(())
    } else {
        Err(TrainingError::Stage { command: format!("{command:?}"), status })
    }
}

fn copy_files(from: &Path, to: &Path, names: &[&str]) -> Result<(), TrainingError> {
    names.iter().try_for_each(|name| {
        let file = from.join(name);
        std::fs::copy(&file, to.join(name)).map(|_| ()).map_err(TrainingError::io(&file))
    })
}

/// Arguments of different kinds as one list.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { [$(OsString::from($argument)),*] };
}

/// Makes the model: it lies in `starter` below the work folder, distilled in `fast`, the reports in `report` and
/// `report-fast`.
pub fn run(recipe: &Recipe) -> Result<(), TrainingError> {
    std::fs::create_dir_all(&recipe.work).map_err(TrainingError::io(&recipe.work))?;
    let [train, heldout, first, starter, fast, judge] =
        ["train", "heldout", "first", "starter", "fast", "judge"].map(|name| recipe.at(name));
    let batches = if Device::cuda_if_available() == Device::Cpu { ON_CPU } else { ON_GPU };
    let vocabulary = recipe.render.join("vocabulary.json");
    recipe.stage("render", || recipe.render())?;
    recipe.stage("cards", || {
        // The cores look at pictures, not threads at one picture.
        recipe.own(Some("1"), &arguments!["cards", "--data", &train])?;
        recipe.own(Some("1"), &arguments!["landmarks", "--data", &train])
    })?;
    recipe.stage("tokenizer", || {
        recipe.own(None, &arguments!["tokenizer", "--vocabulary", &vocabulary, "--out", &first])?;
        let mut words = recipe.python("model_vocabulary.py");
        words.arg(&vocabulary).arg(&first);
        finished(spawned(&mut words)?, &words)
    })?;
    recipe.stage("vae", || {
        let minutes = recipe.share(VAE);
        let more = arguments!["--minutes", minutes, "--batch", batches.vae, "--bf16"];
        recipe.own(None, &[&arguments!["vae", "--data", &train, "--out", &first][..], &more].concat())
    })?;
    recipe.stage("unet", || {
        let more =
            arguments!["--minutes", recipe.share(UNET), "--batch", batches.unet, "--rate", "1e-3", "--bf16"];
        recipe.own(None, &[&arguments!["unet", "--data", &train, "--out", &first][..], &more].concat())
    })?;
    recipe.stage("identity", || {
        for part in ["vae", "tokenizer"] {
            copy_folder(&first.join(part), &starter.join(part))?;
        }
        copy_files(&first, &starter, &["vocabulary.json", LATENTS_FILE])?;
        let more = arguments![
            "--from",
            &first,
            "--minutes",
            recipe.share(IDENTITY),
            "--batch",
            batches.identity,
            "--rate",
            "4e-4",
            "--bf16",
            "--identity-weight",
            "0.5",
        ];
        recipe.own(None, &[&arguments!["unet", "--data", &train, "--out", &starter][..], &more].concat())
    })?;
    recipe.stage("decoder", || {
        let more = arguments![
            "--from",
            &first,
            "--decoder-only",
            "--minutes",
            recipe.share(DECODER),
            "--batch",
            batches.vae,
            "--rate",
            "5e-4",
            "--bf16",
            "--identity-weight",
            "0.1",
        ];
        recipe.own(None, &[&arguments!["vae", "--data", &train, "--out", &starter][..], &more].concat())
    })?;
    recipe.stage("distil", || {
        for part in ["vae", "tokenizer"] {
            copy_folder(&starter.join(part), &fast.join(part))?;
        }
        copy_files(&starter, &fast, &["vocabulary.json", LATENTS_FILE])?;
        let more = arguments![
            "--from",
            &starter,
            "--minutes",
            recipe.share(DISTIL),
            "--batch",
            batches.unet,
            "--bf16"
        ];
        recipe.own(None, &[&arguments!["distil", "--data", &train, "--out", &fast][..], &more].concat())
    })?;
    recipe.stage("judge", || {
        let of = arguments!["judge", "--data", &train, "--heldout", &heldout, "--out", &judge];
        let more = arguments!["--minutes", recipe.share(JUDGE), "--batch", batches.judge];
        recipe.own(None, &[&of[..], &more].concat())
    })?;
    for (model, report) in [(&starter, "report"), (&fast, "report-fast")] {
        recipe.stage(report, || {
            let of = arguments!["evaluate", "--model", model, "--heldout", &heldout, "--judge", &judge];
            let mut more = arguments!["--out", recipe.at(report)].to_vec();
            if let Some(photos) = &recipe.photos {
                more.extend(arguments!["--photos", photos]);
            }
            recipe.own(None, &[&of[..], &more].concat())
        })?;
    }
    Ok(())
}
