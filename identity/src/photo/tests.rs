//! Files wrong in every way that a folder of photos has been seen to hold, each built here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};

use super::*;

fn decode(bytes: &[u8]) -> Result<Photo, PhotoError> {
    Photo::decode(bytes, &Limits::default(), "me.jpg")
}

fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// 24×16 pixels: red on the left half, blue on the right.
fn halves() -> RgbImage {
    RgbImage::from_fn(24, 16, |x, _| Rgb(if x < 12 { [250, 10, 10] } else { [10, 10, 250] }))
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 95).encode_image(image).unwrap();
    bytes
}

/// A PNG chunk with its checksum (the reflected CRC-32 of ISO 3309).
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let crc = kind.iter().chain(data).fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    });
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], kind, data, &(!crc).to_be_bytes()].concat()
}

/// A PNG that claims a size and holds no pixels.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let header = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 2, 0, 0, 0]].concat();
    [b"\x89PNG\r\n\x1a\n".to_vec(), chunk(b"IHDR", &header), chunk(b"IDAT", &[]), chunk(b"IEND", &[])]
        .concat()
}

/// A TIFF block with one entry, the orientation.
fn exif(orientation: u16) -> Vec<u8> {
    let mut tiff = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    tiff.extend(orientation.to_le_bytes());
    tiff.extend([0; 6]);
    tiff
}

/// Inserts a segment after the start of a JPEG.
fn with_segment(jpeg: &[u8], marker: u8, data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u16 + 2).to_be_bytes();
    [&jpeg[..2], &[0xff, marker], &length, data, &jpeg[2..]].concat()
}

fn close(actual: [u8; 3], expected: [u8; 3], by: u8) -> bool {
    actual.iter().zip(expected).all(|(a, e)| a.abs_diff(e) <= by)
}

#[test]
fn whole_files_of_every_kind_decode() {
    for (name, bytes) in [
        ("png", encode(halves(), ImageFormat::Png)),
        ("jpeg", jpeg(&halves())),
        ("webp", encode(halves(), ImageFormat::WebP)),
    ] {
        let photo = decode(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(photo.pixels().dimensions(), (24, 16));
        assert!(close(photo.pixels().get_pixel(2, 8).0, [250, 10, 10], 6), "{name}");
        assert!(close(photo.pixels().get_pixel(21, 8).0, [10, 10, 250], 6), "{name}");
    }
}

#[test]
fn depth_grey_and_transparency_become_rgb() {
    let deep = image::ImageBuffer::from_pixel(3, 2, Rgb([65_535u16, 32_896, 257]));
    let photo = decode(&encode(deep, ImageFormat::Png)).unwrap();
    assert_eq!(photo.pixels().get_pixel(1, 1).0, [255, 128, 1]);
    let grey = image::ImageBuffer::from_pixel(3, 2, Luma([77u8]));
    assert_eq!(decode(&encode(grey, ImageFormat::Png)).unwrap().pixels().get_pixel(0, 0).0, [77; 3]);
    let grey_alpha = image::ImageBuffer::from_fn(2, 1, |x, _| LumaA([100u8, if x == 0 { 255 } else { 0 }]));
    let photo = decode(&encode(grey_alpha, ImageFormat::Png)).unwrap();
    assert_eq!([0, 1].map(|x| photo.pixels().get_pixel(x, 0).0), [[100; 3], [255; 3]]);
    let half = image::ImageBuffer::from_pixel(1, 1, Rgba([0u8, 100, 255, 128]));
    assert_eq!(decode(&encode(half, ImageFormat::Png)).unwrap().pixels().get_pixel(0, 0).0, [127, 177, 255]);
    let one = decode(&encode(RgbImage::from_pixel(1, 1, Rgb([9; 3])), ImageFormat::Png)).unwrap();
    assert_eq!(one.pixels().dimensions(), (1, 1));
}

#[test]
fn orientation_is_applied_in_all_three_formats() {
    let block = exif(6); // turned a quarter to the right when shown
    let upright = |bytes: &[u8], name: &str| {
        let photo = decode(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(photo.pixels().dimensions(), (16, 24), "{name}");
        assert!(close(photo.pixels().get_pixel(8, 2).0, [250, 10, 10], 6), "{name}");
        assert!(close(photo.pixels().get_pixel(8, 21).0, [10, 10, 250], 6), "{name}");
    };
    let prefixed = [b"Exif\0\0".to_vec(), block.clone()].concat();
    upright(&with_segment(&jpeg(&halves()), 0xe1, &prefixed), "jpeg");
    let png = encode(halves(), ImageFormat::Png);
    upright(&[&png[..33], &chunk(b"eXIf", &block)[..], &png[33..]].concat(), "png");
    let plain = encode(halves(), ImageFormat::WebP);
    let mut webp = plain[..12].to_vec();
    webp.extend(riff(b"VP8X", &[&[0x08, 0, 0, 0], &[23, 0, 0][..], &[15, 0, 0]].concat()));
    webp.extend(&plain[12..]);
    webp.extend(riff(b"EXIF", &block));
    upright(&with_riff_length(webp), "webp");
}

fn riff(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut bytes = [&kind[..], &(data.len() as u32).to_le_bytes(), data].concat();
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

fn with_riff_length(mut webp: Vec<u8>) -> Vec<u8> {
    let length = webp.len() as u32 - 8;
    webp[4..8].copy_from_slice(&length.to_le_bytes());
    webp
}

/// An animated WebP of one-colour frames, 24×16 pixels.
fn animation(colours: &[[u8; 3]]) -> Vec<u8> {
    let mut webp = b"RIFF\0\0\0\0WEBP".to_vec();
    webp.extend(riff(b"VP8X", &[&[0x02, 0, 0, 0], &[23, 0, 0][..], &[15, 0, 0]].concat()));
    webp.extend(riff(b"ANIM", &[0; 6]));
    for colour in colours {
        let still = encode(RgbImage::from_pixel(24, 16, Rgb(*colour)), ImageFormat::WebP);
        // offset (0, 0), size less one, 100 ms, no blending
        let frame = [&[0; 6], &[23, 0, 0, 15, 0, 0][..], &[100, 0, 0], &[0x02], &still[12..]].concat();
        webp.extend(riff(b"ANMF", &frame));
    }
    with_riff_length(webp)
}

#[test]
fn of_an_animation_the_first_frame_counts() {
    let photo = decode(&animation(&[[200, 30, 40], [1, 2, 3]])).unwrap();
    assert_eq!(photo.pixels().dimensions(), (24, 16));
    assert_eq!(photo.pixels().get_pixel(5, 5).0, [200, 30, 40]);
    // the flag without a frame
    assert!(matches!(
        decode(&animation(&[])),
        Err(PhotoError::Damaged { .. } | PhotoError::Truncated { .. })
    ));
}

/// A baseline JPEG of one 8×8 block a component, each of one level, with an Adobe marker: inverted CMYK,
/// as every editor writes it.
fn cmyk_jpeg(levels: [u8; 4]) -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8];
    let mut segment = |marker: u8, data: &[u8]| {
        jpeg.extend([0xff, marker]);
        jpeg.extend((data.len() as u16 + 2).to_be_bytes());
        jpeg.extend(data);
    };
    segment(0xee, b"Adobe\0\x64\0\0\0\0\0");
    segment(0xdb, &[&[0][..], &[1; 64]].concat());
    let mut frame = vec![8, 0, 8, 0, 8, 4];
    (1..=4).for_each(|component| frame.extend([component, 0x11, 0]));
    segment(0xc0, &frame);
    // DC codes of 4 bits for difference lengths 0 to 11; one AC code, 1 bit: end of block
    let dc = [&[0x00, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &(0..12).collect::<Vec<u8>>()]
        .concat();
    segment(0xc4, &dc);
    segment(0xc4, &[&[0x10, 1][..], &[0; 15], &[0]].concat());
    let mut scan = vec![4];
    (1..=4).for_each(|component| scan.extend([component, 0]));
    scan.extend([0, 63, 0]);
    segment(0xda, &scan);
    let mut bits = String::new();
    for level in levels {
        let value = (i32::from(level) - 128) * 8;
        let length = 32 - value.unsigned_abs().leading_zeros();
        let coded = if value < 0 { value + (1 << length) - 1 } else { value };
        bits += &format!("{length:04b}");
        if length > 0 {
            bits += &format!("{coded:0width$b}", width = length as usize);
        }
        bits += "0";
    }
    bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
    for byte in bits.as_bytes().chunks(8) {
        let byte = byte.iter().fold(0u8, |b, bit| b << 1 | (bit - b'0'));
        jpeg.push(byte);
        if byte == 0xff {
            jpeg.push(0);
        }
    }
    jpeg.extend([0xff, 0xd9]);
    jpeg
}

#[test]
fn a_cmyk_jpeg_becomes_rgb() {
    let photo = decode(&cmyk_jpeg([255, 128, 64, 255])).unwrap();
    assert_eq!(photo.pixels().dimensions(), (8, 8));
    assert!(
        close(photo.pixels().get_pixel(4, 4).0, [255, 128, 64], 3),
        "{:?}",
        photo.pixels().get_pixel(4, 4)
    );
    let darker = decode(&cmyk_jpeg([255, 128, 64, 128])).unwrap();
    assert!(
        close(darker.pixels().get_pixel(4, 4).0, [128, 64, 32], 3),
        "{:?}",
        darker.pixels().get_pixel(4, 4)
    );
}

#[test]
fn what_is_no_picture_is_named() {
    let cases: [(&[u8], &str); 9] = [
        (b"Dear diary, this is not a photo.\n", "a text file"),
        ("Grüße".as_bytes(), "a text file"),
        (b"GIF89a\x01\0\x01\0", "a GIF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"II*\0\x08\0\0\0", "TIFF"),
        (b"\x01\x02\x03\x04\x00\xff", "unknown"),
        (b"RIFF\x04\0\0\0WAVE", "unknown"),
    ];
    for (bytes, found) in cases {
        let message = decode(bytes).unwrap_err().to_string();
        assert!(
            message.starts_with("me.jpg: not a PNG, JPEG or WebP") && message.contains(found),
            "{message}"
        );
    }
    assert!(matches!(decode(b""), Err(PhotoError::Empty { .. })));
}

#[test]
fn cut_files_are_told_from_whole_ones_at_every_length() {
    let noise =
        RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 41 + y * 97) as u8, (x * y * 13) as u8, (x * 7) as u8]));
    let files = [
        encode(noise.clone(), ImageFormat::Png),
        jpeg(&noise),
        encode(noise, ImageFormat::WebP),
        animation(&[[9; 3]]),
    ];
    for whole in &files {
        assert!(decode(whole).is_ok());
        for length in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            let error = decode(&whole[..length]).map(|_| ()).expect_err("a cut file was taken for whole");
            if length > 64 {
                assert!(
                    matches!(error, PhotoError::Truncated { .. }),
                    "{length} of {}: {error}",
                    whole.len()
                );
            }
        }
    }
}

#[test]
fn a_header_that_promises_too_much_is_refused_by_its_numbers() {
    let message = decode(&png_header(30_000, 30_000)).unwrap_err().to_string();
    assert_eq!(message, "me.jpg: 30000×30000 pixels, and a side may have at most 12000");
    let message = decode(&png_header(11_000, 11_000)).unwrap_err().to_string();
    assert_eq!(message, "me.jpg: 11000×11000 is 121 megapixels, and 50 are the limit");
    // the same in a JPEG: the frame header is the segment that begins FF C0
    let mut bytes = jpeg(&halves());
    let frame = bytes.windows(2).position(|w| w == [0xff, 0xc0]).unwrap();
    bytes[frame + 5..frame + 9].copy_from_slice(&[0x75, 0x30, 0x75, 0x30]);
    assert!(matches!(decode(&bytes), Err(PhotoError::TooLarge { width: 30_000, height: 30_000, .. })));
    let mut webp = animation(&[[9; 3]]);
    webp[24..30].copy_from_slice(&[0xff, 0x3f, 0, 0xff, 0x3f, 0]);
    assert!(matches!(decode(&webp), Err(PhotoError::TooLarge { width: 16_384, .. })));
    for (width, height) in [(0, 5), (5, 0), (u32::MAX, 1)] {
        assert!(decode(&png_header(width, height)).is_err());
    }
}

#[test]
fn the_limit_of_bytes_holds_before_anything_is_decoded() {
    let limits = Limits { bytes: 100, ..Limits::default() };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.png");
    std::fs::write(&path, encode(halves(), ImageFormat::Png).repeat(4)).unwrap();
    let message = Photo::open_within(&path, &limits).map(|_| ()).unwrap_err().to_string();
    assert!(message.contains("large.png") && message.contains("100 bytes"), "{message}");
    let missing = Photo::open(&folder.path().join("none.png")).map(|_| ()).unwrap_err();
    assert!(matches!(missing, PhotoError::Read { .. }) && missing.to_string().contains("none.png"));
    assert!(matches!(Photo::open(folder.path()), Err(PhotoError::Read { .. })));
}

#[test]
fn a_text_chunk_that_inflates_to_a_gigabyte_is_never_looked_at() {
    let png = encode(halves(), ImageFormat::Png);
    // a compressed text whose compressed data is nonsense: a decoder that reads it fails
    let text = [b"Comment\0\0".to_vec(), vec![0xff; 4000]].concat();
    let loaded = [&png[..33], &chunk(b"zTXt", &text)[..], &chunk(b"iCCP", &text), &png[33..]].concat();
    assert_eq!(decode(&loaded).unwrap().pixels(), &halves());
    let essentials = container::png_essentials(&loaded).unwrap();
    assert!(essentials.len() <= png.len());
}

#[test]
fn damage_is_an_error_and_never_a_panic() {
    // a small linear congruential generator, so that the same bytes are spoiled every time
    let mut state = 1u32;
    let mut next = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state >> 8
    };
    let originals = [
        encode(halves(), ImageFormat::Png),
        jpeg(&halves()),
        cmyk_jpeg([9, 99, 199, 50]),
        encode(halves(), ImageFormat::WebP),
        animation(&[[200, 30, 40], [1, 2, 3]]),
        with_segment(&jpeg(&halves()), 0xe1, &[b"Exif\0\0".to_vec(), exif(5)].concat()),
    ];
    let mut failed = 0;
    for original in &originals {
        for _ in 0..300 {
            let mut bytes = original.clone();
            for _ in 0..=next() % 4 {
                let at = next() as usize % bytes.len();
                bytes[at] = next() as u8;
            }
            failed += usize::from(decode(&bytes).is_err());
        }
    }
    assert!(failed > 300, "only {failed} of 1800 spoiled files were noticed");
}

#[test]
fn a_decoder_that_panics_is_reported_as_damage() {
    let result: Result<(), _> = guarded(Format::WebP, "me.webp", || panic!("inside a decoder"));
    assert!(result.unwrap_err().to_string().starts_with("me.webp: the WebP is damaged"));
}
