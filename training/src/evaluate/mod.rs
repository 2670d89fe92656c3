//! Measures a checkpoint on people it has never seen, rendered and real, and writes the report with its pictures.
//!
//! Three that know faces judge: YuNet whether there is one, SFace (centred on the mean of all held-out shots, because
//! renders lie close together) whose it is, and the identity card what it looks like; [`crate::judge`] says whether the
//! prompt was followed.

mod frechet;
mod markdown;
mod people;
mod photos;
mod tally;

use std::path::PathBuf;
use std::time::Instant;

use image::RgbImage;
use imagine_contract::{Engine, GenerateRequest, Identity};
use imagine_identity::card::IdentityCard;
use imagine_identity::runtime::{YUNET_FILE, face_models};
use imagine_identity::{CardReader, Embedding, Encoder, FaceChoice, FaceDetector, Photo};
use imagine_pipeline::{DeviceChoice, DtypeChoice, LoadOptions, StableDiffusion};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde::Serialize;
use tch::{Device, Tensor};

use crate::error::TrainingError;
use crate::export::ADAPTER_FILE;
use crate::files::{write_json, write_whole};
use crate::judge::Judge;
use crate::pictures::{tensor_of, write_sheet};

/// Settings of one evaluation.
pub struct Evaluation {
    /// The checkpoint folder.
    pub model: PathBuf,
    /// Held-out people, as `render/make_dataset.py` leaves them.
    pub heldout: PathBuf,
    /// What `judge` has left.
    pub judge: PathBuf,
    /// Photos of real people; those of `card/portraits.jsonl`, or any.
    pub photos: Option<PathBuf>,
    /// Receives `starter.md`, `starter.json` and the sheets.
    pub out: PathBuf,
    pub pictures: usize,
    /// People who are also drawn with several seeds each, for how far those are apart; not told of none.
    pub seeded: usize,
    pub seed: u64,
    /// How to draw: the checkpoint's own numbers where left open.
    pub steps: Option<u32>,
    pub guidance_scale: Option<f64>,
    pub identity_scale: f64,
    pub device: Device,
}

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub steps: u32,
    pub guidance_scale: f64,
    pub identity_scale: f64,
    pub seed: u64,
    pub side: u32,
    pub seconds_per_picture: f64,
    pub people: people::PeopleReport,
    pub photos: Option<photos::PhotosReport>,
}

/// All that looks at pictures, and what draws them.
pub(super) struct Studio<'a> {
    evaluation: &'a Evaluation,
    engine: StableDiffusion,
    /// Whose face it is.
    recogniser: Encoder,
    /// The condition.
    card_encoder: Encoder,
    detector: FaceDetector,
    cards: CardReader,
    judge: Judge,
    drawn: usize,
    seconds: f64,
}

/// A generated picture and what was found in it.
pub(super) struct Seen {
    pub picture: RgbImage,
    /// Of the largest face.
    pub face: Option<Embedding>,
    pub card: Option<IdentityCard>,
    /// In the order of [`crate::judge::QUESTIONS`].
    pub answers: Vec<String>,
    /// What the answers were read off: [F]
    pub features: Tensor,
}

impl Studio<'_> {
    /// A photo as the model wants to know it: its card's vector. None where the photo cannot be used.
    fn know(&self, photo: &Photo) -> Result<Option<Identity>, TrainingError> {
        let known = self.card_encoder.examine(photo, FaceChoice::Largest)?.reference;
        Ok(known.map(|face| {
            Identity::of_embedding(face.embedding.vector().to_vec(), self.evaluation.identity_scale)
        }))
    }

    /// The card of a picture's largest face.
    fn card(&self, picture: &RgbImage) -> Result<Option<IdentityCard>, TrainingError> {
        match self.detector.detect(picture)?.first() {
            Some(face) => Ok(self.cards.read(picture, &self.detector.refine(picture, face)?)?),
            None => Ok(None),
        }
    }

    /// Draws and looks.
    fn draw(&mut self, prompt: &str, person: &Identity, seed: u64) -> Result<Seen, TrainingError> {
        let mut request = GenerateRequest::new(prompt, seed);
        request.steps = self.evaluation.steps;
        request.guidance_scale = self.evaluation.guidance_scale;
        request.people = vec![person.clone()];
        let clock = Instant::now();
        let made = self.engine.pictures(&request)?;
        self.seconds += clock.elapsed().as_secs_f64();
        self.drawn += 1;
        let pixels = made.into_iter().next().map(|picture| picture.pixels);
        let picture = pixels.and_then(|p| RgbImage::from_raw(p.width, p.height, p.rgb)).unwrap_or_default();
        let pixels = tensor_of(&picture)?.unsqueeze(0); // [1, 3, H, W]
        let answers = self.judge.answers(&pixels).into_iter().next();
        Ok(Seen {
            face: self.recogniser.embed(&picture)?,
            card: self.card(&picture)?,
            answers: answers.unwrap_or_default(),
            features: self.judge.features(&pixels).squeeze_dim(0), // [F]
            picture,
        })
    }
}

/// Draws the pictures, measures them, writes report and sheets.
pub fn run(evaluation: &Evaluation) -> Result<(), TrainingError> {
    let (report, [people, roles, failures]) = measure(evaluation)?;
    write_json(&evaluation.out.join("starter.json"), &report)?;
    write_whole(&evaluation.out.join("starter.md"), markdown::of(&report).as_bytes())?;
    sheet(evaluation, "starter-people.jpg", &people, 8)?;
    sheet(evaluation, "starter-roles.jpg", &roles, 8)?;
    sheet(evaluation, "starter-failures.jpg", &failures, 8)?;
    println!("{}", markdown::of(&report));
    Ok(())
}

/// Draws the pictures and measures them; with those that the sheets of people, roles and failures show.
pub fn measure(evaluation: &Evaluation) -> Result<(Report, [Vec<RgbImage>; 3]), TrainingError> {
    let engine = StableDiffusion::load(&LoadOptions {
        model: evaluation.model.clone(),
        adapter: Some(evaluation.model.join(ADAPTER_FILE)),
        device: match evaluation.device {
            Device::Cuda(index) => DeviceChoice::Cuda(index),
            _ => DeviceChoice::Cpu,
        },
        dtype: DtypeChoice::Auto,
        ..LoadOptions::default()
    })?;
    let models = face_models().map_err(imagine_identity::IdentityError::from)?;
    let mut studio = Studio {
        evaluation,
        engine,
        recogniser: Encoder::installed()?,
        card_encoder: Encoder::card()?,
        detector: FaceDetector::open(&models.join(YUNET_FILE))?,
        cards: CardReader::built_in()?,
        judge: Judge::read(&evaluation.judge, evaluation.device)?,
        drawn: 0,
        seconds: 0.0,
    };
    let mut rng = StdRng::seed_from_u64(evaluation.seed);
    let people = people::measure(&mut studio, &mut rng)?;
    let photos = match &evaluation.photos {
        Some(folder) => Some(photos::measure(&mut studio, folder, &mut rng)?),
        None => None,
    };
    let info = studio.engine.info();
    let report = Report {
        steps: evaluation.steps.unwrap_or(info.steps),
        guidance_scale: evaluation.guidance_scale.unwrap_or(info.guidance_scale),
        identity_scale: evaluation.identity_scale,
        seed: evaluation.seed,
        side: info.width,
        seconds_per_picture: studio.seconds / studio.drawn.max(1) as f64,
        people: people.report,
        photos,
    };
    Ok((report, [people.sheet, people.roles, people.failures]))
}

fn sheet(
    evaluation: &Evaluation,
    name: &str,
    pictures: &[RgbImage],
    columns: i64,
) -> Result<(), TrainingError> {
    if pictures.is_empty() {
        return Ok(());
    }
    let tensors: Vec<Tensor> = pictures.iter().map(tensor_of).collect::<Result<_, _>>()?;
    write_sheet(&evaluation.out.join(name), &Tensor::f_stack(&tensors, 0)?, columns)
}
