//! A critic that tells decoded pictures from renders, patch by patch, so that a decoder draws edges and eyes instead of
//! the mean of all that may be there (PatchGAN, arXiv 1611.07004; for autoencoders arXiv 2012.09841).

use imagine_unet::layers::{Conv2d, GroupNorm};
use imagine_unet::{Vs, Weights, WeightsError};
use tch::{Device, Kind, Tensor};

use crate::diffusion::face_weights;
use crate::optimizer::{AdamW, AdamWConfig};

/// Channels behind each halving of the picture: a score is of a patch of 8 pixels and what is around it.
const CHANNELS: [i64; 3] = [32, 64, 128];
const GROUPS: i64 = 8;
/// How much its features count beside its verdict.
const FEATURES_WEIGHT: f64 = 4.0;

struct Network {
    convolutions: Vec<(Conv2d, Option<GroupNorm>)>,
    score: Conv2d,
}

impl Network {
    fn new(vs: &Vs) -> Result<Self, WeightsError> {
        let mut inputs = 3;
        let mut convolutions = Vec::new();
        for (level, channels) in CHANNELS.into_iter().enumerate() {
            let vs = vs / format!("down{level}");
            let conv = Conv2d::new(&(&vs / "conv"), inputs, channels, 4, 2, 1)?;
            // What is right in front of the pixels keeps their contrast.
            let norm =
                (level > 0).then(|| GroupNorm::new(&(&vs / "norm"), GROUPS, channels, 1e-5)).transpose()?;
            convolutions.push((conv, norm));
            inputs = channels;
        }
        Ok(Self { convolutions, score: Conv2d::new(&(vs / "score"), inputs, 1, 3, 1, 1)? })
    }

    /// Pictures [B, 3, S, S] in [-1, 1] → features of each level, [B, C, s, s], and the scores, [B, 1, S/8, S/8]
    fn forward(&self, pixels: &Tensor) -> (Vec<Tensor>, Tensor) {
        let mut features: Vec<Tensor> = Vec::new();
        for (conv, norm) in &self.convolutions {
            let x = conv.forward(features.last().unwrap_or(pixels));
            features.push(match norm {
                Some(norm) => norm.forward_silu(&x),
                None => x.silu(),
            });
        }
        let scores = self.score.forward(features.last().unwrap_or(pixels)).to_kind(Kind::Float);
        (features, scores)
    }
}

/// The critic and what it learns with. No snapshot holds it: a run that is gone on with begins another.
pub struct Discriminator {
    network: Network,
    optimizer: AdamW,
    kind: Kind,
    device: Device,
}

impl Discriminator {
    /// One that knows nothing yet.
    pub fn new(device: Device, kind: Kind) -> Result<Self, WeightsError> {
        let weights = Weights::fresh(device, kind);
        let network = Network::new(&weights.root())?;
        let config = AdamWConfig { beta1: 0.5, beta2: 0.9, ..Default::default() };
        Ok(Self { network, optimizer: AdamW::new(weights.parameters(), config), kind, device })
    }

    /// Mean over all patches [B, 1, s, s], of which those of the face count more.
    fn mean(&self, patches: &Tensor) -> Tensor {
        (patches * face_weights(patches.size()[3], self.device)).mean(Kind::Float)
    }

    /// What decoded pictures [B, 3, S, S] lose by not being taken for the renders [B, 3, S, S] that they are of: the
    /// verdict on them, and how far its features are from those of the renders (feature matching, arXiv 1711.11585).
    pub fn loss(&self, made: &Tensor, real: &Tensor) -> Tensor {
        let (seen, scores) = self.network.forward(&made.to_kind(self.kind));
        let (wanted, _) = tch::no_grad(|| self.network.forward(&real.to_kind(self.kind)));
        let unlike = seen.iter().zip(&wanted).map(|(seen, wanted)| (seen - wanted).abs().mean(Kind::Float));
        let unlike: Tensor = unlike.sum();
        unlike * (FEATURES_WEIGHT / CHANNELS.len() as f64) - self.mean(&scores)
    }

    /// Learns to tell `made` from `real` with the hinge loss, and returns it: 2 where it cannot tell at all.
    pub fn learn(&mut self, made: &Tensor, real: &Tensor, rate: f64) -> f64 {
        // `loss` has left gradients here that are not its own.
        self.optimizer.forget_gradients();
        let score =
            |pixels: &Tensor| -> Tensor { self.network.forward(&pixels.detach().to_kind(self.kind)).1 };
        let loss = self.mean(&(-score(real) + 1.0).relu()) + self.mean(&(score(made) + 1.0).relu());
        loss.backward();
        self.optimizer.step(rate);
        loss.double_value(&[])
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn it_learns_to_tell_blurred_pictures_and_its_loss_then_asks_for_sharp_ones() {
        tch::manual_seed(3);
        let mut critic = Discriminator::new(Device::Cpu, Kind::Float).unwrap();
        let sharp = || (Tensor::rand([4, 3, 32, 32], (Kind::Float, Device::Cpu)) * 2.0 - 1.0).sign();
        let blurred = |x: &Tensor| x.avg_pool2d([3, 3], [1, 1], [1, 1], false, true, None);
        let first = critic.learn(&blurred(&sharp()), &sharp(), 1e-3);
        for _ in 0..60 {
            critic.learn(&blurred(&sharp()), &sharp(), 1e-3);
        }
        let last = critic.learn(&blurred(&sharp()), &sharp(), 1e-3);
        assert!(first > 1.5 && last < 0.2, "{first} {last}");
        // Half way back to the render is better, and the gradient says so.
        let real = sharp();
        let soft = blurred(&real).set_requires_grad(true);
        let loss = critic.loss(&soft, &real);
        loss.backward();
        let towards = (soft.grad() * (&real - &soft)).sum(Kind::Float).double_value(&[]);
        assert!(towards < 0.0, "{towards}");
        let half = (&soft + &real) / 2.0;
        assert!(critic.loss(&half, &real).double_value(&[]) < loss.double_value(&[]));
    }
}
