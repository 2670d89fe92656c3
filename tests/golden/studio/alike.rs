//! Together as alone.

use imagine_contract::{Edit, EditMask, GenerateRequest, Identity, Region, Rest};
use imagine_pipeline::StableDiffusion;
use imagine_tests::{Golden, dtype, fixtures};

use super::{Held, assert_same, model, person, request};
use crate::picture_runs::{self, generate};

/// Draws every request alone and all together in one studio; the number of pictures in each call.
fn compare(load: impl Fn() -> StableDiffusion, requests: &[(&str, GenerateRequest)]) -> Vec<usize> {
    let mut single = load();
    let alone: Vec<_> = requests.iter().map(|(_, request)| generate(&mut single, request)).collect();
    // The pictures differ, or nothing would be shown.
    let first = &alone[0][0].pixels;
    assert!(alone.iter().skip(1).all(|pictures| pictures[0].pixels != *first));
    let held = Held::new(load(), 100);
    let tickets: Vec<_> = requests.iter().map(|(_, request)| held.submit(request)).collect();
    held.open();
    for ((name, _), (ticket, alone)) in requests.iter().zip(tickets.iter().zip(&alone)) {
        assert_same(name, &ticket.pictures(), alone);
    }
    held.calls()
}

fn with_scheduler(name: &str, seed: u64, steps: u32) -> GenerateRequest {
    GenerateRequest { scheduler: Some(name.into()), ..request("a smiling woman, red hair", seed, steps) }
}

#[test]
fn samplers_steps_and_guidance_of_all_kinds_go_together() {
    let unguided = GenerateRequest { guidance_scale: Some(1.0), ..request("dark forest", 5, 4) };
    let strong = GenerateRequest { guidance_scale: Some(9.0), ..request("a portrait", 6, 7) };
    let negative = GenerateRequest { negative_prompt: "hat, glasses".into(), ..request("a man", 7, 3) };
    let calls = compare(
        model,
        &[
            ("ddim", request("a portrait of a smiling woman", 1, 6)),
            ("euler", with_scheduler("euler", 2, 5)),
            ("ancestral", with_scheduler("euler-a", 3, 5)),
            ("heun", with_scheduler("heun", 4, 3)),
            ("karras", with_scheduler("dpm++2m-karras", 8, 6)),
            ("pndm", with_scheduler("pndm", 9, 5)),
            ("unipc", with_scheduler("unipc", 10, 4)),
            ("unguided", unguided),
            ("strong", strong),
            ("negative", negative),
            ("several", GenerateRequest { count: 3, ..with_scheduler("ddpm", 11, 4) }),
        ],
    );
    // The first order is alone in the call that was held, at most.
    assert!(calls[1..].contains(&13), "{calls:?}");
    assert!(calls.len() <= 1 + 11, "as many calls as the longest order has steps, and the first: {calls:?}");
}

#[test]
fn people_go_with_nobody_with_each_other_and_with_regions() {
    let with = |people: Vec<Identity>, seed| GenerateRequest { people, ..request("a portrait", seed, 4) };
    let at = |scale, edges| Identity { region: Some(Region::Box(edges)), ..person(scale) };
    let two = vec![at(0.9, [0.0, 0.0, 0.5, 1.0]), at(0.6, [0.5, 0.0, 1.0, 1.0])];
    let sometimes = Identity { steps: [0.25, 0.75], ..person(1.0) };
    let mut two_photos = person(1.0);
    two_photos.references.push(two_photos.references[0].clone());
    two_photos.references[1].embedding.reverse();
    let unguided = GenerateRequest { guidance_scale: Some(1.0), ..with(vec![person(1.0)], 7) };
    let calls = compare(
        model,
        &[
            ("nobody", with(vec![], 1)),
            ("somebody", with(vec![person(1.0)], 2)),
            ("weakly", with(vec![person(0.3)], 3)),
            ("two", with(two, 4)),
            ("silent", with(vec![person(0.0)], 5)),
            ("in a part of the run", with(vec![sometimes], 6)),
            ("unguided", unguided),
            ("by two photos", with(vec![two_photos], 8)),
        ],
    );
    assert!(calls.contains(&8), "{calls:?}");
}

#[test]
fn sizes_take_turns() {
    let wide = GenerateRequest { width: Some(48), height: Some(24), ..request("a forest", 2, 5) };
    let calls = compare(model, &[("square", request("a portrait", 1, 5)), ("wide", wide)]);
    assert_eq!(calls, [1; 10]);
}

#[test]
fn edits_go_with_pictures_drawn_from_nothing() {
    let pictures = Golden::read("edits", "pictures.safetensors");
    let (picture, mask) = (picture_runs::picture(&pictures), picture_runs::mask(&pictures));
    let size = (Some(picture.width), Some(picture.height));
    let sized = |request: GenerateRequest| GenerateRequest { width: size.0, height: size.1, ..request };
    let edit = |strength, rest: Option<Rest>| {
        let mask = rest.map(|rest| EditMask { pixels: mask.clone(), rest });
        Some(Edit { picture: picture.clone(), strength, mask })
    };
    let changed = |edit, seed| GenerateRequest { edit, ..sized(request("a red hat", seed, 6)) };
    let calls = compare(
        model,
        &[
            ("from nothing", sized(request("a red hat", 1, 6))),
            ("changed", changed(edit(0.5, None), 2)),
            ("in a part", changed(edit(0.8, Some(Rest::Decoded)), 3)),
            ("the rest as it was", changed(edit(1.0, Some(Rest::Original { feather: 2 })), 4)),
        ],
    );
    assert!(calls.contains(&4), "{calls:?}");
}

#[test]
fn two_text_encoders_and_sizes_go_together() {
    let load = || picture_runs::load(fixtures("sdxl").join("checkpoint"), None, dtype());
    let mut small = request("a forest", 3, 4);
    small.size_condition =
        Some(imagine_contract::SizeCondition { original: [64, 32], crop: [8, 4], target: [128, 128] });
    let unguided = GenerateRequest { guidance_scale: Some(1.0), ..request("a man", 4, 4) };
    let calls =
        compare(load, &[("plain", request("a portrait", 2, 5)), ("small", small), ("unguided", unguided)]);
    assert!(calls.contains(&3), "{calls:?}");
}

#[test]
fn orders_join_and_leave_between_steps() {
    let (long, short) = (request("a portrait of a smiling woman", 1, 8), request("a dark forest", 2, 3));
    let mut single = model();
    let alone = [generate(&mut single, &long), generate(&mut single, &short)];
    let held = Held::new(model(), 100);
    let first = held.submit(&long);
    held.wait_for_first_call();
    let second = held.submit(&short);
    held.open();
    assert_same("the long one", &first.pictures(), &alone[0]);
    assert_same("the short one", &second.pictures(), &alone[1]);
    assert_eq!(held.calls(), [1, 2, 2, 2, 1, 1, 1, 1]);
}
