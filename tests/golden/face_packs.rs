//! SCRFD, ArcFace and `norm_crop` against insightface 2.1 on packs in small (generate/face_packs.py), and packs
//! as a person has them on disk.

use std::fs;
use std::path::{Path, PathBuf};

use image::{RgbImage, imageops};
use imagine_identity::align::{FACE_SIZE, align};
use imagine_identity::scrfd::DETECTOR_SIZES;
use imagine_identity::{
    ArcFace, Embedding, Encoder, Face, FaceChoice, IdentityError, LicenceStore, Pack, Photo, Scrfd,
};
use imagine_tests::{Golden, assert_close, fixtures};
use tch::{Kind, Tensor};

use crate::alignment::{assert_same_picture, picture};
use crate::faces::{canvas, photo};

const PACKS: [(&str, &str, &str); 2] =
    [("buffalo_l", "det_10g", "w600k_r50"), ("antelopev2", "scrfd_10g_bnkps", "glintr100")];

fn golden() -> Golden {
    Golden::read("face_packs", "expected.safetensors")
}

fn model(name: &str) -> PathBuf {
    fixtures("face_packs").join(format!("{name}.onnx"))
}

/// The photos of face_packs.py: 640×640, 1920×1080, 130×200.
fn photos() -> [(&'static str, RgbImage); 3] {
    let canvas = canvas();
    let wide = RgbImage::from_fn(1920, 1080, |x, y| *canvas.get_pixel(x / 3, 60 + y / 3));
    let tall = imageops::crop_imm(&photo("astronaut.png"), 50, 10, 130, 200).to_image();
    [("canvas", canvas), ("wide", wide), ("tall", tall)]
}

/// The same faces in the same order: boxes, scores and key points as insightface gives them.
fn assert_faces(what: &str, found: &[Face], golden: &Golden) {
    let rows: Vec<Tensor> = found
        .iter()
        .map(|face| {
            let [left, top, width, height] = face.bbox;
            Tensor::from_slice(&[left, top, left + width, top + height, face.score])
        })
        .collect();
    let points: Vec<Tensor> =
        found.iter().map(|face| Tensor::from_slice(face.landmarks.as_flattened()).view([5, 2])).collect();
    assert!(!rows.is_empty(), "{what}: nothing was found");
    let (det, kps) = (golden.get(&format!("{what}.det")), golden.get(&format!("{what}.kps")));
    let rows = Tensor::stack(&rows, 0);
    // pixels, and on their own the scores, which are small beside them
    assert_close(&format!("{what} boxes"), &rows.narrow(1, 0, 4), &det.narrow(1, 0, 4), 1e-4);
    assert_close(&format!("{what} scores"), &rows.narrow(1, 4, 1), &det.narrow(1, 4, 1), 1e-4);
    assert_close(&format!("{what} key points"), &Tensor::stack(&points, 0), &kps, 1e-4);
}

#[test]
fn faces_equal_insightfaces() {
    let golden = golden();
    for (pack, detector, _) in PACKS {
        let detector = Scrfd::open(&model(&format!("{pack}/{detector}"))).unwrap_or_else(|e| panic!("{e}"));
        for (name, picture) in photos() {
            let found = detector.detect_at(&picture, DETECTOR_SIZES[0]).expect("faces");
            assert_faces(&format!("{pack}.{name}"), &found, &golden);
            let by_size = detector.detect(&picture).expect("faces");
            assert_eq!(by_size.len(), found.len());
            assert!(by_size.is_sorted_by(|a, b| a.area() >= b.area()), "the largest comes first");
        }
    }
}

#[test]
fn a_close_up_is_looked_at_in_smaller_sizes() {
    let golden = golden();
    let place = Vec::<i32>::try_from(golden.get("buffalo_l.close.place")).expect("numbers");
    let [left, top, side, size] = place[..] else { panic!("{place:?}") };
    let [left, top, side, size] = [left, top, side, size].map(|n| n as u32);
    let close = imageops::crop_imm(&canvas(), left, top, side, side).to_image();
    let detector = Scrfd::open(&model("buffalo_l/det_10g")).expect("the detector");
    for larger in DETECTOR_SIZES.into_iter().filter(|s| *s > size) {
        assert!(detector.detect_at(&close, larger).expect("no failure").is_empty(), "at {larger}");
    }
    assert_faces("buffalo_l.close", &detector.detect_at(&close, size).expect("faces"), &golden);
    assert_faces("buffalo_l.close", &detector.detect(&close).expect("faces"), &golden);
    // nothing to be seen in any size
    assert!(detector.detect(&RgbImage::new(90, 40)).expect("no failure").is_empty());
    assert!(detector.detect(&RgbImage::new(0, 0)).expect("no failure").is_empty());
}

#[test]
fn embeddings_equal_insightfaces() {
    let golden = golden();
    let both = PACKS.map(|(pack, _, recogniser)| (format!("{pack}/{recogniser}"), pack, pack));
    for (file, crop, name) in
        both.iter().map(|(f, c, n)| (f.as_str(), *c, *n)).chain([("mxnet", "buffalo_l", "mxnet")])
    {
        let recogniser = ArcFace::open(&model(file)).unwrap_or_else(|e| panic!("{e}"));
        let crop = picture(&golden.get(&format!("{crop}.crop_112")));
        let expected = golden.get(&format!("{name}.embedding"));
        let raw = Tensor::from_slice(&recogniser.network_output(&crop).expect("values"));
        assert_close(file, &raw, &expected, 1e-4);
        let embedding = recogniser.embed(&crop).expect("an embedding");
        assert_close(&format!("{file} raw"), &Tensor::from_slice(&embedding.raw()), &expected, 1e-4);
        let norm = expected.norm().double_value(&[]);
        let direction = Tensor::from_slice(embedding.vector());
        assert_close(&format!("{file} direction"), &direction, &(expected / norm), 1e-4);
        assert!((f64::from(embedding.norm()) / norm - 1.0).abs() < 1e-4);
        assert!(recogniser.network_output(&RgbImage::new(224, 224)).is_err());
    }
}

#[test]
fn crops_equal_norm_crop() {
    let golden = golden();
    let [_, (_, wide), _] = photos();
    for (pack, detector, _) in PACKS {
        let detector = Scrfd::open(&model(&format!("{pack}/{detector}"))).expect("the detector");
        let face = detector.detect(&wide).expect("faces")[0];
        for (size, every) in [(FACE_SIZE, 1), (224, 4), (256, 4)] {
            let crop = align(&wide, &face.landmarks, size).expect("a crop");
            let kept =
                RgbImage::from_fn(size / every, size / every, |x, y| *crop.get_pixel(every * x, every * y));
            let expected = picture(&golden.get(&format!("{pack}.crop_{size}")));
            assert_same_picture(&format!("{pack} at {size}"), &kept, &expected);
        }
    }
}

/// A place for packs with those of the fixtures in it, and a store of licences beside them.
fn disk() -> (tempfile::TempDir, LicenceStore) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (pack, ..) in PACKS {
        copy(&fixtures("face_packs").join(pack), &folder.path().join(pack));
    }
    let store = LicenceStore::at(&folder.path().join("accepted-licences"));
    (folder, store)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("the folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copying");
    }
}

fn cosine(embedding: &Embedding, expected: &Tensor) -> f64 {
    let direction = Tensor::from_slice(embedding.vector()).to_kind(Kind::Double);
    let expected = expected.to_kind(Kind::Double);
    direction.dot(&expected).double_value(&[]) / expected.norm().double_value(&[])
}

#[test]
fn a_person_from_a_pack() {
    let ((folder, store), golden) = (disk(), golden());
    let [_, (_, wide), _] = photos();
    for (n, (name, detector, recogniser)) in PACKS.into_iter().enumerate() {
        let pack = Pack::find(&folder.path().join(name)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(pack.name, name);
        assert!(pack.detector.ends_with(format!("{name}/{detector}.onnx")), "{pack:?}");
        assert!(pack.recogniser.ends_with(format!("{name}/{recogniser}.onnx")), "{pack:?}");
        if n == 0 {
            let refused = Encoder::of_pack(&pack, &store).err().expect("not accepted yet");
            assert!(
                matches!(refused, IdentityError::LicenceNotAccepted { .. }) && refused.is_input(),
                "{refused}"
            );
            store.accept("insightface").expect("accepted");
        }
        let encoder = Encoder::of_pack(&pack, &store).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!((encoder.name(), encoder.embedding_width()), (name, 512));
        assert!(encoder.licence().must_be_accepted);

        let photo = Photo::from_pixels("wide", wide.clone());
        let person = encoder.person(&[photo.clone(), photo], FaceChoice::Largest).expect("a person");
        let expected = golden.get(&format!("{name}.embedding"));
        let [one, two] = &person.references[..] else { panic!("two photos give two references") };
        assert_eq!(one, two);
        assert_eq!((one.photo_size, one.crop_112.dimensions()), ([1920, 1080], (112, 112)));
        assert_eq!((one.crop_224.dimensions(), one.crop_256.dimensions()), ((224, 224), (256, 256)));
        assert_eq!(person.reports[0].faces[0].landmarks, one.landmarks);
        for (what, embedding) in [("reference", &one.embedding), ("person", &person.embedding)] {
            let cosine = cosine(embedding, &expected);
            assert!(cosine >= 0.9999, "{name} {what}: cosine {cosine}");
        }
        // one sample in many is rounded the other way in a crop
        let norm = expected.norm().double_value(&[]);
        assert!((f64::from(one.embedding.norm()) / norm - 1.0).abs() < 1e-3);
        let likeness = encoder.likeness(&person.embedding, &wide).expect("no failure").expect("a face");
        assert!((likeness - 1.0).abs() < 1e-5, "{likeness}");
    }
}

#[test]
fn a_pack_unpacked_into_a_folder_of_its_own_name() {
    let (folder, _) = disk();
    let (flat, outer) = (folder.path().join("antelopev2"), folder.path().join("x/antelopev2"));
    copy(&flat, &outer.join("antelopev2"));
    let pack = Pack::open(&outer).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(pack.name, "antelopev2");
    assert!(pack.recogniser.ends_with("antelopev2/antelopev2/glintr100.onnx"), "{pack:?}");
}

#[test]
fn a_pack_in_a_download_cache_has_its_published_name() {
    let (folder, _) = disk();
    let snapshot = folder.path().join("33c1063c49c785b7652d3fd529f86fa4f149392b");
    copy(&folder.path().join("antelopev2"), &snapshot);
    assert_eq!(Pack::open(&snapshot).unwrap_or_else(|e| panic!("{e}")).name, "antelopev2");
}

#[test]
fn packs_with_something_missing_or_damaged() {
    let (folder, store) = disk();
    let pack = folder.path().join("buffalo_l");
    let refusal = || Pack::open(&pack).expect_err("this pack must be refused").to_string();
    let (detector, recogniser) = (pack.join("det_10g.onnx"), pack.join("w600k_r50.onnx"));
    let bytes = [&detector, &recogniser].map(|file| fs::read(file).expect("a model"));

    fs::remove_file(&recogniser).expect("removing");
    assert!(refusal().contains("no ArcFace recogniser"), "{}", refusal());
    fs::write(&recogniser, &bytes[1][..bytes[1].len() / 2]).expect("writing");
    assert!(refusal().contains("w600k_r50.onnx") && refusal().contains("not an ONNX model"), "{}", refusal());
    fs::write(&recogniser, &bytes[1]).expect("writing");
    fs::remove_file(&detector).expect("removing");
    assert!(refusal().contains("no SCRFD detector"), "{}", refusal());

    // the outside is that of a model, the inside is not: told when it is opened, with the file
    let mut broken = bytes[0].clone();
    // the first node's type, field 4 of its message
    let conv = broken.windows(6).position(|w| w == b"\x22\x04Conv").expect("a node");
    broken[conv + 2..conv + 6].copy_from_slice(b"Cxyz");
    fs::write(&detector, &broken).expect("writing");
    store.accept("insightface").expect("accepted");
    let error = Encoder::of_pack(&Pack::open(&pack).expect("a pack"), &store).err().expect("refused");
    let message = error.to_string();
    assert!(error.is_input() && message.contains("det_10g.onnx"), "{message}");
    assert!(!message.contains("xtask"), "set-up cannot mend a person's pack: {message}");
    // a recogniser is no detector, and the other way round
    let swapped = Scrfd::open(&recogniser).err().expect("no detector").to_string();
    assert!(swapped.contains("w600k_r50.onnx"), "{swapped}");
    let swapped =
        ArcFace::open(&model("antelopev2/scrfd_10g_bnkps")).err().expect("no recogniser").to_string();
    assert!(swapped.contains("scrfd_10g_bnkps.onnx"), "{swapped}");
}
