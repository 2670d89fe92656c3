//! The table of the recipes.

use super::{Base, Preset, PresetLora, Setting};
use crate::schedulers::SchedulerKind;

const TRAILING: Setting = Setting::Text("timestep_spacing", "trailing");

const fn lightning(file: &'static str, fragment: &'static str) -> PresetLora {
    PresetLora { base: Base::Sdxl, repository: "ByteDance/SDXL-Lightning", file, fragment }
}

const fn hyper(base: Base, file: &'static str, fragment: &'static str) -> PresetLora {
    PresetLora { base, repository: "ByteDance/Hyper-SD", file, fragment }
}

/// SDXL-Lightning: Euler on trailing timesteps.
const fn lightning_preset(name: &'static str, steps: u32, loras: &'static [PresetLora]) -> Preset {
    Preset {
        name,
        about: "SDXL-Lightning LoRA; each file is for its own number of steps",
        steps,
        guidance_scale: 0.0,
        loras,
        side: None,
        bases: &[Base::Sdxl],
        kind: SchedulerKind::Euler,
        keeps: &[],
        settings: &[TRAILING],
    }
}

/// Hyper-SD for 2, 4 and 8 steps: DDIM on trailing timesteps.
const fn hyper_preset(name: &'static str, steps: u32, loras: &'static [PresetLora]) -> Preset {
    Preset {
        name,
        about: "Hyper-SD LoRA; each file is for its own number of steps",
        steps,
        guidance_scale: 0.0,
        loras,
        side: None,
        bases: &[Base::Sd15, Base::Sdxl],
        kind: SchedulerKind::Ddim,
        keeps: &[],
        settings: &[TRAILING],
    }
}

/// SDXL in one or a few steps at timesteps that are named one by one.
const fn distilled_at(
    name: &'static str,
    about: &'static str,
    steps: u32,
    loras: &'static [PresetLora],
    settings: &'static [Setting],
) -> Preset {
    Preset {
        name,
        about,
        steps,
        guidance_scale: 0.0,
        loras,
        side: None,
        bases: &[Base::Sdxl],
        kind: SchedulerKind::Lcm,
        keeps: &[],
        settings,
    }
}

/// All recipes, in the order in which help should list them.
pub const PRESETS: [Preset; 14] = [
    Preset {
        name: "lcm",
        about: "latent consistency models, whose U-Net takes the guidance as a number; 2 to 8 steps",
        steps: 4,
        guidance_scale: 8.0,
        loras: &[],
        side: None,
        bases: &[Base::Sd15, Base::Sdxl],
        kind: SchedulerKind::Lcm,
        keeps: &[],
        settings: &[],
    },
    Preset {
        name: "lcm-lora",
        about: "LCM-LoRA, 2 to 8 steps; guidance up to 2 works too",
        steps: 4,
        guidance_scale: 0.0,
        loras: &[
            PresetLora {
                base: Base::Sd15,
                repository: "latent-consistency/lcm-lora-sdv1-5",
                file: "pytorch_lora_weights.safetensors",
                fragment: "lcm-lora-sdv1-5",
            },
            PresetLora {
                base: Base::Sdxl,
                repository: "latent-consistency/lcm-lora-sdxl",
                file: "pytorch_lora_weights.safetensors",
                fragment: "lcm-lora-sdxl",
            },
        ],
        side: None,
        bases: &[Base::Sd15, Base::Sdxl],
        kind: SchedulerKind::Lcm,
        keeps: &[],
        settings: &[],
    },
    Preset {
        about: "SDXL-Lightning's U-Net for one step, which predicts the picture itself",
        settings: &[TRAILING, Setting::Text("prediction_type", "sample")],
        ..lightning_preset("lightning-1", 1, &[])
    },
    lightning_preset(
        "lightning-2",
        2,
        &[lightning("sdxl_lightning_2step_lora.safetensors", "sdxl_lightning_2step_lora")],
    ),
    lightning_preset(
        "lightning-4",
        4,
        &[lightning("sdxl_lightning_4step_lora.safetensors", "sdxl_lightning_4step_lora")],
    ),
    lightning_preset(
        "lightning-8",
        8,
        &[lightning("sdxl_lightning_8step_lora.safetensors", "sdxl_lightning_8step_lora")],
    ),
    Preset {
        name: "hyper-sd-1",
        about: "Hyper-SD's LoRA for one step; with more steps a smaller eta gives more detail",
        steps: 1,
        guidance_scale: 0.0,
        loras: &[
            hyper(Base::Sd15, "Hyper-SD15-1step-lora.safetensors", "hyper-sd15-1step-lora"),
            hyper(Base::Sdxl, "Hyper-SDXL-1step-lora.safetensors", "hyper-sdxl-1step-lora"),
        ],
        side: None,
        bases: &[Base::Sd15, Base::Sdxl],
        kind: SchedulerKind::Tcd,
        keeps: &[],
        settings: &[Setting::Number("eta", 1.0)],
    },
    hyper_preset(
        "hyper-sd-2",
        2,
        &[
            hyper(Base::Sd15, "Hyper-SD15-2steps-lora.safetensors", "hyper-sd15-2steps-lora"),
            hyper(Base::Sdxl, "Hyper-SDXL-2steps-lora.safetensors", "hyper-sdxl-2steps-lora"),
        ],
    ),
    hyper_preset(
        "hyper-sd-4",
        4,
        &[
            hyper(Base::Sd15, "Hyper-SD15-4steps-lora.safetensors", "hyper-sd15-4steps-lora"),
            hyper(Base::Sdxl, "Hyper-SDXL-4steps-lora.safetensors", "hyper-sdxl-4steps-lora"),
        ],
    ),
    hyper_preset(
        "hyper-sd-8",
        8,
        &[
            hyper(Base::Sd15, "Hyper-SD15-8steps-lora.safetensors", "hyper-sd15-8steps-lora"),
            hyper(Base::Sdxl, "Hyper-SDXL-8steps-lora.safetensors", "hyper-sdxl-8steps-lora"),
        ],
    ),
    distilled_at(
        "hyper-sdxl-1-unet",
        "Hyper-SD's U-Net for SDXL in one step",
        1,
        &[],
        &[Setting::Counts("timesteps", &[800])],
    ),
    Preset {
        name: "turbo",
        about: "SD Turbo and SDXL Turbo checkpoints, 1 to 4 steps, 512 pixels",
        steps: 1,
        guidance_scale: 0.0,
        loras: &[],
        side: Some(512),
        bases: &[Base::Sd21, Base::Sdxl],
        kind: SchedulerKind::EulerAncestral,
        // SD Turbo is published with Euler, SDXL Turbo with its ancestral kin.
        keeps: &[SchedulerKind::Euler, SchedulerKind::EulerAncestral],
        settings: &[TRAILING],
    },
    distilled_at(
        "dmd2-4",
        "DMD2's LoRA for four steps",
        4,
        &[PresetLora {
            base: Base::Sdxl,
            repository: "tianweiy/DMD2",
            file: "dmd2_sdxl_4step_lora_fp16.safetensors",
            fragment: "dmd2_sdxl_4step_lora",
        }],
        // The quarters of training that it was distilled at, not LCM's fiftieths.
        &[Setting::Counts("timesteps", &[999, 749, 499, 249])],
    ),
    distilled_at("dmd2-1", "DMD2's U-Net for one step", 1, &[], &[Setting::Counts("timesteps", &[399])]),
];
