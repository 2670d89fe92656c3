//! The samplers and the names a person chooses them by.

use std::fmt;
use std::str::FromStr;

use super::{SchedulerConfig, SchedulerError};

/// The sampling methods that are implemented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SchedulerKind {
    /// Denoising diffusion implicit models (Song et al. 2020), eta 0.
    Ddim,
    /// Denoising diffusion probabilistic models (Ho et al. 2020).
    Ddpm,
    /// Euler's method on the probability-flow ODE (Karras et al. 2022, algorithm 2 without churn).
    Euler,
    /// Euler's method with ancestral noise (k-diffusion).
    EulerAncestral,
    /// DPM-Solver and DPM-Solver++, multistep (Lu et al. 2022), as ODE or SDE.
    DpmSolverMultistep,
    /// Heun's second-order method (Karras et al. 2022, algorithm 1); two model calls a step.
    Heun,
    /// Linear multistep of order four (k-diffusion).
    Lms,
    /// Pseudo numerical methods (Liu et al. 2022).
    Pndm,
    /// UniPC predictor-corrector (Zhao et al. 2023).
    UniPc,
    /// Latent consistency models (Luo et al. 2023).
    Lcm,
    /// Trajectory consistency distillation (Zheng et al. 2024).
    Tcd,
}

impl SchedulerKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Ddim,
        Self::Ddpm,
        Self::Euler,
        Self::EulerAncestral,
        Self::DpmSolverMultistep,
        Self::Heun,
        Self::Lms,
        Self::Pndm,
        Self::UniPc,
        Self::Lcm,
        Self::Tcd,
    ];

    /// The class of diffusers, as `_class_name` has it.
    pub fn class_name(self) -> &'static str {
        match self {
            Self::Ddim => "DDIMScheduler",
            Self::Ddpm => "DDPMScheduler",
            Self::Euler => "EulerDiscreteScheduler",
            Self::EulerAncestral => "EulerAncestralDiscreteScheduler",
            Self::DpmSolverMultistep => "DPMSolverMultistepScheduler",
            Self::Heun => "HeunDiscreteScheduler",
            Self::Lms => "LMSDiscreteScheduler",
            Self::Pndm => "PNDMScheduler",
            Self::UniPc => "UniPCMultistepScheduler",
            Self::Lcm => "LCMScheduler",
            Self::Tcd => "TCDScheduler",
        }
    }

    /// The kind that a `_class_name` of diffusers means.
    pub fn from_class_name(class: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.class_name() == class)
    }

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ddim => "ddim",
            Self::Ddpm => "ddpm",
            Self::Euler => "euler",
            Self::EulerAncestral => "euler-a",
            Self::DpmSolverMultistep => "dpm++2m",
            Self::Heun => "heun",
            Self::Lms => "lms",
            Self::Pndm => "pndm",
            Self::UniPc => "unipc",
            Self::Lcm => "lcm",
            Self::Tcd => "tcd",
        }
    }

    /// Whether diffusers lets this sampler run on the noise levels of Karras et al. 2022.
    pub fn allows_karras(self) -> bool {
        matches!(self, Self::Euler | Self::DpmSolverMultistep | Self::Heun | Self::Lms | Self::UniPc)
    }
}

impl fmt::Display for SchedulerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a name on the command line stands for: a sampler and whether it uses Karras noise levels.
///
/// `"euler-karras".parse()` gives Euler with Karras sigmas; `to_string` gives the name back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SchedulerChoice {
    /// The sampler.
    pub kind: SchedulerKind,
    /// Karras sigmas instead of the model's own.
    pub karras: bool,
}

impl SchedulerChoice {
    /// Every name, in the order in which help should list them.
    pub fn names() -> Vec<String> {
        let mut names = Vec::new();
        for kind in SchedulerKind::ALL {
            names.push(kind.name().to_owned());
            if kind.allows_karras() {
                names.push(Self { kind, karras: true }.to_string());
            }
        }
        names
    }

    /// The checkpoint's configuration turned to this choice: numbers both samplers know are kept, the
    /// name decides the noise levels, and `dpm++2m` means the algorithm it spells.
    pub fn apply(&self, config: &SchedulerConfig) -> SchedulerConfig {
        let mut config = config.with_kind(self.kind);
        if self.kind.allows_karras() {
            config.set("use_karras_sigmas", self.karras);
            for other in ["use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"] {
                config.unset(other);
            }
        }
        if self.kind == SchedulerKind::DpmSolverMultistep {
            config.set("algorithm_type", "dpmsolver++");
            config.set("solver_order", 2);
        }
        config
    }
}

impl fmt::Display for SchedulerChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.kind, if self.karras { "-karras" } else { "" })
    }
}

impl FromStr for SchedulerChoice {
    type Err = SchedulerError;

    fn from_str(name: &str) -> Result<Self, SchedulerError> {
        let (stem, karras) = match name.strip_suffix("-karras") {
            Some(stem) => (stem, true),
            None => (name, false),
        };
        SchedulerKind::ALL
            .into_iter()
            .find(|kind| kind.name() == stem && (!karras || kind.allows_karras()))
            .map(|kind| Self { kind, karras })
            .ok_or_else(|| SchedulerError::Name { name: name.to_owned(), known: Self::names().join(", ") })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn every_name_parses_back_to_itself() {
        for name in SchedulerChoice::names() {
            assert_eq!(name.parse::<SchedulerChoice>().unwrap().to_string(), name);
        }
        assert_eq!(SchedulerChoice::names().len(), 16);
    }

    #[test]
    fn a_wrong_name_is_answered_with_all_right_ones() {
        for wrong in ["eulr", "ddim-karras", "Euler", ""] {
            let message = wrong.parse::<SchedulerChoice>().unwrap_err().to_string();
            assert!(
                message.contains(&format!("\"{wrong}\"")) && message.contains("dpm++2m-karras"),
                "{message}"
            );
        }
    }

    #[test]
    fn a_choice_keeps_the_model_and_changes_the_sampler() {
        let config = SchedulerConfig::from_json(
            r#"{"_class_name": "DPMSolverMultistepScheduler", "beta_start": 0.00085, "solver_order": 3,
                "use_exponential_sigmas": true, "prediction_type": "v_prediction"}"#,
        )
        .unwrap();
        let choice: SchedulerChoice = "dpm++2m-karras".parse().unwrap();
        let chosen = choice.apply(&config);
        assert_eq!(chosen.get_bool("use_karras_sigmas").unwrap(), Some(true));
        assert_eq!(chosen.get_bool("use_exponential_sigmas").unwrap(), None);
        assert_eq!(chosen.get_f64("beta_start").unwrap(), Some(0.00085));
        assert_eq!(chosen.get_usize("solver_order").unwrap(), Some(2));
        assert_eq!(chosen.get_str("prediction_type").unwrap().as_deref(), Some("v_prediction"));
    }
}
