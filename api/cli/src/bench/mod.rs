//! `imagine bench`: how long a step, a picture and the start take on this machine, and how much memory.

mod measure;
mod process;

use std::env;
use std::path::{Path, PathBuf};

use clap::Args;
use imagine_contract::CancelFlag;
use imagine_pipeline::footprint::Shape;
use imagine_pipeline::random_checkpoint::{self, Architecture};
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions};

use crate::args::{number, size};
use crate::failure::Failure;
use crate::model_lookup::{DEFAULT_MODEL, find_model};

const EXAMPLES: &str = "\
Examples:
  The shipped model:
    imagine bench

  What Stable Diffusion XL would cost here, without downloading it:
    imagine bench --random sdxl --steps 2 --guidance 1

  For a program:
    imagine bench --random sd15 --size 512x512 --dtype f32 --json

Random weights draw noise, but cost what real ones cost. They are kept in the cache folder that is printed:
2.1 GB for sd15 and 6.9 GB for sdxl in 16 bits, twice that in f32.

Exit codes: 0 done, 2 bad usage or input, 1 failure.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct BenchArgs {
    /// A model folder in diffusers format, or the name of one among the installed models
    #[arg(long, value_name = "DIR|NAME", default_value = DEFAULT_MODEL, conflicts_with = "random")]
    model: PathBuf,

    /// Seeded random weights of a published architecture instead: sd15, sdxl
    #[arg(long, value_name = "NAME")]
    random: Option<Architecture>,

    /// Width and height in pixels, e.g. 512x768; the model's usual size if left out
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,

    /// Denoising steps
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(2..=1000))]
    steps: u32,

    /// Strength of classifier-free guidance; 1 or less switches it off, and halves the work of a step
    #[arg(long, value_name = "F", default_value = "7.5", value_parser = number::<0, 100>)]
    guidance: f64,

    /// How many pictures, one after the other; medians are taken over all of them
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(1..=100))]
    pictures: u32,

    /// Type to compute in: auto, f32, bf16, f16
    #[arg(long, value_name = "TYPE", default_value = "auto", hide_default_value = true)]
    dtype: DtypeChoice,

    /// Where to compute: auto, cpu, cuda, cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto", hide_default_value = true)]
    device: DeviceChoice,

    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

/// Loads the model, draws, and prints what it cost.
pub fn run(args: &BenchArgs, cancel: &CancelFlag) -> Result<(), Failure> {
    let model = match args.random {
        Some(architecture) => random_model(architecture, args)?,
        None => find_model(&args.model)?,
    };
    let options = LoadOptions { model, device: args.device, dtype: args.dtype, ..LoadOptions::default() };
    let workload = measure::Workload {
        size: args.size,
        steps: args.steps,
        guidance_scale: args.guidance,
        pictures: args.pictures,
    };
    let costs = measure::measure(&options, &workload, cancel)?;
    costs.print(args.json)
}

/// The folder with random weights, written now if it is not there. In f32 unless 16 bits are asked for:
/// loading must not be measured with a conversion that a fitting file would spare.
fn random_model(architecture: Architecture, args: &BenchArgs) -> Result<PathBuf, Failure> {
    let shape = match architecture {
        Architecture::Sd15 => Shape::sd15(),
        Architecture::Sdxl => Shape::sdxl(),
    };
    let parameters = shape.unet_parameters().map_err(Failure::failed)?;
    let kind = args.dtype.target(args.device.resolve().map_err(Failure::input)?, parameters).kind;
    let name = format!("{}-{}", architecture.name(), imagine_pipeline::device::kind_name(kind));
    let folder = cache_folder()?.join(name);
    if !folder.join("model_index.json").is_file() {
        eprintln!("writing random weights to {} (once)", folder.display());
        random_checkpoint::write(architecture, kind, 0, &folder).map_err(Failure::failed)?;
        // The weights were made in this process: its memory and its start would not be a model's own.
        let again = env::current_exe()
            .and_then(|program| std::process::Command::new(program).args(env::args_os().skip(1)).status());
        let status = again.map_err(|e| Failure::failed(format!("cannot start again: {e}")))?;
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(folder)
}

/// `$XDG_CACHE_HOME/imagine/bench`, or the same below `~/.cache`.
fn cache_folder() -> Result<PathBuf, Failure> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or(home);
    let cache = cache.ok_or_else(|| Failure::input("neither XDG_CACHE_HOME nor HOME says where to cache"))?;
    Ok(cache.join("imagine/bench"))
}
