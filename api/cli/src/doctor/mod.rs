//! `imagine doctor`: what this machine can run, at what size, with what memory, and what is missing.

mod estimate;
mod machine;

use std::path::{Path, PathBuf};

use clap::Args;
use imagine_identity::{Encoder, runtime};
use imagine_pipeline::capability::{LIBTORCH_VERSION, cuda_devices, libtorch_path};
use imagine_pipeline::{DeviceChoice, PipelineError};
use indicatif::DecimalBytes;
use serde::Serialize;

use self::estimate::{Row, Speed};
use self::machine::{Cpu, Gpu, Memory};
use crate::failure::Failure;
use crate::model_lookup::{DEFAULT_MODEL, find_model, places};
use crate::models::installed::installed;
use crate::models::{self, table};

const EXAMPLES: &str = "\
Examples:
  imagine doctor
  imagine doctor --json | jq '.table[] | select(.verdict == \"yes\")'

Memory is counted from the models' configurations: weights, and the activations of the worst moment. The time of a
picture is an estimate from one layer's speed, measured now; `imagine bench` measures it whole.

Exit codes: 0 the starter model can draw from a photo here, 1 it cannot.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Everything that was found.
#[derive(Serialize)]
struct Report {
    /// The starter model can draw from a photo.
    ok: bool,
    cpu: Cpu,
    memory: Memory,
    libtorch: Found,
    cuda: Cuda,
    onnx_runtime: Found,
    face_models: Found,
    models: Vec<Model>,
    speeds: Vec<Speed>,
    table: Vec<Row>,
    missing: Vec<Missing>,
}

/// A library or a folder.
#[derive(Serialize)]
struct Found {
    version: Option<&'static str>,
    path: Option<PathBuf>,
    /// Why it cannot be used.
    problem: Option<String>,
}

#[derive(Serialize)]
struct Cuda {
    usable: bool,
    problem: Option<String>,
    driver: Option<String>,
    devices: Vec<Gpu>,
}

#[derive(Serialize)]
struct Model {
    name: String,
    kind: &'static str,
    place: String,
}

/// Something that is not here, and the command that mends it.
#[derive(Serialize)]
struct Missing {
    what: String,
    /// Without it the starter model cannot draw from a photo.
    needed: bool,
    mend: String,
}

/// Looks at everything and prints it.
pub fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let report = examine();
    let text = if args.json {
        serde_json::to_string_pretty(&report).map_err(Failure::failed)?
    } else {
        report.lines().join("\n")
    };
    models::print_line(&text)?;
    if report.ok {
        return Ok(());
    }
    let mut needed = report.missing.iter().filter(|missing| missing.needed);
    let Some(first) = needed.next() else {
        return Err(Failure::failed("the starter model does not fit into the memory that is free")
            .hint("end other programs, then run this again"));
    };
    Err(Failure::failed(format!("the starter model cannot draw from a photo here: {}", first.what))
        .hint(&first.mend))
}

fn examine() -> Report {
    let starter = find_model(Path::new(DEFAULT_MODEL)).ok();
    let (onnx_runtime, face_models) = faces();
    let cuda = cuda();
    let memory = machine::memory();
    let models = installed_models();
    let mut speeds = estimate::speeds(DeviceChoice::Cpu, "cpu");
    let mut table = estimate::table(starter.as_deref(), "cpu", memory.available_bytes, &speeds);
    if let Some(gpu) = cuda.devices.first().filter(|_| cuda.usable) {
        let on_gpu = estimate::speeds(DeviceChoice::Cuda(0), "cuda:0");
        table.extend(estimate::table(starter.as_deref(), "cuda:0", gpu.free_bytes, &on_gpu));
        speeds.extend(on_gpu);
    }
    let missing = missing(starter.as_deref(), &onnx_runtime, &face_models, &cuda, &models);
    let fits = table.iter().any(|row| row.model == DEFAULT_MODEL && row.runs());
    Report {
        ok: fits && !missing.iter().any(|missing| missing.needed),
        cpu: machine::cpu(),
        memory,
        libtorch: Found { version: Some(LIBTORCH_VERSION), path: libtorch_path(), problem: None },
        cuda,
        onnx_runtime,
        face_models,
        models,
        speeds,
        table,
        missing,
    }
}

/// ONNX Runtime and the face models. Where both are there they are loaded, so that a damaged file shows.
fn faces() -> (Found, Found) {
    let found = |result: Result<PathBuf, runtime::RuntimeError>| match result {
        Ok(path) => Found { version: None, path: Some(path), problem: None },
        Err(e) => Found { version: None, path: None, problem: Some(e.to_string()) },
    };
    let library = found(runtime::locate());
    let mut folder = found(runtime::face_models());
    if let (Some(_), Some(models)) = (&library.path, &folder.path)
        && let Err(e) = Encoder::open(models)
    {
        folder.problem = Some(e.to_string());
    }
    (library, folder)
}

fn cuda() -> Cuda {
    let (driver, devices) = machine::gpus();
    match DeviceChoice::Cuda(0).resolve() {
        Ok(_) => Cuda { usable: cuda_devices() > 0, problem: None, driver, devices },
        Err(e) => {
            let reason = match e {
                PipelineError::Device { reason, .. } => reason,
                other => other.to_string(),
            };
            let problem = if driver.is_none() { format!("no NVIDIA driver; {reason}") } else { reason };
            Cuda { usable: false, problem: Some(problem), driver, devices }
        }
    }
}

fn installed_models() -> Vec<Model> {
    let cache = models::cache_folder().unwrap_or_default();
    let mut found: Vec<Model> = models::pulled()
        .into_iter()
        .map(|(name, kind)| Model { name, kind: kind.name(), place: "pulled".into() })
        .collect();
    let others = installed(&places(), &cache);
    found.extend(others.into_iter().map(|m| Model { name: m.name, kind: m.kind.name(), place: m.place }));
    found
}

fn missing(
    starter: Option<&Path>,
    onnx_runtime: &Found,
    face_models: &Found,
    cuda: &Cuda,
    models: &[Model],
) -> Vec<Missing> {
    let mut missing = Vec::new();
    let mut add = |what: String, needed: bool, mend: &str| {
        missing.push(Missing { what, needed, mend: mend.to_string() });
    };
    if starter.is_none() {
        let mend = "run from a checkout, or set IMAGINE_MODELS to the folder in which `starter` lies";
        add("the starter model is not found".into(), true, mend);
    }
    for (name, found) in [("ONNX Runtime", onnx_runtime), ("the face models", face_models)] {
        if let Some(problem) = &found.problem {
            add(format!("{name}: {problem}"), true, "cargo xtask setup");
        }
    }
    if cuda.driver.is_some() && !cuda.usable {
        let problem = cuda.problem.as_deref().unwrap_or("CUDA cannot be used");
        add(format!("the GPU is not used: {problem}"), false, "cargo xtask setup --cuda");
    }
    if !models.iter().any(|model| matches!(model.kind, "SD 1.5" | "SD 2.1" | "SDXL")) {
        add("no photo-real model is here".into(), false, "imagine models pull sd15-plus-face");
    }
    missing
}

impl Report {
    fn lines(&self) -> Vec<String> {
        let or_problem = |found: &Found| match (&found.path, &found.problem) {
            (_, Some(problem)) => format!("no: {problem}"),
            (Some(path), None) => path.display().to_string(),
            (None, None) => "linked into the program".into(),
        };
        let memory = format!(
            "{}, of which {} can be had now",
            DecimalBytes(self.memory.total_bytes),
            DecimalBytes(self.memory.available_bytes)
        );
        let names: Vec<String> =
            self.models.iter().map(|m| format!("{} ({}, {})", m.name, m.kind, m.place)).collect();
        let rows = [
            ["Processor".to_string(), self.cpu.line()],
            ["Memory".into(), memory],
            ["libtorch".into(), format!("{LIBTORCH_VERSION}, {}", or_problem(&self.libtorch))],
            ["CUDA".into(), self.cuda.line()],
            ["ONNX Runtime".into(), or_problem(&self.onnx_runtime)],
            ["Face models".into(), or_problem(&self.face_models)],
            ["Models".into(), if names.is_empty() { "none".into() } else { names.join(", ") }],
        ];
        let mut lines: Vec<String> =
            table::lines(&rows).iter().map(|line| line.trim_start().into()).collect();
        lines.push("What can run:".into());
        let heads = ["model", "size", "type", "device", "memory", "a picture", ""].map(String::from);
        let rows: Vec<[String; 7]> =
            std::iter::once(heads).chain(self.table.iter().map(Row::cells)).collect();
        lines.extend(table::lines(&rows));
        if !self.missing.is_empty() {
            lines.push("Missing:".into());
            let rows: Vec<[String; 2]> =
                self.missing.iter().map(|m| [m.what.clone(), format!("-> {}", m.mend)]).collect();
            lines.extend(table::lines(&rows));
        }
        lines
    }
}

impl Cuda {
    fn line(&self) -> String {
        let mut parts = vec![match &self.problem {
            None if self.usable => "yes".to_string(),
            None => "no".into(),
            Some(problem) => format!("no: {problem}"),
        }];
        parts.extend(self.driver.iter().map(|driver| format!("driver {driver}")));
        parts.extend(self.devices.iter().map(|gpu| {
            format!("{}, {}, {} free", gpu.name, DecimalBytes(gpu.total_bytes), DecimalBytes(gpu.free_bytes))
        }));
        parts.join("; ")
    }
}
