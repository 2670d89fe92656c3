//! The forward process in training: betas as in the checkpoint's scheduler, v-prediction targets
//! (arXiv 2202.00512).

use tch::{Device, Kind, Tensor};

use crate::recipe::{
    BETA_END, BETA_START, FACE_PART, FACE_WEIGHT, TIMESTEP_CENTRE, TIMESTEP_SPREAD, TRAIN_STEPS,
};

/// Cumulative signal levels of the noise schedule.
pub struct NoiseSchedule {
    /// [T], f32
    alphas_cumprod: Tensor,
}

impl NoiseSchedule {
    /// `scaled_linear` betas.
    pub fn new(device: Device) -> Self {
        let ends = (BETA_START.sqrt(), BETA_END.sqrt());
        let betas = Tensor::linspace(ends.0, ends.1, TRAIN_STEPS, (Kind::Double, device)).square();
        Self { alphas_cumprod: (1.0f64 - betas).cumprod(0, Kind::Double).to_kind(Kind::Float) }
    }

    /// Timesteps [rows], one from each of `rows` equally likely parts of the distribution: less variance
    /// than independent draws. Logit-normal, as in Esser et al. (arXiv 2403.03206): the middle of the range,
    /// where faces take shape, is drawn most often.
    pub fn draw(&self, rows: i64, device: Device) -> Tensor {
        // Drawn on the CPU: the same for a seed wherever the networks compute, and CUDA compiles this function
        // when it is first asked for.
        let options = (Kind::Float, Device::Cpu);
        let spread = Tensor::arange(rows, options) + Tensor::rand([rows], options);
        let normal = (spread / rows as f64).clamp(1e-4, 1.0 - 1e-4).special_ndtri(); // [rows]
        let part = (normal * TIMESTEP_SPREAD + TIMESTEP_CENTRE).sigmoid();
        (part * TRAIN_STEPS as f64)
            .floor()
            .clamp(0.0, (TRAIN_STEPS - 1) as f64)
            .to_kind(Kind::Int64)
            .to_device(device)
    }

    /// Signal and noise factors of each row: 2 × [B, 1, 1, 1]
    fn factors(&self, steps: &Tensor) -> (Tensor, Tensor) {
        let level = self.alphas_cumprod.index_select(0, steps).view([-1, 1, 1, 1]); // [B, 1, 1, 1]
        (level.sqrt(), (1.0f64 - &level).sqrt())
    }

    /// Clean latents with the noise of each row's timestep.
    pub fn add_noise(&self, clean: &Tensor, noise: &Tensor, steps: &Tensor) -> Tensor {
        let (signal, spread) = self.factors(steps);
        signal * clean + spread * noise
    }

    /// Clean latents that a predicted velocity stands for, and the signal factor of each row:
    /// [B, C, h, w], [B, 1, 1, 1]
    pub fn clean(&self, noisy: &Tensor, velocity: &Tensor, steps: &Tensor) -> (Tensor, Tensor) {
        let (signal, spread) = self.factors(steps);
        (&signal * noisy - spread * velocity, signal)
    }

    /// A deterministic step (DDIM, arXiv 2010.02502) from `steps` to the lower `next`.
    pub fn stride(&self, noisy: &Tensor, velocity: &Tensor, steps: &Tensor, next: &Tensor) -> Tensor {
        let (signal, spread) = self.factors(steps);
        let clean = &signal * noisy - &spread * velocity;
        let noise = spread * noisy + signal * velocity;
        self.add_noise(&clean, &noise, next)
    }

    /// The target of v-prediction.
    pub fn velocity(&self, clean: &Tensor, noise: &Tensor, steps: &Tensor) -> Tensor {
        let (signal, spread) = self.factors(steps);
        signal * noise - spread * clean
    }
}

/// Weight of each latent cell in the loss, of mean one: the face counts more than what is around it.
/// [1, 1, side, side]
pub fn face_weights(side: i64, device: Device) -> Tensor {
    let weights = Tensor::ones([1, 1, side, side], (Kind::Float, device));
    let part = |of: f64| (side as f64 * of).round() as i64;
    let ((left, right), (top, bottom)) = FACE_PART;
    let mut face = weights.narrow(3, part(left), part(right) - part(left)).narrow(
        2,
        part(top),
        part(bottom) - part(top),
    );
    let _ = face.fill_(FACE_WEIGHT);
    &weights / weights.mean(Kind::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_velocity_leads_back_to_the_clean_latents() {
        tch::manual_seed(1);
        let schedule = NoiseSchedule::new(Device::Cpu);
        let clean = Tensor::randn([5, 2, 4, 4], (Kind::Float, Device::Cpu));
        let (noise, steps) = (clean.randn_like(), schedule.draw(5, Device::Cpu));
        let noisy = schedule.add_noise(&clean, &noise, &steps);
        let (found, signal) = schedule.clean(&noisy, &schedule.velocity(&clean, &noise, &steps), &steps);
        assert!(found.allclose(&clean, 1e-4, 1e-4, false));
        assert_eq!(signal.size(), [5, 1, 1, 1]);
        // with the true velocity a stride leads to the same picture with less of the same noise
        let next = steps.divide_scalar_mode(2, "floor");
        let strode = schedule.stride(&noisy, &schedule.velocity(&clean, &noise, &steps), &steps, &next);
        assert!(strode.allclose(&schedule.add_noise(&clean, &noise, &next), 1e-4, 1e-4, false));
    }
}
