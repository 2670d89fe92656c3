//! What a file is, by its first bytes alone, and whether it is whole: a walk over the container that
//! touches no pixel. The decoders fill missing JPEG data with grey and inflate text chunks that nobody
//! needs; both are settled here before they run.

use super::Format;

/// What a container walk can find wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flaw {
    /// The file ends before its container does.
    Truncated,
    /// The structure contradicts the format.
    Damaged(&'static str),
}

/// More scans than any encoder writes; each one makes the decoder walk the whole picture again.
const MAX_JPEG_SCANS: usize = 500;

/// The format, or in words what the bytes look like instead.
pub(super) fn sniff(bytes: &[u8]) -> Result<Format, &'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(Format::Png);
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Ok(Format::Jpeg);
    }
    if bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
        return Ok(Format::WebP);
    }
    Err(describe(bytes))
}

fn describe(bytes: &[u8]) -> &'static str {
    if bytes.get(4..8) == Some(b"ftyp") {
        return match bytes.get(8..12) {
            Some(b"avif" | b"avis") => "an AVIF picture",
            Some(b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1") => {
                "a HEIC photo (the camera setting \"most compatible\", or an export, makes it a JPEG)"
            }
            _ => "a video",
        };
    }
    const KNOWN: [(&[u8], &str); 9] = [
        (b"GIF8", "a GIF"),
        (b"II*\0", "a TIFF or camera raw file"),
        (b"MM\0*", "a TIFF or camera raw file"),
        (b"BM", "a BMP"),
        (b"%PDF", "a PDF"),
        (b"\0\0\x01\0", "an icon"),
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"\0\0\0\x0cJXL ", "a JPEG XL picture"),
        (b"PK\x03\x04", "a ZIP archive"),
    ];
    for (magic, name) in KNOWN {
        if bytes.starts_with(magic) {
            return name;
        }
    }
    let head = bytes.get(..512).unwrap_or(bytes);
    // A multi-byte character may be cut at the end of the head; that is still text.
    let text = match std::str::from_utf8(head) {
        Ok(text) => Some(text),
        Err(e) if e.error_len().is_none() => {
            head.get(..e.valid_up_to()).and_then(|h| std::str::from_utf8(h).ok())
        }
        Err(_) => None,
    };
    match text {
        Some(text) if text.contains("<svg") => "an SVG drawing",
        Some(text) if !text.contains('\0') => "a text file",
        _ => "of an unknown kind",
    }
}

/// The file reduced to what decoding needs: header, palette, transparency, pixels and the EXIF block (for
/// the orientation). Text, colour profiles, animation frames and trailing bytes are left out.
pub(super) fn png_essentials(bytes: &[u8]) -> Result<Vec<u8>, Flaw> {
    const SIGNATURE: usize = 8;
    if bytes.get(12..16).is_some_and(|kind| kind != b"IHDR") {
        return Err(Flaw::Damaged("the header chunk is not the first"));
    }
    let mut kept = Vec::with_capacity(bytes.len());
    kept.extend_from_slice(bytes.get(..SIGNATURE).ok_or(Flaw::Truncated)?);
    let mut rest = bytes.get(SIGNATURE..).ok_or(Flaw::Truncated)?;
    loop {
        let (length, after) = be_u32(rest).ok_or(Flaw::Truncated)?;
        // length, type, data, checksum
        let whole = (length as usize).checked_add(12).ok_or(Flaw::Damaged("a chunk of impossible length"))?;
        let kind = after.get(..4).ok_or(Flaw::Truncated)?;
        let chunk = rest.get(..whole).ok_or(Flaw::Truncated)?;
        if matches!(kind, b"IHDR" | b"PLTE" | b"tRNS" | b"eXIf" | b"IDAT" | b"IEND") {
            kept.extend_from_slice(chunk);
        }
        if kind == b"IEND" {
            return Ok(kept);
        }
        rest = rest.get(whole..).ok_or(Flaw::Truncated)?;
    }
}

/// Width and height that a PNG header states, even where the rest of the file is missing.
pub(super) fn png_size(bytes: &[u8]) -> Option<(u32, u32)> {
    if bytes.get(12..16) != Some(b"IHDR") {
        return None;
    }
    let (width, rest) = bytes.get(16..).and_then(be_u32)?;
    Some((width, be_u32(rest)?.0))
}

/// Walks the marker segments up to the end-of-image marker.
pub(super) fn check_jpeg(bytes: &[u8]) -> Result<(), Flaw> {
    let mut at = 2; // past the start-of-image marker
    let mut scans = 0;
    loop {
        // Stray bytes between segments are skipped, as libjpeg does; 0xFF repeats as padding.
        while *bytes.get(at).ok_or(Flaw::Truncated)? != 0xff {
            at += 1;
        }
        while *bytes.get(at).ok_or(Flaw::Truncated)? == 0xff {
            at += 1;
        }
        let marker = *bytes.get(at).ok_or(Flaw::Truncated)?;
        at += 1;
        match marker {
            0xd9 => return Ok(()),
            0x00 | 0x01 | 0xd0..=0xd8 => continue, // no payload
            _ => {}
        }
        let length = match bytes.get(at..at + 2) {
            Some(&[high, low]) => usize::from(high) << 8 | usize::from(low),
            _ => return Err(Flaw::Truncated),
        };
        if length < 2 {
            return Err(Flaw::Damaged("a segment of impossible length"));
        }
        at += length;
        if marker == 0xda {
            scans += 1;
            if scans > MAX_JPEG_SCANS {
                return Err(Flaw::Damaged("more scans than a camera or editor writes"));
            }
            // Entropy-coded data: 0xFF00 is a stuffed byte, 0xFFD0..D7 are restart markers.
            loop {
                let byte = *bytes.get(at).ok_or(Flaw::Truncated)?;
                let next = *bytes.get(at + 1).ok_or(Flaw::Truncated)?;
                if byte == 0xff && !matches!(next, 0x00 | 0xd0..=0xd7) {
                    break;
                }
                at += 1;
            }
        }
    }
}

/// Compares the length that the RIFF header states with the bytes there are.
pub(super) fn check_webp(bytes: &[u8]) -> Result<(), Flaw> {
    let stated = match bytes.get(4..8) {
        Some(&[a, b, c, d]) => u64::from(u32::from_le_bytes([a, b, c, d])) + 8,
        _ => return Err(Flaw::Truncated),
    };
    if stated > bytes.len() as u64 { Err(Flaw::Truncated) } else { Ok(()) }
}

fn be_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}
