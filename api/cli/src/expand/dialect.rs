//! How a checkpoint wants to be spoken to, by its files.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use imagine_contract::Dialect;

use crate::failure::Failure;

/// A checkpoint with this file is spoken to in its words alone.
const VOCABULARY: &str = "vocabulary.json";
/// Longest header of a single file that is looked at.
const HEADER: u64 = 32 << 20;

/// The dialect of a checkpoint folder or file.
///
/// # Errors
/// A vocabulary that cannot be read.
pub fn of(model: &Path) -> Result<Dialect, Failure> {
    let vocabulary = model.join(VOCABULARY);
    if vocabulary.is_file() {
        let wrong = |e: &dyn std::fmt::Display| Failure::input(format!("{}: {e}", vocabulary.display()));
        let text = fs::read_to_string(&vocabulary).map_err(|e| wrong(&e))?;
        return serde_json::from_str(&text).map(Dialect::Vocabulary).map_err(|e| wrong(&e));
    }
    let xl = if model.is_dir() { model.join("text_encoder_2").is_dir() } else { has_two_encoders(model) };
    Ok(if xl { Dialect::Sentences } else { Dialect::Tags })
}

/// Whether a single safetensors file names SDXL's second text encoder.
fn has_two_encoders(file: &Path) -> bool {
    let read = || {
        let mut file = File::open(file).ok()?;
        let mut length = [0; 8];
        file.read_exact(&mut length).ok()?;
        let mut header = Vec::new();
        file.take(u64::from_le_bytes(length).min(HEADER)).read_to_end(&mut header).ok()?;
        let name = b"conditioner.embedders.1";
        Some(header.windows(name.len()).any(|window| window == name))
    };
    read().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn files_tell_the_dialect() {
        let folder = tempfile::tempdir().unwrap();
        let dialect = || of(folder.path());
        assert_eq!(dialect().unwrap(), Dialect::Tags);
        fs::create_dir(folder.path().join("text_encoder_2")).unwrap();
        assert_eq!(dialect().unwrap(), Dialect::Sentences);
        fs::write(
            folder.path().join(VOCABULARY),
            r#"{"words": ["me"], "phrases": {"light": ["neon light"]}}"#,
        )
        .unwrap();
        assert!(matches!(dialect().unwrap(), Dialect::Vocabulary(v) if v.knows("Me")));
        fs::write(folder.path().join(VOCABULARY), "{").unwrap();
        assert!(dialect().unwrap_err().to_string().contains(VOCABULARY));
        let single = folder.path().join("x.safetensors");
        let header = br#"{"conditioner.embedders.1.x":{}}"#;
        fs::write(&single, [&(header.len() as u64).to_le_bytes()[..], header].concat()).unwrap();
        assert_eq!(of(&single).unwrap(), Dialect::Sentences);
        fs::write(&single, "short").unwrap();
        assert_eq!(of(&single).unwrap(), Dialect::Tags);
    }
}
