//! Models on this machine, whoever put them there: folders with a `model_index.json`, and single files.

use std::fs;
use std::path::{Path, PathBuf};

use imagine_pipeline::single_file::{BaseModel, SingleFileKind};
use serde::Serialize;
use serde_json::Value;

use crate::model_lookup::{INDEX, Place, is_single_file};

/// A model that can be named to `generate`.
#[derive(Clone, Debug, Serialize)]
pub struct Installed {
    pub name: String,
    pub kind: Kind,
    /// Where it was found, in words.
    pub place: String,
    pub path: PathBuf,
    pub bytes: u64,
    /// As its model card says; `None` if there is none.
    pub licence: Option<String>,
}

/// The family of a model.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
pub enum Kind {
    #[serde(rename = "SD 1.5")]
    Sd15,
    #[serde(rename = "SD 2.1")]
    Sd21,
    #[serde(rename = "SDXL")]
    Sdxl,
    #[serde(rename = "SDXL refiner")]
    SdxlRefiner,
    /// Of another width, as the starter model is.
    #[serde(rename = "own")]
    Own,
    /// Damaged, or of a kind that is not supported.
    #[serde(rename = "unknown")]
    Unknown,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::Sd15 => "SD 1.5",
            Self::Sd21 => "SD 2.1",
            Self::Sdxl => "SDXL",
            Self::SdxlRefiner => "SDXL refiner",
            Self::Own => "own",
            Self::Unknown => "unknown",
        }
    }

    /// The kind of a checkpoint's folder or single file.
    pub fn of(model: &Path) -> Self {
        if model.is_dir() { Self::of_folder(model) } else { Self::of_file(model) }
    }

    /// Told from the names and shapes of the weights; a file that is no checkpoint, such as a LoRA, is of no
    /// known kind.
    fn of_file(file: &Path) -> Self {
        match SingleFileKind::of_file(file).map(|kind| kind.base) {
            Ok(BaseModel::Sd1) => Self::Sd15,
            Ok(BaseModel::Sd2) => Self::Sd21,
            Ok(BaseModel::Sdxl) => Self::Sdxl,
            Err(_) => Self::Unknown,
        }
    }

    /// Told from the width of the text condition in the U-Net's configuration: 768 is one CLIP ViT-L, 1024 is
    /// OpenCLIP ViT-H, 2048 is ViT-L and bigG side by side, 1280 is bigG alone.
    fn of_folder(model: &Path) -> Self {
        let config = fs::read_to_string(model.join("unet/config.json")).ok();
        let config = config.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        let Some(config) = config else { return Self::Unknown };
        let width = match config.get("cross_attention_dim") {
            Some(Value::Array(each)) => each.first().and_then(Value::as_i64),
            Some(one) => one.as_i64(),
            None => None,
        };
        let text_time = config.get("addition_embed_type").and_then(Value::as_str) == Some("text_time");
        match (width, text_time) {
            (Some(768), false) => Self::Sd15,
            (Some(1024), false) => Self::Sd21,
            (Some(2048), true) => Self::Sdxl,
            (Some(1280), true) => Self::SdxlRefiner,
            _ => Self::Own,
        }
    }
}

/// Every model in these places, then those in the Hugging Face cache.
pub fn installed(places: &[Place], cache: &Path) -> Vec<Installed> {
    let mut found: Vec<Installed> = Vec::new();
    for place in places {
        let mut paths: Vec<PathBuf> =
            fs::read_dir(&place.path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let folder = path.join(INDEX).is_file();
            let name = if folder { path.file_name() } else { path.file_stem() };
            let name = name.unwrap_or_default().to_string_lossy().into_owned();
            if (folder || is_single_file(&path)) && !found.iter().any(|model| model.name == name) {
                found.push(describe(name, path, place.origin.to_string()));
            }
        }
    }
    found.extend(cached(cache));
    found
}

/// Checkpoints in the Hugging Face cache.
fn cached(cache: &Path) -> Vec<Installed> {
    let mut repositories: Vec<PathBuf> =
        fs::read_dir(cache).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    repositories.sort();
    let mut found = Vec::new();
    for folder in repositories {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some(name) = name.strip_prefix("models--") else { continue };
        if let Some(path) = newest_checkpoint(&folder) {
            found.push(describe(name.replacen("--", "/", 1), path, "Hugging Face cache".into()));
        }
    }
    found
}

/// The checkpoint that a repository `owner/name` has in the Hugging Face cache.
pub fn cached_checkpoint(cache: &Path, repository: &str) -> Option<PathBuf> {
    newest_checkpoint(&cache.join(format!("models--{}", repository.replacen('/', "--", 1))))
}

fn newest_checkpoint(repository: &Path) -> Option<PathBuf> {
    let snapshots = fs::read_dir(repository.join("snapshots")).ok()?.flatten().map(|entry| entry.path());
    let whole = |path: &PathBuf| path.join(INDEX).is_file() && path.join("unet/config.json").is_file();
    snapshots.filter(whole).max_by_key(|path| fs::metadata(path).and_then(|m| m.modified()).ok())
}

fn describe(name: String, path: PathBuf, place: String) -> Installed {
    let kind = Kind::of(&path);
    let (bytes, licence) = (bytes_of(&path), licence_of(&path));
    Installed { name, kind, place, path, bytes, licence }
}

/// Bytes of a file, or of all files below a folder; links count as what they lead to.
pub fn bytes_of(path: &Path) -> u64 {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => {
            fs::read_dir(path).into_iter().flatten().flatten().map(|entry| bytes_of(&entry.path())).sum()
        }
        Ok(found) => found.len(),
        Err(_) => 0,
    }
}

/// The line `license:` in the front matter of a model card.
fn licence_of(model: &Path) -> Option<String> {
    let card = fs::read_to_string(model.join("README.md")).ok()?;
    let matter = card.strip_prefix("---")?.split("\n---").next()?;
    let line = matter.lines().find_map(|line| line.strip_prefix("license:"))?;
    Some(line.trim().trim_matches(['"', '\'']).to_string()).filter(|licence| !licence.is_empty())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::model_lookup::Origin;

    fn model(folder: &Path, config: &str) {
        fs::create_dir_all(folder.join("unet")).unwrap();
        fs::write(folder.join(INDEX), "{}").unwrap();
        fs::write(folder.join("unet/config.json"), config).unwrap();
    }

    #[test]
    fn the_kind_comes_from_the_configuration() {
        for (config, kind) in [
            (r#"{"cross_attention_dim": 768}"#, Kind::Sd15),
            (r#"{"cross_attention_dim": [768, 768]}"#, Kind::Sd15),
            (r#"{"cross_attention_dim": 1024}"#, Kind::Sd21),
            (r#"{"cross_attention_dim": 2048, "addition_embed_type": "text_time"}"#, Kind::Sdxl),
            (r#"{"cross_attention_dim": 1280, "addition_embed_type": "text_time"}"#, Kind::SdxlRefiner),
            (r#"{"cross_attention_dim": 128}"#, Kind::Own),
            ("{", Kind::Unknown),
        ] {
            let folder = tempfile::tempdir().unwrap();
            model(folder.path(), config);
            assert_eq!(Kind::of(folder.path()), kind, "{config}");
        }
    }

    #[test]
    fn the_kind_of_a_single_file_comes_from_its_keys() {
        let dir = tempfile::tempdir().unwrap();
        let unet = "model.diffusion_model.input_blocks.0.0.weight";
        let vae = "first_stage_model.decoder.conv_in.weight";
        let (first, second) = ("conditioner.embedders.0.transformer.x", "conditioner.embedders.1.model.x");
        let label = "model.diffusion_model.label_emb.x";
        for (name, keys, kind) in [
            ("sd1", vec![unet, vae, "cond_stage_model.transformer.x"], Kind::Sd15),
            ("sd2", vec![unet, vae, "cond_stage_model.model.x"], Kind::Sd21),
            ("sdxl", vec![unet, vae, first, second, label], Kind::Sdxl),
            ("lora", vec!["lora_unet_x.alpha"], Kind::Unknown),
        ] {
            let values = vec![0u8; 4 * 4 * 4];
            let view = || safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![4, 4], &values);
            let tensors = keys.into_iter().map(|key| (key, view().unwrap()));
            let file = dir.path().join(format!("{name}.safetensors"));
            safetensors::serialize_to_file(tensors, None, &file).unwrap();
            assert_eq!(Kind::of(&file), kind, "{name}");
        }
    }

    #[test]
    fn folders_files_and_the_cache_are_listed_each_once() {
        let (first, second, cache) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        model(&first.path().join("a"), r#"{"cross_attention_dim": 768}"#);
        fs::write(first.path().join("a/README.md"), "---\ntags: x\nlicense: mit\n---\n# A\n").unwrap();
        model(&second.path().join("a"), "{}");
        fs::write(second.path().join("dream.safetensors"), "12345").unwrap();
        fs::write(second.path().join("notes.txt"), "1").unwrap();
        model(&cache.path().join("models--x--y--z/snapshots/c"), "{}");
        let place = |dir: &tempfile::TempDir| Place { path: dir.path().into(), origin: Origin::Variable };
        let found = installed(&[place(&first), place(&second)], cache.path());
        let names: Vec<&str> = found.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(names, ["a", "dream", "x/y--z"]);
        assert_eq!((found[0].kind, found[0].licence.as_deref()), (Kind::Sd15, Some("mit")));
        assert_eq!((found[1].kind, found[1].bytes), (Kind::Unknown, 5));
        assert_eq!(found[2].place, "Hugging Face cache");
        assert_eq!(cached_checkpoint(cache.path(), "x/y--z"), Some(found[2].path.clone()));
        assert_eq!(cached_checkpoint(cache.path(), "x/other"), None);
    }
}
