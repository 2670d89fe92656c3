//! Image-to-image and inpainting against diffusers' pipelines (fixtures by `generate/edits.py`), and what is put
//! back of the original.

use imagine_contract::{Edit, EditMask, Engine, EngineError, GenerateRequest, GrayPixels, Rest, RgbPixels};
use imagine_pipeline::StableDiffusion;
use imagine_tests::{Golden, dtype, fixtures};
use safetensors::Dtype;

use crate::broken_files::{CheckpointCopy, Stored, read_safetensors};
use crate::picture_runs::{Comparison, Run, apart, generate, load, mask, picture};

fn pictures() -> Golden {
    Golden::read("edits", "pictures.safetensors")
}

/// The checkpoint that a run edits with; for nine channels with the input layer of such a U-Net.
fn model(run: &Run) -> StableDiffusion {
    let name = run.checkpoint.as_deref().unwrap_or("sd");
    let subject = if name == "sd" { "pipeline" } else { name };
    let copy = CheckpointCopy::of(&fixtures(subject).join("checkpoint"));
    if run.channels {
        copy.json("unet/config.json", "in_channels", 9.into());
        let layers = read_safetensors(&fixtures("edits").join("conv_in.safetensors"));
        let layer: Stored = layers[name].clone();
        assert_eq!(layer.dtype, Dtype::F16);
        copy.tensors("unet/diffusion_pytorch_model.safetensors", |tensors| {
            tensors.insert("conv_in.weight".into(), layer);
        });
    }
    load(copy.path(""), None, dtype())
}

fn named(name: &str) -> Run {
    Run::named("edits", name)
}

fn request(run: &Run) -> GenerateRequest {
    GenerateRequest { edit: run.edit(&pictures()), ..run.request(None) }
}

#[test]
fn every_picture_equals_diffusers() {
    let golden = pictures();
    let mut comparison = Comparison::default();
    for run in Run::all("edits") {
        comparison.compare(&run, generate(&mut model(&run), &request(&run)), &golden);
    }
    comparison.finish();
}

#[test]
fn the_rest_of_the_picture_is_the_originals_to_the_last_bit() {
    let golden = pictures();
    let (original, marks) = (picture(&golden), mask(&golden));
    for name in ["masked_part", "nine"] {
        let run = named(name);
        let mut model = model(&run);
        let decoded = generate(&mut model, &request(&run)).remove(0).pixels;
        let with = |feather| {
            let rest = Rest::Original { feather };
            let mask = Some(EditMask { pixels: marks.clone(), rest });
            let edit = run.edit(&golden).map(|edit| Edit { mask, ..edit });
            GenerateRequest { edit, ..run.request(None) }
        };
        let hard = generate(&mut model, &with(0)).remove(0).pixels;
        let soft = generate(&mut model, &with(3)).remove(0).pixels;
        let (mut inside, mut faded) = (0, 0);
        for (at, &mark) in marks.values.iter().enumerate() {
            let pixel = |p: &RgbPixels| [p.rgb[at * 3], p.rgb[at * 3 + 1], p.rgb[at * 3 + 2]];
            match mark {
                0 => {
                    assert_eq!(pixel(&hard), pixel(&original), "{name}, pixel {at}");
                    assert_eq!(pixel(&soft), pixel(&original), "{name}, pixel {at}");
                }
                255 => {
                    assert_eq!(pixel(&hard), pixel(&decoded), "{name}, pixel {at}");
                    inside += usize::from(pixel(&soft) == pixel(&decoded));
                    faded += usize::from(pixel(&soft) != pixel(&decoded));
                }
                _ => {}
            }
        }
        assert!(inside > 20 && faded > 20, "{name}: {inside} as drawn, {faded} faded");
    }
}

#[test]
fn a_picture_of_another_size_is_stretched_or_gives_its_own() {
    let run = named("masked");
    let mut model = model(&run);
    let whole = request(&run);
    let stretched = |width, height| {
        let rgb = vec![90; (width * height * 3) as usize];
        let marks = GrayPixels::filled(width / 2, height / 2, 255);
        let mask = EditMask { pixels: marks, rest: Rest::Original { feather: 0 } };
        let picture = RgbPixels { width, height, rgb };
        let edit = Some(Edit { picture, strength: 0.5, mask: Some(mask) });
        GenerateRequest { edit, ..whole.clone() }
    };
    let size = |model: &mut StableDiffusion, request: &GenerateRequest| {
        let drawn = generate(model, request).remove(0).pixels;
        (drawn.width, drawn.height)
    };
    assert_eq!(size(&mut model, &stretched(42, 22)), (40, 20), "cut down to whole cells");
    assert_eq!(size(&mut model, &stretched(400, 100)), (64, 16), "as many pixels as the model draws");
    let asked = GenerateRequest { width: Some(32), height: Some(24), ..stretched(400, 100) };
    assert_eq!(size(&mut model, &asked), (32, 24));
}

#[test]
fn a_picture_of_several_is_drawn_alike_alone() {
    for name in ["several", "masked_euler-a"] {
        let run = named(name);
        let mut model = model(&run);
        let together = GenerateRequest { count: 2, ..request(&run) };
        for picture in generate(&mut model, &together) {
            let alone = GenerateRequest { seed: picture.seed, count: 1, ..together.clone() };
            let alone = generate(&mut model, &alone).remove(0);
            assert_eq!(apart(&alone.pixels.rgb, &picture.pixels.rgb), None, "{name}");
        }
    }
}

#[test]
fn edits_that_cannot_be_made_are_refused() {
    let (image, nine) = (named("own"), named("nine"));
    let refusal = |model: &mut StableDiffusion, request: &GenerateRequest| match model.pictures(request) {
        Err(e @ (EngineError::Request(_) | EngineError::Unsupported(_))) => e.to_string(),
        Err(e) => panic!("not the request's fault: {e}"),
        Ok(_) => panic!("{request:?} must be refused"),
    };
    let mut inpainting = model(&nine);
    assert!(inpainting.info().inpainting);
    for edit in [None, request(&image).edit] {
        let message = refusal(&mut inpainting, &GenerateRequest { edit, ..request(&nine) });
        assert!(message.contains("needs a picture and a mask"), "{message}");
    }
    let mut plain = model(&image);
    let faint = request(&image).edit.map(|edit| Edit { strength: 0.05, ..edit });
    let message = refusal(&mut plain, &GenerateRequest { edit: faint, ..request(&image) });
    assert!(message.contains("strength 0.05 of 10 steps leaves no step"), "{message}");
    // A mark that is lost when the mask is shrunk.
    let mut lost = request(&named("masked"));
    if let Some(mask) = lost.edit.as_mut().and_then(|edit| edit.mask.as_mut()) {
        mask.pixels = GrayPixels::filled(400, 240, 0);
        mask.pixels.values[0] = 255;
    }
    let message = refusal(&mut plain, &lost);
    assert!(message.contains("mask marks nothing"), "{message}");
}
