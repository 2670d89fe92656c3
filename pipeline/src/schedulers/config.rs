//! `scheduler_config.json`: the keys as they stand in the file, and what each sampler takes where a key
//! is absent (the defaults of its class in diffusers 0.42.1).

use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{SchedulerChoice, SchedulerError, SchedulerKind};

/// A scheduler configuration: what the file says, nothing more. Unknown keys are kept and ignored.
///
/// Values are read where a sampler is built, so a key that a sampler does not use cannot stop it, as in
/// diffusers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SchedulerConfig {
    keys: Map<String, Value>,
}

/// What the model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionType {
    /// The noise in the sample.
    Epsilon,
    /// The velocity of progressive distillation (Salimans and Ho 2022).
    VPrediction,
    /// The clean sample.
    Sample,
}

/// How inference timesteps are spread over the training timesteps (Lin et al. 2023, table 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestepSpacing {
    /// Evenly, both ends included.
    Linspace,
    /// Whole strides from the first timestep on, plus `steps_offset`.
    Leading,
    /// Whole strides back from the last timestep.
    Trailing,
}

/// The noise level after the last step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinalSigma {
    /// None.
    Zero,
    /// The smallest of training.
    SigmaMin,
}

/// Spread of the noise levels between the largest and the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigmaSpread {
    /// Those of the timesteps.
    Model,
    /// Karras et al. 2022, rho 7.
    Karras,
    /// Evenly in the logarithm.
    Exponential,
    /// Quantiles of the beta distribution (Lee et al. 2024).
    Beta,
    /// Evenly in the log signal-to-noise ratio (Lu et al. 2022); DPM-Solver only.
    Lu,
}

impl SchedulerConfig {
    /// A configuration with every key at `kind`'s default.
    pub fn new(kind: SchedulerKind) -> Self {
        Self::default().with_kind(kind)
    }

    /// Reads a `scheduler_config.json`. Where its class is implemented, every key that class uses is
    /// checked at once; a file of another class can still be turned to an implemented one by
    /// [`SchedulerConfig::with_kind`].
    pub fn from_file(path: &Path) -> Result<Self, SchedulerError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SchedulerError::Read { path: path.to_owned(), source })?;
        let read = || {
            let config = Self::from_json(&text)?;
            if config.kind().is_ok() {
                super::build(&config, 4).map(drop).or_else(|error| match error {
                    // the number of steps is the request's business
                    SchedulerError::Steps { .. } | SchedulerError::Timestep { .. } => Ok(()),
                    other => Err(other),
                })?;
            }
            Ok(config)
        };
        read().map_err(|source| SchedulerError::File { path: path.to_owned(), source: Box::new(source) })
    }

    /// Parses the text of a `scheduler_config.json`. Python writes infinities bare (`-Infinity`, as in
    /// `lambda_min_clipped`), which JSON does not allow; they are read here.
    pub fn from_json(text: &str) -> Result<Self, SchedulerError> {
        let mut keys: Map<String, Value> = serde_json::from_str(&quote_bare_numbers(text))
            .map_err(|e| SchedulerError::Json { reason: e.to_string() })?;
        // diffusers lists here what was not in the original file and must not bind another class
        if let Some(Value::Array(defaults)) = keys.remove("_use_default_values") {
            defaults.iter().filter_map(Value::as_str).for_each(|key| drop(keys.remove(key)));
        }
        Ok(Self { keys })
    }

    /// The sampler that `_class_name` asks for.
    pub fn kind(&self) -> Result<SchedulerKind, SchedulerError> {
        let class = self.get_str("_class_name")?.unwrap_or_default();
        SchedulerKind::from_class_name(&class)
            .ok_or_else(|| SchedulerError::Class { class, known: SchedulerChoice::names().join(", ") })
    }

    /// The same model under another sampler, as `from_config(other.config)` of diffusers: keys in the
    /// file stay, all others take the new sampler's defaults.
    pub fn with_kind(&self, kind: SchedulerKind) -> Self {
        let mut config = self.clone();
        config.set("_class_name", kind.class_name());
        config
    }

    /// Sets one key.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) {
        self.keys.insert(key.to_owned(), value.into());
    }

    /// Removes one key, so that its default holds.
    pub fn unset(&mut self, key: &str) {
        self.keys.remove(key);
    }

    /// Training timesteps of the model, `num_train_timesteps`.
    pub fn num_train_timesteps(&self) -> Result<usize, SchedulerError> {
        let key = "num_train_timesteps";
        match self.get_usize(key)?.unwrap_or(1000) {
            // the upper bound keeps a damaged file from asking for gigabytes of tables
            count @ 1..=1_000_000 => Ok(count),
            other => Err(bad(key, other, "1 to 1000000")),
        }
    }

    /// What the model predicts, `prediction_type`.
    pub fn prediction_type(&self) -> Result<PredictionType, SchedulerError> {
        let key = "prediction_type";
        // the clean sample's name in some old configurations, which Euler alone still takes
        if self.get_str(key)?.as_deref() == Some("original_sample") && self.kind()? == SchedulerKind::Euler {
            return Ok(PredictionType::Sample);
        }
        self.choose(
            key,
            PredictionType::Epsilon,
            &[
                ("epsilon", PredictionType::Epsilon),
                ("v_prediction", PredictionType::VPrediction),
                ("sample", PredictionType::Sample),
            ],
        )
    }

    pub(super) fn timestep_spacing(&self, kind: SchedulerKind) -> Result<TimestepSpacing, SchedulerError> {
        use SchedulerKind::{Ddim, Ddpm, Lcm, Pndm};
        let default = match kind {
            Ddim | Ddpm | Pndm | Lcm => TimestepSpacing::Leading,
            _ => TimestepSpacing::Linspace,
        };
        self.choose(
            "timestep_spacing",
            default,
            &[
                ("linspace", TimestepSpacing::Linspace),
                ("leading", TimestepSpacing::Leading),
                ("trailing", TimestepSpacing::Trailing),
            ],
        )
    }

    pub(super) fn steps_offset(&self) -> Result<usize, SchedulerError> {
        let key = "steps_offset";
        match self.get_usize(key)?.unwrap_or(0) {
            offset if offset <= 1_000_000 => Ok(offset),
            other => Err(bad(key, other, "0 to 1000000")),
        }
    }

    pub(super) fn final_sigma(&self) -> Result<FinalSigma, SchedulerError> {
        self.choose(
            "final_sigmas_type",
            FinalSigma::Zero,
            &[("zero", FinalSigma::Zero), ("sigma_min", FinalSigma::SigmaMin)],
        )
    }

    /// The one spread that the `use_*` flags ask for; two at once are an error, as in diffusers.
    pub(super) fn sigma_spread(&self, kind: SchedulerKind) -> Result<SigmaSpread, SchedulerError> {
        let flags = [
            ("use_karras_sigmas", SigmaSpread::Karras),
            ("use_exponential_sigmas", SigmaSpread::Exponential),
            ("use_beta_sigmas", SigmaSpread::Beta),
            ("use_lu_lambdas", SigmaSpread::Lu),
        ];
        let mut chosen: Option<(&'static str, SigmaSpread)> = None;
        for (key, spread) in flags {
            let known = spread != SigmaSpread::Lu || kind == SchedulerKind::DpmSolverMultistep;
            if !known || !self.flag(key, false)? {
                continue;
            }
            if let Some((first, _)) = chosen {
                return Err(bad(key, true, &format!("false where `{first}` is true")));
            }
            chosen = Some((key, spread));
        }
        Ok(chosen.map_or(SigmaSpread::Model, |(_, spread)| spread))
    }

    /// A string key that must be one of `allowed`.
    pub(super) fn choose<T: Copy>(
        &self,
        key: &'static str,
        default: T,
        allowed: &[(&str, T)],
    ) -> Result<T, SchedulerError> {
        let Some(found) = self.get_str(key)? else { return Ok(default) };
        allowed.iter().find(|(name, _)| *name == found).map(|(_, value)| *value).ok_or_else(|| {
            let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
            bad(key, found, &format!("one of {}", names.join(", ")))
        })
    }

    pub(super) fn flag(&self, key: &'static str, default: bool) -> Result<bool, SchedulerError> {
        Ok(self.get_bool(key)?.unwrap_or(default))
    }

    pub(super) fn number(&self, key: &'static str, default: f64) -> Result<f64, SchedulerError> {
        Ok(self.get_f64(key)?.unwrap_or(default))
    }

    /// A key that must be absent, null or false: what it switches on is not implemented.
    pub(super) fn refuse(
        &self,
        kind: SchedulerKind,
        key: &'static str,
        reason: &str,
    ) -> Result<(), SchedulerError> {
        match self.keys.get(key) {
            None | Some(Value::Null | Value::Bool(false)) => Ok(()),
            Some(value) => Err(SchedulerError::Unsupported {
                kind,
                key,
                value: value.to_string(),
                reason: reason.to_owned(),
            }),
        }
    }

    /// A string; `None` where the key is absent or null.
    pub fn get_str(&self, key: &'static str) -> Result<Option<String>, SchedulerError> {
        self.get(key, "a string")
    }

    /// A truth value; `None` where the key is absent or null.
    pub fn get_bool(&self, key: &'static str) -> Result<Option<bool>, SchedulerError> {
        self.get(key, "true or false")
    }

    /// A count; `None` where the key is absent or null.
    pub fn get_usize(&self, key: &'static str) -> Result<Option<usize>, SchedulerError> {
        self.get(key, "a whole number, not negative")
    }

    /// A number, infinities included; `None` where the key is absent or null.
    pub fn get_f64(&self, key: &'static str) -> Result<Option<f64>, SchedulerError> {
        match self.keys.get(key).and_then(Value::as_str) {
            Some("Infinity") => Ok(Some(f64::INFINITY)),
            Some("-Infinity") => Ok(Some(f64::NEG_INFINITY)),
            _ => self.get(key, "a number"),
        }
    }

    pub(super) fn get<T: DeserializeOwned>(
        &self,
        key: &'static str,
        expected: &str,
    ) -> Result<Option<T>, SchedulerError> {
        match self.keys.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => T::deserialize(value).map(Some).map_err(|_| bad(key, value.clone(), expected)),
        }
    }
}

/// The error for a value that is not allowed.
pub(super) fn bad(key: &'static str, value: impl Into<Value>, expected: &str) -> SchedulerError {
    SchedulerError::Value { key, value: value.into().to_string(), expected: expected.to_owned() }
}

/// Puts quotes around `Infinity`, `-Infinity` and `NaN` wherever they stand outside a string.
fn quote_bare_numbers(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        let bare =
            ["-Infinity", "Infinity", "NaN"].into_iter().find(|word| !in_string && rest.starts_with(word));
        if let Some(word) = bare {
            out.extend(["\"", word, "\""]);
            rest = rest.strip_prefix(word).unwrap_or_default();
            continue;
        }
        match c {
            '"' if !escaped => in_string = !in_string,
            _ => {}
        }
        escaped = in_string && c == '\\' && !escaped;
        out.push(c);
        rest = rest.strip_prefix(c).unwrap_or_default();
    }
    out
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn python_infinities_are_read_and_strings_left_alone() {
        let config = SchedulerConfig::from_json(
            r#"{"lambda_min_clipped": -Infinity, "note": "a \"NaN\" stays", "sigma_max": Infinity, "x": null}"#,
        )
        .unwrap();
        assert_eq!(config.get_f64("lambda_min_clipped").unwrap(), Some(f64::NEG_INFINITY));
        assert_eq!(config.get_f64("sigma_max").unwrap(), Some(f64::INFINITY));
        assert_eq!(config.get_str("note").unwrap().unwrap(), "a \"NaN\" stays");
        assert_eq!(config.get_f64("x").unwrap(), None);
    }

    #[test]
    fn keys_marked_as_defaults_do_not_bind_another_class() {
        let config = SchedulerConfig::from_json(
            r#"{"_class_name": "DDIMScheduler", "clip_sample": false, "steps_offset": 1,
                "_use_default_values": ["clip_sample"]}"#,
        )
        .unwrap();
        assert_eq!(config.get_bool("clip_sample").unwrap(), None);
        assert_eq!(config.steps_offset().unwrap(), 1);
        let euler = config.with_kind(SchedulerKind::Euler);
        assert_eq!(euler.kind().unwrap(), SchedulerKind::Euler);
        assert_eq!(euler.timestep_spacing(SchedulerKind::Euler).unwrap(), TimestepSpacing::Linspace);
    }

    #[test]
    fn errors_name_key_and_value() {
        let cases = [
            (r#"{"num_train_timesteps": -3}"#, "`num_train_timesteps` is -3"),
            (r#"{"num_train_timesteps": 0}"#, "`num_train_timesteps` is 0"),
            (r#"{"num_train_timesteps": 1e12}"#, "`num_train_timesteps` is 1000000000000.0"),
            (r#"{"prediction_type": "flow_prediction"}"#, "`prediction_type` is \"flow_prediction\""),
            (r#"{"use_karras_sigmas": "yes"}"#, "`use_karras_sigmas` is \"yes\""),
            (r#"{"use_karras_sigmas": true, "use_beta_sigmas": true}"#, "`use_beta_sigmas` is true"),
            (r#"{"beta_start": NaN}"#, "`beta_start` is \"NaN\""),
            (r#"{"beta_schedule": 7}"#, "`beta_schedule` is 7"),
            (r#"{"final_sigmas_type": "one"}"#, "`final_sigmas_type` is \"one\""),
            (r#"{"timestep_spacing": "log"}"#, "`timestep_spacing` is \"log\""),
        ];
        for (json, start) in cases {
            let config = SchedulerConfig::from_json(json).unwrap().with_kind(SchedulerKind::Euler);
            let message = super::super::build(&config, 5).err().unwrap().to_string();
            assert!(message.starts_with(start), "{message}");
        }
        let message = SchedulerConfig::from_json("[1]").unwrap_err().to_string();
        assert!(message.starts_with("not a scheduler configuration"), "{message}");
    }

    #[test]
    fn a_file_is_checked_when_it_is_read_and_named_in_the_error() {
        let path = std::env::temp_dir().join(format!("imagine-scheduler-{}.json", std::process::id()));
        assert!(matches!(SchedulerConfig::from_file(&path), Err(SchedulerError::Read { .. })));
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write(r#"{"_class_name": "EulerDiscreteScheduler", "interpolation_type": "cubic"}"#);
        let message = SchedulerConfig::from_file(&path).unwrap_err().to_string();
        assert!(
            message.contains("imagine-scheduler-") && message.contains("`interpolation_type` is \"cubic\"")
        );
        // a class that is not implemented can be read, named in an error, and replaced
        write(r#"{"_class_name": "KDPM2DiscreteScheduler", "beta_schedule": "scaled_linear"}"#);
        let config = SchedulerConfig::from_file(&path).unwrap();
        let message = super::super::build(&config, 5).err().unwrap().to_string();
        assert!(message.contains("KDPM2DiscreteScheduler") && message.contains("euler-a"), "{message}");
        assert!(super::super::build(&config.with_kind(SchedulerKind::Heun), 5).is_ok());
        std::fs::remove_file(&path).unwrap();
    }
}
