//! The command line as a person types it.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use imagine_pipeline::schedulers::SchedulerChoice;
use imagine_pipeline::{DeviceChoice, DtypeChoice};

use crate::model_lookup::DEFAULT_MODEL;

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
  imagine generate --help

Exit codes: 0 done, 2 bad usage or input, 1 failure.";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Draw pictures from a prompt, of the person in the photos if there are any
    Generate(Box<GenerateArgs>),
}

const GENERATE_EXAMPLES: &str = "\
Examples:
  One picture of the person in a photo:
    imagine generate --photo me.jpg --prompt \"a portrait of a person with a red hat\"

  Four pictures from three selfies, with a contact sheet, in a folder of their own:
    imagine generate --photo a.jpg b.jpg c.jpg --prompt \"a person as an astronaut\" --n 4 --out pictures

  The same picture again (the seed is printed, and stands in the PNG):
    imagine generate --photo me.jpg --prompt \"a person as an astronaut\" --seed 42 --out me.png

  No person, another model, another size:
    imagine generate --prompt \"a lighthouse at dawn\" --model ~/models/stable-diffusion-v1-5 --size 512x768

  For a program:
    imagine generate --photo me.jpg --prompt \"a portrait\" --json | jq -r '.pictures[].path'

Exit codes: 0 done, 2 bad usage or input, 1 failure.";

#[derive(Debug, Args)]
#[command(after_help = GENERATE_EXAMPLES)]
pub struct GenerateArgs {
    /// What the picture shows
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,

    /// What it should not show
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub negative_prompt: String,

    /// Photos of the person (JPEG, PNG, WebP); several selfies are averaged
    #[arg(long, value_name = "FILE", num_args = 1.., group = "person", help_heading = "Person")]
    pub photo: Vec<PathBuf>,

    /// Which face of a photo with several, counted from 0, largest first; the largest if left out
    #[arg(long, value_name = "N", requires = "photo", help_heading = "Person")]
    pub face: Option<usize>,

    /// A face embedding instead of photos (NumPy, float32, as wide as the adapter asks for)
    #[arg(long, value_name = "FILE.npy", group = "person", help_heading = "Person")]
    pub identity_embedding: Option<PathBuf>,

    /// Strength of the person: 0 ignores them, 1 is the adapter's own strength
    #[arg(long, value_name = "F", default_value = "1", value_parser = number::<0, 10>,
          allow_negative_numbers = true, requires = "person", help_heading = "Person")]
    pub identity_scale: f64,

    /// A model folder in diffusers format, or the name of one among the installed models
    #[arg(long, value_name = "DIR|NAME", default_value = DEFAULT_MODEL, help_heading = "Model")]
    pub model: PathBuf,

    /// FaceID adapter; the ip-adapter*.safetensors in the model's folder if left out
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub adapter: Option<PathBuf>,

    /// Type to compute in: auto, f32, bf16, f16 (auto: bf16 on a GPU, f32 on a CPU)
    #[arg(
        long,
        value_name = "TYPE",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Model"
    )]
    pub dtype: DtypeChoice,

    /// Where to compute: auto, cpu, cuda, cuda:N (auto: a GPU if there is one)
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "auto",
        hide_default_value = true,
        help_heading = "Model"
    )]
    pub device: DeviceChoice,

    /// Denoising steps; the model's usual number if left out
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000),
          allow_negative_numbers = true, help_heading = "Drawing")]
    pub steps: Option<u32>,

    /// Strength of the prompt (classifier-free guidance); 1 or less switches guidance off
    #[arg(long, value_name = "F", value_parser = number::<0, 100>, allow_negative_numbers = true,
          help_heading = "Drawing")]
    pub guidance: Option<f64>,

    #[arg(long, value_name = "NAME", help = scheduler_help(), help_heading = "Drawing")]
    pub scheduler: Option<SchedulerChoice>,

    /// Width and height in pixels, e.g. 512x768; the model's usual size if left out
    #[arg(long, value_name = "WxH", value_parser = size, help_heading = "Drawing")]
    pub size: Option<(u32, u32)>,

    /// How many pictures
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000),
          allow_negative_numbers = true, help_heading = "Drawing")]
    pub n: u32,

    /// Seed of the first picture, the next has one more; random if left out
    #[arg(long, value_name = "N", allow_negative_numbers = true, help_heading = "Drawing")]
    pub seed: Option<u64>,

    /// A folder for the pictures, or one file that ends in .png
    #[arg(long, value_name = "DIR|FILE.png", default_value = "out", help_heading = "Output")]
    pub out: PathBuf,

    /// Print one JSON object instead of lines
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

fn scheduler_help() -> String {
    format!("Sampler: {}; the model's own if left out", SchedulerChoice::names().join(", "))
}

/// A number between two bounds; "nan" and "inf" parse as numbers and are not among them.
fn number<const LEAST: u32, const MOST: u32>(value: &str) -> Result<f64, String> {
    match value.parse::<f64>() {
        Ok(number) if number >= f64::from(LEAST) && number <= f64::from(MOST) => Ok(number),
        _ => Err(format!("a number between {LEAST} and {MOST} is needed")),
    }
}

fn size(value: &str) -> Result<(u32, u32), String> {
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
    use clap::CommandFactory;

    use super::*;

    fn parse(args: &[&str]) -> Result<GenerateArgs, String> {
        let all = ["imagine", "generate"].iter().chain(args);
        let cli = Cli::try_parse_from(all).map_err(|e| e.to_string())?;
        let Command::Generate(args) = cli.command;
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
            ("--device", "gpu", "cuda:1"),
        ] {
            let message = parse(&["--prompt", "x", flag, value]).unwrap_err();
            assert!(message.contains(flag) && message.contains(says), "{message}");
        }
    }

    #[test]
    fn flags_that_exclude_each_other() {
        assert!(parse(&["--prompt", "x", "--photo", "a", "--identity-embedding", "b"]).is_err());
        assert!(parse(&["--prompt", "x", "--face", "1"]).is_err());
        assert!(parse(&["--prompt", "x", "--identity-scale", "0.5"]).is_err());
        assert!(parse(&["--prompt", "x", "--identity-scale", "0.5", "--photo", "a"]).is_ok());
        assert!(parse(&["--photo", "a"]).unwrap_err().contains("--prompt"));
    }
}
