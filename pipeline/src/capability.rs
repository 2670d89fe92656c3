//! What this machine computes with: the libtorch that is loaded, and how fast it multiplies in each type.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use tch::{Device, Kind, Tensor};

use crate::error::PipelineError;

/// The release that the bindings are made for; another one does not load.
pub const LIBTORCH_VERSION: &str = "2.11.0";

/// The shared library of libtorch in this process, as the loader found it.
pub fn libtorch_path() -> Option<PathBuf> {
    // touches libtorch, so that the linker keeps it
    let _ = tch::get_num_threads();
    let maps = fs::read_to_string("/proc/self/maps").ok()?;
    let line = maps.lines().find(|line| line.ends_with("/libtorch_cpu.so"))?;
    line.split_once('/').map(|(_, path)| PathBuf::from(format!("/{path}")))
}

/// How many CUDA devices there are that libtorch can use.
pub fn cuda_devices() -> i64 {
    if tch::Cuda::is_available() { tch::Cuda::device_count() } else { 0 }
}

/// Multiplications and additions in a second, from one 3×3 convolution of 320 channels over 32² positions, the
/// layer of which a U-Net has most. The first run, in which libraries set themselves up, does not count; then the
/// best of three, or of fewer where they take more than a second together.
///
/// # Errors
/// A type that the device cannot compute in.
pub fn speed(device: Device, kind: Kind) -> Result<f64, PipelineError> {
    const CHANNELS: i64 = 320;
    const SIDE: i64 = 32;
    let _no_grad = tch::no_grad_guard();
    let weight = Tensor::f_ones([CHANNELS, CHANNELS, 3, 3], (kind, device))?;
    let input = Tensor::f_ones([1, CHANNELS, SIDE, SIDE], (kind, device))?;
    let run = || -> Result<f64, PipelineError> {
        let start = Instant::now();
        let output = input.f_conv2d(&weight, None::<&Tensor>, 1, 1, 1, 1)?; // [1, C, SIDE, SIDE]
        // reading a number waits for the device
        let _ = output.f_sum(Kind::Float)?.f_double_value(&[0; 0])?;
        Ok(start.elapsed().as_secs_f64())
    };
    run()?;
    let (mut best, mut together) = (f64::INFINITY, 0.0);
    for _ in 0..3 {
        let seconds = run()?;
        best = best.min(seconds);
        together += seconds;
        if together > 1.0 {
            break;
        }
    }
    let products = CHANNELS * CHANNELS * 9 * SIDE * SIDE;
    Ok(2.0 * products as f64 / best)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_library_is_found_and_has_a_speed() {
        assert!(libtorch_path().unwrap().is_file());
        let speed = speed(Device::Cpu, Kind::Float).unwrap();
        assert!((1e8..1e14).contains(&speed), "{speed}");
    }
}
