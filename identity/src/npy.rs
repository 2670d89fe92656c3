//! Embeddings as NumPy `.npy` files: a small strict reader and writer for the one kind of array that an
//! embedding is (little-endian float32, `[D]` or `[1, D]`). Pickled objects are never touched.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;

use crate::Embedding;

const MAGIC: &[u8] = b"\x93NUMPY";
/// No face recogniser gives more values than this.
const MAX_WIDTH: usize = 16_384;
/// Room for the longest header that NumPy writes for such an array, many times over.
const MAX_BYTES: u64 = 4 * MAX_WIDTH as u64 + 4096;

/// Why a file is not an embedding, or could not be written. Every message names the file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NpyError {
    #[error("{name}: {source}")]
    Io { name: String, source: std::io::Error },
    #[error("{name}: not a NumPy .npy file: {reason}")]
    Format { name: String, reason: String },
    #[error(
        "{name}: holds values of type {found}, expected float32 (save it with `array.astype(numpy.float32)`)"
    )]
    Type { name: String, found: String },
    #[error("{name}: an array of shape {found}, expected one embedding: [D] or [1, D]")]
    Shape { name: String, found: String },
    #[error("{name}: {reason}")]
    Values { name: String, reason: String },
}

/// Reads an embedding and normalises it; the length it had is kept as its norm.
///
/// # Errors
/// One [`NpyError`] for each way in which the file can be wrong.
pub fn read(path: &Path) -> Result<Embedding, NpyError> {
    let name = path.display().to_string();
    let load = || -> std::io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(path)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = load().map_err(|source| NpyError::Io { name: name.clone(), source })?;
    parse(&bytes, &name)
}

/// Writes an embedding (its normalised values) as `[D]`, replacing the file.
///
/// # Errors
/// [`NpyError::Io`].
pub fn write(path: &Path, embedding: &Embedding) -> Result<(), NpyError> {
    let failed = |source| NpyError::Io { name: path.display().to_string(), source };
    File::create(path).and_then(|mut file| file.write_all(&encode(embedding))).map_err(failed)
}

/// The bytes of a `.npy` file, format version 1.0.
fn encode(embedding: &Embedding) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({},), }}", embedding.width());
    // NumPy ends the header on a multiple of 64 bytes, counting magic, version and length, with a newline.
    let unpadded = MAGIC.len() + 4 + header.len() + 1;
    header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    header.push('\n');
    let mut bytes = MAGIC.to_vec();
    bytes.extend([1, 0]);
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(embedding.vector().iter().flat_map(|v| v.to_le_bytes()));
    bytes
}

fn parse(bytes: &[u8], name: &str) -> Result<Embedding, NpyError> {
    let format = |reason: &str| NpyError::Format { name: name.to_owned(), reason: reason.to_owned() };
    let rest = bytes.strip_prefix(MAGIC).ok_or_else(|| format("the first bytes are others"))?;
    let (version, rest) = rest.split_first_chunk::<2>().ok_or_else(|| format("it ends in the header"))?;
    let (length, rest) = match version {
        [1, _] => rest.split_first_chunk().map(|(n, rest)| (usize::from(u16::from_le_bytes(*n)), rest)),
        [2 | 3, _] => rest.split_first_chunk().map(|(n, rest)| (u32::from_le_bytes(*n) as usize, rest)),
        [other, _] => return Err(format(&format!("version {other} of the format is not known"))),
    }
    .ok_or_else(|| format("it ends in the header"))?;
    let (header, data) = rest.split_at_checked(length).ok_or_else(|| format("it ends in the header"))?;
    let header = std::str::from_utf8(header).map_err(|_| format("the header is not text"))?;
    let header = Header::parse(header).ok_or_else(|| format("the header is not the one NumPy writes"))?;
    if header.descr != "<f4" {
        return Err(NpyError::Type { name: name.to_owned(), found: header.descr });
    }
    let width = match header.shape[..] {
        [width] | [1, width] if (1..=MAX_WIDTH).contains(&width) => width,
        _ => return Err(NpyError::Shape { name: name.to_owned(), found: format!("{:?}", header.shape) }),
    };
    let (values, left_over) = data.as_chunks::<4>();
    if values.len() != width || !left_over.is_empty() {
        let reason = format!("{} bytes of values, expected {} for {width}", data.len(), width * 4);
        return Err(NpyError::Values { name: name.to_owned(), reason });
    }
    let values = values.iter().map(|v| f32::from_le_bytes(*v)).collect();
    Embedding::from_raw("the array", values)
        .map_err(|e| NpyError::Values { name: name.to_owned(), reason: e.to_string() })
}

/// The Python dictionary at the head of the file. Its `fortran_order` is demanded but means nothing for an
/// array with one axis of more than one value.
struct Header {
    descr: String,
    shape: Vec<usize>,
}

impl Header {
    /// `None` for anything but the three keys NumPy writes, each once.
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim();
        let (mut descr, mut order, mut shape) = (None, None, None);
        while !rest.is_empty() {
            let (key, after) = quoted(rest)?;
            let after = after.trim_start().strip_prefix(':')?.trim_start();
            let fresh;
            (fresh, rest) = match key {
                "descr" => {
                    let (value, after) = quoted(after).or_else(|| structured(after))?;
                    (descr.replace(value.to_owned()).is_none(), after)
                }
                "fortran_order" => {
                    let after = after.strip_prefix("True").or_else(|| after.strip_prefix("False"))?;
                    (order.replace(()).is_none(), after)
                }
                "shape" => {
                    let (inner, after) = after.strip_prefix('(')?.split_once(')')?;
                    let lengths = inner.split(',').map(str::trim).filter(|n| !n.is_empty());
                    let lengths: Option<Vec<usize>> = lengths.map(|n| n.parse().ok()).collect();
                    (shape.replace(lengths?).is_none(), after)
                }
                _ => return None,
            };
            if !fresh {
                return None;
            }
            rest = rest.trim_start();
            rest = match rest.strip_prefix(',') {
                Some(after) => after.trim_start(),
                None if rest.is_empty() => rest,
                None => return None,
            };
        }
        order?;
        Some(Self { descr: descr?, shape: shape? })
    }
}

/// A Python string in single or double quotes and what follows it.
fn quoted(text: &str) -> Option<(&str, &str)> {
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
    text.get(1..)?.split_once(quote)
}

/// The type of a structured array, a Python list; read only to be named in the refusal.
fn structured(text: &str) -> Option<(&str, &str)> {
    let end = text.starts_with('[').then(|| text.rfind(']'))??;
    Some(text.split_at(end + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as NumPy would write it, with any header and data.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16 + 1).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.push(b'\n');
        bytes.extend(data);
        bytes
    }

    fn floats(values: &[f32]) -> Vec<u8> {
        values.iter().flat_map(|v| v.to_le_bytes()).collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let embedding = Embedding::from_raw("x", vec![3.0, -4.0, 12.0]).expect("an embedding");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("me.npy");
        write(&path, &embedding).expect("written");
        let again = read(&path).expect("read");
        for (a, b) in again.vector().iter().zip(embedding.vector()) {
            assert!((a - b).abs() < 1e-7);
        }
        // NumPy maps the data into memory at a multiple of 64 bytes
        assert_eq!(encode(&embedding).len(), 128 + 12);
    }

    #[test]
    fn both_shapes_and_both_headers_are_read() {
        let data = floats(&[0.0, 2.0]);
        for header in [
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }   ",
            "{'descr': '<f4', 'fortran_order': True, 'shape': (1, 2), }",
            "{\"shape\": (1,2), \"fortran_order\": False, \"descr\": \"<f4\"}",
        ] {
            let embedding = parse(&file(header, &data), "x").unwrap_or_else(|e| panic!("{header}: {e}"));
            assert_eq!((embedding.vector(), embedding.norm()), (&[0.0, 1.0][..], 2.0), "{header}");
        }
        let mut second = b"\x93NUMPY\x02\x00".to_vec();
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }\n";
        second.extend((header.len() as u32).to_le_bytes());
        second.extend(header.as_bytes());
        second.extend(&data);
        assert_eq!(parse(&second, "x").expect("version 2").width(), 2);
    }

    #[test]
    fn every_wrong_file_is_named_with_its_fault() {
        let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
        let data = floats(&[1.0, 2.0]);
        let with = |from: &str, to: &str| file(&good.replace(from, to), &data);
        let cases: [(Vec<u8>, &str); 14] = [
            (b"".to_vec(), "not a NumPy"),
            (b"hello, this is text".to_vec(), "not a NumPy"),
            (b"\x93NUMPY\x01".to_vec(), "ends in the header"),
            (b"\x93NUMPY\x01\x00\xff\xff{".to_vec(), "ends in the header"),
            (b"\x93NUMPY\x09\x00\x00\x00\x00\x00".to_vec(), "version 9"),
            (with("<f4", "<f8"), "float32"),
            (with("'<f4'", "[('a', '<f4')]"), "float32"),
            (with("<f4", "|O"), "type |O"),
            (with("(2,)", "(2, 1)"), "shape [2, 1]"),
            (with("(2,)", "()"), "shape []"),
            (with("(2,)", "(3,)"), "8 bytes"),
            (with("(2,)", "(99999999999999999999,)"), "header"),
            (with("'fortran_order': False, ", ""), "header"),
            (file(good, &floats(&[f32::NAN, 1.0])), "not finite"),
        ];
        for (bytes, fault) in cases {
            let message = parse(&bytes, "me.npy").expect_err(fault).to_string();
            assert!(message.starts_with("me.npy: ") && message.contains(fault), "{message} / {fault}");
        }
        assert!(read(Path::new("no-such.npy")).expect_err("missing").to_string().contains("no-such.npy"));
    }
}
