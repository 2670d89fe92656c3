//! Noise that equals what Python draws for the same seed.
//!
//! Diffusers makes its pictures reproducible with `torch.Generator("cpu").manual_seed(seed)`. tch offers
//! only torch's process-wide generator, which requests served side by side would share, so the
//! generator and the normal draws of torch's CPU backend are implemented here.
//!
//! Sources: M. Matsumoto and T. Nishimura, "Mersenne Twister" (1998) for the bits; ATen's CPU kernels
//! for the way bits become normal samples (Box-Muller in blocks of sixteen, or one pair at a time for
//! tensors of fewer than sixteen elements). Draws equal torch 2.11.0's to 1e-6; the last bit may differ,
//! because torch uses its own vectorised logarithm and sine.

use std::f32::consts::PI as PI_F32;
use std::f64::consts::PI as PI_F64;

use tch::Tensor;

/// Where the random part of a stochastic sampler's step comes from.
pub trait NoiseSource {
    /// Independent samples of the standard normal distribution with `like`'s shape, type and device.
    fn draw(&mut self, like: &Tensor) -> Tensor;
}

/// `torch.Generator("cpu")`: the same seed gives the same sequence of `randn` draws.
///
/// Draws are made in f32 on the CPU and rounded to the type that is asked for. Python's
/// `torch.randn(..., dtype=torch.bfloat16)` (or `float16`) does *not* give the rounded f32 draw: from
/// sixteen elements on it makes its uniform numbers in the narrow type (8 or 11 bits), which is another,
/// coarser sequence. Half-precision runs therefore start from the same noise as a float32 run here, and
/// from a different one in diffusers.
#[derive(Clone)]
pub struct TorchGenerator {
    bits: Mt19937,
    /// Second half of the last Box-Muller pair of the one-at-a-time path.
    spare: Option<f64>,
}

impl TorchGenerator {
    /// As `manual_seed(seed)`. Torch seeds the twister with the low 32 bits alone: seeds that agree in
    /// them give the same sequence.
    pub fn new(seed: u64) -> Self {
        Self { bits: Mt19937::new(seed as u32), spare: None }
    }

    /// As `torch.randn(shape, generator=self)`: f32 on the CPU. A negative dimension counts as zero.
    pub fn randn(&mut self, shape: &[i64]) -> Tensor {
        let shape: Vec<i64> = shape.iter().map(|&d| d.max(0)).collect();
        let count = shape.iter().product::<i64>() as usize;
        let mut data = vec![0f32; count];
        if count < BLOCK {
            data.fill_with(|| self.one_normal() as f32);
        } else {
            self.fill_normal(&mut data);
        }
        Tensor::from_slice(&data).reshape(&shape)
    }

    /// Uniform in [0, 1) with f32's 24 bits.
    fn uniform_f32(&mut self) -> f32 {
        (self.bits.next() & 0x00ff_ffff) as f32 / 16_777_216.0
    }

    /// Uniform in [0, 1) with f64's 53 bits; the first word drawn is the upper half.
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.bits.next());
        let low = u64::from(self.bits.next());
        (((high << 32) | low) & ((1 << 53) - 1)) as f64 / 9_007_199_254_740_992.0
    }

    fn one_normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let angle = 2.0 * PI_F64 * self.uniform_f64();
        let radius = (-2.0 * (-self.uniform_f64()).ln_1p()).sqrt();
        self.spare = Some(radius * angle.sin());
        radius * angle.cos()
    }

    /// Whole blocks first; where a remainder is left, the last sixteen values are drawn afresh.
    fn fill_normal(&mut self, data: &mut [f32]) {
        data.fill_with(|| self.uniform_f32());
        let mut blocks = data.chunks_exact_mut(BLOCK);
        blocks.by_ref().for_each(box_muller);
        if !blocks.into_remainder().is_empty() {
            let start = data.len() - BLOCK;
            let tail = &mut data[start..];
            tail.fill_with(|| self.uniform_f32());
            box_muller(tail);
        }
    }
}

impl NoiseSource for TorchGenerator {
    fn draw(&mut self, like: &Tensor) -> Tensor {
        self.randn(&like.size()).to_device(like.device()).to_kind(like.kind())
    }
}

/// A source for samplers that must not draw (tests and deterministic runs): all zeros.
pub struct NoNoise;

impl NoiseSource for NoNoise {
    fn draw(&mut self, like: &Tensor) -> Tensor {
        like.zeros_like()
    }
}

const BLOCK: usize = 16;

/// Turns sixteen uniform numbers into normal ones in place: number j gives the radius and number j + 8
/// the angle of one pair. The angle is rounded to f32 as torch does; rounding it later would change the
/// sine by more than the tolerance.
fn box_muller(block: &mut [f32]) {
    let (radii, angles) = block.split_at_mut(BLOCK / 2);
    for (a, b) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * (1.0 - *a).ln()).sqrt();
        let (sin, cos) = f64::from(2.0 * PI_F32 * *b).sin_cos();
        *a = radius * cos as f32;
        *b = radius * sin as f32;
    }
}

/// The 32-bit Mersenne Twister with the reference initialisation.
#[derive(Clone)]
struct Mt19937 {
    state: [u32; Self::N],
    next: usize,
}

impl Mt19937 {
    const N: usize = 624;
    const M: usize = 397;

    fn new(seed: u32) -> Self {
        let mut state = [seed; Self::N];
        let mut last = seed;
        for (i, word) in state.iter_mut().enumerate().skip(1) {
            last = 1_812_433_253u32.wrapping_mul(last ^ (last >> 30)).wrapping_add(i as u32);
            *word = last;
        }
        Self { state, next: Self::N }
    }

    fn regenerate(&mut self) {
        for i in 0..Self::N {
            let mixed = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % Self::N] & 0x7fff_ffff);
            let twist = if mixed & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + Self::M) % Self::N] ^ (mixed >> 1) ^ twist;
        }
        self.next = 0;
    }

    fn next(&mut self) -> u32 {
        if self.next == Self::N {
            self.regenerate();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }
}

#[cfg(test)]
mod tests {
    use tch::Kind;

    use super::*;

    #[test]
    fn the_twister_gives_the_published_sequence() {
        // first outputs of the reference implementation for its default seed, and the 10,000th
        // (the value the C++ standard requires of mt19937)
        let mut bits = Mt19937::new(5489);
        assert_eq!([bits.next(), bits.next(), bits.next()], [3_499_211_612, 581_869_302, 3_890_346_734]);
        let mut bits = Mt19937::new(5489);
        assert_eq!((0..10_000).map(|_| bits.next()).last(), Some(4_123_659_995));
    }

    #[test]
    fn draws_are_normal_and_follow_the_type_asked_for() {
        let like = Tensor::zeros([3, 5, 7], (Kind::BFloat16, tch::Device::Cpu));
        let drawn = TorchGenerator::new(3).draw(&like);
        assert_eq!((drawn.size(), drawn.kind()), (vec![3, 5, 7], Kind::BFloat16));
        let many = TorchGenerator::new(3).randn(&[200_000]);
        assert!(many.mean(Kind::Double).double_value(&[]).abs() < 0.01);
        assert!((many.std(true).double_value(&[]) - 1.0).abs() < 0.01);
        assert_eq!(TorchGenerator::new(3).randn(&[0, 4]).size(), [0, 4]);
    }
}
