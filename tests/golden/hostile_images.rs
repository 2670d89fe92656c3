//! Wrong photos through the whole encoder: each ends in a report or an error that says what to do. How
//! damaged files are told apart is tested beside the decoder, in imagine-identity.

use image::{ImageFormat, Rgb, RgbImage, imageops};
use imagine_identity::{Encoder, FaceChoice, IdentityError, Limits, Photo, Problem};

use crate::faces::{canvas, encoder, photo};

fn refusal(encoder: &Encoder, photos: &[Photo], choice: FaceChoice) -> IdentityError {
    match encoder.person(photos, choice) {
        Ok(person) => panic!("accepted: {:?}", person.reports),
        Err(error) => error,
    }
}

#[test]
fn pictures_without_a_face_are_refused_by_name() {
    let encoder = encoder();
    let noise = RgbImage::from_fn(300, 200, |x, y| Rgb([x, y, x * y].map(|v| (v * 37 % 251) as u8)));
    for (name, picture) in [
        ("dot", RgbImage::new(1, 1)),
        ("line", RgbImage::from_pixel(12_000, 1, Rgb([200; 3]))),
        ("grey", RgbImage::from_pixel(64, 64, Rgb([128; 3]))),
        ("noise", noise),
    ] {
        let error = refusal(encoder, &[Photo::from_pixels(name, picture)], FaceChoice::Largest);
        assert!(
            matches!(&error, IdentityError::Unusable { photos } if photos[..] == [(name.into(), Problem::NoFace)])
        );
        assert!(error.is_input());
        assert!(error.to_string().starts_with(&format!("{name}: no face was found: use a photo")), "{error}");
    }
    assert!(encoder.faces(&RgbImage::new(0, 0)).expect("no failure").is_empty());
    assert!(encoder.embed(&RgbImage::new(3, 700)).expect("no failure").is_none());
}

#[test]
fn one_unusable_photo_among_good_ones_is_named() {
    let good = Photo::from_pixels("good.png", photo("astronaut.png"));
    let empty = Photo::from_pixels("wall.png", RgbImage::from_pixel(99, 99, Rgb([180, 170, 160])));
    let message = refusal(encoder(), &[good, empty], FaceChoice::Largest).to_string();
    assert!(message.starts_with("wall.png: ") && !message.contains("good.png"), "{message}");
    assert!(matches!(refusal(encoder(), &[], FaceChoice::Largest), IdentityError::NoPhotos));
}

#[test]
fn among_several_faces_one_can_be_chosen() {
    let (encoder, group) = (encoder(), Photo::from_pixels("group.png", canvas()));
    let examined = encoder.examine(&group, FaceChoice::Largest).expect("examined");
    assert_eq!(examined.report.faces.len(), 4);
    assert_eq!(examined.report.chosen, Some(0));
    // the fourth face is less than half as large: a passer-by
    assert!(
        examined.report.verdict.problems.contains(&Problem::SeveralFaces { count: 3 }),
        "{:?}",
        examined.report
    );
    let portrait = encoder.embed(&photo("astronaut.png")).expect("no failure").expect("a face");
    let same: Vec<bool> = (0..4)
        .map(|n| {
            let person = encoder.person(std::slice::from_ref(&group), FaceChoice::Index(n)).expect("a face");
            assert!(
                !person.reports[0].verdict.problems.iter().any(|p| matches!(p, Problem::SeveralFaces { .. }))
            );
            imagine_identity::likeness(&person.embedding, &portrait).expect("one width") > 0.8
        })
        .collect();
    // largest first: twice the render, the portrait, the small portrait
    assert_eq!(same, [false, false, true, true]);
    let error = refusal(encoder, std::slice::from_ref(&group), FaceChoice::Index(4));
    assert!(
        matches!(error, IdentityError::NoSuchFace { index: 4, faces: 4, .. }) && error.is_input(),
        "{error}"
    );
}

#[test]
fn spoiled_portraits_are_judged_for_what_is_wrong() {
    let encoder = encoder();
    let problems = |picture: RgbImage| {
        let examined =
            encoder.examine(&Photo::from_pixels("x", picture), FaceChoice::Largest).expect("examined");
        assert_eq!(examined.reference.is_none(), examined.report.verdict.blocking().is_some());
        examined.report.verdict.problems
    };
    let portrait = photo("astronaut.png");
    assert_eq!(problems(portrait.clone()), []);
    let blurred = problems(imageops::blur(&portrait, 3.0));
    assert!(matches!(blurred[..], [Problem::Blurred { .. }]), "{blurred:?}");
    let mut dark = portrait.clone();
    dark.pixels_mut().for_each(|p| *p = Rgb(p.0.map(|v| v / 6)));
    let dark = problems(dark);
    assert!(matches!(dark[..], [Problem::TooDark { .. }]), "{dark:?}");
    let small = |side| imageops::resize(&portrait, side, side, imageops::FilterType::Triangle);
    let smaller = problems(small(120));
    assert!(matches!(smaller[..], [Problem::TooSmall { pixels: 40..60, .. }]), "{smaller:?}");
    assert!(!smaller[0].blocks());
    let smallest = problems(small(56));
    assert!(matches!(smallest[..], [Problem::TooSmall { pixels: 10..32, .. }]), "{smallest:?}");
    assert!(smallest[0].blocks());
}

#[test]
fn files_go_the_whole_way_or_are_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let encoder = encoder();
    let write = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path
    };
    let portrait = photo("astronaut.png");
    let mut png = std::io::Cursor::new(Vec::new());
    portrait.write_to(&mut png, ImageFormat::Png).expect("encoded");
    let png = png.into_inner();
    // 16 bits a sample, in a file named as if it were a JPEG: the bytes count, not the name
    let deep = image::DynamicImage::from(portrait.clone()).into_rgb16();
    let mut deep_png = std::io::Cursor::new(Vec::new());
    deep.write_to(&mut deep_png, ImageFormat::Png).expect("encoded");
    let opened = Photo::open(&write("deep.jpg", &deep_png.into_inner())).expect("a photo");
    assert_eq!(opened.pixels(), &portrait);
    assert!(encoder.person(&[opened], FaceChoice::Largest).is_ok());
    for (name, bytes, fault) in [
        ("notes.jpg", &b"this is text"[..], "a text file"),
        ("nothing.jpg", &b""[..], "empty"),
        ("cut.png", &png[..png.len() / 2], "ends too early"),
    ] {
        let message = Photo::open(&write(name, bytes)).map(|_| ()).expect_err(fault).to_string();
        assert!(message.contains(name) && message.contains(fault), "{message}");
    }
    let limits = Limits { side: 200, ..Limits::default() };
    let message = Photo::decode(&png, &limits, "x.png").map(|_| ()).expect_err("too large").to_string();
    assert!(message.contains("224×224") && message.contains("200"), "{message}");
}

#[test]
fn the_bundled_portrait_is_a_good_photo() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets/portraits/astronaut.jpg");
    let photo = Photo::open(&path).unwrap_or_else(|e| panic!("{e}"));
    let person = encoder().person(&[photo], FaceChoice::Largest).expect("a person");
    assert!(person.reports[0].verdict.is_good(), "{:?}", person.reports[0]);
}
