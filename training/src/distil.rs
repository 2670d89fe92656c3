//! Distils a trained model to few steps: latent consistency (Luo et al. 2023, arXiv 2310.04378), with the guidance in it.
//!
//! The student's clean picture from a timestep is to be the one from the timestep a stride below, to which the
//! guided teacher leads (DDIM). The student itself gives the picture below, without gradients and without an average of
//! its past, which was found to hold the student back (Song and Dhariwal 2023, arXiv 2310.14189). The boundary
//! condition is that of `LCMScheduler`, which draws with it.

use std::path::PathBuf;
use std::time::Instant;

use imagine_unet::{CrossKv, Weights};
use tch::{Device, Kind, Tensor, no_grad};

use crate::batches::Batches;
use crate::dataset::Dataset;
use crate::diffusion::{NoiseSchedule, face_weights};
use crate::drawing::{Stream, Wish};
use crate::error::TrainingError;
use crate::export;
use crate::files::{read_tensors, write_json, write_tensors};
use crate::networks::Networks;
use crate::optimizer::{AdamW, AdamWConfig};
use crate::recipe::{self, DISTIL_STEPS, Schedule, TRAIN_STEPS};

/// The boundary condition's numbers in `LCMScheduler`: at timestep 0 the picture is what is given.
const TIMESTEP_SCALING: f64 = 10.0;
const SIGMA_DATA: f64 = 0.5;
/// Where the loss turns from a square to a distance, of the latents' numbers (pseudo-Huber).
const HUBER: f64 = 0.03;

/// Settings of one run.
pub struct DistilRun {
    pub data: PathBuf,
    /// The teacher's checkpoint folder.
    pub from: PathBuf,
    /// Holds `vae/` and `tokenizer/`; receives everything else.
    pub out: PathBuf,
    pub batch: usize,
    pub guidance_scale: f64,
    pub schedule: Schedule,
    pub device: Device,
    pub seed: u64,
    pub kind: Kind,
}

/// Of one step: what student and teacher hear.
struct Heard {
    student: CrossKv,
    teacher: CrossKv,
    nobody: CrossKv,
}

struct Distillation {
    student: Networks,
    teacher: Networks,
    schedule: NoiseSchedule,
    guidance_scale: f64,
}

/// Clean latents by `LCMScheduler`'s boundary condition: of a prediction and of what was given.
fn bounded(clean: &Tensor, noisy: &Tensor, steps: &Tensor) -> Tensor {
    let scaled = steps.to_kind(Kind::Float) * TIMESTEP_SCALING; // [B]
    let square = scaled.square() + SIGMA_DATA * SIGMA_DATA;
    let skip = (SIGMA_DATA * SIGMA_DATA / &square).view([-1, 1, 1, 1]); // [B, 1, 1, 1]
    let out = (scaled / square.sqrt()).view([-1, 1, 1, 1]);
    out * clean + skip * noisy
}

impl Distillation {
    /// Steps until the time is up.
    fn go(
        &self,
        run: &DistilRun,
        batches: &Batches,
        optimizer: &mut AdamW,
        mut stream: Stream,
    ) -> Result<(), TrainingError> {
        let nothing = batches.nothing(run.batch)?;
        let clock = Instant::now();
        let (mut sum, mut count) = (0.0, 0u32);
        while let Some(rate) = run.schedule.rate(optimizer.steps(), clock.elapsed()) {
            let batch = batches.batch(stream.next()?)?;
            let heard = Heard {
                student: self.student.cross(&batch)?,
                teacher: no_grad(|| self.teacher.cross(&batch))?,
                nobody: no_grad(|| self.teacher.cross(&nothing))?,
            };
            let loss = self.loss(&batches.clean(&batch), &heard);
            loss.backward();
            optimizer.step(rate);
            sum += loss.double_value(&[]);
            count += 1;
            let steps = optimizer.steps();
            if steps % 50 == 0 {
                let seconds = clock.elapsed().as_secs_f64();
                println!("distil {steps}: loss {:.4} rate {rate:.1e} {seconds:.0} s", sum / f64::from(count));
                (sum, count) = (0.0, 0);
            }
        }
        Ok(())
    }

    fn student_clean(&self, noisy: &Tensor, steps: &Tensor, cross: &CrossKv) -> Tensor {
        let velocity = self.student.predict(noisy, steps, cross);
        bounded(&self.schedule.clean(noisy, &velocity, steps).0, noisy, steps)
    }

    /// One stride down, led by the guided teacher.
    fn stride(&self, noisy: &Tensor, steps: &Tensor, next: &Tensor, heard: &Heard) -> Tensor {
        let with = self.teacher.predict(noisy, steps, &heard.teacher);
        let without = self.teacher.predict(noisy, steps, &heard.nobody);
        let guided = &without + (with - &without) * self.guidance_scale;
        self.schedule.stride(noisy, &guided, steps, next)
    }

    fn loss(&self, clean: &Tensor, heard: &Heard) -> Tensor {
        let rows = clean.size()[0];
        let device = clean.device();
        let stride = TRAIN_STEPS / DISTIL_STEPS;
        // The timesteps that the scheduler knows: stride − 1, 2 · stride − 1, ... the last.
        let at = Tensor::randint_low(1, DISTIL_STEPS + 1, [rows], (Kind::Int64, device));
        let steps = &at * stride - 1;
        let next = (&at * stride - 1 - stride).clamp_min(0);
        let noisy = self.schedule.add_noise(clean, &clean.randn_like(), &steps);
        let wanted = no_grad(|| {
            let lower = self.stride(&noisy, &steps, &next, heard);
            self.student_clean(&lower, &next, &heard.student)
        });
        let unlike = (self.student_clean(&noisy, &steps, &heard.student) - wanted).square();
        let distance = (unlike + HUBER * HUBER).sqrt() - HUBER;
        (distance * face_weights(clean.size()[3], device)).mean(Kind::Float)
    }
}

/// Distils and leaves a checkpoint folder that draws in few steps, and a snapshot.
pub fn train(run: &DistilRun) -> Result<(), TrainingError> {
    tch::manual_seed(run.seed as i64);
    let data = Dataset::read(&run.data)?;
    let batches = Batches::new(&data, &run.data, &run.out, run.device, run.kind)?;
    let vocabulary = batches.vocabulary();
    let [unet, text, adapter] = std::array::from_fn(|_| Weights::fresh(run.device, run.kind));
    let student = Networks::new(&unet, &text, &adapter, vocabulary)?;
    let leaves = export::joined(&unet, &text, &adapter);
    let mut optimizer = AdamW::new(leaves, AdamWConfig { ema_decay: 0.99, ..AdamWConfig::default() });
    let snapshot = run.out.join("distil-snapshot.safetensors");
    if snapshot.is_file() && optimizer.restore(&read_tensors(&snapshot)?) {
        println!("distil: going on at step {}", optimizer.steps());
    } else {
        let begun = optimizer.begin_at(&export::read_checkpoint(&run.from)?);
        begun.map_err(|key| TrainingError::Begin { path: run.from.clone(), key })?;
    }
    let distillation = Distillation {
        student,
        teacher: Networks::open(&run.from, vocabulary, run.device, run.kind)?,
        schedule: NoiseSchedule::new(run.device),
        guidance_scale: run.guidance_scale,
    };
    let drawer = batches.drawer(&data);
    let all = Wish { rows: run.batch, whole: false, known: None };
    std::thread::scope(|scope| {
        let stream = drawer.stream(scope, &all, run.seed, optimizer.steps() as u64);
        distillation.go(run, &batches, &mut optimizer, stream)
    })?;
    println!("distil: stopped at step {}", optimizer.steps());
    write_tensors(&snapshot, &optimizer.state())?;
    export::write_checkpoint(&run.out, &optimizer.averaged(), vocabulary)?;
    write_json(&run.out.join("scheduler/scheduler_config.json"), &recipe::few_step_scheduler_json())?;
    write_json(&run.out.join("imagine.json"), &recipe::few_step_defaults_json())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_is_the_picture_at_the_lowest_timestep_and_the_prediction_far_above() {
        tch::manual_seed(2);
        let [clean, noisy] = std::array::from_fn(|_| Tensor::randn([2, 3, 4, 4], (Kind::Float, Device::Cpu)));
        let steps = Tensor::from_slice(&[0i64, 999]);
        let found = bounded(&clean, &noisy, &steps);
        assert!(found.get(0).allclose(&noisy.get(0), 1e-5, 1e-6, false));
        assert!(found.get(1).allclose(&clean.get(1), 1e-3, 1e-3, false));
    }
}
