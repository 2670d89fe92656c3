//! Trains the U-Net, its text encoder and the identity adapter together.
//!
//! The condition is the identity card of *another* shot of the same person than the one that is drawn:
//! what the two do not share (pose, expression, light) cannot be copied from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use imagine_unet::{AutoencoderKl, Weights};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tch::{Device, Kind, Tensor, no_grad};

use crate::batches::{Batch, Batches};
use crate::dataset::Dataset;
use crate::diffusion::{NoiseSchedule, face_weights};
use crate::drawing::{Stream, Wish};
use crate::error::TrainingError;
use crate::export;
use crate::files::{read_tensors, write_tensors};
use crate::identity_loss::IdentityLoss;
use crate::losses::{LossFile, Losses};
use crate::networks::{Networks, open_vae};
use crate::optimizer::{AdamW, AdamWConfig};
use crate::recipe::{self, Schedule};

/// Settings of one run.
pub struct UNetRun {
    pub data: PathBuf,
    /// Holds `vae/` from before; receives everything else.
    pub out: PathBuf,
    /// A checkpoint folder to begin at, unless `out` holds a snapshot to go on from.
    pub from: Option<PathBuf>,
    /// What alone is trained, by the beginnings of its keys (`adapter/image_proj.colours`); the rest stays as it is in
    /// `from`. All is trained if left out.
    pub only: Vec<String>,
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
    /// After every so many steps the checkpoint is also kept in `checkpoints/STEP`; none at 0.
    pub keep_every: i32,
}

/// Trains and leaves a checkpoint folder, a snapshot and sample sheets in `run.out`.
pub fn train(run: &UNetRun) -> Result<(), TrainingError> {
    tch::manual_seed(run.seed as i64);
    let data = Dataset::read(&run.data)?;
    let batches = Batches::new(&data, &run.data, &run.out, run.device, run.kind)?;
    let identity = match run.identity_weight {
        weight if weight > 0.0 => Some(IdentityLoss::new(&data, &run.data, run.device, run.kind)?),
        _ => None,
    };
    let vocabulary = batches.vocabulary();
    let [unet_weights, text_weights, adapter_weights] =
        std::array::from_fn(|_| Weights::fresh(run.device, run.kind));
    let networks = Networks::new(&unet_weights, &text_weights, &adapter_weights, vocabulary)?;
    let mut leaves = export::joined(&unet_weights, &text_weights, &adapter_weights);
    let frozen = freeze(&mut leaves, run)?;
    let mut optimizer = AdamW::new(leaves, AdamWConfig { orthogonal: true, ..AdamWConfig::default() });
    let snapshot = run.out.join(SNAPSHOT);
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
    let drawer = batches.drawer(&data);
    let all = Wish { rows: run.batch, whole: false, known: None };
    let looked_at =
        Wish { rows: run.identity_rows, whole: true, known: identity.as_ref().map(IdentityLoss::known) };
    let training = Training {
        networks,
        batches: &batches,
        schedule: NoiseSchedule::new(run.device),
        vae: open_vae(&run.out, run.device, run.kind)?,
        frozen,
        vocabulary,
        run,
    };
    std::thread::scope(|scope| {
        let first = optimizer.steps() as u64;
        let pictures = drawer.stream(scope, &all, run.seed, first);
        let looks =
            identity.as_ref().map(|identity| (identity, drawer.stream(scope, &looked_at, !run.seed, first)));
        training.go(&mut optimizer, pictures, looks)
    })
}

/// Takes the leaves that are not to be trained out of `leaves`, gives them the weights of `run.from`, and returns those.
fn freeze(
    leaves: &mut BTreeMap<String, Tensor>,
    run: &UNetRun,
) -> Result<Vec<(String, Tensor)>, TrainingError> {
    let Some(folder) = run.from.as_ref().filter(|_| !run.only.is_empty()) else { return Ok(Vec::new()) };
    let trained = |key: &str| run.only.iter().any(|beginning| key.starts_with(beginning));
    if let Some(none) = run.only.iter().find(|one| !leaves.keys().any(|key| key.starts_with(one.as_str()))) {
        return Err(TrainingError::Begin { path: folder.clone(), key: none.clone() });
    }
    let mut read = export::read_checkpoint(folder)?;
    let keys: Vec<String> = leaves.keys().filter(|key| !trained(key)).cloned().collect();
    let mut frozen = Vec::with_capacity(keys.len());
    for key in keys {
        let (Some(mut leaf), Some(weight)) = (leaves.remove(&key), read.remove(&key)) else {
            return Err(TrainingError::Begin { path: folder.clone(), key });
        };
        if leaf.size() != weight.size() {
            return Err(TrainingError::Begin { path: folder.clone(), key });
        }
        let _ = leaf.set_requires_grad(false);
        leaf.copy_(&weight);
        frozen.push((key, weight));
    }
    Ok(frozen)
}

/// From which a stopped run goes on.
const SNAPSHOT: &str = "unet-snapshot.safetensors";
/// Steps between two savings.
const SAVED_EVERY: i32 = 500;
/// The folder below a run's in which its checkpoints are kept by their step.
pub const CHECKPOINTS: &str = "checkpoints";

/// What stays the same from step to step.
struct Training<'a> {
    networks: Networks,
    batches: &'a Batches,
    schedule: NoiseSchedule,
    vae: AutoencoderKl,
    /// What is not trained, as it was read.
    frozen: Vec<(String, Tensor)>,
    vocabulary: i64,
    run: &'a UNetRun,
}

impl Training<'_> {
    /// Steps until the time is up.
    fn go(
        &self,
        optimizer: &mut AdamW,
        mut pictures: Stream,
        mut looks: Option<(&IdentityLoss, Stream)>,
    ) -> Result<(), TrainingError> {
        let run = self.run;
        let mut rng = StdRng::seed_from_u64(run.seed);
        let mut losses = LossFile::open(&run.out, optimizer.steps())?;
        let zeros = || Tensor::zeros([2], (Kind::Float, run.device));
        // On the device until they are read, so that a step does not wait for the one before.
        let (mut sums, mut count) = (zeros(), 0u32);
        let clock = Instant::now();
        while let Some(rate) = run.schedule.rate(optimizer.steps(), clock.elapsed()) {
            let loss = self.loss(&self.batches.batch(pictures.next()?)?)?;
            loss.backward();
            let mut unlike = loss.zeros_like();
            if let Some((identity, stream)) = &mut looks {
                unlike = self.unlike(identity, &self.batches.batch(stream.next()?)?, &mut rng)?;
                (&unlike * run.identity_weight).backward();
            }
            optimizer.step(rate);
            sums += Tensor::stack(&[loss.detach(), unlike.detach()], 0);
            count += 1;
            let steps = optimizer.steps();
            if steps % 50 == 0 {
                let seconds = clock.elapsed().as_secs_f64();
                let mean = |which: i64| sums.double_value(&[which]) / f64::from(count);
                let (loss, unlike) = (mean(0), mean(1));
                println!("unet {steps}: loss {loss:.4} unlike {unlike:.4} rate {rate:.1e} {seconds:.0} s");
                losses.add(Losses { step: steps, loss, unlike, rate })?;
                (sums, count) = (zeros(), 0);
            }
            if steps % SAVED_EVERY == 0 {
                self.save(optimizer)?;
            }
            if run.keep_every > 0 && steps % run.keep_every == 0 {
                let kept = run.out.join(CHECKPOINTS).join(steps.to_string());
                self.write(&kept, optimizer)?;
                export::copy_unlearnt(&run.out, &kept)?;
            }
        }
        println!("unet: stopped at step {}", optimizer.steps());
        self.save(optimizer)
    }

    fn save(&self, optimizer: &AdamW) -> Result<(), TrainingError> {
        write_tensors(&self.run.out.join(SNAPSHOT), &optimizer.state())?;
        self.write(&self.run.out, optimizer)
    }

    fn write(&self, out: &Path, optimizer: &AdamW) -> Result<(), TrainingError> {
        let mut weights = optimizer.averaged();
        weights.extend(self.frozen.iter().map(|(key, tensor)| (key.clone(), tensor.shallow_clone())));
        export::write_checkpoint(out, &weights, self.vocabulary)
    }

    /// The v-prediction loss of one batch, in which the face counts more than what is around it.
    fn loss(&self, batch: &Batch) -> Result<Tensor, TrainingError> {
        let clean = self.batches.clean(batch);
        let noise = clean.randn_like();
        let steps = self.schedule.draw(batch.rows(), self.run.device);
        let noisy = self.schedule.add_noise(&clean, &noise, &steps);
        let made = self.networks.predict(&noisy, &steps, &self.networks.cross(batch)?);
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
    fn unlike(
        &self,
        identity: &IdentityLoss,
        batch: &Batch,
        rng: &mut StdRng,
    ) -> Result<Tensor, TrainingError> {
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
        let cross = self.networks.cross(batch)?;
        let predict = |noisy: &Tensor, steps: &Tensor| self.networks.predict(noisy, steps, &cross);
        let clean = self.batches.clean(batch);
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use std::time::Duration;

    use super::*;

    fn run(from: &Path, only: &[&str]) -> UNetRun {
        UNetRun {
            data: PathBuf::new(),
            out: PathBuf::new(),
            from: Some(from.into()),
            only: only.iter().map(ToString::to_string).collect(),
            batch: 1,
            schedule: Schedule { peak: 1e-3, warmup_steps: 1, limit: Duration::ZERO },
            device: Device::Cpu,
            seed: 1,
            kind: Kind::Float,
            identity_weight: 0.0,
            identity_rows: 0,
            keep_every: 0,
        }
    }

    #[test]
    fn what_is_not_trained_keeps_the_weights_of_the_checkpoint() {
        let starter = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/starter");
        let read = export::read_checkpoint(&starter).unwrap();
        let leaves = || -> BTreeMap<String, Tensor> {
            let fresh = |tensor: &Tensor| tensor.zeros_like().to_kind(Kind::Float).set_requires_grad(true);
            read.iter().map(|(key, tensor)| (key.clone(), fresh(tensor))).collect()
        };
        let mut trained = leaves();
        let all = trained.len();
        let frozen = freeze(&mut trained, &run(&starter, &["adapter/image_proj.colours"])).unwrap();
        assert_eq!(trained.len(), 6);
        assert!(trained.keys().all(|key| key.starts_with("adapter/image_proj.colours.")));
        assert_eq!(trained.len() + frozen.len(), all);
        assert!(frozen.iter().all(|(key, tensor)| tensor.allclose(&read[key], 0.0, 0.0, false)));
        // Without a choice all is trained, and what does not exist is no choice.
        assert!(freeze(&mut leaves(), &run(&starter, &[])).unwrap().is_empty());
        let said = freeze(&mut leaves(), &run(&starter, &["adapter/nothing"])).unwrap_err().to_string();
        assert!(said.contains("adapter/nothing"), "{said}");
    }
}
