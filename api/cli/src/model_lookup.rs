//! From what a person calls a model to its files: the checkpoint, and the adapter, the encoders and whatever else
//! belongs to it.

use std::env;
use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::models;
use crate::models::lock::{Lock, LockedCombination};
use crate::models::registry::Role;

/// The model where none is named.
pub const DEFAULT_MODEL: &str = "starter";

/// A checkpoint folder has this file.
pub const INDEX: &str = "model_index.json";

/// The files of a model. All but the checkpoint only where a pulled combination has them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Located {
    /// What the model was asked for by, where its folder is called by a number.
    pub name: Option<String>,
    /// A checkpoint folder, or a single file.
    pub model: PathBuf,
    /// File of the identity adapter.
    pub adapter: Option<PathBuf>,
    /// Folder of the CLIP vision encoder.
    pub image_encoder: Option<PathBuf>,
    /// Folder with the ONNX files of the face detector and recogniser.
    pub face_encoder: Option<PathBuf>,
    /// Folder of the ControlNet.
    pub controlnet: Option<PathBuf>,
    /// Folder of an autoencoder that does not overflow in f16: it is for that type alone.
    pub vae: Option<PathBuf>,
    /// File or folder of a U-Net that stands in the place of the base's.
    pub unet: Option<PathBuf>,
    pub loras: Vec<PathBuf>,
    /// Sampler, steps and guidance, by name.
    pub preset: Option<String>,
}

/// The checkpoint that `--model` means; see [`locate`].
pub fn find_model(model: &Path) -> Result<PathBuf, Failure> {
    locate(model).map(|located| located.model)
}

/// What `--model` means: a path as it is, else the name of a model or a pulled combination in one of the places
/// for models, or of a repository in the Hugging Face cache.
///
/// # Errors
/// Wrong input, with the places looked at; a combination that is not whole, with the command that completes it.
pub fn locate(model: &Path) -> Result<Located, Failure> {
    let places: Vec<PathBuf> = places().into_iter().map(|place| place.path).collect();
    locate_in(model, &places)
}

fn locate_in(model: &Path, places: &[PathBuf]) -> Result<Located, Failure> {
    let plain = |model: PathBuf| Ok(Located { model, ..Located::default() });
    if model.join(INDEX).is_file() || is_single_file(model) {
        return plain(model.to_path_buf());
    }
    if model.is_file() {
        return Err(Failure::input(format!(
            "{} is a file, a model is a folder with {INDEX} or a file of the kind {}",
            model.display(),
            SINGLE_FILES.join(", ")
        )));
    }
    if let Some(repository) = repository(model)
        && let Some(found) = models::cached_checkpoint(repository)
    {
        return Ok(Located { name: Some(repository.to_owned()), model: found, ..Located::default() });
    }
    let Some(name) = plain_name(model) else {
        let what = if model.is_dir() { format!("has no {INDEX}") } else { "is not there".into() };
        return Err(Failure::input(format!("the model folder {} {what}", model.display())));
    };
    if let Some(found) = places.iter().map(|place| place.join(name)).find(|dir| dir.join(INDEX).is_file()) {
        return plain(found);
    }
    if let Some(found) = places.iter().find_map(|place| single_file(place, name)) {
        return plain(found);
    }
    let name = name.to_string_lossy();
    let locks: Vec<Lock> = places
        .iter()
        .map(|place| Lock::read(place).map_err(Failure::from))
        .collect::<Result<_, Failure>>()?;
    for lock in &locks {
        if let Some(combination) = lock.combinations.get(name.as_ref()) {
            return combined(&name, lock, combination);
        }
    }
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    let message = format!("there is no model \"{name}\"; looked in {}", looked.join(", "));
    let mut known = names(places);
    known.extend(locks.iter().flat_map(|lock| lock.combinations.keys().cloned()));
    Err(Failure::input(message).hint(match models::pull_hint(&name) {
        Some(hint) => hint,
        None if known.is_empty() => {
            format!("name a folder with {INDEX}, set IMAGINE_MODELS to where models lie, or see `imagine models list`")
        }
        None => format!("models found: {}", known.join(", ")),
    }))
}

/// The files of a combination that was pulled.
fn combined(name: &str, lock: &Lock, combination: &LockedCombination) -> Result<Located, Failure> {
    let missing: usize = lock.parts_of(combination).map(|(_, part)| part.missing().len()).sum();
    if !lock.is_complete(combination) {
        return Err(Failure::input(format!(
            "the model \"{name}\" is not all here: {missing} files are missing"
        ))
        .hint(format!("`imagine models pull {name}` fetches them")));
    }
    let mut located =
        Located { name: Some(name.to_owned()), preset: combination.preset.clone(), ..Located::default() };
    for (_, part) in lock.parts_of(combination) {
        let entry = part.entry();
        match part.role {
            Role::Base => located.model = entry,
            Role::Adapter => located.adapter = Some(entry),
            Role::ImageEncoder => located.image_encoder = Some(entry),
            Role::FaceEncoder => located.face_encoder = Some(entry),
            Role::Controlnet => located.controlnet = Some(entry),
            Role::Vae => located.vae = Some(entry),
            Role::Unet => located.unet = Some(entry),
            Role::Lora => located.loras.push(entry),
        }
    }
    Ok(located)
}

/// Kinds of files that hold a whole checkpoint.
const SINGLE_FILES: [&str; 2] = [".safetensors", ".ckpt"];

/// Whether that is a file that can hold a whole checkpoint. An adapter in a models folder is none.
pub fn is_single_file(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    SINGLE_FILES.iter().any(|ending| name.ends_with(ending)) && !is_adapter(path) && path.is_file()
}

fn single_file(place: &Path, name: &OsStr) -> Option<PathBuf> {
    let with = |ending: &str| {
        let mut file = name.to_os_string();
        file.push(ending);
        place.join(file)
    };
    SINGLE_FILES.into_iter().map(with).chain([place.join(name)]).find(|path| is_single_file(path))
}

/// `owner/name`, as the Hub calls a model; `./name` is a path.
fn repository(model: &Path) -> Option<&str> {
    let name = model.to_str()?;
    let (owner, rest) = name.split_once('/')?;
    let plain = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.contains('/');
    (plain(owner) && plain(rest)).then_some(name)
}

/// A name has one component, and is neither `.` nor `..`; `./name` is a path.
fn plain_name(model: &Path) -> Option<&OsStr> {
    (model.file_name() == Some(model.as_os_str())).then(|| model.file_name()).flatten()
}

/// A folder in which models lie.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    pub path: PathBuf,
    pub origin: Origin,
}

/// Why a folder is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `$IMAGINE_MODELS` names it.
    Variable,
    /// `models/` around the program or the current folder.
    Checkout,
    /// The person's data folder.
    Data,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Variable => "$IMAGINE_MODELS",
            Self::Checkout => "checkout",
            Self::Data => "data folder",
        })
    }
}

/// Where models may lie, best first: `$IMAGINE_MODELS`, `models/` of a checkout around the program or
/// the current folder, the person's data folder.
pub fn places() -> Vec<Place> {
    let mut places: Vec<Place> =
        named_places().into_iter().map(|path| Place { path, origin: Origin::Variable }).collect();
    let program = env::current_exe().ok();
    for start in [program, env::current_dir().ok()].into_iter().flatten() {
        let around = start.ancestors().map(|dir| dir.join("models")).filter(|dir| dir.is_dir());
        places.extend(around.map(|path| Place { path, origin: Origin::Checkout }));
    }
    places.extend(data_place().map(|path| Place { path, origin: Origin::Data }));
    let mut seen: Vec<PathBuf> = Vec::new();
    places.retain(|place| {
        let new = !seen.contains(&place.path);
        seen.push(place.path.clone());
        new
    });
    places
}

/// Where pulled models are noted: the first folder of `$IMAGINE_MODELS`, else the person's data folder.
pub fn models_folder() -> Option<PathBuf> {
    named_places().into_iter().next().or_else(data_place)
}

fn named_places() -> Vec<PathBuf> {
    let paths = env::var_os("IMAGINE_MODELS").unwrap_or_default();
    env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect()
}

fn data_place() -> Option<PathBuf> {
    data_folder().map(|data| data.join("models"))
}

/// `imagine` in the person's data folder; none without a home.
pub fn data_folder() -> Option<PathBuf> {
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or(home);
    data.map(|data| data.join("imagine"))
}

/// The models in these places, each name once.
fn names(places: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = places
        .iter()
        .filter_map(|place| fs::read_dir(place).ok())
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join(INDEX).is_file())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The one identity adapter in a model's folder; none if there is none, a failure if there are several.
pub fn find_adapter(model: &Path) -> Result<Option<PathBuf>, Failure> {
    let entries = fs::read_dir(model).map_err(|e| Failure::input(format!("{}: {e}", model.display())))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|path| is_adapter(path)).collect();
    files.sort();
    match files.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one.clone())),
        several => {
            let list: Vec<String> = several.iter().map(|path| path.display().to_string()).collect();
            let message = format!("{} has {} identity adapters", model.display(), several.len());
            Err(Failure::input(message).hint(format!("choose with --adapter: {}", list.join(", "))))
        }
    }
}

fn is_adapter(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let weights = name.ends_with(".safetensors") || name.ends_with(".bin");
    name.starts_with("ip-adapter") && weights && path.is_file()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn place_with(models: &[&str]) -> tempfile::TempDir {
        let place = tempfile::tempdir().unwrap();
        for model in models {
            fs::create_dir(place.path().join(model)).unwrap();
            fs::write(place.path().join(model).join(INDEX), "{}").unwrap();
        }
        place
    }

    #[test]
    fn a_name_is_looked_up_and_a_path_is_taken() {
        let (first, second) = (place_with(&["a"]), place_with(&["a", "b"]));
        let places = [first.path().to_path_buf(), second.path().to_path_buf()];
        let found = |model: &Path| locate_in(model, &places).map(|l| l.model).map_err(|e| e.to_string());
        assert_eq!(found(Path::new("a")).unwrap(), first.path().join("a"));
        assert_eq!(found(Path::new("b")).unwrap(), second.path().join("b"));
        assert_eq!(found(&second.path().join("a")).unwrap(), second.path().join("a"));
        let missing = found(Path::new("c")).unwrap_err();
        for place in &places {
            assert!(missing.contains(&place.display().to_string()), "{missing}");
        }
        assert!(missing.contains("hint: models found: a, b"), "{missing}");
        assert!(found(Path::new("./b")).unwrap_err().contains("./b is not there"));
        assert!(found(Path::new("..")).unwrap_err().contains("has no model_index.json"));
        assert!(found(&first.path().join("a").join(INDEX)).unwrap_err().contains("is a file"));
        assert!(
            found(Path::new("sdxl-instantid")).unwrap_err().contains("imagine models pull sdxl-instantid")
        );
    }

    #[test]
    fn a_single_file_is_a_model_by_path_and_by_name() {
        let place = place_with(&[]);
        let file = place.path().join("dream.safetensors");
        fs::write(&file, "").unwrap();
        fs::write(place.path().join("ip-adapter_x.safetensors"), "").unwrap();
        let places = [place.path().to_path_buf()];
        for name in [file.as_path(), Path::new("dream"), Path::new("dream.safetensors")] {
            assert_eq!(locate_in(name, &places).unwrap().model, file);
        }
        assert!(locate_in(Path::new("ip-adapter_x"), &places).is_err(), "an adapter is no model");
    }

    #[test]
    fn a_pulled_combination_gives_all_its_parts_or_none() {
        let place = tempfile::tempdir().unwrap();
        let part = |role: &str, entry: &str| {
            format!(
                r#"{{"role": "{role}", "repo": "a/b", "revision": "main", "commit": "c", "licence": "x",
                    "folder": "{}", "entry": "{entry}",
                    "files": {{"{entry}/f": {{"size": 1, "blob": "b", "sha256": "s", "fetched": true}}}}}}"#,
                place.path().display()
            )
        };
        let roles = [
            ("base", "m"),
            ("adapter", "a"),
            ("image-encoder", "i"),
            ("face-encoder", "f"),
            ("controlnet", "n"),
            ("vae", "v"),
            ("unet", "u"),
            ("lora", "l"),
        ];
        let parts: Vec<String> =
            roles.iter().map(|(role, entry)| format!("\"{role}\": {}", part(role, entry))).collect();
        let names: Vec<String> = roles.iter().map(|(role, _)| format!("\"{role}\"")).collect();
        let lock = format!(
            r#"{{"version": 1, "parts": {{{}}}, "combinations": {{"all": {{"title": "t", "parts": [{}], "preset": "p"}}}}}}"#,
            parts.join(", "),
            names.join(", ")
        );
        fs::write(place.path().join("models.lock.json"), lock).unwrap();
        let places = [place.path().to_path_buf()];
        let find = || locate_in(Path::new("all"), &places).map_err(|e| e.to_string());
        let failure = find().unwrap_err();
        assert!(
            failure.contains("8 files are missing") && failure.contains("imagine models pull all"),
            "{failure}"
        );
        let at = |entry: &str| place.path().join("snapshots/c").join(entry);
        for (_, entry) in roles {
            fs::create_dir_all(at(entry)).unwrap();
            fs::write(at(entry).join("f"), "1").unwrap();
        }
        let expected = Located {
            name: Some("all".into()),
            model: at("m"),
            adapter: Some(at("a")),
            image_encoder: Some(at("i")),
            face_encoder: Some(at("f")),
            controlnet: Some(at("n")),
            vae: Some(at("v")),
            unet: Some(at("u")),
            loras: vec![at("l")],
            preset: Some("p".into()),
        };
        assert_eq!(find().unwrap(), expected);
    }

    #[test]
    fn one_adapter_is_taken_and_several_are_named() {
        let place = place_with(&["a"]);
        let model = place.path().join("a");
        assert_eq!(find_adapter(&model).unwrap(), None);
        fs::write(model.join("other.safetensors"), "").unwrap();
        fs::write(model.join("ip-adapter-faceid_a.safetensors"), "").unwrap();
        assert_eq!(find_adapter(&model).unwrap(), Some(model.join("ip-adapter-faceid_a.safetensors")));
        fs::write(model.join("ip-adapter-faceid_b.safetensors"), "").unwrap();
        let message = find_adapter(&model).unwrap_err().to_string();
        assert!(message.contains("2 identity adapters") && message.contains("faceid_b"), "{message}");
    }
}
