//! What each face encoder may be used for, and what a person has agreed to. Networks for research only are
//! refused until their licence is accepted by its name; names are kept in `accepted-licences` in the person's
//! configuration folder, one a line, together with those that were accepted when models were pulled.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::IdentityError;

/// File of accepted licences within the configuration folder.
pub const LICENCE_FILE: &str = "accepted-licences";
/// Longest name of a licence, bytes.
const LONGEST_NAME: usize = 200;

/// The terms of an encoder's networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Licence {
    /// What it is accepted by.
    pub name: &'static str,
    /// What is licensed and how, in one line.
    pub terms: &'static str,
    /// Where the licence itself stands.
    pub source: &'static str,
    /// True where it must be accepted by name before the networks are used.
    pub must_be_accepted: bool,
}

/// YuNet and SFace.
pub const OPENCV_ZOO: Licence = Licence {
    name: "opencv-zoo",
    terms: "YuNet: MIT, SFace: Apache-2.0 (OpenCV zoo); any use, also commercial",
    source: "https://github.com/opencv/opencv_zoo",
    must_be_accepted: false,
};

/// The networks of the identity card, and the detector before them.
pub const CARD_NETWORKS: Licence = Licence {
    name: "identity-card",
    terms: "YuNet: MIT, dlib's face descriptor: CC0, face-api's landmarks: MIT; any use, also commercial",
    source: "https://github.com/vladmandic/face-api",
    must_be_accepted: false,
};

/// InsightFace's model packs.
pub const INSIGHTFACE: Licence = Licence {
    name: "insightface",
    terms: "InsightFace models: non-commercial research only, any other use needs a licence from InsightFace",
    source: "https://github.com/deepinsight/insightface#license",
    must_be_accepted: true,
};

/// The folder for a person's own data: `imagine` in `$XDG_DATA_HOME` or `~/.local/share`; `None` where neither
/// is known.
pub fn data_folder() -> Option<PathBuf> {
    own_folder("XDG_DATA_HOME", ".local/share")
}

fn own_folder(variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    let base = named.or_else(|| Some(std::env::home_dir()?.join(below_home)))?;
    Some(base.join("imagine"))
}

/// Licences that were accepted on this machine by this person.
#[derive(Debug, Clone)]
pub struct LicenceStore {
    file: PathBuf,
}

impl LicenceStore {
    /// The store in the person's configuration folder: `imagine` in `$XDG_CONFIG_HOME` or `~/.config`.
    ///
    /// # Errors
    /// [`IdentityError::LicenceFile`] where neither is known.
    pub fn of_this_person() -> Result<Self, IdentityError> {
        let Some(folder) = own_folder("XDG_CONFIG_HOME", ".config") else {
            let reason = "neither XDG_CONFIG_HOME nor HOME says where it should be".to_owned();
            return Err(IdentityError::LicenceFile { path: LICENCE_FILE.into(), reason });
        };
        Ok(Self::at(&folder.join(LICENCE_FILE)))
    }

    /// The store in that file, which need not exist.
    pub fn at(file: &Path) -> Self {
        Self { file: file.to_owned() }
    }

    /// Where it is kept.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Whether the licence of that name was accepted.
    ///
    /// # Errors
    /// [`IdentityError::LicenceFile`] for a file that cannot be read.
    pub fn is_accepted(&self, name: &str) -> Result<bool, IdentityError> {
        Ok(self.read()?.contains(name))
    }

    /// Remembers that the licence was accepted. The file is replaced as a whole, so that it is never half
    /// written.
    ///
    /// # Errors
    /// [`IdentityError::LicenceFile`] for a file that cannot be read or written; a name that is empty, too
    /// long or holds control characters.
    pub fn accept(&self, name: &str) -> Result<(), IdentityError> {
        if name.trim() != name
            || name.is_empty()
            || name.len() > LONGEST_NAME
            || name.chars().any(char::is_control)
        {
            return Err(self.wrong(format!("{name:?} is no name of a licence")));
        }
        let mut known = self.read()?;
        if !known.insert(name.to_owned()) {
            return Ok(());
        }
        self.write(&known)
            .map_err(|e| self.wrong(format!("the list of accepted licences cannot be written: {e}")))
    }

    /// Passes where the licence of the encoder of that name needs no acceptance or has it.
    ///
    /// # Errors
    /// [`IdentityError::LicenceNotAccepted`], and those of [`LicenceStore::is_accepted`].
    pub fn check(&self, encoder: &str, licence: Licence) -> Result<(), IdentityError> {
        if !licence.must_be_accepted || self.is_accepted(licence.name)? {
            return Ok(());
        }
        Err(IdentityError::LicenceNotAccepted { encoder: encoder.to_owned(), licence })
    }

    fn read(&self) -> Result<BTreeSet<String>, IdentityError> {
        match fs::read_to_string(&self.file) {
            Ok(text) => {
                Ok(text.lines().map(|line| line.trim().to_owned()).filter(|name| !name.is_empty()).collect())
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(BTreeSet::new()),
            Err(e) => Err(self.wrong(format!("the list of accepted licences cannot be read: {e}"))),
        }
    }

    fn write(&self, names: &BTreeSet<String>) -> std::io::Result<()> {
        let folder = self.file.parent().filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        for name in names {
            writeln!(file, "{name}")?;
        }
        file.as_file().sync_all()?;
        file.persist(&self.file)?;
        Ok(())
    }

    fn wrong(&self, reason: String) -> IdentityError {
        IdentityError::LicenceFile { path: self.file.clone(), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LicenceStore) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let store = LicenceStore::at(&folder.path().join("config/imagine").join(LICENCE_FILE));
        (folder, store)
    }

    #[test]
    fn an_accepted_licence_is_remembered() {
        let (_folder, store) = store();
        assert!(!store.is_accepted("insightface").expect("no file is no error"));
        store.accept("insightface").expect("accepted");
        store.accept("another").expect("accepted");
        store.accept("insightface").expect("twice is once");
        let again = LicenceStore::at(store.file());
        assert!(
            again.is_accepted("insightface").expect("read") && again.is_accepted("another").expect("read")
        );
        assert!(!again.is_accepted("insight").expect("read"));
        assert_eq!(fs::read_to_string(store.file()).expect("the file"), "another\ninsightface\n");
        let beside = fs::read_dir(store.file().parent().expect("a folder")).expect("the folder").count();
        assert_eq!(beside, 1, "nothing but the file is left");
    }

    #[test]
    fn research_only_is_refused_with_the_terms_and_what_to_do() {
        let (_folder, store) = store();
        let refused = store.check("buffalo_l", INSIGHTFACE).expect_err("not accepted").to_string();
        for part in
            ["buffalo_l", "non-commercial research only", INSIGHTFACE.source, "--accept-licence insightface"]
        {
            assert!(refused.contains(part), "{part} is missing in: {refused}");
        }
        store.check("sface", OPENCV_ZOO).expect("free to use");
        store.accept("buffalo").expect("accepted");
        assert!(store.check("buffalo_l", INSIGHTFACE).is_err(), "another licence is another licence");
        store.accept("insightface").expect("accepted");
        store.check("buffalo_l", INSIGHTFACE).expect("accepted");
    }

    #[test]
    fn a_list_that_a_person_has_edited_is_read_and_a_damaged_one_is_kept() {
        let (_folder, store) = store();
        fs::create_dir_all(store.file().parent().expect("a folder")).expect("the folder");
        fs::write(store.file(), "\n  insightface \r\n\nother").expect("writing");
        assert!(store.is_accepted("insightface").expect("read") && !store.is_accepted("").expect("read"));
        fs::write(store.file(), [0xff, 0xfe, 0x00]).expect("writing");
        for error in [store.is_accepted("insightface").map(drop), store.accept("insightface")] {
            let message = error.expect_err("damaged").to_string();
            assert!(message.contains(LICENCE_FILE) && message.contains("cannot be read"), "{message}");
        }
        assert_eq!(fs::read(store.file()).expect("reading"), [0xff, 0xfe, 0x00]);
    }

    #[test]
    fn a_place_that_cannot_be_written_and_a_name_that_is_none() {
        let (folder, store) = store();
        fs::write(folder.path().join("config"), "a file where a folder should be").expect("writing");
        let message = store.accept("insightface").expect_err("no folder").to_string();
        assert!(message.contains(LICENCE_FILE), "{message}");
        for name in ["", " ", "a\nb", &"x".repeat(201)] {
            assert!(store.accept(name).is_err());
        }
    }
}
