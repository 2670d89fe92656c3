//! Trains the U-Net, its text encoder and the identity adapter together.
//!
//! The condition is the identity card of *another* shot of the same person than the one that is drawn:
//! what the two do not share (pose, expression, light) cannot be copied from it.

use std::path::PathBuf;
use std::time::Instant;

use imagine_encoders::{ClipTextConfig, ClipTextModel, ClipTokenizer};
use imagine_identity::adapters::CardProjection;
use imagine_identity::card::CARD_WIDTH;
use imagine_unet::{
    AutoencoderKl, AutoencoderKlConfig, Condition, CrossKv, IdentityTokens, UNet2DConditionModel, Weights,
};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use tch::{Device, Kind, Tensor, no_grad};

use crate::captions;
use crate::cards::Cards;
use crate::dataset::{Dataset, Frame};
use crate::diffusion::{NoiseSchedule, face_weights};
use crate::error::TrainingError;
use crate::export;
use crate::files::{read_tensors, write_tensors};
use crate::identity_loss::IdentityLoss;
use crate::optimizer::{AdamW, AdamWConfig};
use crate::recipe::{self, Schedule};

/// Settings of one run.
pub struct UNetRun {
    pub data: PathBuf,
    /// Holds `vae/` from before; receives everything else.
    pub out: PathBuf,
    /// A checkpoint folder to begin at, unless `out` holds a snapshot to go on from.
    pub from: Option<PathBuf>,
    pub batch: usize,
    pub schedule: Schedule,
    pub device: Device,
    pub seed: u64,
    /// What the networks compute in; the optimiser keeps its own weights in f32.
    pub kind: Kind,
    /// How much the identity loss counts beside the error of the prediction; none at 0.
    pub identity_weight: f64,
    /// Most rows of a batch that it looks at.
    pub identity_rows: usize,
}

/// The three networks that are trained together.
struct Networks {
    text: ClipTextModel,
    identity: CardProjection,
    unet: UNet2DConditionModel,
}

impl Networks {
    fn new(
        unet: &Weights,
        text: &Weights,
        adapter: &Weights,
        vocabulary: i64,
    ) -> Result<Self, TrainingError> {
        let text_config: ClipTextConfig = recipe::text_config(vocabulary);
        let root = adapter.root();
        let mut model = UNet2DConditionModel::new(&unet.root(), &recipe::unet_config())?;
        model.attach_identity(&(&root / "ip_adapter"))?;
        Ok(Self {
            text: ClipTextModel::new(&text.root(), &text_config)?,
            identity: CardProjection::new(&(&root / "image_proj"), recipe::IDENTITY)?,
            unet: model,
        })
    }
}

/// The trained autoencoder, frozen.
fn open_vae(run: &UNetRun, kind: Kind) -> Result<AutoencoderKl, TrainingError> {
    let folder = run.out.join("vae");
    let config = AutoencoderKlConfig::from_file(&folder.join("config.json"))?;
    let weights = Weights::open_folder(&folder, run.device, kind)?;
    let vae = AutoencoderKl::new(&weights.root(), &config)?;
    weights.finish(&[])?;
    Ok(vae)
}

/// Where the latents of a run are kept: they take minutes and stay the same.
const LATENTS: &str = "latents.safetensors";

/// Scaled latents of all pictures and of their mirror images: [2N, C, h, w]. Those that the run has computed before
/// are read, if they are of as many pictures.
fn latents_of(data: &Dataset, run: &UNetRun) -> Result<Tensor, TrainingError> {
    let file = run.out.join(LATENTS);
    let count = 2 * data.frames.len() as i64;
    if file.is_file() {
        let known = read_tensors(&file)?.remove("latents");
        if let Some(known) = known.filter(|known| known.size()[0] == count) {
            return Ok(known.to_kind(Kind::Float).to_device(run.device));
        }
    }
    println!("unet: encoding {count} pictures");
    let latents = encode_all(data, &open_vae(run, run.kind)?, run)?;
    write_tensors(&file, &[("latents".to_owned(), latents.to_kind(Kind::Half))])?;
    Ok(latents)
}

fn encode_all(data: &Dataset, vae: &AutoencoderKl, run: &UNetRun) -> Result<Tensor, TrainingError> {
    no_grad(|| {
        let mut latents = Vec::new();
        let all: Vec<i64> = (0..data.frames.len() as i64).collect();
        for mirrored in [false, true] {
            for rows in all.chunks(64) {
                let mut pixels = data.batch(rows, run.kind, run.device);
                if mirrored {
                    pixels = pixels.flip([3]);
                }
                latents.push(vae.scale(&vae.encode(&pixels).mean).to_kind(Kind::Float));
            }
        }
        Ok(Tensor::f_cat(&latents, 0)?)
    })
}

/// One row of a training batch.
struct Example<'a> {
    /// Row of the latents.
    target: i64,
    /// The frame whose card conditions it.
    reference: usize,
    frame: &'a Frame,
    mirrored: bool,
}

/// A picture and another shot of its person that has a card.
fn draw<'a>(data: &'a Dataset, cards: &Cards, rng: &mut StdRng) -> Example<'a> {
    let (shots, target, reference) = loop {
        let shots = &data.people[rng.random_range(0..data.people.len())];
        let target = rng.random_range(0..shots.len());
        let others = || shots.iter().copied().filter(|&shot| shot != shots[target] && cards.knows(shot));
        if let Some(reference) = others().choose(rng) {
            break (shots, target, reference);
        }
    };
    let mirrored = rng.random_bool(0.5);
    let offset = if mirrored { data.frames.len() } else { 0 };
    Example {
        target: (shots[target] + offset) as i64,
        reference,
        frame: &data.frames[shots[target]],
        mirrored,
    }
}

/// A caption, with left and right exchanged for a mirrored picture.
fn caption(example: &Example, describe: bool, rng: &mut StdRng) -> String {
    let text = captions::compose(example.frame, describe, rng);
    if !example.mirrored {
        return text;
    }
    text.split(' ')
        .map(|word| match word.trim_end_matches(',') {
            "left" => word.replace("left", "right"),
            "right" => word.replace("right", "left"),
            _ => word.to_string(),
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Trains and leaves a checkpoint folder, a snapshot and sample sheets in `run.out`.
pub fn train(run: &UNetRun) -> Result<(), TrainingError> {
    tch::manual_seed(run.seed as i64);
    let mut rng = StdRng::seed_from_u64(run.seed);
    let data = Dataset::read(&run.data, recipe::PICTURE_SIZE as u32)?;
    let cards = Cards::read(&data, &run.data)?;
    let latents = latents_of(&data, run)?;
    let identity_loss = match run.identity_weight {
        weight if weight > 0.0 => Some(IdentityLoss::new(&data, &run.data, run.device, run.kind)?),
        _ => None,
    };
    let tokenizer = ClipTokenizer::from_folder(&run.out.join("tokenizer"))?;
    let vocabulary = tokenizer.vocab_size() as i64;
    let [unet_weights, text_weights, adapter_weights] =
        std::array::from_fn(|_| Weights::fresh(run.device, run.kind));
    let networks = Networks::new(&unet_weights, &text_weights, &adapter_weights, vocabulary)?;
    let leaves = export::joined(&unet_weights, &text_weights, &adapter_weights);
    let mut optimizer = AdamW::new(leaves, AdamWConfig { orthogonal: true, ..AdamWConfig::default() });
    let snapshot = run.out.join("unet-snapshot.safetensors");
    if snapshot.is_file() && optimizer.restore(&read_tensors(&snapshot)?) {
        println!("unet: going on at step {}", optimizer.steps());
    } else if let Some(folder) = &run.from {
        let begun = optimizer.begin_at(&export::read_checkpoint(folder)?);
        begun.map_err(|key| TrainingError::Begin { path: folder.clone(), key })?;
    }
    println!(
        "unet: {} pictures of {} people, {} parameters",
        data.frames.len(),
        data.people.len(),
        optimizer.parameter_count()
    );
    let clock = Instant::now();
    let training = Training {
        networks,
        data: &data,
        cards,
        latents,
        tokenizer,
        schedule: NoiseSchedule::new(run.device),
        vae: open_vae(run, run.kind)?,
        run,
    };
    let mut sums = (0.0, 0.0, 0u32);
    while let Some(rate) = run.schedule.rate(optimizer.steps(), clock.elapsed()) {
        let loss = training.loss(&mut rng)?;
        loss.backward();
        let mut unlike = 0.0;
        if let Some(identity) = &identity_loss {
            let loss = training.unlike(identity, &mut rng)?;
            (&loss * run.identity_weight).backward();
            unlike = loss.double_value(&[]);
        }
        optimizer.step(rate);
        sums = (sums.0 + loss.double_value(&[]), sums.1 + unlike, sums.2 + 1);
        let steps = optimizer.steps();
        if steps % 50 == 0 {
            let seconds = clock.elapsed().as_secs_f64();
            let n = f64::from(sums.2);
            let (loss, unlike) = (sums.0 / n, sums.1 / n);
            println!("unet {steps}: loss {loss:.4} unlike {unlike:.4} rate {rate:.1e} {seconds:.0} s");
            sums = (0.0, 0.0, 0);
        }
        if steps % 500 == 0 {
            write_tensors(&snapshot, &optimizer.state())?;
            export::write_checkpoint(&run.out, &optimizer, vocabulary)?;
        }
    }
    println!("unet: stopped at step {}", optimizer.steps());
    write_tensors(&snapshot, &optimizer.state())?;
    export::write_checkpoint(&run.out, &optimizer, vocabulary)
}

/// What stays the same from step to step.
struct Training<'a> {
    networks: Networks,
    data: &'a Dataset,
    cards: Cards,
    /// Scaled, of pictures and mirror images: [2N, C, h, w]
    latents: Tensor,
    tokenizer: ClipTokenizer,
    schedule: NoiseSchedule,
    vae: AutoencoderKl,
    run: &'a UNetRun,
}

/// Which pictures are drawn, and from what.
struct Batch {
    /// Rows of the latents.
    targets: Vec<i64>,
    /// [B, S]
    ids: Tensor,
    /// Vectors of cards [B, 149]; zero where no person is shown
    cards: Tensor,
}

impl Training<'_> {
    /// Draws `rows` pictures; for the identity loss those that it knows, all with their people.
    fn batch(
        &self,
        rows: usize,
        identity: Option<&IdentityLoss>,
        rng: &mut StdRng,
    ) -> Result<Batch, TrainingError> {
        let (mut targets, mut ids, mut cards) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rows {
            let mut example = draw(self.data, &self.cards, rng);
            while identity.is_some_and(|identity| !identity.knows(example.target)) {
                example = draw(self.data, &self.cards, rng);
            }
            let fate: f64 = rng.random();
            let no_text = fate < recipe::DROP_TEXT + recipe::DROP_BOTH;
            let no_identity = identity.is_none()
                && (recipe::DROP_TEXT..recipe::DROP_TEXT + recipe::DROP_BOTH + recipe::DROP_IDENTITY)
                    .contains(&fate);
            let describe = if no_identity { rng.random_bool(0.9) } else { rng.random_bool(0.15) };
            let text = if no_text { String::new() } else { caption(&example, describe, rng) };
            ids.extend(self.tokenizer.encode(&text)?.ids);
            targets.push(example.target);
            let card = self.cards.vector(self.data, example.reference, rng).filter(|_| !no_identity);
            cards.extend(card.unwrap_or_else(|| vec![0.0; CARD_WIDTH]));
        }
        let rows = rows as i64;
        Ok(Batch {
            targets,
            ids: Tensor::from_slice(&ids).view([rows, -1]).to_device(self.run.device),
            cards: Tensor::from_slice(&cards).view([rows, CARD_WIDTH as i64]).to_device(self.run.device),
        })
    }

    /// The latents of the pictures to be drawn: [B, C, h, w]
    fn clean(&self, batch: &Batch) -> Tensor {
        self.latents.index_select(0, &Tensor::from_slice(&batch.targets).to_device(self.run.device))
    }

    fn cross(&self, batch: &Batch) -> Result<CrossKv, TrainingError> {
        let rows = batch.targets.len() as i64;
        let scale = || Tensor::ones([rows], (Kind::Float, self.run.device));
        let group = |tokens| IdentityTokens { tokens, scale: scale(), region: None };
        let condition = Condition {
            text: self.networks.text.forward(&batch.ids, false)?.last_hidden_state,
            identities: self.networks.identity.groups(&batch.cards).into_iter().map(group).collect(),
        };
        Ok(self.networks.unet.cross_kv(&condition))
    }

    /// The v-prediction loss of one batch, in which the face counts more than what is around it.
    fn loss(&self, rng: &mut StdRng) -> Result<Tensor, TrainingError> {
        let batch = self.batch(self.run.batch, None, rng)?;
        let clean = self.clean(&batch);
        let noise = clean.randn_like();
        let steps = self.schedule.draw(batch.targets.len() as i64, self.run.device);
        let noisy = self.schedule.add_noise(&clean, &noise, &steps);
        let cross = self.cross(&batch)?;
        let made = self.networks.unet.forward(&noisy, &steps, &cross, None, None).to_kind(Kind::Float);
        let wanted = self.schedule.velocity(&clean, &noise, &steps);
        // Every timestep counts the same: Min-SNR weights (arXiv 2303.09556) were tried, and hold back the
        // high noise where the condition decides; after 24,000 pictures the person was still ignored.
        let weights = face_weights(clean.size()[3], self.run.device);
        Ok(((made - wanted).square() * weights).mean(Kind::Float))
    }

    /// How unlike their people a few pictures are that the model has begun by itself, and so with its own
    /// mistakes: noisy renders, in which only the outlines are left, are denoised in a few strides without
    /// gradients; the clean picture that the last prediction stands for is looked at (as ReFL, arXiv
    /// 2304.05977, does with its reward). Less noise counts more.
    fn unlike(&self, identity: &IdentityLoss, rng: &mut StdRng) -> Result<Tensor, TrainingError> {
        let batch = self.batch(self.run.identity_rows, Some(identity), rng)?;
        let (from, to): (Vec<f64>, Vec<f64>) = (0..batch.targets.len())
            .map(|_| {
                let (lowest, highest) = recipe::ROLLOUT_FROM;
                let from = rng.random_range(lowest..highest);
                (from, rng.random_range(recipe::ROLLOUT_LAST..from * recipe::ROLLOUT_PART))
            })
            .unzip();
        let furthest = from.iter().zip(&to).map(|(from, to)| from - to).fold(0.0, f64::max);
        let strides = (furthest / recipe::ROLLOUT_STRIDE).ceil();
        let at = |stride: f64| -> Tensor {
            let part = stride / strides;
            let steps: Vec<i64> =
                from.iter().zip(&to).map(|(from, to)| (from + (to - from) * part) as i64).collect();
            Tensor::from_slice(&steps).to_device(self.run.device)
        };
        let cross = self.cross(&batch)?;
        let predict = |noisy: &Tensor, steps: &Tensor| {
            self.networks.unet.forward(noisy, steps, &cross, None, None).to_kind(Kind::Float)
        };
        let clean = self.clean(&batch);
        let mut noisy = self.schedule.add_noise(&clean, &clean.randn_like(), &at(0.0));
        no_grad(|| {
            for stride in 0..strides as u32 {
                let (now, next) = (at(f64::from(stride)), at(f64::from(stride + 1)));
                noisy = self.schedule.stride(&noisy, &predict(&noisy, &now), &now, &next);
            }
        });
        let last = at(strides);
        let (clean, signal) = self.schedule.clean(&noisy, &predict(&noisy, &last), &last);
        let pixels = self.vae.decode(&self.vae.unscale(&clean)); // [R, 3, S, S]
        let unlike = identity.of(&pixels, &batch.targets)?; // [R]
        Ok((unlike * signal.view([-1])).mean(Kind::Float))
    }
}
