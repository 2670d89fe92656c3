//! The command line as a person types it.

use clap::{Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::client::batch::BatchArgs;
use crate::client::people::PeopleArgs;
use crate::doctor::DoctorArgs;
use crate::expand::args::ExpandArgs;
use crate::generate_args::GenerateArgs;
use crate::keys::KeysArgs;
use crate::models::command::ModelsArgs;
use crate::serve::{ServeArgs, WorkerArgs};
use crate::storage::StorageArgs;

/// Makes pictures of a person from selfies and a few words, on this machine.
#[derive(Debug, Parser)]
#[command(name = "imagine", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  imagine generate --photo me.jpg --prompt \"a portrait of a person with a red hat\"
  imagine serve
  imagine expand \"me hiking in the Dolomites\"
  imagine models list
  imagine doctor
  imagine generate --help

Exit codes: 0 done, 2 bad usage or input, 1 failure.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw pictures from a prompt, of the person in the photos if there are any
    Generate(Box<GenerateArgs>),

    /// Turn an idea into what an image model draws well, and show how
    Expand(Box<ExpandArgs>),

    /// Measure how long a step, a picture and the start take here, and how much memory
    Bench(Box<BenchArgs>),

    /// Run the page, the API and the drawing on this machine
    Serve(Box<ServeArgs>),

    /// Draw jobs of a shared database, beside the machine that serves
    Worker(Box<WorkerArgs>),

    /// Remember people by their photos, list and forget them
    People(Box<PeopleArgs>),

    /// Draw what a file asks for, line by line
    Batch(Box<BatchArgs>),

    /// Make, list and revoke the keys of a server that others reach
    Keys(Box<KeysArgs>),

    /// Check where a service keeps things; let a bucket take old ones away
    Storage(Box<StorageArgs>),

    /// List, fetch, check and remove models
    Models(ModelsArgs),

    /// Tell what this machine can run, and what is missing
    Doctor(DoctorArgs),
}

/// A number between two bounds; "nan" and "inf" parse as numbers and are not among them.
pub fn number<const LEAST: u32, const MOST: u32>(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(number) if number >= f64::from(LEAST) && number <= f64::from(MOST) => Ok(number),
        _ => Err(format!("a number between {LEAST} and {MOST} is needed")),
    }
}

pub fn size(value: &str) -> Result<(u32, u32), String> {
    let sides = value.split_once(['x', 'X', '×']);
    let sides = sides.and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
    match sides {
        Some((width, height)) if width > 0 && height > 0 => Ok((width, height)),
        _ => Err("width and height are needed, e.g. 512x768".into()),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::path::PathBuf;

    use clap::CommandFactory;
    use imagine_identity::card::PartName;
    use imagine_pipeline::{DeviceChoice, DtypeChoice};

    use super::*;

    fn parse(args: &[&str]) -> Result<GenerateArgs, String> {
        let all = ["imagine", "generate"].iter().chain(args);
        let cli = Cli::try_parse_from(all).map_err(|e| e.to_string())?;
        let Command::Generate(args) = cli.command else { return Err("another command".into()) };
        Ok(*args)
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn defaults_leave_choices_to_the_model() {
        let args = parse(&["--prompt", "a hat"]).unwrap();
        assert_eq!((args.prompt.as_str(), args.n, args.seed, args.identity_scale), ("a hat", 1, None, 1.0));
        assert_eq!((args.steps, args.guidance, args.scheduler, args.size), (None, None, None, None));
        assert_eq!((args.dtype, args.device), (DtypeChoice::Auto, DeviceChoice::Auto));
    }

    #[test]
    fn several_photos_follow_one_flag_or_several() {
        let args = parse(&["--photo", "a.jpg", "b.jpg", "--prompt", "x", "--photo", "c.jpg"]).unwrap();
        assert_eq!(args.photo, ["a.jpg", "b.jpg", "c.jpg"].map(PathBuf::from));
    }

    #[test]
    fn sizes() {
        assert_eq!(size("512x768"), Ok((512, 768)));
        for wrong in ["512", "x", "512x", "0x8", "-8x8", "8x8x8", "axb", "99999999999x8"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_named() {
        for (flag, value, says) in [
            ("--n", "0", "1..=1000"),
            ("--steps", "-3", "1..=1000"),
            ("--guidance", "nan", "between 0 and 100"),
            ("--identity-scale", "-1", "between 0 and 10"),
            ("--seed", "-1", "invalid"),
            ("--scheduler", "eulr", "euler-karras"),
            ("--dtype", "f64", "bf16"),
            ("--prediction", "velocity", "v_prediction"),
            ("--device", "gpu", "cuda:1"),
        ] {
            let message = parse(&["--prompt", "x", flag, value]).unwrap_err();
            assert!(message.contains(flag) && message.contains(says), "{message}");
        }
    }

    #[test]
    fn flags_that_exclude_each_other() {
        assert!(parse(&["--prompt", "x", "--photo", "a", "--identity-embedding", "b"]).is_err());
        assert!(parse(&["--prompt", "x", "--photo", "a", "--card", "b"]).is_err());
        assert!(parse(&["--prompt", "x", "--card-set", "glasses=no"]).unwrap_err().contains("--card"));
        assert!(parse(&["--prompt", "x", "--identity-embedding", "b", "--card-without", "skin"]).is_err());
        let said =
            ["--prompt", "x", "--photo", "a", "--card-set", "glasses=no", "--card-without", "hair_colour"];
        assert_eq!(parse(&said).unwrap().card_without, [PartName::HairColour]);
        let wrong = parse(&["--prompt", "x", "--card", "a", "--card-set", "age=7"]).unwrap_err();
        assert!(wrong.contains("no age from 18 to 100"), "{wrong}");
        assert!(parse(&["--prompt", "x", "--face", "1"]).is_err());
        assert!(parse(&["--prompt", "x", "--identity-scale", "0.5"]).is_err());
        assert!(parse(&["--prompt", "x", "--identity-scale", "0.5", "--photo", "a"]).is_ok());
        assert!(parse(&["--photo", "a"]).unwrap_err().contains("--prompt"));
        assert!(parse(&["--prompt", "x", "--photo", "a", "--person", "photo=b"]).is_err());
        assert!(parse(&["--prompt", "x", "--person", "photo=b", "--identity-steps", "0-0.5"]).is_ok());
        for alone in [&["--mask", "m.png"][..], &["--keep-face"], &["--strength", "0.5"]] {
            let message = parse(&[&["--prompt", "x"], alone].concat()).unwrap_err();
            assert!(message.contains("--init"), "{message}");
        }
        let both = ["--prompt", "x", "--init", "a.png", "--mask", "m.png", "--keep-face"];
        assert!(parse(&both).unwrap_err().contains("cannot be used with"));
    }
}
