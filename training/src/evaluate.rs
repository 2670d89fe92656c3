//! Measures a checkpoint on people it has never seen: is there a face, and is it the right one?
//!
//! Each held-out person is drawn from the embedding of their first shot. The picture's own embedding
//! is then compared with other shots of ten people, one of them the right one. Embeddings are centred
//! on the mean of all held-out shots, because renders lie close together.

use std::path::PathBuf;

use image::RgbImage;
use imagine_contract::{Engine, GenerateRequest, Identity};
use imagine_identity::Encoder;
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions, StableDiffusion};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde::Serialize;
use tch::Tensor;

use crate::captions;
use crate::dataset::{Frame, read_frames};
use crate::error::TrainingError;
use crate::export::ADAPTER_FILE;
use crate::files::write_json;
use crate::pictures::{framed, tensor_of, write_sheet};

/// People in the line-up from which the right one is picked.
const LINE_UP: usize = 10;

/// Settings of one evaluation.
pub struct Evaluation {
    /// The checkpoint folder.
    pub model: PathBuf,
    /// Held-out people, as `render/make_dataset.py` leaves them.
    pub heldout: PathBuf,
    pub report: PathBuf,
    pub sheet: PathBuf,
    /// Pictures a person.
    pub pictures: u32,
    pub seed: u64,
    /// How to draw: the checkpoint's own numbers where left open.
    pub steps: Option<u32>,
    pub guidance_scale: Option<f64>,
    pub identity_scale: f64,
}

/// The measured numbers.
#[derive(Debug, Serialize)]
struct Report {
    people: usize,
    pictures: usize,
    faces_found: f64,
    /// Share of all pictures (a picture without a face is a miss) whose nearest in the line-up is the
    /// right person.
    right_of_ten: f64,
    /// The same, with real renders of other shots instead of generated pictures: the ceiling.
    right_of_ten_renders: f64,
    /// Mean centred cosine to the right person and to the others in the line-up.
    likeness_right: f64,
    likeness_others: f64,
    steps: u32,
    guidance_scale: f64,
    identity_scale: f64,
    seed: u64,
    seconds_per_picture: f64,
}

struct Person<'a> {
    reference: &'a Frame,
    others: Vec<&'a Frame>,
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// Subtracts the mean and gives length one.
fn centred(vector: &[f32], mean: &[f32]) -> Vec<f32> {
    let moved: Vec<f32> = vector.iter().zip(mean).map(|(v, m)| v - m).collect();
    let length = dot(&moved, &moved).sqrt().max(1e-9) as f32;
    moved.into_iter().map(|v| v / length).collect()
}

/// Likeness to the right person and the highest to nine others.
fn line_up(face: &[f32], person: usize, gallery: &[Vec<f32>], rng: &mut StdRng) -> (f64, f64, f64) {
    let others: Vec<usize> = (0..gallery.len()).filter(|p| *p != person).collect();
    let drawn: Vec<f64> = others.choose_multiple(rng, LINE_UP - 1).map(|p| dot(face, &gallery[*p])).collect();
    let highest = drawn.iter().copied().fold(f64::MIN, f64::max);
    (dot(face, &gallery[person]), highest, drawn.iter().sum::<f64>() / drawn.len() as f64)
}

/// Draws the pictures, measures them, writes report and sheet.
pub fn run(evaluation: &Evaluation) -> Result<(), TrainingError> {
    let frames = read_frames(&evaluation.heldout)?;
    let people: Vec<Person> = frames
        .chunk_by(|a, b| a.person == b.person)
        .filter(|shots| shots.len() >= 2)
        .map(|shots| Person { reference: &shots[0], others: shots[1..].iter().collect() })
        .collect();
    if people.len() < LINE_UP {
        let path = evaluation.heldout.clone();
        return Err(TrainingError::TooFew { path, found: people.len(), needed: LINE_UP });
    }
    let mean = mean_embedding(&frames);
    let embedding = |frame: &Frame| centred(frame.sface.as_deref().unwrap_or_default(), &mean);
    let mut rng = StdRng::seed_from_u64(evaluation.seed);
    // A shot of each person that is neither the reference nor, where there are more, always the same.
    let gallery: Vec<Vec<f32>> =
        people.iter().map(|p| p.others.choose(&mut rng).map(|f| embedding(f)).unwrap_or_default()).collect();
    let mut engine = StableDiffusion::load(&LoadOptions {
        model: evaluation.model.clone(),
        adapter: Some(evaluation.model.join(ADAPTER_FILE)),
        device: DeviceChoice::Auto,
        dtype: DtypeChoice::Auto,
        ..LoadOptions::default()
    })?;
    let encoder = Encoder::installed()?;
    let clock = std::time::Instant::now();
    let (mut found, mut right, mut total) = (0usize, 0usize, 0usize);
    let (mut likeness, mut sheet) = ((0.0, 0.0), Vec::new());
    for (index, person) in people.iter().enumerate() {
        let scene = person.others.choose(&mut rng).copied().unwrap_or(person.reference);
        let mut request =
            GenerateRequest::new(captions::compose(scene, false, &mut rng), rng.random::<u32>().into());
        request.count = evaluation.pictures;
        request.steps = evaluation.steps;
        request.guidance_scale = evaluation.guidance_scale;
        let embedding = person.reference.sface.clone().unwrap_or_default();
        request.people = vec![Identity::of_embedding(embedding, evaluation.identity_scale)];
        let pictures = engine.pictures(&request)?;
        if index < 12 {
            sheet.push(reference_picture(evaluation, person, engine.info().width)?);
        }
        for (i, picture) in pictures.into_iter().enumerate() {
            total += 1;
            let pixels = picture.pixels;
            let rgb = RgbImage::from_raw(pixels.width, pixels.height, pixels.rgb).unwrap_or_default();
            if index < 12 && i < 3 {
                sheet.push(tensor_of(&rgb)?);
            }
            let Some(face) = encoder.embed(&rgb)? else { continue };
            found += 1;
            let (to_right, highest, to_others) =
                line_up(&centred(face.vector(), &mean), index, &gallery, &mut rng);
            right += usize::from(to_right > highest);
            likeness = (likeness.0 + to_right, likeness.1 + to_others);
        }
    }
    let seconds = clock.elapsed().as_secs_f64();
    let mut ceiling = 0usize;
    for (index, person) in people.iter().enumerate() {
        let (to_right, highest, _) = line_up(&embedding(person.reference), index, &gallery, &mut rng);
        ceiling += usize::from(to_right > highest);
    }
    let share = |n: usize, of: usize| n as f64 / of.max(1) as f64;
    let report = Report {
        people: people.len(),
        pictures: total,
        faces_found: share(found, total),
        right_of_ten: share(right, total),
        right_of_ten_renders: share(ceiling, people.len()),
        likeness_right: likeness.0 / found.max(1) as f64,
        likeness_others: likeness.1 / found.max(1) as f64,
        steps: evaluation.steps.unwrap_or(engine.info().steps),
        guidance_scale: evaluation.guidance_scale.unwrap_or(engine.info().guidance_scale),
        identity_scale: evaluation.identity_scale,
        seed: evaluation.seed,
        seconds_per_picture: seconds / total.max(1) as f64,
    };
    println!("{report:#?}");
    write_json(&evaluation.report, &report)?;
    write_sheet(&evaluation.sheet, &Tensor::f_stack(&sheet, 0)?, 8)
}

fn mean_embedding(frames: &[Frame]) -> Vec<f32> {
    let rows: Vec<&Vec<f32>> = frames.iter().filter_map(|f| f.sface.as_ref()).collect();
    let mut mean = vec![0.0; rows.first().map_or(0, |r| r.len())];
    for row in &rows {
        mean.iter_mut().zip(row.iter()).for_each(|(m, v)| *m += v / rows.len() as f32);
    }
    mean
}

/// The reference shot, framed like and as large as the pictures made.
fn reference_picture(evaluation: &Evaluation, person: &Person, side: u32) -> Result<Tensor, TrainingError> {
    let path = evaluation.heldout.join(&person.reference.file);
    let image = image::open(&path).map_err(|source| TrainingError::Image { path, source })?;
    tensor_of(&framed(&image.to_rgb8(), side))
}
