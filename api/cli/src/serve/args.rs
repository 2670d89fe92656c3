//! Flags of everything that runs on the service's configuration: one for each setting that is no secret, made from
//! the table of settings.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use imagine_api::config::{Config, Layers, Setting};

use crate::failure::Failure;

/// Names the configuration file where no flag does.
const CONFIG_VARIABLE: &str = "IMAGINE_CONFIG";

/// What was said on the command line about the configuration.
#[derive(Clone, Debug, Default)]
pub struct ConfigArgs {
    file: Option<PathBuf>,
    /// Keys of settings with their texts.
    flags: Vec<(&'static str, String)>,
}

impl ConfigArgs {
    /// The configuration: flags before variables before the file before the defaults.
    ///
    /// # Errors
    /// The file cannot be read; a setting is unknown or has a value that it cannot have.
    pub fn config(&self) -> Result<Config, Failure> {
        let named = std::env::var_os(CONFIG_VARIABLE).filter(|name: &OsString| !name.is_empty());
        let mut layers = Layers::default();
        if let Some(file) = self.file.clone().or_else(|| named.map(PathBuf::from)) {
            let name = file.display().to_string();
            let text = std::fs::read_to_string(&file).map_err(|e| Failure::input(format!("{name}: {e}")))?;
            layers = layers.toml(&name, &text).map_err(Failure::input)?;
        }
        // Variables whose names or values are no text are none of the settings.
        let variables = std::env::vars_os();
        let texts =
            variables.filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let layers = layers.environment(texts).flags(self.flags.iter().cloned()).map_err(Failure::input)?;
        layers.finish().map_err(Failure::input)
    }
}

fn arg(setting: &'static Setting) -> Option<Arg> {
    let help = setting.help.replace('`', "");
    let default = match setting.default {
        "" | "false" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let arg = Arg::new(setting.key).long(setting.flag()?).help(format!("{help}{default}"));
    let heading = format!("Settings: {}", setting.section);
    let arg = arg.help_heading(heading);
    Some(match setting.is_switch() {
        // Also as `--flag=false`: it weighs more than a file that says true.
        true => arg.num_args(0..=1).require_equals(true).default_missing_value("true").value_name("BOOL"),
        false => arg.value_name(setting.kind.to_uppercase().replace([' ', ','], "_").replace("__", "_")),
    })
}

impl Args for ConfigArgs {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("TOML file with settings; IMAGINE_CONFIG names one, too");
        command.arg(file).args(Config::SETTINGS.iter().filter_map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for ConfigArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let text = |setting: &Setting| -> Option<String> {
            if setting.is_secret() {
                return None;
            }
            matches.get_one::<String>(setting.key).cloned()
        };
        let flags = Config::SETTINGS.iter().filter_map(|setting| Some((setting.key, text(setting)?)));
        Ok(Self { file: matches.get_one::<PathBuf>("config").cloned(), flags: flags.collect() })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn parsed(flags: &[&str]) -> ConfigArgs {
        let command = ConfigArgs::augment_args(Command::new("serve").no_binary_name(true));
        ConfigArgs::from_arg_matches(&command.try_get_matches_from(flags).unwrap()).unwrap()
    }

    #[test]
    fn flags_weigh_more_than_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("imagine.toml");
        std::fs::write(&file, "[server]\nrequire_key = true\n[model]\nmodel = \"a\"\ndtype = \"bf16\"\n")
            .unwrap();
        let name = file.to_str().unwrap();
        let config = parsed(&["--config", name, "--model", "b", "--listen", "127.0.0.1:0"]).config().unwrap();
        assert!(config.server.require_key);
        assert_eq!((config.model.model.as_str(), config.model.dtype.as_str()), ("b", "bf16"));
        assert_eq!(config.server.listen.port(), 0);
        assert!(parsed(&["--require-key"]).config().unwrap().server.require_key);
        let open = parsed(&["--config", name, "--require-key=false"]).config().unwrap();
        assert!(!open.server.require_key, "a flag weighs more than the file");
        let wrong = parsed(&["--require-key=maybe"]).config().unwrap_err().to_string();
        assert!(wrong.contains("--require-key"), "{wrong}");
        let wrong = parsed(&["--listen", "everywhere"]).config().unwrap_err().to_string();
        assert!(wrong.contains("--listen"), "{wrong}");
        std::fs::write(&file, "[server]\nport = 1\n").unwrap();
        assert!(parsed(&["--config", name]).config().unwrap_err().to_string().contains("port"));
    }
}
