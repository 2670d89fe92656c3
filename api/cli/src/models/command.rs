//! The arguments of `imagine models`.

use clap::{Args, Subcommand};

const EXAMPLES: &str = "\
Examples:
  What is here, and what can be had:
    imagine models list

  Fetch SD 1.5 with an adapter that needs no research-only part, then draw with it:
    imagine models pull sd15-plus-face
    imagine generate --model sd15-plus-face --photo me.jpg --prompt \"a person as a pilot\"

  Parts for research only are accepted by name, once:
    imagine models pull sd15-faceid-plusv2 --accept-licence insightface ip-adapter-faceid

  Read every byte again and compare:
    imagine models verify

  What a file is, and whether it is sound:
    imagine models show sdxl_lightning_4step_unet.safetensors
    imagine models verify my-lora.safetensors

Files go to the Hugging Face cache, where Python programs find them too (HF_HOME, HF_HUB_CACHE). HF_ENDPOINT
names another Hub, HF_TOKEN says who asks.

Exit codes: 0 done, 2 bad usage or input, 1 failure (for verify: also a file that is missing or damaged).";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ModelsArgs {
    #[command(subcommand)]
    pub command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// List what is installed, where, and what can be pulled
    List(ListArgs),
    /// Fetch a combination; goes on where an earlier run stopped, mends what is damaged
    Pull(PullArgs),
    /// Read every byte of what was pulled and compare checksums; of other models and single files, read every tensor
    Verify(VerifyArgs),
    /// Tell everything about a combination, an installed model or a file of weights
    Show(ShowArgs),
    /// Remove what was pulled, except what another combination or another program needs
    Rm(NameArgs),
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct PullArgs {
    /// A combination; `imagine models list` names them
    pub name: String,

    /// Accept a research-only licence by its name; remembered
    #[arg(long, value_name = "NAME", num_args = 1..)]
    pub accept_licence: Vec<String>,

    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A combination, an installed model, or a file or folder of weights; all that were pulled if left out
    pub name: Option<String>,

    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A combination, an installed model, or a file of weights
    pub name: String,

    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct NameArgs {
    pub name: String,

    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}
