//! AdamW (arXiv 1711.05101) over f32 master weights, with an exponential moving average; the matrices
//! inside the networks take Muon's orthogonalised steps (Jordan et al. 2024) if that is asked for.
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
    /// Muon's steps for matrices and convolutions, scaled to AdamW's usual size (arXiv 2502.16982), so that
    /// one learning rate serves both.
    pub orthogonal: bool,
}

impl Default for AdamWConfig {
    fn default() -> Self {
        Self {
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.01,
            max_norm: 1.0,
            ema_decay: 0.998,
            orthogonal: false,
        }
    }
}

/// One parameter: its leaf, and its part of every buffer of its group.
struct Slot {
    leaf: Tensor,
    master: Tensor,
    mean: Tensor,
    variance: Tensor,
    ema: Tensor,
}

/// Parameters whose numbers lie one after the other, so that an operation is done for all of them at once: a GPU takes
/// longer to be told of a small operation than to do it.
struct Group {
    /// Numbers of the parameters among the slots, in the order in which they lie.
    members: Vec<usize>,
    /// Matrices [out, rest] that take Muon's steps; those of one group have one shape.
    matrix: Option<[i64; 2]>,
    /// [all numbers]
    leaf: Tensor,
    master: Tensor,
    mean: Tensor,
    variance: Tensor,
    ema: Tensor,
}

impl Group {
    /// Moves the parameters into buffers of their own, of which the leaves and the slots become parts.
    fn of(members: Vec<(usize, Tensor)>, matrix: Option<[i64; 2]>) -> (Self, Vec<Slot>) {
        let (members, mut leaves): (Vec<usize>, Vec<Tensor>) = members.into_iter().unzip();
        let leaf = Tensor::cat(&leaves.iter().map(|l| l.detach().reshape([-1])).collect::<Vec<_>>(), 0);
        let master = leaf.to_kind(Kind::Float).copy();
        let (mean, variance, ema) = (master.zeros_like(), master.zeros_like(), master.copy());
        let mut begin = 0;
        let slots = leaves
            .iter_mut()
            .map(|own| {
                let (shape, count) = (own.size(), own.numel() as i64);
                let part = |of: &Tensor| of.narrow(0, begin, count).view(shape.as_slice());
                own.set_data(&part(&leaf));
                let [master, mean, variance, ema] = [&master, &mean, &variance, &ema].map(part);
                begin += count;
                Slot { leaf: own.shallow_clone(), master, mean, variance, ema }
            })
            .collect();
        (Self { members, matrix, leaf, master, mean, variance, ema }, slots)
    }

    /// The gradients of all, one after the other, f32: [all numbers]; zero where there is none.
    fn gradients(&self, slots: &[(String, Slot)]) -> Tensor {
        let of = |&member: &usize| {
            let leaf = &slots[member].1.leaf;
            let gradient = leaf.grad();
            if gradient.defined() { gradient.reshape([-1]) } else { leaf.zeros_like().reshape([-1]) }
        };
        Tensor::cat(&self.members.iter().map(of).collect::<Vec<_>>(), 0).to_kind(Kind::Float)
    }

    /// One step along `g`, which is consumed; `bias` are the corrections of AdamW's two averages.
    fn step(&mut self, mut g: Tensor, learning_rate: f64, decay: f64, bias: (f64, f64), c: &AdamWConfig) {
        let _ = self.master.g_mul_scalar_(1.0 - learning_rate * c.weight_decay);
        if let Some([rows, columns]) = self.matrix {
            let _ = self.mean.lerp_(&g, 1.0 - MUON_MOMENTUM);
            let _ = g.lerp_(&self.mean, MUON_MOMENTUM);
            let update = orthogonalised(&g.view([-1, rows, columns])).view([-1]); // [all numbers]
            self.master -= update * learning_rate;
        } else {
            let _ = self.mean.lerp_(&g, 1.0 - c.beta1);
            let _ = self.variance.lerp_(&g.square(), 1.0 - c.beta2);
            let mut spread = (&self.variance / bias.1).sqrt_();
            let _ = spread.g_add_scalar_(c.eps);
            self.master -= &self.mean / spread * (learning_rate / bias.0);
        }
        self.leaf.copy_(&self.master);
        let _ = self.ema.lerp_(&self.master, 1.0 - decay);
    }
}

/// Momentum of Muon's steps.
const MUON_MOMENTUM: f64 = 0.95;

/// Matrices and convolutions between hidden features. Embeddings, and the layers that meet latents, are
/// left to AdamW, as Muon's author advises.
fn is_inner_matrix(key: &str, weight: &Tensor) -> bool {
    let outer = ["embedding", "conv_in", "conv_out"];
    weight.dim() >= 2 && !outer.iter().any(|name| key.contains(name))
}

/// The nearest matrices with equal singular values, by five Newton-Schulz steps (the quintic of Jordan et
/// al. 2024), with a root mean square of 0.2 a number, like a step of AdamW: [N, out, rest] → [N, out, rest]
///
/// A step multiplies by a polynomial of x·xᵀ from the left, so all five are found from that small matrix alone and
/// applied to x once: half the work where x is much wider than high, as convolutions are.
fn orthogonalised(matrices: &Tensor) -> Tensor {
    let (rows, columns) = (matrices.size()[1], matrices.size()[2]);
    let tall = rows > columns;
    let x = if tall { matrices.transpose(1, 2) } else { matrices.shallow_clone() }; // [N, small, large]
    let x = &x / (x.norm_scalaropt_dim(2, [1, 2], true) + 1e-12);
    // In f32: rounded to bf16, a square of low rank gets negative eigenvalues, and each step makes those twelve times
    // larger. Few pictures a step and no momentum yet are enough for that.
    let mut square = x.matmul(&x.transpose(1, 2)); // [N, small, small]
    let one = Tensor::eye(square.size()[1], (Kind::Float, square.device()));
    let mut product = one.expand_as(&square);
    for round in 0..NEWTON_SCHULZ_STEPS {
        let polynomial = &square * -4.775 + square.matmul(&square) * 2.0315 + &one * 3.4445;
        product = polynomial.matmul(&product);
        if round + 1 < NEWTON_SCHULZ_STEPS {
            square = polynomial.matmul(&square).matmul(&polynomial);
        }
    }
    let x = product.matmul(&x);
    let x = if tall { x.transpose(1, 2) } else { x };
    x.contiguous() * (0.2 * (rows.max(columns) as f64).sqrt())
}

const NEWTON_SCHULZ_STEPS: usize = 5;

/// The optimiser of any number of named leaves.
pub struct AdamW {
    config: AdamWConfig,
    /// By key, in order.
    slots: Vec<(String, Slot)>,
    groups: Vec<Group>,
    steps: i32,
}

/// Parts of the state that a snapshot holds, as suffixes of the parameter's key.
const PARTS: [&str; 4] = ["master", "mean", "variance", "ema"];

impl AdamW {
    /// Takes the leaves over: they have one type and one device.
    pub fn new(leaves: BTreeMap<String, Tensor>, config: AdamWConfig) -> Self {
        let mut alike: BTreeMap<Option<[i64; 2]>, Vec<(usize, Tensor)>> = BTreeMap::new();
        let mut keys = Vec::with_capacity(leaves.len());
        for (number, (key, leaf)) in leaves.into_iter().enumerate() {
            let matrix = (config.orthogonal && is_inner_matrix(&key, &leaf)).then(|| {
                let out = leaf.size()[0];
                [out, leaf.numel() as i64 / out]
            });
            keys.push(key);
            alike.entry(matrix).or_default().push((number, leaf));
        }
        let mut groups = Vec::new();
        let mut slots: Vec<(usize, Slot)> = Vec::new();
        for (matrix, members) in alike {
            let (group, own) = Group::of(members, matrix);
            slots.extend(group.members.iter().copied().zip(own));
            groups.push(group);
        }
        slots.sort_by_key(|(number, _)| *number);
        let slots = keys.into_iter().zip(slots.into_iter().map(|(_, slot)| slot)).collect();
        Self { config, slots, groups, steps: 0 }
    }

    /// Steps taken so far.
    pub fn steps(&self) -> i32 {
        self.steps
    }

    /// Number of trainable values.
    pub fn parameter_count(&self) -> usize {
        self.slots.iter().map(|(_, s)| s.leaf.numel()).sum()
    }

    /// Takes one step with the gradients at the leaves, and clears them. Returns the global norm of
    /// the gradients before clipping. A step whose gradients are not finite is skipped.
    pub fn step(&mut self, learning_rate: f64) -> f64 {
        no_grad(|| {
            let c = self.config;
            let gradients: Vec<Tensor> =
                self.groups.iter().map(|group| group.gradients(&self.slots)).collect();
            let squares: Vec<Tensor> = gradients.iter().map(|g| g.square().sum(Kind::Double)).collect();
            let norm = Tensor::stack(&squares, 0).sum(Kind::Double).sqrt().double_value(&[]);
            self.forget_gradients();
            if !norm.is_finite() {
                return norm;
            }
            self.steps += 1;
            let clip = (c.max_norm / (norm + 1e-6)).min(1.0);
            let bias = (1.0 - c.beta1.powi(self.steps), 1.0 - c.beta2.powi(self.steps));
            // A young average follows the weights closely, as in Karras et al. (arXiv 2206.00364).
            let decay = c.ema_decay.min((1.0 + f64::from(self.steps)) / (10.0 + f64::from(self.steps)));
            for (group, g) in self.groups.iter_mut().zip(gradients) {
                group.step(g * clip, learning_rate, decay, bias, &c);
            }
            norm
        })
    }

    /// Clears the gradients at the leaves.
    pub fn forget_gradients(&mut self) {
        self.slots.iter_mut().for_each(|(_, slot)| slot.leaf.zero_grad());
    }

    /// Begins at these weights; the name of the first leaf that has none of its shape, where there is one.
    pub fn begin_at(&mut self, weights: &BTreeMap<String, Tensor>) -> Result<(), String> {
        no_grad(|| {
            for (key, slot) in &mut self.slots {
                let found = weights.get(key.as_str()).filter(|t| t.size() == slot.master.size());
                slot.master.copy_(found.ok_or_else(|| key.clone())?);
                slot.ema.copy_(&slot.master);
                slot.leaf.copy_(&slot.master);
            }
            Ok(())
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
    fn orthogonal_steps_have_equal_singular_values() {
        tch::manual_seed(1);
        for shape in [[2i64, 6, 20], [2, 20, 6]] {
            let step = orthogonalised(&Tensor::randn(shape, (Kind::Float, Device::Cpu)));
            let (_, values, _) = (step.get(1) / (0.2 * 20f64.sqrt())).svd(true, true);
            let (low, high) = (values.min().double_value(&[]), values.max().double_value(&[]));
            assert!(low > 0.5 && high < 1.4, "{low} {high}");
        }
        // Of a gradient of low rank, as few pictures give it, no direction may grow beyond that.
        let part = |shape: [i64; 2]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let step = orthogonalised(
            &part([192, 3]).matmul(&part([3, 576])).to_kind(Kind::BFloat16).to_kind(Kind::Float).unsqueeze(0),
        );
        let (_, values, _) = (step.get(0) / (0.2 * 576f64.sqrt())).svd(true, true);
        let high = values.max().double_value(&[]);
        assert!(high < 1.4, "{high}");
        let weight = |shape: &[i64]| Tensor::zeros(shape, (Kind::Float, Device::Cpu));
        assert!(is_inner_matrix("unet/down_blocks.0.resnets.0.conv1.weight", &weight(&[4, 4, 3, 3])));
        assert!(!is_inner_matrix("unet/conv_in.weight", &weight(&[4, 4, 3, 3])));
        assert!(!is_inner_matrix("unet/conv_norm_out.weight", &weight(&[4])));
        assert!(!is_inner_matrix(
            "text_encoder/text_model.embeddings.token_embedding.weight",
            &weight(&[4, 4])
        ));
    }

    #[test]
    fn a_run_begins_at_given_weights_or_names_the_one_that_is_missing() {
        let leaf = Tensor::ones([3], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let mut optimizer =
            AdamW::new([("w".to_string(), leaf.shallow_clone())].into(), AdamWConfig::default());
        let weights = |shape: i64| [("w".to_string(), Tensor::full([shape], 0.5, (Kind::Half, Device::Cpu)))];
        assert_eq!(optimizer.begin_at(&weights(2).into()), Err("w".to_string()));
        assert_eq!(optimizer.begin_at(&weights(3).into()), Ok(()));
        for tensor in [leaf.detach(), optimizer.averaged()[0].1.shallow_clone()] {
            assert_eq!(tensor.sum(Kind::Double).double_value(&[]), 1.5);
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
