//! From what a person calls a model to its folder, and to the adapter that lies in it.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use crate::failure::Failure;

/// The model where none is named.
pub const DEFAULT_MODEL: &str = "starter";

/// A checkpoint folder has this file.
const INDEX: &str = "model_index.json";

/// The folder that `--model` means: the path itself, or a name in one of the places for models.
pub fn find_model(model: &Path) -> Result<PathBuf, Failure> {
    find_model_in(model, &places())
}

fn find_model_in(model: &Path, places: &[PathBuf]) -> Result<PathBuf, Failure> {
    if model.join(INDEX).is_file() {
        return Ok(model.to_path_buf());
    }
    if model.is_file() {
        return Err(Failure::input(format!(
            "{} is a file, a model is a folder with {INDEX}",
            model.display()
        )));
    }
    let Some(name) = plain_name(model) else {
        let what = if model.is_dir() { format!("has no {INDEX}") } else { "is not there".into() };
        return Err(Failure::input(format!("the model folder {} {what}", model.display())));
    };
    if let Some(found) = places.iter().map(|place| place.join(name)).find(|dir| dir.join(INDEX).is_file()) {
        return Ok(found);
    }
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    let message = format!("there is no model \"{}\"; looked in {}", model.display(), looked.join(", "));
    let known = names(places);
    Err(Failure::input(message).hint(if known.is_empty() {
        format!("name a folder with {INDEX}, or set IMAGINE_MODELS to where models lie")
    } else {
        format!("models found: {}", known.join(", "))
    }))
}

/// A name has one component, and is neither `.` nor `..`; `./name` is a path.
fn plain_name(model: &Path) -> Option<&OsStr> {
    (model.file_name() == Some(model.as_os_str())).then(|| model.file_name()).flatten()
}

/// Where models may lie, best first: `$IMAGINE_MODELS`, `models/` of a checkout around the program or
/// the current folder, the person's data folder.
fn places() -> Vec<PathBuf> {
    let mut places: Vec<PathBuf> = match env::var_os("IMAGINE_MODELS") {
        Some(paths) => env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => Vec::new(),
    };
    let program = env::current_exe().ok();
    for start in [program, env::current_dir().ok()].into_iter().flatten() {
        places.extend(start.ancestors().map(|dir| dir.join("models")).filter(|dir| dir.is_dir()));
    }
    let home = env::var_os("HOME").map(|home| Path::new(&home).join(".local/share"));
    let data = env::var_os("XDG_DATA_HOME").map(PathBuf::from).filter(|dir| dir.is_absolute()).or(home);
    places.extend(data.map(|data| data.join("imagine/models")));
    let mut seen = Vec::new();
    places.retain(|place| {
        let new = !seen.contains(place);
        seen.push(place.clone());
        new
    });
    places
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
    name.starts_with("ip-adapter") && name.ends_with(".safetensors") && path.is_file()
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
        let found = |model: &Path| find_model_in(model, &places).map_err(|e| e.to_string());
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
