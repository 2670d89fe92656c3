//! The forward process in training: betas as in the checkpoint's scheduler, v-prediction targets
//! (arXiv 2202.00512) and Min-SNR weights (arXiv 2303.09556).

use tch::{Device, Kind, Tensor};

use crate::recipe::{BETA_END, BETA_START, MIN_SNR_GAMMA, TRAIN_STEPS};

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

    /// Timesteps [rows], one from each of `rows` equal parts of the range: less variance than
    /// independent draws.
    pub fn draw(&self, rows: i64, device: Device) -> Tensor {
        let spread =
            Tensor::arange(rows, (Kind::Float, device)) + Tensor::rand([rows], (Kind::Float, device));
        (spread / rows as f64 * TRAIN_STEPS as f64)
            .floor()
            .clamp(0.0, (TRAIN_STEPS - 1) as f64)
            .to_kind(Kind::Int64)
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

    /// The target of v-prediction.
    pub fn velocity(&self, clean: &Tensor, noise: &Tensor, steps: &Tensor) -> Tensor {
        let (signal, spread) = self.factors(steps);
        signal * noise - spread * clean
    }

    /// Min-SNR weight of each row for v-prediction: [B]
    pub fn weight(&self, steps: &Tensor) -> Tensor {
        let level = self.alphas_cumprod.index_select(0, steps);
        let snr: Tensor = &level / (1.0f64 - &level);
        snr.clamp_max(MIN_SNR_GAMMA) / (snr + 1.0)
    }
}
