//! Encryption of what is known of people.
//!
//! Every person (and every picture handed in) has a data key of its own; the database holds it only wrapped by
//! the master key. Who the bytes belong to and what they are for is authenticated with them, so that no sealed
//! bytes can stand in for others. To forget a person is to forget their data key.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

const KEY: usize = 32;
const NONCE: usize = 24;
/// First byte of everything sealed: what follows is a nonce of XChaCha20-Poly1305 and the ciphertext.
const FORMAT: u8 = 1;

/// Why something could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("{path}: {problem}")]
    File { path: PathBuf, problem: String },
    /// Another key, another owner or purpose, or changed bytes.
    #[error("the {purpose} of {owner} cannot be decrypted: it was changed, or the master key is another")]
    Sealed { owner: String, purpose: String },
    #[error("the data cannot be written in its stored form: {0}")]
    Encoding(String),
    #[error("the system has no random numbers: {0}")]
    Random(String),
}

/// Key of one person, or of one picture handed in. Wiped from memory when dropped.
pub struct DataKey(Zeroizing<[u8; KEY]>);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(…)")
    }
}

/// Holds the master key.
#[derive(Clone)]
pub struct Vault(Zeroizing<[u8; KEY]>);

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Vault {
    /// With this master key.
    pub fn new(master: [u8; KEY]) -> Self {
        Self(Zeroizing::new(master))
    }

    /// Reads the master key of `file`, or makes one where there is no file yet: 32 random bytes as base64url,
    /// readable by its owner alone.
    ///
    /// # Errors
    /// The file cannot be made, read, or holds no key.
    pub fn open_or_create(file: &Path) -> Result<Self, VaultError> {
        let problem = |e: &dyn fmt::Display| VaultError::File { path: file.into(), problem: e.to_string() };
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        // Written beside and linked into place, so that no other process reads half a key.
        let beside = file.with_extension(format!("new-{}", std::process::id()));
        if fs::exists(file).map_err(|e| problem(&e))? {
            return Self::from_file(file);
        }
        let mut opened = options.open(&beside).map_err(|e| problem(&e))?;
        let text = Zeroizing::new(format!("{}\n", URL_SAFE_NO_PAD.encode(random_key()?.as_slice())));
        let written = opened.write_all(text.as_bytes()).and_then(|()| opened.sync_all());
        let linked = written.and_then(|()| fs::hard_link(&beside, file));
        fs::remove_file(&beside).map_err(|e| problem(&e))?;
        match linked {
            Ok(()) => Self::from_file(file),
            // Another process was first.
            Err(e) if e.kind() == ErrorKind::AlreadyExists => Self::from_file(file),
            Err(e) => Err(problem(&e)),
        }
    }

    /// Reads the master key of a file, e.g. a mounted secret.
    ///
    /// # Errors
    /// The file cannot be read, or holds no key.
    pub fn from_file(file: &Path) -> Result<Self, VaultError> {
        let problem = |problem: String| VaultError::File { path: file.into(), problem };
        let mut text = Zeroizing::new(String::new());
        let opened = fs::File::open(file).map_err(|e| problem(e.to_string()))?;
        opened.take(1024).read_to_string(&mut text).map_err(|e| problem(e.to_string()))?;
        let wrong = || problem("a master key is 32 bytes, written as 43 characters of base64url".into());
        let mut key = Zeroizing::new([0; KEY]);
        let read = URL_SAFE_NO_PAD.decode_slice(text.trim().as_bytes(), key.as_mut_slice());
        match read {
            Ok(KEY) => Ok(Self(key)),
            _ => Err(wrong()),
        }
    }

    /// A key for another purpose, e.g. `signed-urls`; the same for the same name.
    pub fn derive(&self, name: &str) -> Zeroizing<[u8; KEY]> {
        let mut key = Zeroizing::new([0; KEY]);
        let derived = Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand_multi_info(&[b"imagine/1/", name.as_bytes()], key.as_mut_slice());
        debug_assert!(derived.is_ok(), "32 bytes are fewer than HKDF can give");
        key
    }

    /// # Errors
    /// The system has no random numbers.
    pub fn new_key(&self) -> Result<DataKey, VaultError> {
        Ok(DataKey(random_key()?))
    }

    /// The data key as it is stored.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn wrap(&self, owner: &str, key: &DataKey) -> Result<Vec<u8>, VaultError> {
        DataKey(self.derive("wrap")).seal(owner, "data key", key.0.as_slice())
    }

    /// # Errors
    /// The key is another owner's or was wrapped by another master key.
    pub fn unwrap(&self, owner: &str, wrapped: &[u8]) -> Result<DataKey, VaultError> {
        let opened = DataKey(self.derive("wrap")).open(owner, "data key", wrapped)?;
        let wrong = || VaultError::Sealed { owner: owner.into(), purpose: "data key".into() };
        let key = opened.as_slice().try_into().map_err(|_| wrong())?;
        Ok(DataKey(Zeroizing::new(key)))
    }
}

impl DataKey {
    /// Encrypts `plain` with its owner and purpose authenticated.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn seal(&self, owner: &str, purpose: &str, plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let mut nonce = [0; NONCE];
        getrandom::fill(&mut nonce).map_err(|e| VaultError::Random(e.to_string()))?;
        let aad = context(owner, purpose);
        let payload = Payload { msg: plain, aad: &aad };
        let cipher = XChaCha20Poly1305::new((&*self.0).into());
        let sealed = cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|e| VaultError::Encoding(e.to_string()))?;
        Ok([&[FORMAT], nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts; the bytes are wiped from memory when dropped.
    ///
    /// # Errors
    /// The bytes were changed, or belong to another owner, purpose or key.
    pub fn open(&self, owner: &str, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        let wrong = || VaultError::Sealed { owner: owner.into(), purpose: purpose.into() };
        let (head, body) = sealed.split_at_checked(1 + NONCE).ok_or_else(wrong)?;
        if head[0] != FORMAT {
            return Err(wrong());
        }
        let aad = context(owner, purpose);
        let cipher = XChaCha20Poly1305::new((&*self.0).into());
        let plain = cipher.decrypt(XNonce::from_slice(&head[1..]), Payload { msg: body, aad: &aad });
        Ok(Zeroizing::new(plain.map_err(|_| wrong())?))
    }
}

/// Owner and purpose, unambiguously.
fn context(owner: &str, purpose: &str) -> Vec<u8> {
    let length = (owner.len() as u64).to_le_bytes();
    [b"imagine/1".as_slice(), &length, owner.as_bytes(), purpose.as_bytes()].concat()
}

fn random_key() -> Result<Zeroizing<[u8; KEY]>, VaultError> {
    let mut key = Zeroizing::new([0; KEY]);
    getrandom::fill(key.as_mut_slice()).map_err(|e| VaultError::Random(e.to_string()))?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn only_the_same_key_owner_and_purpose_open() {
        let vault = Vault::new([7; 32]);
        let key = vault.new_key().unwrap();
        let sealed = key.seal("person_1", "photo", b"a face").unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"a face"));
        assert_eq!(key.open("person_1", "photo", &sealed).unwrap().as_slice(), b"a face");
        assert_ne!(key.seal("person_1", "photo", b"a face").unwrap(), sealed, "a nonce is used once");
        assert!(key.open("person_2", "photo", &sealed).is_err());
        assert!(key.open("person_1", "name", &sealed).is_err());
        // The border between owner and purpose is part of what is authenticated.
        assert!(key.open("person_1p", "hoto", &sealed).is_err());
        assert!(vault.new_key().unwrap().open("person_1", "photo", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("person_1", "photo", &changed).is_err(), "byte {at}");
            assert!(key.open("person_1", "photo", &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn a_wrapped_key_needs_its_master_and_owner() {
        let vault = Vault::new([7; 32]);
        let key = vault.new_key().unwrap();
        let wrapped = vault.wrap("person_1", &key).unwrap();
        let sealed = key.seal("person_1", "name", b"Anna").unwrap();
        let again = vault.unwrap("person_1", &wrapped).unwrap();
        assert_eq!(again.open("person_1", "name", &sealed).unwrap().as_slice(), b"Anna");
        assert!(vault.unwrap("person_2", &wrapped).is_err());
        assert!(Vault::new([8; 32]).unwrap("person_1", &wrapped).is_err());
        assert_ne!(vault.derive("wrap"), vault.derive("signed-urls"));
    }

    #[test]
    fn the_master_key_is_made_once_and_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("master.key");
        let first = Vault::open_or_create(&file).unwrap();
        let second = Vault::open_or_create(&file).unwrap();
        assert_eq!(first.0, second.0);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&file, "short").unwrap();
        let error = Vault::open_or_create(&file).unwrap_err().to_string();
        assert!(error.contains("master.key") && error.contains("32 bytes"), "{error}");
        assert!(Vault::from_file(&dir.path().join("none")).unwrap_err().to_string().contains("none"));
    }
}
