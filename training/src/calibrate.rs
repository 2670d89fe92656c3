//! Corrects what the adapter is told of skin for how the model draws what it is told.
//!
//! A trained model draws colours nearer to the middle of all than it is told, and by its roles' and places' light off
//! to one side. Both are much the same for everybody, so they can be measured (told colours moved at random, drawn
//! ones fitted to them by least squares) and undone: the inverse is a linear map of the card's numbers, and goes into the
//! first layer of the adapter, whose format stays what it is. Hair is left alone: tried on photos, its colour came out worse,
//! since too few pictures show it and what is seen behind a hairline varies too much.

use std::path::{Path, PathBuf};

use image::RgbImage;
use imagine_contract::{Engine, GenerateRequest, Identity};
use imagine_identity::card::{Columns, Lab, Measure};
use imagine_identity::runtime::{YUNET_FILE, face_models};
use imagine_identity::{Encoder, FaceChoice, FaceDetector, IdentityError, Photo};
use imagine_pipeline::{DeviceChoice, LoadOptions, StableDiffusion};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, StandardNormal};
use tch::{Device, Kind, Tensor};

use crate::captions;
use crate::dataset::read_frames;
use crate::error::TrainingError;
use crate::export::ADAPTER_FILE;
use crate::files::{photos_in, read_tensors, write_tensors};

/// The layer that reads the colours.
const LAYER: &str = "image_proj.colours.proj.0.weight";
/// Where the skin stands in what that layer reads.
const SKIN: usize = 0;
/// How far told colours are moved, in the card's numbers: about as far as people differ.
const MOVED: [f32; 3] = [0.4, 0.25, 0.5];
/// No direction of colour is told more than so many times stronger: beyond that the model would be told what nobody is.
const STRONGEST: f64 = 2.0;
/// Fewest pictures in which a colour was seen for its response to be known.
const FEWEST: usize = 30;

/// Settings of one calibration.
pub struct Calibration {
    /// The checkpoint folder, whose adapter is written anew.
    pub model: PathBuf,
    /// Rendered people: their captions, and their reference shots unless there are `photos`.
    pub data: PathBuf,
    pub photos: Option<PathBuf>,
    pub pictures: usize,
    pub seed: u64,
    pub device: Device,
}

/// Told and drawn colours of one picture, in the card's numbers.
type Pair = ([f32; 3], [f32; 3]);

/// What a model draws of what it is told: `drawn − middle of drawn = slope · (told − middle of told)`.
struct Response {
    /// [3, 3], f64
    slope: Tensor,
    /// Middles of all pairs: [3, 1], f64
    told: Tensor,
    drawn: Tensor,
    /// What no linear map of the told colours foresees: standard deviations of L / 25, a / 15, b / 15, [3], f64
    rest: Tensor,
}

impl Response {
    /// The least squares fit.
    fn of(pairs: &[Pair]) -> Result<Self, tch::TchError> {
        let column = |of: fn(&Pair) -> [f32; 3]| {
            let values: Vec<f32> = pairs.iter().flat_map(of).collect();
            Ok::<_, tch::TchError>(Tensor::f_from_slice(&values)?.to_kind(Kind::Double).view([-1, 3])) // [N, 3]
        };
        let (told, drawn) = (column(|pair| pair.0)?, column(|pair| pair.1)?);
        let middle = |all: &Tensor| all.mean_dim([0i64].as_slice(), false, Kind::Double); // [3]
        let (told_middle, drawn_middle) = (middle(&told), middle(&drawn));
        let (told, drawn) = (told - &told_middle, drawn - &drawn_middle);
        let squares = told.tr().f_matmul(&told)?; // [3, 3]
        let slope = squares.f_inverse()?.f_matmul(&told.tr().f_matmul(&drawn)?)?.tr(); // [3, 3]
        let rest = (drawn - told.f_matmul(&slope.tr())?).f_std_dim([0i64].as_slice(), false, false)?;
        Ok(Self { slope, told: told_middle.unsqueeze(1), drawn: drawn_middle.unsqueeze(1), rest })
    }

    /// What must be told so that a colour is drawn: `told = [0] · wanted + [1]`. A direction of which the model hears
    /// too little is told as strongly as may be, about the middle of what it draws.
    fn inverse(&self) -> Result<(Tensor, Tensor), tch::TchError> {
        let (left, heard, right) = self.slope.f_svd(true, true)?;
        let stronger = heard.reciprocal().clamp_max(STRONGEST);
        let inverse = right.f_matmul(&stronger.diag(0))?.f_matmul(&left.tr())?; // [3, 3]
        let offset = &self.told - inverse.f_matmul(&self.drawn)?; // [3, 1]
        Ok((inverse, offset))
    }
}

/// Folds an inverse into the columns at `at` of the layer's weight [C, 8]: three of a colour and one that says that it
/// is known.
fn fold(weight: &Tensor, at: usize, (inverse, offset): &(Tensor, Tensor)) -> Tensor {
    let weight = weight.to_kind(Kind::Double);
    let part = |from: usize, columns: i64| weight.narrow(1, from as i64, columns);
    let colour = part(at, 3);
    let known = part(at + 3, 1) + colour.matmul(offset); // [C, 1]
    let before = part(0, at as i64);
    let after = part(at + 4, weight.size()[1] - at as i64 - 4);
    Tensor::cat(&[before, colour.matmul(inverse), known, after], 1) // [C, 8]
}

fn numbers(lab: Lab) -> [f32; 3] {
    [(lab.l - 50.0) / 25.0, lab.a / 15.0, lab.b / 15.0]
}

struct Tools {
    engine: StableDiffusion,
    encoder: Encoder,
    detector: FaceDetector,
    measure: Measure,
}

impl Tools {
    /// A card's vector, divided by its last number.
    fn know(&self, photo: &Path) -> Result<Option<Vec<f32>>, TrainingError> {
        let photo = Photo::open(photo).map_err(IdentityError::from)?;
        let known = self.encoder.examine(&photo, FaceChoice::Largest)?.reference;
        Ok(known.map(|face| {
            let vector = face.embedding.vector();
            let one = vector.last().copied().unwrap_or(1.0);
            vector.iter().map(|v| v / one).collect()
        }))
    }

    /// The colour of the skin in a picture.
    fn drawn(&mut self, request: &GenerateRequest) -> Result<Option<[f32; 3]>, TrainingError> {
        let made = self.engine.pictures(request)?;
        let pixels = made.into_iter().next().map(|picture| picture.pixels);
        let picture = pixels.and_then(|p| RgbImage::from_raw(p.width, p.height, p.rgb)).unwrap_or_default();
        let Some(face) = self.detector.detect(&picture)?.into_iter().next() else { return Ok(None) };
        let [skin, _] = self.measure.colours(&picture, &self.detector.refine(&picture, &face)?)?;
        Ok(skin.map(|sample| numbers(sample.colour)))
    }
}

/// Draws, fits, and writes the adapter anew.
pub fn run(calibration: &Calibration) -> Result<(), TrainingError> {
    let file = calibration.model.join(ADAPTER_FILE);
    let models = face_models().map_err(IdentityError::from)?;
    let mut tools = Tools {
        engine: StableDiffusion::load(&LoadOptions {
            model: calibration.model.clone(),
            adapter: Some(file.clone()),
            device: match calibration.device {
                Device::Cuda(index) => DeviceChoice::Cuda(index),
                _ => DeviceChoice::Cpu,
            },
            ..LoadOptions::default()
        })?,
        encoder: Encoder::card()?,
        detector: FaceDetector::open(&models.join(YUNET_FILE))?,
        measure: Measure::built_in().map_err(IdentityError::from)?,
    };
    let pairs = draw(calibration, &mut tools)?;
    let mut tensors = read_tensors(&file)?;
    let begin = || TrainingError::Begin { path: file.clone(), key: LAYER.into() };
    let weight = tensors.remove(LAYER).ok_or_else(begin)?;
    if weight.size().get(1) != Some(&(Columns::COLOURS.len() as i64)) {
        return Err(begin());
    }
    let kind = weight.kind();
    if pairs.len() < FEWEST {
        return Err(TrainingError::TooFew {
            path: calibration.data.clone(),
            found: pairs.len(),
            needed: FEWEST,
        });
    }
    let response = Response::of(&pairs)?;
    let values = |t: &Tensor| Vec::<f64>::try_from(t.flatten(0, -1));
    println!(
        "calibrate: skin of {} pictures, as L / 25, a / 15, b / 15: slope {:.2?}, middle told {:.2?}, drawn {:.2?}, unforeseen {:.2?}",
        pairs.len(),
        values(&response.slope)?,
        values(&response.told)?,
        values(&response.drawn)?,
        values(&response.rest)?
    );
    let weight = fold(&weight, SKIN, &response.inverse()?);
    tensors.insert(LAYER.into(), weight.to_kind(kind));
    let tensors: Vec<(String, Tensor)> = tensors.into_iter().collect();
    write_tensors(&file, &tensors)
}

/// Told and drawn colours.
fn draw(calibration: &Calibration, tools: &mut Tools) -> Result<Vec<Pair>, TrainingError> {
    let frames = read_frames(&calibration.data)?;
    let photos: Vec<PathBuf> = match &calibration.photos {
        Some(folder) => photos_in(folder)?,
        None => frames.iter().filter_map(|f| Some(calibration.data.join(f.photo.as_ref()?))).collect(),
    };
    let mut rng = StdRng::seed_from_u64(calibration.seed);
    let mut pairs = Vec::new();
    let mut made = 0;
    // A photo without a usable face is passed over; a folder full of them ends all the same.
    for _ in 0..calibration.pictures * 2 {
        let (Some(photo), Some(frame)) = (photos.choose(&mut rng), frames.choose(&mut rng)) else { break };
        let Some(mut vector) = tools.know(photo)? else { continue };
        let Some([l, a, b, known]) =
            vector.get_mut(Columns::COLOURS.start + SKIN..).and_then(|v| v.get_mut(..4))
        else {
            continue;
        };
        if *known <= 0.0 {
            continue;
        }
        let moved = [&mut *l, &mut *a, &mut *b].into_iter().zip(MOVED);
        moved.for_each(|(value, by)| *value += by * normal(&mut rng));
        let told = [*l, *a, *b];
        let mut request = GenerateRequest::new(captions::in_full(frame), rng.random::<u32>().into());
        request.people = vec![Identity::of_embedding(vector, 1.0)];
        pairs.extend(tools.drawn(&request)?.map(|drawn| (told, drawn)));
        made += 1;
        if made % 50 == 0 {
            println!("calibrate: {made} of {} pictures", calibration.pictures);
        }
        if made == calibration.pictures {
            break;
        }
    }
    Ok(pairs)
}

fn normal(rng: &mut StdRng) -> f32 {
    StandardNormal.sample(rng)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    /// A model that draws half of what it is told of `b`, a little of `L` in it, and everything lighter.
    fn draws([l, a, b]: [f32; 3]) -> [f32; 3] {
        [0.8 * l + 0.1 * b + 0.2, 0.9 * a, 0.55 * b + 0.6]
    }

    #[test]
    fn a_folded_layer_hears_what_makes_the_model_draw_what_is_wanted() {
        let mut rng = StdRng::seed_from_u64(3);
        let mut colour = || [normal(&mut rng), normal(&mut rng), normal(&mut rng)];
        let pairs: Vec<Pair> = std::iter::repeat_with(&mut colour).take(50).map(|c| (c, draws(c))).collect();
        let inverse = Response::of(&pairs).unwrap().inverse().unwrap();
        // A layer that passes the eight numbers on: what it says of skin and hair is what the model is told.
        let layer = fold(&Tensor::eye(8, (Kind::Float, Device::Cpu)), 0, &inverse);
        let told = |card: [f32; 8]| {
            let card = Tensor::from_slice(&card).to_kind(Kind::Double).unsqueeze(1); // [8, 1]
            Vec::<f64>::try_from(layer.matmul(&card).squeeze_dim(1)).unwrap()
        };
        for wanted in [[0.5, 0.8, 0.3], [1.0, 0.2, 2.0]] {
            let [l, a, b] = wanted;
            let heard = told([l, a, b, 1.0, 0.1, 0.2, 0.3, 1.0]);
            let drawn = draws([heard[0] as f32, heard[1] as f32, heard[2] as f32]);
            assert!(drawn.iter().zip(wanted).all(|(d, w)| (d - w).abs() < 1e-4), "{drawn:?}");
            assert!((heard[4] - 0.1).abs() < 1e-6 && (heard[7] - 1.0).abs() < 1e-6, "{heard:?}");
        }
        // What is not known is told as before.
        assert!(told([0.0; 8]).iter().all(|v| *v == 0.0));
    }

    #[test]
    fn what_the_model_hardly_hears_is_not_shouted() {
        let deaf = |[l, a, b]: [f32; 3]| [l, a, 0.05 * b + 1.0];
        let mut rng = StdRng::seed_from_u64(4);
        let mut colour = || [normal(&mut rng), normal(&mut rng), normal(&mut rng)];
        let pairs: Vec<Pair> = std::iter::repeat_with(&mut colour).take(50).map(|c| (c, deaf(c))).collect();
        let (inverse, _) = Response::of(&pairs).unwrap().inverse().unwrap();
        assert!((inverse.double_value(&[2, 2]) - STRONGEST).abs() < 1e-3);
        assert!((inverse.double_value(&[0, 0]) - 1.0).abs() < 1e-3);
    }
}
