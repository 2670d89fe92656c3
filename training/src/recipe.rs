//! The starter model's sizes and the numbers of its training, in one place.

use std::path::Path;
use std::time::Duration;

use imagine_encoders::ClipTextConfig;
use imagine_identity::adapters::FaceIdSizes;
use imagine_unet::{AutoencoderKlConfig, UNetConfig};
use serde_json::{Value, json};

use crate::error::TrainingError;
use crate::files::write_json;

/// Pixels along a side.
pub const PICTURE_SIZE: i64 = 128;
/// Pixels of a latent cell's side, and latent channels.
pub const LATENT_CELL: i64 = 8;
pub const LATENT_CHANNELS: i64 = 12;
/// The part of a 128 × 128 render that is shown: left, top and side in pixels. Renders are framed as portraits.
pub const FRAMING: (u32, u32, u32) = (0, 0, 128);
/// Side of a render in pixels, which `FRAMING` is measured in.
pub const RENDER_SIZE: u32 = 128;
/// Token positions of the text encoder.
pub const TEXT_LENGTH: i64 = 48;
/// Width of the text condition and of identity tokens.
pub const CROSS_DIM: i64 = 128;
/// Pictures of which latents are computed together on a CPU.
pub const ENCODED_AT_ONCE: usize = 64;
/// Standard deviation of the noise on latents while the autoencoder is trained.
pub const LATENT_SPREAD: f64 = 0.1;
/// Weights of the latents' mean square and of the spread that the encoder reports.
pub const LATENT_SIZE_WEIGHT: f64 = 1e-3;
pub const LATENT_SPREAD_WEIGHT: f64 = 1e-3;
/// Centre and spread of the timesteps' logit-normal distribution.
pub const TIMESTEP_CENTRE: f64 = -0.4;
pub const TIMESTEP_SPREAD: f64 = 1.0;
/// Where faces are in the framed pictures, in parts of the side: left and right, top and bottom.
pub const FACE_PART: ((f64, f64), (f64, f64)) = ((0.3125, 0.6875), (0.25, 0.6875));
/// How much more an error there counts than elsewhere.
pub const FACE_WEIGHT: f64 = 3.0;
/// Where the identity loss begins with a noisy render: timesteps, at which little but outlines is left.
pub const ROLLOUT_FROM: (f64, f64) = (550.0, 950.0);
/// Lowest timestep at which it looks at a prediction, and the highest as a part of where it began.
pub const ROLLOUT_LAST: f64 = 50.0;
pub const ROLLOUT_PART: f64 = 0.6;
/// Longest stride on the way, in timesteps.
pub const ROLLOUT_STRIDE: f64 = 170.0;
/// How often each condition is left out in training, for classifier-free guidance.
pub const DROP_TEXT: f64 = 0.08;
pub const DROP_IDENTITY: f64 = 0.08;
pub const DROP_BOTH: f64 = 0.06;

/// Of what is known of the person: how often a group of the card is left out, a part of one, and whether there is a
/// beard, which no photo tells.
pub const DROP_GROUP: f64 = 0.08;
pub const DROP_PART: f64 = 0.15;
pub const DROP_BEARD: f64 = 0.5;
/// Standard deviations of the noise on the descriptor's numbers (of variance one), on the colours (Lab), and on the
/// age in years.
pub const DESCRIPTOR_NOISE: f32 = 0.25;
pub const COLOUR_NOISE: f32 = 1.5;
pub const AGE_NOISE: f32 = 4.0;
/// The forward process: `scaled_linear` betas.
pub const TRAIN_STEPS: i64 = 1000;
pub const BETA_START: f64 = 0.00085;
pub const BETA_END: f64 = 0.012;

/// The MLPs of the card's groups: descriptor, colours, traits.
pub const IDENTITY: [FaceIdSizes; 3] = [
    FaceIdSizes { embedding: 129, hidden: 384, tokens: 4, cross_dim: CROSS_DIM },
    FaceIdSizes { embedding: 8, hidden: 128, tokens: 2, cross_dim: CROSS_DIM },
    FaceIdSizes { embedding: 11, hidden: 128, tokens: 2, cross_dim: CROSS_DIM },
];

/// Timesteps between which a model is distilled, evenly spaced: `original_inference_steps` of `LCMScheduler`.
pub const DISTIL_STEPS: i64 = 50;

/// Learning rate over a run that is limited by time.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub peak: f64,
    pub warmup_steps: i32,
    pub limit: Duration,
}

impl Schedule {
    /// Linear warm-up, then half a cosine to a twentieth over the time limit; none when time is up.
    pub fn rate(&self, step: i32, elapsed: Duration) -> Option<f64> {
        let progress = elapsed.as_secs_f64() / self.limit.as_secs_f64().max(1e-9);
        if progress >= 1.0 {
            return None;
        }
        let warmup = (f64::from(step + 1) / f64::from(self.warmup_steps.max(1))).min(1.0);
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        Some(self.peak * warmup * (0.05 + 0.95 * cosine))
    }
}

fn vae_json(scaling_factor: f64) -> Value {
    json!({
        "_class_name": "AutoencoderKL",
        "_diffusers_version": "0.42.1",
        "act_fn": "silu",
        "block_out_channels": [16, 32, 64, 96],
        "down_block_types": vec!["DownEncoderBlock2D"; 4],
        "up_block_types": vec!["UpDecoderBlock2D"; 4],
        "in_channels": 3,
        "out_channels": 3,
        "latent_channels": LATENT_CHANNELS,
        "layers_per_block": 1,
        "mid_block_add_attention": false,
        // One group: with few channels in each, a picture's colour would be normalised away.
        "norm_num_groups": 1,
        "sample_size": PICTURE_SIZE,
        "scaling_factor": scaling_factor,
        "force_upcast": false
    })
}

/// Channels of the U-Net's levels and their attention's heads.
const CHANNELS: [i64; 3] = [64, 128, 192];
const HEADS: [i64; 3] = [1, 2, 3];

pub fn unet_json() -> Value {
    json!({
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": "0.42.1",
        "act_fn": "silu",
        "attention_head_dim": HEADS,
        "block_out_channels": CHANNELS,
        "cross_attention_dim": CROSS_DIM,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "mid_block_type": "UNetMidBlock2DCrossAttn",
        "flip_sin_to_cos": true,
        "freq_shift": 0,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "layers_per_block": 1,
        "norm_num_groups": 16,
        "sample_size": PICTURE_SIZE / LATENT_CELL,
        "use_linear_projection": true
    })
}

/// `<|startoftext|>`, `<|endoftext|>` are the last two entries of the vocabulary, as in CLIP's.
pub fn text_json(vocabulary: i64) -> Value {
    json!({
        "architectures": ["CLIPTextModel"],
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "hidden_size": CROSS_DIM,
        "intermediate_size": 4 * CROSS_DIM,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "max_position_embeddings": TEXT_LENGTH,
        "projection_dim": CROSS_DIM,
        "hidden_act": "quick_gelu",
        "layer_norm_eps": 1e-5,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "pad_token_id": vocabulary - 1
    })
}

pub fn scheduler_json() -> Value {
    json!({
        "_class_name": "DPMSolverMultistepScheduler",
        "_diffusers_version": "0.42.1",
        "algorithm_type": "dpmsolver++",
        "solver_order": 2,
        "solver_type": "midpoint",
        "lower_order_final": true,
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": TRAIN_STEPS,
        "prediction_type": "v_prediction",
        "timestep_spacing": "trailing"
    })
}

/// By so much a picture of several people is wider for each of them beyond the first: training shows people one by one.
const WIDTH_PER_PERSON: i64 = PICTURE_SIZE * 3 / 4;

/// What suits the model, for requests that leave it open.
pub fn defaults_json() -> Value {
    json!({ "steps": 12, "guidance_scale": 2.0, "adapter": crate::export::ADAPTER_FILE, "width_per_person": WIDTH_PER_PERSON })
}

/// The scheduler of a distilled model.
pub fn few_step_scheduler_json() -> Value {
    json!({
        "_class_name": "LCMScheduler",
        "_diffusers_version": "0.42.1",
        "beta_start": BETA_START,
        "beta_end": BETA_END,
        "beta_schedule": "scaled_linear",
        "num_train_timesteps": TRAIN_STEPS,
        "original_inference_steps": DISTIL_STEPS,
        "timestep_scaling": 10.0,
        "prediction_type": "v_prediction",
        "set_alpha_to_one": true,
        "clip_sample": false
    })
}

/// A distilled model's guidance is in its weights.
pub fn few_step_defaults_json() -> Value {
    json!({ "steps": 4, "guidance_scale": 1.0, "adapter": crate::export::ADAPTER_FILE, "width_per_person": WIDTH_PER_PERSON })
}

pub fn model_index_json() -> Value {
    json!({
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.42.1",
        "requires_safety_checker": false,
        "feature_extractor": [null, null],
        "image_encoder": [null, null],
        "safety_checker": [null, null],
        "scheduler": ["diffusers", "DPMSolverMultistepScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"]
    })
}

fn parsed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap_or_else(|e| unreachable!("the recipe's own JSON: {e}"))
}

pub fn vae_config() -> AutoencoderKlConfig {
    parsed(vae_json(1.0))
}

pub fn unet_config() -> UNetConfig {
    parsed(unet_json())
}

pub fn text_config(vocabulary: i64) -> ClipTextConfig {
    parsed(text_json(vocabulary))
}

/// Writes `config.json` of the autoencoder with its measured scaling factor.
pub fn write_vae_config(folder: &Path, factor: f64) -> Result<(), TrainingError> {
    write_json(&folder.join("config.json"), &vae_json(factor))
}
