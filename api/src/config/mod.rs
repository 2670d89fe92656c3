//! Configuration: flags weigh more than `IMAGINE_*` variables, those more than one TOML file, that more than
//! the defaults. Every setting is declared once, in [`settings`], with its type, default and explanation; the
//! struct, the three readers and the documentation page follow from that.

mod layers;
mod page;
mod settings;
mod value;

pub use layers::{ConfigError, Layers};
pub use page::documentation;
pub use settings::{Config, ExpandSettings, KeepSettings, LimitSettings, LogSettings, ModelSettings};
pub use settings::{OpenAiSettings, ServerSettings, StorageSettings, WebhookSettings, WorkerSettings};
pub use value::{Secret, Value};

/// What is known of a setting beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The TOML table it stands in.
    pub section: &'static str,
    /// Its name in that table. No two settings share one, so that flags and variables need no section.
    pub key: &'static str,
    pub kind: &'static str,
    pub default: &'static str,
    pub help: &'static str,
}

impl Setting {
    /// Name of the environment variable.
    pub fn variable(&self) -> String {
        format!("IMAGINE_{}", self.key.to_uppercase())
    }

    /// Name of the flag, without the dashes before it. Secrets have none: other users of a machine see the
    /// command lines of its processes.
    pub fn flag(&self) -> Option<String> {
        (!self.is_secret()).then(|| self.key.replace('_', "-"))
    }

    pub fn is_secret(&self) -> bool {
        self.kind == <Secret as Value>::KIND
    }

    /// A flag that needs no value: its presence says "true".
    pub fn is_switch(&self) -> bool {
        self.kind == <bool as Value>::KIND && self.default == "false"
    }
}
