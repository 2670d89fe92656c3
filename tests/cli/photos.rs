//! Photos that cannot be used, one by one. All are refused before the model is loaded.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use crate::support::{Run, Workplace};

fn png(image: RgbImage) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image).write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// A photo of a wall: colours that change slowly, and no face.
fn wall(side: u32) -> RgbImage {
    RgbImage::from_fn(side, side, |x, y| Rgb([(x / 2) as u8, (y / 2) as u8, 120]))
}

fn run_on(name: &str, bytes: &[u8]) -> Run {
    let place = Workplace::new();
    place.file(name, bytes);
    let run = place.generate(["--photo", name]);
    assert_eq!(place.names(""), [name], "nothing but the photo is there");
    run
}

#[test]
fn a_text_file_named_jpg() {
    run_on("letter.jpg", b"Dear friend, this is no picture.\n").refused(&["letter.jpg"]);
}

#[test]
fn an_empty_file() {
    run_on("nothing.png", b"").refused(&["nothing.png", "empty"]);
}

#[test]
fn a_truncated_png() {
    let whole = png(wall(256));
    run_on("half.png", &whole[..whole.len() / 2]).refused(&["half.png", "ends too early"]);
}

#[test]
fn a_picture_of_one_pixel() {
    run_on("dot.png", &png(wall(1))).refused(&["dot.png"]);
}

#[test]
fn a_header_that_claims_30_000_by_30_000() {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, 30_000, 30_000);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap();
    run_on("huge.png", &bytes).refused(&["huge.png", "30000×30000"]);
}

#[test]
fn a_photo_without_a_face() {
    run_on("wall.png", &png(wall(512))).refused(&["wall.png", "no face"]);
}

#[test]
fn a_file_that_is_not_there() {
    Workplace::new().generate(["--photo", "gone.jpg"]).refused(&["gone.jpg"]);
}

#[test]
fn a_folder_instead_of_a_file() {
    let place = Workplace::new();
    std::fs::create_dir(place.path("album")).unwrap();
    place.generate(["--photo", "album"]).refused(&["album"]);
}

#[test]
fn one_bad_photo_among_several_is_named() {
    let place = Workplace::new();
    place.file("wall.png", &png(wall(512)));
    place.file("text.jpg", b"not a picture");
    place.generate(["--photo", "wall.png", "text.jpg"]).refused(&["text.jpg"]);
}
