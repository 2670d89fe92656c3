//! Held-out rendered people: is there a face, is it theirs, is the prompt followed, is only the person copied?

use std::collections::BTreeMap;

use image::RgbImage;
use imagine_contract::Identity;
use imagine_identity::card::{Lab, Part};
use imagine_identity::{IdentityCard, Photo};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde::Serialize;
use tch::{Device, Tensor};

use super::frechet;
use super::tally::{Tallies, Tally, centred, correlation, dot, mean, median};
use super::{Seen, Studio};
use crate::captions;
use crate::colours::{self, Colours};
use crate::dataset::{Dataset, Frame};
use crate::error::TrainingError;
use crate::judge::{QUESTIONS, truth};
use crate::pictures::framed;
use crate::recipe::PICTURE_SIZE;
use crate::renders::Renders;

/// ΔE up to which a colour is kept.
pub const KEPT: f32 = 12.0;
/// People and pictures of each on the sheet.
const ON_SHEET: (usize, usize) = (12, 3);
/// Pictures on the sheet of failures, and of roles.
const MOST_SHOWN: usize = 24;
/// Pictures of one prompt with a seed each.
const SEEDS: usize = 4;
/// What a prompt can ask for; the rest of [`QUESTIONS`] belongs to the person.
const ASKED: [&str; 5] = ["role", "place", "hat", "clothes colour", "expression"];

/// What was measured on held-out people.
#[derive(Debug, Serialize)]
pub struct PeopleReport {
    pub people: usize,
    pub pictures: usize,
    pub faces_found: Tally,
    /// Nearest of all people's mean embeddings (without the reference) is the right one.
    pub right_person: Tally,
    /// The same with renders in the place of pictures: the ceiling.
    pub right_person_renders: Tally,
    /// Mean centred cosine to the right person, and to the others.
    pub likeness: (f32, f32),
    /// What the prompt asked for, and what the card says; by question.
    pub followed: Tallies,
    /// The same for roles in places in which training has never shown them.
    pub followed_new_pairs: Tallies,
    /// How often the judge is right on held-out renders: the ceiling of both.
    pub judge_on_renders: Tallies,
    /// Median ΔE between the card of the reference and that of the picture, and how often it is kept.
    pub skin: (f32, Tally),
    pub hair: (f32, Tally),
    /// The same with the person's other shots in the place of pictures: what light and places do to colours.
    pub skin_renders: (f32, Tally),
    pub hair_renders: (f32, Tally),
    /// Fréchet distance to all held-out renders in the judge's features; of halves of the renders from one another.
    pub frechet: (f64, f64),
    /// Of the head's yaw in reference and picture.
    pub yaw_correlation: f32,
    /// Mean distance of pixels (of 255) between seeds with one prompt, and between shots of one person.
    pub seeds_apart: (f32, f32),
    /// Faces found, right person, prompt followed: by skin, by sex.
    pub groups: BTreeMap<String, [Tally; 3]>,
}

/// The report with its pictures.
pub struct Measured {
    pub report: PeopleReport,
    pub sheet: Vec<RgbImage>,
    pub roles: Vec<RgbImage>,
    pub failures: Vec<RgbImage>,
}

struct Person<'a> {
    reference: &'a Frame,
    identity: Identity,
    shots: Vec<&'a Frame>,
    /// In each of the shots.
    colours: Vec<Colours>,
    mean: Vec<f32>,
}

/// What a prompt asks for: as it was in this frame.
struct Scene<'a> {
    frame: &'a Frame,
    /// A role in a place in which training has never shown it.
    is_new: bool,
}

/// The pictures are shared out among all people; each is asked for as one of the person's own shots was, which for
/// held-out people also shows roles in places that are new.
pub fn measure(studio: &mut Studio, rng: &mut StdRng) -> Result<Measured, TrainingError> {
    let folder = studio.evaluation.heldout.clone();
    let data = Dataset::read(&folder)?;
    let sface = |frame: &Frame| frame.sface.clone().unwrap_or_default();
    let all: Vec<Vec<f32>> = data.frames.iter().map(sface).collect();
    let middle = mean(all.iter().map(Vec::as_slice));
    let colours = colours::read(&folder, &data.frames)?;
    let mut people = Vec::new();
    for shots in &data.people {
        let (reference, shots) = (&data.frames[shots[0]], &shots[1..]);
        let Some(photo) = &reference.photo else { continue };
        let photo = Photo::open(&folder.join(photo)).map_err(imagine_identity::IdentityError::from)?;
        let Some(identity) = studio.know(&photo)? else { continue };
        let own: Vec<Vec<f32>> = shots.iter().map(|&shot| centred(&all[shot], &middle)).collect();
        let mean = centred(&mean(own.iter().map(Vec::as_slice)), &vec![0.0; middle.len()]);
        people.push(Person {
            reference,
            identity,
            shots: shots.iter().map(|&s| &data.frames[s]).collect(),
            colours: shots.iter().map(|&s| colours[s]).collect(),
            mean,
        });
    }
    if people.len() < 2 {
        return Err(TrainingError::TooFew { path: folder, found: people.len(), needed: 2 });
    }
    let mut counted = Counted::default();
    let mut shown = (Vec::new(), Vec::new(), Vec::new());
    let mut features = Vec::new();
    let each = studio.evaluation.pictures.div_ceil(people.len());
    for (index, person) in people.iter().enumerate() {
        let card = studio.card(&picture_of(studio, person.reference, true)?)?;
        if let Some(card) = &card {
            counted.renders_colours(card, &person.colours);
        }
        if index < ON_SHEET.0 {
            shown.0.push(picture_of(studio, person.reference, false)?);
        }
        for n in 0..each {
            let Some(scene) = person.shots.choose(rng) else { continue };
            let seen =
                studio.draw(&captions::in_full(scene), &person.identity, rng.random::<u32>().into())?;
            let scene = Scene { frame: scene, is_new: studio.judge.is_new(scene) };
            features.push(seen.features.shallow_clone());
            let missed = counted.look(&people, index, &scene, card.as_ref(), &seen, &middle);
            if index < ON_SHEET.0 && n < ON_SHEET.1 {
                shown.0.push(seen.picture.clone());
            }
            if scene.frame.clauses.role.is_some() && n >= ON_SHEET.1 && shown.1.len() < MOST_SHOWN {
                shown.1.push(seen.picture.clone());
            }
            if missed && shown.2.len() < MOST_SHOWN {
                shown.2.push(seen.picture);
            }
        }
    }
    let seeds_apart = seeds_apart(studio, &people, &data, rng)?;
    let ceiling = ceiling(&people, &all, &middle, &data);
    let renders = Renders::read(&folder, &data.frames, Device::Cpu)?;
    let judged = studio.judge.right(&data.frames, &renders);
    let followed = |found: &[Tally; QUESTIONS.len()]| -> Tallies {
        QUESTIONS.iter().zip(found).filter(|(_, t)| t.of > 0).map(|(q, t)| ((*q).to_owned(), *t)).collect()
    };
    let report = PeopleReport {
        people: people.len(),
        pictures: counted.faces.of,
        faces_found: counted.faces,
        right_person: counted.right,
        right_person_renders: ceiling,
        likeness: counted.likeness(),
        followed: followed(&counted.followed),
        followed_new_pairs: followed(&counted.new_pairs),
        judge_on_renders: judged.into_iter().map(|(q, yes, of)| (q.to_owned(), Tally { yes, of })).collect(),
        skin: summary(&counted.skin),
        hair: summary(&counted.hair),
        skin_renders: summary(&counted.skin_renders),
        hair_renders: summary(&counted.hair_renders),
        frechet: frechet_to_renders(studio, &renders, &features)?,
        yaw_correlation: correlation(&counted.yaws),
        seeds_apart,
        groups: counted.groups,
    };
    Ok(Measured { report, sheet: shown.0, roles: shown.1, failures: shown.2 })
}

/// The median of some ΔE, and how often it is small.
pub fn summary(distances: &[f32]) -> (f32, Tally) {
    let kept = distances.iter().filter(|d| **d < KEPT).count();
    (median(distances), Tally { yes: kept, of: distances.len() })
}

#[derive(Default)]
struct Counted {
    faces: Tally,
    right: Tally,
    to_right: Vec<f32>,
    to_others: Vec<f32>,
    followed: [Tally; QUESTIONS.len()],
    new_pairs: [Tally; QUESTIONS.len()],
    skin: Vec<f32>,
    hair: Vec<f32>,
    skin_renders: Vec<f32>,
    hair_renders: Vec<f32>,
    yaws: Vec<(f32, f32)>,
    groups: BTreeMap<String, [Tally; 3]>,
}

impl Counted {
    /// Counts one picture; true where it has no face or another role than was asked for.
    fn look(
        &mut self,
        people: &[Person],
        index: usize,
        scene: &Scene,
        card: Option<&IdentityCard>,
        seen: &Seen,
        middle: &[f32],
    ) -> bool {
        let person = &people[index];
        self.faces.count(seen.face.is_some());
        let face = seen.face.as_ref().map(|face| centred(face.vector(), middle));
        let nearest = face.as_ref().map(|face| {
            let likeness: Vec<f32> = people.iter().map(|p| dot(face, &p.mean)).collect();
            self.to_right.push(likeness[index]);
            let others = likeness.iter().sum::<f32>() - likeness[index];
            self.to_others.push(others / (people.len() - 1) as f32);
            likeness.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map_or(0, |(n, _)| n)
        });
        let right = nearest == Some(index);
        self.right.count(right);
        let (mut followed, mut role_missed) = (true, false);
        for (n, question) in QUESTIONS.iter().enumerate() {
            let Some(wanted) = truth(scene.frame, question) else { continue };
            let yes = seen.answers.get(n) == Some(&wanted);
            self.followed[n].count(yes);
            if scene.is_new {
                self.new_pairs[n].count(yes);
            }
            followed &= yes || !ASKED.contains(question);
            role_missed |= *question == "role" && !yes;
        }
        if let (Some(own), Some(found)) = (card, &seen.card) {
            if let (Some(a), Some(b)) = (&own.skin, &found.skin) {
                self.skin.push(a.value.distance(b.value));
            }
            if let (Some(a), Some(b)) = (&own.hair_colour, &found.hair_colour) {
                self.hair.push(a.value.distance(b.value));
            }
            if let Some(pose) = &found.pose {
                self.yaws.push((person.reference.attributes.yaw, pose.value.yaw));
            }
        }
        let identity = &person.reference.identity;
        for group in [format!("skin: {}", identity.skin), format!("sex: {}", identity.sex)] {
            let tallies = self.groups.entry(group).or_default();
            for (tally, yes) in tallies.iter_mut().zip([seen.face.is_some(), right, followed]) {
                tally.count(yes);
            }
        }
        seen.face.is_none() || role_missed
    }

    /// How far the colours of a person's other shots are from the card of the reference.
    fn renders_colours(&mut self, card: &IdentityCard, shots: &[Colours]) {
        let apart = |own: &Option<Part<Lab>>, of: fn(&Colours) -> Option<Lab>| -> Vec<f32> {
            let own = own.iter().map(|part| part.value);
            own.flat_map(|own| shots.iter().filter_map(of).map(move |shot| own.distance(shot))).collect()
        };
        self.skin_renders.extend(apart(&card.skin, |colours| colours.skin));
        self.hair_renders.extend(apart(&card.hair_colour, |colours| colours.hair));
    }

    fn likeness(&self) -> (f32, f32) {
        let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
        (mean(&self.to_right), mean(&self.to_others))
    }
}

/// The reference as a camera kept it, or as it was rendered.
fn picture_of(studio: &Studio, frame: &Frame, photo: bool) -> Result<RgbImage, TrainingError> {
    let file = frame.photo.as_ref().filter(|_| photo).unwrap_or(&frame.file);
    let path = studio.evaluation.heldout.join(file);
    let image = image::open(&path).map_err(|source| TrainingError::Image { path, source })?.to_rgb8();
    Ok(if photo { image } else { framed(&image, PICTURE_SIZE as u32) })
}

/// How often the nearest person of a render is the right one, whose mean is then that of the other shots.
fn ceiling(people: &[Person], all: &[Vec<f32>], middle: &[f32], data: &Dataset) -> Tally {
    let mut tally = Tally::default();
    for shots in &data.people {
        for &shot in shots.iter().skip(1) {
            let face = centred(&all[shot], middle);
            let own = shots.iter().skip(1).filter(|other| **other != shot);
            let own: Vec<Vec<f32>> = own.map(|&other| centred(&all[other], middle)).collect();
            let own = centred(&mean(own.iter().map(Vec::as_slice)), &vec![0.0; middle.len()]);
            let person = data.frames[shot].person;
            let others = people.iter().filter(|p| p.reference.person != person);
            let highest = others.map(|p| dot(&face, &p.mean)).fold(f32::MIN, f32::max);
            tally.count(dot(&face, &own) > highest);
        }
    }
    tally
}

/// Of pictures' features [F] to those of the renders; and, as what to compare it with, of every other render to the rest.
fn frechet_to_renders(
    studio: &Studio,
    renders: &Renders,
    features: &[Tensor],
) -> Result<(f64, f64), TrainingError> {
    let renders = studio.judge.features_of(renders); // [N, F]
    let made = Tensor::f_stack(features, 0)?; // [pictures, F]
    let every_other = |from: i64| renders.slice(0, from, None, 2);
    Ok((frechet::distance(&made, &renders), frechet::distance(&every_other(0), &every_other(1))))
}

fn apart(a: &RgbImage, b: &RgbImage) -> f32 {
    let total: u64 = a.as_raw().iter().zip(b.as_raw()).map(|(x, y)| u64::from(x.abs_diff(*y))).sum();
    total as f32 / a.as_raw().len().max(1) as f32
}

/// Mean distance of every two of some pictures.
fn mean_apart(pictures: &[RgbImage]) -> Vec<f32> {
    let pairs =
        pictures.iter().enumerate().flat_map(|(n, a)| pictures[n + 1..].iter().map(move |b| apart(a, b)));
    pairs.collect()
}

/// How far pictures of different seeds are apart, and the shots of one person.
fn seeds_apart(
    studio: &mut Studio,
    people: &[Person],
    data: &Dataset,
    rng: &mut StdRng,
) -> Result<(f32, f32), TrainingError> {
    let (mut made, mut drawn) = (Vec::new(), Vec::new());
    for person in people.iter().take(studio.evaluation.seeded) {
        let Some(scene) = person.shots.choose(rng) else { continue };
        let prompt = captions::in_full(scene);
        let mut pictures = Vec::new();
        for _ in 0..SEEDS {
            pictures.push(studio.draw(&prompt, &person.identity, rng.random::<u32>().into())?.picture);
        }
        made.extend(mean_apart(&pictures));
        let shots = data.frames.iter().filter(|frame| frame.person == person.reference.person);
        let shots: Vec<RgbImage> =
            shots.take(SEEDS).map(|frame| picture_of(studio, frame, false)).collect::<Result<_, _>>()?;
        drawn.extend(mean_apart(&shots));
    }
    let mean = |values: &[f32]| values.iter().sum::<f32>() / values.len().max(1) as f32;
    Ok((mean(&made), mean(&drawn)))
}
