//! The identity card's networks against face-api itself (generate/card.py), on renders of people who do not exist.

use image::RgbImage;
use imagine_identity::Photo;
use imagine_identity::card::{
    Cut, DESCRIPTOR_INPUT, DescriptorNetwork, Judge, LandmarkNetwork, POINTS, Points68, descriptor_rectangle,
};
use imagine_tests::{Golden, assert_close, fixtures};
use tch::{Kind, Tensor};

/// Pictures of the cases, as generate/card.py lists them.
const PICTURES: [&str; 5] =
    ["faces/render.png", "faces/render.png", "faces/render.png", "card/turned.png", "card/turned.png"];

/// Where crates keep the weights, to break them.
const WEIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../identity/weights");

fn picture(name: &str) -> RgbImage {
    Photo::open(&fixtures(name)).unwrap_or_else(|e| panic!("{e}")).pixels().clone()
}

fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).expect("numbers")
}

fn four(tensor: &Tensor) -> [f32; 4] {
    numbers(tensor).try_into().expect("four numbers")
}

fn golden_points(golden: &Golden, n: usize) -> Points68 {
    let flat = numbers(&golden.get(&format!("{n}.points")));
    let points: Vec<[f32; 2]> = flat.chunks_exact(2).map(|p| [p[0], p[1]]).collect();
    points.try_into().expect("68 points")
}

#[test]
fn landmarks_equal_face_api() {
    let (golden, network) =
        (Golden::read("card", "card.safetensors"), LandmarkNetwork::built_in().expect("weights"));
    for (n, name) in PICTURES.into_iter().enumerate() {
        let (picture, wanted) = (picture(name), golden_points(&golden, n));
        let cut =
            Cut::new(&picture, four(&golden.get(&format!("{n}.rectangle")))).expect("a part of the picture");
        let found = network.points(&cut).expect("points");
        for at in 0..POINTS {
            let off = (found[at][0] - wanted[at][0]).hypot(found[at][1] - wanted[at][1]);
            assert!(off < 2e-3, "{name}, point {at}: {:?}, not {:?}", found[at], wanted[at]);
        }
        // not one and the same place for all
        assert!((wanted[0][0] - wanted[16][0]).abs() > 40.0);
    }
}

#[test]
fn the_descriptors_rectangle_is_face_apis() {
    let golden = Golden::read("card", "card.safetensors");
    for (n, name) in PICTURES.into_iter().enumerate() {
        let picture = picture(name);
        let first = Cut::new(&picture, four(&golden.get(&format!("{n}.rectangle")))).expect("a part");
        let rectangle = descriptor_rectangle(&golden_points(&golden, n), first.size());
        assert_eq!(rectangle, four(&golden.get(&format!("{n}.aligned"))), "{name}, case {n}");
        let cut = Cut::new(&picture, rectangle).expect("a part");
        let wanted = numbers(&golden.get(&format!("{n}.cut")));
        assert_eq!(cut.size().map(|v| v as f32).to_vec(), wanted, "{name}, case {n}");
    }
}

#[test]
fn descriptors_equal_face_api() {
    let (golden, network) =
        (Golden::read("card", "card.safetensors"), DescriptorNetwork::built_in().expect("weights"));
    for (n, name) in PICTURES.into_iter().enumerate() {
        let picture = picture(name);
        let cut = Cut::new(&picture, four(&golden.get(&format!("{n}.aligned")))).expect("a part");
        let found = network.forward(&cut.input(DESCRIPTOR_INPUT).expect("pixels")).expect("a descriptor");
        assert_close(name, &found.squeeze(), &golden.get(&format!("{n}.descriptor")), 2e-4);
    }
    // and they tell two people apart: three cuts of one, two of another
    let descriptor = |n: usize| numbers(&golden.get(&format!("{n}.descriptor")));
    let apart = |a: usize, b: usize| -> f32 {
        descriptor(a).iter().zip(descriptor(b)).map(|(x, y)| (x - y) * (x - y)).sum::<f32>().sqrt()
    };
    assert!(apart(0, 1) < apart(0, 3) && apart(3, 4) < apart(0, 3), "{} {}", apart(0, 1), apart(0, 3));
}

/// Weights that are damaged in one way or another are refused with the file and the tensor.
#[test]
fn broken_weights_are_refused_by_name() {
    let read = |file: &str| std::fs::read(format!("{WEIGHTS}/{file}")).expect("the committed weights");
    // a key in the header gets another name of the same length
    let renamed = |bytes: &[u8], from: &str, to: &str| -> Vec<u8> {
        assert_eq!(from.len(), to.len());
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).expect("the key");
        let mut bytes = bytes.to_vec();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        bytes
    };
    let descriptor = read("face_descriptor.safetensors");
    let error =
        |bytes: &[u8]| DescriptorNetwork::from_bytes("given", bytes).err().expect("refused").to_string();
    let missing =
        error(&renamed(&descriptor, "\"conv64_down.conv1.conv.bias\"", "\"conv64_down.conv1.conv.bios\""));
    assert!(
        missing.contains("given") && missing.contains("\"conv64_down.conv1.conv.bias\" is missing"),
        "{missing}"
    );
    let cut_short = error(&descriptor[..descriptor.len() - 1]);
    assert!(cut_short.contains("given: not a valid safetensors file"), "{cut_short}");
    let landmarks = read("face_landmarks_68.safetensors");
    let other = error(&landmarks);
    assert!(other.contains("is missing"), "{other}");
    let shape = renamed(&landmarks, "\"shape\":[136,256]", "\"shape\":[256,136]");
    let shape = LandmarkNetwork::from_bytes("given", &shape).err().expect("refused").to_string();
    assert!(shape.contains("\"fc.weights\" has shape [256, 136], expected [136, 256]"), "{shape}");
    let card = read("card.safetensors");
    let extra = renamed(&card, "\"hat.bias\"", "\"hut.bias\"");
    let Err(extra) = Judge::from_bytes("given", &extra) else { panic!("was taken") };
    let extra = extra.to_string();
    assert!(extra.contains("\"hat.bias\" is missing"), "{extra}");
    Judge::from_bytes("given", &card).expect("the committed probes");
}
