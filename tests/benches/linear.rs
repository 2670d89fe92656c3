//! The linear layers of Stable Diffusion, as libtorch's BLAS computes them and by oneDNN, and the gated
//! feed-forward in separate operations and fused, in turn:
//! `cargo bench -p imagine-tests --bench linear`. `OMP_NUM_THREADS` says on how many threads.

use std::time::{Duration, Instant};

use imagine_unet::fused_linear::{Follow, linear};
use tch::{Device, Kind, Tensor};

/// (tokens, inputs, outputs), as the networks have them at 512² and 1024².
const SHAPES: [(i64, i64, i64); 9] = [
    (4096, 320, 320),
    (4096, 320, 1280),
    (4096, 1280, 320),
    (1024, 640, 640),
    (1024, 640, 2560),
    (256, 1280, 5120),
    (64, 1280, 1280),
    (1024, 1280, 5120),
    (4096, 640, 2560),
];
const ROUNDS: usize = 5;

fn random(shape: &[i64]) -> Tensor {
    Tensor::randn(shape, (Kind::Float, Device::Cpu))
}

fn main() {
    let _no_grad = tch::no_grad_guard();
    println!("tokens, inputs → outputs: BLAS, oneDNN, ratio");
    for (tokens, inputs, outputs) in SHAPES {
        let (x, weight, bias) =
            (random(&[1, tokens, inputs]), random(&[outputs, inputs]), random(&[outputs]));
        let apart = || x.linear(&weight, Some(&bias));
        let fused = || linear(&x, &weight, Some(&bias), Follow::Nothing);
        show(&format!("{tokens}, {inputs} → {outputs}"), apart, fused);
    }
    println!("feed-forward: tokens, width");
    for (tokens, width) in [(4096, 320), (1024, 640), (256, 1280), (4096, 640), (1024, 1280)] {
        let x = random(&[1, tokens, width]);
        let (value, value_bias) = (random(&[4 * width, width]), random(&[4 * width]));
        let (gate, gate_bias) = (random(&[4 * width, width]), random(&[4 * width]));
        let (out, out_bias) = (random(&[width, 4 * width]), random(&[width]));
        let apart = || {
            let mut gated = x.linear(&value, Some(&value_bias));
            let mut gates = x.linear(&gate, Some(&gate_bias));
            let _ = gated.g_mul_(&gates.gelu_("none"));
            &x + gated.linear(&out, Some(&out_bias))
        };
        let fused = || {
            let gates = linear(&x, &gate, Some(&gate_bias), Follow::Gelu);
            let gated = linear(&x, &value, Some(&value_bias), Follow::Multiply(&gates));
            linear(&gated, &out, Some(&out_bias), Follow::Add(&x))
        };
        show(&format!("{tokens}, {width}"), apart, fused);
    }
}

fn show(what: &str, apart: impl Fn() -> Tensor, fused: impl Fn() -> Tensor) {
    let (mut left, mut right) = (Duration::MAX, Duration::MAX);
    for round in 0..=ROUNDS {
        let (a, b) = (time(&apart), time(&fused));
        // The first round fetches memory.
        if round > 0 {
            (left, right) = (left.min(a), right.min(b));
        }
    }
    let (a, b) = (left.as_secs_f64(), right.as_secs_f64());
    println!("{what}: {:.1} ms, {:.1} ms, {:.2}", a * 1e3, b * 1e3, b / a);
}

fn time(work: impl Fn() -> Tensor) -> Duration {
    let started = Instant::now();
    drop(work());
    started.elapsed()
}
