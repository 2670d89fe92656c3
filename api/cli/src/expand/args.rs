//! What `imagine expand` takes, and what it shares with `imagine generate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use imagine_contract::Language;

use crate::model_lookup::DEFAULT_MODEL;

const EXAMPLES: &str = "\
Examples:
  imagine expand \"me hiking in the Dolomites\"
  imagine expand \"io come astronauta\" --seed 7 --json
  imagine expand \"me at the Battle of the Oranges in Ivrea\" --ground
  imagine expand \"me as a pirate\" --model ~/models/stable-diffusion-v1-5 --style oil

What answers: the server that IMAGINE_LLM_URL and IMAGINE_LLM_MODEL name (IMAGINE_LLM_KEY if it wants one;
IMAGINE_LLM_SECONDS for an answer, 30 if not set), else the model file that IMAGINE_LLAMA names if it is good enough to
write, else a template. --backend local takes the model that
set-up has fetched.

Exit codes: 0 done, 2 bad usage or input (a refused idea too), 1 failure.";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct ExpandArgs {
    /// What you want to see, in English, Italian, Spanish, French or German
    #[arg(value_name = "IDEA")]
    pub idea: String,

    /// Seed of the choices; random if left out
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub seed: Option<u64>,

    /// Language of the idea: en, it, es, fr, de; guessed if left out
    #[arg(long, value_name = "CODE", value_parser = super::language)]
    pub language: Option<Language>,

    /// The image model that the text is for: it decides how it is worded
    #[arg(long, value_name = "DIR|FILE|NAME", default_value = DEFAULT_MODEL)]
    pub model: PathBuf,

    #[command(flatten)]
    pub options: ExpandOptions,

    /// Print one JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Who expands, and how.
#[derive(Clone, Debug, Default, Args)]
pub struct ExpandOptions {
    /// Who expands the prompt; auto takes the best there is
    #[arg(
        long,
        value_name = "NAME",
        value_enum,
        default_value_t,
        hide_default_value = true,
        help_heading = "Expansion"
    )]
    pub backend: Backend,

    /// Look the idea up on the web first, on the server that IMAGINE_SEARCH_URL names (SearXNG; Brave's API with
    /// IMAGINE_SEARCH_KEY)
    #[arg(long, help_heading = "Expansion")]
    pub ground: bool,

    /// A style preset: photo, film, editorial, vintage, noir, oil, impressionist, watercolour, comic, anime, fantasy,
    /// cyberpunk, pencil, poster
    #[arg(long, value_name = "NAME", help_heading = "Expansion")]
    pub style: Option<String>,
}

/// What may answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Backend {
    #[default]
    Auto,
    /// Rules and a bank of phrases
    Template,
    /// A model in a GGUF file, on this machine
    Local,
    /// An OpenAI-compatible server
    Server,
}
