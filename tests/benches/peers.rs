//! `imagine bench` beside Python diffusers: the same checkpoint folder, size, steps and type, run in
//! turn in one go, because machines drift. Prints a table of medians and ratios.
//!
//! `cargo bench -p imagine-tests --bench peers -- --python PYTHON --model DIR [--size WxH] [--steps N]
//! [--guidance F] [--pictures N] [--dtype f32|bf16|f16] [--device D] [--rounds N]`
//!
//! PYTHON has the packages of `peers/requirements.txt`; `target/release/imagine` is built first.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What is compared: key, how it is called, unit divisor, unit.
const ROWS: [(&str, &str, f64, &str); 8] = [
    ("step_seconds", "a step", 1.0, "s"),
    ("first_step_seconds", "the first step", 1.0, "s"),
    ("decode_seconds", "decoding", 1.0, "s"),
    ("picture_seconds", "a picture", 1.0, "s"),
    ("load_seconds", "loading", 1.0, "s"),
    ("cold_start_seconds", "process start to first step", 1.0, "s"),
    ("peak_memory_bytes", "peak memory", 1e9, "GB"),
    ("gpu_memory_bytes", "memory of the GPU", 1e9, "GB"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let options = options()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("no workspace")?.to_path_buf();
    let (python, model) = (option(&options, "python")?, option(&options, "model")?);
    let rounds: usize = options.get("rounds").map_or(Ok(3), |n| n.parse())?;
    let mut shared = Vec::new();
    for (name, usual) in [
        ("size", "512x512"),
        ("steps", "3"),
        ("guidance", "7.5"),
        ("pictures", "1"),
        ("dtype", "f32"),
        ("device", "cpu"),
    ] {
        shared.push(format!("--{name}"));
        shared.push(options.get(name).cloned().unwrap_or_else(|| usual.into()));
    }
    let ours = || {
        let mut command = Command::new(root.join("target/release/imagine"));
        command.args(["bench", "--json", "--model", model]).args(&shared);
        command
    };
    let theirs = || {
        let mut command = Command::new(python);
        command.arg(root.join("tests/benches/peers/diffusers_peer.py"));
        command.args(["--model", model]).args(&shared);
        command
    };
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        // Who goes first changes, so that warm file caches favour nobody.
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                left.push(run(ours())?);
            } else {
                right.push(run(theirs())?);
            }
        }
        eprintln!("round {} of {rounds}", round + 1);
    }
    print_table(&shared, &left, &right);
    Ok(())
}

/// `--name value` pairs; what `cargo bench` adds is passed over.
fn options() -> Result<BTreeMap<String, String>, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1).filter(|a| a != "--bench");
    let mut options = BTreeMap::new();
    while let Some(name) = arguments.next() {
        let name = name.strip_prefix("--").ok_or_else(|| format!("{name}: --name value pairs are needed"))?;
        let value = arguments.next().ok_or_else(|| format!("--{name} has no value"))?;
        options.insert(name.to_string(), value);
    }
    Ok(options)
}

fn option<'a>(options: &'a BTreeMap<String, String>, name: &str) -> Result<&'a str, Box<dyn Error>> {
    Ok(options.get(name).ok_or_else(|| format!("--{name} is needed"))?)
}

/// Runs one process and reads the JSON object that it prints.
fn run(mut command: Command) -> Result<Value, Box<dyn Error>> {
    let output = command.output()?;
    if !output.status.success() {
        let program = PathBuf::from(command.get_program());
        return Err(format!("{}: {}", program.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().rev().find(|line| line.starts_with('{')).ok_or("no JSON was printed")?;
    Ok(serde_json::from_str(line)?)
}

fn median(runs: &[Value], key: &str) -> Option<f64> {
    let mut values: Vec<f64> = runs.iter().filter_map(|run| run.get(key)?.as_f64()).collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let upper = values.get(middle).copied()?;
    Some(if values.len() % 2 == 1 { upper } else { (values[middle - 1] + upper) / 2.0 })
}

fn print_table(shared: &[String], ours: &[Value], theirs: &[Value]) {
    let threads = |runs: &[Value]| runs.first().and_then(|run| run.get("threads")?.as_i64()).unwrap_or(0);
    println!(
        "{}; threads {} and {}; {} rounds\n",
        shared.join(" "),
        threads(ours),
        threads(theirs),
        ours.len()
    );
    println!("| median of | imagine | diffusers | ratio |\n|---|---|---|---|");
    for (key, name, divisor, unit) in ROWS {
        if let (Some(a), Some(b)) = (median(ours, key), median(theirs, key)) {
            println!("| {name} | {:.3} {unit} | {:.3} {unit} | {:.2} |", a / divisor, b / divisor, a / b);
        }
    }
}
