//! The zip container of `torch.save` (since PyTorch 1.6): `NAME/data.pkl` says what the tensors are,
//! `NAME/data/N` holds their storages, all stored without compression so that they can be mapped.

use std::collections::HashMap;
use std::ops::Range;

use super::files::Contents;
use super::torch_pickle::{self, TorchError};

const LOCAL_HEADER: u32 = 0x0403_4b50;
const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const END_64_LOCATOR: u32 = 0x0706_4b50;
/// Bytes of the end record without its comment, and the longest comment.
const END_LENGTH: usize = 22;
const LONGEST_COMMENT: usize = 0xffff;

pub(super) fn is_zip(bytes: &[u8]) -> bool {
    bytes.starts_with(&LOCAL_HEADER.to_le_bytes())
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at.checked_add(8)?)?.try_into().ok()?))
}

/// Where the central directory begins and how many entries it has.
fn directory(bytes: &[u8]) -> Option<(usize, u64)> {
    let latest = bytes.len().checked_sub(END_LENGTH)?;
    let earliest = latest.saturating_sub(LONGEST_COMMENT);
    let is_end = |at: usize| {
        let comment = u16_at(bytes, at + 20).map(usize::from);
        u32_at(bytes, at) == Some(END) && comment == Some(latest - at)
    };
    let end = (earliest..=latest).rev().find(|&at| is_end(at))?;
    let locator = end.checked_sub(20).filter(|&at| u32_at(bytes, at) == Some(END_64_LOCATOR));
    if let Some(locator) = locator {
        let end = usize::try_from(u64_at(bytes, locator + 8)?).ok()?;
        if u32_at(bytes, end)? != END_64 {
            return None;
        }
        let start = u64_at(bytes, end.checked_add(48)?)?;
        return Some((usize::try_from(start).ok()?, u64_at(bytes, end.checked_add(32)?)?));
    }
    Some((u32_at(bytes, end + 16)? as usize, u64::from(u16_at(bytes, end + 10)?)))
}

/// One entry of the central directory.
struct Record {
    name: String,
    /// Uncompressed and without encryption.
    is_stored: bool,
    size: u64,
    local_header: u64,
    /// Length of the entry itself.
    length: usize,
}

impl Record {
    fn read(bytes: &[u8], at: usize) -> Option<Self> {
        if u32_at(bytes, at)? != DIRECTORY_ENTRY {
            return None;
        }
        let (flags, method) = (u16_at(bytes, at + 8)?, u16_at(bytes, at + 10)?);
        let packed = u32_at(bytes, at + 20)?;
        let (mut size, mut local_header) =
            (u64::from(u32_at(bytes, at + 24)?), u64::from(u32_at(bytes, at + 42)?));
        let name_length = usize::from(u16_at(bytes, at + 28)?);
        let extra_length = usize::from(u16_at(bytes, at + 30)?);
        let comment_length = usize::from(u16_at(bytes, at + 32)?);
        let name = bytes.get(at + 46..at + 46 + name_length)?;
        let mut extra = bytes.get(at + 46 + name_length..at + 46 + name_length + extra_length)?;
        // Zip64: the numbers that did not fit stand in an extra field, in this order.
        while let (Some(id), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
            let field = extra.get(4..4 + usize::from(length))?;
            if id == 1 {
                let mut next = 0;
                let mut wide = |narrow: u32| {
                    (narrow == u32::MAX).then(|| {
                        next += 8;
                        u64_at(field, next - 8)
                    })
                };
                if let Some(value) = wide(size as u32) {
                    size = value?;
                }
                wide(packed);
                if let Some(value) = wide(local_header as u32) {
                    local_header = value?;
                }
            }
            extra = extra.get(4 + usize::from(length)..)?;
        }
        Some(Self {
            name: String::from_utf8(name.to_vec()).ok()?,
            is_stored: method == 0 && flags & 1 == 0,
            size,
            local_header,
            length: 46 + name_length + extra_length + comment_length,
        })
    }

    /// The bytes of the record's content in the file.
    fn range(&self, bytes: &[u8]) -> Option<Range<usize>> {
        let header = usize::try_from(self.local_header).ok()?;
        if u32_at(bytes, header)? != LOCAL_HEADER {
            return None;
        }
        let name_length = usize::from(u16_at(bytes, header.checked_add(26)?)?);
        let extra_length = usize::from(u16_at(bytes, header.checked_add(28)?)?);
        let start = header.checked_add(30 + name_length + extra_length)?;
        let end = start.checked_add(usize::try_from(self.size).ok()?)?;
        (end <= bytes.len()).then_some(start..end)
    }
}

/// The content of each record by name.
fn records(bytes: &[u8]) -> Result<HashMap<String, Range<usize>>, TorchError> {
    let broken = || TorchError::malformed("the zip container is cut off or damaged");
    let (mut at, count) = directory(bytes).ok_or_else(broken)?;
    let mut records = HashMap::new();
    for _ in 0..count {
        let record = Record::read(bytes, at).ok_or_else(broken)?;
        at = at.checked_add(record.length).ok_or_else(broken)?;
        if !record.is_stored {
            let reason = format!(
                "\"{}\" is compressed or encrypted, which torch.save never does; save the file again with \
                 torch.save",
                record.name
            );
            return Err(TorchError::malformed(reason));
        }
        let range = record.range(bytes).ok_or_else(broken)?;
        if let Some(name) = records.insert(record.name.clone(), range).map(|_| record.name) {
            return Err(TorchError::malformed(format!("\"{name}\" stands twice in the zip container")));
        }
    }
    Ok(records)
}

/// Reads the file number `file`.
pub(super) fn read(bytes: &[u8], file: usize) -> Result<Contents, TorchError> {
    let records = records(bytes)?;
    let mut pickles = records.keys().filter_map(|name| name.strip_suffix("data.pkl"));
    let root = match (pickles.next(), pickles.next()) {
        (Some(root), None) if root.is_empty() || root.ends_with('/') => root.to_string(),
        _ => return Err(TorchError::malformed("a zip file without one data.pkl: not written by torch.save")),
    };
    let content = |name: &str| {
        let range = records.get(&format!("{root}{name}"))?;
        Some((range.clone(), bytes.get(range.clone())?))
    };
    if let Some((_, order)) = content("byteorder")
        && order != b"little"
    {
        let order = String::from_utf8_lossy(&order[..order.len().min(16)]).into_owned();
        return Err(TorchError::malformed(format!("its byte order is \"{order}\", only little is read")));
    }
    let (_, pickle) = content("data.pkl").unwrap_or_default();
    let pickle = torch_pickle::load(pickle)?;
    torch_pickle::contents(&pickle, file, |storage| {
        content(&format!("data/{storage}")).map(|(range, _)| range)
    })
}
