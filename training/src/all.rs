//! The starter model from nothing, by one command: every stage is this program or the renderer, with its share of the
//! time. Stages that are done are passed over, so that a run can be stopped and taken up again.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

use imagine_identity::IdentityError;
use imagine_identity::runtime::face_models;
use imagine_pipeline::device::device_name;
use tch::Device;

use crate::batches::LATENTS_FILE;
use crate::error::TrainingError;
use crate::export;

/// People who are never trained on, as `render/shots.py` has it.
const HELD_OUT: u32 = 100;
/// Shares of the time that the stages may take. What is left is for reading, the cards and the report.
const RENDER: f64 = 0.26;
const VAE: f64 = 0.16;
const UNET: f64 = 0.25;
const IDENTITY: f64 = 0.10;
const DECODER: f64 = 0.03;
const DISTIL: f64 = 0.05;
const JUDGE: f64 = 0.03;

/// Arguments of different kinds as one list.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { [$(OsString::from($argument)),*] };
}

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
    /// The people have been rendered elsewhere.
    pub rendered: bool,
    pub device: Device,
}

/// Batches of the stages: a CPU is busy with few pictures, a GPU wants many.
struct Batches {
    vae: &'static str,
    unet: &'static str,
    identity: &'static str,
    identity_rows: &'static str,
    judge: &'static str,
}

const ON_CPU: Batches = Batches { vae: "4", unet: "24", identity: "16", identity_rows: "6", judge: "32" };
const ON_GPU: Batches =
    Batches { vae: "16", unet: "512", identity: "256", identity_rows: "64", judge: "256" };

impl Recipe {
    fn at(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    fn share(&self, of: f64) -> OsString {
        let all = if self.rendered { 1.0 - RENDER } else { 1.0 };
        format!("{:.2}", self.minutes * of / all).into()
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

    /// This program's command, in a process of its own: a stage's memory is given back.
    fn own(&self, command: &str, arguments: &[OsString]) -> Result<(), TrainingError> {
        let program = std::env::current_exe().map_err(TrainingError::io(Path::new("this program")))?;
        let mut process = Command::new(program);
        process.arg(command).args(arguments).args(["--device", &device_name(self.device)]);
        finished(spawned(&mut process)?, &process)
    }

    /// A command that trains on the rendered people for a share of the time.
    fn train(
        &self,
        command: &str,
        out: &Path,
        share: f64,
        batch: &str,
        more: &[OsString],
    ) -> Result<(), TrainingError> {
        let (data, minutes) = (self.at("train"), self.share(share));
        let all = arguments!["--data", data, "--out", out, "--minutes", minutes, "--batch", batch];
        self.own(command, &[&all[..], more].concat())
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

/// Gives a model that begins at another's weights what it takes over as it is.
fn begin_beside(from: &Path, to: &Path) -> Result<(), TrainingError> {
    export::copy_unlearnt(from, to)?;
    let file = from.join(LATENTS_FILE);
    std::fs::copy(&file, to.join(LATENTS_FILE)).map_err(TrainingError::io(&file))?;
    Ok(())
}

/// Makes the model: it lies in `starter` below the work folder, distilled in `fast`, the reports in `report` and
/// `report-fast`.
pub fn run(recipe: &Recipe) -> Result<(), TrainingError> {
    std::fs::create_dir_all(&recipe.work).map_err(TrainingError::io(&recipe.work))?;
    let [train, heldout, first, starter, fast, judge] =
        ["train", "heldout", "first", "starter", "fast", "judge"].map(|name| recipe.at(name));
    let batches = if recipe.device == Device::Cpu { ON_CPU } else { ON_GPU };
    let vocabulary = recipe.render.join("vocabulary.json");
    if !recipe.rendered {
        recipe.stage("render", || recipe.render())?;
    }
    recipe.stage("cards", || {
        recipe.own("cards", &arguments!["--data", &train])?;
        recipe.own("cards", &arguments!["--data", &heldout])?;
        recipe.own("landmarks", &arguments!["--data", &train])
    })?;
    recipe.stage("tokenizer", || {
        recipe.own("tokenizer", &arguments!["--vocabulary", &vocabulary, "--out", &first])?;
        let mut words = recipe.python("model_vocabulary.py");
        words.arg(&vocabulary).arg(&first);
        finished(spawned(&mut words)?, &words)
    })?;
    recipe.stage("vae", || recipe.train("vae", &first, VAE, batches.vae, &arguments!["--bf16"]))?;
    recipe.stage("unet", || {
        let more = arguments!["--bf16", "--rate", "1e-3", "--keep-every", "500"];
        recipe.train("unet", &first, UNET, batches.unet, &more)
    })?;
    recipe.stage("identity", || {
        begin_beside(&first, &starter)?;
        let loss = arguments![
            "--bf16",
            "--rate",
            "4e-4",
            "--identity-weight",
            "0.5",
            "--identity-rows",
            batches.identity_rows,
            "--from",
            &first
        ];
        recipe.train("unet", &starter, IDENTITY, batches.identity, &loss)
    })?;
    recipe.stage("decoder", || {
        let alone = arguments![
            "--bf16",
            "--rate",
            "4e-4",
            "--critic-weight",
            "0.05",
            "--decoder-only",
            "--from",
            &first
        ];
        recipe.train("vae", &starter, DECODER, batches.vae, &alone)
    })?;
    recipe
        .stage("calibrate", || recipe.own("calibrate", &arguments!["--model", &starter, "--data", &train]))?;
    recipe.stage("distil", || {
        begin_beside(&starter, &fast)?;
        recipe.train("distil", &fast, DISTIL, batches.unet, &arguments!["--bf16", "--from", &starter])
    })?;
    recipe.stage("judge", || {
        recipe.train("judge", &judge, JUDGE, batches.judge, &arguments!["--heldout", &heldout])
    })?;
    recipe.stage("progress", || {
        let of = arguments!["--run", &first, "--heldout", &heldout, "--judge", &judge];
        let out = arguments!["--out", recipe.at("report"), "--pictures", "200"];
        recipe.own("progress", &[&of[..], &out[..]].concat())
    })?;
    for (model, report) in [(&starter, "report"), (&fast, "report-fast")] {
        recipe.stage(report, || {
            let of = arguments!["--model", model, "--heldout", &heldout, "--judge", &judge];
            let photos = recipe.photos.iter().flat_map(|photos| arguments!["--photos", photos]);
            let out = arguments!["--out", recipe.at(report)];
            recipe.own("evaluate", &of.into_iter().chain(out).chain(photos).collect::<Vec<_>>())
        })?;
    }
    Ok(())
}
