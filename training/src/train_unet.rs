//! Trains the U-Net, its text encoder and the identity adapter together.
//!
//! The condition is the embedding of *another* shot of the same person than the one that is drawn:
//! what the two do not share (pose, expression, light) cannot be copied from it.

use std::path::PathBuf;
use std::time::Instant;

use imagine_encoders::{ClipTextConfig, ClipTextModel, ClipTokenizer};
use imagine_identity::adapters::FaceIdProjection;
use imagine_unet::{
    AutoencoderKl, AutoencoderKlConfig, Condition, IdentityTokens, UNet2DConditionModel, Weights,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tch::{Device, Kind, Tensor, no_grad};

use crate::captions;
use crate::dataset::{Dataset, Frame};
use crate::diffusion::{NoiseSchedule, face_weights};
use crate::error::TrainingError;
use crate::export;
use crate::files::{read_tensors, write_tensors};
use crate::optimizer::{AdamW, AdamWConfig};
use crate::recipe::{self, Schedule};

/// Settings of one run.
pub struct UNetRun {
    pub data: PathBuf,
    /// Holds `vae/` from before; receives everything else.
    pub out: PathBuf,
    pub batch: usize,
    pub schedule: Schedule,
    pub device: Device,
    pub seed: u64,
}

/// The three networks that are trained together.
struct Networks {
    text: ClipTextModel,
    identity: FaceIdProjection,
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
            identity: FaceIdProjection::new(&(&root / "image_proj"), recipe::IDENTITY)?,
            unet: model,
        })
    }
}

/// Scaled latents of all pictures and of their mirror images: [2N, C, h, w].
fn encode_all(data: &Dataset, run: &UNetRun) -> Result<Tensor, TrainingError> {
    let folder = run.out.join("vae");
    let config = AutoencoderKlConfig::from_file(&folder.join("config.json"))?;
    let weights = Weights::open_folder(&folder, run.device, Kind::Float)?;
    let vae = AutoencoderKl::new(&weights.root(), &config)?;
    weights.finish(&[])?;
    no_grad(|| {
        let mut latents = Vec::new();
        let all: Vec<i64> = (0..data.frames.len() as i64).collect();
        for mirrored in [false, true] {
            for rows in all.chunks(64) {
                let mut pixels = data.batch(rows, Kind::Float, run.device);
                if mirrored {
                    pixels = pixels.flip([3]);
                }
                latents.push(vae.scale(&vae.encode(&pixels).mean));
            }
        }
        Ok(Tensor::f_cat(&latents, 0)?)
    })
}

/// One row of a training batch.
struct Example<'a> {
    /// Row of the latents.
    target: i64,
    /// Row of the embeddings that condition it.
    reference: i64,
    frame: &'a Frame,
    mirrored: bool,
}

fn draw<'a>(data: &'a Dataset, rng: &mut StdRng) -> Example<'a> {
    let shots = &data.people[rng.random_range(0..data.people.len())];
    let target = rng.random_range(0..shots.len());
    let other = (target + rng.random_range(1..shots.len())) % shots.len();
    let mirrored = rng.random_bool(0.5);
    let offset = if mirrored { data.frames.len() } else { 0 };
    Example {
        target: (shots[target] + offset) as i64,
        reference: shots[other] as i64,
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
    let latents = encode_all(&data, run)?;
    let tokenizer = ClipTokenizer::from_folder(&run.out.join("tokenizer"))?;
    let vocabulary = tokenizer.vocab_size() as i64;
    let [unet_weights, text_weights, adapter_weights] =
        std::array::from_fn(|_| Weights::fresh(run.device, Kind::Float));
    let networks = Networks::new(&unet_weights, &text_weights, &adapter_weights, vocabulary)?;
    let leaves = export::joined(&unet_weights, &text_weights, &adapter_weights);
    let mut optimizer = AdamW::new(leaves, AdamWConfig { orthogonal: true, ..AdamWConfig::default() });
    let snapshot = run.out.join("unet-snapshot.safetensors");
    if snapshot.is_file() && optimizer.restore(&read_tensors(&snapshot)?) {
        println!("unet: going on at step {}", optimizer.steps());
    }
    println!(
        "unet: {} pictures of {} people, {} parameters",
        data.frames.len(),
        data.people.len(),
        optimizer.parameter_count()
    );
    let noise_schedule = NoiseSchedule::new(run.device);
    let clock = Instant::now();
    let mut sums = (0.0, 0u32);
    while let Some(rate) = run.schedule.rate(optimizer.steps(), clock.elapsed()) {
        let loss = step_loss(&networks, &data, &latents, &tokenizer, &noise_schedule, run, &mut rng)?;
        loss.backward();
        optimizer.step(rate);
        sums = (sums.0 + loss.double_value(&[]), sums.1 + 1);
        let steps = optimizer.steps();
        if steps % 50 == 0 {
            let seconds = clock.elapsed().as_secs_f64();
            println!("unet {steps}: loss {:.4} rate {rate:.1e} {seconds:.0} s", sums.0 / f64::from(sums.1));
            sums = (0.0, 0);
        }
        if steps % 500 == 0 {
            write_tensors(&snapshot, &optimizer.state())?;
            export::write_checkpoint(&run.out, &optimizer, vocabulary)?;
        }
    }
    write_tensors(&snapshot, &optimizer.state())?;
    export::write_checkpoint(&run.out, &optimizer, vocabulary)
}

/// The v-prediction loss of one batch, in which the face counts more than what is around it.
fn step_loss(
    networks: &Networks,
    data: &Dataset,
    latents: &Tensor,
    tokenizer: &ClipTokenizer,
    schedule: &NoiseSchedule,
    run: &UNetRun,
    rng: &mut StdRng,
) -> Result<Tensor, TrainingError> {
    let (mut targets, mut references, mut ids, mut keep) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..run.batch {
        let example = draw(data, rng);
        let fate: f64 = rng.random();
        let no_text = fate < recipe::DROP_TEXT + recipe::DROP_BOTH;
        let no_identity = (recipe::DROP_TEXT..recipe::DROP_TEXT + recipe::DROP_BOTH + recipe::DROP_IDENTITY)
            .contains(&fate);
        let describe = if no_identity { rng.random_bool(0.9) } else { rng.random_bool(0.15) };
        let text = if no_text { String::new() } else { caption(&example, describe, rng) };
        ids.extend(tokenizer.encode(&text)?.ids);
        targets.push(example.target);
        references.push(example.reference);
        keep.push(if no_identity { 0.0f32 } else { 1.0 });
    }
    let rows = run.batch as i64;
    let device = run.device;
    let clean = latents.index_select(0, &Tensor::from_slice(&targets).to_device(device));
    let noise = clean.randn_like();
    let steps = schedule.draw(rows, device);
    let noisy = schedule.add_noise(&clean, &noise, &steps);
    let keep = Tensor::from_slice(&keep).view([-1, 1]); // [B, 1]
    let embeddings = data.embeddings.index_select(0, &Tensor::from_slice(&references));
    // Noise, so that no single number of the embedding decides everything.
    let jitter = embeddings.randn_like() * recipe::EMBEDDING_NOISE;
    // Renders share a direction that photos do not have. Half the rows are shown without it and the
    // others with a random part, so that a photo's embedding is nothing unheard of.
    let without = (Tensor::rand([rows, 1], (Kind::Float, Device::Cpu)) * 2.0).clamp_max(1.0); // [B, 1]
    let varied = &embeddings - without * &data.mean_embedding + jitter;
    let embeddings = &varied / varied.norm_scalaropt_dim(2, [1], true) * keep;
    let ids = Tensor::from_slice(&ids).view([rows, -1]).to_device(device); // [B, S]
    let condition = Condition {
        text: networks.text.forward(&ids, false)?.last_hidden_state,
        identities: vec![IdentityTokens {
            tokens: networks.identity.forward(&embeddings),
            scale: Tensor::ones([rows], (Kind::Float, device)),
            region: None,
        }],
    };
    let cross = networks.unet.cross_kv(&condition);
    let made = networks.unet.forward(&noisy, &steps, &cross, None, None).to_kind(Kind::Float);
    let wanted = schedule.velocity(&clean, &noise, &steps);
    // Every timestep counts the same: Min-SNR weights (arXiv 2303.09556) were tried, and hold back the high
    // noise where the condition decides; after 24,000 pictures the person was still ignored.
    let weights = face_weights(clean.size()[3], device);
    Ok(((made - wanted).square() * weights).mean(Kind::Float))
}
