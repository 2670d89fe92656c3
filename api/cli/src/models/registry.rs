//! The registry: which published files fit together. One file is part of the program, a person's own adds to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::error::ModelsError;

const BUILT_IN: &str = include_str!("../../../../models/registry.toml");
/// What messages call the built-in file.
const BUILT_IN_NAME: &str = "the built-in registry";

/// Licences, parts and combinations by name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Registry {
    #[serde(default)]
    pub licence: BTreeMap<String, Licence>,
    #[serde(default)]
    pub part: BTreeMap<String, Part>,
    #[serde(default)]
    pub combination: BTreeMap<String, Combination>,
}

/// The terms of a part.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Licence {
    pub title: String,
    pub link: String,
    #[serde(rename = "use")]
    pub allowed: Use,
}

/// What a licence allows.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Use {
    /// Everything, also business.
    Free,
    /// Also business, with rules of use.
    Conditions,
    /// Non-commercial research only; has to be accepted once.
    Research,
}

/// Files of one repository that are used together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Part {
    pub role: Role,
    pub purpose: String,
    /// `owner/name` on the Hub.
    pub repo: String,
    /// A commit, a branch or a tag.
    pub revision: String,
    pub licence: String,
    /// The file or folder that is loaded, seen from the top of the repository; the top itself if left out.
    #[serde(default)]
    pub entry: String,
    pub files: Vec<PartFile>,
}

/// What a part is loaded as.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Base,
    Adapter,
    ImageEncoder,
    FaceEncoder,
    Controlnet,
    Lora,
    Vae,
    Unet,
}

/// One file of a repository.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartFile {
    pub path: String,
    /// Bytes.
    pub size: Option<u64>,
    /// Hexadecimal, lower case.
    pub sha256: Option<String>,
}

/// Parts that make a model.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Combination {
    pub title: String,
    pub about: String,
    pub parts: Vec<String>,
    /// Sampler, steps and guidance, by name.
    pub preset: Option<String>,
}

/// Configuration files are small enough to be left out of a total.
pub fn is_configuration(path: &str) -> bool {
    path.ends_with(".json")
}

impl Part {
    /// Bytes of the files whose size is known, and whether that is all of them but configuration files.
    pub fn known_bytes(&self) -> (u64, bool) {
        let known: u64 = self.files.iter().filter_map(|f| f.size).sum();
        let exact = self.files.iter().all(|f| f.size.is_some() || is_configuration(&f.path));
        (known, exact)
    }
}

impl Registry {
    /// The built-in registry and, if there is one, the person's own file.
    ///
    /// # Errors
    /// [`ModelsError::Registry`] with file and key.
    pub fn load(own: Option<&Path>) -> Result<Self, ModelsError> {
        let mut registry = Self::parse(BUILT_IN, Path::new(BUILT_IN_NAME))?;
        registry.check(Path::new(BUILT_IN_NAME))?;
        let Some(own) = own.filter(|file| file.exists()) else { return Ok(registry) };
        let refuse = |reason: String| ModelsError::Registry { file: own.to_path_buf(), reason };
        let text = fs::read_to_string(own).map_err(|e| refuse(e.to_string()))?;
        let added = Self::parse(&text, own)?;
        // a name that is there already stays what it is: nobody pulls something else by mistake
        let taken = added.licence.keys().find(|k| registry.licence.contains_key(*k)).map(|k| ("licence", k));
        let taken = taken.or(added.part.keys().find(|k| registry.part.contains_key(*k)).map(|k| ("part", k)));
        let taken = taken.or(added
            .combination
            .keys()
            .find(|k| registry.combination.contains_key(*k))
            .map(|k| ("combination", k)));
        if let Some((what, name)) = taken {
            return Err(refuse(format!("the {what} \"{name}\" is in the built-in registry already")));
        }
        registry.licence.extend(added.licence);
        registry.part.extend(added.part);
        registry.combination.extend(added.combination);
        registry.check(own)?;
        Ok(registry)
    }

    fn parse(text: &str, file: &Path) -> Result<Self, ModelsError> {
        toml::from_str(text).map_err(|e| {
            let line = e.span().map(|span| text.get(..span.start).unwrap_or_default().lines().count().max(1));
            let at = line.map_or_else(String::new, |line| format!("line {line}: "));
            ModelsError::Registry {
                file: file.to_path_buf(),
                reason: format!("{at}{}", e.message().replace('\n', " ")),
            }
        })
    }

    /// Refuses what could not be fetched, or would be written outside the cache.
    fn check(&self, file: &Path) -> Result<(), ModelsError> {
        let refuse = |reason: String| Err(ModelsError::Registry { file: file.to_path_buf(), reason });
        for name in self.part.keys().chain(self.combination.keys()).chain(self.licence.keys()) {
            if !is_name(name) {
                return refuse(format!("the name \"{name}\" has other characters than a-z, 0-9, -, _ and ."));
            }
        }
        for (name, part) in &self.part {
            if !self.licence.contains_key(&part.licence) {
                return refuse(format!(
                    "part.{name}.licence: \"{}\" is not among the licences",
                    part.licence
                ));
            }
            let owner_and_name: Vec<&str> = part.repo.split('/').collect();
            if owner_and_name.len() != 2 || !owner_and_name.iter().all(|half| is_repo_name(half)) {
                return refuse(format!("part.{name}.repo: \"{}\" is not owner/name", part.repo));
            }
            if part.revision.is_empty() || !part.revision.split('/').all(is_repo_name) {
                return refuse(format!(
                    "part.{name}.revision: \"{}\" is not a commit, branch or tag",
                    part.revision
                ));
            }
            if part.files.is_empty() {
                return refuse(format!("part.{name}.files: empty"));
            }
            for PartFile { path, sha256, .. } in &part.files {
                if !is_inner(path) {
                    return refuse(format!(
                        "part.{name}.files: \"{path}\" is not a path inside a repository"
                    ));
                }
                if sha256.as_deref().is_some_and(|hash| !is_hex(hash, 64)) {
                    return refuse(format!(
                        "part.{name}.files: {path}: sha256 has to be 64 digits of 0-9a-f"
                    ));
                }
            }
            let entry = Path::new(&part.entry);
            if !part.files.iter().any(|f| Path::new(&f.path).starts_with(entry)) {
                return refuse(format!("part.{name}.entry: \"{}\" is not among the files", part.entry));
            }
        }
        for (name, combination) in &self.combination {
            let mut bases = 0;
            for part in &combination.parts {
                match self.part.get(part) {
                    None => {
                        return refuse(format!(
                            "combination.{name}.parts: \"{part}\" is not among the parts"
                        ));
                    }
                    Some(part) => bases += usize::from(part.role == Role::Base),
                }
            }
            if bases != 1 {
                return refuse(format!("combination.{name}.parts: {bases} base models, one is needed"));
            }
        }
        Ok(())
    }

    /// The combination of that name.
    ///
    /// # Errors
    /// [`ModelsError::Unknown`] with the names there are.
    pub fn combination(&self, name: &str) -> Result<&Combination, ModelsError> {
        self.combination.get(name).ok_or_else(|| ModelsError::Unknown {
            name: name.into(),
            known: self.combination.keys().cloned().collect(),
        })
    }

    /// The parts of a combination with their names, in its order.
    pub fn parts<'a>(&'a self, combination: &'a Combination) -> impl Iterator<Item = (&'a str, &'a Part)> {
        combination.parts.iter().filter_map(|name| Some((name.as_str(), self.part.get(name)?)))
    }

    /// Bytes of a combination's files whose size is known, and whether that is all of them but configuration
    /// files.
    pub fn known_bytes(&self, combination: &Combination) -> (u64, bool) {
        let parts = self.parts(combination).map(|(_, part)| part.known_bytes());
        parts.fold((0, true), |(sum, all), (bytes, exact)| (sum + bytes, all && exact))
    }

    /// The licences of a combination, each once, in the order of its parts.
    pub fn licences<'a>(&'a self, combination: &'a Combination) -> Vec<(&'a str, &'a Licence)> {
        let mut licences: Vec<(&str, &Licence)> = Vec::new();
        for (_, part) in self.parts(combination) {
            if let Some((name, licence)) = self.licence.get_key_value(&part.licence)
                && !licences.iter().any(|(known, _)| known == name)
            {
                licences.push((name, licence));
            }
        }
        licences
    }
}

/// Lower-case hexadecimal of that many digits.
pub fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_name(name: &str) -> bool {
    let plain =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.' | b'+');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

fn is_repo_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

/// A path that stays inside the folder it is joined to, and needs no escaping in an address.
fn is_inner(path: &str) -> bool {
    let plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b'+' | b'(' | b')');
    !path.is_empty()
        && path.bytes().all(plain)
        && PathBuf::from(path).components().all(|part| matches!(part, Component::Normal(_)))
        && !path.ends_with('/')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    const LICENCE: &str = "[licence.x]\ntitle = \"X\"\nlink = \"https://x\"\nuse = \"free\"\n";

    fn own(text: &str) -> Result<Registry, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        Registry::load(Some(file.path())).map_err(|e| {
            let message = e.to_string();
            assert!(message.contains(&file.path().display().to_string()), "{message}");
            message
        })
    }

    fn part(more: &str) -> String {
        format!(
            "{LICENCE}[part.p]\nrole = \"base\"\npurpose = \"p\"\nrepo = \"a/b\"\nrevision = \"main\"\n\
             licence = \"x\"\nfiles = [{{ path = \"model_index.json\" }}]\n{more}"
        )
    }

    #[test]
    fn the_built_in_registry_has_what_is_promised() {
        let registry = Registry::load(None).unwrap();
        let names: Vec<&str> = registry.combination.keys().map(String::as_str).collect();
        assert_eq!(
            names,
            [
                "sd15-faceid-plusv2",
                "sd15-plus-face",
                "sdxl-faceid-plusv2",
                "sdxl-instantid",
                "sdxl-lightning-faceid"
            ]
        );
        let research = |name: &str| {
            let combination = registry.combination(name).unwrap();
            registry.licences(combination).iter().any(|(_, l)| l.allowed == Use::Research)
        };
        assert!(!research("sd15-plus-face"), "the permissive one needs nothing accepted");
        assert!(research("sd15-faceid-plusv2") && research("sdxl-instantid"));
        for (name, part) in &registry.part {
            let (bytes, _) = part.known_bytes();
            assert!(bytes > 10_000_000 || name == "faceid-sdxl", "{name}: {bytes}");
            for file in part.files.iter().filter(|f| !f.path.contains("json") && !f.path.ends_with("txt")) {
                assert!(file.sha256.is_some(), "{name}: {} is not pinned", file.path);
            }
        }
    }

    #[test]
    fn a_file_of_ones_own_adds_and_never_replaces() {
        let added =
            own(&part("[combination.mine]\ntitle = \"M\"\nabout = \"m\"\nparts = [\"p\"]\n")).unwrap();
        assert_eq!(added.combination("mine").unwrap().parts, ["p"]);
        assert!(added.combination("sd15-plus-face").is_ok());
        assert!(Registry::load(Some(Path::new("no/such/file"))).is_ok());
        let replaced = own("[licence.mit]\ntitle = \"X\"\nlink = \"x\"\nuse = \"free\"\n").unwrap_err();
        assert!(replaced.contains("\"mit\" is in the built-in registry already"), "{replaced}");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (text, says) in [
            ("[licence.x\n".to_string(), "line 1"),
            (format!("{LICENCE}[part.p]\nrole = \"hat\"\n"), "hat"),
            (format!("{LICENCE}colour = 3\n"), "colour"),
            (part("").replace("\"a/b\"", "\"../b\""), "part.p.repo"),
            (part("").replace("\"a/b\"", "\"ab\""), "part.p.repo"),
            (part("").replace("\"main\"", "\"a b\""), "part.p.revision"),
            (part("").replace("\"x\"\nfiles", "\"y\"\nfiles"), "part.p.licence"),
            (part("").replace("model_index", "../../model_index"), "inside a repository"),
            (part("").replace("model_index.json\"", "a.bin\", sha256 = \"12\""), "64 digits"),
            (part("entry = \"b\"\n"), "part.p.entry"),
            (part("[combination.c]\ntitle = \"\"\nabout = \"\"\nparts = [\"q\"]\n"), "\"q\" is not among"),
            (
                part("[combination.c]\ntitle = \"\"\nabout = \"\"\nparts = [\"clip-vit-h\"]\n"),
                "0 base models",
            ),
            (part("[combination.\"a/b\"]\ntitle = \"\"\nabout = \"\"\nparts = [\"p\"]\n"), "\"a/b\""),
        ] {
            let message = own(&text).unwrap_err();
            assert!(message.contains(says), "{says}: {message}");
        }
    }

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let registry = Registry::load(None).unwrap();
        let failure = crate::failure::Failure::from(registry.combination("sd16").unwrap_err()).to_string();
        assert!(failure.contains("\"sd16\"") && failure.contains("hint: known: sd15-"), "{failure}");
    }
}
