//! Which model a file holds, from its keys and shapes; and, where these cannot tell (what the U-Net
//! predicts), from what stands beside them.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use imagine_unet::weights::TensorFiles;

use crate::error::PipelineError;
use crate::schedulers::SchedulerConfig;

use super::error::SingleFileError;
use super::layout::Layout;
use super::{beside, text_keys, unet_keys, vae_keys};

/// Steps of the published SD 2.0 base, the one SD 2 checkpoint known by its `global_step` to predict noise
/// (the rule of diffusers).
const SD2_BASE_STEPS: f64 = 875_000.0;
/// Markers that training tools leave in SDXL files that predict velocity and have zero terminal SNR.
const V_MARKER: &str = "v_pred";
const ZERO_SNR_MARKER: &str = "ztsnr";

/// The family of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BaseModel {
    /// Stable Diffusion 1.x: CLIP ViT-L.
    Sd1,
    /// Stable Diffusion 2.x: OpenCLIP ViT-H.
    Sd2,
    /// Stable Diffusion XL base: both CLIP ViT-L and OpenCLIP bigG.
    Sdxl,
}

impl BaseModel {
    /// Side of the pictures that the published models were trained on; SD 2.x with v-prediction saw larger ones.
    pub(super) fn picture_size(self) -> i64 {
        if self == Self::Sdxl { 1024 } else { 512 }
    }

    /// Scale of the latents.
    pub(super) fn scaling_factor(self) -> f64 {
        if self == Self::Sdxl { 0.13025 } else { 0.18215 }
    }
}

/// What the U-Net predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prediction {
    /// The noise.
    Epsilon,
    /// The velocity.
    V,
}

impl FromStr for Prediction {
    type Err = PipelineError;

    /// As diffusers spells `prediction_type`.
    fn from_str(value: &str) -> Result<Self, PipelineError> {
        match value {
            "epsilon" => Ok(Self::Epsilon),
            "v_prediction" => Ok(Self::V),
            _ => Err(PipelineError::Choice {
                what: "prediction",
                value: value.to_string(),
                known: "epsilon, v_prediction",
            }),
        }
    }
}

/// How it is known what the U-Net predicts: shapes cannot tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionSource {
    /// The caller said it.
    Asked,
    /// The file's metadata (`modelspec.prediction_type` or `modelspec.architecture`).
    Metadata,
    /// A tensor called `v_pred`.
    Marker,
    /// The configuration beside the file (`NAME.yaml`).
    Beside,
    /// The number of training steps in a `.ckpt`.
    GlobalStep,
    /// What is usual for the family: velocity for SD 2.x (not for its inpainting model), else noise.
    Usual,
}

/// What a single file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SingleFileKind {
    pub base: BaseModel,
    /// The U-Net also takes a mask and the masked picture.
    pub inpainting: bool,
    pub prediction: Prediction,
    pub prediction_source: PredictionSource,
    /// The noise schedule ends in pure noise.
    pub zero_terminal_snr: bool,
}

impl fmt::Display for SingleFileKind {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let base = match self.base {
            BaseModel::Sd1 => "Stable Diffusion 1.x",
            BaseModel::Sd2 => "Stable Diffusion 2.x",
            BaseModel::Sdxl => "Stable Diffusion XL",
        };
        let inpainting = if self.inpainting { " inpainting" } else { "" };
        let prediction = match (self.base, self.prediction) {
            (_, Prediction::V) => " (v-prediction)",
            (BaseModel::Sd2, Prediction::Epsilon) => " (epsilon)",
            _ => "",
        };
        write!(f, "{base}{inpainting}{prediction}")
    }
}

impl SingleFileKind {
    /// The kind of a file, from its keys and shapes alone: no weight is read.
    ///
    /// # Errors
    /// As [`super::SingleFile::open`], for what is no checkpoint of a known kind.
    pub fn of_file(file: &Path) -> Result<Self, SingleFileError> {
        Self::infer(&Layout::new(TensorFiles::open(&[file.to_path_buf()])?), None)
    }

    /// Infers the kind; `asked` overrides what is known of the prediction.
    pub(super) fn infer(layout: &Layout, asked: Option<Prediction>) -> Result<Self, SingleFileError> {
        refuse_others(layout)?;
        let base = base_model(layout)?;
        let inpainting = is_inpainting(layout)?;
        let (prediction, prediction_source) = prediction(layout, base, inpainting, asked);
        let zero_terminal_snr = layout.has(ZERO_SNR_MARKER);
        Ok(Self { base, inpainting, prediction, prediction_source, zero_terminal_snr })
    }

    /// Side of the pictures it was trained on: not in the file, that of the published models.
    pub fn picture_size(&self) -> i64 {
        match self.base {
            BaseModel::Sd2 if self.prediction == Prediction::V => 768,
            base => base.picture_size(),
        }
    }

    pub(super) fn latent_size(&self) -> i64 {
        self.picture_size() / 8
    }

    /// Scale of the latents: not in the file either.
    pub(super) fn scaling_factor(&self) -> f64 {
        self.base.scaling_factor()
    }

    /// The scheduler of the published folder of this kind, which `from_single_file` of diffusers takes too.
    pub fn scheduler(&self) -> SchedulerConfig {
        let class = match (self.base, self.inpainting, self.prediction) {
            (BaseModel::Sdxl, ..) => "EulerDiscreteScheduler",
            (_, true, _) | (BaseModel::Sd2, _, Prediction::V) => "DDIMScheduler",
            _ => "PNDMScheduler",
        };
        let mut config = SchedulerConfig::default();
        config.set("_class_name", class);
        config.set("beta_schedule", "scaled_linear");
        config.set("beta_start", 0.00085);
        config.set("beta_end", 0.012);
        config.set("num_train_timesteps", 1000);
        config.set("clip_sample", false);
        config.set("set_alpha_to_one", false);
        config.set("skip_prk_steps", true);
        config.set("steps_offset", 1);
        config.set(
            "prediction_type",
            if self.prediction == Prediction::V { "v_prediction" } else { "epsilon" },
        );
        if self.base == BaseModel::Sdxl {
            config.set("interpolation_type", "linear");
            config.set("sample_max_value", 1.0);
            config.set("timestep_spacing", "leading");
            config.set("use_karras_sigmas", false);
        }
        if self.zero_terminal_snr {
            config.set("rescale_betas_zero_snr", true);
        }
        config
    }
}

/// Other kinds of file, by the start of a key that only they have: what they are and what to do.
const OTHERS: [(&[&str], &str, &str); 15] = [
    (
        &["model.diffusion_model.joint_blocks.", "joint_blocks."],
        "Stable Diffusion 3",
        "it has a diffusion transformer instead of a U-Net",
    ),
    (
        &["model.diffusion_model.double_blocks.", "double_blocks.", "transformer_blocks."],
        "Flux",
        "it has a diffusion transformer instead of a U-Net",
    ),
    (
        &["conditioner.embedders.0.model."],
        "the SDXL refiner",
        "it only finishes the pictures of the base model; take the base model",
    ),
    (&["edm_mean", "edm_vpred."], "a model of the EDM formulation", "only noise and velocity are known"),
    (
        &["control_model.", "controlnet_cond_embedding.", "input_hint_block."],
        "a ControlNet",
        "it is no model by itself",
    ),
    (
        &["lora_unet_", "lora_te", "unet.down_blocks.", "text_encoder.", "diffusion_model."],
        "a LoRA",
        "it changes a model and is none itself",
    ),
    (
        &["image_proj.", "ip_adapter.", "id_encoder."],
        "an identity or image adapter",
        "it is added to a model and is none itself",
    ),
    (
        &["down_blocks.", "mid_block.", "encoder.down_blocks.", "decoder.mid_block."],
        "one part of a diffusers checkpoint",
        "give the whole folder, the one that holds model_index.json; a U-Net alone goes over a model with --unet",
    ),
    (&["text_model.", "transformer.resblocks."], "a text encoder", "give a whole checkpoint"),
    (&["encoder.down.", "decoder.up."], "an autoencoder", "give a whole checkpoint"),
    (&["input_blocks.", "output_blocks."], "a U-Net alone", "give a whole checkpoint"),
    (&["emb_params", "string_to_param."], "a textual inversion", "it is a word and no model"),
    (&["clip_txt_mapper.", "clip_mapper."], "Stable Cascade", "it has other networks"),
    (
        &["model.diffusion_model.label_emb.weight", "low_scale_model."],
        "an upscaler",
        "it enlarges pictures and draws none",
    ),
    (
        &["depth_model.", "noise_augmentor.", "embedder.model.", "model.diffusion_model.time_stack"],
        "a model that is conditioned on a picture",
        "only text, inpainting and identity are",
    ),
];

fn refuse_others(layout: &Layout) -> Result<(), SingleFileError> {
    // Marks of a whole checkpoint outweigh those of a file that is a part of one.
    let whole = layout.has_prefix(unet_keys::PREFIX);
    for (prefixes, what, reason) in OTHERS {
        let telling = |prefix: &&&str| {
            let outweighed = ["text_encoder.", "text_model.", "transformer_blocks.", "diffusion_model."];
            !(whole && outweighed.contains(*prefix)) && layout.has_prefix(prefix)
        };
        if prefixes.iter().find(telling).is_some() {
            let (file, what, reason) = (layout.file(), what.to_string(), reason.to_string());
            return Err(SingleFileError::Unsupported { file, what, reason });
        }
    }
    if whole {
        return Ok(());
    }
    let reason = format!("it holds no U-Net ({}*)", unet_keys::PREFIX);
    Err(SingleFileError::NotACheckpoint { file: layout.file(), reason })
}

fn base_model(layout: &Layout) -> Result<BaseModel, SingleFileError> {
    let base = match (
        layout.has_prefix(text_keys::SDXL_1) && layout.has_prefix(text_keys::SDXL_2),
        layout.has_prefix(text_keys::SD2),
        layout.has_prefix(text_keys::SD1),
    ) {
        (true, false, false) => BaseModel::Sdxl,
        (false, true, false) => BaseModel::Sd2,
        (false, false, true) => BaseModel::Sd1,
        (false, false, false) => {
            let reason = format!(
                "it holds no text encoder ({}*, {}*, or both {}* and {}*); take the full checkpoint",
                text_keys::SD1,
                text_keys::SD2,
                text_keys::SDXL_1,
                text_keys::SDXL_2
            );
            return Err(SingleFileError::NotACheckpoint { file: layout.file(), reason });
        }
        _ => {
            let reason = "it holds the text encoders of several models".into();
            return Err(SingleFileError::NotACheckpoint { file: layout.file(), reason });
        }
    };
    let has_labels = layout.has_prefix("model.diffusion_model.label_emb.");
    if has_labels != (base == BaseModel::Sdxl) {
        let reason = match base {
            BaseModel::Sdxl => "its U-Net takes no pooled text (label_emb), unlike SDXL's",
            // SD 2.1 unCLIP.
            _ => "its U-Net takes an embedding beside the text (label_emb), as of a picture",
        };
        let what = "this combination of U-Net and text encoder".into();
        return Err(SingleFileError::Unsupported { file: layout.file(), what, reason: reason.into() });
    }
    Ok(base)
}

fn is_inpainting(layout: &Layout) -> Result<bool, SingleFileError> {
    let key = format!("{}input_blocks.0.0.weight", unet_keys::PREFIX);
    let channels = layout.dim(&key, 1)?;
    // Without an autoencoder what the U-Net puts out tells it.
    let latent = match vae_keys::latent_channels(layout)? {
        Some(latent) => latent,
        None => layout.dim(&format!("{}out.2.weight", unet_keys::PREFIX), 0)?,
    };
    if channels == latent {
        return Ok(false);
    }
    // The noisy latents, a mask, the masked picture's latents.
    if channels == 2 * latent + 1 {
        return Ok(true);
    }
    let what = format!("a U-Net of {channels} input channels ({key})");
    let reason = match channels - latent {
        1 => "a fifth channel is a depth map",
        n if n == latent => "as many again are another picture (InstructPix2Pix)",
        _ => "4 are text to image and 9 inpainting",
    };
    Err(SingleFileError::Unsupported { file: layout.file(), what, reason: reason.into() })
}

fn prediction(
    layout: &Layout,
    base: BaseModel,
    inpainting: bool,
    asked: Option<Prediction>,
) -> (Prediction, PredictionSource) {
    if let Some(asked) = asked {
        return (asked, PredictionSource::Asked);
    }
    if layout.has(V_MARKER) {
        return (Prediction::V, PredictionSource::Marker);
    }
    let metadata = |key: &str| layout.files.metadata(key).map(str::to_ascii_lowercase);
    match metadata("modelspec.prediction_type").as_deref() {
        Some("v" | "v_prediction") => return (Prediction::V, PredictionSource::Metadata),
        Some("epsilon") => return (Prediction::Epsilon, PredictionSource::Metadata),
        _ => {}
    }
    match metadata("modelspec.architecture").as_deref() {
        Some("stable-diffusion-v2-768-v") => return (Prediction::V, PredictionSource::Metadata),
        Some("stable-diffusion-v2-512") => return (Prediction::Epsilon, PredictionSource::Metadata),
        _ => {}
    }
    if let Some(said) = beside::prediction(&layout.file()) {
        return (said, PredictionSource::Beside);
    }
    if base != BaseModel::Sd2 || inpainting {
        return (Prediction::Epsilon, PredictionSource::Usual);
    }
    match layout.files.number("global_step") {
        Some(SD2_BASE_STEPS) => (Prediction::Epsilon, PredictionSource::GlobalStep),
        Some(_) => (Prediction::V, PredictionSource::GlobalStep),
        None => (Prediction::V, PredictionSource::Usual),
    }
}

/// Tells a scheduler what the markers of a file that is not a whole checkpoint say.
pub(crate) fn tell(files: &TensorFiles, scheduler: &mut SchedulerConfig) {
    if files.shape(V_MARKER).is_some() {
        scheduler.set("prediction_type", "v_prediction");
    }
    if files.shape(ZERO_SNR_MARKER).is_some() {
        scheduler.set("rescale_betas_zero_snr", true);
    }
}

/// Keys that checkpoints hold and that no part needs: a second, averaged U-Net; constants of the noise
/// schedule; what was used in training only (textual inversion's manager among it); CLIP's picture half; markers.
pub(crate) fn is_ignored(key: &str) -> bool {
    const WHOLE: [&str; 8] = [
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "betas",
        "global_step",
        "logvar",
        "scale_factor",
        V_MARKER,
        ZERO_SNR_MARKER,
    ];
    const STARTS: [&str; 12] = [
        "cond_stage_model.transformer.vision_model.",
        "cond_stage_model.transformer.visual_projection.",
        "denoiser.",
        "embedding_manager.",
        "first_stage_model.loss.",
        "log_one_minus_",
        "lvlb_weights",
        "model_ema.",
        "posterior_",
        "sqrt_",
        "first_stage_model.model_ema.",
        "optimizer_states.",
    ];
    const TEXT_ENDS: [&str; 4] =
        ["embeddings.position_ids", "logit_scale", "attn_mask", "text_projection.weight"];
    let is_text = key.starts_with("cond_stage_model.") || key.starts_with("conditioner.embedders.");
    WHOLE.contains(&key)
        || STARTS.iter().any(|start| key.starts_with(start))
        || is_text && TEXT_ENDS.iter().any(|end| key.ends_with(end))
}

/// Keys of SD 2.x's OpenCLIP that its published folder leaves out too: the projection and the last layer.
pub(super) fn is_unused_open_clip(key: &str) -> bool {
    key.strip_prefix(text_keys::SD2)
        .is_some_and(|rest| rest == "text_projection" || rest.starts_with("transformer.resblocks.23."))
}
