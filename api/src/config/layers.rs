//! Three sources, one result.

use std::collections::BTreeMap;

use super::Setting;
use super::settings::Config;
use super::value::Value;

/// What was said, and where. Later sources win.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    merged: Merged,
}

/// Why a configuration cannot be used. The text names the source and the setting, never a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("{file}: {reason}")]
    Toml { file: String, reason: String },
    #[error("{source_name}: there is no setting \"{key}\"{hint}")]
    Unknown { source_name: String, key: String, hint: String },
    #[error("{source_name}: \"{key}\" cannot be used: {reason}")]
    Bad { source_name: String, key: String, reason: String },
}

/// Texts by key, each with where it stood.
#[derive(Clone, Default)]
pub(super) struct Merged(BTreeMap<&'static str, (String, String)>);

impl std::fmt::Debug for Merged {
    /// Without the values: there may be secrets among them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl Merged {
    pub(super) fn value<T: Value>(&self, key: &str, default: &str) -> Result<T, ConfigError> {
        let (text, source_name) = match self.0.get(key) {
            Some((text, source)) => (text.as_str(), source.as_str()),
            None => (default, "the default"),
        };
        T::read(text).map_err(|reason| ConfigError::Bad {
            source_name: source_name.to_owned(),
            key: key.to_owned(),
            reason,
        })
    }
}

impl Layers {
    /// A TOML file's text; `file` names it in errors.
    pub fn toml(mut self, file: &str, text: &str) -> Result<Self, ConfigError> {
        // Only the position and the kind of error: a TOML error's own text shows the line, which may hold a secret.
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let line = error.span().map_or(0, |span| text[..span.start].lines().count().max(1));
            ConfigError::Toml { file: file.to_owned(), reason: format!("line {line}: {}", error.message()) }
        })?;
        for (section, value) in table {
            let toml::Value::Table(entries) = value else {
                return Err(unknown(file, &section, "; settings stand in tables such as [server]"));
            };
            for (key, value) in entries {
                let full = format!("{section}.{key}");
                let setting =
                    find(|s| s.section == section && s.key == key).ok_or_else(|| unknown(file, &full, ""))?;
                let text = plain(&value).ok_or_else(|| ConfigError::Bad {
                    source_name: file.to_owned(),
                    key: full,
                    reason: "it is a text, a number, true, false, or a list of texts".into(),
                })?;
                self.put(setting, text, file.to_owned());
            }
        }
        Ok(self)
    }

    /// Environment variables. Those of other parts of the program (`IMAGINE_*` names that are no setting) are
    /// left alone.
    pub fn environment(mut self, variables: impl IntoIterator<Item = (String, String)>) -> Self {
        for (name, text) in variables {
            if let Some(setting) = find(|s| s.variable() == name) {
                self.put(setting, text, name);
            }
        }
        self
    }

    /// Flags by their settings' keys.
    pub fn flags<'a>(
        mut self,
        flags: impl IntoIterator<Item = (&'a str, String)>,
    ) -> Result<Self, ConfigError> {
        for (key, text) in flags {
            let setting = find(|s| s.key == key).ok_or_else(|| unknown("flag", key, ""))?;
            let name = format!("--{}", setting.flag().unwrap_or_default());
            self.put(setting, text, name);
        }
        Ok(self)
    }

    /// The result. Every value is checked.
    pub fn finish(&self) -> Result<Config, ConfigError> {
        Config::of(&self.merged)
    }

    fn put(&mut self, setting: &'static Setting, text: String, source_name: String) {
        self.merged.0.insert(setting.key, (text, source_name));
    }
}

fn find(is: impl Fn(&Setting) -> bool) -> Option<&'static Setting> {
    Config::SETTINGS.iter().find(|setting| is(setting))
}

fn unknown(source_name: &str, key: &str, hint: &str) -> ConfigError {
    let last = key.rsplit('.').next().unwrap_or(key);
    let elsewhere = find(|s| s.key == last).map(|s| format!("; it stands in [{}]", s.section));
    let hint = elsewhere.unwrap_or_else(|| hint.to_owned());
    ConfigError::Unknown { source_name: source_name.to_owned(), key: key.to_owned(), hint }
}

fn plain(value: &toml::Value) -> Option<String> {
    Some(match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Boolean(yes) => yes.to_string(),
        toml::Value::Array(parts) => {
            let texts: Option<Vec<_>> = parts.iter().map(toml::Value::as_str).collect();
            texts?.join(",")
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    }

    #[test]
    fn flags_beat_the_environment_which_beats_the_file() {
        let file =
            "[server]\nlisten = \"127.0.0.1:1\"\nrequire_key = true\n[limits]\nphotos = 3\nsteps = 7\n";
        let config = Layers::default()
            .toml("a.toml", file)
            .unwrap()
            .environment(variables(&[
                ("IMAGINE_LISTEN", "127.0.0.1:2"),
                ("IMAGINE_PHOTOS", "4"),
                ("HOME", "x"),
            ]))
            .flags([("listen", "127.0.0.1:3".to_owned())])
            .unwrap()
            .finish()
            .unwrap();
        assert_eq!(config.server.listen.port(), 3);
        assert_eq!((config.limits.photos, config.limits.steps), (4, 7));
        assert!(config.server.require_key);
        assert_eq!(config.model.model, "starter");
    }

    #[test]
    fn an_error_names_source_and_setting() {
        let error =
            |text| Layers::default().toml("a.toml", text).and_then(|l| l.finish()).unwrap_err().to_string();
        assert_eq!(error("[server]\nlisten = \"here\"").split(':').next(), Some("a.toml"));
        assert!(error("[server]\nlisten = \"here\"").contains("\"listen\""));
        assert!(error("[limits]\nlisten = \"here\"").contains("it stands in [server]"));
        assert!(error("[server]\nlissten = 1").contains("\"server.lissten\""));
        assert!(error("listen = 1").contains("it stands in [server]"));
        let environment = Layers::default().environment(variables(&[("IMAGINE_PHOTOS", "many")])).finish();
        assert!(environment.unwrap_err().to_string().starts_with("IMAGINE_PHOTOS"));
        assert!(Layers::default().flags([("nonsense", String::new())]).is_err());
    }

    #[test]
    fn secrets_are_never_shown() {
        let layers =
            Layers::default().environment(variables(&[("IMAGINE_DATABASE_URL", "postgres://u:hush@h/d")]));
        let config = layers.finish().unwrap();
        assert!(!format!("{layers:?} {config:?}").contains("hush"));
        assert!(config.storage.database_url.unwrap().expose().contains("hush"));
        let broken = Layers::default().toml("a.toml", "[storage]\ndatabase_url = \"hush").unwrap_err();
        assert!(!format!("{broken} {broken:?}").contains("hush"));
    }

    #[test]
    fn keys_are_unique() {
        let mut keys: Vec<_> = Config::SETTINGS.iter().map(|s| s.key).collect();
        keys.sort_unstable();
        let count = keys.len();
        keys.dedup();
        assert_eq!(keys.len(), count);
    }
}
