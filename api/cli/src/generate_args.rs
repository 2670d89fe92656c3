//! What `imagine generate` takes.

use std::path::PathBuf;

use clap::Args;
use imagine_identity::adapters::AdapterKind;
use imagine_identity::card::PartName;
use imagine_pipeline::presets::PRESETS;
use imagine_pipeline::schedulers::SchedulerChoice;
use imagine_pipeline::single_file::Prediction;
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoraChoice};

use crate::args::{number, size};
use crate::card_file::{Corrections, change};
use crate::expand::args::ExpandOptions;
use crate::model_lookup::DEFAULT_MODEL;
use crate::person_spec::PersonSpec;
use crate::strengths::{GroupScales, PartsOfRun, group_scales, parts_of_run};

const EXAMPLES: &str = "\
Examples:
  One picture of the person in a photo:
    imagine generate --photo me.jpg --prompt \"a portrait of a person with a red hat\"

  Four pictures from three selfies, with a contact sheet, in a folder of their own:
    imagine generate --photo a.jpg b.jpg c.jpg --prompt \"a person as an astronaut\" --n 4 --out pictures

  The same picture again (the seed is printed, and stands in the PNG):
    imagine generate --photo me.jpg --prompt \"a person as an astronaut\" --seed 42 --out me.png

  No person, another model, another size:
    imagine generate --prompt \"a lighthouse at dawn\" --model ~/models/stable-diffusion-v1-5 --size 512x768

  Two people, one on each side:
    imagine generate --prompt \"two friends at the sea\" \\
      --person \"photo=ann.jpg;box=0,0,0.5,1\" --person \"photo=bob.jpg;box=0.5,0,1,1\"

  By an identity card that was corrected, where the model's adapter is of the kind \"card\":
    imagine people card me.jpg --set glasses=no --out me.json
    imagine generate --card me.json --prompt \"a person as an astronaut\"

  Another background for a photo, with the same face in it:
    imagine generate --init me.jpg --keep-face --photo me.jpg --prompt \"a person on the moon\"

  For a program:
    imagine generate --photo me.jpg --prompt \"a portrait\" --json | jq -r '.pictures[].path'

Exit codes: 0 done, 2 bad usage or input, 1 failure.";

#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct GenerateArgs {
    /// What the picture shows
    #[arg(long, value_name = "TEXT")]
    pub prompt: String,

    /// What it should not show
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub negative_prompt: String,

    /// Photos of the person (JPEG, PNG, WebP); several selfies are averaged
    #[arg(long, value_name = "FILE", num_args = 1.., groups = ["somebody", "looks"], help_heading = "Person")]
    pub photo: Vec<PathBuf>,

    /// Which face of a photo with several, counted from 0, largest first; the largest if left out
    #[arg(long, value_name = "N", requires = "photo", help_heading = "Person")]
    pub face: Option<usize>,

    /// A face embedding instead of photos (NumPy, float32, as wide as the adapter asks for)
    #[arg(long, value_name = "FILE.npy", group = "somebody", help_heading = "Person")]
    pub identity_embedding: Option<PathBuf>,

    /// An identity card instead of photos, as `imagine people card --out` writes it; for adapters of the kind "card"
    #[arg(long, value_name = "FILE.json", groups = ["somebody", "looks"], help_heading = "Person")]
    pub card: Option<PathBuf>,

    /// Correct a part of the person's card, e.g. glasses=no; may be given again. `imagine people card --help` lists
    /// the parts
    #[arg(long, value_name = "PART=VALUE", value_parser = change, requires = "looks", help_heading = "Person")]
    pub card_set: Vec<String>,

    /// Leave a part of the card out; may be given again
    #[arg(long, value_name = "PART", requires = "looks", help_heading = "Person")]
    pub card_without: Vec<PartName>,

    /// One of several people and where they are: "photo=a.jpg,b.jpg;box=LEFT,TOP,RIGHT,BOTTOM" in parts of the
    /// picture, or mask=FILE; also face=N, embedding=FILE.npy, card=FILE.json, set=PART=VALUE,…, without=PART,…,
    /// scale=F, steps=A-B[:F],…, card-scale=GROUP=F,…. Once for everyone
    #[arg(long = "person", value_name = "SPEC", group = "somebody", help_heading = "Person")]
    pub people: Vec<PersonSpec>,

    /// Strength of the person: 0 ignores them, 1 is the adapter's own strength
    #[arg(long, value_name = "F", default_value = "1", value_parser = number::<0, 10>,
          allow_negative_numbers = true, requires = "somebody", help_heading = "Person")]
    pub identity_scale: f64,

    /// In which part of the run the person is heard, e.g. 0-0.8 for the first four fifths; or how strongly in which,
    /// times the strength: 0-0.3:0.5,0.3-1:1.2
    #[arg(long, value_name = "A-B[:F],…", value_parser = parts_of_run, requires = "somebody",
          help_heading = "Person")]
    pub identity_steps: Option<PartsOfRun>,

    /// Strengths of groups of the card, times the strength, e.g. descriptor=0.8,colours=1.2,traits=0.5; for adapters of
    /// the kind "card"
    #[arg(long, value_name = "GROUP=F,…", value_parser = group_scales, requires = "somebody",
          help_heading = "Person")]
    pub card_scale: Option<GroupScales>,

    /// A model folder in diffusers format, a checkpoint file, or the name of one among the installed models
    #[arg(long, value_name = "DIR|FILE|NAME", default_value = DEFAULT_MODEL, help_heading = "Model")]
    pub model: PathBuf,

    /// Tokenizer for a checkpoint file with a vocabulary of its own
    #[arg(long, value_name = "DIR", help_heading = "Model")]
    pub tokenizer: Option<PathBuf>,

    /// What the U-Net of a checkpoint file predicts, where the file does not say it: epsilon, v_prediction
    #[arg(long, value_name = "TYPE", help_heading = "Model")]
    pub prediction: Option<Prediction>,

    /// Identity adapter; the ip-adapter*.safetensors or .bin in the model's folder if left out
    #[arg(long, value_name = "FILE", help_heading = "Model")]
    pub adapter: Option<PathBuf>,

    /// Kind of the adapter where its file's name does not tell: faceid-plusv2, faceid-plus, ...
    #[arg(long, value_name = "KIND", help_heading = "Model")]
    pub adapter_kind: Option<AdapterKind>,

    /// CLIP vision encoder for adapters that look at the face; image_encoder beside the adapter if left out
    #[arg(long, value_name = "DIR|FILE", help_heading = "Model")]
    pub image_encoder: Option<PathBuf>,

    /// ControlNet for InstantID; ControlNetModel beside the adapter if left out
    #[arg(long, value_name = "DIR|FILE", help_heading = "Model")]
    pub controlnet: Option<PathBuf>,

    /// An autoencoder to take in the place of the model's
    #[arg(long, value_name = "DIR|FILE", help_heading = "Model")]
    pub vae: Option<PathBuf>,

    /// A U-Net to take in the place of the model's: its weights under diffusers' names, or its folder
    #[arg(long, value_name = "DIR|FILE", help_heading = "Model")]
    pub unet: Option<PathBuf>,

    /// An InsightFace pack (folder or name) for the faces; the one that fits the adapter if left out
    #[arg(long, value_name = "DIR|NAME", requires = "somebody", help_heading = "Model")]
    pub face_encoder: Option<PathBuf>,

    /// Accept the licence of a face encoder; needed once, remembered
    #[arg(long, value_name = "NAME", requires = "somebody", help_heading = "Model")]
    pub accept_licence: Option<String>,

    /// A LoRA to merge into the model, with its weight, e.g. style.safetensors:0.8; several add up
    #[arg(long, value_name = "FILE[:WEIGHT]", value_parser = lora, help_heading = "Model")]
    pub lora: Vec<LoraChoice>,

    #[arg(long, value_name = "NAME", help = preset_help(), help_heading = "Model")]
    pub preset: Option<String>,

    /// Type to compute in: auto, f32, bf16, f16 (auto: bf16 on a GPU; on a CPU f32, but bf16 for large models
    /// where the processor multiplies in it)
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

    /// A picture to change instead of drawing from nothing
    #[arg(long, value_name = "FILE", help_heading = "Changing a picture")]
    pub init: Option<PathBuf>,

    /// How far to go: near 0 leaves the picture alone, 1 forgets it; 0.8 if left out, 1 with --mask
    #[arg(long, value_name = "F", value_parser = number::<0, 1>, allow_negative_numbers = true,
          requires = "init", help_heading = "Changing a picture")]
    pub strength: Option<f64>,

    /// Change only what is white in this picture; the rest stays to the last bit
    #[arg(
        long,
        value_name = "FILE",
        requires = "init",
        conflicts_with = "keep_face",
        help_heading = "Changing a picture"
    )]
    pub mask: Option<PathBuf>,

    /// Change everything but the faces
    #[arg(long, requires = "init", help_heading = "Changing a picture")]
    pub keep_face: bool,

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

    /// Leave out so many of the text encoder's last layers
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100),
          allow_negative_numbers = true, help_heading = "Drawing")]
    pub clip_skip: Option<u32>,

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

    /// Draw the prompt as it is, without expanding it
    #[arg(long, env = "IMAGINE_NO_EXPAND", value_parser = clap::builder::FalseyValueParser::new(),
          hide_env = true, help_heading = "Expansion")]
    pub no_expand: bool,

    #[command(flatten)]
    pub expansion: ExpandOptions,

    /// A folder for the pictures, or one file that ends in .png
    #[arg(long, value_name = "DIR|FILE.png", default_value = "out", help_heading = "Output")]
    pub out: PathBuf,

    /// Print one JSON object instead of lines
    #[arg(long, help_heading = "Output")]
    pub json: bool,
}

impl GenerateArgs {
    /// Everyone who is to be drawn, however the command line names them.
    pub fn everyone(&self) -> Vec<PersonSpec> {
        if !self.people.is_empty() {
            return self.people.clone();
        }
        let nobody = self.photo.is_empty() && self.identity_embedding.is_none() && self.card.is_none();
        let one = PersonSpec {
            photos: self.photo.clone(),
            embedding: self.identity_embedding.clone(),
            card: self.card.clone(),
            corrections: Corrections { set: self.card_set.clone(), without: self.card_without.clone() },
            face: self.face,
            ..PersonSpec::default()
        };
        if nobody { Vec::new() } else { vec![one] }
    }
}

fn scheduler_help() -> String {
    format!("Sampler: {}; the model's own if left out", SchedulerChoice::names().join(", "))
}

fn preset_help() -> String {
    let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
    format!("Recipe for few steps, with the LoRA that belongs to it: {}", names.join(", "))
}

/// `FILE` or `FILE:WEIGHT`. What follows the last colon is a weight if it is a number.
pub fn lora(value: &str) -> Result<LoraChoice, String> {
    let (file, weight) = match value.rsplit_once(':') {
        Some((file, weight)) => match weight.parse::<f64>() {
            Ok(weight) if weight.is_finite() && weight.abs() <= 10.0 => (file, weight),
            Ok(_) => return Err("a weight between -10 and 10 is needed".into()),
            Err(_) => (value, 1.0),
        },
        None => (value, 1.0),
    };
    if file.is_empty() {
        return Err("a file is needed, e.g. style.safetensors:0.8".into());
    }
    Ok(LoraChoice { file: file.into(), weight })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lora_may_have_a_weight() {
        let choice = |file: &str, weight| Ok(LoraChoice { file: file.into(), weight });
        assert_eq!(lora("a.safetensors"), choice("a.safetensors", 1.0));
        assert_eq!(lora("a:b.safetensors:-0.5"), choice("a:b.safetensors", -0.5));
        assert_eq!(lora("c:/x.safetensors"), choice("c:/x.safetensors", 1.0));
        for wrong in ["", ":0.5", "a:nan", "a:11"] {
            assert!(lora(wrong).is_err(), "{wrong}");
        }
    }
}
