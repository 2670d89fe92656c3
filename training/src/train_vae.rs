//! Trains the autoencoder: L1 at several scales, differences between neighbours (sharp edges), and
//! latents of moderate size under a little noise.

use std::path::PathBuf;
use std::time::Instant;

use imagine_unet::{AutoencoderKl, AutoencoderKlConfig, Weights};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tch::{Device, Kind, Tensor, no_grad};

use crate::dataset::Dataset;
use crate::diffusion::face_weights;
use crate::discriminator::Discriminator;
use crate::error::TrainingError;
use crate::files::{read_tensors, write_tensors};
use crate::identity_loss::IdentityLoss;
use crate::networks::open_vae;
use crate::optimizer::{AdamW, AdamWConfig};
use crate::pictures::write_sheet;
use crate::recipe::{self, Schedule};
use crate::renders::Renders;

/// The weights in a checkpoint folder.
const VAE_FILE: &str = "vae/diffusion_pytorch_model.safetensors";

/// Settings of one run.
pub struct VaeRun {
    pub data: PathBuf,
    pub out: PathBuf,
    pub batch: usize,
    pub schedule: Schedule,
    pub device: Device,
    /// What the networks compute in; the optimiser keeps its own weights in f32.
    pub kind: Kind,
    pub seed: u64,
    /// Leaves the encoder, and so the latents, as they are: the decoder can be bettered while a U-Net
    /// is trained.
    pub decoder_only: bool,
    /// A checkpoint folder whose autoencoder to begin at, unless `out` holds a snapshot to go on from.
    pub from: Option<PathBuf>,
    /// How much latents that differ from those of `from` count, squared: what a U-Net has learnt of them stays
    /// true while details are added; free at 0.
    pub stay_weight: f64,
    /// How much a critic counts that learns beside to tell decoded pictures from renders; none at 0.
    pub critic_weight: f64,
    /// How much the identity loss counts beside the reconstruction; none at 0.
    pub identity_weight: f64,
}

impl VaeRun {
    /// A U-Net that knows the latents, or those that they stay near, goes on with the scaling factor that it was
    /// trained with.
    fn factor_kept(&self) -> Result<Option<f64>, TrainingError> {
        let stays = self.stay_weight > 0.0;
        let folder = if stays { self.from.as_ref() } else { self.decoder_only.then_some(&self.out) };
        let config = folder.map(|folder| folder.join("vae/config.json")).filter(|config| config.is_file());
        Ok(config
            .map(|config| AutoencoderKlConfig::from_file(&config))
            .transpose()?
            .map(|c| c.scaling_factor))
    }
}

/// How much the picture counts, and halved once, twice, ... The smallest are nothing but colours, which are learnt
/// last otherwise.
const SCALES: [f64; 5] = [1.0, 0.5, 0.5, 0.5, 2.0];

/// [B, C, H, W] → [B, C, H/2, W/2]
fn halved(x: &Tensor) -> Tensor {
    x.avg_pool2d([2, 2], [2, 2], [0, 0], false, true, None)
}

/// Reconstruction loss between pictures [B, 3, S, S] in [-1, 1], in which the face counts more.
fn reconstruction_loss(made: &Tensor, real: &Tensor) -> Tensor {
    let mut loss = Tensor::zeros([], (Kind::Float, made.device()));
    let (mut a, mut b) = (made.shallow_clone(), real.shallow_clone());
    for (scale, weight) in SCALES.into_iter().enumerate() {
        if scale > 0 {
            a = halved(&a);
            b = halved(&b);
        }
        let weights = face_weights(a.size()[3], a.device());
        loss += ((&a - &b).abs() * &weights).mean(Kind::Float) * weight;
        for dim in [2, 3] {
            let edges = |t: &Tensor| t.diff(1, dim, None::<&Tensor>, None::<&Tensor>);
            let unlike = (edges(&a) - edges(&b)).abs();
            let weights = weights.narrow(dim, 0, unlike.size()[dim as usize]);
            loss += (unlike * weights).mean(Kind::Float) * weight;
        }
    }
    loss
}

/// Without decay where the encoder is to stay as it is: decay would shrink it.
fn optimizer_config(decoder_only: bool) -> AdamWConfig {
    let usual = AdamWConfig { ema_decay: 0.98, ..Default::default() };
    if decoder_only { AdamWConfig { weight_decay: 0.0, ..usual } } else { usual }
}

/// Random pictures, half of the batches mirrored: [B, 3, S, S], and their rows as [`IdentityLoss`] counts.
fn draw(
    renders: &Renders,
    identity: Option<&IdentityLoss>,
    rng: &mut StdRng,
    run: &VaeRun,
) -> (Tensor, Vec<i64>) {
    let count = renders.count();
    let mut rows = Vec::with_capacity(run.batch);
    while rows.len() < run.batch {
        let row = rng.random_range(0..count);
        if identity.is_none_or(|identity| identity.knows(row)) {
            rows.push(row);
        }
    }
    let pixels = renders.batch(&rows, Kind::Float, run.device);
    if rng.random_bool(0.5) {
        rows.iter_mut().for_each(|row| *row += count);
        return (pixels.flip([3]), rows);
    }
    (pixels, rows)
}

/// Trains and leaves `vae/` (a diffusers folder), a snapshot and sample sheets in `run.out`.
pub fn train(run: &VaeRun) -> Result<(), TrainingError> {
    tch::manual_seed(run.seed as i64);
    let mut rng = StdRng::seed_from_u64(run.seed);
    let config: AutoencoderKlConfig = recipe::vae_config();
    let data = Dataset::read(&run.data)?;
    let renders = Renders::read(&run.data, &data.frames, run.device)?;
    let weights = Weights::fresh(run.device, run.kind);
    let model = AutoencoderKl::new(&weights.root(), &config)?;
    let mut optimizer = AdamW::new(weights.parameters(), optimizer_config(run.decoder_only));
    let snapshot = run.out.join("vae-snapshot.safetensors");
    if snapshot.is_file() && optimizer.restore(&read_tensors(&snapshot)?) {
        println!("vae: going on at step {}", optimizer.steps());
    } else if let Some(folder) = &run.from {
        let begun = optimizer.begin_at(&read_tensors(&folder.join(VAE_FILE))?);
        begun.map_err(|key| TrainingError::Begin { path: folder.clone(), key })?;
    }
    let identity = match run.identity_weight {
        weight if weight > 0.0 => Some(IdentityLoss::new(&data, &run.data, run.device, Kind::Float)?),
        _ => None,
    };
    let before = match &run.from {
        Some(folder) if run.stay_weight > 0.0 && !run.decoder_only => {
            Some(open_vae(folder, run.device, run.kind)?)
        }
        _ => None,
    };
    let mut critic =
        (run.critic_weight > 0.0).then(|| Discriminator::new(run.device, run.kind)).transpose()?;
    println!("vae: {} pictures, {} parameters", data.frames.len(), optimizer.parameter_count());
    let clock = Instant::now();
    let (mut sums, mut count) = ([0.0; 3], 0u32);
    while let Some(rate) = run.schedule.rate(optimizer.steps(), clock.elapsed()) {
        let (pixels, rows) = draw(&renders, identity.as_ref(), &mut rng, run);
        let seen = pixels.to_kind(run.kind);
        let latents = if run.decoder_only { no_grad(|| model.encode(&seen)) } else { model.encode(&seen) };
        // A fixed, small spread instead of a learnt one: early noise of variance one would drown the
        // picture for a thousand steps. The encoder is told to report that spread.
        let noise = latents.mean.randn_like() * recipe::LATENT_SPREAD;
        let made = model.decode(&(&latents.mean + noise)).to_kind(Kind::Float);
        let rebuilt = reconstruction_loss(&made, &pixels);
        let size = latents.mean.square().mean(Kind::Float);
        let reported = (&latents.log_variance - 2.0 * recipe::LATENT_SPREAD.ln()).square().mean(Kind::Float);
        let mut loss =
            &rebuilt + &size * recipe::LATENT_SIZE_WEIGHT + reported * recipe::LATENT_SPREAD_WEIGHT;
        if let Some(before) = &before {
            let moved = &latents.mean - no_grad(|| before.encode(&seen).mean);
            loss += moved.square().mean(Kind::Float) * run.stay_weight;
        }
        if let Some(identity) = &identity {
            loss += identity.of(&made, &rows)?.mean(Kind::Float) * run.identity_weight;
        }
        let mut told = 0.0;
        if let Some(critic) = &mut critic {
            told = critic.learn(&made, &pixels, rate);
            loss += critic.loss(&made, &pixels) * run.critic_weight;
        }
        loss.backward();
        optimizer.step(rate);
        let now = [rebuilt.double_value(&[]), size.double_value(&[]), told];
        sums.iter_mut().zip(now).for_each(|(sum, now)| *sum += now);
        count += 1;
        let steps = optimizer.steps();
        if steps % 100 == 0 {
            let [loss, size, told] = sums.map(|sum| sum / f64::from(count));
            let seconds = clock.elapsed().as_secs_f64();
            println!(
                "vae {steps}: loss {loss:.4} latents² {size:.2} critic {told:.3} rate {rate:.1e} {seconds:.0} s"
            );
            (sums, count) = ([0.0; 3], 0);
        }
        if steps % 1000 == 0 {
            write_tensors(&snapshot, &optimizer.state())?;
            export(&optimizer, &config, &renders, run)?;
        }
    }
    write_tensors(&snapshot, &optimizer.state())?;
    export(&optimizer, &config, &renders, run)
}

/// Writes the averaged weights with a scaling factor measured on the data, and a sheet of pictures
/// beside their reconstructions.
fn export(
    optimizer: &AdamW,
    config: &AutoencoderKlConfig,
    renders: &Renders,
    run: &VaeRun,
) -> Result<(), TrainingError> {
    let (out, device) = (&run.out, run.device);
    let folder = out.join("vae");
    let averaged: Vec<(String, Tensor)> =
        optimizer.averaged().into_iter().map(|(k, t)| (k, t.to_kind(Kind::Half))).collect();
    write_tensors(&out.join(VAE_FILE), &averaged)?;
    no_grad(|| {
        let weights = Weights::open_folder(&folder, device, Kind::Float)?;
        let model = AutoencoderKl::new(&weights.root(), config)?;
        let every = (renders.count() / 32).max(1);
        let rows: Vec<i64> = (0..renders.count()).step_by(every as usize).take(32).collect();
        let pixels = renders.batch(&rows, Kind::Float, device);
        let latents = model.encode(&pixels).mean;
        let factor = match run.factor_kept()? {
            Some(factor) => factor,
            None => 1.0 / latents.std(true).double_value(&[]),
        };
        recipe::write_vae_config(&folder, factor)?;
        let made = model.decode(&latents);
        let error = (&made - &pixels).abs().mean(Kind::Float).double_value(&[]) * 127.5;
        println!("vae: mean error {error:.2}/255, scaling factor {factor:.4}");
        let pairs = Tensor::stack(&[pixels, made], 1).narrow(0, 0, 12.min(rows.len() as i64));
        write_sheet(&out.join("vae-sheet.png"), &pairs.flatten(0, 1), 6)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_has_no_gradient_in_a_run_of_the_decoder_alone_stays_as_it_is() {
        let cpu = (Kind::Float, Device::Cpu);
        let [encoder, decoder] = std::array::from_fn(|_| Tensor::ones([4], cpu).set_requires_grad(true));
        let leaves = [("encoder", &encoder), ("decoder", &decoder)]
            .map(|(key, leaf)| (key.to_owned(), leaf.shallow_clone()));
        let mut optimizer = AdamW::new(BTreeMap::from(leaves), optimizer_config(true));
        for _ in 0..100 {
            decoder.square().sum(Kind::Float).backward();
            optimizer.step(1e-3);
        }
        let averaged: BTreeMap<String, Tensor> = optimizer.averaged().into_iter().collect();
        assert_eq!(averaged["encoder"], Tensor::ones([4], cpu));
        assert!(averaged["decoder"].max().double_value(&[]) < 1.0);
    }
}
