//! The 3 × 3 convolutions of Stable Diffusion, direct and by Winograd's filtering, in turn:
//! `cargo bench -p imagine-tests --bench convolution`. `OMP_NUM_THREADS` says on how many threads.

use std::time::{Duration, Instant};

use imagine_unet::winograd;
use tch::{Device, Kind, Tensor};

/// (rows, channels in, out, cells along a side), as the networks have them at 512².
const SHAPES: [(i64, i64, i64, i64); 16] = [
    (1, 320, 320, 64),
    (2, 320, 320, 64),
    (1, 960, 320, 64),
    (1, 640, 640, 64),
    (1, 640, 640, 32),
    (1, 1280, 640, 32),
    (1, 1280, 1280, 32),
    (1, 1280, 1280, 16),
    (2, 1280, 1280, 16),
    (1, 2560, 1280, 16),
    (2, 2560, 1280, 16),
    (2, 1280, 1280, 8),
    (1, 512, 512, 128),
    (1, 512, 512, 256),
    (1, 256, 256, 256),
    (1, 128, 128, 512),
];
const ROUNDS: usize = 3;

fn main() {
    let _no_grad = tch::no_grad_guard();
    let only: Option<i64> = std::env::args().filter_map(|arg| arg.parse().ok()).next();
    println!("rows, channels, cells: direct, Winograd, ratio");
    for (rows, inputs, outputs, side) in SHAPES {
        if only.is_some_and(|only| only != side) {
            continue;
        }
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (x, weight) = (random(&[rows, inputs, side, side]), random(&[outputs, inputs, 3, 3]));
        let bias = random(&[outputs]);
        let direct = || x.conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1);
        let filtered = || winograd::conv3x3(&x, &weight, &bias);
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let (a, b) = (time(direct), time(filtered));
            // The first round fetches memory.
            if round > 0 {
                left.push(a);
                right.push(b);
            }
        }
        let (a, b) = (least(&left), least(&right));
        println!(
            "{rows} × {inputs} → {outputs}, {side}²: {:.1} ms, {:.1} ms, {:.2}",
            a * 1e3,
            b * 1e3,
            b / a
        );
    }
}

fn time(work: impl Fn() -> Tensor) -> Duration {
    let started = Instant::now();
    drop(work());
    started.elapsed()
}

fn least(times: &[Duration]) -> f64 {
    times.iter().min().map_or(0.0, Duration::as_secs_f64)
}
