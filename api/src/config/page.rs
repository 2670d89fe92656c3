//! `docs/configuration.md`, made from the table of settings.

use std::fmt::Write;

use super::settings::Config;

/// The text of the page. A test compares it with the file, and writes the file where `IMAGINE_BLESS` is set.
pub fn documentation() -> String {
    let mut page = String::from(HEAD);
    let mut section = "";
    for setting in Config::SETTINGS {
        if setting.section != section {
            section = setting.section;
            let _ = write!(
                page,
                "\n## [{section}]\n\n| setting | flag, variable | default | |\n|---|---|---|---|\n"
            );
        }
        let flag = setting.flag().map_or_else(|| "no flag".to_owned(), |flag| format!("`--{flag}`"));
        let default = match setting.default {
            "" => "–".to_owned(),
            text => format!("`{}`", text.replace(',', ", ")),
        };
        let (key, variable, kind, help) = (setting.key, setting.variable(), setting.kind, setting.help);
        let _ = writeln!(page, "| `{key}` ({kind}) | {flag} `{variable}` | {default} | {help} |");
    }
    page
}

const HEAD: &str = "# Configuration

<!-- Made from api/src/config/settings.rs by its test; change it there. -->

`imagine serve` and `imagine worker` read, the first weighing most: flags, `IMAGINE_*` variables, one TOML file (`--config FILE`, else
`IMAGINE_CONFIG`), the defaults. A setting that does not exist is an error that names the file. Secrets have no flag, since other users of a
machine can see command lines, and are never printed. Switches that are off by default need no value: `--require-key`, or
`--require-key=false` over a file that says true.

```toml
[server]
listen = \"127.0.0.1:8790\"

[limits]
pictures = 4
```
";
