//! Teaches the layer of refusals that was learned, and says how it does on what it did not learn:
//!
//! ```sh
//! cargo run -p imagine-expansion --example refusals            # writes data/refusals/weights.bin
//! cargo run -p imagine-expansion --example refusals -- --measure [--wrong]
//! cargo run -p imagine-expansion --example refusals -- --try < WISHES
//! ```
//!
//! `--measure` writes nothing: five parts of blocks of wishes are each judged by what the others taught; `--wrong` lists
//! those that were judged wrongly. `--try` says of each line of the input whether and why it is refused.

use std::error::Error;
use std::io::Read;
use std::path::Path;

use imagine_contract::ExpandError;
use imagine_expansion::{Knowledge, refusals};

fn main() -> Result<(), Box<dyn Error>> {
    let flags: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| flags.iter().any(|other| other == flag);
    if has("--try") {
        return try_out();
    }
    if has("--measure") {
        let report = refusals::cross_validated()?;
        if has("--wrong") {
            for line in &report.lines {
                let (harmless, over) = (line.kind == "harmless", line.over > 0.0);
                if harmless == over && (harmless || !line.by_rules) {
                    println!("{:+.2}\t{}\t{}\t{}", line.over, line.kind, line.taken_for, line.text);
                }
            }
        }
        println!("{report}");
        return Ok(());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/refusals/weights.bin");
    let weights = refusals::weights()?;
    std::fs::write(&file, &weights)?;
    println!("{}: {} bytes", file.display(), weights.len());
    Ok(())
}

fn try_out() -> Result<(), Box<dyn Error>> {
    let knowledge = Knowledge::built_in()?;
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input)?;
    let lines: Vec<&str> = input.lines().filter(|line| !line.trim().is_empty()).collect();
    let start = std::time::Instant::now();
    for line in &lines {
        match knowledge.check(line) {
            Ok(()) => println!("passes\t{line}"),
            Err(ExpandError::Refused { rule, .. }) => println!("{rule}\t{line}"),
            Err(other) => return Err(other.into()),
        }
    }
    eprintln!("{:.3} ms each", start.elapsed().as_secs_f64() * 1e3 / lines.len().max(1) as f64);
    Ok(())
}
