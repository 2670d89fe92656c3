//! AdamW (arXiv 1711.05101) over f32 master weights, with an exponential moving average.
//!
//! The model computes with leaves in a half type; sums of small steps would be lost there, so the
//! optimiser keeps the weights in f32 and copies them into the leaves after each step.

use std::collections::BTreeMap;

use tch::{Kind, Tensor, no_grad};

/// Numbers of the optimiser that stay the same through a run.
#[derive(Clone, Copy, Debug)]
pub struct AdamWConfig {
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub weight_decay: f64,
    /// Gradients are scaled down to this global norm.
    pub max_norm: f64,
    pub ema_decay: f64,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.99, eps: 1e-8, weight_decay: 0.01, max_norm: 1.0, ema_decay: 0.998 }
    }
}

struct Slot {
    leaf: Tensor,
    master: Tensor,
    mean: Tensor,
    variance: Tensor,
    ema: Tensor,
}

/// The optimiser of any number of named leaves.
pub struct AdamW {
    config: AdamWConfig,
    slots: BTreeMap<String, Slot>,
    steps: i32,
}

/// Parts of the state that a snapshot holds, as suffixes of the parameter's key.
const PARTS: [&str; 4] = ["master", "mean", "variance", "ema"];

impl AdamW {
    pub fn new(leaves: BTreeMap<String, Tensor>, config: AdamWConfig) -> Self {
        let slots = leaves
            .into_iter()
            .map(|(key, leaf)| {
                let master = leaf.detach().to_kind(Kind::Float).copy();
                let slot = Slot {
                    mean: master.zeros_like(),
                    variance: master.zeros_like(),
                    ema: master.copy(),
                    master,
                    leaf,
                };
                (key, slot)
            })
            .collect();
        Self { config, slots, steps: 0 }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> i32 {
        self.steps
    }

    /// Number of trainable values.
    pub fn parameter_count(&self) -> usize {
        self.slots.values().map(|s| s.leaf.numel()).sum()
    }

    /// Takes one step with the gradients at the leaves, and clears them. Returns the global norm of
    /// the gradients before clipping. A step whose gradients are not finite is skipped.
    pub fn step(&mut self, learning_rate: f64) -> f64 {
        no_grad(|| {
            let c = self.config;
            let mut gradients = Vec::with_capacity(self.slots.len());
            let mut square_sum = 0.0;
            for slot in self.slots.values() {
                let gradient = slot.leaf.grad();
                if gradient.defined() {
                    let g = gradient.to_kind(Kind::Float);
                    square_sum += g.square().sum(Kind::Double).double_value(&[]);
                    gradients.push(Some(g));
                } else {
                    gradients.push(None);
                }
            }
            let norm = square_sum.sqrt();
            if !norm.is_finite() {
                self.slots.values_mut().for_each(|slot| slot.leaf.zero_grad());
                return norm;
            }
            self.steps += 1;
            let clip = (c.max_norm / (norm + 1e-6)).min(1.0);
            let correct1 = 1.0 - c.beta1.powi(self.steps);
            let correct2 = 1.0 - c.beta2.powi(self.steps);
            // A young average follows the weights closely, as in Karras et al. (arXiv 2206.00364).
            let decay = c.ema_decay.min((1.0 + f64::from(self.steps)) / (10.0 + f64::from(self.steps)));
            for (slot, gradient) in self.slots.values_mut().zip(gradients) {
                let Some(mut g) = gradient else { continue };
                let _ = g.g_mul_scalar_(clip);
                let _ = slot.mean.lerp_(&g, 1.0 - c.beta1);
                let _ = slot.variance.lerp_(&g.square(), 1.0 - c.beta2);
                let _ = slot.master.g_mul_scalar_(1.0 - learning_rate * c.weight_decay);
                let mut spread = (&slot.variance / correct2).sqrt_();
                let _ = spread.g_add_scalar_(c.eps);
                let update = &slot.mean / spread * (learning_rate / correct1);
                slot.master -= update;
                slot.leaf.copy_(&slot.master);
                let _ = slot.ema.lerp_(&slot.master, 1.0 - decay);
                // Last: in f32 the gradient and the leaf's are one tensor.
                slot.leaf.zero_grad();
            }
            norm
        })
    }

    /// The averaged weights by key, f32.
    pub fn averaged(&self) -> Vec<(String, Tensor)> {
        self.slots.iter().map(|(k, s)| (k.clone(), s.ema.shallow_clone())).collect()
    }

    /// The whole state, for a snapshot from which training can go on.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![("steps".to_string(), Tensor::from_slice(&[i64::from(self.steps)]))];
        for (key, s) in &self.slots {
            let parts = [&s.master, &s.mean, &s.variance, &s.ema];
            all.extend(PARTS.iter().zip(parts).map(|(p, t)| (format!("{key}#{p}"), t.shallow_clone())));
        }
        all
    }

    /// Takes over a state written by [`AdamW::state`]; false if it belongs to another model.
    pub fn restore(&mut self, state: &BTreeMap<String, Tensor>) -> bool {
        let fits = self.slots.iter().all(|(key, slot)| {
            PARTS
                .iter()
                .all(|p| state.get(&format!("{key}#{p}")).is_some_and(|t| t.size() == slot.master.size()))
        });
        let Some(steps) = state.get("steps").filter(|_| fits) else { return false };
        self.steps = steps.int64_value(&[0]) as i32;
        no_grad(|| {
            for (key, slot) in &mut self.slots {
                let targets = [&mut slot.master, &mut slot.mean, &mut slot.variance, &mut slot.ema];
                for (part, target) in PARTS.iter().zip(targets) {
                    if let Some(saved) = state.get(&format!("{key}#{part}")) {
                        target.copy_(saved);
                    }
                }
                slot.leaf.copy_(&slot.master);
            }
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    #[test]
    fn finds_the_least_squares_solution_in_f32_and_bf16() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let leaf = Tensor::zeros([2], (kind, Device::Cpu)).set_requires_grad(true);
            let target = Tensor::from_slice(&[0.5f32, -0.25]);
            let config = AdamWConfig { weight_decay: 0.0, ..AdamWConfig::default() };
            let mut optimizer = AdamW::new([("w".to_string(), leaf.shallow_clone())].into(), config);
            for _ in 0..400 {
                (&leaf - &target).square().sum(Kind::Float).backward();
                optimizer.step(0.01);
            }
            let far = (leaf.detach().to_kind(Kind::Float) - &target).abs().max().double_value(&[]);
            assert!(far < 0.02, "{kind:?}: {far}");
            let average = (&optimizer.averaged()[0].1 - &target).abs().max().double_value(&[]);
            assert!(average < 0.1, "{kind:?}: {average}");
        }
    }

    #[test]
    fn a_restored_run_goes_on_as_if_never_stopped() {
        let run = |stop: bool| {
            let new = || {
                let leaf = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
                (AdamW::new([("w".to_string(), leaf.shallow_clone())].into(), AdamWConfig::default()), leaf)
            };
            let (mut optimizer, mut leaf) = new();
            for i in 0..6 {
                if stop && i == 3 {
                    let state = optimizer.state().into_iter().collect();
                    (optimizer, leaf) = new();
                    assert!(optimizer.restore(&state));
                }
                leaf.square().sum(Kind::Float).backward();
                optimizer.step(0.1);
            }
            leaf.detach()
        };
        assert!(run(true).allclose(&run(false), 1e-6, 1e-6, false));
    }
}
