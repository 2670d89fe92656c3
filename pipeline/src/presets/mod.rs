//! Recipes for pictures in a few steps, by name: the scheduler with its settings, the number of steps, the
//! guidance and the LoRA that belong together. What a person asks for explicitly wins over a recipe.
//!
//! The numbers are those of the model cards of LCM-LoRA (arXiv 2311.05556), SDXL-Lightning (2402.13929),
//! Hyper-SD (2404.13686), SD and SDXL Turbo (2311.17042) and DMD2 (2405.14867).

use std::path::Path;

use imagine_contract::GenerateRequest;
use imagine_unet::{ConfigError, UNetConfig};

use crate::schedulers::{SchedulerChoice, SchedulerConfig, SchedulerError, SchedulerKind};

mod recipes;

pub use recipes::PRESETS;

/// Why a preset cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PresetError {
    #[error("no preset is called \"{name}\"; there are: {known}")]
    Unknown { name: String, known: String },
    #[error("preset {preset} was made for {made_for}, this model is {found}")]
    Base { preset: &'static str, made_for: String, found: String },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Scheduler(#[from] SchedulerError),
}

/// The families of base models that recipes were made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    Sd15,
    Sd21,
    Sdxl,
}

impl Base {
    /// The family of a U-Net, by the width of its text condition; `None` for others, such as small models of
    /// one's own.
    pub fn of(config: &UNetConfig) -> Result<Option<Self>, ConfigError> {
        let added = config.addition_embed_type.is_some();
        Ok(Self::of_width(config.cross_dim()?).filter(|base| (*base == Self::Sdxl) == added))
    }

    /// The family whose text condition is so wide.
    pub fn of_width(width: i64) -> Option<Self> {
        match width {
            768 => Some(Self::Sd15),
            1024 => Some(Self::Sd21),
            2048 => Some(Self::Sdxl),
            _ => None,
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd15 => "SD 1.5",
            Self::Sd21 => "SD 2.1",
            Self::Sdxl => "SDXL",
        }
    }
}

/// One setting of a scheduler, under its key in `scheduler_config.json`.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Setting {
    Text(&'static str, &'static str),
    Number(&'static str, f64),
    Counts(&'static str, &'static [usize]),
}

/// A published LoRA file of a recipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PresetLora {
    pub base: Base,
    /// On the Hugging Face hub.
    pub repository: &'static str,
    pub file: &'static str,
    /// What a path on disk holds if it is this file, in lower case.
    fragment: &'static str,
}

impl PresetLora {
    /// Whether a path looks like this file; the name of a folder may tell it too.
    pub fn is_at(&self, path: &Path) -> bool {
        path.to_string_lossy().to_lowercase().contains(self.fragment)
    }
}

/// A recipe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Preset {
    pub name: &'static str,
    /// One line for help texts.
    pub about: &'static str,
    pub steps: u32,
    /// 1 and less is without guidance, and with half the work.
    pub guidance_scale: f64,
    /// The LoRA at weight 1, one file for each base; none if the recipe is for a whole checkpoint.
    pub loras: &'static [PresetLora],
    /// Pixels along a side that its checkpoint draws best at, where that differs from its family's.
    pub side: Option<u32>,
    bases: &'static [Base],
    kind: SchedulerKind,
    /// Kinds that are kept if the checkpoint has one.
    keeps: &'static [SchedulerKind],
    settings: &'static [Setting],
}

impl Preset {
    /// The preset of that name.
    pub fn by_name(name: &str) -> Result<&'static Self, PresetError> {
        PRESETS.iter().find(|preset| preset.name == name).ok_or_else(|| PresetError::Unknown {
            name: name.to_string(),
            known: PRESETS.map(|preset| preset.name).join(", "),
        })
    }

    /// The preset that a LoRA file belongs to, by its path.
    pub fn of_lora(path: &Path) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.loras.iter().any(|lora| lora.is_at(path)))
    }

    /// The preset of a whole checkpoint in one file that was published for it, by the file's name:
    /// `sdxl_lightning_4step.safetensors`, `sd_xl_turbo_1.0_fp16.safetensors`.
    pub fn of_checkpoint(path: &Path) -> Option<&'static Self> {
        let name = path.file_name()?.to_string_lossy().to_lowercase().replace('-', "_");
        // Called a U-Net, but the file for ComfyUI holds all parts.
        if name.starts_with("hyper_sdxl_1step_unet_comfyui") {
            return Self::by_name("hyper-sdxl-1-unet").ok();
        }
        let lightning = name.strip_prefix("sdxl_lightning_").and_then(|rest| rest.split_once("step"));
        let preset = match lightning {
            Some((steps, rest)) if !rest.contains("lora") && !rest.contains("unet") => {
                format!("lightning-{steps}")
            }
            _ if ["sd_turbo", "sd_xl_turbo", "sdxl_turbo"].iter().any(|start| name.starts_with(start)) => {
                "turbo".to_owned()
            }
            _ => return None,
        };
        Self::by_name(&preset).ok()
    }

    /// The preset of a folder or repository of a whole checkpoint, by its name: `stabilityai/sdxl-turbo`, `sd-turbo`.
    pub fn of_folder(name: &Path) -> Option<&'static Self> {
        let name = name.file_name()?.to_string_lossy().to_lowercase().replace('_', "-");
        ["sd-turbo", "sdxl-turbo"].contains(&name.as_str()).then(|| Self::by_name("turbo").ok())?
    }

    /// The preset of a U-Net alone that was published for it, by the name of its file or, of a folder, its path:
    /// `sdxl_lightning_4step_unet.safetensors`, `Hyper-SDXL-1step-Unet.safetensors`, `…/lcm-sdxl`.
    pub fn of_unet(path: &Path) -> Option<&'static Self> {
        let plain = |text: std::borrow::Cow<str>| text.to_lowercase().replace('-', "_");
        let name = plain(path.file_name()?.to_string_lossy());
        let lightning = name.strip_prefix("sdxl_lightning_").and_then(|rest| rest.split_once("step_unet"));
        let preset = match lightning {
            Some((steps, _)) => format!("lightning-{steps}"),
            None if name.starts_with("hyper_sdxl_1step_unet") => "hyper-sdxl-1-unet".to_owned(),
            None if name.starts_with("dmd2_sdxl_4step_unet") => "dmd2-4".to_owned(),
            None if name.starts_with("dmd2_sdxl_1step_unet") => "dmd2-1".to_owned(),
            None if path.is_dir() && plain(path.to_string_lossy()).contains("lcm_sdxl") => "lcm".to_owned(),
            None => return None,
        };
        Self::by_name(&preset).ok()
    }

    /// A scheduler of which nothing is the checkpoint's own choice, for [`Self::scheduler_config`].
    pub fn without_kept(&self, scheduler: &SchedulerConfig) -> SchedulerConfig {
        scheduler.with_kind(self.kind)
    }

    /// The LoRA for this base.
    pub fn lora(&self, base: Base) -> Option<&'static PresetLora> {
        self.loras.iter().find(|lora| lora.base == base)
    }

    /// Refuses a U-Net of a family that the recipe was not made for; one of no known family is let through.
    pub fn check_base(&self, config: &UNetConfig) -> Result<(), PresetError> {
        match Base::of(config)? {
            Some(found) if !self.bases.contains(&found) => Err(PresetError::Base {
                preset: self.name,
                made_for: self.bases.iter().map(|base| base.name()).collect::<Vec<_>>().join(" and "),
                found: found.name().to_string(),
            }),
            _ => Ok(()),
        }
    }

    /// The checkpoint's scheduler turned to this recipe: numbers of the model are kept.
    pub fn scheduler_config(&self, checkpoint: &SchedulerConfig) -> SchedulerConfig {
        let kept = checkpoint.kind().ok().filter(|kind| self.keeps.contains(kind));
        let mut config = checkpoint.with_kind(kept.unwrap_or(self.kind));
        for setting in self.settings {
            match *setting {
                Setting::Text(key, value) => config.set(key, value),
                Setting::Number(key, value) => config.set(key, value),
                Setting::Counts(key, values) => config.set(key, values),
            }
        }
        config
    }

    /// Fills in the steps and the guidance where the request leaves them open.
    pub fn fill(&self, request: &mut GenerateRequest) {
        request.steps.get_or_insert(self.steps);
        request.guidance_scale.get_or_insert(self.guidance_scale);
    }

    /// The scheduler to run a request with: the recipe's, or the sampler that the request names with the
    /// recipe's settings, such as the spacing of the timesteps.
    pub fn scheduler_for(
        &self,
        named: Option<&str>,
        checkpoint: &SchedulerConfig,
    ) -> Result<SchedulerConfig, PresetError> {
        let recipe = self.scheduler_config(checkpoint);
        match named {
            Some(name) => Ok(name.parse::<SchedulerChoice>()?.apply(&recipe)),
            None => Ok(recipe),
        }
    }

    /// The request with the recipe's numbers where it leaves them open, and the scheduler to run it with
    /// ([`Self::scheduler_for`]).
    pub fn apply(
        &self,
        request: &GenerateRequest,
        checkpoint: &SchedulerConfig,
    ) -> Result<(GenerateRequest, SchedulerConfig), PresetError> {
        let mut filled = request.clone();
        self.fill(&mut filled);
        let config = self.scheduler_for(request.scheduler.as_deref(), checkpoint)?;
        Ok((filled, config))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn sdxl() -> SchedulerConfig {
        SchedulerConfig::from_json(
            r#"{"_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
                "beta_schedule": "scaled_linear", "timestep_spacing": "leading", "steps_offset": 1}"#,
        )
        .unwrap()
    }

    #[test]
    fn what_the_request_says_wins() {
        let preset = Preset::by_name("lightning-4").unwrap();
        let open = GenerateRequest::new("me", 1);
        let (filled, config) = preset.apply(&open, &sdxl()).unwrap();
        assert_eq!((filled.steps, filled.guidance_scale), (Some(4), Some(0.0)));
        assert_eq!(config.get_str("timestep_spacing").unwrap().as_deref(), Some("trailing"));
        let said = GenerateRequest {
            steps: Some(6),
            guidance_scale: Some(1.5),
            scheduler: Some("dpm++2m".into()),
            ..open
        };
        let (filled, config) = preset.apply(&said, &sdxl()).unwrap();
        assert_eq!((filled.steps, filled.guidance_scale), (Some(6), Some(1.5)));
        assert_eq!(config.kind().unwrap(), SchedulerKind::DpmSolverMultistep);
        let spacing = |config: &SchedulerConfig| config.get_str("timestep_spacing").unwrap();
        assert_eq!(spacing(&config).as_deref(), Some("trailing"), "only the sampler was asked for");
        assert_eq!(config.get_f64("beta_start").unwrap(), Some(0.00085), "the checkpoint's own");
        let quarters = Preset::by_name("dmd2-4").unwrap().scheduler_for(Some("tcd"), &sdxl()).unwrap();
        let timesteps = crate::schedulers::build(&quarters, 4).unwrap().timesteps().to_vec();
        assert_eq!(timesteps, [999.0, 749.0, 499.0, 249.0]);
        let wrong = GenerateRequest { scheduler: Some("eulr".into()), ..said };
        assert!(preset.apply(&wrong, &sdxl()).unwrap_err().to_string().contains("eulr"));
    }

    #[test]
    fn turbo_keeps_the_checkpoints_own_sampler() {
        let turbo = Preset::by_name("turbo").unwrap();
        assert_eq!(turbo.scheduler_config(&sdxl()).kind().unwrap(), SchedulerKind::Euler);
        let pndm = sdxl().with_kind(SchedulerKind::Pndm);
        assert_eq!(turbo.scheduler_config(&pndm).kind().unwrap(), SchedulerKind::EulerAncestral);
    }

    #[test]
    fn files_are_told_by_their_published_names() {
        let of = |path: &str| Preset::of_lora(Path::new(path)).map(|preset| preset.name);
        for (path, name) in [
            ("loras/sdxl_lightning_4step_lora.safetensors", Some("lightning-4")),
            ("Hyper-SDXL-8steps-lora.safetensors", Some("hyper-sd-8")),
            ("Hyper-SD15-1step-lora.safetensors", Some("hyper-sd-1")),
            (
                "models--latent-consistency--lcm-lora-sdxl/x/pytorch_lora_weights.safetensors",
                Some("lcm-lora"),
            ),
            ("dmd2_sdxl_4step_lora.safetensors", Some("dmd2-4")),
            // made for guidance, another recipe
            ("Hyper-SDXL-8steps-CFG-lora.safetensors", None),
            ("style.safetensors", None),
        ] {
            assert_eq!(of(path), name, "{path}");
        }
        for preset in &PRESETS {
            assert_eq!(Preset::by_name(preset.name).unwrap(), preset);
            for lora in preset.loras {
                assert!(preset.bases.contains(&lora.base));
                let path = Path::new(lora.repository).join(lora.file);
                assert!(lora.is_at(&path), "{}", path.display());
                assert_eq!(preset.lora(lora.base), Some(lora));
            }
        }
        let message = Preset::by_name("lightening").unwrap_err().to_string();
        assert!(message.contains("\"lightening\"") && message.contains("lightning-8"), "{message}");
    }

    #[test]
    fn checkpoints_are_told_by_their_published_names() {
        for (path, name) in [
            ("models/sdxl_lightning_4step.safetensors", Some("lightning-4")),
            ("sdxl_lightning_8step.safetensors", Some("lightning-8")),
            ("sd_xl_turbo_1.0_fp16.safetensors", Some("turbo")),
            ("sd_turbo.safetensors", Some("turbo")),
            ("sdxl_lightning_1step_x0.safetensors", Some("lightning-1")),
            ("Hyper-SDXL-1step-Unet-Comfyui.fp16.safetensors", Some("hyper-sdxl-1-unet")),
            // no recipe, a U-Net alone, a LoRA, a model of somebody else's
            ("sdxl_lightning_3step.safetensors", None),
            ("sdxl_lightning_1step_unet_x0.safetensors", None),
            ("Hyper-SDXL-1step-Unet.safetensors", None),
            ("sdxl_lightning_4step_unet.safetensors", None),
            ("sdxl_lightning_4step_lora.safetensors", None),
            ("dreamshaperXL_turboDpmppSDE.safetensors", None),
        ] {
            assert_eq!(Preset::of_checkpoint(Path::new(path)).map(|preset| preset.name), name, "{path}");
        }
        for (path, name) in [
            ("sdxl_lightning_2step_unet.safetensors", Some("lightning-2")),
            ("unets/sdxl_lightning_8step_unet.safetensors", Some("lightning-8")),
            ("Hyper-SDXL-1step-Unet.safetensors", Some("hyper-sdxl-1-unet")),
            ("Hyper-SDXL-1step-Unet-Comfyui.fp16.safetensors", Some("hyper-sdxl-1-unet")),
            ("dmd2_sdxl_4step_unet_fp16.bin", Some("dmd2-4")),
            ("sdxl_lightning_1step_unet_x0.safetensors", Some("lightning-1")),
            ("dmd2_sdxl_1step_unet_fp16.bin", Some("dmd2-1")),
            // no recipe for it, a whole checkpoint, a LoRA
            ("dmd2_sdxl_2step_unet_fp16.bin", None),
            ("sdxl_lightning_4step.safetensors", None),
            ("sdxl_lightning_4step_lora.safetensors", None),
        ] {
            assert_eq!(Preset::of_unet(Path::new(path)).map(|preset| preset.name), name, "{path}");
        }
        for (path, name) in [
            ("stabilityai/sdxl-turbo", Some("turbo")),
            ("models/SD_turbo", Some("turbo")),
            ("models/sdxl-turbo-of-mine", None),
            ("sdxl-base", None),
        ] {
            assert_eq!(Preset::of_folder(Path::new(path)).map(|preset| preset.name), name, "{path}");
        }
        let turbo = Preset::by_name("turbo").unwrap();
        let invented = turbo.scheduler_config(&turbo.without_kept(&sdxl()));
        assert_eq!((invented.kind().unwrap(), turbo.side), (SchedulerKind::EulerAncestral, Some(512)));
    }

    #[test]
    fn another_base_model_is_refused() {
        let unet = |cross: i64, added: serde_json::Value| -> UNetConfig {
            let keys = serde_json::json!({ "cross_attention_dim": cross, "addition_embed_type": added });
            serde_json::from_value(keys).unwrap()
        };
        let (sd15, sdxl) = (unet(768, serde_json::Value::Null), unet(2048, "text_time".into()));
        let lightning = Preset::by_name("lightning-2").unwrap();
        lightning.check_base(&sdxl).unwrap();
        lightning.check_base(&unet(6, serde_json::Value::Null)).unwrap();
        let message = lightning.check_base(&sd15).unwrap_err().to_string();
        assert_eq!(message, "preset lightning-2 was made for SDXL, this model is SD 1.5");
        Preset::by_name("hyper-sd-2").unwrap().check_base(&sd15).unwrap();
    }
}
