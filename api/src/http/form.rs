//! Multipart forms, bounded: how many files, how large each, how much text.

use axum::extract::multipart::{Multipart, MultipartError};
use axum::http::StatusCode;
use sha2::{Digest, Sha256};

use crate::error::{Code, Outcome, Problem};

/// What a form may bring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormLimits {
    pub files: usize,
    pub file_bytes: usize,
    /// Of all text fields together.
    pub text_bytes: usize,
}

/// A form's fields in the order in which they came.
#[derive(Default)]
pub(crate) struct Form {
    texts: Vec<(String, String)>,
    files: Vec<File>,
}

/// A file of a form. Its name is not kept: nothing needs it.
pub(crate) struct File {
    pub field: String,
    pub bytes: Vec<u8>,
}

const FIELDS: usize = 100;

impl Form {
    pub(crate) async fn read(mut multipart: Multipart, limits: FormLimits) -> Outcome<Self> {
        let mut form = Self::default();
        let mut text_left = limits.text_bytes;
        while let Some(field) = multipart.next_field().await.map_err(|error| broken(&error))? {
            let name = field.name().unwrap_or_default().to_owned();
            if form.texts.len() + form.files.len() >= FIELDS {
                return Err(Problem::new(Code::TooLarge, format!("a form has {FIELDS} fields at most")));
            }
            if field.file_name().is_some() {
                if form.files.len() >= limits.files {
                    let detail = format!("{} files at most are taken at once", limits.files);
                    return Err(Problem::new(Code::TooLarge, detail).param(&name));
                }
                let large = format!("\"{}\" is larger than {} bytes", shown(&name), limits.file_bytes);
                let bytes = bounded(field, limits.file_bytes, large).await?;
                form.files.push(File { field: name, bytes });
            } else {
                let large = format!("the form's text is longer than {} bytes", limits.text_bytes);
                let bytes = bounded(field, text_left, large).await?;
                text_left -= bytes.len();
                let text =
                    String::from_utf8(bytes).map_err(|_| Problem::field(&name, "text must be UTF-8"))?;
                form.texts.push((name, text));
            }
        }
        Ok(form)
    }

    /// The field's last text.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.texts.iter().rev().find(|(n, _)| n == name).map(|(_, text)| text.as_str())
    }

    /// All texts of a field that may come several times.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.texts.iter().filter(move |(n, _)| n == name).map(|(_, text)| text.as_str())
    }

    pub(crate) fn texts(&self) -> &[(String, String)] {
        &self.texts
    }

    /// Takes the files of a field out; `name[]` is the same field as `name`.
    pub(crate) fn take_files(&mut self, name: &str) -> Vec<File> {
        let of_field = |file: &File| file.field.strip_suffix("[]").unwrap_or(&file.field) == name;
        let (taken, rest) = std::mem::take(&mut self.files).into_iter().partition(of_field);
        self.files = rest;
        taken
    }

    /// The field of a file that is none of `name`.
    pub(crate) fn other_file(&self, name: &str) -> Option<&str> {
        let other =
            self.files.iter().find(|file| file.field.strip_suffix("[]").unwrap_or(&file.field) != name);
        other.map(|file| shown(&file.field))
    }

    /// Of the fields and files, not of their encoding: a client chooses a new boundary each time it tries.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let mut parts: Vec<(&str, [u8; 32])> = Vec::new();
        parts.extend(self.texts.iter().map(|(name, text)| (name.as_str(), Sha256::digest(text).into())));
        parts.extend(self.files.iter().map(|file| (file.field.as_str(), Sha256::digest(&file.bytes).into())));
        let mut whole = Sha256::new();
        for (name, digest) in parts {
            whole.update((name.len() as u64).to_le_bytes());
            whole.update(name);
            whole.update(digest);
        }
        whole.finalize().into()
    }
}

async fn bounded(
    mut field: axum::extract::multipart::Field<'_>,
    most: usize,
    large: String,
) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        if bytes.len() + chunk.len() > most {
            let name = field.name().unwrap_or_default();
            return Err(Problem::new(Code::TooLarge, large).param(shown(name)));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn shown(name: &str) -> &str {
    if name.len() <= 40 && name.is_ascii() { name } else { "file" }
}

fn broken(error: &MultipartError) -> Problem {
    match error.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(Code::TooLarge, "the request is too large"),
        _ => Problem::new(Code::InvalidJson, "the multipart form is cut off or malformed"),
    }
}
